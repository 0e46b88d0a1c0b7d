# Interrupts: how the code of a task is stopped from outside, as its own worker sees it: by a signal that raises in it.
#
# The other end of the rings writes into the worker's page which attempt is to be stopped, and sends a signal
# (stopping.pyx). The handler asks the page whether that is what runs here now, and raises if so.
#
# A task that runs in place of waiting for it may have a time limit of its own. The page has room for one limit, so it
# says the one that ends first, and the task keeps what the page said before (CallLimit) to put it back.
#
# Rule 1: a task is stopped once: only while its own code runs (`stoppable`), only if the page names this very attempt,
#         and never in the midst of an import, which would leave half a module to the tasks after it. The sender sends
#         its signal again until the attempt has ended, and kills the process in the end. An attempt looks at the page
#         as it begins, too, so that a signal from before is not lost.
# Not here: what the page looks like to the sender of the signal (stopping), what becomes of a task that was stopped
# (runner).

cdef enum:
    NOT_STOPPED = 0
    STOPPED_UNWANTED = 1     # nobody wants its result
    STOPPED_OVERDUE = 2      # it ran longer than it may


cdef struct CallLimit:
    # The time limit of a task that runs in place of waiting for it, and what the page said before.
    uint64_t since_ns        # when the limit began; 0: it has none, or a task below on the stack must be done earlier
    uint64_t outer_since_ns
    uint64_t outer_limit_ns
    uint32_t outer_name_bytes
    char outer_name[124]


@cython.final
cdef class Interrupts:
    """Of the tasks that run in one worker; its page is in `memory`."""
    cdef Segment memory
    cdef PeerPage *page
    cdef unsigned long thread    # that runs the tasks: the one that signals come to
    cdef bint stoppable          # the task's own code runs
    cdef int stopped             # what the task that runs was stopped for
    cdef dict functions          # number -> callable, of the worker
    cdef uint32_t function_number    # of the task that runs
    cdef uint64_t limit_ns       # of tasks that have no limit of their own; 0: none
    cdef object stop_with, is_importing, describe_overdue, name_of

    def __init__(self, Segment memory not None, *, stop_with=KeyboardInterrupt, is_importing=None, describe_overdue=None,
                 name_of=None, uint64_t limit_ns=0):
        self.memory, self.page = memory, <PeerPage *>memory.start
        self.stop_with, self.is_importing, self.describe_overdue = stop_with, is_importing, describe_overdue
        self.name_of, self.limit_ns, self.functions = name_of, limit_ns, {}

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
        """The task's own code comes now. That it is to stop may have been said before it began."""
        self.stoppable = True
        if load_acquire(&self.page.stop_attempt) == self.page.attempt and self.is_to_be_stopped():
            raise self.stop_with
        return 0

    cdef inline uint64_t limit_of(self, uint64_t limit_ms) noexcept nogil:
        """How long a task with this limit of its own may take, each of its calls; 0: any time."""
        return limit_ms * 1000000 if limit_ms else self.limit_ns

    cdef int note_name(self, function) except -1:
        """A task with a limit is about to run: if its process has to be killed, the page says what it was."""
        cdef bytes name = b"" if self.name_of is None else self.name_of(function).encode("utf-8", "replace")
        cdef uint32_t size = min(<uint32_t>len(name), <uint32_t>sizeof(self.page.name))
        memcpy(self.page.name, PyBytes_AS_STRING(name), size)
        store_release32(&self.page.name_bytes, size)
        return 0

    cdef object describe_stop(self, function, error):
        """What a task has to say that was stopped: nothing, or that it took too long, and where it was then."""
        if self.stopped == STOPPED_OVERDUE and self.describe_overdue is not None:
            return self.describe_overdue(function, self.page.limit_ns, error)
        return b""

    # limits of tasks that run in place of waiting for them

    cdef int begin_limit(self, CallLimit *limit, uint64_t limit_ms, function) except -1:
        """Such a task begins, or the next call of such a chunk. Only on the thread that signals come to."""
        cdef PeerPage *page = self.page
        cdef uint64_t limit_ns = self.limit_of(limit_ms)
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
        store_release(&page.since_ns, now)            # in this order, and back in the other: a reader in between takes
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
        """What such a task has to say. The task that waits for it goes on."""
        self.stoppable = False
        try:
            return self.describe_stop(function, error)
        finally:
            self.stopped = NOT_STOPPED
            self.stoppable = True
