# Standing: where one task stands, what it waits for, which worker has it, and which clients do not read their results.
#
# These are the facts; scaler/scheduler/explain.py and questions.py make sentences of them.
#
# Rule 1: this changes nothing, and is asked between two events.
# Rule 2: it costs what a look at the lists costs in which the task is, and at most MOST_STEPS rows of each kind: of a
#         million that are before it, it is said that there are at least so many.

cdef enum:
    MOST_STEPS = 1 << 18
    MOST_NAMED_INPUTS = 100


cdef dict ready_facts(SchedulerCore core, uint32_t row_index):
    """What is before a task that could run."""
    cdef Row *row = core.table.row(row_index)
    cdef ReadyQueue ready = core.ready.queue_of(row)     # what asks for other resources is not before it
    cdef uint32_t priority = ready.priority_here(row)
    cdef uint32_t before = row.previous
    cdef uint64_t ahead = 0
    cdef uint64_t higher = 0
    cdef uint32_t level, client, turns = 0
    cdef uint32_t root = row.client
    if row.level >= PRIORITIES:
        root = ready.clients[row.client].strands[row.level - PRIORITIES].root
    while before and ahead < MOST_STEPS:
        ahead += 1
        before = core.table.row(before).previous
    for client in range(min(core.clients.length, ready.client_room)):
        if ready.clients[client] == NULL:
            continue
        turns += ready.clients[client].in_turn >> priority & 1
        for level in range(priority + 1, PRIORITIES):
            before = ready.clients[client].at[level].head if not ready.clients[client].held else 0
            while before and higher < MOST_STEPS:
                higher += 1
                before = core.table.row(before).next
    return {"ahead": ahead, "ahead_of_higher_priority": higher, "clients_in_turn": turns,
            "is_turn": ready.turn[priority] == root + 1, "priority": <int>priority - LEVEL_PLAIN,
            "held": ready.clients[row.client].held, "workers": core.pool.present, "open": core.pool.buckets != 0,
            "ready": ready.size, "ready_since_ns": runnable_ns(row), **request_facts(core, row.request)}


cdef dict request_facts(SchedulerCore core, uint32_t request):
    """What it asks for, and whether any worker that is here has that."""
    if request == 0:
        return {}
    return {"asks": core.resources.items_of(request), "most": core.resources.most_of(request),
            "fits": core.resources.fits_any(request)}


def missing_resources(SchedulerCore core not None, uint64_t now, uint64_t after_ns):
    """[(client's index, what it asks for, the most of each that one worker has)] of what no worker that is here could ever
    satisfy, and is ready for longer than `after_ns`."""
    cdef list found = []
    cdef ReadyQueue lane
    cdef uint32_t i, request, client, level
    for i in range(core.ready.active_count):
        request = core.ready.active[i]
        if core.resources.fits_any(request):
            continue
        lane = core.ready.lanes[request]
        for client in range(lane.client_room):
            if lane.clients[client] == NULL:
                continue
            for level in range(LISTS):
                if (lane.clients[client].at[level].head
                        and now > runnable_ns(core.table.row(lane.clients[client].at[level].head)) + after_ns):
                    found.append((client, core.resources.items_of(request), core.resources.most_of(request)))
                    break
    return found


cdef dict placed_facts(SchedulerCore core, uint32_t row_index):
    """What is before a task on its worker."""
    cdef Row *row = core.table.row(row_index)
    cdef Worker *worker = &core.pool.workers[row.worker]
    cdef Row *first = core.table.row(worker.head)
    cdef uint32_t before = row.previous
    cdef uint32_t ahead = 0
    while before:
        ahead += 1
        before = core.table.row(before).previous
    return {"worker": worker.number, "worker_index": row.worker, "ahead": ahead, "running": first.task,
            "running_function": core.functions.number_of(first.function), "since_ns": worker.since_ns,
            "is_waiting": worker.is_blocked, "limit_ms": row.limit_ms, "ready_since_ns": runnable_ns(row)}


cdef dict waiting_facts(SchedulerCore core, uint32_t row_index):
    """Which inputs of a task are not there."""
    cdef Node *node = core.edges.node(row_index)
    cdef list inputs = []
    cdef uint32_t absent = 0
    cdef uint32_t k
    for k in range(node.count):
        if edges_of(node)[k].input:
            absent += edges_of(node)[k].input == ABSENT
            if len(inputs) < MOST_NAMED_INPUTS:
                inputs.append(edges_of(node)[k].task)
    return {"open": node.open, "absent": absent, "inputs": inputs, "is_put_off": node.is_put_off}


def standing_of(SchedulerCore core not None, uint64_t task):
    """What is known of this task: {"state": its row's state or "UNKNOWN", and facts by name}."""
    cdef uint32_t client = core.clients.find(task)
    cdef uint32_t row_index = core.clients.find_row(client - 1, task) if client else 0
    cdef dict facts
    cdef Row *row
    if row_index == 0:
        return {"state": "UNKNOWN", "has_client": client != 0,
                "was_sent": client != 0 and (task & NUMBER_MASK) <= core.clients.clients[client - 1].highest_number}
    row = core.table.row(row_index)
    if row.state == ROW_READY:
        facts = ready_facts(core, row_index)
    elif row.state == ROW_PLACED or row.state == ROW_CANCELLED:
        facts = placed_facts(core, row_index)
    elif row.state == ROW_WAITING:
        facts = waiting_facts(core, row_index)
    else:
        facts = {}
    facts["state"] = _STATE_WORDS[row.state][0]
    facts["function"] = core.functions.number_of(row.function)
    facts["calls"] = calls_of(row)
    facts["deaths"] = row.deaths
    return facts


def whereabouts(SchedulerCore core not None, uint64_t task):
    """(state, index of the worker that has it or whose task runs it, its attempt); None if there is no such task: it has
    ended, or never came.

    The worker is None where none has it; the attempt is 0 where it is not known.
    """
    cdef uint32_t row_index = core.clients.find_open(task)
    cdef Row *row
    if row_index == 0:
        return None
    row = core.table.row(row_index)
    if row.state == ROW_PLACED or row.state == ROW_CANCELLED:
        return _STATE_WORDS[row.state][0], row.worker, core.table.epoch | row.placements
    if row.state == ROW_LENT:
        return _STATE_WORDS[row.state][0], core.worker_of_tag.get(core.clients.clients[row.client].worker_tag), 0
    return _STATE_WORDS[row.state][0], None, 0


def unread_results(SchedulerCore core not None):
    """(24 bits, oldest task whose result has no room) of each client with results that do not fit its ring."""
    cdef list found = []
    cdef uint32_t i
    cdef Client *client
    for i in range(core.clients.length):
        client = &core.clients.clients[i]
        if client.present and client.waiting_head:
            found.append((client.bits >> TASK_NUMBER_BITS, core.table.row(client.waiting_head).task))
    return found
