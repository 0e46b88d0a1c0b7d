# What has come of a piece of a graph, taken in: values, failures, how long its functions took, and what it made ready.
#
# Rule 1: nothing in an answer is believed, and nothing of it counts, before all of it was looked at.
# Not here: the columns (records/piece), what follows for other nodes (matrix_nodes).


cdef struct Answer:
    const AnswerHead *head
    const uint8_t *there           # of which nodes there are values
    const uint8_t *kinds
    const int64_t *values
    const PieceTime *times
    const PieceFailure *failures
    const char *blob


cdef object take_answer(MatrixNodes nodes, Piece piece, const unsigned char[::1] data):
    """The lowest of its nodes that have failed of themselves, or None."""
    cdef Answer answer
    cdef uint32_t i
    read_answer(piece, data, &answer)
    if nodes.pickled:
        for i in range(answer.head.done):
            nodes.let_go_inputs(piece.nodes[i])
    take_values(nodes, piece, &answer)
    for i in range(piece.functions):
        nodes.paces.note(piece.numbers[i], &answer.times[i], answer.head.is_cut)
    tell_all(nodes, piece, answer.head.done)
    if answer.head.is_cut:
        for i in range(answer.head.done, piece.count):
            nodes.set_state(piece.nodes[i], NODE_WAITING)
        for i in range(piece.count, answer.head.done, -1):
            nodes.count_missing(piece.nodes[i - 1])
    return min([piece.nodes[answer.failures[i].node] for i in range(answer.head.failures)], default=None)


cdef int read_answer(Piece piece, const unsigned char[::1] data, Answer *answer) except -1:
    """Find its columns. ValueError if they make no sense for this piece."""
    cdef Column column
    cdef const AnswerHead *head
    column.at, column.left = <const char *>&data[0], data.shape[0]
    answer.head = head = <const AnswerHead *>next_column(&column, 1, sizeof(AnswerHead))
    if (head.magic != ANSWER_MAGIC or not 0 < head.done <= piece.count or head.functions != piece.functions
            or (head.is_cut != 0) != (head.done < piece.count)):
        raise ValueError("this is no answer to a piece of a graph")
    answer.there = <const uint8_t *>next_column(&column, head.done, 1) if head.is_cut else piece.wanted
    answer.kinds = <const uint8_t *>next_column(&column, head.values, 1)
    answer.values = <const int64_t *>next_column(&column, head.values, 8)
    answer.times = <const PieceTime *>next_column(&column, head.functions, sizeof(PieceTime))
    answer.failures = <const PieceFailure *>next_column(&column, head.failures, sizeof(PieceFailure))
    answer.blob = next_column(&column, head.blob_bytes, 1)
    return check_answer(answer)


cdef int check_answer(const Answer *answer) except -1:
    cdef const AnswerHead *head = answer.head
    cdef set failed = set()
    cdef uint32_t i
    cdef uint32_t expected = 0
    for i in range(head.done):
        expected += answer.there[i] != 0
    if expected != head.values:
        raise ValueError(f"the answer to a piece has {head.values} values, not {expected}")
    for i in range(head.failures):
        if (answer.failures[i].node >= head.done or answer.failures[i].offset > head.blob_bytes
                or answer.failures[i].bytes > head.blob_bytes - answer.failures[i].offset):
            raise ValueError("the failures of a piece make no sense")
        failed.add(answer.failures[i].node)
    for i in range(head.values):
        if answer.kinds[i] < VALUE_INT or answer.kinds[i] > VALUE_FAILED:
            raise ValueError(f"a value of kind {answer.kinds[i]} in the answer to a piece")
        if answer.kinds[i] == VALUE_FAILED and answer.values[i] not in failed:
            raise ValueError("a node of a piece has failed as one did that has not")
        if answer.kinds[i] == VALUE_PICKLED and not is_in_blob(head.blob_bytes, answer.values[i]):
            raise ValueError("a value of a piece lies outside of its answer")
    return 0


cdef int take_values(MatrixNodes nodes, Piece piece, const Answer *answer) except -1:
    cdef uint32_t i, node
    cdef uint32_t place = 0
    cdef bint has_pickled = False
    cdef bytes data
    for i in range(answer.head.failures):
        node = piece.nodes[answer.failures[i].node]
        nodes.failures[node] = PyBytes_FromStringAndSize(answer.blob + answer.failures[i].offset, answer.failures[i].bytes)
    for i in range(answer.head.done):
        node = piece.nodes[i]
        if not answer.there[i]:
            nodes.set_state(node, VALUE_GONE)
            continue
        if answer.kinds[place] == VALUE_PICKLED:
            data = from_blob(answer.blob, answer.head.blob_bytes, answer.values[place])
            nodes.largest_value = max(nodes.largest_value, <uint64_t>len(data))
            nodes.hold(node, data)
            has_pickled = True
        elif answer.kinds[place] == VALUE_FAILED:
            nodes.values[node] = piece.nodes[answer.values[place]]
        else:
            nodes.values[node] = answer.values[place]
        nodes.set_state(node, answer.kinds[place])
        place += 1
    nodes.done += answer.head.done
    if has_pickled:
        for i in range(answer.head.done):
            nodes.count_open_users(piece.nodes[i])
    return 0


cdef int tell_all(MatrixNodes nodes, Piece piece, uint32_t done) except -1:
    """Tell the users of the first nodes. What these make ready comes in their order: so they go from the last one on where
    it comes before all that was ready."""
    cdef uint32_t i
    for i in range(done):
        if i + AHEAD < done:
            ask_for_users(nodes, piece.nodes[i + AHEAD if nodes.is_wide else done - 1 - i - AHEAD])
        nodes.tell_users(piece.nodes[i if nodes.is_wide else done - 1 - i])
    return 0


cdef inline void ask_for_users(MatrixNodes nodes, uint32_t node) noexcept nogil:
    cdef uint32_t k, n
    cdef uint32_t *users = nodes.users_of(node, &n)
    for k in range(min(n, <uint32_t>AHEAD)):
        ask_memory(&nodes.about[users[k]])
        ask_memory(&nodes.counts[users[k]])
