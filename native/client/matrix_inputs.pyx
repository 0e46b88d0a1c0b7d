# MatrixInputs: what each node of a graph calls and what it is given, as arrays that do not change while the graph runs.
#
# The inputs of a node stand in the order of its arguments. An entry from 0 on is a node, -1 is none, and any below is a
# literal: -2 is the first one of the graph. Behind its inputs a node is given its values of its function's columns.
#
# Rule 1: no Python object per node. A literal that fits eight bytes stands in them, another one is a pickle.
# Not here: what becomes of the nodes (matrix_nodes), what a matrix looks like to its user (scaler/client/graph/matrix),
# how a dict becomes one of these (graph_matrix).

cdef enum:
    INPUT_NONE = -1
    FIRST_LITERAL = -2


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
cdef class Literals:
    """Values that stand among the inputs of nodes, by number."""
    cdef ByteBuffer kinds, numbers
    cdef list pickles          # of those of which the number is a place in here

    def __cinit__(self):
        self.kinds, self.numbers, self.pickles = ByteBuffer(), ByteBuffer(), []

    def __len__(self):
        return self.kinds.size

    cdef int32_t add(self, int kind, int64_t number) except? -1:
        """What stands for it among inputs."""
        cdef size_t place = self.kinds.size
        if place >= 0x7FFFFFF0:
            raise OverflowError("a graph has too many literals: more than 2^31")
        put_value(self.kinds, self.numbers, kind, number)
        return FIRST_LITERAL - <int32_t>place

    cdef int32_t add_pickle(self, bytes data) except? -1:
        self.pickles.append(data)
        return self.add(VALUE_PICKLED, len(self.pickles) - 1)

    cdef inline int kind_of(self, int32_t code) noexcept nogil:
        return (<uint8_t *>self.kinds.start)[FIRST_LITERAL - code]

    cdef inline int64_t number_of(self, int32_t code) noexcept nogil:
        return (<int64_t *>self.numbers.start)[FIRST_LITERAL - code]


@cython.final
cdef class MatrixInputs:
    """`inputs` are the nodes' inputs one node after the other, `most` for each; or, with `first`, from first[i] to
    first[i + 1]. `which` says what function each calls, if there are several."""
    cdef readonly uint32_t count
    cdef object held                     # the memory of what follows
    cdef const int32_t *inputs
    cdef const uint32_t *first
    cdef uint32_t most
    cdef const uint16_t *which
    cdef uint32_t functions
    cdef uint32_t *ranks                 # of each node among those of its function; NULL: its number
    cdef list columns                    # of each function, a tuple of its argument columns; None if none has any
    cdef Literals literals
    cdef object dumps                    # makes the pickle of what stands in a column of objects

    def __dealloc__(self):
        free(self.ranks)

    def __init__(self, uint32_t count, const int32_t[::1] inputs, const uint32_t[::1] first, uint32_t most,
                 uint32_t functions, const uint16_t[::1] which, list columns, dumps):
        self.count, self.most, self.functions, self.dumps = count, most, functions, dumps
        self.held = inputs, first, which
        self.inputs = &inputs[0] if inputs.shape[0] else NULL
        self.first = &first[0] if first is not None else NULL
        self.which = &which[0] if which is not None and which.shape[0] else NULL
        self.columns = columns if columns is not None and any(columns) else None
        if self.which != NULL and self.columns is not None:
            self.rank()

    cdef int rank(self) except -1:
        """Count the nodes of each function."""
        cdef uint32_t *so_far = <uint32_t *>need_array(self.functions, 4)
        cdef uint32_t i
        self.ranks = <uint32_t *>malloc(max(1, <size_t>self.count * 4))
        if self.ranks == NULL:
            free(so_far)
            raise MemoryError("no memory to count the nodes of each function")
        for i in range(self.count):
            self.ranks[i] = so_far[self.which[i]]
            so_far[self.which[i]] += 1
        free(so_far)
        return 0

    cdef inline const int32_t *of(self, uint32_t node, uint32_t *count) noexcept nogil:
        """The inputs of a node."""
        if self.first == NULL:
            count[0] = self.most
            return self.inputs + <size_t>node * self.most
        count[0] = self.first[node + 1] - self.first[node]
        return self.inputs + self.first[node]

    cdef inline uint32_t function_of(self, uint32_t node) noexcept nogil:
        return 0 if self.which == NULL else self.which[node]

    cdef inline uint32_t rank_of(self, uint32_t node) noexcept nogil:
        """Which one it is of those that call its function."""
        return node if self.ranks == NULL else self.ranks[node]


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


# bit masks of argument positions

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
