# GraphMatrix: a graph that was read as a dict, as arrays of node numbers, so that it can run in pieces as a matrix does.
#
# A node has the number that it has where it was read. What is data there is no node here: it is a literal among the inputs
# of those that need it, as are the arguments that are no keys. Where inputs stand deeper than directly among the arguments,
# the node calls a function that fills them in: its inputs come first, and then the arguments, pickled, with holes.
#
# Rule 1: only what is plain comes in here: numbers, short texts and bytes, and what `pack` and `pack_holes` take. One node
#         that has anything else, and the graph is no matrix: large arguments, references and futures are the sender's.
# Not here: reading the dict (graph_table, graph_scan), running it (matrix_nodes, scaler/client/graph).

cdef enum:
    MOST_MATRIX_FUNCTIONS = 256    # all travel together to each worker
    MOST_LITERAL_BYTES = 4096      # of one that does not fit eight bytes
    CACHED_FUNCTIONS = 64


cdef struct CachedFunction:
    PyObject *function
    uint32_t number


@cython.final
cdef class GraphMatrix:
    """`functions` has (function, whether its arguments are filled in), by number."""
    cdef readonly list functions
    cdef uint32_t count
    cdef uint8_t *are_calls        # whether each number is a node, and no data
    cdef object dumps, pack, pack_holes
    cdef Literals literals
    cdef ByteBuffer first, inputs, which
    cdef dict numbers              # of functions, by (id, whether it is filled in)
    cdef CachedFunction[CACHED_FUNCTIONS] cached
    cdef dict data                 # what stands for what is data, by number

    def __cinit__(self):
        self.functions, self.numbers, self.literals = [], {}, Literals()
        self.first, self.inputs, self.which, self.data = ByteBuffer(), ByteBuffer(), ByteBuffer(), {}

    def __dealloc__(self):
        free(self.are_calls)

    cdef int begin(self, uint32_t count, dumps, pack, pack_holes) except -1:
        self.count, self.dumps, self.pack, self.pack_holes = count, dumps, pack, pack_holes
        self.are_calls = <uint8_t *>need_array(count, 1)
        self.first.need(4 * (<size_t>count + 1))
        self.which.need(2 * <size_t>count + 2)
        memset(self.which.start, 0, 2 * <size_t>count)
        return 0

    def nodes(self):
        """The nodes, of which nothing has run yet."""
        cdef MatrixInputs inputs = MatrixInputs.__new__(MatrixInputs)
        cdef MatrixNodes nodes = MatrixNodes.__new__(MatrixNodes)
        inputs.count, inputs.functions, inputs.literals = self.count, <uint32_t>len(self.functions), self.literals
        inputs.held = self
        inputs.inputs, inputs.first = <int32_t *>self.inputs.start, <uint32_t *>self.first.start
        inputs.which = <uint16_t *>self.which.start
        nodes.begin(inputs)
        return nodes

    cdef bint add_table(self, GraphTable table) except -1:
        """Add all that the table has. False if something of that is not plain."""
        cdef GraphNode *row
        cdef uint32_t number, k
        for number in range(self.count):
            self.are_calls[number] = table.rows[number].about & NODE_CALLS
            if not self.are_calls[number]:
                self.data[number] = table.nodes[number]
        for number in range(self.count):
            self.note_first(number)
            row = &table.rows[number]
            if row.about & NODE_IS_PLAIN:
                if not self.add_plain(number, <tuple>table.nodes[number], table.codes + row.codes, table.inputs + row.first):
                    return False
            elif row.about & NODE_CALLS:
                if not self.add_call(number, <Call>table.nodes[number], [table.inputs[row.first + k] for k in range(row.count)]):
                    return False
            if self.inputs.size > 4 * <size_t>0xFFFFFFF0:
                return False
        self.note_first(self.count)
        return True

    cdef inline void note_first(self, uint32_t number) noexcept nogil:
        (<uint32_t *>self.first.start)[number] = <uint32_t>(self.inputs.size // 4)

    # calls

    cdef bint add_plain(self, uint32_t number, tuple task, const uint8_t *codes, const uint32_t *inputs) except -1:
        """A call that the table has read itself: each argument is another call's key, or a literal."""
        cdef Py_ssize_t n = PyTuple_GET_SIZE(task) - 1
        cdef Py_ssize_t i
        cdef int32_t *made = <int32_t *>self.inputs.need(4 * n + 4)
        for i in range(n):
            if codes[i] != CODE_LITERAL:
                made[i] = <int32_t>inputs[codes[i]]
            else:
                made[i] = self.literal(<object>PyTuple_GET_ITEM(task, i + 1))
                if made[i] == 0:
                    return False
        self.inputs.size += 4 * n
        return self.calls(number, PyTuple_GET_ITEM(task, 0), False)

    cdef bint add_call(self, uint32_t number, Call call, list inputs) except -1:
        """A call that the reader has read, whose inputs have these numbers."""
        cdef tuple args = call.args
        if call.is_flat and not may_share(args):
            for value in args:
                if type(value) is not InputSlot:
                    if not self.add_input(self.literal(value)):
                        return False
                elif (<InputSlot>value).number >= <size_t>len(inputs):
                    return False
                elif not self.add_input(self.code_of(inputs[(<InputSlot>value).number])):
                    return False
            return self.calls(number, <PyObject *>call.function, False)
        for one in inputs:
            if not self.add_input(self.code_of(one)):
                return False
        data = self.pack_holes(args, len(inputs))
        return (data is not None and len(data) <= 2 * MOST_LITERAL_BYTES and self.add_input(self.literals.add_pickle(data))
                and self.calls(number, <PyObject *>call.function, True))

    cdef inline bint add_input(self, int32_t code) except -1:
        if code == 0:
            return False
        (<int32_t *>self.inputs.need(4))[0] = code if code < 0 else code - 1
        self.inputs.size += 4
        return True

    cdef int32_t code_of(self, uint32_t input) except? -1:
        """What stands for this input: a literal, or another node, counted from 1; 0 if it is not plain."""
        if self.are_calls[input]:
            return <int32_t>input + 1
        found = self.data[input]
        if type(found) is not int:
            found = self.data[input] = self.literal(found.value)
        return found

    # literals

    cdef int32_t literal(self, value) except? -1:
        """What stands for it among inputs; 0 if it is not plain."""
        cdef int64_t number
        cdef int kind = kind_of(value, &number)
        if kind != VALUE_PICKLED:
            return self.literals.add(kind, number)
        if type(value) is int or ((type(value) is str or type(value) is bytes) and len(value) <= MOST_LITERAL_BYTES):
            data = self.dumps(value)
        else:
            data = self.pack(value)
        return 0 if data is None or len(data) > 2 * MOST_LITERAL_BYTES else self.literals.add_pickle(data)

    # functions

    cdef inline bint calls(self, uint32_t number, PyObject *function, bint is_filled) except -1:
        """Note what a node calls. False if there are too many functions."""
        cdef CachedFunction *cached = &self.cached[(<size_t>function >> 4) % CACHED_FUNCTIONS]
        cdef uint32_t found
        if cached.function == function and not is_filled:
            found = cached.number
        else:
            found = self.number_of(<object>function, is_filled)
            if found >= MOST_MATRIX_FUNCTIONS:
                return False
            if not is_filled:
                cached.function, cached.number = function, found
        (<uint16_t *>self.which.start)[number] = <uint16_t>found
        return True

    cdef uint32_t number_of(self, function, bint is_filled) except? NO_NUMBER:
        key = id(function), is_filled
        found = self.numbers.get(key)
        if found is None:
            found = self.numbers[key] = len(self.functions)
            self.functions.append((function, is_filled))
        return found

    def count_uses(self):
        """How many nodes call each function."""
        cdef uint32_t i
        cdef list uses = [0] * len(self.functions)
        cdef uint32_t *so_far = <uint32_t *>need_array(len(self.functions), 4)
        for i in range(self.count):
            if self.are_calls[i]:
                so_far[(<uint16_t *>self.which.start)[i]] += 1
        for i in range(<uint32_t>len(self.functions)):
            uses[i] = so_far[i]
        free(so_far)
        return uses


cdef bint may_share(tuple args) except -1:
    """Whether two of these arguments may be, or have in them, the same object that can be changed: then they are pickled
    together."""
    cdef int containers = 0
    for value in args:
        if type(value) is not InputSlot and not is_unchangeable(value):
            containers += 1
    return containers > 1


def as_graph_matrix(GraphTable table not None, dumps, pack, pack_holes):
    """The graph that was read, as a matrix; None if something in it is not plain.

    `dumps(value)` gives the pickle of a number, text or bytes. `pack(value)` gives that of anything else, and
    `pack_holes(args, inputs)` that of arguments which have InputSlots deeper in them, with holes in their places; None
    for what is not plain.
    """
    cdef GraphMatrix matrix = GraphMatrix()
    matrix.begin(<uint32_t>len(table), dumps, pack, pack_holes)
    return matrix if matrix.add_table(table) else None
