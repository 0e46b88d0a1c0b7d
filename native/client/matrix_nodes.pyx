# MatrixNodes: the nodes of a matrix graph while it runs: which are needed, what each waits for, and which go next.
#
# A node is a number, and all that is known of it stands in arrays: a byte for what it is, eight bytes for its value, four
# that mean something else in each part of its life, and the list of its users. A piece (records/piece) is cut when a
# worker has room for one: it begins with nodes that are ready and takes in whatever these, and only these, make ready in
# turn. So what is near in the graph goes to one worker, and only what others need comes back.
#
#     waiting -> ready -> sent -> done (a kind of value)
#          ^________________|      handed back by a worker that had no time for it, or by the death of one
#
# How many nodes a piece gets is known from how long their functions took so far. A function begins with pieces of one
# node, which grow GROWTH-fold from answer to answer.
#
# Rule 1: no Python object per node.
# Rule 2: no recursion: a graph may be a chain of millions.
# Rule 3: one piece is cut, or one answer taken in, as a whole or not at all: answers are checked before they count.
# Rule 4: a node of a piece that died is tried alone from then on (NODE_TRIED).
# Not here: sending pieces and waiting for them (scaler/client/graph/matrix_run), what a matrix looks like
# (scaler/client/graph/matrix).

cdef enum:
    NODE_STATE = 0x3F
    NODE_TRIED = 0x40               # it was in a piece whose worker died
    NODE_ASKED = 0x80               # the caller wants its value
    PIECE_NS = 2_000_000       # of work in a piece
    LEAST_PIECE_NS = 100_000   # below which a piece costs more than it gains
    ENOUGH_PIECES = 2          # for each worker: with so many under way what is ready may wait for more
    OVERRUN = 10               # times as long as it should take: then a piece ends early
    PIECE_GROWTH = 8
    MOST_PIECE_NODES = 65536
    LEAST_JUDGED = 256         # nodes in a piece that says something about the graph's shape
    MOST_PIECE_BYTES = 8_388_608   # of pickled values that come from outside
    LEAST_SORTED = 1024
    MOST_SORTED = 1 << 20
    AHEAD = 8                  # nodes of which memory is asked for while others are worked on
    NO_NODE = 0xFFFFFFFF

cdef extern from *:
    """
    #define scaler_ask_memory(place) __builtin_prefetch((const void *)(place), 1)
    """
    void ask_memory "scaler_ask_memory"(const void *place) noexcept nogil


cdef struct Pace:
    uint64_t calls             # lately
    uint64_t duration_ns
    uint32_t most              # nodes of this function in one piece; 0: each has a piece of its own
    uint32_t here              # in the piece that is being cut
    int32_t local              # its number in that piece; -1: it is not in there


@cython.final
cdef class ArgumentColumn:
    """One argument of all nodes of one function: int64 or float64 numbers, bools, or any objects."""
    cdef object items          # what holds the memory, or is asked for the objects
    cdef const int64_t *numbers
    cdef const uint8_t *truths
    cdef int kind

    def __init__(self, items, str kind not None):
        cdef const int64_t[::1] ints
        cdef const double[::1] floats
        cdef const uint8_t[::1] truths
        self.items = items
        self.kind = VALUE_PICKLED
        if len(items) == 0:
            return
        if kind == "int":
            ints = items
            self.kind, self.numbers = VALUE_INT, &ints[0]
        elif kind == "float":
            floats = items
            self.kind, self.numbers = VALUE_FLOAT, <const int64_t *>&floats[0]
        elif kind == "bool":
            truths = items
            self.kind, self.truths = VALUE_BOOL, &truths[0]


