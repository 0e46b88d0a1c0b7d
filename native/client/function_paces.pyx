# FunctionPaces: how long the functions of a graph take, from what pieces of it took so far.
#
# Nothing is known at first: a function begins with pieces of one node, which grow PIECE_GROWTH-fold from answer to
# answer. What was long ago counts for less, and what was far slower than what came after it does not count: the function
# only began slowly, as one does that imports something.
#
# Not here: how much work a piece may have (piece_cutter).

cdef enum:
    PIECE_NS = 2_000_000       # of work in a piece
    PIECE_GROWTH = 8
    MOST_PIECE_NODES = 65536


cdef struct Pace:
    uint64_t calls             # lately
    uint64_t duration_ns
    uint32_t most              # nodes of this function in one piece; 0: each has a piece of its own
    uint32_t here              # in the piece that is being cut
    int32_t local              # its number in that piece; -1: it is not in there


@cython.final
cdef class FunctionPaces:
    cdef Pace *paces
    cdef uint32_t count

    def __cinit__(self, uint32_t count):
        cdef uint32_t i
        self.paces = <Pace *>need_array(count, sizeof(Pace))
        self.count = count
        for i in range(count):
            self.paces[i].most, self.paces[i].local = 1, -1

    def __dealloc__(self):
        free(self.paces)

    cdef inline double mean_ns(self, uint32_t function) noexcept nogil:
        cdef Pace *pace = &self.paces[function]
        return <double>pace.duration_ns / pace.calls if pace.calls else PIECE_NS

    cdef void note(self, uint32_t function, const PieceTime *time, bint is_cut) noexcept nogil:
        """So long its nodes of a piece took, which was `is_cut` if it ended early."""
        cdef Pace *pace = &self.paces[function]
        if not time.calls:
            return
        if pace.calls and 4 * time.duration_ns * pace.calls < pace.duration_ns * time.calls:
            pace.calls = pace.duration_ns = 0         # it only began slowly
        pace.calls += time.calls
        pace.duration_ns += time.duration_ns
        if pace.calls > MOST_PIECE_NODES:             # what was long ago counts for less
            pace.calls //= 2
            pace.duration_ns //= 2
        if pace.most == 0:
            return
        if is_cut:
            pace.most = <uint32_t>min(<uint64_t>MOST_PIECE_NODES, time.calls)
        else:
            pace.most = <uint32_t>min(<uint64_t>MOST_PIECE_NODES, max(<uint64_t>pace.most, PIECE_GROWTH * time.calls))
