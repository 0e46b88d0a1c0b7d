# WorkerLoop: a worker's one thread: claim, unpickle, call, pickle, publish.
#
# Rule 1: nothing that a task does ends the loop, except ending the process.
# Rule 2: a result is published before the next task is looked at, and tail moves past a task only after that.
# Rule 3: functions are taken off the control ring when there is nothing to run, be their tasks withdrawn meanwhile:
#         else it fills up and no other function gets through. They are unpickled when a task names them, if one ever
#         does before they are forgotten. What they carry is this worker's to give back, once for each announcement.
# Rule 4: what a task was lent is given back with its result; a view that outlives the task is named in the result
#         (`detail`), and given back by itself when it ends.
# Rule 5: a copy of this process that a task has forked never comes to the rings: it ends where the task's code does
#         (forked).
# Not here: how a task is run (runner) and stopped (interrupts), how processes start (scaler.cluster).


cdef class WorkerLoop:
    cdef Segment memory
    cdef PeerPage *page
    cdef Ring tasks, results, up, down
    cdef Segment bell_memory
    cdef BellPage *bell
    cdef uint32_t slot
    cdef int doorbell, bell_eventfd
    cdef int[4] watched
    cdef int watched_count
    cdef Meter meter
    cdef readonly Origin origin  # of the task that runs
    cdef readonly Upkeep upkeep
    cdef readonly Retirement retirement
    cdef dict functions          # number -> callable, or the exception of unpickling it
    cdef dict announced          # number -> RecordCopy of those that no task has named yet
    cdef Store store
    cdef Mappings mappings
    cdef uint64_t next_trim_ns
    cdef readonly TaskRunner runner
    cdef readonly Interrupts interrupts
    cdef TaskRun task            # that runs now
    cdef object load_function
    cdef readonly list clients   # rings of those that tasks have used here: they hear when a task is over
    cdef public bint stopping
    cdef readonly uint64_t done
    cdef readonly uint64_t epoch  # of the scheduler whose functions these are, as the page says it
    cdef uint64_t heard_epoch     # whose bell this is
    cdef uint64_t named_epoch     # whose names these are
    cdef tuple names             # (epoch, folder, most bytes) that go with the bell
    cdef public object output    # takes what tasks write to where it is wanted (scaler.worker.output_capture); None: nobody does
    cdef bint has_output         # it does so just now, or did for the last task
    cdef public object on_word   # takes the supervisor's next word; None if there is none but its end

    def __init__(self, Segment memory not None, int doorbell, Segment bell_memory not None, uint32_t slot,
                 int bell_eventfd, watched, Store store not None, Mappings mappings not None, TaskRunner runner not None,
                 Interrupts interrupts not None, *, load_function, Upkeep upkeep not None, Retirement retirement=None):
        self.memory = memory
        self.page = <PeerPage *>memory.start
        self.tasks, self.results, self.up, self.down = peer_rings(memory)
        self.bell_memory = bell_memory
        self.bell = <BellPage *>bell_memory.start
        self.slot = slot
        self.doorbell = doorbell
        self.bell_eventfd = bell_eventfd
        self.watched_count = 0
        for fd in watched[:3]:
            self.watched[self.watched_count] = fd
            self.watched_count += 1
        self.functions = {}
        self.clients = []
        self.meter, self.upkeep, self.origin = Meter(), upkeep, Origin()
        self.announced = {}
        self.store, self.mappings, self.load_function = store, mappings, load_function
        self.runner, self.interrupts = runner, interrupts
        self.task = TaskRun.__new__(TaskRun)
        self.task.interrupts, self.task.loans = interrupts, []
        interrupts.functions = self.functions
        self.epoch = self.heard_epoch = self.named_epoch = load_acquire(&self.page.epoch)
        self.retirement = Retirement() if retirement is None else retirement

    # running

    def run(self):
        """Run tasks until the scheduler or the supervisor is gone or `stopping` is set."""
        cdef Record *record
        cdef bint is_due = False
        self.runner.forks = forks_so_far
        self.interrupts.thread = PyThread_get_thread_ident()
        while not self.stopping:
            self.runner.end_if_forked()               # in a finalizer
            record = self.tasks.peek()
            if record == NULL:
                if self.tasks.broken or self.down.broken or not self.wait():
                    return
                continue
            if self.names_objects(record) and (self.is_cut_off() or self.is_being_taken_back(record)):
                self.pause()                          # its objects get other names
                continue
            if self.tasks.claim(record):
                if load_acquire(&self.page.epoch) != self.epoch and self.tasks.tail >= self.page.takeover_tasks:
                    self.begin_epoch()
                self.execute(record)
                is_due = self.retirement.is_due(record.items, self.meter.start_ns)
            self.tasks.step(record.record_bytes)
            if self.tasks.recycle():
                tell(self.bell, self.slot, self.bell_eventfd)
            if self.meter.start_ns >= self.upkeep.overdue_ns:
                self.upkeep.clean(self.done)
            if is_due and not self.is_cut_off():      # else its last result would be lost
                return

    cdef bint wait(self) except -1:
        """Sleep until there may be news. False when there is nobody left to work for."""
        cdef pollfd fds[5]
        cdef int n
        cdef Ring tasks = self.tasks
        cdef Ring down = self.down
        if load_acquire(&self.page.epoch) != self.epoch:
            self.begin_epoch()
        self.read_announced()
        self.tidy()
        store_release32(&self.page.sleeping, 1)
        full_fence()                                  # SYNC POINT sleep
        if tasks.has_news() or down.has_news():
            store_release32(&self.page.sleeping, 0)
            return True
        n = self.poll_all(fds, self.doorbell, 100)
        store_release32(&self.page.sleeping, 0)
        if n < 0:
            PyErr_CheckSignals()
            return True
        if n == 0:
            self.upkeep.on_idle(now_ns(), self.done)
        if fds[0].revents & POLLIN:
            quiet_doorbell(self.doorbell)
        if n > 0 and not self.go_on(fds):
            return False
        PyErr_CheckSignals()
        return True

    cdef int poll_all(self, pollfd *fds, int doorbell, int timeout_ms) noexcept:
        """Sleep until the doorbell is rung (nobody's, if it is -1) or one of what is watched has news. What poll says."""
        cdef int i, n
        fds[0].fd = doorbell
        fds[0].events = POLLIN
        for i in range(self.watched_count):
            fds[i + 1].fd = self.watched[i]
            fds[i + 1].events = POLLIN
        with nogil:
            n = poll(fds, 1 + self.watched_count, timeout_ms)
        return n

    # another scheduler

    cdef bint go_on(self, pollfd *fds) except -1:
        """Whether there still is somebody to work for, or will be, whatever these descriptors say."""
        cdef int i
        for i in range(self.watched_count):
            if not fds[i + 1].revents:
                continue
            if self.on_word is None:
                return False
            if i == 0:
                self.watched[0] = -1                  # the scheduler is gone: another will take over our rings
            elif not self.on_word():
                return False
        return not self.stopping

    cdef inline bint names_objects(self, Record *record) except -1:
        """Whether there are objects still to be found by name for this: its arguments', or its function's."""
        if record.flags & FLAG_OBJECTS:
            return True
        if self.down.has_news():
            self.read_announced()
        if not self.announced:                        # those that are loaded have theirs
            return False
        announced = self.announced.get(record.function)
        return announced is not None and announced.flags & FLAG_OBJECTS

    cdef bint is_cut_off(self) noexcept:
        """Whether the scheduler is gone, and no other has taken over yet."""
        cdef pollfd fds[1]
        if self.on_word is None:
            return False
        if self.watched[0] < 0:
            return load_acquire(&self.page.epoch) == self.epoch
        fds[0].fd = self.watched[0]
        fds[0].events = POLLIN
        return poll(fds, 1, 0) > 0 and load_acquire(&self.page.epoch) == self.epoch

    cdef bint is_being_taken_back(self, Record *record) noexcept:
        """Whether the scheduler before meant it: the next one, which has our rings by now, is just taking it back."""
        return (self.on_word is not None and load_acquire(&self.page.epoch) != self.epoch
                and self.tasks.tail < self.page.takeover_tasks and load_acquire32(&record.claim) & 3 == CLAIM_OFFERED)

    cdef int pause(self) except -1:
        """Wait a moment for the next scheduler."""
        cdef pollfd fds[5]
        cdef int n
        n = self.poll_all(fds, -1, 5)
        if n > 0 and not self.go_on(fds):
            self.stopping = True
        PyErr_CheckSignals()
        return 0

    def move(self, Segment bell_memory, uint32_t slot, int bell_eventfd, int lifeline, str epoch not None, str folder not None,
             uint64_t most_bytes):
        """Another bell is rung from now on. Names stay until no task of before runs any more."""
        if bell_memory is not None:
            self.bell_memory, self.bell = bell_memory, <BellPage *>bell_memory.start
            self.slot, self.bell_eventfd = slot, bell_eventfd
        self.watched[0] = lifeline
        self.heard_epoch = int(epoch, 16)
        self.names = epoch, folder, most_bytes

    cdef int begin_epoch(self) except -1:
        """From here on tasks are another owner's. What was announced before means nothing any more."""
        self.read_announced()
        self.functions.clear()
        self.announced.clear()
        self.begin_names()
        self.epoch = load_acquire(&self.page.epoch)
        return 0

    cdef int begin_names(self) except -1:
        """See to it that what is made from here on has the names that the rings' owner knows."""
        if self.on_word is None:                      # a relay: it stays, and so do names
            self.mappings.begin_epoch(self.mappings.epoch, self.mappings.folder)
            self.store.retire()                       # nobody knows any more which of it is looked at
            return 0
        while self.heard_epoch != load_acquire(&self.page.epoch) and not self.stopping:
            if not self.on_word():
                self.stopping = True
        if self.named_epoch == self.heard_epoch:
            return 0
        self.named_epoch = self.heard_epoch
        epoch, folder, most_bytes = self.names
        unread = unread_objects(self.results, self.page.takeover_results)
        for object in list(self.store.slots) if unread is not None else ():
            if object not in unread:                  # it was read, and the scheduler that would free it is gone
                self.store.free(object)
        self.store.begin_epoch(epoch, folder, most_bytes)
        self.mappings.begin_epoch(epoch, folder)
        return 0

    # what is announced

    cdef int read_announced(self) except -1:
        """Take what is in the control ring, but not what another owner says while a task of before runs."""
        if not self.down.has_news():
            return 0
        while True:
            if load_acquire(&self.page.epoch) != self.epoch and self.down.tail >= self.page.takeover_down:
                break
            said = self.down.read()
            if said is None:
                break
            if said.kind == KIND_FUNCTION:
                self.announced[said.function] = said
            elif said.kind == KIND_FREED:
                free_all(self.store, said.payload)
            elif said.kind == KIND_FORGET:
                self.forget(said.function)
        if self.down.take_producer_waits():
            tell(self.bell, self.slot, self.bell_eventfd)
        return 0

    cdef int forget(self, uint32_t number) except -1:
        """No task will name this function any more: what it carries is given back, now or with its last view."""
        cdef bytes payload
        announced = self.announced.pop(number, None)
        if announced is not None and announced.flags & FLAG_OBJECTS:
            payload = announced.payload[DIGEST_BYTES:]
            give_back_all(self.mappings, PyBytes_AS_STRING(payload), len(payload))
        self.functions.pop(number, None)
        return 0

    cdef object function(self, uint32_t number):
        found = self.functions.get(number)
        if found is None:
            self.read_announced()
            announced = self.announced.pop(number, None)
            if announced is not None:
                found = self.functions[number] = self.load_function(announced.payload[DIGEST_BYTES:], announced.flags)
        return found

    cdef object find(self, uint32_t number):
        """The callable of this number; whatever kept it from being one is raised."""
        function = self.function(number)
        if function is None:
            raise LookupError(f"function {number} was never announced to this worker")
        return as_callable(readable(function))

    cdef int execute(self, Record *record) except -1:
        """Run what the record asks for and publish the result, whatever happens."""
        cdef char small[256]
        cdef uint32_t small_size = 0
        cdef uint32_t kept = 0
        cdef object function = None
        cdef object value = None
        cdef int status = STATUS_OK
        cdef int flags = 0
        cdef TaskRun run = self.task
        cdef Interrupts interrupts = self.interrupts
        self.begin(record)
        try:
            if record.flags & FLAG_OBJECTS:           # first of all: loading a function may take seconds, names may go
                self.borrow(record)
            function = self.find(record.function)
            if self.page.limit_ns:
                interrupts.note_name(function)
            if record.flags & FLAG_CHUNK:
                value = self.runner.call_chunk(run, function)
                flags = FLAG_CHUNK | (FLAG_PLAIN if run.results.all_plain else 0)
            else:
                value = self.runner.call(run, function, &status)
        except BaseException as error:
            interrupts.stoppable = False
            self.runner.end_if_forked(error)
            status = STATUS_UNREADABLE
            value = interrupts.describe_stop(function, error) if interrupts.stopped else self.runner.describe(error, True)
        interrupts.stoppable = False
        self.runner.end_if_forked()
        run.drop()
        if self.clients:
            self.end_for_clients()
        self.meter.end(record.function)
        if status == STATUS_OK and not flags and not interrupts.stopped and not self.runner.is_named(function):
            small_size = plain_value(small, value)
            if small_size == 0:
                value = self.runner.pack(run, function, value, &status)
        function = None
        if visits:
            end_all_visits()
        if self.has_output:
            self.output.end()
        store_release32(&self.page.state, STATE_IDLE)
        set_piece_page(NULL)
        self.done += 1
        if small_size:
            if run.loans:
                value = None
                kept = self.give_back_loans()
            return self.publish(record, status, FLAG_PLAIN, kept, small, small_size)
        if interrupts.stopped:
            flags = 0
            if interrupts.stopped == STOPPED_UNWANTED:
                status, value = STATUS_STOPPED, b""
            else:
                status, value = STATUS_RAISED, value if type(value) is bytes else b""
        if type(value) is tuple or <size_t>len(value) > self.results.largest_payload():
            try:
                value = self.keep(value)
                flags |= FLAG_OBJECTS
            except BaseException as error:
                status = STATUS_RAISED
                flags = 0
                value = self.runner.describe(error, False)
        if run.loans:
            kept = self.give_back_loans()
        return self.publish(record, status, flags, kept, <char *><bytes>value, <uint32_t>len(value))

    cdef inline int begin(self, Record *record) except -1:
        """This task runs from here on, as the page says."""
        cdef TaskRun run = self.task
        run.flags, run.items = record.flags, record.items
        run.payload, run.payload_bytes = payload_of(record), payload_bytes_of(record)
        self.page.task, self.page.attempt = record.task, record.attempt
        self.page.name_bytes = self.page.stop_raised = self.page.piece_node = 0
        set_piece_page(self.page)
        self.interrupts.function_number = record.function
        self.origin.begin(record)
        self.page.limit_ns = self.interrupts.limit_of(limit_ms_of(record))
        self.interrupts.stopped = NOT_STOPPED
        self.meter.begin(record.function, record.flags)
        store_release(&self.page.since_ns, self.meter.start_ns)
        store_release32(&self.page.state, STATE_RUNNING)
        if record.flags & FLAG_OUTPUT or self.has_output:
            self.begin_output(record)
        return 0

    cdef int begin_output(self, Record *record) except -1:
        """What the next task writes goes to its root's client, if that wants it, and else where it went at first."""
        if not record.flags & FLAG_OUTPUT or self.output is None:
            if self.has_output:
                self.has_output = False
                self.output.give_back()
            return 0
        self.has_output = self.output.begin(self.origin.root, record.task, self.function(record.function))
        return 0

    cdef int end_for_clients(self) except -1:
        """The task is over, which the clients hear that it has used."""
        cdef object lost
        for rings in list(self.clients):
            lost = (<WorkerClientRings>rings).connection.lost
            if isinstance(lost, ConnectionError):
                # What it has submitted is lost with its scheduler. The next one has it run anew, in a fresh worker.
                raise SystemExit(f"this worker ends, since the client of its task has: {lost}")
            elif lost is not None:
                self.clients.remove(rings)            # the task has left by itself
            else:
                (<WorkerClientRings>rings).after_task(self.interrupts.stopped != NOT_STOPPED)
        return 0

    # objects

    cdef int borrow(self, Record *record) except -1:
        """Have what the task's payload names lent to it."""
        self.task.loans = []
        self.task.borrowed = borrow_all(self.mappings, payload_of(record), payload_bytes_of(record), self.task.loans, False)
        return 0

    cdef uint32_t give_back_loans(self):
        """The task is over: which of its objects are still looked at, as bits (the last one for all after it too)."""
        cdef Loan loan
        cdef uint32_t kept = 0
        cdef Py_ssize_t i
        cdef list loans = self.task.loans
        for i in range(len(loans)):
            loan = loans[i]
            if Py_REFCNT(loan) > 2 or loan.is_forked():      # besides the list and this variable
                kept |= <uint32_t>1 << min(i, 31)
        for i in range(len(loans)):
            if kept >> min(i, 31) & 1:
                loan = loans[i]
                loan.count()
        loan = None
        self.task.loans = []
        self.trim()                                   # a worker that is never idle must do so, too
        return kept

    cdef bytes keep(self, value):
        """Make an object of a large result; the payload that names it. OSError if there is no room for it."""
        cdef uint64_t deadline = now_ns() + ROOM_NS
        stream, buffers = value if type(value) is tuple else (value, [])
        while True:
            self.read_announced()                     # which may free what can be used again
            if load_acquire(&self.page.epoch) != self.epoch:
                self.begin_names()
            try:
                return join_places([self.store.put_packed(stream, buffers, PLACE_NEW)])
            except OSError as error:
                if error.errno != _errno.ENOSPC or now_ns() > deadline:
                    raise
            self.mappings.trim(now_ns())
            with nogil:
                poll(NULL, 0, 20)
            PyErr_CheckSignals()

    cdef int tidy(self) except -1:
        """Say what is not looked at any more, and trim."""
        self.say_given_back()
        return self.trim()

    cdef int trim(self) except -1:
        """Now and then give up memory that is of no use."""
        cdef uint64_t now
        if self.mappings.by_segment or self.store.areas:
            now = now_ns()
            if now > self.next_trim_ns:
                self.next_trim_ns = now + TRIM_NS
                self.mappings.trim(now)
                self.store.trim(now)
        return 0

    cdef int say_given_back(self) except -1:
        if write_release(self.results, self.mappings.given_back):
            tell(self.bell, self.slot, self.bell_eventfd)
        return 0

    cdef int publish(self, Record *task, int status, int flags, uint32_t kept, char *payload, uint32_t size) except -1:
        cdef Record *record
        self.runner.end_if_forked()                   # while the result was pickled, or what the task was lent given back
        record = self.results.reserve(size)
        while record == NULL:
            store_release32(&self.results.header.waiting_for_room, 1)
            full_fence()
            record = self.results.reserve(size)
            if record == NULL and not self.wait_for_room():
                return 0
            if record == NULL:
                record = self.results.reserve(size)
        if load_acquire(&self.page.epoch) != self.epoch:
            kept = 0                                  # its lender is gone; it is not given out again
        fill_record(record, KIND_RESULT, flags, status,
                    self.task.results.failed if flags & FLAG_CHUNK else task.function,
                    task.task, task.attempt, task.items, kept)
        record.duration_ns = self.meter.duration_ns
        record.cpu_us = self.meter.cpu_us
        record.memory_peak_kib = self.meter.memory_peak_kib
        memcpy(payload_of(record), payload, size)
        self.results.commit()
        if self.mappings.given_back.length:           # never before the result that says what is kept
            write_release(self.results, self.mappings.given_back)
        tell(self.bell, self.slot, self.bell_eventfd)
        return 0

    cdef bint wait_for_room(self) except -1:
        """Sleep until the scheduler has drained results. False when it is gone."""
        cdef pollfd fds[5]
        cdef int n
        store_release32(&self.page.sleeping, 1)
        tell(self.bell, self.slot, self.bell_eventfd)
        n = self.poll_all(fds, self.doorbell, 10)
        store_release32(&self.page.sleeping, 0)
        if n > 0 and fds[0].revents & POLLIN:
            quiet_doorbell(self.doorbell)
        if n > 0 and not self.go_on(fds):
            self.stopping = True
            return False
        PyErr_CheckSignals()
        return True


cdef extern from "<sys/prctl.h>" nogil:
    int prctl(int option, ...)
    int PR_SET_PDEATHSIG


def die_with_parent(int parent):
    """Have the kernel kill this process when the thread that started it ends. SystemExit if it has already."""
    prctl(PR_SET_PDEATHSIG, 9)
    if _os.getppid() != parent:
        raise SystemExit(0)
