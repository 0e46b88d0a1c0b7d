# Check: whether everything in the core is where it must be, and counted as often as it is there.
#
# What the core knows stands in several places: a row's state says in which list it is, a worker's load is the sum of its
# rows' estimates, an object has as many holders as there are records that name it. An event that forgets one of these
# places does no harm at once; it shows much later and somewhere else. So tests ask here after every event.
#
# Rule 1: this is asked between two events, and changes nothing.
# Rule 2: it looks at all there is, row by row, and only then compares: its cost is that of everything, so nothing but
#         tests calls it.
# Not here: what the peers see of it (tests/native/model.py), which changes of state can be (states).


cdef int fail(sentence) except -1:
    raise AssertionError(sentence)


cdef int add_to(dict counts, object key, uint64_t more) except -1:
    """A function of its own, since the compiler takes minutes for several of these in a long one."""
    counts[key] = counts.get(key, 0) + more
    return 0


@cython.final
cdef class Check:
    """One look at a core."""
    cdef SchedulerCore core
    cdef uint64_t states[STATES]     # rows in each
    cdef uint64_t calls[STATES]      # of the client that is looked at, in each
    cdef dict function_calls         # function index -> calls of its rows that have not ended
    cdef dict placed_calls           # function index -> calls of its rows that workers have
    cdef uint64_t edges_of_rows      # edges that wait for a row
    cdef uint64_t edges_in_lists     # edges that hang in a row's list
    cdef uint64_t absent_edges
    cdef uint64_t nodes
    cdef uint64_t payload_bytes
    cdef dict held                   # worker index -> its rows
    cdef ReadyQueue ready            # the lane that is looked at
    cdef uint32_t request            # and what it is for
    cdef dict request_users          # request -> functions that have it
    cdef dict lent                   # worker index -> requests of the tasks that run in place there
    cdef dict strand_users           # (request, client, which of its lists) -> rows that have it
    cdef dict users                  # function index -> how many there are
    cdef dict holders                # object -> how many there are
    cdef uint64_t node_bytes         # of the client that is looked at
    cdef uint64_t written_bytes
    cdef uint64_t inline_bytes
    cdef uint64_t most_written       # of one of its tasks
    cdef uint64_t brought_bytes
    cdef uint64_t answered_bytes     # of results that wait for room
    cdef uint64_t resting_bytes
    cdef uint64_t resting
    cdef uint64_t rows_waiting
    cdef uint64_t rows_touched
    cdef dict client_blobs           # client -> bytes of its results that are kept
    cdef dict blobs                  # address -> how many hold it

    def __init__(self, SchedulerCore core not None):
        self.core = core
        self.held, self.users, self.holders, self.blobs, self.strand_users = {}, {}, {}, {}, {}
        self.client_blobs, self.function_calls, self.placed_calls = {}, {}, {}
        self.request_users, self.lent = {}, {}

    cdef int run(self) except -1:
        cdef uint32_t index
        for index in range(self.core.clients.length):
            self.look_at_client(index)
        self.look_at_requests()
        self.check_rows()
        self.check_ready()
        self.check_workers()
        self.check_resources()
        self.check_edges()
        self.check_quotas()
        self.check_functions()
        self.check_function_counts()
        self.check_objects()
        self.check_deaths()
        self.check_survivors()
        return 0

    # clients and their rows

    cdef int look_at_client(self, uint32_t index) except -1:
        cdef Client *client = &self.core.clients.clients[index]
        cdef uint64_t rows = 0
        cdef uint64_t queued = 0
        if not client.present and not client.leaving:
            if client.directory.pages or client.functions.pages or client.open_tasks or client.function_count:
                fail(f"client {index} has gone, and has tasks or functions")
            if index < self.core.table.calls_room and self.core.table.calls[index].submitted:
                fail(f"client {index} has gone, and its calls are counted still")
            return 0
        if client.present and client.leaving:
            fail(f"client {index} is leaving, though it is present")
        if client.leaving and not client.open_tasks and not client.function_count:
            fail(f"client {index} is leaving, though nothing of it is left")
        if self.core.clients.bits.find(<uint32_t>(client.bits >> TASK_NUMBER_BITS)) != index + 1:
            fail(f"client {index} is not found by its number")
        if (client.outlet != NULL) != client.present:
            fail(f"client {index} has an outlet and is not present, or the other way round")
        self.node_bytes = self.written_bytes = self.inline_bytes = self.most_written = 0
        self.brought_bytes = self.answered_bytes = self.resting_bytes = self.resting = self.rows_waiting = self.rows_touched = 0
        memset(self.calls, 0, sizeof(self.calls))
        for number, row_index in self.look_at_directory(&client.directory, f"tasks of client {index}"):
            queued += self.look_at_row(index, row_index, client.bits | <uint64_t>number)
            rows += 1
        if (self.node_bytes != client.node_bytes or self.written_bytes != client.written_bytes
                or self.inline_bytes != client.inline_bytes):
            fail(f"client {index} has nodes of {self.node_bytes} bytes, {self.written_bytes} written and of these "
                 f"{self.inline_bytes} in payloads, not {client.node_bytes}, {client.written_bytes} and {client.inline_bytes}")
        if self.resting != client.resting or self.resting_bytes != client.resting_bytes:
            fail(f"client {index} has {self.resting} tasks of {self.resting_bytes} bytes that are kept for others, not "
                 f"{client.resting} of {client.resting_bytes}")
        if self.rows_waiting != client.rows_waiting or self.rows_touched != client.rows_touched:
            fail(f"{self.rows_waiting} tasks of client {index} wait for inputs, and {self.rows_touched} are touched, not "
                 f"{client.rows_waiting} and {client.rows_touched}")
        if self.brought_bytes != client.brought_bytes:
            fail(f"tasks of client {index} bring {self.brought_bytes} bytes of objects, not {client.brought_bytes}")
        if client.put_off_first and not client.written_bytes and not self.core.edges.first_touched:
            fail(f"client {index} has tasks that are put off, and nothing that they would wait for")
        if rows != client.open_tasks or queued != client.queued_bytes:
            fail(f"client {index} has {rows} tasks of {queued} bytes, not {client.open_tasks} of {client.queued_bytes}")
        self.check_calls(index)
        self.look_at_numbers(index)
        self.check_waiting(index)
        self.check_tasks_share(index)
        return 0

    cdef int check_calls(self, uint32_t index) except -1:
        """What is counted of its calls is what there is, and what it has submitted is in one of the open states or ended."""
        cdef CallCounts *counts = &self.core.table.calls[index]
        cdef uint32_t state
        cdef uint64_t total = counts.succeeded + counts.failed + counts.cancelled
        for state in range(ROW_READY, STATES):
            if self.calls[state] != counts.at[state]:
                fail(f"{self.calls[state]} calls of client {index} are {_STATE_WORDS[state][0]}, not {counts.at[state]}")
            if is_open(state):
                total += self.calls[state]
        if total != counts.submitted:
            fail(f"client {index} has submitted {counts.submitted} calls, and {total} are somewhere")
        return 0

    cdef int check_function_counts(self) except -1:
        cdef FunctionCounts *counts
        cdef uint32_t index
        for index in range(self.core.functions.length):
            counts = &self.core.functions.functions[index].counts
            if counts.placed != self.placed_calls.get(index, 0):
                fail(f"workers have {self.placed_calls.get(index, 0)} calls of function {index}, not {counts.placed}")
            if counts.submitted != counts.succeeded + counts.failed + counts.cancelled + self.function_calls.get(index, 0):
                fail(f"{counts.submitted} calls of function {index} were submitted, {counts.succeeded} + {counts.failed} + "
                     f"{counts.cancelled} have ended, and {self.function_calls.get(index, 0)} are open")
        return 0

    cdef int check_tasks_share(self, uint32_t index) except -1:
        """Whether its tasks and functions have no more than their shares (quota)."""
        cdef Client *client = &self.core.clients.clients[index]
        cdef uint64_t quota = self.core.clients.quota
        cdef uint64_t n_bytes = tasks_bytes(client) - self.answered_bytes
        cdef uint64_t most = max(quota, <uint64_t>LEAST_STALLED) if client.was_stalled else share_of(quota, TASK_PARTS)
        if n_bytes > most and client.open_tasks - client.resting > 1:
            fail(f"the tasks of client {index} take {n_bytes} bytes, and may take {most}")
        if client.function_bytes > least_share_of(quota, FUNCTION_PARTS):
            fail(f"the functions of client {index} take {client.function_bytes} bytes")
        if (results_bytes(client) > share_of(quota, RESULT_PARTS) + self.most_written
                or client.written_bytes > share_of(quota, WRITTEN_PARTS) + self.most_written):
            fail(f"what is kept and written for the tasks of client {index} takes {results_bytes(client)} bytes, of which "
                 f"{client.written_bytes} were written: more than its share, and the largest of them, {self.most_written}")
        return 0

    cdef int check_quotas(self) except -1:
        """What is counted for a client and stands nowhere in its tasks: results that are shared, and objects."""
        cdef uint32_t index
        cdef Client *client
        for index in range(self.core.clients.length):
            client = &self.core.clients.clients[index]
            if not client.present and not client.leaving:
                continue
            if client.blob_bytes != self.client_blobs.get(index, 0):
                fail(f"results of {self.client_blobs.get(index, 0)} bytes are kept for client {index}, not "
                     f"{client.blob_bytes}")
            if self.core.objects.made_by(self.core.clients.tag_of(index)) > self.core.objects.most_made:
                fail(f"client {index} has made more objects than it may")
        return 0

    cdef int look_at_numbers(self, uint32_t index) except -1:
        """The functions that the client has announced."""
        cdef Client *client = &self.core.clients.clients[index]
        cdef uint32_t count = 0
        cdef uint64_t n_bytes = 0
        for _, function in self.look_at_directory(&client.functions, f"functions of client {index}"):
            self.add_user(<uint32_t>function - 1)
            n_bytes += self.core.functions.bytes_of(<uint32_t>function - 1)
            count += 1
        for function in self.core.functions.owed_by.get(index, ()):
            n_bytes += self.core.functions.bytes_of(<uint32_t>function)
        if count != client.function_count or n_bytes != client.function_bytes:
            fail(f"client {index} has announced {count} functions of {n_bytes} bytes, not {client.function_count} of"
                 f" {client.function_bytes}")
        if client.last_function and directory_find(&client.functions, client.last_number) != client.last_function:
            fail(f"client {index}: its last function is not the one that has this number")
        return 0

    cdef list look_at_directory(self, Directory *directory, str what):
        """(number, where it leads) of all numbers in it."""
        cdef Page *page = directory.first
        cdef Page *previous = NULL
        cdef uint64_t pages = 0
        cdef uint64_t slots = 0
        cdef uint64_t slot
        cdef uint32_t i, used
        cdef bint has_walk = directory.walk == NULL
        cdef list found = []
        while page != NULL:
            used = 0
            for i in range(PAGE_NUMBERS):
                if page.target[i]:
                    used += 1
                    found.append(((page.key << PAGE_SHIFT) + i, page.target[i]))
            if used == 0 or used != page.used or page.previous != previous:
                fail(f"{what}: a page of {used} has {page.used}, or stands behind another one than it should")
            if directory_search(directory, page.key) != page:
                fail(f"{what}: page {page.key} is not found")
            has_walk |= directory.walk == page
            pages += 1
            previous, page = page, page.next
        for slot in range(directory.slot_count):
            slots += directory.slots[slot] != NULL
        if pages != directory.pages or slots != pages or previous != directory.last:
            fail(f"{what}: {pages} pages in {slots} slots, not {directory.pages}")
        if not has_walk or 2 * pages > directory.slot_count:
            fail(f"{what}: there is no page {<size_t>directory.walk:#x} to walk over, or the table is too full")
        return found

    cdef int add_user(self, uint32_t function) except -1:
        self.users[function] = self.users.get(function, 0) + 1
        return 0

    cdef uint64_t look_at_row(self, uint32_t client, uint32_t row_index, uint64_t task) except? 0:
        """How many bytes of it count as queued."""
        cdef Row *row = self.core.table.row(row_index)
        cdef uint32_t skip = 0
        cdef uint64_t queued = row.payload_bytes
        if row.level >= PRIORITIES:
            add_to(self.strand_users, (row.request, client, row.level), 1)
        if row_index == 0 or row_index >= self.core.table.fresh or row.task != task or row.client != client:
            fail(f"task {task:#x} is not in row {row_index}, where its client finds it")
        if row.state <= ROW_NEW or row.state >= STATES:
            fail(f"task {task:#x} is in no state that lasts: {row.state}")
        self.states[row.state] += 1
        self.calls[row.state] += calls_of(row)
        if row.function != NO_FUNCTION and is_open(row.state):
            add_to(self.function_calls, row.function, calls_of(row))
        if row.state == ROW_PLACED or row.state == ROW_CANCELLED:
            add_to(self.placed_calls, row.function, calls_of(row))
        self.payload_bytes += row.payload_bytes
        if row.payload == NULL and row.payload_bytes > INLINE_BYTES:
            fail(f"task {task:#x} has no room for its payload of {row.payload_bytes} bytes")
        if row.state == ROW_ANSWERED and row.payload_bytes:
            skip = RECORD_HEADER_BYTES
            self.answered_bytes += row.payload_bytes
        self.rows_waiting += row.state == ROW_WAITING
        if row.state == ROW_KEPT:
            self.resting += 1
            self.resting_bytes += sizeof(Row) + bytes_of_node(<Node *>row.node)
        if row.flags & FLAG_OBJECTS:
            self.add_holders(self.core.table.payload(row) + skip, row.payload_bytes - skip)
            if row.state != ROW_ANSWERED:
                self.brought_bytes += new_bytes(self.core.table.payload(row), row.payload_bytes)
        if row.function != NO_FUNCTION:
            self.add_user(row.function)
        elif row.state != ROW_KEPT and row.state != ROW_ANSWERED:
            fail(f"task {task:#x} is {_STATE_WORDS[row.state][0]} and has no function")
        if row.state == ROW_PLACED or row.state == ROW_CANCELLED:
            self.held.setdefault(row.worker, set()).add(row_index)
        if row.function != NO_FUNCTION and row.request != self.core.functions.functions[row.function].request:
            fail(f"task {task:#x} asks for {row.request}, and its function for something else")
        if row.state == ROW_LENT and row.request:
            self.lent.setdefault(self.core.worker_of_tag.get(self.core.clients.clients[client].worker_tag), []).append(
                row.request)
        if row.node != NULL:
            self.look_at_node(row_index, <Node *>row.node)
        elif row.state == ROW_WAITING or row.state == ROW_KEPT:
            fail(f"task {task:#x} is {_STATE_WORDS[row.state][0]}, and has nothing to do with others")
        return queued

    cdef int add_holders(self, const char *payload, size_t size) except -1:
        cdef int64_t i
        for i in range(places_in(payload, size)):
            self.add_holder(place_at(payload, i).object)
        return 0

    cdef int add_holder(self, uint64_t object) except -1:
        if object in self.core.objects.objects:           # it may name some that are not there any more
            self.holders[object] = self.holders.get(object, 0) + 1
        return 0

    cdef int check_waiting(self, uint32_t index) except -1:
        """The results that wait for room."""
        cdef Client *client = &self.core.clients.clients[index]
        cdef uint32_t row_index = client.waiting_head
        cdef uint32_t previous = 0
        cdef uint64_t count = 0
        while row_index:
            if self.core.table.row(row_index).state != ROW_ANSWERED or self.core.table.row(row_index).previous != previous:
                fail(f"row {row_index} is among the results that wait for client {index}, and does not belong there")
            previous = row_index
            row_index = self.core.table.row(row_index).next
            count += 1
            if count > self.states[ROW_ANSWERED]:
                fail(f"more results wait for client {index} than it has tasks that are answered")
        if previous != client.waiting_tail:
            fail(f"the last result that waits for client {index} is row {previous}, not {client.waiting_tail}")
        if client.present and self.core.ready.clients[index].held != (
                HELD_FULL * (client.waiting_head != 0) | HELD_CLEARING * client.unfinished):
            fail(f"client {index} is held though no result waits for it and nothing is cleared, or the other way round")
        if client.unfinished != (index in self.core.unfinished):
            fail(f"client {index} is being cleared, and nobody goes on with that, or the other way round")
        return 0

    cdef int check_rows(self) except -1:
        cdef TaskTable table = self.core.table
        cdef uint64_t used = 0
        cdef uint64_t waiting = 0
        cdef uint32_t index, dirty
        cdef uint32_t free_rows = 0
        cdef Row *row
        for index in range(STATES):
            used += self.states[index]
        if used != table.used:
            fail(f"the table has {table.used} rows, and clients have {used}")
        if self.payload_bytes != table.payload_bytes:
            fail(f"payloads have {self.payload_bytes} bytes, not {table.payload_bytes}")
        index = table.free_head
        while index:
            row = table.row(index)
            unpoison(row, sizeof(Row))
            if index >= table.fresh or row.state != ROW_FREE:
                fail(f"row {index} is to be used again, and is {_STATE_WORDS[row.state][0]}")
            index = row.next
            poison(row, sizeof(Row))
            free_rows += 1
            if free_rows + used >= table.fresh:
                if free_rows + used > table.fresh - 1:
                    fail("there are more rows to be used again than rows")
        if free_rows + used != table.fresh - 1:
            fail(f"of {table.fresh - 1} rows {used} are used and {free_rows} are to be used again")
        for index in range(self.core.clients.length):
            row_index = self.core.clients.clients[index].waiting_head
            while row_index:
                waiting += 1
                row_index = table.row(row_index).next
        if waiting != self.states[ROW_ANSWERED]:
            fail(f"{self.states[ROW_ANSWERED]} tasks are answered, and {waiting} results wait for room")
        dirty = self.core.clients.dirty
        while dirty:
            if not self.core.clients.clients[dirty - 1].dirty:
                fail(f"client {dirty - 1} is to be flushed, and does not know it")
            dirty = self.core.clients.clients[dirty - 1].next_dirty
        return 0

    # what is ready

    cdef int check_ready(self) except -1:
        cdef ReadyQueue main = self.core.ready
        cdef uint32_t request, i
        cdef uint64_t requested = 0
        cdef set active = set()
        self.check_queue(main, 0)
        for request in range(main.lane_room):
            if (main.lanes[request] is None) != (main.lane_at[request] == NULL):
                fail(f"the lane of request {request} is not where it says")
            if main.lanes[request] is None:
                continue
            self.check_queue(main.lanes[request], request)
            requested += self.ready.size
            if self.ready.size:
                active.add(request)
                if main.active[self.ready.active_at] != request:
                    fail(f"the lane of request {request} has tasks, and does not stand among those that have")
        if active != {main.active[i] for i in range(main.active_count)} or len(active) != main.active_count:
            fail(f"requests {sorted(active)} have ready tasks, and {main.active_count} are said to")
        if requested != main.requested or self.states[ROW_READY] != main.total():
            fail(f"{self.states[ROW_READY]} tasks are ready, {main.size} ask for nothing, {requested} for resources, and "
                 f"{main.requested} of these are counted")
        return 0

    cdef int check_queue(self, ReadyQueue ready, uint32_t request) except -1:
        """What asks for nothing, or one lane."""
        cdef uint64_t count = 0
        cdef uint64_t levels = 0
        cdef uint32_t client, level
        self.ready, self.request = ready, request
        for client in range(min(ready.client_room, self.core.clients.length)):
            if ready.clients[client] == NULL:
                continue
            if ready.clients[client].held != self.core.ready.clients[client].held:
                fail(f"client {client} is held, and not where it asks for request {request}, or the other way round")
            for level in range(LISTS):
                count += self.check_list(client, level)
            self.check_strands(client)
            for level in range(PRIORITIES):
                self.check_group(client, level)
        if count != ready.size:
            fail(f"{count} tasks are in the lists of request {request}, and {ready.size} are counted")
        for level in range(PRIORITIES):
            if ready.turn[level]:
                levels |= (<uint64_t>1) << level
                self.check_turn(level)
        if levels != ready.levels:
            fail(f"levels {ready.levels:#x} are said to have ready tasks, and {levels:#x} have")
        return 0

    cdef uint64_t check_list(self, uint32_t client, uint32_t level) except? 0:
        """How many tasks of the client are ready at this level."""
        cdef Level *here = &self.ready.clients[client].at[level]
        cdef uint32_t row_index = here.head
        cdef uint32_t previous = 0
        cdef uint64_t count = 0
        cdef Row *row
        while row_index:
            row = self.core.table.row(row_index)
            if row.state != ROW_READY or row.client != client or row.level != level or row.request != self.request or row.previous != previous:
                fail(f"row {row_index} is in the list of client {client} at level {level}, and does not belong there")
            previous = row_index
            row_index = row.next
            count += 1
            if count > self.states[ROW_READY]:
                fail(f"the list of client {client} at level {level} is longer than there are ready tasks")
        if previous != here.tail:
            fail(f"the list of client {client} at level {level} ends with row {previous}, not {here.tail}")
        return count

    cdef int check_turn(self, uint32_t level) except -1:
        """The turn has each client once that has something there and is not held, or whose tasks have submitted something."""
        cdef ReadyQueue ready = self.ready
        cdef uint32_t first = ready.turn[level] - 1
        cdef uint32_t client = first
        cdef uint32_t next
        cdef set found = set()
        cdef set wanted = set()
        while True:
            next = ready.clients[client].at[level].next_client
            if client in found or ready.clients[next].at[level].previous_client != client:
                fail(f"the turn at level {level} is torn at client {client}")
            found.add(client)
            client = next
            if client == first:
                break
        for client in range(min(ready.client_room, self.core.clients.length)):
            if ready.clients[client] == NULL:
                continue
            if (ready.clients[client].at[level].head and not ready.clients[client].held
                    or ready.clients[client].grouped >> level & 1):
                wanted.add(client)
            if (client in wanted) != ready.clients[client].in_turn >> level & 1:
                fail(f"client {client} is in turn at level {level}, or is not, and says otherwise")
        if found != wanted:
            fail(f"clients {sorted(found)} take turns at level {level}, and {sorted(wanted)} have something there")
        return 0

    cdef int check_strands(self, uint32_t client) except -1:
        """Each strand has as many users as there are rows, and is in its group's turn if it has something."""
        cdef ClientLists *lists = self.ready.clients[client]
        cdef Strand *strand
        cdef uint32_t at
        cdef bint is_in_turn
        for at in range(PRIORITIES, LISTS):
            if lists.strands == NULL:
                if lists.at[at].head or (self.request, client, at) in self.strand_users:
                    fail(f"client {client} has tasks in a strand, and no strands")
                continue
            strand = &lists.strands[at - PRIORITIES]
            if strand.users != self.strand_users.get((self.request, client, at), 0):
                fail(f"strand {at} of client {client} has {self.strand_users.get((self.request, client, at), 0)} rows, not {strand.users}")
            is_in_turn = name_of_strand(client, at) in self.strands_in_turn(strand.root, strand.priority, strand.depth)
            if is_in_turn != (lists.at[at].head != 0 and not lists.held):
                fail(f"strand {at} of client {client} is in turn and has nothing there, or the other way round")
        return 0

    cdef int check_group(self, uint32_t root, uint32_t priority) except -1:
        cdef ClientLists *lists = self.ready.clients[root]
        cdef uint32_t depth, name
        cdef Strand *strand
        if lists.groups == NULL or not lists.groups[priority].depths:
            if lists.grouped >> priority & 1:
                fail(f"client {root} has a group at level {priority} with nothing in it")
            return 0
        if not lists.grouped >> priority & 1:
            fail(f"client {root} does not know of its group at level {priority}")
        for depth in range(DEPTHS):
            for name in self.strands_in_turn(root, priority, depth):
                strand = &self.ready.clients[name // STRANDS].strands[name % STRANDS]
                if strand.root != root or strand.priority != priority or strand.depth != depth:
                    fail(f"strand {name} is in the group of client {root} at level {priority}, and does not belong there")
        return 0

    cdef set strands_in_turn(self, uint32_t root, uint32_t priority, uint32_t depth):
        """The names of those that take turns in this group at this depth."""
        cdef ClientLists *lists = self.ready.clients[root] if root < self.ready.client_room else NULL
        cdef uint32_t first, name, next
        cdef set found = set()
        if lists == NULL or lists.groups == NULL or not lists.groups[priority].depths >> depth & 1:
            return found
        first = name = lists.groups[priority].turn[depth] - 1
        while True:
            next = self.ready.list_of(name).next_client
            if name in found or self.ready.list_of(next).previous_client != name:
                fail(f"the turn of client {root}'s group at level {priority} is torn at strand {name}")
            found.add(name)
            name = next
            if name == first:
                return found

    # workers

    cdef int check_workers(self) except -1:
        cdef WorkerPool pool = self.core.pool
        cdef uint32_t index, bucket
        cdef uint32_t present = 0
        cdef uint64_t buckets = 0
        cdef dict in_buckets = {}
        for bucket in range(BUCKETS):
            if pool.heads[bucket]:
                buckets |= (<uint64_t>1) << bucket
                self.look_at_bucket(bucket, in_buckets)
        if buckets != pool.buckets:
            fail(f"buckets {pool.buckets:#x} are said to have workers, and {buckets:#x} have")
        for index in range(pool.length):
            if not pool.workers[index].present:
                if index in in_buckets or index in self.held:
                    fail(f"worker {index} has gone, and is in a bucket or has tasks")
                continue
            present += 1
            self.check_worker(index, in_buckets)
            if self.core.worker_of_tag.get(pool.workers[index].tag) != index:
                fail(f"worker {index} is not found by its tag")
        if present != pool.present or present != len(self.core.worker_of_tag):
            fail(f"{present} workers are present, {pool.present} are counted, {len(self.core.worker_of_tag)} have tags")
        index = pool.dirty
        while index:
            if not pool.workers[index - 1].dirty:
                fail(f"worker {index - 1} is to be flushed, and does not know it")
            index = pool.workers[index - 1].next_dirty
        return 0

    cdef int look_at_bucket(self, uint32_t bucket, dict found) except -1:
        cdef uint32_t index = self.core.pool.heads[bucket]
        cdef uint32_t previous = 0
        while index:
            if index - 1 in found or self.core.pool.workers[index - 1].previous != previous:
                fail(f"worker {index - 1} is in bucket {bucket}, and does not belong there")
            found[index - 1] = bucket
            previous = index
            index = self.core.pool.workers[index - 1].next
        return 0

    cdef int check_worker(self, uint32_t index, dict in_buckets) except -1:
        cdef Worker *worker = &self.core.pool.workers[index]
        cdef uint32_t row_index = worker.head
        cdef uint32_t previous = 0
        cdef uint64_t load_ns = 0
        cdef set rows = set()
        cdef Row *row
        while row_index:
            row = self.core.table.row(row_index)
            if row_index in rows or row.previous != previous or row.worker != index:
                fail(f"row {row_index} is in the list of worker {index}, and does not belong there")
            rows.add(row_index)
            load_ns += row.charge_ns
            previous = row_index
            row_index = row.next
        if rows != self.held.get(index, set()) or previous != worker.tail:
            fail(f"worker {index} holds {sorted(rows)}, and {sorted(self.held.get(index, ()))} say that it holds them")
        if len(rows) != worker.held or load_ns != worker.load_ns:
            fail(f"worker {index} holds {len(rows)} tasks of {load_ns} ns, not {worker.held} of {worker.load_ns}")
        if (worker.bucket != bucket_of(worker)
                or in_buckets.get(index, NO_BUCKET) != (NO_BUCKET if worker.is_picky else worker.bucket)):
            fail(f"worker {index} is in bucket {in_buckets.get(index)}, says {worker.bucket}, and belongs into "
                 f"{bucket_of(worker)} ({NO_BUCKET}: none)")
        return 0

    # resources

    cdef int check_resources(self) except -1:
        cdef ResourceTable resources = self.core.resources
        cdef WorkerPool pool = self.core.pool
        cdef dict held = {}                           # account -> what workers hold of it
        cdef dict users = {}                          # supply -> workers that have it
        cdef dict open_workers = {}                   # (supply, bucket) -> workers
        cdef uint32_t index, slot, supply
        cdef Worker *worker
        for index in range(pool.length):
            worker = &pool.workers[index]
            if not worker.present or not worker.supply:
                if worker.supply or worker.requested or worker.claimed_tasks:
                    fail(f"worker {index} has no resources, and has tasks that ask for some")
                continue
            add_to(users, worker.supply - 1, 1)
            if worker.bucket != NO_BUCKET:
                add_to(open_workers, (worker.supply - 1, worker.bucket), 1)
            for slot in range(resources.supplies[worker.supply - 1].count):
                add_to(held, resources.supplies[worker.supply - 1].accounts[slot], worker.holds[slot])
            self.check_claims(index)
        for supply in range(resources.supply_length):
            if resources.supply_keys[supply] is None:
                if supply in users:
                    fail(f"workers have supply {supply}, which is gone")
                continue
            if users.get(supply, 0) != resources.supplies[supply].users:
                fail(f"{users.get(supply, 0)} workers have supply {supply}, not {resources.supplies[supply].users}")
            self.check_supply(supply, open_workers)
        for index in range(resources.account_length):
            if (resources.account_keys[index] is not None
                    and resources.accounts[index].capacity - resources.accounts[index].free != held.get(index, 0)):
                fail(f"{held.get(index, 0)} of account {index} are held, {resources.accounts[index].free} of "
                     f"{resources.accounts[index].capacity} are free")
        return self.check_requests()

    cdef int check_supply(self, uint32_t supply, dict open_workers) except -1:
        cdef Supply *here = &self.core.resources.supplies[supply]
        cdef uint32_t bucket, index, count
        for bucket in range(BUCKETS):
            count = 0
            index = here.heads[bucket]
            while index:
                count += 1
                if self.core.pool.workers[index - 1].supply != supply + 1 or count > self.core.pool.length:
                    fail(f"worker {index - 1} is among those of supply {supply}, and does not belong there")
                index = self.core.pool.workers[index - 1].supply_next
            if count != open_workers.get((supply, bucket), 0) or (count != 0) != here.buckets >> bucket & 1:
                fail(f"{open_workers.get((supply, bucket), 0)} workers of supply {supply} are in bucket {bucket}, not {count}")
        return 0

    cdef int check_claims(self, uint32_t index) except -1:
        """What a worker holds is what one of its tasks needs, or what runs in place there."""
        cdef Worker *worker = &self.core.pool.workers[index]
        cdef uint32_t supply = worker.supply - 1
        cdef uint32_t slot, i, requested = 0
        cdef list claims = []
        cdef dict most = {}
        for row_index in self.held.get(index, ()):
            request = self.core.table.row(<uint32_t>row_index).request
            requested += request != 0
            if request and self.core.claims.is_counted(<uint32_t>request, supply):
                claims.append(request)
        if requested != worker.requested or len(claims) != worker.claimed_tasks or len(set(claims)) > 1:
            fail(f"worker {index} has {requested} tasks that ask for something, and of these {claims} hold some, not "
                 f"{worker.requested} and {worker.claimed_tasks}")
        lent = [request for request in self.lent.get(index, ())
                if self.core.claims.is_counted(<uint32_t>request, supply)]
        if len(lent) != worker.lent_tasks:
            fail(f"{len(lent)} tasks that hold some run in place at worker {index}, not {worker.lent_tasks}")
        for request in set(claims) | set(lent):
            for i in range(self.core.resources.requests[<uint32_t>request].count):
                slot = self.core.resources.slots_of(request, supply)[i]
                if slot < NOT_COUNTED:
                    most[slot] = max(most.get(slot, 0), self.core.resources.requests[<uint32_t>request].amounts[i])
        for slot in range(self.core.resources.supplies[supply].count):
            if worker.holds[slot] < most.get(slot, 0) or not lent and worker.holds[slot] != most.get(slot, 0):
                fail(f"worker {index} holds {worker.holds[slot]} of its account {slot}, and needs {most.get(slot, 0)}")
        return 0

    cdef int look_at_requests(self) except -1:
        """Which requests functions have."""
        cdef FunctionTable functions = self.core.functions
        cdef uint32_t index
        for index in range(len(functions.announced)):
            if functions.announced[index] is not None and functions.functions[index].request:
                add_to(self.request_users, functions.functions[index].request, 1)
        for worker_index, request in self.core.survivors.claimed.items():
            add_to(self.request_users, request, 1)
            self.lent.setdefault(worker_index, []).append(request)
        return 0

    cdef int check_requests(self) except -1:
        cdef ResourceTable resources = self.core.resources
        cdef uint32_t request
        for request in range(1, resources.request_length):
            if resources.request_texts[request] is None:
                if request in self.request_users or self.core.ready.lanes[request] is not None:
                    fail(f"request {request} is gone, and has functions or a lane")
            elif self.request_users.get(request, 0) != resources.requests[request].users or not resources.requests[request].users:
                fail(f"{self.request_users.get(request, 0)} functions have request {request}, not "
                     f"{resources.requests[request].users}")
        return 0

    # tasks that wait for others

    cdef int look_at_node(self, uint32_t row_index, Node *node) except -1:
        cdef Row *row = self.core.table.row(row_index)
        cdef uint32_t waits_for = 0
        cdef bint lacks = False
        cdef Edge *edge
        cdef uint32_t k
        self.nodes += 1
        self.node_bytes += bytes_of_node(node)
        self.written_bytes += node.written
        self.inline_bytes += node.written_inline
        self.rows_touched += node.is_touched
        self.most_written = max(self.most_written, node.written)
        if node.spilled and not (node.is_touched and row.state == ROW_WAITING):
            fail(f"task {row.task:#x}: its inputs are being written, and nobody goes on with that")
        if node.is_touched and (node.is_put_off or self.core.edges.first_touched == 0):
            fail(f"task {row.task:#x}: something is to be done about it, and nobody will do it")
        for k in range(node.count):
            edge = &edges_of(node)[k]
            if edge.dependant != row_index or (edge.link == NULL) != (edge.input == 0) or (edge.blob != NULL and edge.input):
                fail(f"task {row.task:#x}: its edge {k} is not where it says")
            if edge.blob != NULL:
                self.add_blob(edge.blob)
            elif edge.input == 0:
                lacks = True
            else:
                waits_for += 1
                if edge.input == ABSENT:
                    self.absent_edges += 1
                else:
                    self.edges_of_rows += 1
        if waits_for != node.open:
            fail(f"task {row.task:#x} waits for {waits_for} inputs, not {node.open}")
        if not node.is_touched and ((row.state == ROW_WAITING) != (waits_for != 0 or node.is_put_off)
                                    or row.state == ROW_WAITING and (lacks or node.failed or node.lost)):
            fail(f"task {row.task:#x} is {_STATE_WORDS[row.state][0]} and waits for {waits_for} inputs, or for none in vain")
        if node.ended and (node.dependants != NULL or row.state != ROW_KEPT and row.state != ROW_ANSWERED):
            fail(f"task {row.task:#x} has ended, and is {_STATE_WORDS[row.state][0]} or has dependants that wait")
        if row.state == ROW_KEPT and not (node.ended and node.promised):
            fail(f"task {row.task:#x} is kept for nobody")
        if node.blob != NULL:
            self.add_blob(node.blob)
        self.look_at_dependants(row_index, node)
        return 0

    cdef int look_at_dependants(self, uint32_t row_index, Node *node) except -1:
        cdef Edge **link = &node.dependants
        cdef Edge *edge = node.dependants
        while edge != NULL:
            if edge.link != link or edge.input != row_index:
                fail(f"row {row_index}: an edge hangs in its list that does not belong there")
            if edge.task != self.core.table.row(row_index).task:
                fail(f"row {row_index}: an edge in its list waits for task {edge.task:#x}")
            self.edges_in_lists += 1
            link = &edge.next
            edge = edge.next
        return 0

    cdef int add_blob(self, Blob *blob) except -1:
        cdef size_t address = <size_t>blob
        if address not in self.blobs and blob.flags & FLAG_OBJECTS:
            self.add_holders(bytes_of(blob), blob.size)
        self.blobs[address] = self.blobs.get(address, 0) + 1
        return 0

    cdef int check_edges(self) except -1:
        cdef Edges edges = self.core.edges
        cdef uint64_t n_bytes = 0
        if (edges.first_touched == 0) != (edges.last_touched == 0) or edges.settling:
            fail("something is still to be done about tasks that wait for others")
        if edges.nodes != self.nodes:
            fail(f"{self.nodes} tasks have to do with others, not {edges.nodes}")
        if self.edges_of_rows != self.edges_in_lists or self.absent_edges != edges.absent.count:
            fail(f"{self.edges_of_rows} edges wait for tasks and {self.edges_in_lists} hang in their lists; "
                 f"{self.absent_edges} wait for supplies and {edges.absent.count} hang there")
        for address, count in self.blobs.items():
            n_bytes += (<Blob *><size_t>address).size
            client = (<Blob *><size_t>address).client
            self.client_blobs[client] = self.client_blobs.get(client, 0) + sizeof(Blob) + (<Blob *><size_t>address).size
            if (<Blob *><size_t>address).holders != count:
                fail(f"a result is held {(<Blob *><size_t>address).holders} times, and {count} hold it")
        if edges.blobs != len(self.blobs) or edges.blob_bytes != n_bytes:
            fail(f"{len(self.blobs)} results of {n_bytes} bytes are kept, not {edges.blobs} of {edges.blob_bytes}")
        return 0

    # functions and objects

    cdef int check_functions(self) except -1:
        cdef FunctionTable functions = self.core.functions
        cdef Announced announced
        cdef uint32_t index
        cdef list nobodys = functions.free_places + [place for place, _, _ in functions.forgotten]
        if len(set(nobodys)) != len(nobodys):
            fail("a place for functions is to be used again twice")
        for index in range(len(functions.announced)):
            announced = functions.announced[index]
            if announced is None:
                if index in self.users or index not in nobodys:
                    fail(f"function {index} has been forgotten, and is used or never to be used again")
                continue
            if functions.functions[index].users != self.users.get(index, 0) or index in nobodys:
                fail(f"function {index} has {self.users.get(index, 0)} users, not {functions.functions[index].users}")
            request = functions.functions[index].request
            if functions.index_of.get((announced.digest, announced.flags & KEY_FLAGS, request)) != index:
                fail(f"function {index} is not found by its digest")
            if announced.flags & FLAG_OBJECTS:
                self.add_holders(PyBytes_AS_STRING(announced.payload), len(announced.payload))
        return 0

    cdef int check_objects(self) except -1:
        cdef ObjectTable table = self.core.objects
        cdef StoredObject known
        cdef uint64_t n_bytes = 0
        cdef dict left = {}
        for kept in table.kept.values():
            for object, times in kept.items():
                if object not in table.objects or times < 1:
                    fail(f"object {object:#x} is kept {times} times, and is not there")
                self.holders[object] = self.holders.get(object, 0) + times
        for object, known in table.objects.items():
            n_bytes += known.place.size
            if self.holders.get(object, 0) + known.is_held_by_maker != known.holders:
                fail(f"object {object:#x} is held {known.holders} times, and {self.holders.get(object, 0)} hold it"
                     + " besides its maker" * known.is_held_by_maker)
            if known.holders == 0 or known.place.object != object:
                fail(f"object {object:#x} is held by nobody, or goes by another name")
            if known.place.segment in table.left:
                left[known.place.segment] = left.get(known.place.segment, 0) + 1
        if n_bytes != table.bytes:
            fail(f"objects have {n_bytes} bytes, not {table.bytes}")
        for tag, made in table.made.items():
            if not made or any(table.objects.get(object) is not known or maker_of(object) != tag
                               for object, known in made.items()):
                fail(f"what the peer with tag {tag} has made is not what there is of that")
        if sum(map(len, table.made.values())) != len(table.objects):
            fail("there are objects that nobody has made")
        if left != table.left:
            fail(f"of the segments that peers have left, {left} are in use, not {table.left}")
        return 0

    # what waits for time to pass

    cdef int check_deaths(self) except -1:
        cdef list rows = []
        for tag, (_, _, doomed) in self.core.deaths.waiting.items():
            rows += doomed
            for row_index in doomed:
                if not self.core.table.is_in(row_index, ROW_DOOMED) or self.core.table.row(row_index).position != tag:
                    fail(f"row {row_index} waits for news of worker {tag:#x}, and does not belong there")
        if len(rows) != self.states[ROW_DOOMED] or len(set(rows)) != len(rows):
            fail(f"{self.states[ROW_DOOMED]} tasks are doomed, and {len(rows)} wait for news")
        return 0

    cdef int check_survivors(self) except -1:
        cdef Survivors survivors = self.core.survivors
        cdef uint32_t index
        cdef list runs = [(task, attempt, worker) for task, some in survivors.running.items() for attempt, worker in some]
        for row_index in survivors.held_back:
            if not self.core.table.is_in(row_index, ROW_HELD_BACK):
                fail(f"row {row_index} is held back, and is in another state")
        if len(survivors.held_back) != self.states[ROW_HELD_BACK]:
            fail(f"{self.states[ROW_HELD_BACK]} tasks are held back, not {len(survivors.held_back)}")
        if sorted(runs) != sorted((task, attempt, worker) for worker, (task, attempt) in survivors.task_of.items()):
            fail(f"workers run {sorted(runs)}, and each of them says something else")
        for index in range(self.core.pool.length):
            is_due = index in survivors.task_of or self.core.pool.workers[index].is_ending
            if self.core.pool.workers[index].present and self.core.pool.workers[index].is_aside != is_due:
                fail(f"worker {index} is set aside, and neither ends nor runs anything of another scheduler's, or the other "
                     "way round")
        return 0
