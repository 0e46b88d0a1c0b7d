# MatrixNodes: the nodes of a graph while it runs: what each waits for, what it has come to, and which are ready.
#
# A node is a number, and all that is known of it stands in arrays: a byte for what it is, eight bytes for its value, four
# for a count that its state asks for (NodeCount), and the list of its users.
#
#     waiting -> ready -> sent -> done (a kind of value)
#          ^________________|      handed back by a worker that had no time for it, or by the death of one
#
# Rule 1: no Python object per node, but for the pickles of values that do not fit eight bytes.
# Rule 2: no recursion: a graph may be a chain of millions.
# Rule 3: one piece is cut, or one answer taken in, as a whole or not at all: answers are checked before they count.
# Rule 4: a node that is blamed for the death of a worker is tried alone from then on (NODE_TRIED).
# Not here: what a node calls and is given (matrix_inputs), what is needed and in which order numbers go (matrix_order),
# making pieces (piece_cutter, piece_packer), what comes of them (piece_answer), reading values (matrix_values), sending
# pieces and waiting for them (scaler/client/graph).

cdef enum:
    NODE_STATE = 0x3F
    NODE_TRIED = 0x40               # it may have ended a worker
    NODE_ASKED = 0x80               # the caller wants its value
    NO_NODE = 0xFFFFFFFF
    AHEAD = 8                       # nodes of which memory is asked for while others are worked on

cdef extern from *:
    """
    #define scaler_ask_memory(place) __builtin_prefetch((const void *)(place), 1)
    """
    void ask_memory "scaler_ask_memory"(const void *place) noexcept nogil


cdef union NodeCount:
    uint32_t missing                # while it waits: inputs that have not come
    uint32_t place                  # while it is sent: its place in its piece
    uint32_t open_users             # once its value is a pickle: users that are still to come


