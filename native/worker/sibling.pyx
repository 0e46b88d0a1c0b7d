# A fork whose child is a child of this process's parent: sibling.h says how, and what for.
#
# Not here: who forks so, and what the new process does first (scaler.worker.template).

cdef extern from "worker/sibling.h" nogil:
    long scaler_fork_sibling()

cdef extern from "Python.h":
    void PyOS_BeforeFork()
    void PyOS_AfterFork_Parent()
    void PyOS_AfterFork_Child()


def fork_sibling():
    """As os.fork, but the child's parent is this process's own. Only for a process of one thread.

    OSError if there can be no such process; ENOTSUP or ENOSYS where the system does not have this.
    """
    PyOS_BeforeFork()
    cdef long pid = scaler_fork_sibling()
    if pid == 0:
        PyOS_AfterFork_Child()
    else:
        PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(-pid, _os.strerror(-pid))
    return pid
