# Dispatcher: gives ready tasks to workers, and takes back what waits behind a slow one.
#
# The head of the turn is placed, or nothing is. Of the tasks that could run, the highest priority comes first, then the
# clients in turn, each with what its tasks have submitted, then arrival (ready); of the workers that are open
# (worker_pool) the least loaded one. A worker is open whatever the task is, so a task is never passed over because it is
# longer, or less known, than those of others: if no worker is open everybody waits, and the first that opens gets the task
# whose turn it is.
#
# How long that may take. A worker holds less than CREDIT_NS of known work and one task, so it opens after that time and
# what that task takes. A task that was placed waits as long at most behind others, and if one of these runs ten times
# longer than its kind does, what stands behind that is taken back and keeps its place before its client's others
# (relieve_slow). A turn is one task, or some that are quick (TURN_NS). So each of n clients gets a task placed in the time
# that one round of n turns takes, and that waits for CREDIT_NS and one running task besides.
#
# What is passed over nevertheless:
#   * lower priorities, by all higher ones, as long as there are any: that is what they are for;
#   * tasks of clients whose results have no room (answers): these clients have no turn until they have read;
#   * a task that fits the rings of some workers only, while none of these is open. Rings as small as that are not made
#     by us. What fits no worker's rings is answered with that.
# A worker whose ring has no room for the head of the turn gets nothing else meanwhile: it runs dry for it, and then has
# room. It is looked at again with its next result, when it says that there is room, and at each tick.
#
# What a worker holds is a list in the rows in the order of its ring, so that it can be taken back from the end.
#
# Rule 1: a row is in the list of a worker if and only if it is ROW_PLACED or ROW_CANCELLED.
# Rule 2: a worker is told what a function is before it is given the first task of it, and to forget it after its last.
# Rule 3: the work per placement, and per tick, does not depend on how many tasks or workers there are (but for a task
#         that does not fit the rings of some).
# Not here: which task is next (ready), how much a worker may hold (worker_pool), why a task is taken off (core).

cdef enum:
    MOST_LOOKS = 1024          # at workers, per tick: with more of them, each has its turn later
    MOST_ESTIMATE_NS = 2000000000
    NEAR_BYTES = 1 << 20       # of objects, from which on a task is rather run where they are
    MOST_NEAR_LOOKS = 16       # at workers that are loaded alike, for one there

cdef enum:                     # what came of placing a task on a worker
    PLACED = 0
    NO_ROOM = 1                # now
    NEVER_ROOM = 2             # its rings are too small for this task


