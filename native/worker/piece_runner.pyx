# PieceRunner: runs the nodes of a piece of a matrix graph one after the other, in one task.
#
# Rule 1: no task sees what another did to a value. A result goes on as the object itself only if it cannot be changed
#         (a number, a text, bytes) or has one user, inside the piece. Every other user gets its own copy of a pickle.
# Rule 2: a call that fails does not stop the others. What needs its result is not called, and has failed as it did.
# Rule 3: what is no Exception (the task is to be stopped, SystemExit) ends the piece: its client takes it apart.
# Rule 4: the worker's page says which node a piece is at, so that after a death that one is to blame and no other. Of two
#         pieces of which one runs within the other, in place of waiting for it, it is the outer one.
# Rule 5: no Python object per node but its arguments and its result, which goes with its last user.
# Not here: the columns (records/piece), which nodes make a piece (client/matrix_nodes).

cdef enum:
    PIECE_LOOK_NS = 1_000_000  # between two looks at what else this process has to do
    MOST_ANSWER_BYTES = 8_388_608  # of pickles and texts: a piece that has more for others ends early

cdef enum:                     # what is known of the result of a node
    RESULT_NONE_YET = 0
    RESULT_ITSELF = 1
    RESULT_PICKLED = 2         # a pickle, of which each user makes its own
    RESULT_FAILED = 3

cdef extern from "Python.h":
    PyObject *call_vector "PyObject_Vectorcall"(PyObject *callable, PyObject **args, size_t nargsf, PyObject *kwnames)

cdef PeerPage *piece_page = NULL       # of the worker whose task runs here, until a piece takes it
cdef object finish_coroutine = None    # runs what a coroutine function gave; of this process (see TaskRunner)


cdef inline void set_piece_page(PeerPage *page) noexcept:
    """A task of this worker begins."""
    global piece_page
    piece_page = page


cdef int raise_again() except -1:
    """What a call has raised, where Cython does not know of it yet."""
    return -1


cdef inline bint is_unchangeable(object value) noexcept:
    return (type(value) is int or type(value) is float or value is None or type(value) is bool or type(value) is str
            or type(value) is bytes or type(value) is complex)


