# CallIndex: the numbers of a graph's calls, by what a look into the graph has found for their keys.
#
# A dict beside the graph would take three cache misses more for each input of each node. What the graph has for a key is
# at hand already, and so is the key's hash: together they say which key it is, so the key itself need not be looked at.
#
# Rule 1: a call may stand in the graph under several keys: their hashes differ. Only those of texts do for sure, so a
#         key that is none is compared itself.
# Rule 2: the table that adds a call (graph_table) keeps it alive, and at its place.
# Not here: what a call is (graph_table).

cdef enum:
    LEAST_INDEXED = 64
    NO_NUMBER = 0xFFFFFFFF

cdef uint64_t GOLDEN = 0x9E3779B97F4A7C15


cdef struct IndexedCall:
    PyObject *call            # NULL: free
    Py_hash_t hash            # of its key
    uint32_t number
    bint is_text              # the key is a str


@cython.final
cdef class CallIndex:
    """Open addressing, at most two thirds full."""
    cdef IndexedCall *entries
    cdef size_t room             # a power of two
    cdef size_t used
    cdef int shift

    def __cinit__(self):
        self.resize(LEAST_INDEXED)

    def __dealloc__(self):
        free(self.entries)

    cdef inline size_t place_of(self, Py_hash_t hash) noexcept nogil:
        return <size_t>(<uint64_t>hash * GOLDEN >> self.shift)

    cdef inline void fetch(self, Py_hash_t hash) noexcept nogil:
        """This key is looked for soon."""
        prefetch(&self.entries[self.place_of(hash)])

    cdef uint32_t find(self, PyObject *call, Py_hash_t hash, key, list keys) except? NO_NUMBER:
        """The number of the key for which the graph has this call, or NO_NUMBER; `keys` are those of all numbers."""
        cdef size_t at = self.place_of(hash)
        cdef uint32_t number
        while self.entries[at].call != NULL:
            if self.entries[at].call == call and self.entries[at].hash == hash:
                number = self.entries[at].number
                if (self.entries[at].is_text and type(key) is str) or keys[number] is key or keys[number] == key:
                    return number
            at = (at + 1) & (self.room - 1)
        return NO_NUMBER

    cdef int add(self, PyObject *call, Py_hash_t hash, key, uint32_t number) except -1:
        """For a key that `find` does not find."""
        if 3 * (self.used + 1) > 2 * self.room:
            self.resize(2 * self.room)
        self.put(IndexedCall(call, hash, number, type(key) is str))
        self.used += 1
        return 0

    cdef void put(self, IndexedCall entry) noexcept nogil:
        cdef size_t at = self.place_of(entry.hash)
        while self.entries[at].call != NULL:
            at = (at + 1) & (self.room - 1)
        self.entries[at] = entry

    cdef int resize(self, size_t room) except -1:
        cdef IndexedCall *before = self.entries
        cdef IndexedCall *entries = <IndexedCall *>calloc(room, sizeof(IndexedCall))
        cdef size_t room_before = self.room
        cdef size_t i
        if entries == NULL:
            raise MemoryError("no memory for another node")
        self.entries, self.room, self.shift = entries, room, 64
        while room > 1:
            room >>= 1
            self.shift -= 1
        for i in range(room_before):
            if before[i].call != NULL:
                self.put(before[i])
        free(before)
        return 0
