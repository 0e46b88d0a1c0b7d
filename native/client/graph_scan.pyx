# GraphScan: all of a large dict graph, read in the order in which it lies in memory.
#
# GraphTable follows the graph from the keys that are asked for, which reads nothing that is not needed. In a dict of
# millions each step of that waits for memory, and where most of the dict is needed it is much quicker to go through it
# once: then keys, calls and arguments lie one after the other, and what does not (where in the dict an argument is) is
# asked of memory some arguments before it is needed. A node's number is its place in the dict.
#
# Rule 1: what is no key, call or plain literal for sure is read by the Python reader, and so are errors: a node that
#         cannot be read, or is not plain, is noted as `odd`. If it turns out to be needed the graph is no matrix.
# Rule 2: keys and values are held while they are looked at: code of theirs (a hash, a comparison) may change the dict.
# Not here: what is needed (matrix_order), graphs of which little is needed (graph_table).

cdef extern from "Python.h":
    int PyDict_Next(object d, Py_ssize_t *place, PyObject **key, PyObject **value)
    int PyObject_RichCompareBool(object a, object b, int op) except -1
    int PY_EQ "Py_EQ"

cdef enum:
    SCAN_AHEAD = 12            # nodes, and arguments, for which memory is asked


cdef struct ScanSlot:
    uint32_t number            # one more than the place of the node; 0: free
    uint32_t tag               # of its hash


