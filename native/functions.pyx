# FunctionTable: the functions of all clients, once each, and how long each takes.
#
# Equal functions (by the digest of their bytes) of different clients are one here, so a worker unpickles it once and
# what was measured for one client serves all. A function stays for the scheduler's life.
#
# Not here: which of a client's numbers means which function (clients), which worker has it (workers, dispatcher).

from hashlib import blake2b as _blake2b

cdef enum:
    QUICK_NS = 1000000
    LEAST_TASK_NS = 500

cdef struct Function:
    uint64_t mean_ns
    uint32_t answers
    uint32_t limit         # tasks of unknown length per worker


cdef bytes digest_of(bytes payload):
    """What a function with these bytes is known by."""
    return _blake2b(payload, digest_size=16).digest()


@cython.final
cdef class FunctionTable:
    """Functions by index; the index is what workers know them by."""
    cdef Function *functions
    cdef uint32_t room
    cdef uint32_t length
    cdef list announced           # (digest, flags, payload) by index
    cdef dict index_of            # digest -> index

    def __cinit__(self):
        self.announced = []
        self.index_of = {}

    def __dealloc__(self):
        free(self.functions)

    cdef object find(self, bytes digest):
        """The function's index, or None if nobody has announced it."""
        return self.index_of.get(digest)

    cdef uint32_t add(self, bytes digest, int flags, bytes payload) except? 0:
        """A new function's index."""
        cdef uint32_t index = self.length
        cdef Function *functions
        if self.length == self.room:
            functions = <Function *>realloc(self.functions, (self.room * 2 + 64) * sizeof(Function))
            if functions == NULL:
                raise MemoryError("no memory for another function")
            self.functions = functions
            self.room = self.room * 2 + 64
        memset(&self.functions[index], 0, sizeof(Function))
        self.functions[index].limit = 1
        self.length += 1
        self.announced.append((digest, flags, payload))
        self.index_of[digest] = index
        return index

    cdef bint is_payload(self, uint32_t index, bytes payload) except -1:
        """Whether this is what the function was announced with, be it its bytes or a segment's name."""
        return payload == self.announced[index][2]

    cdef inline void note_duration(self, uint32_t index, uint64_t duration_ns) noexcept nogil:
        cdef Function *function = &self.functions[index]
        if function.answers == 0:
            function.mean_ns = duration_ns
        else:
            function.mean_ns = (function.mean_ns * 7 + duration_ns) // 8
        if function.mean_ns < LEAST_TASK_NS:
            function.mean_ns = LEAST_TASK_NS
        function.answers += 1
        if duration_ns < QUICK_NS:
            if function.limit < 0x10000:
                function.limit *= 2
