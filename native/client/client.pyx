# ClientRings: a client's side of its rings, put together of its parts, and what only all of them can do together.
#
#   connection      the scheduler at the other end: whether there is one, and what it says besides results
#   open            the futures of open tasks, by number
#   results         takes results off their ring
#   notifier        tells of futures that are done, and has callbacks called
#   leadership      waiting: one thread leads, the others follow
#   cancels         what is cancelled, and how the scheduler hears of it
#   late            results that are handed in for tasks that came too late for them
#   known           which of the client's objects the scheduler knows
#   upkeep          giving objects back, and room for new ones
#   functions       which functions have been announced
#
# What sends tasks stands on top of this (task_sender, graph_sender). Futures refer to this, never to the Client, so that
# a forgotten client can be told.
#
# Other people's code may run in the middle of nearly anything: the handler of a signal, a finalizer, a tracing function,
# an audit hook. It may call the client, and wait for a task, on the stack of whatever it has interrupted. So everything
# here happens under the GIL, in steps of which each leaves things as they should be. The rules for that stand with the
# parts: results, notifier and leadership. Those for all of them:
#
# Rule 1: a thread that waits for room in a ring takes results meanwhile, else both sides could wait for each other.
# Rule 2: a thread that waits for what cannot come before it has waited is told so (RuntimeError): in a thread that tasks
#         need to get on (own_threads), in the background thread (`check_standard_wait`), and for a task that runs below
#         on the same stack (worker_client).
# Not here: the client of the tasks that run in a worker (worker_client), objects and functions (scaler/client).

cdef double TEND_S = 0.5     # how often a client without tasks looks after its objects
cdef double IDLE_S = 1.0     # how often one without objects looks whether its scheduler is still there
cdef double UNSAID_S = 0.01  # how often while there is something that it had no room to say


