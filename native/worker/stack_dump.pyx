# What the code of a worker does just now, written by the handler of a signal: stack_dump.h says how.
#
# Not here: who asks, and what is made of the answer (scaler.cluster.stacks).

cdef extern from "worker/stack_dump.h" nogil:
    int scaler_answer_stacks(int fd, int number, uint64_t key)


def answer_stacks(int descriptor, int number, uint64_t key):
    """Answer from now on, when this signal comes, into the file in memory that this descriptor is of; a worker is known
    there by `key`. faulthandler must have been registered for the same signal and descriptor just before.
    """
    if scaler_answer_stacks(descriptor, number, key) < 0:
        raise OSError(errno, _os.strerror(errno))

