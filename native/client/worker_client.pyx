# WorkerClientRings: the rings of the client that the tasks of a worker have, and what tasks that wait for tasks do
# otherwise.
#
# What a task submits is offered to other workers as a child (native/shm/children.pyx), and sent only when there is no
# room among the children; what asks for resources is always sent, since not every worker may have it. A task that waits
# for a child which no worker has begun runs it itself, in place of waiting.
# The scheduler may lend a task back that waits for one it holds: that one is run in place, too.
#
# Not here: what is run in place, and how (native/worker/nested.pyx).


@cython.final
cdef class WorkerClientRings(ClientRings):
    cdef NestedTasks nested_tasks                  # what runs in place of waiting

    def __init__(self, *args, NestedTasks nested_tasks not None, **keywords):
        ClientRings.__init__(self, *args, **keywords)
        self.nested_tasks = nested_tasks
        self.leadership.hears_control = True

    # waiting

    cdef int wait_until(self, PendingFuture future, timeout, uint64_t deadline) except -1:
        if timeout is not None and timeout <= 0:
            return self.leadership.wait_until(self, future, timeout, deadline)
        if self.nested_tasks.run_here(self, future):
            return self.leadership.wait_until(self, future, timeout, deadline)    # if its condition was held by somebody
        self.nested_tasks.check_stack(future)
        self.nested_tasks.begin_wait(self, future)
        self.nested_tasks.waits += 1
        try:
            return self.leadership.wait_until(self, future, timeout, deadline)
        finally:
            self.nested_tasks.waits -= 1
            self.nested_tasks.end_wait(self, future)

    cdef int wait_for_chunk(self, MapProgress progress, timeout) except -1:
        """Run a chunk here, if no worker has begun it; else wait for the oldest."""
        for chunk in progress.chunks:
            if (<PendingFuture>chunk).state == FUTURE_PENDING and self.nested_tasks.run_here(self, chunk):
                return 0
        for chunk in progress.chunks:
            if (<PendingFuture>chunk).state == FUTURE_PENDING:
                return self.wait_for(chunk, timeout)
        return 0

    cdef int see_done(self, PendingFuture future) except -1:
        if not self.nested_tasks.run_here(self, future):
            self.nested_tasks.watch(self, future)
        return 0

    cdef int check_standard_wait(self, PendingFuture future) except -1:
        ClientRings.check_standard_wait(self, future)
        if future.state == FUTURE_PENDING:
            self.nested_tasks.check_stack(future)
        return 0

    def settle_in_task(self, PendingFuture future not None):
        if future.state == FUTURE_PENDING:
            self.wait_for(future, None)

    # tasks that the scheduler lends

    cdef int on_run_here(self) except -1:
        cdef uint64_t task
        while self.connection.run_here:
            task = self.connection.run_here.popleft()
            self.nested_tasks.on_run_here(self, task)
            self.leadership.wake_follower(task)
        return 0

    cdef bint is_asked_to_run(self, PendingFuture future) except -1:
        self.read_control()
        if self.nested_tasks.lent and (future is None or future.task_id in self.nested_tasks.lent):
            return True
        self.nested_tasks.ask_again(self)
        return False

    cdef bint run_if_lent(self, PendingFuture future) except -1:
        if future.task_id not in self.nested_tasks.lent:
            return False
        self.nested_tasks.waits -= 1
        try:
            return self.nested_tasks.run_here(self, future)
        finally:
            self.nested_tasks.waits += 1

    def serve(self):
        """For the background thread: what the scheduler wants run here, each on a thread of its own (`run_lent`)."""
        self.read_control()
        return self.nested_tasks.serve(self)

    def run_lent(self, PendingFuture future not None):
        """Run what `serve` gave."""
        try:
            self.nested_tasks.run_lent(self, future)
        finally:
            self.notifier.background.set()

    # children

    cdef bint take_back_child(self, PendingFuture future) except -1:
        return self.nested_tasks.children.take_back(future.child - 1, future.task_id)

    def clear(self):
        self.nested_tasks.drop_all()
        ClientRings.clear(self)

    cdef int after_task(self, bint is_stopped) except -1:
        """The task that ran here is over. If it was stopped, so is what it has submitted."""
        if not is_stopped:
            self.nested_tasks.send_away(self)
        elif self.open.count:
            self.clear()
        return 0

    # tasks that get nowhere

    def stuck(self):
        """A sentence about which task waits for which, if nothing that is waited for has ended for long; else None."""
        return self.nested_tasks.stuck(self)

    def is_blocked(self):
        """Whether a task here waits for what runs elsewhere, and has for a while."""
        return self.nested_tasks.is_blocked()

    def set_patience(self, double seconds):
        """How long nothing that is waited for may end before `stuck` says so. For tests."""
        self.nested_tasks.quiet_ns = <uint64_t>(seconds * 1e9)


@cython.final
cdef class WorkerTaskSender(TaskSender):
    """Sends what the tasks of a worker submit: as children, where there is room, and on behalf of the task that runs."""
    cdef NestedTasks nested_tasks

    def __init__(self, WorkerClientRings rings not None, *args, **keywords):
        TaskSender.__init__(self, rings, *args, **keywords)
        self.nested_tasks = rings.nested_tasks

    cdef bytes place(self, PendingFuture future, bytes payload, packed):
        cdef uint32_t detail = self.nested_tasks.origin.detail(len(self.nested_tasks.chain))
        future.options = self.nested_tasks.origin.inherit(future.options)
        future.flags |= <uint8_t>self.nested_tasks.origin.flags
        if (packed is None and len(payload) <= CHILD_MOST_PAYLOAD
                and self.rings.functions.request_of(future.function) is None and self.offer(future, payload, detail)):
            return payload
        return self.write(future, payload, detail)

    cdef bint offer(self, PendingFuture future, bytes payload, uint32_t detail) except -1:
        """Offer the task to other workers. False if there is no room among the children."""
        cdef int child
        cdef Record *record
        while self.connection.state != CONNECTED:
            self.rings.wait_connected()
        self.open.make_place()
        child = self.nested_tasks.children.find_room()
        if child < 0:
            return False
        # No Python call from here on: see rule 1.
        future.payload = payload
        future.task_id = self.rings.bits | self.open.next_number
        self.open.add(future)
        future.child = <uint16_t>(child + 1)
        record = self.nested_tasks.children.record(<uint32_t>child)
        record.record_bytes = RECORD_HEADER_BYTES + <uint32_t>PyBytes_GET_SIZE(payload)
        fill_task(record, KIND_TASK, future.flags, future.function, future.task_id, future.items, detail, future.options,
                  payload)
        self.nested_tasks.children.offer(<uint32_t>child)
        full_fence()                                  # SYNC POINT hungry
        if load_acquire32(&self.connection.channel.bell.hungry):
            self.connection.channel.tell()
        return True

    cdef bint may_forget(self, uint32_t function) except -1:
        if self.open.count:                           # a child may name it still
            return False
        self.nested_tasks.functions.pop(function, None)
        return True
