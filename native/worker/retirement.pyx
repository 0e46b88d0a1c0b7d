# Retirement: when a worker has done enough, and another process is to take its place.
#
# Libraries that leak, or fragment what they have, are better off in a fresh process now and then. A worker retires
# after so many tasks, when the memory of its own (resident, not shared) is over a limit between two tasks, or when it
# was asked to. It finishes the task it has, and ends; what it had not claimed goes elsewhere, as with any worker that
# leaves.
#
# Memory is looked at every LOOK_NS at most: that takes some 10 us.
#
# Rule 1: never in the middle of a task; each call of a chunk is one.
# Not here: how it is replaced (scaler.cluster.supervisor).

cdef enum:
    LOOK_NS = 50000000


@cython.final
cdef class Retirement:
    """After `most_tasks` tasks, or with `most_bytes` of memory; 0: never."""
    cdef uint64_t most_tasks, most_bytes
    cdef uint64_t tasks
    cdef uint64_t next_look_ns
    cdef bint asked
    cdef readonly str reason       # why it is due; empty while it is not

    def __init__(self, uint64_t most_tasks=0, uint64_t most_bytes=0):
        self.most_tasks, self.most_bytes = most_tasks, most_bytes
        self.reason = ""

    cdef inline bint is_due(self, uint32_t items, uint64_t now) except -1:
        """The worker has just run a task of so many calls (0: one that is not a chunk), which began at `now`."""
        return (self.most_tasks or self.most_bytes or self.asked) and self.look(items, now)

    def ask(self, str reason not None):
        """It is due after the task that runs now. For another thread."""
        self.reason, self.asked = reason, True

    cdef bint look(self, uint32_t items, uint64_t now) except -1:
        cdef uint64_t used
        self.tasks += items if items else 1
        if self.asked:
            return True
        if self.most_tasks and self.tasks >= self.most_tasks:
            self.reason = f"it has run {self.tasks} tasks"
        elif self.most_bytes and now >= self.next_look_ns:
            self.next_look_ns = now_ns() + LOOK_NS
            used = bytes_in_use(self.most_bytes)
            if used > self.most_bytes:
                self.reason = f"it has {used >> 20} MiB of memory"
        return bool(self.reason)

    def on_task(self, uint32_t items, uint64_t now):
        """For tests: as the worker asks after each task."""
        return self.is_due(items, now)
