# Survivors: what outlived the scheduler before this one, until it is clear which task it belongs to.
#
# Workers go on when their scheduler dies. The next one hears what each of them still runs, and reads the results that
# nobody has read. Clients send their unanswered tasks again, in any order with that. So a task that was sent again is
# held back for a moment (ROW_HELD_BACK): if a worker runs it, it waits for that; if there is a result, that is its
# answer; else it is placed like any other. A result whose task nobody has sent again yet waits for RESULT_WAIT_NS.
#
# Rule 1: ids and attempts name one thing in all epochs (an attempt has its scheduler's epoch in the high half), so
#         nothing here can be taken for something else.
# Rule 2: a worker that still runs what a scheduler before gave it is given nothing else until it has answered.
# Rule 3: a task is answered once, even if several workers run it: the row is gone with the first answer.
# Rule 4: what nobody wants does not hold a worker. A worker is stopped if it turns out to run a task that was cancelled
#         while it was held back, or, after RESULT_WAIT_NS, one that no client has sent again.
# Not here: taking over a worker's rings (takeover), answering clients (answers), what becomes of the dependants of a task
# that was answered here: the core settles that.

cdef uint64_t HOLD_NS = 1000000000           # how long a task that was sent again waits for a worker that has it
cdef size_t MOST_UNWANTED = 100000           # tasks that are remembered for RESULT_WAIT_NS: clients name them
cdef size_t MOST_RESULTS = 100000            # that wait for their clients; of more, their tasks run again
cdef uint64_t MOST_RESULT_BYTES = 256 << 20
cdef size_t MOST_DUE = 1000                  # of these that are dropped in one tick
cdef uint64_t RESULT_WAIT_NS = 30000000000   # how long a result waits for its client


