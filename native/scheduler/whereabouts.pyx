# Where a task stands, and who does not read its results: for people who look, so it is asked seldom, and costs the tasks themselves nothing.
#
# Not here: the sentence that is made of it (scaler.scheduler.questions).


_STATE_NAMES = ("free", "new", "ready", "placed", "cancelled", "answered", "held back", "lent", "doomed", "waiting", "kept")


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
        return _STATE_NAMES[row.state], row.worker, core.table.life | row.placements
    if row.state == ROW_LENT:
        return _STATE_NAMES[row.state], core.worker_of_tag.get(core.clients.clients[row.client].worker_tag), 0
    return _STATE_NAMES[row.state], None, 0


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
