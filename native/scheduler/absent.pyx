# AbsentInputs: the edges that wait for a result which the client is still to hand in, found by the input's id.
#
# A table of lists in which the edges themselves hang, so that waiting allocates nothing and cannot fail. There are about
# as many lists as edges; if there is no memory for more of them the lists become longer, and that is all. Clients choose
# ids, so where one belongs depends on a number that is drawn at random: nobody can fill one list on purpose.
#
# Rule 1: an edge is here if and only if its `input` is ABSENT.
# Not here: what becomes of edges whose input has come (edges).

from os import urandom as _urandom


@cython.final
cdef class AbsentInputs:
    cdef Edge **lists
    cdef Edge *only               # the list while there is one
    cdef uint32_t shift           # 2 ** (64 - shift) lists
    cdef uint64_t factor
    cdef readonly uint64_t count  # of edges

    def __cinit__(self):
        self.lists, self.shift = &self.only, 64
        self.factor = <uint64_t>int.from_bytes(_urandom(8), "little") | 1

    def __dealloc__(self):
        self.forget_lists()

    cdef inline Edge **list_of(self, uint64_t task) noexcept nogil:
        return &self.lists[task * self.factor >> 1 >> (self.shift - 1)]

    cdef void add(self, Edge *edge) noexcept nogil:
        if self.count >> (64 - self.shift):
            self.grow()
        edge.input = ABSENT
        hang(self.list_of(edge.task), edge)
        self.count += 1

    cdef void remove(self, Edge *edge) noexcept nogil:
        unhang(edge)
        edge.input = 0
        self.count -= 1
        if self.count == 0:
            self.forget_lists()

    cdef Edge *take(self, uint64_t task) noexcept nogil:
        """All edges that wait for this task, as a list of their own (youngest first); NULL if there is none."""
        cdef Edge *taken = NULL
        cdef Edge **end = &taken
        cdef Edge *edge = self.list_of(task)[0]
        cdef Edge *next
        while edge != NULL:
            next = edge.next
            if edge.task == task:
                unhang(edge)
                end[0] = edge
                end = &edge.next
                self.count -= 1
            edge = next
        if self.count == 0:
            self.forget_lists()
        return taken

    cdef void grow(self) noexcept nogil:
        """Four times as many lists, if there is memory for them."""
        cdef Edge **old = self.lists
        cdef size_t length = (<size_t>1) << (64 - self.shift)
        cdef Edge **lists = <Edge **>calloc(4 * length, sizeof(Edge *))
        cdef Edge *turned
        cdef Edge *edge
        cdef size_t i
        if lists == NULL:
            return
        self.lists = lists
        self.shift -= 2
        for i in range(length):
            turned = NULL
            while old[i] != NULL:                     # the oldest must be hung up first
                edge = old[i]
                unhang(edge)
                hang(&turned, edge)
            while turned != NULL:
                edge = turned
                unhang(edge)
                hang(self.list_of(edge.task), edge)
        if old != &self.only:
            free(old)

    cdef void forget_lists(self) noexcept nogil:
        if self.lists != &self.only:
            free(self.lists)
        self.lists, self.shift, self.only = &self.only, 64, NULL
