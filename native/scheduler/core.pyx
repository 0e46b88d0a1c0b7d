# SchedulerCore: every decision of the scheduler, and no I/O.
#
# Events come in as methods `on_<event>`; records go out into the peers' outlets; `now` is an argument. The state of one
# task has one owner, its row; which states there are and what leads from one to another is one table (states).
#
# The core is made of parts, each of which owns what it is about. In the order in which a task meets them: a row in the
# TaskTable, found again by the Directory of its client in the ClientTable; its turn in the ReadyQueue; its function in
# the FunctionTable; a worker of the WorkerPool, chosen by the Dispatcher; its result, sent by the Answers. What is too
# large for a record is in the ObjectTable. What is here is what happens when a client or a worker says something.
#
# Rule 1: each accepted task is answered exactly once, unless its client cancelled it or left.
# Rule 2: a result counts only with the attempt the row holds.
# Rule 3: the work per event does not depend on how many tasks or workers there are. What a client wants no more is ended
#         in pieces (`go_on`), and none of its tasks is placed meanwhile.
# Rule 4: what ends a task may end others (those that only it needed, those that needed it). So after a call that can end
#         a task nothing is read from a row before it has been looked up again; tables that may move (clients, workers,
#         functions) grow only when one of these is added, which is an event of its own, and rows never move (table).
# Rule 5: most of this runs without the interpreter's lock, in functions that cannot pass an exception on. Where one of
#         them takes the lock, nothing but MemoryError can come up, and the function that takes it does nothing else, so
#         that its caller goes on in any case. What is then not done leaves no task unanswered; a comment there says what
#         becomes of it.
# Not here: sockets, clocks, processes (the shell).

from array import array as _array

cdef enum:
    MOST_TAG = (1 << 24) - 1 # tags of workers are counted down from here, those of clients are drawn

cdef int64_t MOST_CLEARED = 4096    # tasks and functions that are ended in one go, and then others have their turn
cdef uint64_t MOST_SETTLED_BYTES = 1 << 20    # of inputs that are written in one go, be it in several events


