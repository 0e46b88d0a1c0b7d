# OwnThreads: threads of ours in which nobody may wait for a task, since tasks need them to get on.
#
# A thread that carries results from another host, or that looks for the next scheduler, runs Python code like any other,
# so the collector may run somebody's finalizer there. A finalizer that waits for a task there waits for its own thread,
# for ever. It is told so with a RuntimeError, which Python shows as it shows whatever is raised in a finalizer.
#
# Rule 1: a mark stands in the thread itself, so to ask costs one look at its own memory.
# Not here: which threads these are (scaler/program/threads.py), how else code may be interrupted (client).

cdef extern from *:
    """
    static __thread int scaler_is_needed = 0;
    static inline void scaler_set_needed(void) { scaler_is_needed = 1; }
    static inline int scaler_here_is_needed(void) { return scaler_is_needed; }
    """
    void set_needed "scaler_set_needed"() noexcept nogil
    bint here_is_needed "scaler_here_is_needed"() noexcept nogil


def forbid_waiting():
    """In the thread that calls nobody may wait for a task from now on."""
    set_needed()


cdef int refuse_to_wait() except -1:
    raise RuntimeError(f"a task cannot be waited for in the thread {_threading.current_thread().name}: no task gets on "
                       "while that waits. What waits here is code that was run in the midst of it, as the collector "
                       "runs finalizers: have a thread of your own wait, or let the finalizer only submit")