@cython.final
cdef class Dispatcher:
    cdef TaskTable table
    cdef ReadyQueue ready
    cdef FunctionTable functions
    cdef WorkerPool pool
    cdef ObjectTable objects
    cdef Answers answers
    cdef Claims claims
    cdef dict untold               # a worker's index -> numbers of functions that it has not been told to forget yet
    cdef uint64_t withdrawn
    cdef uint32_t next_look        # at which worker

    def __cinit__(self, TaskTable table, ReadyQueue ready, FunctionTable functions, WorkerPool pool,
                  ObjectTable objects, Answers answers, Claims claims):
        self.table = table
        self.ready = ready
        self.functions = functions
        self.pool = pool
        self.objects = objects
        self.answers = answers
        self.claims = claims
        self.untold = {}

    cdef inline void dispatch(self, uint64_t now) noexcept nogil:
        """Place what is next, as long as a worker is open for it."""
        if self.ready.requested:
            self.dispatch_lanes(now)
        else:
            self.dispatch_plain(now)

    cdef void dispatch_lanes(self, uint64_t now) noexcept nogil:
        """The same while there are tasks that ask for resources."""
        cdef Choice choice
        cdef Function *function
        cdef Row *row
        cdef uint32_t worker_index, near
        cdef uint64_t cost_ns
        cdef int outcome
        self.ready.begin_round()
        while True:
            choice = self.ready.choose(self.pool.buckets != 0)
            if choice.request == NO_QUEUE:
                return
            worker_index = self.claims.find(choice.request) if choice.request else self.pool.least_loaded()
            if worker_index == 0:
                self.ready.block(choice.request)
                continue
            row = self.table.row(choice.row)
            if self.objects.hosts:
                near = self.near_inputs(choice.row, worker_index)
                worker_index = near if near else worker_index
            function = &self.functions.functions[row.function]
            cost_ns = max(expected_ns(function, row.items), <uint64_t>function.floor_ns // 2)
            outcome = self.place(choice.row, worker_index - 1, now)
            if outcome == NEVER_ROOM:
                outcome = self.place_misfit(choice.row, now)
            if outcome == PLACED:
                self.ready.note_served(&choice, cost_ns)
            elif outcome == NO_ROOM:
                self.pool.set_full(worker_index - 1, True)
            else:
                self.ready.pass_turn(row)
                self.ready.pass_over(&choice)

    cdef void dispatch_plain(self, uint64_t now) noexcept nogil:
        """Place the head of the turn, and the next, as long as a worker is open."""
        cdef uint64_t levels = self.ready.levels
        cdef uint32_t level
        cdef uint32_t row_index
        cdef uint32_t worker_index
        cdef uint32_t near
        cdef int outcome
        while levels:
            worker_index = self.pool.least_loaded()
            if worker_index == 0:
                return
            level = highest_of(levels)
            row_index = self.ready.next_row(level)
            if self.objects.hosts:
                near = self.near_inputs(row_index, worker_index)
                worker_index = near if near else worker_index    # there may be no memory to find out
            outcome = self.place(row_index, worker_index - 1, now)
            if outcome == NEVER_ROOM:
                outcome = self.place_misfit(row_index, now)
            if outcome == PLACED:
                levels &= self.ready.levels
            elif outcome == NO_ROOM:
                self.pool.set_full(worker_index - 1, True)
            else:
                self.ready.pass_turn(self.table.row(row_index))
                levels &= ~((<uint64_t>1) << level)    # another client's turn comes with the next event

    cdef uint32_t near_inputs(self, uint32_t row_index, uint32_t worker_index) noexcept nogil:
        """Rather this worker (index + 1), or one that is loaded alike, if what the task needs is large and lies there."""
        cdef Row *row = self.table.row(row_index)
        if (row.flags & FLAG_OBJECTS and self.pool.workers[worker_index - 1].host and row.request == 0
                and named_bytes(self.table.payload(row), row.payload_bytes) >= NEAR_BYTES):
            with gil:
                return self.nearest(row, worker_index)
        return worker_index

    cdef uint32_t nearest(self, Row *row, uint32_t worker_index) except 0:
        """Of the workers (index + 1) that are loaded as this one, one on whose host the least of its objects is missing."""
        cdef Worker *worker = &self.pool.workers[worker_index - 1]
        cdef uint64_t least = self.objects.missing_bytes(self.table.payload(row), row.payload_bytes, worker.host)
        cdef uint64_t missing = least
        cdef uint32_t host = worker.host
        cdef uint32_t other = self.pool.heads[worker.bucket]
        cdef uint32_t looks
        for looks in range(MOST_NEAR_LOOKS):
            if least < NEAR_BYTES or other == 0:
                break
            worker = &self.pool.workers[other - 1]
            if worker.host != host:
                host = worker.host
                missing = self.objects.missing_bytes(self.table.payload(row), row.payload_bytes, host)
            if missing < least:
                least = missing
                worker_index = other
            other = worker.next
        return worker_index

    # one task

    cdef int place(self, uint32_t row_index, uint32_t worker_index, uint64_t now) noexcept nogil:
        """Give the task, whose turn it is, to the worker, which is open. PLACED, or why not."""
        cdef Row *row = self.table.row(row_index)
        cdef Worker *worker = &self.pool.workers[worker_index]
        cdef Function *function = &self.functions.functions[row.function]
        cdef uint64_t charge = max(expected_ns(function, row.items), <uint64_t>function.floor_ns)
        cdef Record *record
        cdef uint32_t size = row.payload_bytes
        if not self.tell_function(worker, row.function):
            return self.why_no_room(row, worker)
        record = (<Outlet>worker.tasks).reserve(size)
        if record == NULL:
            return self.why_no_room(row, worker)
        row.placements += 1
        fill_record(record, KIND_TASK, row.flags, 0, function.number, row.task, self.table.attempt_of(row), row.items,
                    self.ready.root_bits_of(row))
        set_options(record, word_of(row, self.ready.priority_of(row)), row.limit_ms)
        memcpy(payload_of(record), self.table.payload(row), size)
        row.position = (<Outlet>worker.tasks).commit()
        if row.position == NOT_COMMITTED:
            return NO_ROOM
        self.ready.spend(row, max(expected_ns(function, row.items), <uint64_t>function.floor_ns // 2))
        self.ready.remove(row_index)
        row.asked = False
        self.table.move(row, EVENT_IS_GIVEN)
        if row.request:
            self.claims.take(worker_index, row.request)
        row.worker = worker_index
        row.charge_ns = <uint32_t>min(charge, <uint64_t>MOST_ESTIMATE_NS)
        row.next = 0
        row.previous = worker.tail
        if worker.tail:
            self.table.row(worker.tail).next = row_index
        else:
            worker.head = row_index
            worker.since_ns = now
        worker.tail = row_index
        worker.held += 1
        worker.sent += calls_of(row)
        function.counts.placed += calls_of(row)
        worker.load_ns += row.charge_ns
        self.pool.note_dirty(worker_index, now)
        self.pool.settle(worker_index)
        return PLACED

    cdef int why_no_room(self, Row *row, Worker *worker) noexcept nogil:
        return NO_ROOM if self.can_fit(row, worker) else NEVER_ROOM

    cdef bint can_fit(self, Row *row, Worker *worker) noexcept nogil:
        """Whether the worker's rings, when they are empty, have room for this task and what its function is."""
        cdef uint32_t function_bytes = 0
        if not knows_function(worker, row.function):
            with gil:
                function_bytes = (<Announced>self.functions.announced[row.function]).record_bytes()
        return (<Outlet>worker.tasks).can_fit(row.payload_bytes) and (<Outlet>worker.control).can_fit(function_bytes)

    cdef int place_misfit(self, uint32_t row_index, uint64_t now) noexcept nogil:
        """The task does not fit the rings of every worker: place it on an open one that it fits, or end it if there is
        none at all. NEVER_ROOM if it has to wait for one."""
        cdef Row *row = self.table.row(row_index)
        cdef Worker *worker
        cdef uint32_t i
        cdef bint fits_any = False
        for i in range(self.pool.length):
            worker = &self.pool.workers[i]
            if worker.is_picky and row.request == 0:
                continue
            if worker.present and self.can_fit(row, worker) and self.claims.fits(i, row.request):
                fits_any = True
                if row.request == 0 and worker.bucket != NO_BUCKET and self.place(row_index, i, now) == PLACED:
                    return PLACED
        if fits_any:
            return NEVER_ROOM
        self.ready.pass_turn(row)
        self.ready.remove(row_index)
        self.answers.answer_text(row_index, STATUS_REFUSED,
                                 b"it, or its function, is larger than the rings of the workers have room for")
        return PLACED

    cdef void unplace(self, uint32_t row_index) noexcept nogil:
        """The row's worker holds it no longer; the row's state is for the caller to set."""
        cdef Row *row = self.table.row(row_index)
        cdef Worker *worker = &self.pool.workers[row.worker]
        cdef FunctionCounts *counts = self.functions.counts_of(row.function)
        if row.previous:
            self.table.row(row.previous).next = row.next
        else:
            worker.head = row.next
        if row.next:
            self.table.row(row.next).previous = row.previous
        else:
            worker.tail = row.previous
        if row.request:
            self.claims.give_back(row.worker, row.request)
        worker.held -= 1
        counts.placed -= calls_of(row)
        if worker.held == 0:
            worker.is_blocked = False                 # there is nothing left there that could wait
        worker.load_ns -= row.charge_ns
        worker.is_full = False
        self.pool.settle(row.worker)

    cdef int withdraw(self, uint32_t row_index) noexcept nogil:
        """Ask for the row's record back. What that came to; only after WITHDREW may the row be taken off the worker."""
        cdef Row *row = self.table.row(row_index)
        cdef Worker *worker = &self.pool.workers[row.worker]
        return (<Outlet>worker.tasks).withdraw(row.task, self.table.attempt_of(row), row.position)

    cdef uint32_t first_to_leave(self, uint32_t worker_index) noexcept nogil:
        """Of what a remote worker holds, what went to it first; 0 if nothing has gone yet.

        That need not be the head of its list: a task with objects waits for them, and later ones leave before it.
        """
        cdef uint32_t row_index = self.pool.workers[worker_index].head
        cdef uint32_t first = 0
        cdef uint64_t least = SET_ASIDE
        while row_index:
            if self.table.row(row_index).position < least:
                first = row_index
                least = self.table.row(row_index).position
            row_index = self.table.row(row_index).next
        return first if first and self.withdraw(first) == ASKED else 0

    cdef void stop(self, uint32_t row_index) noexcept nogil:
        """The row's record could not be taken back, and nobody wants its result: have it stopped."""
        cdef Row *row = self.table.row(row_index)
        (<Outlet>self.pool.workers[row.worker].tasks).stop(row.task, self.table.attempt_of(row))

    cdef void take_back(self, uint32_t row_index) noexcept nogil:
        """The row's record was withdrawn: it waits again, before all others, unless nobody wants it any more."""
        self.withdrawn += 1
        self.unplace(row_index)
        if self.table.row(row_index).state == ROW_PLACED:
            self.ready.push(row_index, EVENT_IS_TAKEN_BACK, True)

    # one worker

    cdef void relieve_slow(self, uint64_t now) noexcept nogil:
        """Take back what was given too early.

        That is what waits behind a task that runs ten times longer than tasks of its kind do; and, while others have
        nothing to do, what still waits though the credit it was given on is spent five times over: its kind takes
        longer than it was thought to.
        """
        cdef uint32_t looks
        cdef Worker *worker
        for looks in range(min(self.pool.length, <uint32_t>MOST_LOOKS)):
            self.next_look = self.next_look + 1 if self.next_look + 1 < self.pool.length else 0
            worker = &self.pool.workers[self.next_look]
            if not worker.present:
                continue
            if worker.is_full:
                self.pool.set_full(self.next_look, False)     # it may have said so, and died; or be a relay's
            if worker.held == 0 or (worker.held == 1 and worker.host):    # to there the way alone may take longer
                continue
            if now > worker.since_ns + 10 * self.expected_of_head(worker) + 10000000:
                self.relieve(self.next_look)
            elif (worker.held > 1 and now > worker.given_ns + 5 * CREDIT_NS
                    and self.claims.has_idle(self.table.row(worker.tail).request) and not self.ready.levels):
                worker.given_ns = now                  # a relay takes its time to answer
                self.relieve(self.next_look)
                self.dispatch(now)                     # until nobody is idle any more

    cdef inline uint64_t expected_of_head(self, Worker *worker) noexcept nogil:
        """How long what it runs should take. What was charged for it may be much more, as long as little is known."""
        cdef Row *row = self.table.row(worker.head)
        return min(expected_ns(&self.functions.functions[row.function], row.items), <uint64_t>row.charge_ns)

    cdef void relieve(self, uint32_t worker_index) noexcept nogil:
        """Take back all but what the worker runs now."""
        cdef Worker *worker = &self.pool.workers[worker_index]
        cdef Row *row
        if worker.held == 0:
            return
        self.take_back_behind(worker_index, worker.head)
        # What it runs now is charged as if it filled the credit, so that nothing is put behind it again.
        row = self.table.row(worker.head)
        if row.charge_ns < CREDIT_NS:
            worker.load_ns += CREDIT_NS - row.charge_ns
            row.charge_ns = CREDIT_NS
            self.pool.settle(worker_index)

    cdef void take_back_all(self, uint32_t worker_index) noexcept nogil:
        """Take back all that the worker has not claimed; of a remote one, ask for it."""
        self.take_back_behind(worker_index, 0)

    cdef void take_back_behind(self, uint32_t worker_index, uint32_t first) noexcept nogil:
        """What is in the worker's list behind this row; 0: all of it."""
        cdef uint32_t row_index = self.pool.workers[worker_index].tail
        cdef uint32_t previous
        cdef int taken
        cdef Row *row
        while row_index != first:
            row = self.table.row(row_index)
            previous = row.previous
            if row.state == ROW_PLACED and not row.asked:
                taken = self.withdraw(row_index)
                if taken == WITHDREW:
                    self.take_back(row_index)
                row.asked = ASKED_FOR_OTHERS if taken == ASKED else NOT_ASKED
            row_index = previous

    cdef inline bint tell_function(self, Worker *worker, uint32_t function) noexcept nogil:
        """Announce the function to the worker if it has not been. False while its control ring is full."""
        return function + 1 == worker.last_function or self.tell_other_function(worker, function)

    cdef bint tell_other_function(self, Worker *worker, uint32_t function) noexcept nogil:
        cdef uint8_t *knows
        cdef bint told
        if function >> 3 >= worker.knows_bytes:
            knows = <uint8_t *>realloc(worker.knows, function // 4 + 64)
            if knows == NULL:
                return False
            memset(knows + worker.knows_bytes, 0, function // 4 + 64 - worker.knows_bytes)
            worker.knows = knows
            worker.knows_bytes = function // 4 + 64
        if knows_function(worker, function):
            worker.last_function = function + 1
            return True
        with gil:                                     # with no memory for this it is tried again with the next task
            told = self.announce(worker, function)
        if told:
            worker.knows[function >> 3] |= <uint8_t>(1 << (function & 7))
        return told

    cdef bint announce(self, Worker *worker, uint32_t function) except -1:
        cdef Outlet control = <Outlet>worker.control
        cdef Announced announced = self.functions.announced[function]
        cdef bytes payload = announced.digest + announced.payload
        cdef Record *record = control.reserve(<uint32_t>len(payload))
        if record == NULL:
            return False
        fill_record(record, KIND_FUNCTION, announced.flags, 0, self.functions.functions[function].number, 0, 0, 0, 0)
        memcpy(payload_of(record), <char *>payload, len(payload))
        announced.workers.append(<uint32_t>(worker - self.pool.workers))
        if (announced.flags & FLAG_OBJECTS
                and not self.objects.keep_record(PyBytes_AS_STRING(announced.payload), len(announced.payload),
                                                 <uint32_t>-1, worker.tag)):
            announced.workers.pop()
            return False
        if control.commit() == NOT_COMMITTED:
            announced.workers.pop()
            if announced.flags & FLAG_OBJECTS:
                self.objects.unkeep_record(PyBytes_AS_STRING(announced.payload), len(announced.payload), worker.tag)
            return False
        full_fence()
        control.flush()
        return True

    # functions that nobody uses any more

    cdef void tell_forgotten(self) noexcept nogil:
        """Tell the workers that know them, as far as their control rings have room.

        If memory runs out the next flush goes on from there.
        """
        cdef bint owed = False
        cdef Py_ssize_t done = 0
        with gil:
            try:
                for index, number, workers in self.functions.forgotten:
                    for worker_index in workers:
                        self.note_forgotten(worker_index, index, number)  # once, however often this is tried
                    self.functions.free_places.append(index)
                    done += 1
            finally:
                del self.functions.forgotten[:done]
            for worker_index in list(self.untold):
                if not self.tell_worker(worker_index):
                    owed = True
            self.functions.has_forgotten = owed

    cdef int note_forgotten(self, uint32_t worker_index, uint32_t function, number) except -1:
        """The worker must be told, if it is still the one that was told of the function."""
        cdef Worker *worker = &self.pool.workers[worker_index]
        cdef uint8_t bit = <uint8_t>(1 << (function & 7))
        if not worker.present or function >> 3 >= worker.knows_bytes or not worker.knows[function >> 3] & bit:
            return 0
        self.untold.setdefault(worker_index, []).append(number)
        worker.knows[function >> 3] &= <uint8_t>~<int>bit
        if worker.last_function == function + 1:
            worker.last_function = 0
        return 0

    cdef bint tell_worker(self, uint32_t worker_index) except -1:
        """False if there is no room for all of it now."""
        cdef Outlet control = <Outlet>self.pool.workers[worker_index].control
        cdef list numbers = self.untold[worker_index]
        cdef Record *record
        cdef Py_ssize_t told = 0
        for number in numbers:
            record = control.reserve(0)
            if record == NULL:
                break
            fill_record(record, KIND_FORGET, 0, 0, <uint32_t>number, 0, 0, 0, 0)
            control.commit()
            told += 1
        if told:
            full_fence()
            control.flush_unhurried()
        if told < len(numbers):
            del numbers[:told]
            return False
        del self.untold[worker_index]
        return True

    cdef int on_worker_left(self, uint32_t worker_index) except -1:
        """It need not be told anything any more."""
        self.untold.pop(worker_index, None)
        return 0
