# Forked: what a task's process is after the task has forked, and how it ends.
#
# A task that calls fork() is run by two processes from there on: the worker and a copy of it. The copy has the worker's
# rings mapped and the loop on its stack. If the task's code came back to the loop there (by a return, an exception or
# sys.exit), both would answer the same attempt and take the same tasks, each unaware of the other. So the copy ends
# where the task's code ends, as a child of multiprocessing does: it writes what stands in its standard streams, and
# leaves by _exit. Its exit code is 0 after a return, 1 after an exception (whose traceback goes to stderr), and what it
# says after sys.exit. The worker goes on as if nothing had happened.
#
# Rule 1: forks are counted by the C library (pthread_atfork), so those of C code count too, and to ask costs one
#         comparison. What was made before a fork has another count than the process has after it.
# Rule 2: the loop asks after each piece of a task's own code, before it looks at a ring or runs anything else: a
#         finalizer may fork as well.
# Rule 3: nothing of the worker's is tidied up in the copy: neither atexit functions nor destructors run there.
# Not here: what a client does after a fork (client/client.pyx).

import sys as _sys

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(object o)
    unsigned long PyThread_get_thread_ident()

cdef extern from *:
    """
    #include <pthread.h>
    static unsigned int scaler_forks = 0;
    static void scaler_count_fork(void) { scaler_forks++; }
    __attribute__((constructor)) static void scaler_watch_forks(void) {
        pthread_atfork(NULL, NULL, scaler_count_fork);
    }
    """
    unsigned int forks_so_far "scaler_forks"


def fork_count():
    """How many forks lie between the first process of this program and this one."""
    return forks_so_far


def end_forked(error=None):
    """End this copy of a process, since the code that forked has returned, or raised `error`. Never returns."""
    import threading
    cdef object code = 1
    try:
        code = exit_code_after(error)
        for thread in threading.enumerate():          # those that the copy has started itself
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
    except BaseException as another:
        _sys.excepthook(type(another), another, another.__traceback__)
    finally:
        for stream in (_sys.stdout, _sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass                                  # there is none, or nobody reads it
        _os._exit(code)


cdef int exit_code_after(error) except -1:
    """As the interpreter's, when the main program ends that way; says on stderr what is to be said."""
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        if error.code is None:
            return 0
        if isinstance(error.code, int):
            return error.code & 0xFF
        _sys.stderr.write(f"{error.code}\n")
        return 1
    _sys.excepthook(type(error), error, error.__traceback__)
    return 1
