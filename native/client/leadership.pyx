# Leadership: waiting for futures. One thread leads, the others follow.
#
# The leader looks for news for a moment, then sleeps on the client's bell, until its own future is done. The followers
# sleep on their futures' conditions. When the leader is done it wakes a follower, which leads from then on.
#
# Rule 1: a thread leads only while it looks for news without the GIL, never while others' code runs (a callback, a
#         finalizer, the handler of a signal): that code may wait for a task, and needs a leader. So callbacks never run
#         in the leader's role, and a thread that comes back from others' code looks at everything anew: results,
#         which thread leads, the channel.
# Rule 2: the handler of a signal may raise while a follower sleeps. A thread that has gone is not to be woken, so it
#         takes itself off the list however it leaves.
# Not here: when waiting is refused (client, own_threads), what a task does while it waits (worker_client).

cdef int ms_until(uint64_t deadline, int most) noexcept nogil:
    """Milliseconds until then, rounded up."""
    cdef uint64_t now = now_ns()
    if deadline <= now:
        return 0
    return min(most, <int>min((deadline - now) // 1000000 + 1, <uint64_t>most))


cdef int notify(condition) except -1:
    """Wake the threads that wait there, unless somebody holds it: they look again by themselves."""
    if condition.acquire(False):
        try:
            condition.notify_all()
        finally:
            condition.release()
    return 0


@cython.final
cdef class Leadership:
    """Which thread of a client leads, and which follow."""
    cdef bint is_taken             # a thread leads
    cdef bint hears_control        # the leader is to hear of the scheduler's control records as well
    cdef object followers          # futures whose threads sleep, by arrival

    def __cinit__(self, bint hears_control):
        self.hears_control, self.followers = hears_control, _collections.deque()

    cdef int wait_until(self, ClientRings rings, PendingFuture future, timeout, uint64_t deadline) except -1:
        """Wait until this future is done: lead if nobody does, else follow."""
        cdef Connection connection = rings.connection
        cdef double left
        while future.state == FUTURE_PENDING:
            rings.hand_in_own()
            if rings.run_if_lent(future):
                continue
            if connection.lost is not None and rings.open.count == 0:
                raise anew(connection.lost)
            elif connection.state == LOST:
                rings.look()
                if future.state == FUTURE_PENDING:
                    rings.rest_lost()
            elif not self.is_taken:
                self.lead(rings, future, deadline)
            else:
                with future.make_condition():
                    if future.state == FUTURE_PENDING and self.is_taken:
                        self.followers.append(future)
                        left = 0.1 if timeout is None else min(0.1, max(0.0, (<double>deadline - <double>now_ns()) / 1e9))
                        try:
                            future.condition.wait(left)
                        finally:
                            self.unfollow(future)
            if future.state == FUTURE_PENDING and timeout is not None and now_ns() >= deadline:
                raise _TimeoutError(f"task {future.task_id:#x} was not done within {timeout} s")
        return 0

    # followers

    cdef int unfollow(self, PendingFuture future) except -1:
        try:
            self.followers.remove(future)
        except ValueError:
            pass
        return 0

    cdef hand_on(self):
        """Nobody leads: wake a follower."""
        if self.followers:
            try:
                future = self.followers[0]
            except IndexError:
                return
            notify((<PendingFuture>future).condition)

    cdef int wake_follower(self, uint64_t task) except -1:
        """Wake the threads that wait for this task."""
        for future in list(self.followers):
            if (<PendingFuture>future).task_id == task:
                notify((<PendingFuture>future).condition)
        return 0

    # the leader

    cdef bint lead_for(self, ClientRings rings, double seconds) except -1:
        """Lead for up to this long, for no future. False if another thread leads, or there is no scheduler."""
        if rings.connection.state == LOST:
            rings.look()
            return False
        if self.is_taken:
            return False
        self.lead(rings, None, now_ns() + <uint64_t>(seconds * 1e9))
        return True

    cdef int lead(self, ClientRings rings, PendingFuture future, uint64_t deadline) except -1:
        """Take results until `future` is done, the deadline has passed, or there are callbacks and no future to wait for;
        or until another thread leads, which may have come in while others' code ran here."""
        cdef int looks = 0
        try:
            while self.go_on(rings, future):
                if deadline and now_ns() >= deadline:
                    break
                if self.wait_for_news(rings, future, deadline, &looks):
                    rings.look()
                    rings.on_hang_up()
                else:
                    PyErr_CheckSignals()
        finally:
            if not self.is_taken:
                self.hand_on()
        return 0

    cdef bint go_on(self, ClientRings rings, PendingFuture future) except -1:
        """Do what there is to do, in which others' code may run. False if there is no need to wait, or no way."""
        rings.look()
        if future is not None and future.state != FUTURE_PENDING:
            return False
        if future is not None:
            rings.hand_in_own()
        if self.hears_control and rings.is_asked_to_run(future):
            return False
        if rings.connection.lost is not None:
            rings.fail_all(rings.connection.lost)
            return False
        if rings.mappings.given_back.length:          # what comes next may be made where that was
            rings.upkeep.say_given_back(rings)
        return not self.is_to_stop(rings, future)

    cdef inline bint is_to_stop(self, ClientRings rings, PendingFuture future) noexcept:
        """Whether no thread is to wait for news now on behalf of `future`."""
        if self.is_taken or rings.connection.lost is not None or rings.connection.state == LOST:
            return True
        if future is not None:
            return future.state != FUTURE_PENDING
        return len(rings.notifier.to_tell) > 0 or (len(rings.notifier.to_call) > 0 and not rings.notifier.has_caller)

    cdef bint wait_for_news(self, ClientRings rings, PendingFuture future, uint64_t deadline, int *looks) noexcept:
        """Lead: look for news for a moment, then sleep. True if the scheduler has gone. Others' code never runs here."""
        cdef Channel channel = rings.connection.channel
        cdef bint has_gone = False
        cdef int wait_ms = 100
        self.is_taken = True
        if not channel.spin(now_ns(), self.hears_control):
            # Other threads have run meanwhile, and may have taken what we wait for.
            self.is_taken = False
            if self.is_to_stop(rings, future):
                return False
            self.is_taken = True
            if len(rings.notifier.unfinished):
                looks[0] += 1
                wait_ms = 0 if looks[0] < 4 else 2
            elif deadline:
                wait_ms = ms_until(deadline, wait_ms)
            has_gone = channel.sleep(wait_ms, self.hears_control)
        self.is_taken = False
        return has_gone