@cython.final
cdef class Survivors:
    cdef TaskTable table
    cdef ReadyQueue ready
    cdef ClientTable clients
    cdef WorkerPool pool
    cdef ObjectTable objects
    cdef Answers answers
    cdef Claims claims
    cdef dict claimed           # worker index -> the request of what it runs, of which it holds what that needs
    cdef dict running           # task -> [(attempt, worker index), ...]
    cdef dict task_of           # worker index -> (task, attempt) that it runs
    cdef dict results           # task -> (end of waiting, worker index, the record as bytes)
    cdef uint64_t result_bytes  # of these
    cdef set unready            # of their tasks, those that were sent again when what the result brings was not to be had
    cdef set came               # workers that have come over: nobody else has results of another epoch
    cdef dict held_back         # row -> end of waiting, by arrival
    cdef set unwanted           # tasks that were cancelled while they were held back, or before they were sent again
    cdef set unwanted_before    # those of RESULT_WAIT_NS ago, which are forgotten next
    cdef uint64_t rotate_ns     # when that is
    cdef dict unasked           # worker index -> until when somebody may ask for what it runs
    cdef bint any_epochs         # whether a worker has come over from another scheduler
    cdef uint64_t late          # results that nobody turned out to want

    def __cinit__(self, TaskTable table, ReadyQueue ready, ClientTable clients, WorkerPool pool, ObjectTable objects,
                  Answers answers, Claims claims):
        self.claims, self.claimed = claims, {}
        self.table = table
        self.ready = ready
        self.clients = clients
        self.pool = pool
        self.objects = objects
        self.answers = answers
        self.running, self.task_of, self.results, self.held_back = {}, {}, {}, {}
        self.unwanted, self.unwanted_before, self.unasked = set(), set(), {}
        self.unready, self.came = set(), set()
        self.rotate_ns = 0

    cdef bint is_empty(self):
        return not (self.running or self.results or self.held_back or self.unwanted
                    or self.unwanted_before)

    cdef bint is_waiting(self):
        """Whether time is to settle anything. What is unwanted is merely forgotten, whenever somebody looks."""
        return bool(self.running or self.results or self.held_back)

    cdef int add_running(self, uint32_t worker_index, uint64_t task, uint64_t attempt) except -1:
        self.running.setdefault(task, []).append((attempt, worker_index))
        self.task_of[worker_index] = task, attempt
        return 0

    cdef bint end_running(self, uint32_t worker_index, uint64_t task, uint64_t attempt) except -1:
        """This worker runs it no more. False if that is not known of it."""
        if self.task_of.get(worker_index) != (task, attempt):
            return False
        del self.task_of[worker_index]
        self.unasked.pop(worker_index, None)
        self.unclaim(worker_index)
        runs = self.running[task]
        runs.remove((attempt, worker_index))
        if not runs:
            del self.running[task]
        return True

    cdef int claim(self, uint32_t row_index) except -1:
        """It turns out what those ask for that run this row's task: they hold that, be it taken from others."""
        cdef Row *row = self.table.row(row_index)
        if row.request == 0:
            return 0
        for _, worker_index in self.running.get(row.task, ()):
            if worker_index not in self.claimed and self.pool.workers[<uint32_t>worker_index].supply:
                self.claimed[worker_index] = row.request
                self.claims.resources.use_request(row.request)
                self.claims.lend(<uint32_t>worker_index, row.request)
        return 0

    cdef int unclaim(self, uint32_t worker_index) except -1:
        """It runs that no more, or has gone."""
        request = self.claimed.pop(worker_index, 0)
        if request:
            if self.pool.workers[worker_index].present:
                self.claims.unlend(worker_index, <uint32_t>request)
            self.claims.resources.let_go_of_request(<uint32_t>request)
        return 0

    cdef list take_due(self, uint64_t now):
        """The rows that have waited long enough, and that nobody runs."""
        cdef list due = []
        for row_index, end in self.held_back.items():
            if end > now:
                break
            if not self.table.is_in(row_index, ROW_HELD_BACK) or self.table.row(row_index).task not in self.running:
                due.append(row_index)
        for row_index in due:
            del self.held_back[row_index]
        return [row_index for row_index in due if self.table.is_in(row_index, ROW_HELD_BACK)]

    cdef int note_unwanted(self, uint64_t task) except -1:
        if len(self.unwanted) < MOST_UNWANTED:
            self.unwanted.add(task)
        return 0

    cdef bint is_unwanted(self, uint64_t task):
        return task in self.unwanted or task in self.unwanted_before

    cdef int forget_unwanted(self, uint64_t now) except -1:
        if now >= self.rotate_ns:
            self.unwanted_before, self.unwanted = self.unwanted, set()
            self.rotate_ns = now + RESULT_WAIT_NS
        return 0

    cdef bint is_run_in_vain(self, uint32_t worker_index, bint is_open, uint64_t now):
        """Whether it has run long enough what nobody has sent again. Once each RESULT_WAIT_NS."""
        if is_open:
            self.unasked.pop(worker_index, None)
            return False
        if now < self.unasked.setdefault(worker_index, now + RESULT_WAIT_NS):
            return False
        self.unasked[worker_index] = now + RESULT_WAIT_NS
        return True

    # workers

    cdef int on_come(self, uint32_t worker_index, running) except -1:
        """This worker has come over from another scheduler. `running`: (task, attempt) that it was given by that."""
        cdef uint32_t row_index
        self.any_epochs = True
        self.came.add(worker_index)
        if running is None:
            return 0
        task, attempt = running
        self.add_running(worker_index, task, attempt)
        self.pool.set_aside(worker_index, True)
        if self.is_unwanted(task):
            self.stop(worker_index, task, attempt)
            return 0
        row_index = self.clients.find_open(task)
        if row_index and self.table.row(row_index).state == ROW_READY:
            self.keep_back(row_index, 0)              # it was not held back long enough
        elif row_index:
            self.claim(row_index)
        return 0

    cdef int on_idle(self, uint32_t worker_index, uint64_t task, uint64_t attempt) except -1:
        """It does not run this any more, if it did: from now on it may be given anything."""
        if self.end_running(worker_index, task, attempt):
            self.pool.set_aside(worker_index, False)
        return 0

    cdef int stop(self, uint32_t worker_index, uint64_t task, uint64_t attempt) except -1:
        (<Outlet>self.pool.workers[worker_index].tasks).stop(task, attempt)
        return 0

    cdef int on_worker_left(self, uint32_t worker_index) except -1:
        """This worker has gone: what it still ran goes elsewhere, and its results can be had no more."""
        cdef uint32_t row_index
        if worker_index not in self.came:
            return 0
        self.came.discard(worker_index)
        for task in [task for task, (_, index, _) in self.results.items() if index == worker_index]:
            self.drop_result(task)
        what = self.task_of.get(worker_index)
        if what is None:
            return 0
        task, attempt = what
        self.end_running(worker_index, task, attempt)
        row_index = self.clients.find_open(task)
        if row_index == 0 or self.table.row(row_index).state != ROW_HELD_BACK or task in self.running:
            return 0
        del self.held_back[row_index]
        self.table.row(row_index).deaths += 1
        if self.table.row(row_index).deaths > self.table.row(row_index).retries:
            self.answers.answer_text(row_index, STATUS_WORKER_DIED, b"the worker process died while it ran this task")
        else:
            self.table.row(row_index).charged = True
            self.answers.outcomes.note_back(row_index)
            self.ready.push(row_index, EVENT_IS_NOWHERE, True)
        return 0

    # tasks that are sent again

    cdef void hold_back(self, uint32_t row_index, uint64_t now) noexcept nogil:
        """The task was sent again: its result may be here, or a worker may run it."""
        with gil:
            try:
                self.keep_back(row_index, now + HOLD_NS)
            except MemoryError:                       # at worst it runs twice
                if self.table.row(row_index).state == ROW_NEW:
                    self.ready.push(row_index, EVENT_CAN_RUN, False)
                return
        self.look_for_result(row_index)

    cdef int keep_back(self, uint32_t row_index, uint64_t end) except -1:
        self.held_back[row_index] = end
        if self.table.row(row_index).state == ROW_READY:
            self.ready.remove(row_index)
        self.table.move(self.table.row(row_index), EVENT_IS_HELD_BACK)
        self.claim(row_index)
        return 0

    cdef void look_for_result(self, uint32_t row_index) noexcept nogil:
        """A worker may have done this for another scheduler."""
        with gil:                                     # with no memory for this the next tick looks
            if self.table.row(row_index).task in self.results:
                self.answer(row_index)

    cdef void cancel(self, uint32_t row_index) noexcept nogil:
        """Nobody wants this, which is held back, any more: a worker that runs it, or turns out to, is to stop."""
        cdef uint64_t task = self.table.row(row_index).task
        self.stop_holding(row_index)
        self.answers.end(row_index)
        with gil:                                     # with no memory for this it runs to its end, in vain
            self.refuse(task)

    cdef void stop_holding(self, uint32_t row_index) noexcept nogil:
        with gil:                                     # with no memory for this it stays in there, and is passed over
            del self.held_back[row_index]

    cdef int refuse(self, uint64_t task) except -1:
        """A worker that still runs this, or turns out to, is to stop it."""
        for attempt, worker_index in self.running.get(task, ()):
            self.stop(worker_index, task, attempt)
        self.note_unwanted(task)
        return 0

    # results

    cdef void take_result(self, uint32_t worker_index, Record *record, uint64_t now) noexcept nogil:
        with gil:                                     # with no memory for this the result is lost, and the task runs again
            self.on_result(worker_index, record, now)

    cdef int on_result(self, uint32_t worker_index, Record *record, uint64_t now) except -1:
        """A worker has answered what another scheduler gave it."""
        cdef uint32_t row_index = self.clients.find_open(record.task)
        self.on_idle(worker_index, record.task, record.attempt)
        if (worker_index not in self.came or len(self.results) >= MOST_RESULTS
                or self.result_bytes + record.record_bytes > MOST_RESULT_BYTES
                or row_index and self.table.row(row_index).state not in (ROW_HELD_BACK, ROW_READY, ROW_WAITING)
                or record.task in self.results or self.is_unwanted(record.task) or record.status == STATUS_STOPPED):
            self.late += 1
            self.answers.discard(record, self.pool.workers[worker_index].maker)
            return 0
        self.results[record.task] = (now + RESULT_WAIT_NS, worker_index,
                                     PyBytes_FromStringAndSize(<char *>record, record.record_bytes))
        self.result_bytes += record.record_bytes
        if row_index:
            if self.table.row(row_index).state == ROW_READY:
                self.keep_back(row_index, now + HOLD_NS)
            self.answer(row_index)
        return 0

    cdef int answer(self, uint32_t row_index) except -1:
        """Answer with the result that is here for this task, if what it brings can be had by now."""
        cdef uint64_t task = self.table.row(row_index).task
        cdef bytes kept
        cdef Record *record
        _, worker_index, kept = self.results[task]
        record = <Record *>PyBytes_AS_STRING(kept)
        if not self.is_to_be_had(worker_index, record):
            self.unready.add(task)
            return 0
        self.take_out(task)
        self.held_back.pop(row_index, None)           # one that waits for its inputs needs them no more
        self.answers.answer_with(row_index, record, self.pool.workers[worker_index].maker)
        return 0

    cdef bint is_to_be_had(self, uint32_t worker_index, Record *record) except -1:
        """Whether what the result brings lies where it says: its worker may not have named it anew yet."""
        cdef Place *place
        if not record.flags & FLAG_OBJECTS or self.pool.workers[worker_index].host:
            return True
        if places_in(payload_of(record), payload_bytes_of(record)) < 1:
            return True
        place = place_at(payload_of(record), 0)
        return Segment.exists(area_name(self.objects.epoch, self.objects.folder, place.segment))

    cdef tuple take_out(self, task):
        cdef tuple result = self.results.pop(task)
        self.result_bytes -= len(<bytes>result[2])
        self.unready.discard(task)
        return result

    cdef int drop_result(self, task) except -1:
        """Nobody will have it."""
        cdef bytes kept
        _, worker_index, kept = self.take_out(task)
        self.answers.discard(<Record *>PyBytes_AS_STRING(kept), self.pool.workers[worker_index].maker)
        return 0

    # time

    cdef list results_due(self, uint64_t now):
        """Tasks whose results have waited long enough: they stand in the order in which they have come."""
        cdef list due = []
        for task, (end, _, _) in self.results.items():
            if end > now or <size_t>len(due) >= MOST_DUE:
                break
            due.append(task)
        return due

    cdef int on_tick(self, uint64_t now) except -1:
        """Place what nobody turned out to have; drop results, and stop tasks, that nobody turned out to want."""
        cdef uint32_t row_index
        self.forget_unwanted(now)
        for index, (task, attempt) in list(self.task_of.items()):
            if self.is_run_in_vain(index, self.clients.find_open(task) != 0, now):
                self.stop(index, task, attempt)
        for task in list(self.unready):
            row_index = self.clients.find_open(task)
            if row_index and self.table.row(row_index).state in (ROW_HELD_BACK, ROW_WAITING):
                self.answer(row_index)
            else:
                self.late += 1
                self.drop_result(task)
        for task in self.results_due(now):
            self.late += 1
            self.drop_result(task)
        for row_index in self.take_due(now):
            self.ready.push(row_index, EVENT_IS_NOWHERE, False)
        return 0
