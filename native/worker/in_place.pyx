# InPlace: which tasks run in place of waiting for them, and on which threads.
#
# One object each, on the heap: a program that switches stacks (greenlet) may have another stack where this one's was.
#
# Not here: what is run in place, and when (nested).

@cython.final
@cython.freelist(16)
cdef class InPlace:
    cdef uint64_t task
    cdef unsigned long thread
    cdef void *owner                 # whose task it is; only compared

cdef list in_place = []              # of all clients, in the order of their beginning


cdef InPlace begin_in_place(uint64_t task, void *owner):
    cdef InPlace here = InPlace.__new__(InPlace)
    here.task, here.thread, here.owner = task, PyThread_get_thread_ident(), owner
    in_place.append(here)
    return here


cdef int end_in_place(InPlace here) except -1:
    cdef Py_ssize_t i
    for i in range(len(in_place) - 1, -1, -1):        # it is the last one, unless threads or stacks take turns
        if in_place[i] is here:
            del in_place[i]
            break
    return 0


cdef bint runs_in_place(unsigned long thread) except -1:
    """Whether this thread runs one."""
    cdef InPlace one
    for one in in_place:
        if one.thread == thread:
            return True
    return False


cdef bint is_in_place_here(uint64_t task, void *owner) except -1:
    """Whether this very thread runs this task."""
    cdef InPlace one
    cdef unsigned long thread = PyThread_get_thread_ident()
    for one in in_place:
        if one.task == task and one.owner == owner and one.thread == thread:
            return True
    return False