cdef class ClientRings:
    cdef readonly Connection connection
    cdef readonly uint64_t bits
    cdef OpenFutures open
    cdef Results results
    cdef readonly Notifier notifier
    cdef Leadership leadership
    cdef Cancels cancels
    cdef LateDependants late
    cdef KnownObjects known
    cdef CallerFunctions functions
    cdef list graphs_begun          # that are being sent
    cdef Mappings mappings          # of others' objects
    cdef ObjectUpkeep upkeep
    cdef object load, scheduler_gone
    cdef public object name_of      # what people call the function of a number

    def __init__(self, Segment memory not None, int doorbell, Segment bell_memory not None, uint32_t slot,
                 int bell_eventfd, int lifeline, uint32_t client_bits, Store store not None, Mappings mappings not None,
                 *, load, callback_error, WakeUp background not None, scheduler_gone, bint decode_plain=True):
        self.connection = Connection(Channel(memory, doorbell, bell_memory, slot, bell_eventfd, lifeline))
        self.bits = (<uint64_t>client_bits) << TASK_NUMBER_BITS
        self.mappings, self.upkeep = mappings, ObjectUpkeep(store, mappings)
        self.load, self.scheduler_gone, self.name_of = load, scheduler_gone, str
        self.open, self.notifier = OpenFutures(), Notifier(background, callback_error)
        self.late, self.known = LateDependants(background), KnownObjects(store)
        self.results = Results(self.connection, self.open, self.notifier, self.late, self.known, mappings, decode_plain)
        self.leadership, self.cancels = Leadership(False), Cancels()
        self.functions, self.graphs_begun = CallerFunctions(), []

    def use(self, objects not None):
        """`objects` says which of the client's objects may be named again, and packs results that are handed in."""
        self.known.objects, self.late.pack_result = objects, objects.pack_result

    # what others ask

    @property
    def lost(self):
        """The exception that every call raises from now on, or None."""
        return self.connection.lost

    @property
    def page_count(self):
        """How many pages of futures there are, for tests."""
        return len(self.open.pages)

    @property
    def open_tasks(self):
        """How many futures are not done, as far as anybody has looked."""
        return self.open.count

    @property
    def strays(self):
        """How many results came for tasks that were not open: cancelled, or answered before."""
        return self.results.strays

    @property
    def needs_scheduler(self):
        """Whether there is a call that only a scheduler can bring to its end."""
        return self.open.count > 0 or self.connection.callers > 0

    def is_awaited(self):
        """Whether somebody still refers to a future that is not done, or to a large result that was not read."""
        if self.connection.lost is not None:
            return False
        return self.mappings.unread_loans > 0 or (self.open.count > 0 and self.open.any_held())

    cdef inline PendingFuture forget(self, uint64_t task):
        """The open future of this task, which is open no more; None if there is none."""
        return self.open.take(task & NUMBER_MASK)

    # reading

    cpdef object look(self):
        """Take what results there are, without waiting, and tell those who wait for them."""
        self.results.take()
        if self.results.arrived:
            self.results.find_arrived()
        if self.notifier.unfinished:
            self.notifier.finish_late()
        if self.connection.channel.results.broken and self.connection.lost is None:
            self.on_hang_up()
        if self.known.freed and not self.results.arrived:
            self.known.free_heard()

    cdef int read_control(self) except -1:
        """Read what the scheduler says besides results."""
        self.connection.read_control(self.known)
        if self.known.freed and not self.results.arrived and not self.connection.channel.results.has_news():
            self.known.free_heard()
        if self.connection.run_here:
            self.on_run_here()
        return 0

    def find_answer(self):
        """The oldest answer to a control record that nobody has taken, or None."""
        self.read_control()
        return self.connection.answers.popleft() if self.connection.answers else None

    def count_workers(self):
        """How many workers the scheduler has, as far as it has said."""
        self.read_control()
        return self.connection.worker_count

    # saying

    def check_open(self):
        """Raise what every call raises from now on, if there is such."""
        self.connection.check()

    def control(self, int kind, uint64_t task=0, bytes payload=b"", uint32_t function=0, int flags=0):
        """Write one control record, waiting for room if need be."""
        while True:
            self.connection.check()
            if self.connection.state != CONNECTED:
                self.wait_connected()
            elif self.connection.channel.say(kind, task, payload, function, flags):
                return
            else:
                self.wait_for_control_room()

    # waiting for room, or for a scheduler

    cdef int wait_for_room(self) except -1:
        """Wait a moment for room in the submit ring."""
        if here_is_needed():
            refuse_to_wait()
        return self.let_get_on(self.connection.channel, self.connection.channel.tasks)

    cdef int wait_for_control_room(self) except -1:
        """Wait a moment for room in the control ring."""
        if here_is_needed():
            refuse_to_wait()
        self.connection.channel.tell()
        return self.let_get_on(self.connection.channel, self.connection.channel.up)

    cdef int let_get_on(self, Channel channel, Ring ring) except -1:
        """Let the scheduler, or the relay, get on with reading this ring, and take results meanwhile."""
        cdef bint is_gone
        self.look()
        self.connection.check()
        is_gone = channel.wait_for_room(ring)
        PyErr_CheckSignals()
        if is_gone:
            self.check_scheduler()
        return self.connection.check()                # the handler of a signal may have left since then

    cdef int wait_connected(self) except -1:
        """There is no scheduler to talk to: wait a moment for one."""
        self.connection.check()
        if here_is_needed():
            refuse_to_wait()
        self.connection.callers += 1
        try:
            self.look()
            self.rest_lost()
        finally:
            self.connection.callers -= 1
        return 0

    cdef int rest_lost(self) except -1:
        with nogil:
            poll(NULL, 0, 5)
        PyErr_CheckSignals()
        return 0

    # the scheduler goes, and another one comes

    def check_scheduler(self):
        """See whether the scheduler has gone; end everything that is open if that is for good."""
        if self.connection.has_gone():
            self.on_hang_up()
        if self.connection.lost is not None and self.open.count:
            self.fail_all(self.connection.lost)

    cdef int on_hang_up(self) except -1:
        """The lifeline says that the scheduler has gone: another one is looked for, or everything is over."""
        cdef int before = self.connection.state
        if self.connection.lost is not None or before == LOST:
            return 0
        self.connection.state = LOST
        if before == RESENDING:
            return 0                                  # `resend` returns False, and the search goes on
        self.look()
        self.read_control()
        error = self.scheduler_gone()
        if error is not None:
            self.on_lost(error)
        return 0

    def on_lost(self, error not None):
        """The scheduler is gone for good: every call raises `error` from now on."""
        if self.connection.lost is None:
            self.connection.end(error)

    def attach(self, Segment memory not None, int doorbell, Segment bell_memory not None, uint32_t slot, int bell_eventfd,
               int lifeline, str epoch not None, str folder not None):
        """There is another scheduler, with these rings. What is left in the old ones is taken first."""
        while self.leadership.is_taken:               # no thread begins to lead while there is no scheduler
            with nogil:
                poll(NULL, 0, 1)
        if self.connection.lost is not None:
            return
        self.look()
        self.read_control()
        self.connection.begin_resending(Channel(memory, doorbell, bell_memory, slot, bell_eventfd, lifeline))
        self.known.begin_anew()
        self.mappings.begin_epoch(epoch, folder)

    def resend(self):
        """Say all that is open to this scheduler, which has heard none of it. False if it has gone meanwhile."""
        if not say_all_again(self):
            return False
        self.connection.state = CONNECTED
        return True

    def give_up(self, error not None):
        """No other scheduler is looked for any more: every call raises `error` from now on."""
        self.on_lost(error)
        self.fail_all(error)

    # waiting for futures

    cdef int wait_for(self, PendingFuture future, timeout) except -1:
        """Wait until this future is done, or raise TimeoutError."""
        cdef uint64_t deadline = 0
        if timeout is not None:
            deadline = now_ns() + <uint64_t>(max(0.0, min(float(timeout), 1e9)) * 1e9)
        if here_is_needed() and (timeout is None or timeout > 0):
            self.look()
            return refuse_to_wait() if future.state == FUTURE_PENDING else 0
        return self.wait_until(future, timeout, deadline)

    cdef int wait_until(self, PendingFuture future, timeout, uint64_t deadline) except -1:
        """The same, where waiting is not refused."""
        return self.leadership.wait_until(self, future, timeout, deadline)

    cdef int wait_for_chunk(self, MapProgress progress, timeout) except -1:
        """Wait until a chunk of this map has ended."""
        return self.wait_for(progress, timeout)

    cdef int check_standard_wait(self, PendingFuture future) except -1:
        """A thread is about to wait for this future until the background thread tells it: RuntimeError if that can never
        be."""
        if here_is_needed():
            return refuse_to_wait()
        return self.notifier.check_wait(future)

    cdef int hand_in_own(self) except -1:
        """In the background thread, where a callback waits: no other thread would hand in what its task may need."""
        if self.late.waiting and self.notifier.is_background():
            self.late.hand_in_all(self)
        return 0

    # what the client of the tasks in a worker does otherwise (worker_client)

    cdef int see_done(self, PendingFuture future) except -1:
        """A thread is about to wait for this future in a way that runs no code of ours: see that the task gets done."""
        return 0

    cdef bint is_asked_to_run(self, PendingFuture future) except -1:
        """Whether the leader is to stop, to run a task in this process. Asked of a leadership that hears control records."""
        return False

    cdef bint run_if_lent(self, PendingFuture future) except -1:
        """Run this future's task here and now, if the scheduler wants that. Whether it is done by that."""
        return False

    cdef bint take_back_child(self, PendingFuture future) except -1:
        """Take this future's task back from the children. False if a worker has it."""
        return False

    cdef int on_run_here(self) except -1:
        """The scheduler has lent tasks (`connection.run_here`)."""
        self.connection.run_here.clear()
        return 0

    def settle_in_task(self, PendingFuture future not None):
        """In a task: have this future done, since what needs its result could not be run in place of waiting."""

    def recall(self, futures not None):
        """Have those of these cancelled that no worker has begun. They hear of that as of a result, a moment later."""
        for future in futures:
            self.cancels.recall(self, future)
        self.look()

    def open_with(self, TaskOptions options not None):
        """The futures that are not done of tasks that were submitted with these very options."""
        self.look()
        return [future for future in self.open.all() if (<PendingFuture>future).options is options]

    # for the background thread

    def lead_for(self, double seconds):
        """Lead for up to this long. False if another thread leads, or there is no scheduler."""
        return self.leadership.lead_for(self, seconds)

    def call_back(self):
        """Tell those who wait for futures that are done, hand in what came too late, and run quick callbacks."""
        self.notifier.background_id = PyThread_get_thread_ident()
        if self.notifier.unfinished:
            self.notifier.finish_late()
        if self.late.waiting:
            self.late.hand_in_all(self)
        self.notifier.run_quick_callbacks()

    def tend(self):
        """Say what is to be said, without waiting, and see to objects. False if there is nothing of either."""
        if self.connection.lost is not None:
            return False
        if self.cancels.unsaid:
            self.cancels.say(self)
        return self.upkeep.tend(self) or bool(self.cancels.unsaid)

    def rest(self, event):
        """Sleep until a task is submitted or something is watched."""
        self.notifier.is_resting = True
        if self.open.count == 0 and self.notifier.watched == 0:
            event.wait((UNSAID_S if self.cancels.unsaid else TEND_S) if self.tend() else IDLE_S)
        self.notifier.is_resting = False
        if self.open.count == 0:
            self.check_scheduler()

    def interrupt(self):
        """Wake the leader."""
        ring_doorbell(&self.connection.channel.page.sleeping, self.connection.channel.doorbell)

    def make_room(self):
        """Wait a moment for objects to be freed. False if nothing is under way that could free any."""
        return self.upkeep.make_room(self)

    # endings

    def clear(self):
        """Cancel all that is open now, but not what others submit while that waits to be said."""
        cdef uint64_t end = self.open.next_number
        if self.connection.state == CONNECTED:
            self.control(KIND_CLEAR, self.bits | end)
        else:
            self.cancels.unsaid += [(<PendingFuture>future).task_id for future in self.open.all()]
        self.end_below(end, None, "its client was cleared")

    def leave(self, error not None, str why="its client has left"):
        """The client leaves: every call raises `error` from now on, and what is open is cancelled; `why` says why."""
        self.connection.end(error)
        self.end_below(<uint64_t>-1, None, why)
        self.late.waiting.clear()
        self.known.objects = self.late.pack_result = None

    def fail_all(self, error not None):
        """End all open futures with this exception."""
        self.end_below(<uint64_t>-1, error, None)

    cdef int end_below(self, uint64_t end, error, why) except -1:
        """End the open futures of tasks whose numbers are below `end` with this exception, or cancel them if it is None,
        for this reason."""
        cdef PendingFuture future
        for future in self.open.all():
            if future.task_id & NUMBER_MASK < end and self.forget(future.task_id) is not None:
                self.notifier.complete(future, FUTURE_CANCELLED if error is None else FUTURE_FAILED,
                                         why if error is None else error)
        self.notifier.finish_late()
        return 0

    def abandon(self):
        """In a forked child: every thread that led or slept here was the parent's, and so is whatever reads the rings."""
        cdef PendingFuture future
        self.connection.abandoned = True
        self.leadership.is_taken = False
        self.leadership.followers.clear()
        self.cancels.unsaid.clear()
        self.late.waiting.clear()
        self.results.arrived.clear()
        self.notifier.abandon()
        for future in self.open.all():
            future.abandon()
        self.open.forget_all()