@cython.final
cdef class PieceRun:
    """One piece, while it runs. `loads`, `dumps` and `describe` read and write values, and describe exceptions."""
    cdef tuple functions
    cdef object loads, dumps, describe
    cdef const PieceHead *head
    cdef const uint16_t *numbers           # of its functions in the graph
    cdef const uint32_t *ends
    cdef const int32_t *codes
    cdef const uint16_t *calls             # which of its functions each node calls; NULL if there is only one
    cdef const uint8_t *wanted
    cdef const uint8_t *kinds              # of what comes from outside
    cdef const int64_t *outside
    cdef const char *blob
    cdef PyObject **results
    cdef uint8_t *states
    cdef uint32_t *uses                    # that are still to come
    cdef uint32_t *origins                 # of those that failed: which failed first
    cdef PyObject **args
    cdef PieceTime *times
    cdef uint32_t done
    cdef ByteBuffer failures, out          # out: the blob of the answer
    cdef uint32_t failed
    cdef unsigned int forks                # there had been so many when it began
    cdef PeerPage *page                    # that is told which node it is at; NULL: none
    cdef size_t kept_bytes                 # of values that others need
    cdef uint64_t start_ns
    cdef uint64_t duration_ns

    def __dealloc__(self):
        cdef uint32_t i
        if self.results != NULL:
            for i in range(self.head.nodes):
                Py_XDECREF(self.results[i])
        free(self.results)
        free(self.states)
        free(self.uses)
        free(self.origins)
        free(self.args)
        free(self.times)

    def __init__(self, tuple functions not None, const unsigned char[::1] piece not None, loads, dumps, describe):
        cdef Column column
        cdef const PieceHead *head
        cdef uint32_t i, first
        cdef int32_t code
        self.functions, self.loads, self.dumps, self.describe = functions, loads, dumps, describe
        self.failures, self.out = ByteBuffer(), ByteBuffer()
        column.at, column.left = <const char *>&piece[0], piece.shape[0]
        self.head = head = <const PieceHead *>next_column(&column, 1, sizeof(PieceHead))
        if head.magic != PIECE_MAGIC or head.nodes == 0 or head.functions == 0:
            raise ValueError("this is no piece of a graph")
        self.numbers = <const uint16_t *>next_column(&column, head.functions, 2)
        self.ends = <const uint32_t *>next_column(&column, head.nodes, 4)
        self.codes = <const int32_t *>next_column(&column, head.codes, 4)
        self.calls = <const uint16_t *>next_column(&column, head.nodes, 2) if head.functions > 1 else NULL
        self.wanted = <const uint8_t *>next_column(&column, head.nodes, 1)
        self.kinds = <const uint8_t *>next_column(&column, head.outside, 1)
        self.outside = <const int64_t *>next_column(&column, head.outside, 8)
        self.blob = next_column(&column, head.blob_bytes, 1)
        self.results = <PyObject **>calloc(head.nodes, sizeof(PyObject *))
        self.states = <uint8_t *>calloc(head.nodes, 1)
        self.uses = <uint32_t *>calloc(head.nodes, 4)
        self.origins = <uint32_t *>calloc(head.nodes, 4)
        self.args = <PyObject **>calloc(<size_t>head.most_arguments + 1, sizeof(PyObject *))
        self.times = <PieceTime *>calloc(head.functions, sizeof(PieceTime))
        if (self.results == NULL or self.states == NULL or self.uses == NULL or self.origins == NULL
                or self.args == NULL or self.times == NULL):
            raise MemoryError(f"no memory for a piece of {head.nodes} nodes")
        for i in range(head.functions):
            if self.numbers[i] >= len(functions):
                raise ValueError("a piece calls a function that its graph does not have")
        first = 0
        for i in range(head.nodes):
            if self.ends[i] < first or self.ends[i] > head.codes or self.ends[i] - first > head.most_arguments:
                raise ValueError("the arguments of a piece make no sense")
            if self.calls != NULL and self.calls[i] >= head.functions:
                raise ValueError("the functions of a piece make no sense")
            while first < self.ends[i]:
                code = self.codes[first]
                if code >= 0:
                    if <uint32_t>code >= i:
                        raise ValueError("a node of a piece needs one that comes later")
                    self.uses[code] += 1
                elif <uint32_t>~code >= head.outside:
                    raise ValueError("a node of a piece needs a value that is not there")
                first += 1

    cdef inline void take_page(self) noexcept:
        global piece_page
        self.page, piece_page = piece_page, NULL

    cdef inline void leave_page(self) noexcept:
        global piece_page
        if self.page != NULL:
            store_release32(&self.page.piece_node, 0)
            piece_page = self.page

    cdef int run(self) except -1:
        cdef uint32_t i, first, number
        cdef uint32_t count = self.head.nodes
        cdef uint64_t now, before, next_look
        self.forks = forks_so_far
        self.start_ns = before = now_ns()
        next_look = before + PIECE_LOOK_NS
        first = 0
        for i in range(count):
            number = 0 if self.calls == NULL else self.calls[i]
            if self.page != NULL:
                store_release32(&self.page.piece_node, i + 1)
            self.run_node(i, first, <PyObject *>self.functions[self.numbers[number]])
            if forks_so_far != self.forks:
                end_forked()
            first = self.ends[i]
            now = now_ns()
            self.times[number].calls += 1
            self.times[number].duration_ns += now - before
            before = now
            self.done = i + 1
            if self.kept_bytes > MOST_ANSWER_BYTES:
                break
            if now >= next_look:
                if now - self.start_ns >= self.head.limit_ns:
                    break
                PyErr_CheckSignals()
                with nogil:
                    pass
                before = now_ns()
                next_look = before + PIECE_LOOK_NS
        self.duration_ns = before - self.start_ns
        return 0

    cdef int run_node(self, uint32_t i, uint32_t first, PyObject *function) except -1:
        """Call it, and keep or write what it gives."""
        cdef uint32_t count = self.ends[i] - first
        cdef uint32_t k, n
        cdef int32_t code
        cdef PyObject *made
        for k in range(count):
            code = self.codes[first + k]
            if code >= 0 and self.states[code] == RESULT_FAILED:
                self.states[i], self.origins[i] = RESULT_FAILED, self.origins[code]
                self.let_go(first, count)
                return 0
        n = 0
        made = NULL
        try:
            while n < count:
                self.args[n + 1] = self.argument(first, n)
                n += 1
            self.let_go(first, count)
            made = call_vector(function, self.args + 1, count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
            if made == NULL:
                raise_again()
        except Exception as error:
            if n < count:
                self.let_go(first, count)
            self.fail(i, error, n < count)
        finally:
            for k in range(n):
                Py_DECREF(<object>self.args[k + 1])
        if made != NULL:
            self.keep(i, made)
        return 0

    cdef PyObject *argument(self, uint32_t first, uint32_t k) except NULL:
        """The value of this argument; a new reference."""
        cdef int32_t code = self.codes[first + k]
        cdef uint32_t j
        cdef object value
        if code >= 0:
            if self.states[code] == RESULT_ITSELF:
                Py_INCREF(<object>self.results[code])
                return self.results[code]
        elif self.kinds[~code] != VALUE_PICKLED:
            value = number_value(self.kinds[~code], self.outside[~code])
            Py_INCREF(value)
            return <PyObject *>value
        for j in range(k):                            # the same node twice is the same object twice
            if self.codes[first + j] == code:
                Py_INCREF(<object>self.args[j + 1])
                return self.args[j + 1]
        if code >= 0:
            value = self.loads(<object>self.results[code])
        else:
            value = self.loads(from_blob(self.blob, self.head.blob_bytes, self.outside[~code]))
        Py_INCREF(value)
        return <PyObject *>value

    cdef int let_go(self, uint32_t first, uint32_t count) except -1:
        """One user of each of these less: what has no more of them goes, if nobody else wants it."""
        cdef uint32_t k
        cdef int32_t code
        cdef PyObject *gone
        for k in range(count):
            code = self.codes[first + k]
            if code >= 0:
                self.uses[code] -= 1
                if self.uses[code] == 0 and not self.wanted[code]:
                    gone, self.results[code] = self.results[code], NULL
                    Py_XDECREF(gone)
        return 0

    cdef int keep(self, uint32_t i, PyObject *made) except -1:
        """What node i has given; takes the reference."""
        cdef object value = <object>made
        Py_DECREF(value)                              # `value` has its own
        if type(value) is _Coroutine and finish_coroutine is not None:
            try:
                value = finish_coroutine(value)
            except Exception as error:
                return self.fail(i, error, False)
        self.states[i] = RESULT_ITSELF
        if self.uses[i] == 0 and not self.wanted[i]:
            return 0
        if not is_unchangeable(value) and (self.wanted[i] or self.uses[i] > 1):
            try:
                value = self.dumps(value)
            except Exception as error:
                return self.fail(i, error, False)
            self.states[i] = RESULT_PICKLED
        if type(value) is bytes or type(value) is str:
            self.kept_bytes += len(value)
        Py_INCREF(value)
        self.results[i] = <PyObject *>value
        return 0

    cdef int fail(self, uint32_t i, error, bint is_unreadable) except -1:
        """Node i has raised this, or its arguments could not be read."""
        cdef bytes text
        cdef PieceFailure failure
        if forks_so_far != self.forks:
            end_forked(error)
        text = self.describe(error, is_unreadable)
        failure.node, failure.bytes, failure.offset = i, <uint32_t>len(text), self.out.size
        self.failures.append(<char *>&failure, sizeof(failure))
        self.out.append(PyBytes_AS_STRING(text), len(text))
        self.failed += 1
        self.states[i], self.origins[i] = RESULT_FAILED, i
        return 0

    cdef bytes answer(self):
        """What came of it."""
        cdef AnswerHead head
        cdef ByteBuffer answer = ByteBuffer()
        cdef ByteBuffer kinds = ByteBuffer()
        cdef ByteBuffer values = ByteBuffer()
        cdef bint is_cut = self.done < self.head.nodes
        cdef uint8_t *there = NULL
        cdef uint32_t i
        cdef int kind
        cdef int64_t number
        memset(&head, 0, sizeof(head))
        head.magic, head.done, head.is_cut = ANSWER_MAGIC, self.done, is_cut
        head.functions, head.duration_ns = self.head.functions, self.duration_ns
        for i in range(self.done):
            if not self.wanted[i] and not (is_cut and self.uses[i]):
                continue
            head.values += 1
            kind, number = VALUE_FAILED, self.origins[i]
            if self.states[i] != RESULT_FAILED:
                kind = self.write(i, &number)
                if kind == VALUE_FAILED:
                    number = i
            kinds.need(1)[0] = <char>kind
            kinds.size += 1
            values.append(<char *>&number, 8)
        head.failures, head.blob_bytes = self.failed, self.out.size
        append_column(answer, <char *>&head, sizeof(head))
        if is_cut:
            there = <uint8_t *>answer.need(column_bytes(self.done, 1))
            memset(there, 0, column_bytes(self.done, 1))
            for i in range(self.done):
                there[i] = self.wanted[i] or self.uses[i] != 0
            answer.size += column_bytes(self.done, 1)
        append_column(answer, kinds.start, kinds.size)
        append_column(answer, values.start, values.size)
        append_column(answer, <char *>self.times, self.head.functions * sizeof(PieceTime))
        append_column(answer, self.failures.start, self.failures.size)
        append_column(answer, self.out.start, self.out.size)
        return PyBytes_FromStringAndSize(answer.start, answer.size)

    cdef int write(self, uint32_t i, int64_t *number) except -1:
        """The value of this result, whose pickle, if it needs one, goes to the blob. VALUE_FAILED if there is none."""
        cdef object value = <object>self.results[i]
        cdef int kind = VALUE_PICKLED
        cdef bytes data
        if self.states[i] == RESULT_PICKLED:
            data = value
        else:
            kind = kind_of(value, number)
            if kind != VALUE_PICKLED:
                return kind
            try:
                data = self.dumps(value)
            except Exception as error:
                self.fail(i, error, False)
                return VALUE_FAILED
        number[0] = in_blob(self.out.size, len(data))
        self.out.append(PyBytes_AS_STRING(data), len(data))
        return VALUE_PICKLED


cdef int append_column(ByteBuffer out, const char *data, size_t size) except -1:
    cdef char *at = out.need(column_bytes(size, 1))
    if size:
        memcpy(at, data, size)
    memset(at + size, 0, column_bytes(size, 1) - size)
    out.size += column_bytes(size, 1)
    return 0


def run_piece(tuple functions, piece, loads, dumps, describe):
    """Run a piece of a graph that has these functions; its answer."""
    cdef PieceRun run = PieceRun(functions, piece, loads, dumps, describe)
    try:
        run.take_page()
        run.run()
        return run.answer()
    finally:
        run.leave_page()