@cython.final
cdef class MatrixNodes:
    """The arguments are those of MatrixInputs."""
    cdef readonly uint32_t count
    cdef readonly uint32_t needed
    cdef readonly uint32_t done          # of those that are needed
    cdef readonly uint64_t pieces        # that were cut
    cdef readonly uint64_t largest_value # bytes of the largest pickle that came
    cdef MatrixInputs inputs
    cdef uint8_t *about
    cdef int64_t *values
    cdef NodeCount *counts
    cdef uint32_t *user_ends             # where the users of each node end among all
    cdef uint32_t *users
    cdef ReadyNodes ready
    cdef FunctionPaces paces
    cdef PieceCutter cutter
    cdef bint is_wide                    # next to no node is needed by one that needs nothing else
    cdef uint64_t pickled                # how many values are pickles
    cdef dict failures                   # node -> what it has raised, described

    def __dealloc__(self):
        cdef uint32_t i
        if self.about != NULL and self.values != NULL and self.pickled:
            for i in range(self.count):
                if self.about[i] & NODE_STATE == VALUE_PICKLED:
                    Py_DECREF(<object><PyObject *><size_t>self.values[i])
        free(self.about)
        free(self.values)
        free(self.counts)
        free(self.user_ends)
        free(self.users)

    def __init__(self, uint32_t count, const int32_t[::1] inputs, const uint32_t[::1] first, uint32_t most,
                 uint32_t functions, const uint16_t[::1] which, list columns, dumps):
        self.begin(MatrixInputs(count, inputs, first, most, functions, which, columns, dumps))

    cdef int begin(self, MatrixInputs inputs) except -1:
        """The nodes of this graph, of which nothing is known yet."""
        self.inputs, self.count, self.failures = inputs, inputs.count, {}
        self.about = <uint8_t *>need_array(self.count, 1)
        self.values = <int64_t *>need_array(self.count, 8)
        self.counts = <NodeCount *>need_array(self.count, sizeof(NodeCount))
        self.user_ends = <uint32_t *>need_array(<size_t>self.count + 1, 4)
        self.ready, self.paces, self.cutter = ReadyNodes(self.count), FunctionPaces(inputs.functions), PieceCutter()
        return 0

    # before it runs

    def ask(self, NodeRange nodes not None):
        """The values of these nodes are wanted."""
        cdef size_t i
        nodes.check(self.count)
        for i in range(nodes.length):
            self.about[nodes.at(i)] |= NODE_ASKED

    def keep_alone(self, uint32_t function):
        """Each call of this function has a piece of its own."""
        self.paces.paces[function].most = 0

    def pace_of(self, uint32_t function):
        """(calls, ns of each) of this function lately."""
        return self.paces.paces[function].calls, self.paces.mean_ns(function)

    def prepare(self):
        """Find what is needed and who uses what. A list of nodes that need each other in a cycle, if there are any, and
        None if all is well."""
        return prepare_nodes(self)

    # pieces

    def cut(self, uint32_t workers, uint32_t under_way=0, bint is_alone=False):
        """The next piece, with `is_alone` of one node. None if nothing is ready, or so little that it can wait for more:
        so many pieces are `under_way`."""
        return self.cutter.cut(self, workers, under_way, is_alone)

    def take(self, Piece piece not None, const unsigned char[::1] answer not None):
        """Take in what has come of a piece. The lowest of its nodes that have failed of themselves, or None."""
        return take_answer(self, piece, answer)

    def take_apart(self, Piece piece not None, int64_t blamed=-1):
        """A piece came to nothing. Its nodes are run again; the one that was `blamed`, by its place in the piece, alone from
        now on. If none is, each of them."""
        cdef uint32_t i
        if blamed >= piece.count:
            blamed = -1
        for i in range(piece.count):
            self.set_state(piece.nodes[i], NODE_WAITING)
            if blamed < 0 or i == blamed:
                self.about[piece.nodes[i]] |= NODE_TRIED
        for i in range(piece.count, 0, -1):
            self.count_missing(piece.nodes[i - 1])

    def fail(self, Piece piece not None, failure not None):
        """The one node of a piece has failed, as is described, or with this exception."""
        cdef uint32_t node = piece.nodes[0]
        if self.pickled:
            self.let_go_inputs(node)
        self.failures[node] = failure
        self.values[node] = node
        self.set_state(node, VALUE_FAILED)
        self.done += 1
        self.tell_users(node)

    # states

    @property
    def is_over(self):
        """Whether all that is needed is done."""
        return self.done == self.needed

    @property
    def has_ready(self):
        return self.ready.count > 0

    cdef inline uint32_t *users_of(self, uint32_t node, uint32_t *count) noexcept nogil:
        cdef uint32_t start = self.user_ends[node]
        count[0] = self.user_ends[node + 1] - start
        return self.users + start

    cdef inline void set_state(self, uint32_t node, uint8_t state) noexcept nogil:
        self.about[node] = (self.about[node] & ~NODE_STATE) | state

    cdef int settle(self, uint32_t node) except -1:
        """This node waits for nothing any more: it is ready, or has failed with one of its inputs."""
        cdef ByteBuffer left
        if self.failures and self.fails_with_input(node):
            left = ByteBuffer()
            left.append(<char *>&node, 4)
            self.fail_users(left)
        else:
            self.set_state(node, NODE_READY)
            if self.is_wide:                          # what was ready first comes first
                self.ready.add(node)
            else:
                self.ready.put(node)
        return 0

    cdef int count_missing(self, uint32_t node) except -1:
        """This waiting node's missing inputs, counted anew; it is ready if there are none."""
        cdef uint32_t k, n
        cdef const int32_t *inputs = self.inputs.of(node, &n)
        self.counts[node].missing = 0
        for k in range(n):
            self.counts[node].missing += inputs[k] >= 0 and self.about[inputs[k]] & NODE_STATE < VALUE_GONE
        if self.counts[node].missing == 0:
            self.settle(node)
        return 0

    cdef int tell_users(self, uint32_t node) except -1:
        """A node is done: those users that wait for nothing else are ready, or have failed with one of their inputs."""
        cdef uint32_t k, n, user
        cdef uint32_t *users = self.users_of(node, &n)
        for k in range(n, 0, -1):
            user = users[k - 1]
            if self.about[user] & NODE_STATE == NODE_WAITING:
                self.counts[user].missing -= 1
                if self.counts[user].missing == 0:
                    self.settle(user)
        return 0

    cdef int fail_users(self, ByteBuffer left) except -1:
        """These have failed, and so do those that need them and wait for nothing else."""
        cdef uint32_t node, k, n
        cdef uint32_t *users
        while left.size:
            left.size -= 4
            node = (<uint32_t *>(left.start + left.size))[0]
            users = self.users_of(node, &n)
            for k in range(n):
                if self.about[users[k]] & NODE_STATE == NODE_WAITING:
                    self.counts[users[k]].missing -= 1
                    if self.counts[users[k]].missing == 0 and self.fails_with_input(users[k]):
                        left.append(<char *>&users[k], 4)
        return 0

    cdef bint fails_with_input(self, uint32_t node) except -1:
        """If one of its inputs has failed, so has this node."""
        cdef uint32_t k, n
        cdef const int32_t *inputs = self.inputs.of(node, &n)
        for k in range(n):
            if inputs[k] >= 0 and self.about[inputs[k]] & NODE_STATE == VALUE_FAILED:
                self.values[node] = self.values[inputs[k]]
                self.set_state(node, VALUE_FAILED)
                self.done += 1
                if self.pickled:
                    self.let_go_inputs(node)
                return True
        return False

    cdef bint has_failed_input(self, uint32_t node) noexcept:
        cdef uint32_t k, n
        cdef const int32_t *inputs = self.inputs.of(node, &n)
        for k in range(n):
            if inputs[k] >= 0 and self.about[inputs[k]] & NODE_STATE == VALUE_FAILED:
                return True
        return False

    # pickled values

    cdef int hold(self, uint32_t node, bytes data) except -1:
        """The value of a node is this pickle."""
        Py_INCREF(data)
        self.values[node] = <int64_t><size_t><PyObject *>data
        self.pickled += 1
        return 0

    cdef int drop(self, uint32_t node) except -1:
        """Nobody needs this pickle any more."""
        cdef PyObject *data = <PyObject *><size_t>self.values[node]
        self.set_state(node, VALUE_GONE)
        self.pickled -= 1
        Py_DECREF(<object>data)
        return 0

    cdef int count_open_users(self, uint32_t node) except -1:
        """How many users of a pickled value are still to come."""
        cdef uint32_t k, n
        cdef uint32_t *users = self.users_of(node, &n)
        if self.about[node] & NODE_STATE != VALUE_PICKLED:
            return 0
        self.counts[node].open_users = 0
        for k in range(n):
            self.counts[node].open_users += self.about[users[k]] & NODE_STATE < VALUE_GONE
        return 0

    cdef int let_go_inputs(self, uint32_t node) except -1:
        """A node is done: its inputs have one user less."""
        cdef uint32_t k, n, input
        cdef const int32_t *inputs = self.inputs.of(node, &n)
        for k in range(n):
            if inputs[k] >= 0 and self.about[inputs[k]] & NODE_STATE == VALUE_PICKLED:
                input = <uint32_t>inputs[k]
                self.counts[input].open_users -= 1
                if self.counts[input].open_users == 0 and not self.about[input] & NODE_ASKED:
                    self.drop(input)
        return 0

    # what has come of them

    def failure_of(self, uint32_t node):
        """Which node has raised what this one has failed with, and what that was."""
        return self.values[node], self.failures[self.values[node]]

    @property
    def failed(self):
        """How many nodes have raised something."""
        return len(self.failures)

    def list_failed(self):
        """Of the nodes that were asked for, those that have failed."""
        return list_failed_nodes(self)

    def find_open(self, NodeRange nodes not None, size_t place=0):
        """The first place from this one on whose node is not done; their length if there is none."""
        return find_open_place(self, nodes, place)

    def find_failed(self, NodeRange nodes not None, size_t place, size_t end):
        """The first of these places whose node has failed; `end` if there is none."""
        return find_failed_place(self, nodes, place, min(end, nodes.length))

    def value(self, uint32_t node, loads):
        """The value of a node that was asked for; None if it has failed."""
        return node_value(self, node, loads)

    def read(self, NodeRange nodes not None, loads):
        """The values of all of these; None in the place of one that has failed."""
        return read_values(self, nodes, loads)

    def is_needed(self, uint32_t node):
        """Whether it runs, or has run."""
        return self.about[node] & NODE_STATE != NODE_UNNEEDED

    def is_done(self, uint32_t node):
        """Whether it has a value, had one that nobody needs any more, or has failed."""
        return self.about[node] & NODE_STATE >= VALUE_GONE

    def fill(self, NodeRange nodes not None, floats, ints):
        """Write their values into float64 or int64. The places of what is no such number; what has failed is nan, or 0."""
        return fill_numbers(self, nodes, floats, ints)