@cython.final
cdef class SchedulerCore:
    """The scheduler without its sockets."""
    cdef readonly TaskTable table
    cdef ClientTable clients
    cdef ReadyQueue ready
    cdef FunctionTable functions
    cdef ResourceTable resources
    cdef readonly WorkerPool pool
    cdef Claims claims
    cdef Dispatcher dispatcher
    cdef Outcomes outcomes
    cdef Answers answers
    cdef Deaths deaths
    cdef readonly ObjectTable objects
    cdef Survivors survivors
    cdef readonly Edges edges
    cdef readonly uint64_t own_tag     # of the objects that the scheduler's shell makes, for those that come over a wire
    cdef uint64_t next_tag
    cdef dict worker_of_tag            # index by tag
    cdef set tags_brought              # of workers that have outlived another scheduler, though they have gone
    cdef uint64_t accepted, refused, dropped, late
    cdef uint64_t turned_away          # because no worker had room and enough were waiting
    cdef public int64_t most_waiting   # tasks that no worker has room for; -1: any number
    cdef list unfinished               # indices of clients of which something is being cleared

    def __cinit__(self, uint32_t epoch=1, str epoch_name=None, str folder=None):
        self.objects = ObjectTable(epoch_name or "", folder or "")
        self.own_tag = MOST_TAG
        self.next_tag = MOST_TAG - 1
        self.worker_of_tag, self.tags_brought = {}, set()
        self.table = TaskTable(epoch)
        self.clients = ClientTable(self.table)
        self.ready = ReadyQueue(self.table)
        self.resources = ResourceTable(self.ready)
        self.functions = FunctionTable(self.objects, self.clients, self.resources)
        self.pool = WorkerPool(self.resources, self.ready)
        self.claims = Claims(self.ready, self.resources, self.pool)
        self.edges = Edges(self.table, self.clients, self.objects, self.own_tag)
        self.outcomes = Outcomes(self.table, self.functions, self.pool)
        self.answers = Answers(self.table, self.ready, self.clients, self.objects, self.functions, self.edges, self.outcomes)
        self.dispatcher = Dispatcher(self.table, self.ready, self.functions, self.pool, self.objects, self.answers,
                                     self.claims)
        self.survivors = Survivors(self.table, self.ready, self.clients, self.pool, self.objects, self.answers, self.claims)
        self.deaths = Deaths(self.table, self.answers)
        self.client_queue_bytes = 2 << 30
        self.most_waiting = -1
        self.unfinished = []

    @property
    def client_queue_bytes(self):
        """How much may be kept for each client (quota)."""
        return self.clients.quota

    @client_queue_bytes.setter
    def client_queue_bytes(self, uint64_t n_bytes):
        self.clients.quota = n_bytes
        self.objects.most_made = most_objects(n_bytes)

    # clients come and go

    def on_client_joined(self, uint32_t client_bits, Outlet results not None, Outlet control not None,
                         uint64_t worker_tag=0, uint64_t now=0):
        """A client with its 24 random bits. Its index; ValueError if the bits are in use.

        `worker_tag` says that it is the client of the tasks that run in this worker.
        """
        cdef uint32_t index
        if not 0 < client_bits < 1 << 24:
            raise ValueError(f"a client's number has 24 bits, not {client_bits}")
        if self.has_client(client_bits) or client_bits > self.next_tag or client_bits in self.tags_brought:
            raise ValueError(f"client number {client_bits} is in use")
        index = self.clients.make_room()
        if not self.ready.add_client(index):
            raise MemoryError("no memory for another client")
        self.clients.add(index, client_bits, results, control)
        if results.is_elsewhere():
            self.objects.elsewhere.add(client_bits)
        self.clients.clients[index].worker_tag = worker_tag
        self.clients.clients[index].joined_ns = now
        return index

    def has_client(self, uint32_t client_bits):
        """Whether a client with these bits is here, or has left tasks that still run."""
        return self.clients.find((<uint64_t>client_bits) << TASK_NUMBER_BITS) != 0

    def on_client_left(self, uint32_t index, uint64_t now):
        """A client is gone: nobody waits for its tasks any more. Names of the segments in its store that are still of use."""
        cdef uint64_t tag = self.clients.tag_of(index)
        self.table.now_ns = now
        self.ready.orphan(index)
        self.functions.on_client_left(index)
        self.clients.leave(index)
        self.clear(index, NUMBER_MASK + 1)
        names = self.objects.on_left(tag)
        self.dispatch(now)
        return names

    # what a client says

    cdef inline bint has_to_wait(self, uint32_t index, uint64_t cost) noexcept nogil:
        """Whether this client has so much queued that a submit of this cost stays where it is."""
        if self.may_take(index, cost):
            if self.clients.clients[index].was_stalled:
                self.clients.clients[index].was_stalled = False
            return False
        return cost != 0 and self.has_no_other_way(index, cost)

    cdef bint has_no_other_way(self, uint32_t index, uint64_t cost) noexcept nogil:
        """The same of one that has no room for it."""
        cdef Client *client = &self.clients.clients[index]
        # What has submitted the tasks of a task holds a worker, and that must go on: it is not held up, but refused.
        if client.worker_tag:
            return not self.answers.may_refuse(index)
        if not self.is_stalled(index):
            return True
        client.was_stalled = True
        return not may_take_stalled(client, self.clients.quota, cost) and not self.answers.may_refuse(index)

    cdef inline bint may_take(self, uint32_t index, uint64_t cost) noexcept nogil:
        return may_take(&self.clients.clients[index], self.clients.quota, cost)

    cdef inline bint is_stalled(self, uint32_t index) noexcept nogil:
        """Whether nothing that is here of this client can go on before it says more (quota)."""
        return has_only_waiting(&self.clients.clients[index]) and self.clients.clients[index].rows_touched == 0

    cdef const char *reason_to_refuse(self, uint32_t index, uint64_t cost) noexcept nogil:
        """Why there is no room for a task that did not have to wait; NULL if there is."""
        cdef Client *client = &self.clients.clients[index]
        if not client.worker_tag and not client.was_stalled or self.may_take(index, cost):
            return NULL
        if not client.worker_tag and (not self.is_stalled(index) or may_take_stalled(client, self.clients.quota, cost)):
            return NULL
        if not self.answers.may_refuse(index):
            return NULL                               # it has waited for its objects, and the room has gone meanwhile
        if client.worker_tag:
            return b"the tasks that its task has submitted take more room than --client-queue-bytes"
        return b"too many tasks wait for results that their client has to hand in (--client-queue-bytes)"

    cdef inline bint knows_function(self, uint32_t index, uint32_t number) noexcept nogil:
        return self.clients.find_function(index, number) != 0

    def on_function(self, uint32_t index, uint32_t number, bytes digest not None, int flags, bytes payload not None):
        """A client announces a function under a number of its own. Equal functions of all clients are one here."""
        cdef uint32_t request = 0
        cdef bytes text
        if flags & FLAG_REQUEST:
            flags &= ~FLAG_REQUEST
            payload, text = cut_request(payload)
            if flags & FLAG_NAMED and not 0 < len(payload) <= MOST_FUNCTION_NAME_BYTES:
                text = None
            found = None if text is None else self.resources.find_request(text)
            if found is None:
                self.refused += 1
                self.drop_announced(index, flags, payload)
                return
            request = found
        self.take_function(index, number, digest, flags, payload, request)
        if request:
            self.resources.drop_unused(request)       # what was announced may not have been taken

    cdef int drop_announced(self, uint32_t index, int flags, bytes payload) except -1:
        """It will not be known: what it brings is of no use."""
        if flags & FLAG_OBJECTS:
            payload = PyBytes_FromStringAndSize(PyBytes_AS_STRING(payload), len(payload))
            self.objects.take_and_drop(PyBytes_AS_STRING(payload), len(payload), self.clients.tag_of(index))
        return 0

    cdef int take_function(self, uint32_t index, uint32_t number, bytes digest, int flags, bytes payload,
                           uint32_t request) except -1:
        cdef uint64_t tag = self.clients.tag_of(index)
        cdef uint32_t taken = self.clients.find_function(index, number)
        cdef bint is_new, is_owed
        known = self.functions.find(digest, flags, request)
        is_new = known is None and not taken
        is_owed = known is not None and self.functions.is_owed(known, index)
        if (not taken and not is_owed and not may_announce(&self.clients.clients[index], self.clients.quota,
                                                           len(payload) + (REQUEST_BYTES if request else 0))):
            self.refused += 1
            self.drop_announced(index, flags, payload)
            return 0
        if flags & FLAG_OBJECTS:
            payload = PyBytes_FromStringAndSize(PyBytes_AS_STRING(payload), len(payload))    # ours, to be completed
            if not is_new:
                self.objects.take_and_drop(PyBytes_AS_STRING(payload), len(payload), tag)
            elif self.objects.take(PyBytes_AS_STRING(payload), len(payload), tag, True) != PLACES_GOOD:
                self.refused += 1
                return 0
        elif is_new and digest_of(payload, flags) != digest:
            # Else the first client to announce a digest would choose the code of all. Objects are their maker's to
            # change at any time.
            self.refused += 1
            return 0
        if taken:
            self.refused += known is None or <uint32_t>known != taken - 1
            return 0
        if is_new:
            known = self.functions.add(digest, flags, payload, request)
        self.functions.use(known)
        if not self.clients.note_function(index, number, known, 0 if is_owed else self.functions.bytes_of(known)):
            self.refused += 1
            self.functions.let_go(known)
        elif is_owed:
            self.functions.count_anew(known, index)
        return 0

    cdef inline bint has_room_for_function(self, uint32_t index, uint64_t n_bytes) noexcept nogil:
        return may_announce(&self.clients.clients[index], self.clients.quota, n_bytes)

    def has_to_announce_later(self, uint32_t index, uint64_t n_bytes):
        """Whether there is no room for one more function with so many bytes, and will be if its client waits: tasks of its
        go on, and functions of theirs go with them. The tasks of a task hold a worker, and do not wait for this."""
        return (not self.has_room_for_function(index, n_bytes) and not self.clients.clients[index].worker_tag
                and not self.is_stalled(index))

    def on_forget(self, uint32_t index, uint32_t number):
        """The client will not name this function again. Its tasks that name it go on."""
        cdef uint32_t known = self.clients.find_function(index, number)
        if known == 0:
            self.refused += 1
            return
        self.clients.forget_function(index, number)
        self.functions.let_go_of_announced(known - 1, index)

    cdef void on_submit(self, uint32_t index, Record *record, uint64_t now) noexcept nogil:
        """A client submits a task, or says something of one by a record of the same form.

        The order of the checks matters, since each relies on those before it:

        1. What is said of another task is no task: it has that one's id on purpose, so it is looked at before ids are.
        2. A record with somebody else's id, or one that is in use, gets no answer: it would be taken for the other's.
        3. Room is asked for before there is a row, so that a refusal needs no memory.
        4. The row is filled before the directory has it: until then it is undone by giving it back. From then on it is
           ended by an answer, and an end gives back what the row holds. So the function is counted at once.
        5. Inputs come before objects, since whether its answer concerns other tasks must be known when the row is
           answered for the first time; and a row is answered only after its objects are held, since the answer lets go
           of them.
        6. That its function is not known is said last, by which time the row holds all that its end lets go of.
        7. Only what could run now counts for `most_waiting`: what waits for inputs, or is held back, comes to it later.
        """
        cdef uint32_t function
        cdef uint32_t row_index
        cdef Row *row
        cdef const char *reason
        cdef CallCounts *calls = self.table.counts_of(index)
        cdef FunctionCounts *counts
        self.table.now_ns = now
        if record.flags & FLAG_INPUTS and self.clients.is_own(index, record.task) and self.is_said_of_another(index, record):
            return
        if (not self.clients.is_own(index, record.task) or record.kind != KIND_TASK
                or self.clients.find_row(index, record.task)):
            self.refused += 1
            self.drop_brought(index, record)
            return
        if self.clients.clients[index].worker_tag or self.clients.clients[index].was_stalled:
            reason = self.reason_to_refuse(index, cost_of(record))
            if reason != NULL:
                self.refuse(index, record, reason)
                return
        function = self.clients.find_function(index, record.function)
        row_index = self.table.take()
        if row_index == 0:
            self.refuse(index, record, b"the scheduler has no memory left")
            return
        row = self.table.row(row_index)
        row.task = record.task
        row.client = index
        row.function = function - 1 if function else NO_FUNCTION
        row.items = record.items
        row.flags = record.flags & ~<uint8_t>FLAG_RESENT
        row.placements = 0
        row.deaths = 0
        row.charged = False
        row.awaited = False
        row.request = <uint16_t>self.functions.functions[function - 1].request if function else 0
        note_options(row, record)
        if row.request and not self.ready.make_lists(row.request, index):
            self.table.give_back(row_index)
            self.refuse(index, record, b"the scheduler has no memory left")
            return
        if self.clients.clients[index].worker_tag and not self.find_strand(row, record.detail):
            self.table.give_back(row_index)
            self.refuse(index, record, b"the scheduler has no memory left")
            return
        if (not self.table.set_payload(row, payload_of(record), payload_bytes_of(record))
                or not self.clients.note_row(row_index)):
            self.ready.let_go(row)
            self.table.give_back(row_index)
            self.refuse(index, record, b"the scheduler has no memory left")
            return
        calls.submitted += calls_of(row)
        if function:
            self.functions.use(function - 1)
            counts = self.functions.counts_of(function - 1)
            counts.submitted += calls_of(row)
        if row.flags & FLAG_INPUTS and not self.edges.begin(row_index):
            self.refused += 1
            row.flags = <uint8_t>(row.flags & ~<int>FLAG_INPUTS)
            if row.flags & FLAG_OBJECTS and not self.take_objects(row_index):
                return
            self.answers.answer_text(row_index, STATUS_REFUSED, b"what it says of its inputs makes no sense")
            return
        if row.flags & FLAG_OBJECTS and not self.take_objects(row_index):
            self.settle()
            return
        if function == 0:
            self.refused += 1
            self.answers.answer_text(row_index, STATUS_REFUSED, b"the task names a function that was never announced, "
                                     b"or that its client had no room left for (--client-queue-bytes)")
            self.settle()
            return
        self.accepted += 1
        if row.node != NULL:
            self.start_node(row_index)
            if record.flags & FLAG_RESENT and self.is_in(index, record.task, ROW_WAITING):
                self.survivors.look_for_result(row_index)
                self.settle()
            if not self.is_in(index, record.task, ROW_READY):    # it waits for others, or is over
                return
            if record.flags & FLAG_RESENT:
                self.survivors.hold_back(row_index, now)
                self.settle()
                return
        elif record.flags & FLAG_RESENT:
            self.survivors.hold_back(row_index, now)
            self.settle()
            return
        else:
            self.ready.push(row_index, EVENT_CAN_RUN, False)
        if (self.most_waiting >= 0 and self.ready.total() > <uint64_t>self.most_waiting
                and self.clients.clients[index].waiting_head == 0 and not self.clients.clients[index].worker_tag):
            self.turn_away(row_index, now)

    cdef inline bint is_in(self, uint32_t index, uint64_t task, uint32_t state) noexcept nogil:
        """Whether the client's task is still here, and in this state."""
        cdef uint32_t row_index = self.clients.find_row(index, task)
        return row_index and self.table.row(row_index).state == state

    cdef bint find_strand(self, Row *row, uint32_t detail) noexcept nogil:
        """Where a task belongs that another has submitted, whose `detail` says for whom and how deep (origin). False if there
        is no memory."""
        cdef uint32_t root = self.clients.bits.find(detail >> 8)
        root = root - 1 if root and self.clients.clients[root - 1].present else row.client
        row.level = <uint8_t>self.ready.take_strand(row, root, detail >> 8, detail & 0xFF)
        return row.level != 0

    cdef void refuse(self, uint32_t index, Record *record, const char *text) noexcept nogil:
        self.refused += 1
        self.drop_brought(index, record)
        self.answers.refuse(index, record, text)

    cdef void drop_brought(self, uint32_t index, Record *record) noexcept nogil:
        """There will be no task of this record: what it brings is of no use."""
        if record.flags & FLAG_OBJECTS:
            self.objects.refuse_record(payload_of(record), payload_bytes_of(record), self.clients.tag_of(index))

    cdef bint take_objects(self, uint32_t row_index) noexcept nogil:
        """The row holds the objects that it names. False if it cannot, and the task has been answered with that."""
        cdef Row *row = self.table.row(row_index)
        cdef uint64_t tag = self.clients.tag_of(row.client)
        cdef int answer = self.objects.take_record(self.table.payload(row), row.payload_bytes, tag, True)
        if answer == PLACES_GOOD:
            return True
        self.hold_no_objects(row_index)
        self.refused += 1
        if answer == PLACES_MISSING:
            self.answers.answer_text(row_index, STATUS_MISSING,
                                     b"an object that it names is not there: it was cleared, or is another client's")
        else:
            self.answers.answer_text(row_index, STATUS_REFUSED,
                                     b"there was no room for an object that it names, or the object makes no sense")
        return False

    cdef void hold_no_objects(self, uint32_t row_index) noexcept nogil:
        """The row does not hold the objects that its payload names, or will not let go of them."""
        cdef Row *row = self.table.row(row_index)
        cdef Client *client = &self.clients.clients[row.client]
        client.brought_bytes -= new_bytes(self.table.payload(row), row.payload_bytes)
        row.flags = <uint8_t>(row.flags & ~<int>FLAG_OBJECTS)

    cdef void turn_away(self, uint32_t row_index, uint64_t now) noexcept nogil:
        """More tasks wait than may: unless a worker has room after all, the newcomer is answered with that."""
        cdef uint64_t task = self.table.row(row_index).task
        self.dispatch(now)
        row_index = self.clients.find_open(task)      # that may have ended it, and freed its row
        if (row_index == 0 or self.ready.total() <= <uint64_t>self.most_waiting
                or self.table.row(row_index).state != ROW_READY):
            return
        self.turned_away += 1
        self.ready.remove(row_index)
        self.answers.answer_text(row_index, STATUS_NO_WORKER, b"no worker has room for it, and no more tasks may wait")
        self.settle()

    def fail_waiting(self, bytes text not None, uint32_t most):
        """No worker will come for what waits for one: answer up to so many with this. True if there are more.

        What waits for its inputs, or for its client to read, is in no turn yet and comes to it later.
        """
        cdef uint32_t row_index
        row_index = self.ready.find_any()
        while most and row_index:
            self.turned_away += 1
            self.ready.remove(row_index)
            self.answers.answer_text(row_index, STATUS_NO_WORKER, text)
            self.settle()
            most -= 1
            row_index = self.ready.find_any()
        return row_index != 0

    def on_cancel(self, uint32_t index, uint64_t task, uint64_t now):
        """The client does not want this task any more.

        Unknown tasks are no error: they may just have ended, or a worker that has not come over yet runs them.
        """
        cdef uint32_t row_index
        self.table.now_ns = now
        if not self.clients.is_own(index, task):
            self.refused += 1
            return
        row_index = self.clients.find_row(index, task)
        if row_index:
            if not self.is_needed(row_index):
                self.cancel(row_index)
                self.settle()
            self.dispatch(now)
        else:
            self.survivors.refuse(task)

    def on_recall(self, uint32_t index, uint64_t task, uint64_t now):
        """The client does not want this task unless it has begun. If it has not, that is its answer.

        What other tasks need stays, and so does what waits for others. Of a task that is with a relay, that one is asked
        (on_withdrawn).
        """
        cdef uint32_t row_index
        cdef Row *row
        cdef int taken
        if not self.clients.is_own(index, task):
            self.refused += 1
            return
        row_index = self.clients.find_row(index, task)
        if not row_index:
            return
        self.table.now_ns = now
        row = self.table.row(row_index)
        if row.node != NULL:
            return
        if row.state == ROW_PLACED:
            taken = self.dispatcher.withdraw(row_index)
            if taken == WITHDREW:
                self.dispatcher.take_back(row_index)
            elif taken == ASKED:
                row.asked = ASKED_FOR_CLIENT
        if row.state == ROW_READY:
            self.end_recalled(row_index)
        self.dispatch(now)

    cdef void end_recalled(self, uint32_t row_index) noexcept nogil:
        self.ready.remove(row_index)
        self.answers.answer_text(row_index, STATUS_STOPPED, b"")
        self.settle()

    def on_clear(self, uint32_t index, uint64_t now, uint64_t before=-1):
        """The client wants none of its tasks any more, up to the id `before`: later ones it has submitted since."""
        self.table.now_ns = now
        self.clear(index, NUMBER_MASK + 1 if before == <uint64_t>-1 else before & NUMBER_MASK)
        self.dispatch(now)

    def is_clearing(self, uint32_t index):
        """Whether something of this client is still to be cleared: what it says next has to wait for that."""
        return self.clients.clients[index].unfinished

    def on_client_release(self, uint32_t index, objects):
        """The client holds these objects no more."""
        self.release(self.clients.tag_of(index), objects)

    cdef release(self, uint64_t tag, objects):
        cdef bytes ids = _array("Q", objects).tobytes()
        self.objects.release(tag, PyBytes_AS_STRING(ids), len(ids))

    # what a client wants no more

    cdef int clear(self, uint32_t index, uint64_t before) except -1:
        """End the client's tasks with lower numbers, and its functions if it has left: some now, the rest in pieces."""
        cdef Client *client = &self.clients.clients[index]
        client.clear_before = max(before, client.clear_before if client.unfinished else 0)
        directory_walk(&client.directory)
        if client.leaving:
            directory_walk(&client.functions)
        if not self.clear_some(index) and not client.unfinished:
            self.unfinished.append(index)
            client.unfinished = True
            self.ready.hold(index, True, HELD_CLEARING)
        return 0

    cdef bint has_unfinished(self):
        """Whether `go_on` has something to do."""
        return len(self.unfinished) != 0 or self.edges.first_touched != 0

    def go_on(self, uint64_t now):
        """Clear some more of what clients want no more, and settle some more. True if there is still something left."""
        self.table.now_ns = now
        self.edges.settled_bytes = 0
        self.edges.is_cut = False
        self.settle()
        for index in list(self.unfinished):
            if self.clear_some(index):
                self.unfinished.remove(index)
                self.clients.clients[<uint32_t>index].unfinished = False
                self.ready.hold(index, False, HELD_CLEARING)
        self.dispatch(now)
        return self.has_unfinished()

    cdef bint clear_some(self, uint32_t index) except -1:
        """One piece of that. True if it was the last."""
        cdef Client *client = &self.clients.clients[index]
        cdef int64_t left = MOST_CLEARED
        cdef uint64_t number = 0
        cdef uint32_t i, row_index
        while left > 0 and directory_step(&client.directory, &number):
            left -= 1                                 # for the page, which may have nothing that is meant
            for i in range(PAGE_NUMBERS):
                row_index = directory_find(&client.directory, number + i) if number + i < client.clear_before else 0
                if row_index:
                    self.cancel(row_index)
                    left -= 1
        self.settle()
        while left > 0 and directory_step(&client.functions, &number):
            left -= 1
            for i in range(PAGE_NUMBERS):
                if directory_find(&client.functions, number + i):
                    self.on_forget(index, <uint32_t>(number + i))
                    left -= 1
        if client.directory.walk != NULL or client.functions.walk != NULL:
            return False
        self.clients.release(index)
        return True

    cdef void cancel(self, uint32_t row_index) noexcept nogil:
        cdef Row *row = self.table.row(row_index)
        cdef uint32_t state = row.state
        if is_open(state):
            self.outcomes.note_cancelled(row_index)
        if state == ROW_READY:
            self.ready.remove(row_index)
            self.answers.end(row_index)
        elif state == ROW_PLACED:
            if self.dispatcher.withdraw(row_index) == WITHDREW:
                self.dispatcher.unplace(row_index)
                self.answers.end(row_index)
            else:
                self.table.move(row, EVENT_IS_UNWANTED)
                self.dispatcher.stop(row_index)
        elif state == ROW_ANSWERED:
            self.answers.stop_waiting(row_index)
            self.end_whole(row_index)
        elif state == ROW_WAITING or state == ROW_KEPT:
            self.end_whole(row_index)
        elif state == ROW_HELD_BACK:
            self.survivors.cancel(row_index)
        elif state == ROW_LENT:
            self.note_not_lent(row_index)
            self.answers.end(row_index)
        elif state == ROW_DOOMED:
            self.deaths.save(row_index)
            self.answers.end(row_index)

    # tasks of tasks

    def on_wait(self, uint32_t index, uint64_t task, uint64_t now):
        """A task waits for this one, which it has submitted: unless it runs somewhere, its client is to run it.

        So is what waits behind the one that waits: who knows how long that will take.
        """
        cdef uint32_t row_index
        cdef uint32_t state
        cdef Client *client = &self.clients.clients[index]
        self.table.now_ns = now
        if not self.clients.is_own(index, task):
            self.refused += 1
            return
        row_index = self.clients.find_row(index, task)
        if row_index:
            worker = self.worker_of_tag.get(client.worker_tag)
            if worker is not None:
                self.dispatcher.relieve(<uint32_t>worker)
                self.pool.set_blocked(<uint32_t>worker, True)
            self.table.row(row_index).awaited = True
            state = self.table.row(row_index).state
            if self.table.row(row_index).request and not self.may_lend(index, row_index):
                state = ROW_NEW                       # it is not for this worker: another one will run it
            if state == ROW_PLACED and self.dispatcher.withdraw(row_index) == WITHDREW:
                self.dispatcher.take_back(row_index)
                state = ROW_READY
            if state == ROW_READY:
                self.lend(index, row_index)
        self.dispatch(now)

    cdef int lend(self, uint32_t index, uint32_t row_index) except -1:
        """Have the client run it, if that can be said just now; else it asks again."""
        cdef object control = self.clients.control_of(index)
        cdef Record *record
        if control is None or self.table.row(row_index).request and not self.may_lend(index, row_index):
            return 0
        record = (<Outlet>control).reserve(0)
        if record == NULL:
            return 0
        self.ready.remove(row_index)
        self.table.move(self.table.row(row_index), EVENT_IS_LENT)
        worker = self.worker_of_tag.get(self.clients.clients[index].worker_tag)
        if worker is not None:
            self.claims.lend(<uint32_t>worker, self.table.row(row_index).request)
        fill_record(record, KIND_RUN_HERE, 0, 0, 0, self.table.row(row_index).task, 0, 0, 0)
        (<Outlet>control).commit()
        full_fence()
        (<Outlet>control).flush()
        return 0

    cdef bint may_lend(self, uint32_t index, uint32_t row_index) except -1:
        """Whether a task that asks for resources may run in the worker whose tasks' client this is. Elsewhere it is not
        known which worker that is: it does not wait for what it has not (nested)."""
        worker = self.worker_of_tag.get(self.clients.clients[index].worker_tag)
        return worker is None or self.claims.may_lend(<uint32_t>worker, self.table.row(row_index).request)

    cdef void note_not_lent(self, uint32_t row_index) noexcept nogil:
        """What the row's task holds where it runs in place is given back."""
        if self.table.row(row_index).request:
            with gil:                                 # with no memory for this, it is with the worker's end
                worker = self.worker_of_tag.get(self.clients.clients[self.table.row(row_index).client].worker_tag)
                if worker is not None:
                    self.claims.unlend(<uint32_t>worker, self.table.row(row_index).request)

    def on_return(self, uint32_t index, uint64_t task, bint is_done, uint64_t now):
        """The client has run what it was lent, or will not."""
        cdef uint32_t row_index = 0
        if self.clients.is_own(index, task):
            row_index = self.clients.find_row(index, task)
        if row_index == 0 or self.table.row(row_index).state != ROW_LENT:
            return
        self.table.now_ns = now
        self.note_not_lent(row_index)
        if is_done:
            self.outcomes.note_run_in_place(row_index)
            self.answers.end(row_index)
        else:
            self.table.row(row_index).awaited = False
            self.ready.push(row_index, EVENT_IS_RETURNED, True)
            self.dispatch(now)

    # tasks that wait for others

    cdef void end_whole(self, uint32_t row_index) noexcept nogil:
        """End it, though dependants may still be sent."""
        if self.table.row(row_index).node != NULL:
            self.edges.node(row_index).promised = 0
        self.answers.end(row_index)

    cdef bint is_said_of_another(self, uint32_t index, Record *record) noexcept nogil:
        """This is no task: the result of one that has ended, for those that came too late for it, or the end of waiting."""
        cdef Inputs inputs
        cdef uint32_t row_index
        if not read_inputs(&inputs, payload_of(record), payload_bytes_of(record), record.flags):
            return False
        if inputs.about & INPUTS_GIVE_UP:
            row_index = self.clients.find_row(index, record.task)
            if row_index and self.table.row(row_index).node != NULL:
                self.promise_no_more(row_index)
            self.drop_brought(index, record)
            return True
        if not inputs.about & INPUTS_SUPPLY:
            return False
        if not self.edges.supply(index, record, inputs.about >> 16, self.clients.tag_of(index)):
            self.refused += 1
        self.settle()
        return True

    cdef void promise_no_more(self, uint32_t row_index) noexcept nogil:
        """No further dependant will be sent."""
        cdef Node *node = self.edges.node(row_index)
        node.promised = 0
        if self.table.row(row_index).state == ROW_KEPT or self.edges.is_unwanted(node):
            self.edges.touch(row_index)
        self.settle()

    cdef void start_node(self, uint32_t row_index) noexcept nogil:
        """Everything is known of it: let it wait, or run it, or end it."""
        cdef Node *node = self.edges.node(row_index)
        self.table.move(self.table.row(row_index), EVENT_WAITS)
        self.edges.begin_waiting(row_index)
        if node.open == 0 or node.failed or node.lost:
            self.edges.touch(row_index)
        self.settle()

    def has_dependants(self, uint64_t task):
        """Whether other tasks will need the result of this one, as far as is known by now."""
        cdef uint32_t row_index = self.clients.find_open(task)
        cdef Node *node = self.edges.node(row_index) if row_index else NULL
        return node != NULL and (node.dependants != NULL or node.promised != 0)

    cdef bint is_needed(self, uint32_t row_index) noexcept nogil:
        """Its client wants the result no more. True if other tasks do: then it goes on for them."""
        cdef Node *node = self.edges.node(row_index)
        if node == NULL:
            return False
        node.inner = True
        if node.dependants == NULL and node.promised == 0:
            return False
        if self.table.row(row_index).state == ROW_ANSWERED:
            self.answers.stop_waiting(row_index)
            self.answers.end(row_index)
        return True

    cdef inline void settle(self) noexcept nogil:
        """Do what is to be done about those whose inputs have come, or whose dependants have gone."""
        if self.edges.first_touched and not self.edges.settling:
            if self.edges.settled_bytes < MOST_SETTLED_BYTES:
                self.settle_touched()
            else:
                self.edges.is_cut = True              # enough was copied: `go_on` does the rest

    cdef void settle_touched(self) noexcept nogil:
        cdef uint32_t row_index
        cdef int64_t left = MOST_CLEARED
        self.edges.settling = True
        while self.edges.first_touched and left > 0 and self.edges.settled_bytes < MOST_SETTLED_BYTES:
            left -= 1
            row_index = self.edges.first_touched
            self.edges.untouch(row_index)
            self.settle_one(row_index)
        self.edges.is_cut = self.edges.first_touched != 0
        self.edges.settling = False

    cdef void settle_one(self, uint32_t row_index) noexcept nogil:
        cdef Node *node = self.edges.node(row_index)
        cdef uint32_t state = self.table.row(row_index).state
        cdef uint32_t client = self.table.row(row_index).client
        cdef bint is_next = self.edges.end_turn(&self.clients.clients[client], row_index)
        cdef int answer
        if state == ROW_KEPT:
            if node.promised == 0:
                self.answers.end(row_index)
        elif not node.ended and self.edges.is_unwanted(node):
            self.cancel(row_index)
        elif state == ROW_WAITING:
            if node.failed:
                self.fail_as_input(row_index, self.edges.failure_of(node))
            elif node.lost == LOST_NO_ROOM:
                self.answers.answer_text(row_index, STATUS_REFUSED, b"the result of one of its inputs is not there: no more "
                                         b"results were kept for other tasks than --client-queue-bytes has room for")
            elif node.lost:
                self.answers.answer_text(row_index, STATUS_REFUSED, b"one of its inputs is not there: it was cancelled, "
                                         b"there was no room for it, or it went with another scheduler")
            elif node.open == 0:
                if not self.edges.has_room(row_index) or not is_next and not node.spilled and self.has_waiting(client):
                    self.edges.put_off(row_index, is_next)
                    return
                answer = self.edges.complete(row_index)
                if answer == IS_BEING_WRITTEN:
                    self.edges.touch(row_index)       # behind the others
                    return
                if answer == IS_COMPLETE:
                    self.edges.take_up(&self.clients.clients[self.table.row(row_index).client])
                    self.edges.end_waiting(row_index)
                    self.ready.push(row_index, EVENT_IS_COMPLETE, True)
                else:
                    self.answers.answer_text(row_index, STATUS_REFUSED, b"there was no room for its inputs, or it names "
                                             b"so many objects besides that no record has room for them all")
        if is_next and self.clients.clients[client].written_bytes == 0:
            self.edges.take_up(&self.clients.clients[client])

    cdef inline bint has_waiting(self, uint32_t client) noexcept nogil:
        """Whether tasks of this client are put off, one of which may just have been taken up."""
        return self.clients.clients[client].put_off_first != 0 or self.clients.clients[client].taken_up != 0

    cdef void fail_as_input(self, uint32_t row_index, Blob *blob) noexcept nogil:
        """It ends as its input did."""
        cdef Row *row = self.table.row(row_index)
        cdef Record *record = <Record *>malloc(RECORD_HEADER_BYTES + blob.size)
        if record == NULL or blob.flags & FLAG_OBJECTS and not self.objects.hold_record(bytes_of(blob), blob.size):
            free(record)
            self.answers.answer_text(row_index, STATUS_REFUSED, b"one of its inputs failed")
            return
        record.record_bytes = RECORD_HEADER_BYTES + blob.size
        fill_record(record, KIND_RESULT, blob.flags, blob.status, 0, row.task, self.table.attempt_of(row), row.items, 0)
        memcpy(payload_of(record), bytes_of(blob), blob.size)
        self.answers.answer(row_index, record)
        free(record)

    def take_back_all(self, uint32_t index):
        """This worker will be killed: what it has not begun goes elsewhere."""
        self.dispatcher.take_back_all(index)

    def on_worker_ends(self, uint32_t index):
        """Somebody has been asked to kill this worker: it is given nothing more, since it would take that along."""
        if index < self.pool.length and self.pool.workers[index].present:
            self.pool.set_ending(index)

    def on_worker_leaves(self, uint32_t index, uint64_t now):
        """This worker ends once it has done what it runs: it is given nothing more, and what it has not begun goes
        elsewhere. If it is killed before that, its task is not to blame (`charge`)."""
        if index >= self.pool.length or not self.pool.workers[index].present:
            return
        self.table.now_ns = now
        self.pool.workers[index].is_leaving = True
        self.pool.set_ending(index)
        self.dispatcher.take_back_all(index)
        self.dispatch(now)
        self.flush()

    # workers come and go

    def on_worker_joined(self, Outlet tasks not None, Outlet control not None, uint32_t queue_size=1000, *,
                         uint32_t host=0, uint64_t tag=0, uint64_t now=0, bytes supply not None=b"",
                         bint is_picky=False):
        """A worker that may be given tasks. Its index.

        `host` is 0 for the scheduler's own, else a number of the ObjectTable's; what is made there comes under a tag of
        the scheduler's. One that outlived its scheduler has its `tag`; ValueError if somebody else has it. `supply` is
        what it has (resources); ValueError if that makes no sense. A picky one is given only what asks for some of that.
        """
        cdef uint32_t index
        cdef uint32_t has = 0
        if tag and (tag in self.worker_of_tag or self.has_client(tag) or tag >= self.own_tag
                    or (tag > self.next_tag and tag not in self.tags_brought)):
            raise ValueError(f"tag {tag} is in use")
        if supply:
            has = self.resources.use_supply(host, supply)
        if tag:
            self.tags_brought.add(tag)
        else:
            tag = self.draw_tag()
        index = self.pool.add(tasks, control, queue_size, has, is_picky)
        self.pool.workers[index].tag = tag
        self.pool.workers[index].host = host
        self.pool.workers[index].joined_ns = self.pool.workers[index].since_ns = now
        self.pool.workers[index].maker = self.own_tag if host else self.pool.workers[index].tag
        self.worker_of_tag[self.pool.workers[index].tag] = index
        return index

    cdef uint64_t draw_tag(self) except 0:
        """24 bits that nobody here has, or has had."""
        while self.has_client(self.next_tag) or self.next_tag in self.tags_brought:
            self.next_tag -= 1
        if self.next_tag == 0:
            raise ValueError("more than 16 million workers have been here: start the scheduler anew")
        self.next_tag -= 1
        return self.next_tag + 1

    def worker_tag(self, uint32_t index):
        """What the objects that this worker makes begin with."""
        return self.pool.workers[index].tag

    def on_worker_left(self, uint32_t index, uint64_t now, claimed=(), bytes facts not None=b"{}", bint more_comes=False):
        """A worker is gone, and its result ring is drained. Its tasks go elsewhere, the one it had begun included.

        `claimed` are (task, attempt) of what it had begun elsewhere, where only its relay can look into its ring.
        `facts` is what is known of its death (deaths); with `more_comes`, `on_death_told` will say all in a moment.
        Names of the segments in its store that are still of use: the others may go.
        """
        for row_index in {self.find_held(index, task, attempt) for task, attempt in claimed}:
            self.charge(index, row_index)
        tag = self.pool.workers[index].tag
        names = self.lose_worker(index, facts, now)
        if not more_comes:
            self.deaths.on_told(tag, None)
            self.settle()
        self.dispatch(now)
        return names

    def on_final_run(self, uint32_t index, uint64_t task, uint64_t attempt):
        """This worker has died, which `on_worker_left` is about to say, and what it ran may not be tried again: a task that
        may not ran in place within it. False if that changes nothing."""
        cdef uint32_t row_index = self.find_held(index, task, attempt)
        if row_index == 0 or self.table.row(row_index).deaths >= self.table.row(row_index).retries:
            return False
        self.table.row(row_index).retries = self.table.row(row_index).deaths
        return True

    def awaits_death(self, uint64_t tag):
        """Whether somebody is to be told how the worker with this tag has died."""
        return tag in self.deaths.waiting

    def on_death_told(self, uint64_t tag, bytes facts not None, uint64_t now):
        """What its supervisor knows of the death of the worker with this tag, in place of what was known before."""
        self.table.now_ns = now
        self.deaths.on_told(tag, facts)
        self.settle()
        self.dispatch(now)
        self.flush()

    def on_workers_left(self, list indices not None, uint64_t now, bytes facts not None=b"{}"):
        """A host is gone: none of its workers is given what another had. What ran there is what had left first."""
        for index in indices:
            self.charge(index, self.dispatcher.first_to_leave(index))
            tag = self.pool.workers[index].tag
            self.lose_worker(index, facts, now)
            self.deaths.on_told(tag, None)
        self.settle()
        self.dispatch(now)

    cdef void charge(self, uint32_t index, uint32_t row_index) noexcept nogil:
        """This worker died running this. One that was leaving was killed for its host's sake, so what may be run again is
        not charged; what may not must not be run twice, whoever is to blame."""
        cdef Row *row
        if row_index == 0:
            return
        row = self.table.row(row_index)
        row.charged = True
        if not self.pool.workers[index].is_leaving or row.deaths >= row.retries:
            row.deaths += 1

    cdef list lose_worker(self, uint32_t index, bytes facts, uint64_t now):
        cdef uint64_t tag = self.pool.workers[index].tag
        cdef uint32_t row_index = self.pool.workers[index].tail
        cdef uint32_t previous
        cdef Row *row
        self.table.now_ns = now
        while row_index:                       # from the youngest, so that the front of the queue ends up in order
            row = self.table.row(row_index)
            previous = row.previous
            self.outcomes.note_lost(row)
            if self.dispatcher.withdraw(row_index) == TOO_LATE:
                self.charge(index, row_index)
            if row.state == ROW_CANCELLED:
                self.outcomes.note_stopped(row_index)
                self.answers.end(row_index)
            elif row.items > 1 and row.deaths:
                self.deaths.tell(row_index, facts)     # its client sends its calls one by one, and charges whose it was
            elif row.deaths > row.retries:
                self.deaths.doom(tag, row_index, facts, now)
            else:
                self.outcomes.note_back(row_index)
                self.ready.push(row_index, EVENT_IS_TAKEN_BACK, True)
            row_index = previous
        self.pool.remove(index)                # from here on it is nobody to whom anything could be given
        del self.worker_of_tag[tag]
        self.dispatcher.on_worker_left(index)
        self.survivors.on_worker_left(index)
        self.settle()
        return self.objects.on_left(tag)

    # what a worker says

    cdef inline bint is_held(self, Row *row, uint32_t worker_index, uint64_t attempt) noexcept nogil:
        """Whether this worker was given the row's task in this attempt, and has not answered."""
        return ((row.state == ROW_PLACED or row.state == ROW_CANCELLED) and row.worker == worker_index
                and attempt == self.table.attempt_of(row))

    cdef inline uint32_t find_held(self, uint32_t worker_index, uint64_t task, uint64_t attempt) noexcept nogil:
        """The row of a task that this worker holds in this attempt; 0 if the row is gone or says otherwise."""
        cdef uint32_t row_index = self.clients.find_open(task)
        if row_index and not self.is_held(self.table.row(row_index), worker_index, attempt):
            return 0
        return row_index

    cdef void on_result(self, uint32_t worker_index, Record *record, uint64_t now) noexcept nogil:
        cdef uint32_t row_index = self.find_held(worker_index, record.task, record.attempt)
        cdef Row *row
        cdef Worker *worker
        self.table.now_ns = now
        if row_index == 0:
            if self.survivors.any_epochs and record.attempt >> 32 != self.table.epoch >> 32:
                self.survivors.take_result(worker_index, record, now)
                self.settle()
                return
            self.late += 1
            self.answers.discard(record, self.pool.workers[worker_index].maker)
            return
        row = self.table.row(row_index)
        if record.status != STATUS_STOPPED:           # what was stopped says nothing about how long it takes
            self.functions.note_duration(row.function, record.duration_ns // (row.items if row.items else 1))
        self.dispatcher.unplace(row_index)
        worker = &self.pool.workers[worker_index]
        worker.since_ns = now
        worker.busy_ns += record.duration_ns
        if worker.is_blocked:
            self.pool.set_blocked(worker_index, False)           # what waited there is over
        if record.detail:
            if (row.flags & FLAG_OBJECTS
                    and not self.objects.keep_record(self.table.payload(row), row.payload_bytes, record.detail,
                                                     self.pool.workers[worker_index].tag)):
                self.hold_no_objects(row_index)       # the worker looks at them: better held for ever than freed now
            record.detail = 0                         # to a client it means something else
        if row.state == ROW_CANCELLED:
            self.dropped += 1
            if record.status == STATUS_STOPPED:
                self.outcomes.note_stopped(row_index)
            self.answers.discard(record, self.pool.workers[worker_index].maker)
            self.answers.end(row_index)
            self.settle()
            return
        self.answers.answer_with(row_index, record, self.pool.workers[worker_index].maker)
        self.settle()

    def on_worker_room(self, uint32_t index):
        """The worker has read: what found no room with it may now."""
        self.has_room(index)

    cdef inline void has_room(self, uint32_t index) noexcept nogil:
        if self.pool.workers[index].is_full:
            self.pool.set_full(index, False)

    def on_worker_release(self, uint32_t index, objects):
        """A worker holds these objects no more."""
        self.release(self.pool.workers[index].tag, objects)

    def on_task_sent(self, uint32_t worker_index, uint64_t task, uint64_t attempt, uint64_t position):
        """A task that its outlet had set aside has left at last. `position`: between what has left and what has not."""
        cdef uint32_t row_index = self.find_held(worker_index, task, attempt)
        if row_index:
            self.table.row(row_index).position = position

    def on_withdrawn(self, uint32_t worker_index, uint64_t task, uint64_t attempt, bint took, uint64_t now):
        """The answer of a relay that was asked to take a record back: it will not run (took), or runs or has run."""
        cdef uint32_t row_index = self.find_held(worker_index, task, attempt)
        cdef bint is_recalled
        cdef Row *row
        self.table.now_ns = now
        if row_index == 0:
            return
        row = self.table.row(row_index)
        is_recalled = row.asked == ASKED_FOR_CLIENT
        row.asked = False
        if not took:
            return
        self.dispatcher.take_back(row_index)
        if row.state == ROW_CANCELLED:
            self.answers.end(row_index)
            self.settle()
        elif row.awaited:
            self.lend(row.client, row_index)
        elif is_recalled:
            self.end_recalled(row_index)
        self.dispatch(now)

    # what outlived another scheduler

    def on_survivor(self, uint32_t worker_index, running=None):
        """This worker has come over from another scheduler. `running`: (task, attempt) that it was given by that."""
        self.survivors.on_come(worker_index, running)

    def on_survivor_idle(self, uint32_t worker_index, uint64_t task, uint64_t attempt):
        """It does not run this any more, and there is no result of it: that had gone to the scheduler before."""
        self.survivors.on_idle(worker_index, task, attempt)

    cdef tuple survivor_runs(self, uint32_t worker_index):
        """(task, attempt) that this worker was given by another scheduler and has not answered; None if there is none."""
        return self.survivors.task_of.get(worker_index)

    # what the loop says

    cdef bint has_work(self):
        """Whether there are tasks, or anything that outlived another scheduler and is not settled."""
        return self.table.used != 0 or self.survivors.is_waiting() or self.has_unfinished()

    def on_tick(self, uint64_t now):
        """Take back what waits behind a task that runs ten times longer than tasks of its kind do."""
        self.table.now_ns = now
        if not self.survivors.is_empty():
            self.survivors.on_tick(now)
            self.settle()
        if self.deaths.waiting:
            self.deaths.on_tick(now)
            self.settle()
        if self.has_unfinished():
            self.go_on(now)
        self.dispatcher.relieve_slow(now)
        self.dispatch(now)
        self.flush()

    cdef inline void dispatch(self, uint64_t now) noexcept nogil:
        """Place what can be placed."""
        self.table.now_ns = now
        self.settle()
        self.dispatcher.dispatch(now)
        # One may have been ended that others wait for. What is too much for one go is left for `go_on`.
        while self.edges.first_touched and not self.edges.settling and not self.edges.is_cut:
            self.settle()
            self.dispatcher.dispatch(now)

    cdef void flush(self) noexcept nogil:
        """The event is over, or several are: let every peer that was written to see it."""
        if self.functions.has_forgotten:
            self.dispatcher.tell_forgotten()
        if self.objects.has_freed:
            self.tell_freed()
        self.outcomes.recorder.publish()
        full_fence()                                  # SYNC POINT sleep, for all of them
        self.pool.flush()
        self.clients.flush()
        self.table.give_back_slabs()                  # the event is over: nobody has a pointer to a row

    # objects

    cdef void tell_freed(self) noexcept nogil:
        """Tell makers what nobody holds any more, as far as their control rings have room.

        What is cut short by a want of memory is done again at the next flush: `freed` says what has not been told.
        """
        cdef bint owed = False
        with gil:
            self.objects.pay()
            for tag in list(self.objects.freed):
                if tag != self.own_tag and not self.tell_maker(tag):
                    owed = True
            self.objects.has_freed = owed

    cdef bint tell_maker(self, uint64_t tag) except -1:
        """False if there is no room for all of it now."""
        cdef object control
        cdef Record *record
        cdef bytes ids
        cdef list freed = self.objects.freed[tag]
        cdef uint32_t most = MOST_FREED
        if self.owes_results(tag):
            return False                              # a result that it does not have yet may have set them free
        control = self.find_control(tag)
        if control is not None:
            most = min(most, (<Outlet>control).largest_payload() // 8)
        while freed:
            if control is None:
                freed.clear()                         # it has gone
                break
            ids = _array("Q", freed[:most]).tobytes()
            record = (<Outlet>control).reserve(<uint32_t>len(ids))
            if record == NULL:
                return False
            fill_record(record, KIND_FREED, 0, 0, 0, 0, 0, 0, 0)
            memcpy(payload_of(record), PyBytes_AS_STRING(ids), len(ids))
            (<Outlet>control).commit()
            full_fence()
            (<Outlet>control).flush_unhurried()
            del freed[:most]
        del self.objects.freed[tag]
        return True

    cdef bint owes_results(self, uint64_t tag) noexcept:
        """Whether results wait here for room at a client with this tag."""
        cdef uint32_t index = self.clients.find(tag << TASK_NUMBER_BITS)
        return index and self.clients.clients[index - 1].waiting_head != 0

    cdef object find_control(self, uint64_t tag):
        """The outlet to the peer with this tag; None if it is not here."""
        cdef uint32_t index = self.clients.find(tag << TASK_NUMBER_BITS)
        if index:
            return self.clients.control_of(index - 1)
        worker = self.worker_of_tag.get(tag)
        return None if worker is None else <object>self.pool.workers[<uint32_t>worker].control

    def take_freed(self):
        """The ids of the shell's own objects that it may free."""
        return self.objects.take_freed(self.own_tag) if self.own_tag in self.objects.freed else ()

    def take_gone(self):
        """Ids that were freed, for hosts that have copies."""
        return self.objects.take_gone() if self.objects.gone else ()

    @property
    def unlink(self):
        """Names of segments that nobody needs any more: the shell drains this."""
        return self.objects.unlink

    cdef inline uint32_t deliver_waiting(self, uint32_t index) noexcept nogil:
        """The client has read: send what waited for room. How much that was."""
        return self.answers.deliver_waiting(index) if self.clients.clients[index].waiting_head else 0

    # for tests and monitoring

    def step(self, uint64_t now):
        """Dispatch and flush: what the loop does after it has drained some rings."""
        if self.has_unfinished():
            self.go_on(now)
        self.dispatch(now)
        self.flush()

    def feed_client(self, uint32_t index, Ring submits not None, uint64_t now=0):
        """Take what is in a client's submit ring, as far as its quota lets it."""
        cdef Record *record
        while True:
            record = submits.peek()
            if record == NULL or self.has_to_wait(index, cost_of(record)):
                break
            self.on_submit(index, record, now)
            submits.step(record.record_bytes)
        submits.recycle()

    def feed_worker(self, uint32_t index, Ring results not None, uint64_t now):
        """Take all that is in a worker's result ring."""
        cdef Record *record
        while True:
            record = results.peek()
            if record == NULL:
                break
            self.on_result(index, record, now)
            results.step(record.record_bytes)
        results.recycle()
        self.has_room(index)

    def deliver(self, uint32_t index):
        """The client's outlet has room again: send what waited for it."""
        self.deliver_waiting(index)
        self.flush()

    def check(self):
        """AssertionError, with a sentence, if anything in the core is not where it must be. Between two events only."""
        Check(self).run()

    def kept_bytes(self, uint32_t index):
        """What is kept for this client, as it counts against its quota."""
        cdef Client *client = &self.clients.clients[index]
        return (tasks_bytes(client) + client.function_bytes + results_bytes(client)
                + OBJECT_BYTES * <uint64_t>self.objects.made_by(self.clients.tag_of(index)))

    def call_counts(self):
        """All clients' calls by where they are, those of clients that have gone included."""
        cdef CallCounts total
        cdef uint32_t index
        memcpy(&total, &self.table.gone, sizeof(CallCounts))
        for index in range(self.clients.length):
            add_calls(&total, &self.table.calls[index])
        return {"submitted": total.submitted, "succeeded": total.succeeded, "failed": total.failed,
                "cancelled": total.cancelled, "waiting": total.at[ROW_WAITING], "ready": total.at[ROW_READY],
                "held_back": total.at[ROW_HELD_BACK], "placed": total.at[ROW_PLACED], "lent": total.at[ROW_LENT],
                "doomed": total.at[ROW_DOOMED], "stopping": total.at[ROW_CANCELLED], "unread": total.at[ROW_ANSWERED],
                "kept": total.at[ROW_KEPT], "retried": total.retried, "stopped": total.stopped}

    @property
    def recorder(self):
        """What notes the events; set before the first of them."""
        return self.outcomes.recorder

    @recorder.setter
    def recorder(self, Recorder recorder not None):
        self.outcomes.recorder = recorder

    def failure_groups(self):
        """Failed calls by exception and place, the group that failed last at the end."""
        return self.outcomes.failures.all()

    def counts(self):
        """Tasks by where they are, for snapshots and tests."""
        return {"rows": self.table.used, "ready": self.ready.total(), "workers": self.pool.present,
                "accepted": self.accepted, "answered": self.answers.answered, "refused": self.refused,
                "dropped": self.dropped, "late": self.late + self.survivors.late, "withdrawn": self.dispatcher.withdrawn,
                "turned_away": self.turned_away,
                "held_back": len(self.survivors.held_back), "kept_results": len(self.survivors.results),
                "running_on": len(self.survivors.task_of), "functions": len(self.functions.index_of)}