@cython.final
cdef class Piece:
    """Some nodes that were cut off, in the order in which they run."""
    cdef uint32_t *nodes
    cdef readonly uint32_t count
    cdef uint16_t *numbers     # of its functions
    cdef uint32_t functions
    cdef readonly bint is_retried    # its one node was in a piece whose worker died
    cdef uint8_t *wanted       # whether the value of each is needed outside
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
cdef class MatrixNodes:
    """`inputs` are the nodes' inputs one node after the other, `most` for each, of which those below 0 are none; or, with
    `first`, from first[i] to first[i + 1]. `which` says what function each calls, if there are several."""
    cdef readonly uint32_t count
    cdef readonly uint32_t needed
    cdef readonly uint32_t done          # of those that are needed
    cdef readonly uint64_t pieces        # that were cut
    cdef object held                     # the memory of what follows
    cdef const int32_t *inputs
    cdef const uint32_t *first
    cdef uint32_t most
    cdef const uint16_t *which
    cdef uint32_t *ranks                 # of each node among those of its function; NULL: its number
    cdef list columns                    # of each function, a tuple of its argument columns
    cdef uint8_t *about
    cdef int64_t *values
    cdef uint32_t *slots                 # waiting: inputs that are missing; sent: place in its piece; pickled: open users
    cdef uint32_t *user_ends             # where the users of each node end among all
    cdef uint32_t *users
    cdef uint32_t *ready                 # a ring of all that are ready
    cdef uint32_t ready_first
    cdef uint32_t ready_count
    cdef uint32_t ready_sorted           # so many of the first of these are in rising order
    cdef Pace *paces
    cdef uint32_t functions
    cdef uint64_t pickled                # how many values are pickles
    cdef dict failures                   # node -> what it has raised, described
    cdef object dumps
    cdef uint32_t *cutting               # the nodes of the piece that is being cut
    cdef uint32_t cut_count
    cdef uint64_t cut_ns
    cdef size_t cut_bytes
    cdef uint64_t cut_links              # between nodes in it
    cdef uint64_t cut_looks              # at users of its nodes
    cdef uint32_t skips                  # pieces to come that do not look for users to take in
    cdef uint32_t last_skips
    cdef bint falls                      # numbers fall from input to user

    def __dealloc__(self):
        cdef uint32_t i
        if self.about != NULL and self.values != NULL and self.pickled:
            for i in range(self.count):
                if self.about[i] & NODE_STATE == VALUE_PICKLED:
                    Py_DECREF(<object><PyObject *><size_t>self.values[i])
        free(self.about)
        free(self.values)
        free(self.slots)
        free(self.user_ends)
        free(self.users)
        free(self.ready)
        free(self.ranks)
        free(self.paces)
        free(self.cutting)

    def __init__(self, uint32_t count, const int32_t[::1] inputs, const uint32_t[::1] first, uint32_t most,
                 uint32_t functions, const uint16_t[::1] which, list columns, dumps):
        cdef uint32_t i
        self.count, self.most, self.functions, self.dumps = count, most, functions, dumps
        self.held = inputs, first, which, columns
        self.inputs = &inputs[0] if inputs.shape[0] else NULL
        self.first = &first[0] if first is not None else NULL
        self.which = &which[0] if which is not None and which.shape[0] else NULL
        self.columns, self.failures = columns, {}
        self.about = <uint8_t *>need_array(count, 1)
        self.values = <int64_t *>need_array(count, 8)
        self.slots = <uint32_t *>need_array(count, 4)
        self.user_ends = <uint32_t *>need_array(<size_t>count + 1, 4)
        self.ready = <uint32_t *>need_array(count, 4)
        self.paces = <Pace *>need_array(functions, sizeof(Pace))
        self.cutting = <uint32_t *>need_array(MOST_PIECE_NODES, 4)
        for i in range(functions):
            self.paces[i].most, self.paces[i].local = 1, -1
        if self.which != NULL and columns is not None and any(columns):
            self.rank()

    cdef int rank(self) except -1:
        """Count the nodes of each function."""
        cdef uint32_t *so_far = <uint32_t *>calloc(self.functions, 4)
        cdef uint32_t i
        if so_far == NULL:
            raise MemoryError("no memory to count the nodes of each function")
        self.ranks = <uint32_t *>malloc(max(1, <size_t>self.count * 4))
        if self.ranks == NULL:
            free(so_far)
            raise MemoryError("no memory to count the nodes of each function")
        for i in range(self.count):
            self.ranks[i] = so_far[self.which[i]]
            so_far[self.which[i]] += 1
        free(so_far)
        return 0

    cdef inline const int32_t *inputs_of(self, uint32_t node, uint32_t *count) noexcept nogil:
        if self.first == NULL:
            count[0] = self.most
            return self.inputs + <size_t>node * self.most
        count[0] = self.first[node + 1] - self.first[node]
        return self.inputs + self.first[node]

    cdef inline uint32_t *users_of(self, uint32_t node, uint32_t *count) noexcept nogil:
        cdef uint32_t start = self.user_ends[node]
        count[0] = self.user_ends[node + 1] - start
        return self.users + start

    # before it runs

    def ask(self, uint32_t start, uint32_t length, int64_t step):
        """The values of nodes start, start + step, ... are wanted."""
        cdef uint32_t i
        for i in range(length):
            self.about[<uint32_t>(start + i * step)] |= NODE_ASKED

    def keep_alone(self, uint32_t function):
        """Each call of this function has a piece of its own."""
        self.paces[function].most = 0

    def ask_each(self, const int64_t[::1] nodes not None):
        """The values of these nodes are wanted."""
        cdef size_t i
        for i in range(<size_t>nodes.shape[0]):
            self.about[nodes[i]] |= NODE_ASKED

    def prepare(self):
        """Find what is needed and who uses what. A list of nodes that need each other in a cycle, if there are any, and
        None if all is well."""
        cdef uint64_t edges
        cdef bint is_sorted
        with nogil:
            is_sorted = self.is_sorted()
            if not is_sorted:
                self.cull()
            edges = self.count_users(is_sorted)
        if edges > 0xFFFFFFFF:
            raise ValueError(f"this graph has {edges} inputs in all: more than 2^32 - 1")
        self.users = <uint32_t *>malloc(max(<size_t>1, <size_t>edges * 4))
        if self.users == NULL:
            raise MemoryError(f"no memory for a graph with {edges} inputs")
        with nogil:
            self.note_users()
            self.find_ready()
        if not is_sorted:
            with nogil:
                self.visit_all()
            if self.done < self.needed:
                return self.find_cycle()
            self.done = 0
            with nogil:
                self.wait_again()
                self.find_ready()
        return None

    cdef bint is_sorted(self) noexcept nogil:
        """Whether all numbers rise, or all fall, from input to user: then there is no cycle, and one way through the
        numbers meets each node after all of its users."""
        cdef uint32_t i, k, n
        cdef bint rises = True
        cdef const int32_t *inputs
        self.falls = True
        for i in range(self.count):
            inputs = self.inputs_of(i, &n)
            for k in range(n):
                if inputs[k] >= 0:
                    if <uint32_t>inputs[k] >= i:
                        rises = False
                    if <uint32_t>inputs[k] <= i:
                        self.falls = False
            if not rises and not self.falls:
                return False
        self.falls = not rises
        return True

    cdef void cull(self) noexcept nogil:
        """What is asked for, and all that this needs, is waiting; all else is not needed."""
        cdef uint32_t i, node, k, n
        cdef uint32_t *stack = self.ready
        cdef uint32_t depth = 0
        cdef const int32_t *inputs
        for i in range(self.count):
            if self.about[i] & NODE_ASKED and not self.about[i] & NODE_STATE:
                self.about[i] |= NODE_WAITING
                stack[0] = i
                depth = 1
                while depth:
                    depth -= 1
                    inputs = self.inputs_of(stack[depth], &n)
                    for k in range(n):
                        if inputs[k] < 0:
                            continue
                        node = <uint32_t>inputs[k]
                        if not self.about[node] & (NODE_STATE | NODE_ASKED):    # else it comes, or has come, by itself
                            self.about[node] |= NODE_WAITING
                            stack[depth] = node
                            depth += 1

    cdef uint64_t count_users(self, bint culls) noexcept nogil:
        """How many inputs there are in all; each node's missing ones, and how many users each has (in user_ends, one place
        further up). With `culls`, what is asked for and what this needs is found on the way: each node comes after its
        users then."""
        cdef uint64_t edges = 0
        cdef uint32_t at, i, k, n
        cdef const int32_t *inputs
        for at in range(self.count):
            i = at if self.falls or not culls else self.count - 1 - at
            if culls and self.about[i] & NODE_ASKED:
                self.about[i] |= NODE_WAITING
            if not self.about[i] & NODE_STATE:
                continue
            self.needed += 1
            inputs = self.inputs_of(i, &n)
            self.slots[i] = 0
            for k in range(n):
                if inputs[k] < 0:
                    continue
                if culls:
                    self.about[inputs[k]] |= NODE_WAITING
                self.slots[i] += 1
                self.user_ends[<size_t>inputs[k] + 1] += 1
                edges += 1
        return edges

    cdef void note_users(self) noexcept nogil:
        """Each node's users, in rising order."""
        cdef uint32_t i, k, n, count
        cdef uint32_t so_far = 0
        cdef const int32_t *inputs
        for i in range(self.count):                   # user_ends[i + 1]: where the users of i begin
            count = self.user_ends[i + 1]
            self.user_ends[i + 1] = so_far
            so_far += count
        for i in range(self.count):
            if not self.about[i] & NODE_STATE:
                continue
            inputs = self.inputs_of(i, &n)
            for k in range(n):
                if inputs[k] >= 0:
                    self.users[self.user_ends[<size_t>inputs[k] + 1]] = i
                    self.user_ends[<size_t>inputs[k] + 1] += 1      # in the end: where they end

    cdef void find_ready(self) noexcept nogil:
        cdef uint32_t i
        self.ready_first = self.ready_count = 0
        for i in range(self.count):
            if self.about[i] & NODE_STATE == NODE_WAITING and self.slots[i] == 0:
                self.set_state(i, NODE_READY)
                self.ready[self.ready_count] = i
                self.ready_count += 1
        self.ready_sorted = self.ready_count

    cdef void visit_all(self) noexcept nogil:
        """Go through all nodes as if they ran; `done` says how many could."""
        cdef uint32_t i, k, n
        cdef uint32_t *users
        self.done = 0
        while self.ready_count:
            i = self.take_ready()
            self.done += 1
            users = self.users_of(i, &n)
            for k in range(n):
                self.slots[users[k]] -= 1
                if self.slots[users[k]] == 0:
                    self.set_state(users[k], NODE_READY)
                    self.add_ready(users[k])

    cdef void wait_again(self) noexcept nogil:
        """All that is needed waits for all of its inputs."""
        cdef uint32_t i, k, n
        cdef const int32_t *inputs
        for i in range(self.count):
            if self.about[i] & NODE_STATE:
                self.set_state(i, NODE_WAITING)
                inputs = self.inputs_of(i, &n)
                self.slots[i] = 0
                for k in range(n):
                    self.slots[i] += inputs[k] >= 0

    cdef list find_cycle(self):
        """Some nodes that need each other, each the next one; the last is the first."""
        cdef uint32_t i = 0
        cdef uint32_t k, n
        cdef list way = []
        cdef dict places = {}
        cdef const int32_t *inputs
        for i in range(self.count):
            if self.about[i] & NODE_STATE == NODE_WAITING:
                break
        while i not in places:
            places[i] = len(way)
            way.append(i)
            inputs = self.inputs_of(i, &n)
            for k in range(n):
                if inputs[k] >= 0 and self.about[inputs[k]] & NODE_STATE == NODE_WAITING:
                    i = <uint32_t>inputs[k]
                    break
        return way[places[i]:] + [i]

    # states

    cdef inline void set_state(self, uint32_t node, uint8_t state) noexcept nogil:
        self.about[node] = (self.about[node] & ~NODE_STATE) | state

    cdef inline uint32_t take_ready(self) noexcept nogil:
        cdef uint32_t node = self.ready[self.ready_first]
        self.ready_first = self.ready_first + 1 if self.ready_first + 1 < self.count else 0
        self.ready_count -= 1
        self.ready_sorted -= self.ready_sorted > 0
        return node

    cdef inline void add_ready(self, uint32_t node) noexcept nogil:
        """Behind all others."""
        cdef uint64_t at = <uint64_t>self.ready_first + self.ready_count
        self.ready[at if at < self.count else at - self.count] = node
        self.ready_count += 1

    cdef inline void put_ready(self, uint32_t node) noexcept nogil:
        """Before all others: what it needed can go the sooner."""
        self.ready_first = self.ready_first - 1 if self.ready_first else self.count - 1
        self.ready[self.ready_first] = node
        self.ready_count += 1
        self.ready_sorted = 0

    cdef int sort_ready(self) except -1:
        """The first of what is ready in rising order, as they lie in memory: where nodes became ready in any order, half
        of the time of cutting goes to waiting for memory."""
        cdef uint32_t count = min(self.ready_count, <uint32_t>MOST_SORTED)
        cdef uint32_t *here = <uint32_t *>malloc(8 * <size_t>count)
        cdef uint32_t *there = here + count
        cdef uint32_t *swap
        cdef uint32_t[2048] places
        cdef uint32_t i, at, before, shift
        if here == NULL:
            return 0                                  # then they stay as they are
        swap = here
        for i in range(count):
            at = self.ready_first + i
            here[i] = self.ready[at if at < self.count else at - self.count]
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
            at = self.ready_first + i
            self.ready[at if at < self.count else at - self.count] = here[i]
        free(swap)
        self.ready_sorted = count
        return 0

    cdef inline double mean_ns(self, uint32_t function) noexcept nogil:
        cdef Pace *pace = &self.paces[function]
        return <double>pace.duration_ns / pace.calls if pace.calls else PIECE_NS

    @property
    def is_over(self):
        """Whether all that is needed is done."""
        return self.done == self.needed

    @property
    def has_ready(self):
        return self.ready_count > 0

    # cutting

    def cut(self, uint32_t workers, uint32_t under_way=0, bint is_alone=False):
        """The next piece, with `is_alone` of one node. None if nothing is ready, or so little that it can wait for more:
        so many pieces are `under_way`."""
        cdef Piece piece
        cdef uint64_t budget_ns
        cdef uint32_t node
        cdef uint32_t at = 0
        cdef bint looks                               # whether users of its nodes may be taken in
        if not self.ready_count or (under_way >= ENOUGH_PIECES * workers and not is_alone and self.is_little()):
            return None
        if self.last_skips and not self.ready_sorted and self.ready_count >= LEAST_SORTED:
            self.sort_ready()
        self.cut_count, self.cut_ns, self.cut_bytes, self.cut_links, self.cut_looks = 0, 0, 0, 0, 0
        budget_ns = self.budget_ns(workers, under_way)
        looks = not self.skips and not is_alone
        self.skips -= self.skips > 0
        try:
            while self.ready_count:
                node = self.ready[self.ready_first]
                if self.cut_count:
                    if is_alone or self.about[node] & NODE_TRIED or not self.has_room(node, budget_ns):
                        break
                self.take_ready()
                self.take_in(node)
                if self.about[node] & NODE_TRIED:
                    break
                while looks and at < self.cut_count:
                    self.take_in_users(self.cutting[at], budget_ns)
                    at += 1
            piece = Piece.__new__(Piece)
            piece.count = self.cut_count
            piece.is_retried = self.about[self.cutting[0]] & NODE_TRIED != 0
            piece.nodes = <uint32_t *>malloc(<size_t>self.cut_count * 4)
            if piece.nodes == NULL:
                raise MemoryError("no memory for a piece")
            memcpy(piece.nodes, self.cutting, <size_t>self.cut_count * 4)
            self.pack(piece, at)
            if looks:
                self.judge_looks()
        except BaseException:
            self.give_back_cut()
            raise
        finally:
            self.forget_functions()
        self.pieces += 1
        return piece

    cdef bint is_little(self) noexcept nogil:
        """Whether what is ready would make no good piece."""
        cdef uint32_t node = self.ready[self.ready_first]
        return (not self.about[node] & NODE_TRIED
                and self.ready_count * self.mean_ns(self.function_of(node)) < PIECE_NS / 2
                and self.ready_count < self.paces[self.function_of(node)].most)

    cdef int judge_looks(self) except -1:
        """Where next to none of the users that a piece looks at can be taken in, as between wide layers, the next pieces
        do not look at any."""
        if self.cut_count < LEAST_JUDGED:
            return 0
        if self.cut_links < self.cut_looks // 4:
            self.last_skips = min(2 * self.last_skips + 4, 64)
            self.skips = self.last_skips
        else:
            self.last_skips = 0
        return 0

    cdef uint64_t budget_ns(self, uint32_t workers, uint32_t under_way) noexcept nogil:
        """How much work the next piece may have: all workers are to have some of what is ready."""
        cdef uint32_t node = self.ready[self.ready_first]
        cdef double left_ns = self.ready_count * self.mean_ns(self.function_of(node))
        cdef double share_ns = left_ns / max(<int64_t>1, <int64_t>(ENOUGH_PIECES * workers) - under_way)
        return <uint64_t>min(<double>PIECE_NS, max(<double>LEAST_PIECE_NS, share_ns))

    cdef inline uint32_t function_of(self, uint32_t node) noexcept nogil:
        return 0 if self.which == NULL else self.which[node]

    cdef inline bint has_room(self, uint32_t node, uint64_t budget_ns) noexcept nogil:
        """Whether the piece may have this node, too."""
        cdef Pace *pace = &self.paces[self.function_of(node)]
        return (self.cut_ns < budget_ns and self.cut_count < MOST_PIECE_NODES and pace.here < pace.most
                and self.cut_bytes < MOST_PIECE_BYTES)

    cdef int take_in(self, uint32_t node) except -1:
        """The piece has this node now."""
        cdef uint32_t function = self.function_of(node)
        cdef Pace *pace = &self.paces[function]
        self.set_state(node, NODE_SENT)
        self.slots[node] = self.cut_count
        self.cutting[self.cut_count] = node
        self.cut_count += 1
        self.cut_ns += <uint64_t>self.mean_ns(function) if pace.most else PIECE_NS
        pace.here += 1
        if self.pickled:
            self.add_bytes(node)
        return 0

    cdef int add_bytes(self, uint32_t node) except -1:
        cdef uint32_t k, n
        cdef const int32_t *inputs = self.inputs_of(node, &n)
        for k in range(n):
            if inputs[k] >= 0 and self.about[inputs[k]] & NODE_STATE == VALUE_PICKLED:
                self.cut_bytes += len(<bytes><PyObject *><size_t>self.values[inputs[k]])
        return 0

    cdef int take_in_users(self, uint32_t node, uint64_t budget_ns) except -1:
        """Take in what needs this node and nothing else that is missing."""
        cdef uint32_t k, n, user
        cdef uint32_t *users = self.users_of(node, &n)
        self.cut_looks += n
        for k in range(n):
            user = users[k]
            if self.about[user] & NODE_STATE == NODE_WAITING:
                self.slots[user] -= 1
                if (self.slots[user] == 0 and not self.about[user] & NODE_TRIED and self.has_room(user, budget_ns)
                        and not (self.failures and self.has_failed_input(user))):
                    self.take_in(user)
        return 0

    cdef bint has_failed_input(self, uint32_t node) noexcept:
        cdef uint32_t k, n
        cdef const int32_t *inputs = self.inputs_of(node, &n)
        for k in range(n):
            if inputs[k] >= 0 and self.about[inputs[k]] & NODE_STATE == VALUE_FAILED:
                return True
        return False

    cdef int give_back_cut(self) except -1:
        """The piece could not be made after all: its nodes are ready, and their users wait, as before."""
        cdef uint32_t i, k, n
        cdef uint32_t *users
        for i in range(self.cut_count):
            self.set_state(self.cutting[i], NODE_WAITING)
        for i in range(self.cut_count, 0, -1):
            self.count_missing(self.cutting[i - 1])
        for i in range(self.cut_count):
            users = self.users_of(self.cutting[i], &n)
            for k in range(n):
                if self.about[users[k]] & NODE_STATE == NODE_WAITING:
                    self.count_missing(users[k])
        return 0

    cdef int count_missing(self, uint32_t node) except -1:
        """This waiting node's missing inputs, counted anew; it is ready if there are none."""
        cdef uint32_t k, n
        cdef const int32_t *inputs = self.inputs_of(node, &n)
        self.slots[node] = 0
        for k in range(n):
            self.slots[node] += inputs[k] >= 0 and self.about[inputs[k]] & NODE_STATE < VALUE_GONE
        if self.slots[node] == 0:
            self.settle(node)
        return 0

    cdef int settle(self, uint32_t node) except -1:
        """This node waits for nothing any more: it is ready, or has failed with one of its inputs."""
        cdef ByteBuffer left
        if self.failures and self.fails_with_input(node):
            left = ByteBuffer()
            left.append(<char *>&node, 4)
            self.fail_users(left)
        else:
            self.set_state(node, NODE_READY)
            if self.last_skips:                       # it is wide: what is ready first comes first
                self.add_ready(node)
            else:
                self.put_ready(node)
        return 0

    cdef int forget_functions(self) except -1:
        cdef uint32_t i
        for i in range(self.cut_count):
            self.paces[self.function_of(self.cutting[i])].here = 0
            self.paces[self.function_of(self.cutting[i])].local = -1
        return 0

    # what a piece travels as

    cdef int pack(self, Piece piece, uint32_t visited) except -1:
        """Write its payload, and put back what its nodes' users were said to have."""
        cdef PieceHead head
        cdef ByteBuffer ends, codes, calls, kinds, outside, blob, out
        cdef dict known = {}                          # pickled values from outside that are in there already
        cdef list numbers = []
        cdef uint32_t i, node, function
        cdef uint32_t before = 0
        cdef uint16_t local
        cdef uint32_t end
        ends, codes, calls, kinds = ByteBuffer(), ByteBuffer(), ByteBuffer(), ByteBuffer()
        outside, blob, out = ByteBuffer(), ByteBuffer(), ByteBuffer()
        memset(&head, 0, sizeof(head))
        for i in range(min(<uint32_t>AHEAD, piece.count)):
            self.ask_for_inputs(piece.nodes[i])
        for i in range(piece.count):
            node = piece.nodes[i]
            if i + AHEAD < piece.count:
                self.ask_for_inputs(piece.nodes[i + AHEAD])
            function = self.function_of(node)
            if self.paces[function].local < 0:
                self.paces[function].local = <int32_t>len(numbers)
                numbers.append(function)
            local = <uint16_t>self.paces[function].local
            (<uint16_t *>calls.need(2))[0] = local
            calls.size += 2
            self.pack_inputs(node, codes, kinds, outside, blob, known)
            if self.columns is not None and self.columns[function]:
                self.pack_columns(node, <tuple>self.columns[function], codes, kinds, outside, blob)
            end = <uint32_t>(codes.size // 4)
            (<uint32_t *>ends.need(4))[0] = end
            ends.size += 4
            head.most_arguments = max(head.most_arguments, end - before)
            before = end
        piece.functions = <uint32_t>len(numbers)
        piece.numbers = <uint16_t *>malloc(2 * <size_t>piece.functions)
        if piece.numbers == NULL:
            raise MemoryError("no memory for a piece")
        for i in range(piece.functions):
            piece.numbers[i] = numbers[i]
        head.magic, head.nodes, head.codes, head.functions = PIECE_MAGIC, piece.count, before, piece.functions
        head.outside, head.blob_bytes = <uint32_t>kinds.size, blob.size
        head.limit_ns = OVERRUN * max(<uint64_t>PIECE_NS, self.cut_ns)
        piece.wanted = <uint8_t *>malloc(piece.count)
        if piece.wanted == NULL:
            raise MemoryError("no memory for a piece")
        for i in range(piece.count):
            piece.wanted[i] = self.leave(piece.nodes[i], i < visited)
        append_column(out, <char *>&head, sizeof(head))
        append_column(out, <char *>piece.numbers, 2 * <size_t>piece.functions)
        append_column(out, ends.start, ends.size)
        append_column(out, codes.start, codes.size)
        if piece.functions > 1:
            append_column(out, calls.start, calls.size)
        append_column(out, <char *>piece.wanted, piece.count)
        append_column(out, kinds.start, kinds.size)
        append_column(out, outside.start, outside.size)
        append_column(out, blob.start, blob.size)
        piece.payload = PyBytes_FromStringAndSize(out.start, out.size)
        return 0

    cdef inline void ask_for_inputs(self, uint32_t node) noexcept nogil:
        cdef uint32_t k, n
        cdef const int32_t *inputs = self.inputs_of(node, &n)
        for k in range(min(n, <uint32_t>AHEAD)):
            if inputs[k] >= 0:
                ask_memory(&self.about[inputs[k]])
                ask_memory(&self.values[inputs[k]])

    cdef inline void ask_for_users(self, uint32_t node) noexcept nogil:
        cdef uint32_t k, n
        cdef uint32_t *users = self.users_of(node, &n)
        for k in range(min(n, <uint32_t>AHEAD)):
            ask_memory(&self.about[users[k]])
            ask_memory(&self.slots[users[k]])

    cdef inline uint8_t leave(self, uint32_t node, bint is_visited) noexcept nogil:
        """Those users of a node that are not in its piece miss it again. Whether its value is wanted outside."""
        cdef uint32_t k, n
        cdef uint32_t *users = self.users_of(node, &n)
        cdef uint8_t wanted = self.about[node] & NODE_ASKED != 0
        if not is_visited:                            # then none of its users was taken in
            return wanted or n != 0
        for k in range(n):
            if self.about[users[k]] & NODE_STATE == NODE_WAITING:
                self.slots[users[k]] += 1
                wanted = True
        return wanted

    cdef int pack_inputs(self, uint32_t node, ByteBuffer codes, ByteBuffer kinds, ByteBuffer outside, ByteBuffer blob,
                         dict known) except -1:
        cdef uint32_t k, n
        cdef const int32_t *inputs = self.inputs_of(node, &n)
        cdef int32_t *code = <int32_t *>codes.need(4 * <size_t>n + 4)
        cdef uint8_t state
        cdef bytes data
        for k in range(n):
            if inputs[k] < 0:
                continue
            state = self.about[inputs[k]] & NODE_STATE
            if state == NODE_SENT:
                code[0] = <int32_t>self.slots[inputs[k]]
                self.cut_links += 1
            elif state != VALUE_PICKLED:
                code[0] = <int32_t>~<int32_t>kinds.size
                put_value(kinds, outside, state, self.values[inputs[k]])
            else:
                found = known.get(inputs[k])
                if found is None:
                    found = known[inputs[k]] = <int32_t>kinds.size
                    data = <bytes><PyObject *><size_t>self.values[inputs[k]]
                    put_value(kinds, outside, state, in_blob(blob.size, len(data)))
                    blob.append(PyBytes_AS_STRING(data), len(data))
                code[0] = <int32_t>~<int32_t>found
            code += 1
            codes.size += 4
        return 0

    cdef int pack_columns(self, uint32_t node, tuple columns, ByteBuffer codes, ByteBuffer kinds, ByteBuffer outside,
                          ByteBuffer blob) except -1:
        cdef ArgumentColumn column
        cdef uint32_t rank = node if self.ranks == NULL else self.ranks[node]
        cdef int64_t number
        cdef int kind
        cdef bytes data
        for column in columns:
            (<int32_t *>codes.need(4))[0] = <int32_t>~<int32_t>kinds.size
            codes.size += 4
            kind = column.kind
            if kind == VALUE_PICKLED:
                value = column.items[rank]
                kind = kind_of(value, &number)
                if kind == VALUE_PICKLED:
                    data = self.dumps(value)
                    number = in_blob(blob.size, len(data))
                    blob.append(PyBytes_AS_STRING(data), len(data))
            else:
                number = column.truths[rank] if kind == VALUE_BOOL else column.numbers[rank]
            put_value(kinds, outside, kind, number)
        return 0

    # answers

    def take(self, Piece piece not None, const unsigned char[::1] answer not None):
        """Take in what has come of a piece. The lowest of its nodes that have failed of themselves, or None."""
        cdef Column column
        cdef const AnswerHead *head
        cdef const uint8_t *there = piece.wanted
        cdef const uint8_t *kinds
        cdef const int64_t *values
        cdef const PieceTime *times
        cdef const PieceFailure *failures
        cdef const char *blob
        cdef uint32_t i, node
        cdef uint32_t place = 0
        cdef bint has_pickled = False
        column.at, column.left = <const char *>&answer[0], answer.shape[0]
        head = <const AnswerHead *>next_column(&column, 1, sizeof(AnswerHead))
        if head.magic != ANSWER_MAGIC or not 0 < head.done <= piece.count or head.functions != piece.functions:
            raise ValueError("this is no answer to a piece of a graph")
        if head.is_cut:
            there = <const uint8_t *>next_column(&column, head.done, 1)
        kinds = <const uint8_t *>next_column(&column, head.values, 1)
        values = <const int64_t *>next_column(&column, head.values, 8)
        times = <const PieceTime *>next_column(&column, head.functions, sizeof(PieceTime))
        failures = <const PieceFailure *>next_column(&column, head.failures, sizeof(PieceFailure))
        blob = next_column(&column, head.blob_bytes, 1)
        self.check_answer(head, there, kinds, values, failures)
        if self.pickled:
            for i in range(head.done):
                self.let_go_inputs(piece.nodes[i])
        for i in range(head.failures):
            node = piece.nodes[failures[i].node]
            self.failures[node] = PyBytes_FromStringAndSize(blob + failures[i].offset, failures[i].bytes)
        for i in range(head.done):
            node = piece.nodes[i]
            if not there[i]:
                self.set_state(node, VALUE_GONE)
                continue
            if kinds[place] == VALUE_PICKLED:
                self.hold(node, from_blob(blob, head.blob_bytes, values[place]))
                has_pickled = True
            else:
                self.values[node] = values[place] if kinds[place] != VALUE_FAILED else piece.nodes[values[place]]
            self.set_state(node, kinds[place])
            place += 1
        self.done += head.done
        if has_pickled:
            for i in range(head.done):
                self.count_open_users(piece.nodes[i])
        self.note_times(piece, times, head.is_cut)
        for i in range(head.done):                    # what they make ready comes in their order, wherever it comes
            if i + AHEAD < head.done:
                self.ask_for_users(piece.nodes[i + AHEAD if self.last_skips else head.done - 1 - i - AHEAD])
            self.tell_users(piece.nodes[i if self.last_skips else head.done - 1 - i])
        if head.is_cut:
            for i in range(head.done, piece.count):
                self.set_state(piece.nodes[i], NODE_WAITING)
            for i in range(piece.count, head.done, -1):
                self.count_missing(piece.nodes[i - 1])
        if not head.failures:
            return None
        node = NO_NODE
        for i in range(head.failures):
            node = min(node, piece.nodes[failures[i].node])
        return node

    cdef int check_answer(self, const AnswerHead *head, const uint8_t *there, const uint8_t *kinds, const int64_t *values,
                          const PieceFailure *failures) except -1:
        cdef uint32_t i
        cdef uint32_t expected = 0
        for i in range(head.done):
            expected += there[i] != 0
        if expected != head.values:
            raise ValueError(f"the answer to a piece has {head.values} values, not {expected}")
        for i in range(head.values):
            if kinds[i] < VALUE_INT or kinds[i] > VALUE_FAILED:
                raise ValueError(f"a value of kind {kinds[i]} in the answer to a piece")
            if kinds[i] == VALUE_FAILED and <uint64_t>values[i] >= head.done:
                raise ValueError("a node of a piece has failed as one did that is not in it")
            if kinds[i] == VALUE_PICKLED and (<uint64_t>values[i] >> 32) + (<uint64_t>values[i] & 0xFFFFFFFF) > head.blob_bytes:
                raise ValueError("a value of a piece lies outside of its answer")
        for i in range(head.failures):
            if failures[i].node >= head.done or failures[i].offset + failures[i].bytes > head.blob_bytes:
                raise ValueError("the failures of a piece make no sense")
        return 0

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
        self.slots[node] = 0
        for k in range(n):
            self.slots[node] += self.about[users[k]] & NODE_STATE < VALUE_GONE
        return 0

    cdef int let_go_inputs(self, uint32_t node) except -1:
        """A node is done: its inputs have one user less."""
        cdef uint32_t k, n, input
        cdef const int32_t *inputs = self.inputs_of(node, &n)
        for k in range(n):
            if inputs[k] >= 0 and self.about[inputs[k]] & NODE_STATE == VALUE_PICKLED:
                input = <uint32_t>inputs[k]
                self.slots[input] -= 1
                if self.slots[input] == 0 and not self.about[input] & NODE_ASKED:
                    self.drop(input)
        return 0

    cdef int tell_users(self, uint32_t node) except -1:
        """A node is done: those users that wait for nothing else are ready, or have failed with one of their inputs."""
        cdef uint32_t k, n, user
        cdef uint32_t *users = self.users_of(node, &n)
        for k in range(n, 0, -1):
            user = users[k - 1]
            if self.about[user] & NODE_STATE == NODE_WAITING:
                self.slots[user] -= 1
                if self.slots[user] == 0:
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
                    self.slots[users[k]] -= 1
                    if self.slots[users[k]] == 0 and self.fails_with_input(users[k]):
                        left.append(<char *>&users[k], 4)
        return 0

    cdef bint fails_with_input(self, uint32_t node) except -1:
        """If one of its inputs has failed, so has this node."""
        cdef uint32_t k, n
        cdef const int32_t *inputs = self.inputs_of(node, &n)
        for k in range(n):
            if inputs[k] >= 0 and self.about[inputs[k]] & NODE_STATE == VALUE_FAILED:
                self.values[node] = self.values[inputs[k]]
                self.set_state(node, VALUE_FAILED)
                self.done += 1
                if self.pickled:
                    self.let_go_inputs(node)
                return True
        return False

    cdef int note_times(self, Piece piece, const PieceTime *times, bint is_cut) except -1:
        cdef Pace *pace
        cdef uint32_t i
        for i in range(piece.functions):
            if not times[i].calls:
                continue
            pace = &self.paces[piece.numbers[i]]
            if pace.calls and 4 * times[i].duration_ns * pace.calls < pace.duration_ns * times[i].calls:
                pace.calls = pace.duration_ns = 0     # it only began slowly
            pace.calls += times[i].calls
            pace.duration_ns += times[i].duration_ns
            if pace.calls > MOST_PIECE_NODES:         # what was long ago counts for less
                pace.calls //= 2
                pace.duration_ns //= 2
            if pace.most == 0:
                continue
            if is_cut:
                pace.most = <uint32_t>max(<uint64_t>1, times[i].calls)
            else:
                pace.most = <uint32_t>min(<uint64_t>MOST_PIECE_NODES, max(<uint64_t>pace.most, PIECE_GROWTH * times[i].calls))
        return 0

    def take_apart(self, Piece piece not None):
        """A piece came to nothing: each of its nodes is run alone from now on."""
        cdef uint32_t i
        for i in range(piece.count):
            self.set_state(piece.nodes[i], NODE_WAITING)
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

    # values

    def failure_of(self, uint32_t node):
        """Which node has raised what this one has failed with, and what that was."""
        return self.values[node], self.failures[self.values[node]]

    @property
    def failed(self):
        """How many nodes have raised something."""
        return len(self.failures)

    def list_failed(self):
        """Of the nodes that were asked for, those that have failed."""
        cdef uint32_t i
        cdef list found = []
        if self.failures:
            for i in range(self.count):
                if self.about[i] & NODE_ASKED and self.about[i] & NODE_STATE == VALUE_FAILED:
                    found.append(i)
        return found

    def value(self, uint32_t node, loads):
        """The value of a node that was asked for; None if it has failed."""
        cdef int state = self.about[node] & NODE_STATE
        if state == VALUE_PICKLED:
            return loads(<object><PyObject *><size_t>self.values[node])
        if state == VALUE_FAILED:
            return None
        return number_value(state, self.values[node])

    def fill(self, floats_out, ints_out, uint32_t start, int64_t step, const int64_t[::1] nodes, size_t length):
        """Write the values of start, start + step, ..., or of `nodes`, into float64 or int64. The places of what is no such
        number; what has failed is nan, or 0."""
        cdef double[::1] floats = floats_out
        cdef int64_t[::1] ints = ints_out
        cdef list others = []
        cdef size_t i
        cdef int64_t node
        cdef int state
        cdef double real
        for i in range(length):
            node = nodes[i] if nodes is not None else start + <int64_t>i * step
            state = self.about[node] & NODE_STATE
            if state == VALUE_INT or state == VALUE_BOOL:
                if floats is not None:
                    floats[i] = <double>self.values[node]
                else:
                    ints[i] = self.values[node]
            elif state == VALUE_FLOAT and floats is not None:
                memcpy(&real, &self.values[node], 8)
                floats[i] = real
            elif state == VALUE_FAILED:
                if floats is not None:
                    floats[i] = NOT_A_NUMBER
                else:
                    ints[i] = 0
            else:
                others.append(i)
        return others


cdef double NOT_A_NUMBER = float("nan")


cdef inline int put_value(ByteBuffer kinds, ByteBuffer values, int kind, int64_t number) except -1:
    kinds.need(1)[0] = <char>kind
    kinds.size += 1
    (<int64_t *>values.need(8))[0] = number
    values.size += 8
    return 0


cdef void *need_array(size_t count, size_t each) except NULL:
    """Zeros."""
    cdef void *made = calloc(max(<size_t>1, count), each)
    if made == NULL:
        raise MemoryError(f"no memory for a graph of {count} nodes")
    return made


def count_bits(const uint64_t[::1] masks not None):
    """How many bits there are in all of these."""
    cdef size_t i
    cdef uint64_t mask
    cdef uint64_t count = 0
    for i in range(<size_t>masks.shape[0]):
        mask = masks[i]
        while mask:
            mask &= mask - 1
            count += 1
    return count


def join_masks(const uint32_t[::1] first not None, const int32_t[::1] columns not None, const uint64_t[::1] masks not None,
               int32_t[::1] inputs not None):
    """Of each row's entries, whose values are bit masks of argument positions, the columns in the order of the positions.

    `inputs` has a place for each bit. Where each row begins among them; ValueError for a row without each position from 0
    on once.
    """
    cdef size_t rows = <size_t>first.shape[0] - 1
    cdef bytearray ends = bytearray(4 * (rows + 1))
    cdef uint32_t *end = <uint32_t *>PyByteArray_AS_STRING(ends)
    cdef size_t row, at
    cdef uint32_t start = 0
    cdef uint32_t k, count, place
    cdef uint64_t seen, mask
    for row in range(rows):
        seen, count = 0, 0
        for at in range(first[row], first[row + 1]):
            mask = masks[at]
            if seen & mask:
                raise ValueError(f"node {row} has two inputs for one argument: the masks of its row have a bit in common")
            seen |= mask
            place = 0
            while mask:
                if mask & 1:
                    if start + place >= <size_t>inputs.shape[0]:
                        raise ValueError(f"node {row} has no input for one of its arguments before position {place}: the "
                                         "masks of a row together are 1, 3, 7, 15, ...")
                    inputs[start + place] = columns[at]
                    count += 1
                mask >>= 1
                place += 1
        if seen & (seen + 1):
            raise ValueError(f"node {row} has no input for one of its first arguments: the masks of a row together are "
                             f"1, 3, 7, 15, ..., not {seen}")
        start += count
        end[row + 1] = start
    return memoryview(ends).cast("I")
