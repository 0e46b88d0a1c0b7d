# WakeUp: an event that one thread waits for, and that any code may set.
#
# threading.Event has a lock of its own, which is held while Python code runs. The handler of a signal may come in just
# there and call the client, which sets the same event: it would wait for the lock that its own stack holds. Here `set`
# and `wait` are calls of a lock's own methods, in the midst of which no other code runs.
#
# Rule 1: one thread waits; what was set before is not missed, and waiting takes it.


@cython.final
cdef class WakeUp:
    cdef object lock             # held while it is not set

    def __init__(self):
        self.lock = _thread.allocate_lock()
        self.lock.acquire()

    def set(self):
        """Have the thread go on that waits, or will."""
        if self.lock.locked():
            self.lock.release()

    def wait(self, double timeout):
        """Until it is set, at most so many seconds. Whether it was."""
        return self.lock.acquire(True, timeout)
