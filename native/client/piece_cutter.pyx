# PieceCutter: which nodes make the next piece of a graph.
#
# A piece is cut when a worker has room for one: it begins with nodes that are ready, and takes in whatever these, and
# only these, make ready in turn. So what is near in the graph goes to one worker, and only what others need comes back.
# It has PIECE_NS of work by what its functions took so far, or less where all workers are to have some of what is ready.
# Where so little is ready that another piece would cost as much as it does, all of it goes into one, with whatever that
# makes ready, and what is ready meanwhile waits for it to come back: a narrow graph of quick calls runs in one worker.
#
# Where next to none of the users that pieces look at can be taken in, as between wide layers, the next ones look at none.
#
# Rule 1: a piece that cannot be made after all leaves everything as it was.
# Not here: how a piece travels (piece_packer), how long functions take (function_paces).

cdef enum:
    LEAST_PIECE_NS = 100_000       # of work: a piece of less costs more than it gains
    LEAST_SHARED_NS = 200_000      # of work that is ready: less goes to one worker
    ENOUGH_PIECES = 2              # for each worker: with so many under way what is ready may wait for more
    LEAST_JUDGED = 256             # nodes in a piece that says something about the graph's shape
    MOST_SKIPS = 64
    MOST_PIECE_BYTES = 8_388_608   # of pickled values that come from outside


cdef class MatrixNodes                 # which has a PieceCutter


@cython.final
cdef class Piece:
    """Some nodes that were cut off, in the order in which they run."""
    cdef uint32_t *nodes
    cdef readonly uint32_t count
    cdef uint16_t *numbers         # of its functions
    cdef uint32_t functions
    cdef readonly bint is_retried  # its one node was blamed for a worker's death
    cdef uint8_t *wanted           # whether the value of each is needed outside
    cdef readonly bytes payload

    def __dealloc__(self):
        free(self.nodes)
        free(self.numbers)
        free(self.wanted)

    @property
    def first(self):
        """Its first node."""
        return self.nodes[0]


