# WorkerLoop: a worker's one thread: claim, unpickle, call, pickle, publish.
#
# Rule 1: nothing that a task does ends the loop, except ending the process.
# Rule 2: a result is published before the next task is looked at, and tail moves past a task only after that.
# Rule 3: functions are taken off the control ring when there is nothing to run, be their tasks withdrawn meanwhile:
#         else it fills up and no other function gets through. They are unpickled when a task names them, if one ever
#         does before they are forgotten. What they carry is this worker's to give back, once for each announcement.
# Rule 4: what a task was lent is given back with its result; a view that outlives the task is named in the result
#         (`detail`), and given back by itself when it ends.
# Rule 5: a task is stopped by a signal that raises in it, once: only while its own code runs (`stoppable`), only if the
#         page names this very attempt, and never in the midst of an import, which would leave half a module to the
#         tasks after it. Who sends the signal sends it again until the attempt has ended, and kills the process in the
#         end.
# Rule 6: a copy of this process that a task has forked never comes to the rings: it ends where the task's code does
#         (worker/forked.pyx).
# Not here: how processes start (scaler.cluster), what an exception looks like on its way (handed in as `describe`).

from functools import partial as _partial
from types import CoroutineType as _Coroutine

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(object o)
    unsigned long PyThread_get_thread_ident()


cdef enum:
    NOT_STOPPED = 0
    STOPPED_UNWANTED = 1     # nobody wants its result
    STOPPED_OVERDUE = 2      # it ran longer than it may


