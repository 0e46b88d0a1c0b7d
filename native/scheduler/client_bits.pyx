# ClientBits: which client a task belongs to, found by the high 24 bits of its id.
#
# Every result asks this, so it must not depend on how many clients there are. Open addressing in a table of at most
# half its places: the bits are drawn at random, so the multiplication is only for peers that draw them badly.
# Forgetting moves the followers up instead of leaving a mark, so the table never has to be cleaned.
#
# Not here: what a client is (clients).

cdef struct BitsPlace:
    uint32_t bits          # 0: free
    uint32_t index


@cython.final
cdef class ClientBits:
    """client's 24 bits -> its index in the core."""
    cdef BitsPlace *places
    cdef uint32_t room         # a power of two
    cdef uint32_t used

    def __dealloc__(self):
        free(self.places)

    cdef inline uint32_t home_of(self, uint32_t bits) noexcept nogil:
        return (bits * <uint32_t>2654435761 >> 8) & (self.room - 1)

    cdef uint32_t find(self, uint32_t bits) noexcept nogil:
        """Index + 1; 0 if there is no such client."""
        cdef uint32_t at
        if self.used == 0:
            return 0
        at = self.home_of(bits)
        while self.places[at].bits:
            if self.places[at].bits == bits:
                return self.places[at].index + 1
            at = (at + 1) & (self.room - 1)
        return 0

    cdef int note(self, uint32_t bits, uint32_t index) except -1:
        """Add bits that are not there yet."""
        cdef BitsPlace *places = self.places
        cdef BitsPlace *larger
        cdef uint32_t room = self.room
        cdef uint32_t i
        if self.used * 2 >= room:
            larger = <BitsPlace *>calloc(room * 2 + 16 * (room == 0), sizeof(BitsPlace))
            if larger == NULL:
                raise MemoryError("no memory for another client")
            self.places = larger
            self.room = room * 2 + 16 * (room == 0)
            for i in range(room):
                if places[i].bits:
                    self.place(places[i])
            free(places)
        self.place(BitsPlace(bits, index))
        self.used += 1
        return 0

    cdef void place(self, BitsPlace what) noexcept nogil:
        cdef uint32_t at = self.home_of(what.bits)
        while self.places[at].bits:
            at = (at + 1) & (self.room - 1)
        self.places[at] = what

    cdef void forget(self, uint32_t bits) noexcept nogil:
        cdef uint32_t last = self.room - 1
        cdef uint32_t at, hole
        if self.used == 0:
            return
        at = self.home_of(bits)
        while self.places[at].bits != bits:
            if self.places[at].bits == 0:
                return
            at = (at + 1) & last
        hole = at
        while True:
            at = (at + 1) & last
            if self.places[at].bits == 0:
                break
            # A client that stands at or before the hole, seen from its home, may move into it.
            if ((at - self.home_of(self.places[at].bits)) & last) >= ((at - hole) & last):
                self.places[hole] = self.places[at]
                hole = at
        self.places[hole].bits = 0
        self.used -= 1
