# NodeRange: nodes in some order, as somebody asks for them: those of an array, or start, start + step, ...
#
# Rule 1: that they are nodes of a graph is checked when they are asked of it (`check`), and not each time after.


@cython.final
cdef class NodeRange:
    """Nodes in some order: those of an array, or start, start + step, ..."""
    cdef readonly size_t length
    cdef int64_t start
    cdef int64_t step
    cdef object held
    cdef const int64_t *numbers

    def __init__(self, size_t length, int64_t start=0, int64_t step=1, const int64_t[::1] numbers=None):
        self.length, self.start, self.step, self.held = length, start, step, numbers
        if numbers is not None:
            if <size_t>numbers.shape[0] != length:
                raise ValueError("the length of these nodes is not how many there are")
            self.numbers = &numbers[0] if length else NULL

    def __len__(self):
        return self.length

    cdef inline int64_t number_at(self, size_t place) noexcept nogil:
        return self.start + <int64_t>place * self.step if self.numbers == NULL else self.numbers[place]

    cdef inline uint32_t at(self, size_t place) noexcept nogil:
        return <uint32_t>self.number_at(place)

    def check(self, uint32_t count):
        """IndexError if one of them is no node of so many."""
        cdef size_t i
        for i in range(self.length):
            if not 0 <= self.number_at(i) < count:
                raise IndexError(f"there is no node {self.number_at(i)}: numbers go from 0 to {<int64_t>count - 1}")

    def node(self, size_t place):
        """The node at this place."""
        if place >= self.length:
            raise IndexError(place)
        return self.at(place)