cdef struct CallLimit:
    # The time limit of a task that runs in place of waiting for it, and what the page said before.
    uint64_t since_ns        # when the limit began; 0: it has none, or somebody below on the stack must be done earlier
    uint64_t outer_since_ns
    uint64_t outer_limit_ns
    uint32_t outer_name_bytes
    char outer_name[124]


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
    cdef ChunkCalls chunk_calls
    cdef ChunkResults chunk_results
    cdef dict functions          # number -> callable, or the exception of unpickling it
    cdef dict announced          # number -> RecordCopy of those that no task has named yet
    cdef Store store
    cdef Mappings mappings
    cdef list loans              # objects of the task that runs now, in the order of its places
    cdef tuple borrowed          # what they are, until its arguments are made of them
    cdef uint64_t next_trim_ns
    cdef object loads, loads_parcel, load_input, dumps, describe, load_function, describe_overdue, stop_with, is_importing
    cdef object finish, name_of
    cdef readonly list clients   # rings of those that tasks have used here: they hear when a task is over
    cdef public bint stopping
    cdef unsigned int forks      # there had been so many when it began to run: a forked copy counts more
    cdef unsigned long thread    # that runs the tasks: the one that signals come to
    cdef bint stoppable          # the task's own code runs
    cdef uint32_t function_number    # of the task that runs
    cdef int stopped             # what the task that runs was stopped for
    cdef uint64_t limit_ns       # of tasks that have no limit of their own; 0: none
    cdef readonly uint64_t done
    cdef readonly uint64_t life  # of the scheduler whose functions these are, as the page says it
    cdef uint64_t heard_life     # whose bell this is
    cdef uint64_t named_life     # whose names these are
    cdef tuple names             # (life, folder, most bytes) that go with the bell
    cdef public object output    # takes what tasks write to where it is wanted (scaler.worker.task_output); None: nobody does
    cdef bint has_output         # it does so just now, or did for the last task
    cdef public object on_word   # takes the supervisor's next word; None if there is none but its end

    def __init__(self, Segment memory not None, int doorbell, Segment bell_memory not None, uint32_t slot,
                 int bell_eventfd, watched, Store store not None, Mappings mappings not None, *, loads, loads_parcel,
                 load_input, dumps, describe, load_function, Upkeep upkeep not None, describe_overdue=None, stop_with=KeyboardInterrupt,
                 is_importing=None, name_of=None, uint64_t limit_ns=0, finish=None, Retirement retirement=None):
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
        self.chunk_calls = ChunkCalls()
        self.chunk_results = ChunkResults()
        self.store, self.mappings, self.loans = store, mappings, []
        self.loads, self.loads_parcel, self.load_input, self.dumps = loads, loads_parcel, load_input, dumps
        self.describe, self.load_function, self.finish = describe, load_function, finish
        self.describe_overdue, self.stop_with, self.is_importing = describe_overdue, stop_with, is_importing
        self.name_of, self.limit_ns = name_of, limit_ns
        self.life = self.heard_life = self.named_life = load_acquire(&self.page.life)
        self.retirement = Retirement() if retirement is None else retirement

    cdef inline bint is_forked(self) noexcept:
        """Whether this is a copy of the worker that a task has forked."""
        return forks_so_far != self.forks

    # being stopped

    def on_signal(self, number, frame):
        """The handler of the signal that asks to look whether what runs now is to be stopped."""
        cdef uint64_t since_ns
        if not self.stoppable or self.stopped or not what_to_stop(self.page, &since_ns):
            return                                    # before any Python code, in which the next signal may come
        if (self.is_importing is None or not self.is_importing(frame)) and self.is_to_be_stopped():
            raise self.stop_with

    def stop_again(self):
        """What was raised came to nothing, since nobody could be told: the next signal raises anew."""
        self.stopped = NOT_STOPPED

    cdef bint is_to_be_stopped(self) except -1:
        """Note it, if so."""
        cdef uint64_t since_ns
        if not what_to_stop(self.page, &since_ns):
            return False
        self.stopped = STOPPED_OVERDUE if since_ns else STOPPED_UNWANTED
        if not self.page.limit_ns:
            try:
                self.note_name(self.functions.get(self.function_number))
            except Exception:                         # for people only: nothing else is to be raised here
                pass
        store_release32(&self.page.stop_raised, 1)
        return True

    cdef inline int let_stop(self) except -1:
        """The task's own code comes now. Who wants it stopped may have said so before it began."""
        self.stoppable = True
        if load_acquire(&self.page.stop_attempt) == self.page.attempt and self.is_to_be_stopped():
            raise self.stop_with
        return 0

    cdef int note_name(self, function) except -1:
        """A task with a limit is about to run: who may have to kill this process wants to say what it was."""
        cdef bytes name = b"" if self.name_of is None else self.name_of(function).encode("utf-8", "replace")
        cdef uint32_t size = min(<uint32_t>len(name), <uint32_t>sizeof(self.page.name))
        memcpy(self.page.name, PyBytes_AS_STRING(name), size)
        store_release32(&self.page.name_bytes, size)
        return 0

    cdef inline uint64_t limit_of(self, Record *record) noexcept nogil:
        """How long the task may take, each of its calls; 0: any time."""
        cdef uint64_t limit_ms = limit_ms_of(record)
        return limit_ms * 1000000 if limit_ms else self.limit_ns

    # limits of tasks that run in place of waiting for them: the page says what must be done first

    cdef int begin_limit(self, CallLimit *limit, uint64_t limit_ms, function) except -1:
        """Such a task begins, or the next call of such a chunk. Only on the thread that signals come to."""
        cdef PeerPage *page = self.page
        cdef uint64_t limit_ns = limit_ms * 1000000 if limit_ms else self.limit_ns
        cdef uint64_t now
        limit.since_ns = 0
        if limit_ns == 0 or not self.stoppable or PyThread_get_thread_ident() != self.thread:
            return 0
        now = max(now_ns(), page.since_ns + 1)        # it says whose limit it is
        if page.limit_ns and page.since_ns + page.limit_ns <= now + limit_ns:
            return 0
        limit.outer_since_ns, limit.outer_limit_ns = page.since_ns, page.limit_ns
        limit.outer_name_bytes = page.name_bytes
        memcpy(limit.outer_name, page.name, sizeof(limit.outer_name))
        self.note_name(function)
        limit.since_ns = now
        store_release(&page.since_ns, now)            # in this order, and back in the other: who looks in between takes
        store_release(&page.limit_ns, limit_ns)       # nothing for overdue that is not
        return 0

    cdef void end_limit(self, CallLimit *limit) noexcept:
        cdef PeerPage *page = self.page
        if limit.since_ns:
            store_release(&page.limit_ns, limit.outer_limit_ns)
            store_release(&page.since_ns, limit.outer_since_ns)
            memcpy(page.name, limit.outer_name, sizeof(limit.outer_name))
            store_release32(&page.name_bytes, limit.outer_name_bytes)
            limit.since_ns = 0

    cdef inline bint is_own_stop(self, CallLimit *limit) noexcept:
        """Whether it was this limit that what runs was stopped for, whatever it has made of that."""
        return limit.since_ns != 0 and self.stopped == STOPPED_OVERDUE and self.page.since_ns == limit.since_ns

    cdef object describe_own_stop(self, function, error):
        """What such a task has to say. What waits for it goes on."""
        self.stoppable = False
        try:
            return b"" if self.describe_overdue is None else self.describe_overdue(function, self.page.limit_ns, error)
        finally:
            self.stopped = NOT_STOPPED
            self.stoppable = True

    # running

    def run(self):
        """Run tasks until the scheduler or the supervisor is gone or `stopping` is set."""
        cdef Record *record
        cdef bint is_due = False
        self.forks = forks_so_far
        self.thread = PyThread_get_thread_ident()
        while not self.stopping:
            if self.is_forked():                      # in a finalizer
                end_forked()
            record = self.tasks.peek()
            if record == NULL:
                if self.tasks.broken or self.down.broken or not self.wait():
                    return
                continue
            if self.names_objects(record) and (self.is_cut_off() or self.is_being_taken_back(record)):
                self.pause()                          # its objects get other names
                continue
            if self.tasks.claim(record):
                if load_acquire(&self.page.life) != self.life and self.tasks.tail >= self.page.takeover_tasks:
                    self.begin_life()
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
        if load_acquire(&self.page.life) != self.life:
            self.begin_life()
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
            return load_acquire(&self.page.life) == self.life
        fds[0].fd = self.watched[0]
        fds[0].events = POLLIN
        return poll(fds, 1, 0) > 0 and load_acquire(&self.page.life) == self.life

    cdef bint is_being_taken_back(self, Record *record) noexcept:
        """Whether the scheduler before meant it: the next one, which has our rings by now, is just taking it back."""
        return (self.on_word is not None and load_acquire(&self.page.life) != self.life
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

    def move(self, Segment bell_memory, uint32_t slot, int bell_eventfd, int lifeline, str life not None, str folder not None,
             uint64_t most_bytes):
        """Who is rung from now on. Names stay until no task of before runs any more."""
        if bell_memory is not None:
            self.bell_memory, self.bell = bell_memory, <BellPage *>bell_memory.start
            self.slot, self.bell_eventfd = slot, bell_eventfd
        self.watched[0] = lifeline
        self.heard_life = int(life, 16)
        self.names = life, folder, most_bytes

    cdef int begin_life(self) except -1:
        """From here on tasks are another owner's. What was announced before means nothing any more."""
        self.read_announced()
        self.functions.clear()
        self.announced.clear()
        self.begin_names()
        self.life = load_acquire(&self.page.life)
        return 0

    cdef int begin_names(self) except -1:
        """See to it that what is made from here on has the names that the rings' owner knows."""
        if self.on_word is None:                      # a relay: it stays, and so do names
            self.mappings.begin_life(self.mappings.life, self.mappings.folder)
            self.store.retire()                       # who still looks at what is in it nobody knows any more
            return 0
        while self.heard_life != load_acquire(&self.page.life) and not self.stopping:
            if not self.on_word():
                self.stopping = True
        if self.named_life == self.heard_life:
            return 0
        self.named_life = self.heard_life
        life, folder, most_bytes = self.names
        unread = unread_objects(self.results, self.page.takeover_results)
        for object in list(self.store.slots) if unread is not None else ():
            if object not in unread:                  # it was read, and who would free it is gone
                self.store.free(object)
        self.store.begin_life(life, folder, most_bytes)
        self.mappings.begin_life(life, folder)
        return 0

    # what is announced

    cdef int read_announced(self) except -1:
        """Take what is in the control ring, but not what another owner says while a task of before runs."""
        if not self.down.has_news():
            return 0
        while True:
            if load_acquire(&self.page.life) != self.life and self.down.tail >= self.page.takeover_down:
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
        if type(function) is Unreadable:
            # With the traceback it came with: each time it is raised it gets longer.
            raise (<Unreadable>function).error.with_traceback((<Unreadable>function).traceback)
        return as_callable(function)

    cdef int execute(self, Record *record) except -1:
        """Run what the record asks for and publish the result, whatever happens."""
        cdef char small[256]
        cdef uint32_t small_size = 0
        cdef uint32_t kept = 0
        cdef object value = None
        cdef int status = STATUS_OK
        cdef int flags = 0
        self.page.task, self.page.attempt = record.task, record.attempt
        self.page.name_bytes = self.page.stop_raised = 0
        self.function_number = record.function
        self.origin.begin(record)
        self.page.limit_ns = self.limit_of(record)
        self.stopped = NOT_STOPPED
        self.meter.begin(record.function, record.flags)
        store_release(&self.page.since_ns, self.meter.start_ns)
        store_release32(&self.page.state, STATE_RUNNING)
        if record.flags & FLAG_OUTPUT or self.has_output:
            self.begin_output(record)
        try:
            if record.flags & FLAG_OBJECTS:           # first of all: loading a function may take seconds, names may go
                self.borrowed = self.borrow(record)
            if record.flags & FLAG_CHUNK:
                value = self.call_chunk(record)
                flags = FLAG_CHUNK | (FLAG_PLAIN if self.chunk_results.all_plain else 0)
            else:
                value = self.call(record, &status)
        except BaseException as error:
            self.stoppable = False
            if self.is_forked():
                end_forked(error)
            status = STATUS_UNREADABLE
            if not self.stopped:
                value = self.describe(error, True)
            elif self.stopped == STOPPED_OVERDUE:
                value = self.describe_stop(record, error)
        self.stoppable = False
        if self.is_forked():
            end_forked()
        self.borrowed = None
        if self.clients:
            for rings in list(self.clients):
                if isinstance((<ClientRings>rings).connection.lost, ConnectionError):
                    # What it has submitted is lost with its scheduler. The next one has it run anew, in a fresh worker.
                    raise SystemExit(f"this worker ends, since the client of its task has: {(<ClientRings>rings).connection.lost}")
                elif (<ClientRings>rings).connection.lost is not None:
                    self.clients.remove(rings)        # the task has left by itself
                else:
                    (<WorkerClientRings>rings).after_task(self.stopped != NOT_STOPPED)
        self.meter.end(record.function)
        if status == STATUS_OK and not flags and not self.stopped:
            small_size = plain_value(small, value)
            if small_size == 0:
                value = self.pack(record, value, &status)
        if visits:
            end_all_visits()
        if self.has_output:
            self.output.end()
        store_release32(&self.page.state, STATE_IDLE)
        self.done += 1
        if small_size:
            if self.loans:
                value = None
                kept = self.give_back_loans()
                self.trim()
            return self.publish(record, status, FLAG_PLAIN, kept, small, small_size)
        if self.stopped:
            status, flags, value = self.outcome_of_stop(record, value)
        if type(value) is tuple or <size_t>len(value) > self.results.largest_payload():
            try:
                value = self.keep(value)
                flags |= FLAG_OBJECTS
            except BaseException as error:
                status = STATUS_RAISED
                flags = 0
                value = self.describe(error, False)
        if self.loans:
            kept = self.give_back_loans()
            self.trim()                               # one that is never idle must do so too
        return self.publish(record, status, flags, kept, <char *><bytes>value, <uint32_t>len(value))

    cdef int begin_output(self, Record *record) except -1:
        """What the next task writes goes to its root's client, if that wants it, and else where it went at first."""
        if not record.flags & FLAG_OUTPUT or self.output is None:
            if self.has_output:
                self.has_output = False
                self.output.give_back()
            return 0
        self.has_output = self.output.begin(self.origin.root, record.task, self.function(record.function))
        return 0

    cdef object pack(self, Record *record, value, int *status):
        """The pickle of a result, or the description of what pickling it raised."""
        try:
            self.let_stop()
            value = self.dumps(value)
            self.stoppable = False
            return self.describe_stop(record, None) if self.stopped else value
        except BaseException as error:
            self.stoppable = False
            if self.is_forked():
                end_forked(error)
            status[0] = STATUS_RAISED
            return self.describe_stop(record, error) if self.stopped else self.describe(error, False)

    cdef object describe_stop(self, Record *record, error):
        """What a task has to say that was stopped: nothing, or that it took too long, and where it was then."""
        if self.stopped == STOPPED_OVERDUE and self.describe_overdue is not None:
            return self.describe_overdue(self.functions.get(record.function), self.page.limit_ns, error)
        return b""

    cdef tuple outcome_of_stop(self, Record *record, value):
        """(status, flags, payload) of a task that was stopped, whatever it has made of that."""
        if self.stopped == STOPPED_UNWANTED:
            return STATUS_STOPPED, 0, b""
        return STATUS_RAISED, 0, value if type(value) is bytes else self.describe_stop(record, None)

    cdef object call(self, Record *record, int *status):
        """The result of the one call, or the description of what it raised. Raises if it could not be read."""
        cdef object arguments = NotImplemented
        cdef object function = self.find(record.function)
        cdef object value
        if self.page.limit_ns:
            self.note_name(function)
        if not record.flags & ~(FLAG_PROFILE | FLAG_OUTPUT):
            arguments = read_plain(payload_of(record), payload_bytes_of(record))
        self.let_stop()
        if arguments is NotImplemented:
            if record.flags & FLAG_INPUTS:
                arguments = self.read_with_inputs(record)
            elif record.flags & FLAG_OBJECTS:
                stream, buffers, references = self.take_borrowed()
                arguments = self.loads_parcel(stream, buffers, references)
                buffers = references = stream = None
            else:
                arguments = self.loads(PyBytes_FromStringAndSize(payload_of(record), payload_bytes_of(record)))
        try:
            if record.flags & FLAG_KEYWORDS:
                value = function(*arguments[0], **arguments[1])
            else:
                value = function(*arguments)
            if type(value) is _Coroutine:
                value = self.finish(value)
            self.stoppable = False
            return value if not self.stopped else self.describe_stop(record, None)
        except BaseException as error:
            self.stoppable = False
            if self.is_forked():
                end_forked(error)
            status[0] = STATUS_RAISED
            return self.describe_stop(record, error) if self.stopped else self.describe(error, False)

    cdef tuple unpack(self, Record *record):
        """(pickle, the buffers it left out, the objects of its references, its inputs) of a task that has inputs."""
        cdef const char *payload = payload_of(record)
        cdef size_t size = payload_bytes_of(record)
        cdef size_t end = 0
        cdef list inputs
        cdef object stream = None
        cdef object buffers = ()
        cdef object references = ()
        if record.flags & FLAG_OBJECTS:
            stream, buffers, references = self.take_borrowed()
        inputs = unpack_inputs(payload, size, record.flags, self.loans, &end)
        if type(stream) is bytes or stream is None:           # else it is an object of its own
            stream = PyBytes_FromStringAndSize(payload + end, size - end)
        return stream, buffers, references, inputs

    cdef object read_with_inputs(self, Record *record):
        """The arguments of a task that has inputs."""
        cdef bytes plain
        cdef object arguments = NotImplemented
        stream, buffers, references, inputs = self.unpack(record)
        if type(stream) is bytes and not record.flags & FLAG_KEYWORDS:
            plain = stream
            arguments = read_template(PyBytes_AS_STRING(plain), len(plain), inputs, self.load_input)
        if arguments is NotImplemented:
            arguments = self.loads_parcel(stream, buffers, references, inputs)
        return arguments

    cdef object call_chunk(self, Record *record):
        """The results of all calls of a chunk. Raises if the chunk could not be read at all, or is to be stopped."""
        cdef ChunkCalls calls = self.chunk_calls
        cdef ChunkResults results = self.chunk_results
        cdef object function = self.find(record.function)
        cdef object loads = self.loads
        cdef const unsigned char[:] data
        cdef list kept = []
        cdef object value
        cdef uint32_t i
        if self.page.limit_ns:
            self.note_name(function)
        if record.flags & (FLAG_OBJECTS | FLAG_INPUTS):
            if record.flags & FLAG_INPUTS:
                stream, buffers, references, inputs = self.unpack(record)
            else:
                stream, buffers, references = self.take_borrowed()
                inputs = ()
            loads = _partial(self.loads_parcel, buffers=iter(buffers), references=references, inputs=inputs)
            buffers = references = inputs = None
            data = stream
            calls.begin(<const char *>&data[0], data.shape[0], record.items, record.flags & FLAG_PLAIN, loads)
        else:
            calls.begin(payload_of(record), payload_bytes_of(record), record.items, record.flags & FLAG_PLAIN, loads)
        results.begin()
        for i in range(record.items):
            if self.page.limit_ns and i:
                store_release(&self.page.since_ns, now_ns())    # it is each call's
            try:
                self.let_stop()
                value = calls.call_next(function)
                if type(value) is _Coroutine:
                    value = self.finish(value)
                if type(value) is not Unreadable and not self.stopped and not results.add_plain(value):
                    value = self.dumps(value)
                    self.stoppable = False
                    if not self.stopped:
                        if type(value) is tuple:
                            kept += (<tuple>value)[1]
                            value = (<tuple>value)[0]
                        results.add(STATUS_OK, value)
                self.stoppable = False
                if type(value) is Unreadable and not self.stopped:
                    results.add(STATUS_UNREADABLE, self.describe((<Unreadable>value).error, True))
                error = None
            except BaseException as raised:
                self.stoppable = False
                error = raised
                if self.is_forked():
                    end_forked(error)
                if not self.stopped:
                    results.add(STATUS_RAISED, self.describe(error, False))
            if self.is_forked():
                end_forked()
            if self.stopped == STOPPED_UNWANTED:
                raise self.stop_with                  # no more of this chunk
            if self.stopped == STOPPED_OVERDUE:
                results.add(STATUS_RAISED, self.describe_stop(record, error))
                self.stopped = NOT_STOPPED            # the next call goes on
            error = None
            if visits:
                end_all_visits()
        value = results.finish()
        return (value, kept) if kept else value

    # objects

    cdef tuple borrow(self, Record *record):
        """(pickle, the buffers it left out, the objects of its references) of a task whose payload names objects."""
        cdef const char *payload = payload_of(record)
        cdef size_t size = payload_bytes_of(record)
        self.loans = []
        return borrow_all(self.mappings, payload, size, self.loans, False)

    cdef inline tuple take_borrowed(self):
        """The same of the task that runs, once: whoever has it says how long its objects are looked at."""
        cdef tuple borrowed = self.borrowed
        self.borrowed = None
        return borrowed

    cdef uint32_t give_back_loans(self):
        """The task is over: which of its objects somebody still looks at, as bits (the last one for all after it too)."""
        cdef Loan loan
        cdef uint32_t kept = 0
        cdef Py_ssize_t i
        cdef list loans = self.loans
        self.chunk_calls.loads = None
        for i in range(len(loans)):
            loan = loans[i]
            if Py_REFCNT(loan) > 2 or loan.is_forked():      # besides the list and this variable
                kept |= <uint32_t>1 << min(i, 31)
        for i in range(len(loans)):
            if kept >> min(i, 31) & 1:
                loan = loans[i]
                loan.count()
        loan = None
        self.loans = []
        return kept

    cdef bytes keep(self, value):
        """Make an object of a large result; the payload that names it. OSError if there is no room for it."""
        cdef uint64_t deadline = now_ns() + ROOM_NS
        stream, buffers = value if type(value) is tuple else (value, [])
        while True:
            self.read_announced()                     # which may free what can be used again
            if load_acquire(&self.page.life) != self.life:
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
        if self.is_forked():                          # while the result was pickled, or what the task was lent given back
            end_forked()
        record = self.results.reserve(size)
        while record == NULL:
            store_release32(&self.results.header.waiting_for_room, 1)
            full_fence()
            record = self.results.reserve(size)
            if record == NULL and not self.wait_for_room():
                return 0
            if record == NULL:
                record = self.results.reserve(size)
        if load_acquire(&self.page.life) != self.life:
            kept = 0                                  # who lent it is gone; it is not given out again
        fill_record(record, KIND_RESULT, flags, status,
                    self.chunk_results.failed if flags & FLAG_CHUNK else task.function,
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


cdef class Unreadable:
    """Stands where a function should be that could not be unpickled."""
    cdef readonly object error
    cdef object traceback

    def __init__(self, error):
        self.error = error
        self.traceback = error.__traceback__


cdef extern from "<sys/prctl.h>" nogil:
    int prctl(int option, ...)
    int PR_SET_PDEATHSIG


def die_with_parent(int parent):
    """Have the kernel kill this process when the thread that started it ends. SystemExit if it has already."""
    prctl(PR_SET_PDEATHSIG, 9)
    if _os.getppid() != parent:
        raise SystemExit(0)
