# Cancels: futures that are cancelled, and how the scheduler hears of it.
#
# A future is cancelled at once, and `cancel` never waits. While there is no room in the control ring, or no scheduler,
# the task is noted, and said later. The last ones that were said are kept: the scheduler may have died before it read
# them.
#
# A future may also be called back: then its task is cancelled only if no worker has begun it. That only the scheduler
# knows, which answers.
#
# Not here: what the scheduler does about it (native/scheduler/core.pyx), cancelling all that is open (client).

cdef enum:
    MOST_SAID_CANCELS = 1000

cdef object RECALLED = "it was called back before it began"


@cython.final
cdef class Cancels:
    cdef object unsaid              # tasks of which the scheduler is still to be told
    cdef object said                # the last that it was told of

    def __cinit__(self):
        self.unsaid, self.said = _collections.deque(), _collections.deque(maxlen=MOST_SAID_CANCELS)

    cdef cancel(self, ClientRings rings, PendingFuture future):
        """Cancel it, and all that was submitted with it as an argument."""
        cdef PendingFuture one
        cdef list more
        cdef str why
        if future.dependants is None:
            self.cancel_one(rings, future, None)
            return
        more = [(future, None)]
        while more:
            future, why = more.pop()
            if future.dependants is not None:
                because = f"task {future.task_id:#x}, whose result it needs, was cancelled"
                more += [(one, because) for one in future.dependants if one is not None]
            self.cancel_one(rings, future, why)

    cdef cancel_one(self, ClientRings rings, PendingFuture future, str why):
        if rings.forget(future.task_id) is None:
            return
        if not future.child or not rings.take_back_child(future):
            self.unsaid.append(future.task_id)
        callbacks, future.callbacks = future.callbacks, None    # they are called here, and by no other thread
        rings.notifier.complete(future, FUTURE_CANCELLED, why)
        try:
            if rings.notifier.unfinished:
                rings.notifier.finish_late()
        finally:
            self.say(rings)
            if callbacks is not None:
                future.run_callbacks(callbacks)

    cdef int recall(self, ClientRings rings, PendingFuture future) except -1:
        """Have it cancelled if no worker has begun it. It hears of that as of a result, a moment later."""
        if future.state != FUTURE_PENDING:
            return 0
        if future.child and rings.take_back_child(future):
            if rings.forget(future.task_id) is not None:
                rings.notifier.complete(future, FUTURE_CANCELLED, RECALLED)
            return 0
        future.is_recalled = True
        rings.control(KIND_CANCEL, future.task_id, flags=CANCEL_UNBEGUN)
        return 0

    cdef int say(self, ClientRings rings) except -1:
        """Tell the scheduler what is not wanted, as far as there is room and a scheduler."""
        cdef Connection connection = rings.connection
        while self.unsaid and connection.lost is None and connection.state == CONNECTED:
            task = self.unsaid.popleft()
            if not connection.channel.say(KIND_CANCEL, task, b"", 0, 0):
                self.unsaid.appendleft(task)
                break
            self.said.append(task)
        if self.unsaid:                               # the background thread will go on with it
            rings.notifier.wake_resting()
        return 0

    cdef bint say_again(self, ClientRings rings) except -1:
        """Tell another scheduler, the last ones again. False if it has gone meanwhile."""
        self.unsaid.extendleft(self.said)
        self.said.clear()
        while self.unsaid:
            if rings.connection.channel.say(KIND_CANCEL, self.unsaid[0], b"", 0, 0):
                self.said.append(self.unsaid.popleft())
            elif not has_room_soon(rings, rings.connection.channel.up):
                return False
        return True