@cython.final
cdef class GraphScan:
    cdef readonly GraphMatrix matrix
    cdef readonly list odd         # nodes that are not plain, or could not be read
    cdef uint32_t count
    cdef PyObject **keys
    cdef PyObject **raw            # what the graph has for each key
    cdef ScanSlot *slots
    cdef size_t mask
    cdef bint has_only_texts       # among its keys
    cdef object read

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.count):
            Py_DECREF(<object>self.keys[i])
            Py_DECREF(<object>self.raw[i])
        free(self.keys)
        free(self.raw)
        free(self.slots)

    def __len__(self):
        return self.count

    # what it knows of the graph

    def key(self, uint32_t number):
        """The key of a node."""
        if number >= self.count:
            raise IndexError(number)
        return <object>self.keys[number]

    def value(self, uint32_t number):
        """What the graph has for it."""
        if number >= self.count:
            raise IndexError(number)
        return <object>self.raw[number]

    def is_call(self, uint32_t number):
        """Whether it calls something; else it is data."""
        return number < self.count and self.matrix.are_calls[number] != 0

    def number(self, key):
        """The number of a key; None if the graph has none such."""
        cdef uint32_t found = self.find(key, PyObject_Hash(key))
        return None if found == NO_NUMBER else found

    # reading

    cdef int begin(self, dict graph) except -1:
        """Note all keys and what they have."""
        cdef Py_ssize_t place = 0
        cdef PyObject *key
        cdef PyObject *value
        cdef size_t room = 1024
        cdef size_t size = len(graph)
        while room < 2 * size:
            room *= 2
        self.mask = room - 1
        self.keys = <PyObject **>need_array(size, sizeof(PyObject *))
        self.raw = <PyObject **>need_array(size, sizeof(PyObject *))
        self.slots = <ScanSlot *>need_array(room, sizeof(ScanSlot))
        while self.count < size and PyDict_Next(graph, &place, &key, &value):
            Py_INCREF(<object>key)
            Py_INCREF(<object>value)
            self.keys[self.count], self.raw[self.count] = key, value
            self.count += 1
        return 0

    cdef inline size_t place_of(self, Py_hash_t hash) noexcept nogil:
        return <size_t>(<uint64_t>hash * GOLDEN >> 20) & self.mask

    cdef inline uint32_t tag_of(self, Py_hash_t hash) noexcept nogil:
        return <uint32_t>(<uint64_t>hash >> 32) ^ <uint32_t>hash

    cdef int index(self) except -1:
        """Make the keys be found, and see which nodes are calls."""
        cdef uint32_t i
        cdef size_t at
        cdef Py_hash_t hash
        cdef Py_hash_t ahead[SCAN_AHEAD]
        self.has_only_texts = True
        for i in range(min(self.count, <uint32_t>SCAN_AHEAD)):
            ahead[i] = PyObject_Hash(<object>self.keys[i])
        for i in range(self.count):
            hash = ahead[i % SCAN_AHEAD]
            if i + SCAN_AHEAD < self.count:
                ahead[i % SCAN_AHEAD] = PyObject_Hash(<object>self.keys[i + SCAN_AHEAD])
                ask_memory(&self.slots[self.place_of(ahead[i % SCAN_AHEAD])])
            at = self.place_of(hash)
            while self.slots[at].number:
                at = (at + 1) & self.mask
            self.slots[at].number, self.slots[at].tag = i + 1, self.tag_of(hash)
            self.has_only_texts = self.has_only_texts and type(<object>self.keys[i]) is str
            self.matrix.are_calls[i] = is_call(<object>self.raw[i])
        return 0

    cdef uint32_t find(self, key, Py_hash_t hash) except? NO_NUMBER:
        cdef size_t at = self.place_of(hash)
        cdef uint32_t tag = self.tag_of(hash)
        cdef PyObject *known
        while self.slots[at].number:
            if self.slots[at].tag == tag:
                known = self.keys[self.slots[at].number - 1]
                if known == <PyObject *>key or PyObject_RichCompareBool(<object>known, key, PY_EQ):
                    return self.slots[at].number - 1
            at = (at + 1) & self.mask
        return NO_NUMBER

    cdef inline void ask_for_arguments(self, uint32_t number) noexcept:
        """Where texts among its arguments are found is looked at soon. A text knows its hash, and runs no code."""
        cdef tuple task
        cdef Py_ssize_t i
        if number >= self.count or not self.matrix.are_calls[number]:
            return
        task = <tuple>self.raw[number]
        for i in range(1, min(PyTuple_GET_SIZE(task), <Py_ssize_t>4)):
            if type(<object>PyTuple_GET_ITEM(task, i)) is str:
                ask_memory(&self.slots[self.place_of(PyObject_Hash(<object>PyTuple_GET_ITEM(task, i)))])

    cdef bint fill(self) except -1:
        """Write the matrix. False if it calls too many functions."""
        cdef GraphMatrix matrix = self.matrix
        cdef uint32_t number
        cdef size_t before
        cdef int made
        for number in range(self.count):
            self.ask_for_arguments(number + SCAN_AHEAD)
            matrix.note_first(number)
            if not matrix.are_calls[number]:
                continue
            before = matrix.inputs.size
            made = self.add_plain(number)
            if made < 0:
                matrix.inputs.size = before
                made = self.add_read(number)
            if not made:
                matrix.inputs.size = before
                self.odd.append(number)
            if len(matrix.functions) > MOST_MATRIX_FUNCTIONS or matrix.inputs.size > 4 * <size_t>0xFFFFFFF0:
                return False
        matrix.note_first(self.count)
        return True

    cdef int add_plain(self, uint32_t number) except -2:
        """1 if it was added, 0 if it is odd, -1 if the reader is to read it."""
        cdef tuple task = <tuple>self.raw[number]
        cdef Py_ssize_t n = PyTuple_GET_SIZE(task) - 1
        cdef Py_ssize_t i
        cdef int32_t *made = <int32_t *>self.matrix.inputs.need(4 * n + 4)
        cdef uint32_t found
        for i in range(n):
            value = <object>PyTuple_GET_ITEM(task, i + 1)
            kind = type(value)
            if kind is str:
                found = self.find(value, PyObject_Hash(value))
                if found == NO_NUMBER:
                    return 0                          # an error, if it is needed
            elif kind is int or kind is float or kind is bool or kind is bytes or value is None:
                found = NO_NUMBER
                if not self.has_only_texts:
                    found = self.find(value, PyObject_Hash(value))
            else:
                return -1
            if found == NO_NUMBER:
                made[i] = self.matrix.literal(value)
            elif self.matrix.are_calls[found]:
                made[i] = <int32_t>found
                continue
            else:
                value = <object>self.raw[found]
                if not is_unchangeable(value):
                    return -1
                made[i] = self.matrix.literal(value)
            if made[i] == 0:
                return 0
        self.matrix.inputs.size += 4 * n
        return self.matrix.calls(number, PyTuple_GET_ITEM(task, 0), False)

    cdef int add_read(self, uint32_t number) except -2:
        """1 if what the reader makes of it was added; 0 if it is odd."""
        cdef uint32_t found
        cdef list inputs = []
        cdef Call call
        try:
            node = self.read(<object>self.keys[number])
            if type(node) is not Call:
                return 0
            call = node
            for key in call.inputs:
                found = self.find(key, PyObject_Hash(key))
                if found == NO_NUMBER or not self.matrix.are_calls[found]:
                    return 0
                inputs.append(found)
        except Exception:                             # who reads it because it is needed says so again
            return 0
        return self.matrix.add_call(number, call, inputs)


def scan_graph(dict graph not None, read, dumps, pack, pack_holes):
    """All of a plain dict graph; `read(key)` is the reader's. None if it calls too many functions.

    `dumps`, `pack` and `pack_holes` are as of `as_graph_matrix`.
    """
    cdef GraphScan scan = GraphScan()
    if len(graph) > 0x7FFFFFF0:
        return None
    scan.odd, scan.read = [], read
    scan.begin(graph)
    scan.matrix = GraphMatrix.__new__(GraphMatrix)
    scan.matrix.begin(scan.count, dumps, pack, pack_holes)
    scan.index()
    return scan if scan.fill() else None
