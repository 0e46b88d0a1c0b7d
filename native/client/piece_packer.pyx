# What a piece of a graph travels as: its columns (records/piece) are written from the graph's arrays.
#
# What lies together in a piece need not lie together in the graph, so memory is asked for some nodes ahead.
#
# Not here: which nodes are in it (piece_cutter), how it is run (worker/piece_runner).

cdef enum:
    OVERRUN = 10               # times as long as it should take: then a piece ends early


cdef int pack_piece(MatrixNodes nodes, Piece piece, uint32_t visited, uint64_t work_ns, uint64_t *links) except -1:
    """Write its payload, and put back what its nodes' users were said to have. Users of the first `visited` nodes were
    looked at. `links` counts how often one of its nodes needs another."""
    cdef PieceHead head
    cdef ByteBuffer ends, codes, calls, out
    cdef OutsideValues outside = OutsideValues()
    cdef list numbers = []
    cdef uint32_t i, node, function
    cdef uint32_t before = 0
    cdef uint32_t end
    ends, codes, calls, out = ByteBuffer(), ByteBuffer(), ByteBuffer(), ByteBuffer()
    memset(&head, 0, sizeof(head))
    (<uint32_t *>ends.need(4 * <size_t>piece.count))[0] = 0
    (<uint16_t *>calls.need(2 * <size_t>piece.count))[0] = 0
    for i in range(min(<uint32_t>AHEAD, piece.count)):
        ask_for_inputs(nodes, piece.nodes[i])
    for i in range(piece.count):
        node = piece.nodes[i]
        if i + AHEAD < piece.count:
            ask_for_inputs(nodes, piece.nodes[i + AHEAD])
        function = nodes.inputs.function_of(node)
        if nodes.paces.paces[function].local < 0:
            nodes.paces.paces[function].local = <int32_t>len(numbers)
            numbers.append(function)
        (<uint16_t *>calls.start)[i] = <uint16_t>nodes.paces.paces[function].local
        pack_node_inputs(nodes, node, codes, outside, links)
        if nodes.inputs.columns is not None and nodes.inputs.columns[function]:
            pack_node_columns(nodes.inputs, node, <tuple>nodes.inputs.columns[function], codes, outside)
        end = <uint32_t>(codes.size // 4)
        (<uint32_t *>ends.start)[i] = end
        head.most_arguments = max(head.most_arguments, end - before)
        before = end
    ends.size, calls.size = 4 * <size_t>piece.count, 2 * <size_t>piece.count
    piece.functions = <uint32_t>len(numbers)
    piece.numbers = <uint16_t *>malloc(2 * <size_t>piece.functions)
    piece.wanted = <uint8_t *>malloc(piece.count)
    if piece.numbers == NULL or piece.wanted == NULL:
        raise MemoryError("no memory for a piece")
    for i in range(piece.functions):
        piece.numbers[i] = numbers[i]
    for i in range(piece.count):
        piece.wanted[i] = leave(nodes, piece.nodes[i], i < visited)
    head.magic, head.nodes, head.codes, head.functions = PIECE_MAGIC, piece.count, before, piece.functions
    head.outside, head.blob_bytes = <uint32_t>outside.kinds.size, outside.blob.size
    head.limit_ns = OVERRUN * max(<uint64_t>PIECE_NS, work_ns)
    append_column(out, <char *>&head, sizeof(head))
    append_column(out, <char *>piece.numbers, 2 * <size_t>piece.functions)
    append_column(out, ends.start, ends.size)
    append_column(out, codes.start, codes.size)
    if piece.functions > 1:
        append_column(out, calls.start, calls.size)
    append_column(out, <char *>piece.wanted, piece.count)
    append_column(out, outside.kinds.start, outside.kinds.size)
    append_column(out, outside.numbers.start, outside.numbers.size)
    append_column(out, outside.blob.start, outside.blob.size)
    piece.payload = PyBytes_FromStringAndSize(out.start, out.size)
    return 0


@cython.final
cdef class OutsideValues:
    """The columns of what comes to a piece from outside; each pickle of the graph once."""
    cdef ByteBuffer kinds, numbers, blob
    cdef dict known            # what a pickle is among the inputs of nodes -> its place here

    def __cinit__(self):
        self.kinds, self.numbers, self.blob, self.known = ByteBuffer(), ByteBuffer(), ByteBuffer(), {}

    cdef inline int32_t add(self, int kind, int64_t number) except? -1:
        """What stands for it among the codes of a piece."""
        cdef int32_t code = ~<int32_t>self.kinds.size
        put_value(self.kinds, self.numbers, kind, number)
        return code

    cdef int32_t add_pickle(self, bytes data) except? -1:
        cdef int32_t code = self.add(VALUE_PICKLED, in_blob(self.blob.size, len(data)))
        self.blob.append(PyBytes_AS_STRING(data), len(data))
        return code

    cdef int32_t add_known(self, int32_t input, object data) except? -1:
        """The same for what several nodes may need."""
        known = self.known.get(input)
        if known is None:
            known = self.known[input] = self.add_pickle(data)
        return known


cdef int pack_node_inputs(MatrixNodes nodes, uint32_t node, ByteBuffer codes, OutsideValues outside, uint64_t *links) except -1:
    cdef uint32_t k, n
    cdef const int32_t *inputs = nodes.inputs.of(node, &n)
    cdef int32_t *code = <int32_t *>codes.need(4 * <size_t>n + 4)    # of nothing there is no place
    cdef Literals literals = nodes.inputs.literals
    cdef int32_t input
    cdef int state
    for k in range(n):
        input = inputs[k]
        if input >= 0:
            state = nodes.about[input] & NODE_STATE
            if state == NODE_SENT:
                code[0] = <int32_t>nodes.counts[input].place
                links[0] += 1
            elif state != VALUE_PICKLED:
                code[0] = outside.add(state, nodes.values[input])
            else:
                code[0] = outside.add_known(input, <object><PyObject *><size_t>nodes.values[input])
        elif input == INPUT_NONE:
            continue
        else:
            state = literals.kind_of(input)
            if state != VALUE_PICKLED:
                code[0] = outside.add(state, literals.number_of(input))
            else:
                code[0] = outside.add_known(input, literals.pickles[literals.number_of(input)])
        code += 1
        codes.size += 4
    return 0


cdef int pack_node_columns(MatrixInputs inputs, uint32_t node, tuple columns, ByteBuffer codes, OutsideValues outside) except -1:
    cdef ArgumentColumn column
    cdef uint32_t rank = inputs.rank_of(node)
    cdef int32_t code
    cdef int64_t number
    cdef int kind
    for column in columns:
        kind = column.kind
        if kind == VALUE_BOOL:
            code = outside.add(kind, column.truths[rank])
        elif kind != VALUE_PICKLED:
            code = outside.add(kind, column.numbers[rank])
        else:
            value = column.items[rank]
            kind = kind_of(value, &number)
            code = outside.add(kind, number) if kind != VALUE_PICKLED else outside.add_pickle(inputs.dumps(value))
        (<int32_t *>codes.need(4))[0] = code
        codes.size += 4
    return 0


cdef inline void ask_for_inputs(MatrixNodes nodes, uint32_t node) noexcept nogil:
    cdef uint32_t k, n
    cdef const int32_t *inputs = nodes.inputs.of(node, &n)
    for k in range(min(n, <uint32_t>AHEAD)):
        if inputs[k] >= 0:
            ask_memory(&nodes.about[inputs[k]])
            ask_memory(&nodes.values[inputs[k]])


cdef inline uint8_t leave(MatrixNodes nodes, uint32_t node, bint is_visited) noexcept nogil:
    """Those users of a node that are not in its piece miss it again. Whether its value is wanted outside."""
    cdef uint32_t k, n
    cdef uint32_t *users = nodes.users_of(node, &n)
    cdef uint8_t wanted = nodes.about[node] & NODE_ASKED != 0
    if not is_visited:                            # then none of its users was taken in
        return wanted or n != 0
    for k in range(n):
        if nodes.about[users[k]] & NODE_STATE == NODE_WAITING:
            nodes.counts[users[k]].missing += 1
            wanted = True
    return wanted
