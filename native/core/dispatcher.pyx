# Dispatcher: gives ready tasks to workers, and takes back what waits behind a slow one.
#
# Clients take turns at each placement, and the least loaded worker comes first. What a worker holds is a list in the
# rows in the order of its ring, so whoever goes wrong can be unwound from the end.
#
# Rule 1: a row is in the list of a worker if and only if it is ROW_PLACED or ROW_CANCELLED.
# Rule 2: a worker is told what a function is before it is given the first task of it, and to forget it after its last.
# Rule 3: the work per placement, and per tick, does not depend on how many tasks or workers there are.
# Not here: which task is next (ready), how much a worker may hold (worker_pool), why a task is taken off (core).

cdef enum:
    TURN_TRIES = 8
    MOST_LOOKS = 1024          # at workers, per tick: with more of them, each has its turn later
    MOST_ESTIMATE_NS = 2000000000
    NEAR_BYTES = 1 << 20       # of objects, from which on a task is rather run where they are
    MOST_NEAR_LOOKS = 16       # at workers that are loaded alike, for one there


@cython.final
cdef class Dispatcher:
    cdef TaskTable table
    cdef ReadyQueue ready
    cdef FunctionTable functions
    cdef WorkerPool pool
    cdef ObjectTable objects
    cdef dict untold               # a worker's index -> numbers of functions that it has not been told to forget yet
    cdef uint64_t withdrawn
    cdef uint32_t next_look        # at which worker

    def __cinit__(self, TaskTable table, ReadyQueue ready, FunctionTable functions, WorkerPool pool, ObjectTable objects):
        self.table = table
        self.ready = ready
        self.functions = functions
        self.pool = pool
        self.objects = objects
        self.untold = {}

    cdef void dispatch(self, uint64_t now) noexcept nogil:
        """Give ready tasks to workers with credit: clients in turn, the least loaded worker first."""
        cdef uint32_t tries
        cdef uint32_t first
        cdef uint32_t level
        cdef uint32_t client_index
        cdef uint32_t worker_index
        cdef uint32_t near
        cdef uint32_t placed = 1
        while placed and self.ready.levels:
            placed = 0
            level = self.ready.best_level()
            first = self.ready.turn[level]
            for tries in range(TURN_TRIES):
                if tries and self.ready.turn[level] == first:
                    break                      # all clients have been tried
                client_index = self.ready.turn[level] - 1
                self.ready.turn[level] = self.ready.next_of(client_index, level) + 1
                worker_index = self.pool.least_loaded()
                if worker_index == 0:
                    return
                if self.objects.hosts:
                    near = self.near_inputs(self.ready.clients[client_index].at[level].head, worker_index)
                    worker_index = near if near else worker_index    # there may be no memory to find out
                if self.place(self.ready.clients[client_index].at[level].head, worker_index - 1, now):
                    placed = 1
                    break

    cdef uint32_t near_inputs(self, uint32_t row_index, uint32_t worker_index) noexcept nogil:
        """Rather this worker (index + 1), or one that is loaded alike, if what the task needs is large and lies there."""
        cdef Row *row = self.table.row(row_index)
        if (row.flags & FLAG_OBJECTS and self.pool.workers[worker_index - 1].host
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

    cdef bint place(self, uint32_t row_index, uint32_t worker_index, uint64_t now) noexcept nogil:
        """Give the task to the worker. False if that has no credit or no room."""
        cdef Row *row = self.table.row(row_index)
        cdef Worker *worker = &self.pool.workers[worker_index]
        cdef Function *function = &self.functions.functions[row.function]
        cdef uint64_t estimate = function.mean_ns * (row.items if row.items else 1)
        cdef Record *record
        cdef uint32_t size = row.payload_bytes
        if not self.pool.has_credit(worker, function) or (worker.held and worker.load_ns + estimate > CREDIT_NS):
            return False
        if not self.tell_function(worker, row.function):
            return False
        record = (<Outlet>worker.tasks).reserve(size)
        if record == NULL:
            return False
        row.placements += 1
        fill_record(record, KIND_TASK, row.flags, 0, function.number, row.task, self.table.attempt_of(row), row.items, 0)
        set_options(record, word_of(row), row.limit_ms)
        memcpy(payload_of(record), self.table.payload(row), size)
        row.position = (<Outlet>worker.tasks).commit()
        if row.position == NOT_COMMITTED:
            return False
        self.ready.remove(row_index)
        row.asked = False
        row.state = ROW_PLACED
        row.worker = worker_index
        if estimate < LEAST_TASK_NS:
            estimate = LEAST_TASK_NS
        elif estimate > MOST_ESTIMATE_NS:
            estimate = MOST_ESTIMATE_NS
        row.estimate_ns = <uint32_t>estimate
        row.next = 0
        row.previous = worker.tail
        if worker.tail:
            self.table.row(worker.tail).next = row_index
        else:
            worker.head = row_index
            worker.since_ns = now
        worker.tail = row_index
        worker.held += 1
        worker.load_ns += row.estimate_ns
        self.pool.note_dirty(worker_index, now)
        self.pool.settle(worker_index)
        return True

    cdef void unplace(self, uint32_t row_index) noexcept nogil:
        """The row's worker holds it no longer; the row's state is for the caller to set."""
        cdef Row *row = self.table.row(row_index)
        cdef Worker *worker = &self.pool.workers[row.worker]
        if row.previous:
            self.table.row(row.previous).next = row.next
        else:
            worker.head = row.next
        if row.next:
            self.table.row(row.next).previous = row.previous
        else:
            worker.tail = row.previous
        worker.held -= 1
        worker.load_ns -= row.estimate_ns
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
            self.ready.push(row_index, True)

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
            if not worker.present or worker.held < 2:
                continue
            if now > worker.since_ns + 10 * <uint64_t>self.table.row(worker.head).estimate_ns + 10000000:
                self.relieve(self.next_look)
            elif now > worker.given_ns + 5 * CREDIT_NS and self.pool.has_idle() and not self.ready.levels:
                worker.given_ns = now                  # a relay takes its time to answer
                self.relieve(self.next_look)
                self.dispatch(now)                     # until nobody is idle any more

    cdef void relieve(self, uint32_t worker_index) noexcept nogil:
        """Take back all but what the worker runs now."""
        cdef Worker *worker = &self.pool.workers[worker_index]
        cdef uint32_t row_index = worker.tail
        cdef uint32_t previous
        cdef int taken
        cdef Row *row
        if worker.held == 0:
            return
        while row_index != worker.head:
            row = self.table.row(row_index)
            previous = row.previous
            if row.state == ROW_PLACED and not row.asked:
                taken = self.withdraw(row_index)
                if taken == WITHDREW:
                    self.take_back(row_index)
                row.asked = taken == ASKED
            row_index = previous
        # What it runs now is charged as if it filled the credit, so that nothing is put behind it again.
        row = self.table.row(worker.head)
        if row.estimate_ns < CREDIT_NS:
            worker.load_ns += CREDIT_NS - row.estimate_ns
            row.estimate_ns = CREDIT_NS
            self.pool.settle(worker_index)

    cdef void take_back_all(self, uint32_t worker_index) noexcept nogil:
        """Take back all that the worker has not claimed."""
        cdef uint32_t row_index = self.pool.workers[worker_index].tail
        cdef uint32_t previous
        while row_index:
            previous = self.table.row(row_index).previous
            if self.table.row(row_index).state == ROW_PLACED and self.withdraw(row_index) == WITHDREW:
                self.take_back(row_index)
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
        if worker.knows[function >> 3] & (1 << (function & 7)):
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
                                                 <uint32_t>-1, worker.tag)
                or control.commit() == NOT_COMMITTED):
            announced.workers.pop()
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