@cython.final
cdef class PieceCutter:
    """Of one graph; what it knows of the piece that is being cut, and of the graph's shape."""
    cdef uint32_t *cut_nodes
    cdef uint32_t count
    cdef uint64_t work_ns
    cdef size_t bytes
    cdef uint64_t links            # between nodes in it
    cdef uint64_t looks            # at users of its nodes
    cdef uint32_t skips            # pieces to come that do not look for users to take in
    cdef uint32_t last_skips

    def __cinit__(self):
        self.cut_nodes = <uint32_t *>need_array(MOST_PIECE_NODES, 4)

    def __dealloc__(self):
        free(self.cut_nodes)

    cdef Piece cut(self, MatrixNodes nodes, uint32_t workers, uint32_t under_way, bint is_alone):
        cdef Piece piece
        cdef uint64_t budget_ns
        cdef uint32_t node
        cdef uint32_t at = 0
        cdef bint looks                               # whether users of its nodes may be taken in
        if not nodes.ready.count or (under_way and not is_alone and self.can_wait(nodes, under_way >= ENOUGH_PIECES * workers)):
            return None
        if nodes.is_wide:
            nodes.ready.sort()
        self.count, self.work_ns, self.bytes, self.links, self.looks = 0, 0, 0, 0, 0
        budget_ns = self.budget_ns(nodes, workers, under_way)
        looks = not self.skips and not is_alone
        self.skips -= self.skips > 0
        try:
            while nodes.ready.count:
                node = nodes.ready.first()
                if self.count and (is_alone or nodes.about[node] & NODE_TRIED or not self.has_room(nodes, node, budget_ns)):
                    break
                nodes.ready.take()
                self.take_in(nodes, node)
                if nodes.about[node] & NODE_TRIED:
                    break
                while looks and at < self.count:
                    self.take_in_users(nodes, self.cut_nodes[at], budget_ns)
                    at += 1
            piece = Piece.__new__(Piece)
            piece.count = self.count
            piece.is_retried = nodes.about[self.cut_nodes[0]] & NODE_TRIED != 0
            piece.nodes = <uint32_t *>malloc(<size_t>self.count * 4)
            if piece.nodes == NULL:
                raise MemoryError("no memory for a piece")
            memcpy(piece.nodes, self.cut_nodes, <size_t>self.count * 4)
            pack_piece(nodes, piece, at, self.work_ns, &self.links)
            if looks:
                self.judge_looks(nodes)
        except BaseException:
            self.give_back(nodes)
            raise
        finally:
            self.forget_functions(nodes)
        nodes.pieces += 1
        return piece

    # how much

    cdef inline double ready_ns(self, MatrixNodes nodes) noexcept nogil:
        """How much work is ready, about."""
        return nodes.ready.count * nodes.paces.mean_ns(nodes.inputs.function_of(nodes.ready.first()))

    cdef bint can_wait(self, MatrixNodes nodes, bint are_enough) noexcept nogil:
        """Whether what is ready would make no good piece; `are_enough` are under way."""
        cdef uint32_t node = nodes.ready.first()
        return (not nodes.about[node] & NODE_TRIED
                and nodes.ready.count < nodes.paces.paces[nodes.inputs.function_of(node)].most
                and self.ready_ns(nodes) < (PIECE_NS / 2 if are_enough else LEAST_SHARED_NS))

    cdef uint64_t budget_ns(self, MatrixNodes nodes, uint32_t workers, uint32_t under_way) noexcept nogil:
        """How much work the next piece may have: all workers are to have some of what is ready."""
        cdef double left_ns = self.ready_ns(nodes)
        cdef double share_ns = left_ns / max(<int64_t>1, <int64_t>(ENOUGH_PIECES * workers) - under_way)
        if left_ns < LEAST_SHARED_NS:
            return PIECE_NS
        return <uint64_t>min(<double>PIECE_NS, max(<double>LEAST_PIECE_NS, share_ns))

    cdef inline bint has_room(self, MatrixNodes nodes, uint32_t node, uint64_t budget_ns) noexcept nogil:
        """Whether the piece may have this node, too."""
        cdef Pace *pace = &nodes.paces.paces[nodes.inputs.function_of(node)]
        return (self.work_ns < budget_ns and self.count < MOST_PIECE_NODES and pace.here < pace.most
                and self.bytes < MOST_PIECE_BYTES)

    cdef int judge_looks(self, MatrixNodes nodes) except -1:
        """Note whether it was worth looking for users."""
        if self.count < LEAST_JUDGED:
            return 0
        if self.links < self.looks // 4:
            self.last_skips = min(2 * self.last_skips + 4, <uint32_t>MOST_SKIPS)
            self.skips = self.last_skips
        else:
            self.last_skips = 0
        nodes.is_wide = self.last_skips != 0
        return 0

    # taking in

    cdef int take_in(self, MatrixNodes nodes, uint32_t node) except -1:
        """The piece has this node now."""
        cdef uint32_t function = nodes.inputs.function_of(node)
        cdef Pace *pace = &nodes.paces.paces[function]
        nodes.set_state(node, NODE_SENT)
        nodes.counts[node].place = self.count
        self.cut_nodes[self.count] = node
        self.count += 1
        self.work_ns += <uint64_t>nodes.paces.mean_ns(function) if pace.most else PIECE_NS
        pace.here += 1
        if nodes.pickled:
            self.add_bytes(nodes, node)
        return 0

    cdef int add_bytes(self, MatrixNodes nodes, uint32_t node) except -1:
        cdef uint32_t k, n
        cdef const int32_t *inputs = nodes.inputs.of(node, &n)
        for k in range(n):
            if inputs[k] >= 0 and nodes.about[inputs[k]] & NODE_STATE == VALUE_PICKLED:
                self.bytes += len(<bytes><PyObject *><size_t>nodes.values[inputs[k]])
        return 0

    cdef int take_in_users(self, MatrixNodes nodes, uint32_t node, uint64_t budget_ns) except -1:
        """Take in what needs this node and nothing else that is missing."""
        cdef uint32_t k, n, user
        cdef uint32_t *users = nodes.users_of(node, &n)
        self.looks += n
        for k in range(n):
            user = users[k]
            if nodes.about[user] & NODE_STATE == NODE_WAITING:
                nodes.counts[user].missing -= 1
                if (nodes.counts[user].missing == 0 and not nodes.about[user] & NODE_TRIED
                        and self.has_room(nodes, user, budget_ns)
                        and not (nodes.failures and nodes.has_failed_input(user))):
                    self.take_in(nodes, user)
        return 0

    # afterwards

    cdef int give_back(self, MatrixNodes nodes) except -1:
        """The piece could not be made after all: its nodes are ready, and their users wait, as before."""
        cdef uint32_t i, k, n
        cdef uint32_t *users
        for i in range(self.count):
            nodes.set_state(self.cut_nodes[i], NODE_WAITING)
        for i in range(self.count, 0, -1):
            nodes.count_missing(self.cut_nodes[i - 1])
        for i in range(self.count):
            users = nodes.users_of(self.cut_nodes[i], &n)
            for k in range(n):
                if nodes.about[users[k]] & NODE_STATE == NODE_WAITING:
                    nodes.count_missing(users[k])
        return 0

    cdef int forget_functions(self, MatrixNodes nodes) except -1:
        cdef uint32_t i, function
        for i in range(self.count):
            function = nodes.inputs.function_of(self.cut_nodes[i])
            nodes.paces.paces[function].here, nodes.paces.paces[function].local = 0, -1
        return 0
