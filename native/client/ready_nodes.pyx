# ReadyNodes: the nodes of a graph that could run now, in the order in which they are to.
#
# A ring with room for all nodes. What has just become ready goes before all others where graphs are deep, so that what
# it needed can go, and behind them where they are wide. There, nodes become ready in any order, and half of the time of
# cutting would go to waiting for memory: so the first of them are put in the order in which they lie there.
#
# Not here: what makes a node ready (matrix_nodes), how many go into a piece (piece_cutter).

cdef enum:
    LEAST_SORTED = 1024
    MOST_SORTED = 1 << 20


@cython.final
cdef class ReadyNodes:
    cdef uint32_t *ring
    cdef uint32_t room
    cdef uint32_t at             # of the first one
    cdef uint32_t count
    cdef uint32_t sorted         # so many of the first of these are in rising order

    def __cinit__(self, uint32_t room):
        self.room = room
        self.ring = <uint32_t *>need_array(room, 4)

    def __dealloc__(self):
        free(self.ring)

    cdef inline void clear(self) noexcept nogil:
        self.at = self.count = self.sorted = 0

    cdef inline uint32_t first(self) noexcept nogil:
        return self.ring[self.at]

    cdef inline uint32_t take(self) noexcept nogil:
        cdef uint32_t node = self.ring[self.at]
        self.at = self.at + 1 if self.at + 1 < self.room else 0
        self.count -= 1
        self.sorted -= self.sorted > 0
        return node

    cdef inline void add(self, uint32_t node) noexcept nogil:
        """Behind all others."""
        cdef uint64_t at = <uint64_t>self.at + self.count
        self.ring[at if at < self.room else at - self.room] = node
        self.count += 1

    cdef inline void put(self, uint32_t node) noexcept nogil:
        """Before all others."""
        self.at = self.at - 1 if self.at else self.room - 1
        self.ring[self.at] = node
        self.count += 1
        self.sorted = 0

    cdef void sort(self) noexcept nogil:
        """Put the first ones in rising order, if they are many and are not."""
        cdef uint32_t count = min(self.count, <uint32_t>MOST_SORTED)
        cdef uint32_t *here
        cdef uint32_t *there
        cdef uint32_t *swap
        cdef uint32_t[2048] places
        cdef uint32_t i, at, before, shift
        if self.sorted or self.count < LEAST_SORTED:
            return
        swap = here = <uint32_t *>malloc(8 * <size_t>count)
        if here == NULL:
            return                                    # then they stay as they are
        there = here + count
        for i in range(count):
            at = self.at + i
            here[i] = self.ring[at if at < self.room else at - self.room]
        for shift in range(0, 33, 11):
            memset(places, 0, sizeof(places))
            for i in range(count):
                places[(here[i] >> shift) & 2047] += 1
            before = 0
            for i in range(2048):
                at = places[i]
                places[i] = before
                before += at
            for i in range(count):
                there[places[(here[i] >> shift) & 2047]] = here[i]
                places[(here[i] >> shift) & 2047] += 1
            here, there = there, here
        for i in range(count):
            at = self.at + i
            self.ring[at if at < self.room else at - self.room] = here[i]
        free(swap)
        self.sorted = count
