# WakeUp: an event that one thread waits for, and that anything may set.
#
# threading.Event has a lock of its own, which is held while Python code runs. The handler of a signal may come in just
# there and call the client, which sets the same event: it would wait for the lock that its own stack holds. Here each
# call is one call of a lock's own method, in the midst of which nothing runs.
#
# Rule 1: one thread waits; what was set before is not missed, and waiting takes it.


@cython.final
cdef class WakeUp:
    cdef object lock             # held while it is not set

    def __init__(self):
        self.lock = _thread.allocate_lock()
        self.lock.acquire()

    def set(self):
        """Have the one who waits, or will, go on."""
        if self.lock.locked():
            self.lock.release()

    def wait(self, double timeout):
        """Until it is set, at most so many seconds. Whether it was."""
        return self.lock.acquire(True, timeout)
