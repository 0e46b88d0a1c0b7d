# GraphTable: the nodes of one graph that are needed, by number.
#
# Keys may be anything that can be hashed, and a look for one in a dict of millions costs several cache misses. So each
# key is looked for once and gets a number, and from then on there are arrays. What a node calls is read by the Python
# reader (scaler/client/graph/read.py), but for the plainest and most common form, which is read here to the same end.
#
# Rule 1: no recursion: a graph may be a chain of a million nodes.
# Rule 2: what `read_plain` does not know for sure is left to the reader, errors above all.
# Not here: the order of the nodes (graph_order), sending them (scaler/client/graph/run.py).

cdef extern from "Python.h":
    PyObject *PyDict_GetItemWithError(object d, object key) except? NULL
    Py_hash_t PyObject_Hash(object key) except -1

cpdef enum:
    PLAIN_ARGUMENTS = 16      # a call of more is left to the reader

cdef enum:
    NODE_CALLS = 1
    NODE_IS_FLAT = 2          # inputs stand nowhere but directly among its arguments
    NODE_BEGUN = 4
    NODE_FOLLOWED = 8         # another one goes on from it in the same task
    NODE_IS_TARGET = 16
    NODE_IS_PLAIN = 32        # its Call is made when it is wanted, of its tuple and its codes
    CODE_LITERAL = 0xFF       # an argument that stands for itself
    HEIGHT_UNSEEN = 0xFFFFFFFF
    HEIGHT_UNDER_WAY = 0xFFFFFFFE


@cython.final
cdef class Call:
    """A node that is a call: InputSlot k among the arguments stands for input k.

    `inputs` are keys; None where the table has read the node itself, and knows them as numbers.
    """
    cdef readonly object function, args, inputs
    cdef readonly bint is_flat

    def __init__(self, function, args, inputs, bint is_flat):
        self.function, self.args, self.inputs, self.is_flat = function, args, inputs, is_flat


cdef struct GraphNode:
    uint32_t first            # place of its inputs among all
    uint32_t count            # of its inputs
    uint32_t uses             # how many others need it
    uint32_t height           # longest way below it
    uint32_t about            # NODE_...
    size_t codes              # of a plain one: place among all of which input each argument stands for


@cython.final
cdef class GraphTable:
    """Nodes by number, in the order in which they were found."""
    cdef dict graph              # if its plain calls are read here
    cdef CallIndex calls         # of the graph
    cdef dict numbers            # of all other nodes, by key
    cdef readonly list keys
    cdef list nodes              # Call or Data; the tuple of a plain call
    cdef GraphNode *rows
    cdef size_t room
    cdef uint32_t *inputs
    cdef size_t input_count
    cdef size_t input_room
    cdef uint8_t *codes
    cdef size_t code_count
    cdef size_t code_room
    cdef list slots

    def __cinit__(self):
        self.calls, self.numbers, self.keys, self.nodes = CallIndex(), {}, [], []

    def __dealloc__(self):
        free(self.rows)
        free(self.inputs)
        free(self.codes)

    def __len__(self):
        return len(self.keys)

    # reading

    cdef uint32_t number_of(self, key) except? NO_NUMBER:
        """The number of this key; a new one if it has none yet."""
        cdef PyObject *known
        cdef uint32_t number
        if self.graph is not None:
            known = PyDict_GetItemWithError(self.graph, key)
            if known != NULL and is_call(<object>known):
                return self.number_of_call(key, known)
        known = PyDict_GetItemWithError(self.numbers, key)
        if known != NULL:
            return <uint32_t><object>known
        number = self.add_node(key, None)
        self.numbers[key] = number
        return number

    cdef uint32_t number_of_call(self, key, PyObject *call) except? NO_NUMBER:
        """The same where the graph is known to have this call for the key."""
        cdef Py_hash_t hash = PyObject_Hash(key)
        cdef uint32_t number = self.calls.find(call, hash, key, self.keys)
        if number == NO_NUMBER:
            number = self.add_node(key, <object>call)
            self.calls.add(call, hash, key, number)
        return number

    cdef uint32_t add_node(self, key, raw) except? NO_NUMBER:
        cdef uint32_t number = <uint32_t>len(self.keys)
        cdef GraphNode *rows
        if number == self.room:
            rows = <GraphNode *>realloc(self.rows, (2 * self.room + 64) * sizeof(GraphNode))
            if rows == NULL:
                raise MemoryError("no memory for another node")
            self.rows, self.room = rows, 2 * self.room + 64
        memset(&self.rows[number], 0, sizeof(GraphNode))
        self.rows[number].height = HEIGHT_UNSEEN
        self.keys.append(key)
        self.nodes.append(raw)
        return number

    cdef int note_input(self, uint32_t input) except -1:
        cdef uint32_t *inputs
        if self.input_count == self.input_room:
            inputs = <uint32_t *>realloc(self.inputs, (2 * self.input_room + 64) * sizeof(uint32_t))
            if inputs == NULL:
                raise MemoryError("no memory for another input")
            self.inputs, self.input_room = inputs, 2 * self.input_room + 64
        self.inputs[self.input_count] = input
        self.input_count += 1
        self.rows[input].uses += 1
        return 0

    cdef uint8_t *new_codes(self, size_t count) except? NULL:
        """Room for the codes of so many arguments, at `code_count`."""
        cdef uint8_t *codes
        if self.code_count + count > self.code_room:
            codes = <uint8_t *>realloc(self.codes, 2 * self.code_room + count + 64)
            if codes == NULL:
                raise MemoryError("no memory for another call")
            self.codes, self.code_room = codes, 2 * self.code_room + count + 64
        return self.codes + self.code_count

    def read(self, targets, read, dict plain, list slots, size_t most=0):
        """Read these keys and all they need: `read(key)` gives a Call or Data. The numbers of the targets; None if they need
        more than `most` nodes, if that is not 0: then the table is not whole.

        `plain` is the graph if plain calls may be read without the reader, else None; `slots` are its first InputSlots.
        """
        cdef list todo
        cdef list wanted = []
        cdef uint32_t number
        cdef Py_ssize_t known
        if len(slots) < PLAIN_ARGUMENTS:
            raise ValueError(f"{len(slots)} slots are too few")
        self.graph, self.slots = plain, slots
        for key in targets:
            number = self.number_of(key)
            self.rows[number].about |= NODE_IS_TARGET
            wanted.append(number)
        # From the last found on: what lies beside each other in memory is mostly found and read together.
        todo = list(reversed(range(len(self.keys))))
        while todo:
            if most and <size_t>len(self.keys) > most:
                return None
            number = <uint32_t>todo.pop()
            known = len(self.keys)
            raw = self.nodes[number]
            if raw is None or not self.read_plain(number, <tuple>raw):
                self.read_any(number, read(self.keys[number]))
            while known < len(self.keys):
                todo.append(known)
                known += 1
        return wanted

    cdef int read_any(self, uint32_t number, node) except -1:
        cdef Call call
        cdef size_t first = self.input_count
        self.nodes[number] = node
        self.rows[number].first = <uint32_t>first
        if type(node) is not Call:
            return 0
        call = node
        for key in call.inputs:
            self.note_input(self.number_of(key))
        self.rows[number].count = <uint32_t>(self.input_count - first)
        self.rows[number].about |= NODE_CALLS | (NODE_IS_FLAT if call.is_flat else 0)
        return 0

    cdef bint read_plain(self, uint32_t number, tuple task) except -1:
        """Read a call of which each argument is another call's key, or a number that is none. False if it is anything else."""
        cdef Py_ssize_t n = PyTuple_GET_SIZE(task) - 1
        cdef Py_ssize_t i
        cdef PyObject *found
        cdef PyObject *found_at[PLAIN_ARGUMENTS]
        cdef uint32_t mine[PLAIN_ARGUMENTS]
        cdef uint32_t count = 0
        cdef uint32_t k, input
        cdef uint8_t *codes
        if n > PLAIN_ARGUMENTS:
            return False
        for i in range(n):
            value = <object>PyTuple_GET_ITEM(task, i + 1)
            kind = type(value)
            if kind is not str and kind is not int and kind is not float and kind is not bytes:
                return False
            found = PyDict_GetItemWithError(self.graph, value)
            if found == NULL:
                if kind is str:
                    return False
            elif not is_call(<object>found):
                return False
            else:
                self.calls.fetch(PyObject_Hash(value))
                fetch_items(<tuple>found)             # it is read soon, most likely next
            found_at[i] = found
        codes = self.new_codes(n)
        self.rows[number].first = <uint32_t>self.input_count
        self.rows[number].codes = self.code_count
        for i in range(n):
            if found_at[i] == NULL:
                codes[i] = CODE_LITERAL
                continue
            input = self.number_of_call(<object>PyTuple_GET_ITEM(task, i + 1), found_at[i])
            k = 0
            while k < count and mine[k] != input:
                k += 1
            if k == count:
                mine[count] = input
                count += 1
                self.note_input(input)
            codes[i] = <uint8_t>k
        self.code_count += n
        self.rows[number].count = count
        self.rows[number].about |= NODE_CALLS | NODE_IS_FLAT | NODE_IS_PLAIN
        return True

    def node(self, uint32_t number):
        """Its Call or Data."""
        cdef tuple task
        cdef uint8_t *codes
        cdef Py_ssize_t i, n
        cdef Call call
        if not self.rows[number].about & NODE_IS_PLAIN:
            return self.nodes[number]
        task = self.nodes[number]
        codes = self.codes + self.rows[number].codes
        n = PyTuple_GET_SIZE(task) - 1
        args = PyTuple_New(n)
        for i in range(n):
            value = <object>PyTuple_GET_ITEM(task, i + 1) if codes[i] == CODE_LITERAL else self.slots[codes[i]]
            Py_INCREF(value)
            PyTuple_SET_ITEM(args, i, value)
        call = Call.__new__(Call)
        call.function, call.args, call.is_flat = <object>PyTuple_GET_ITEM(task, 0), args, True
        return call

    def order(self, targets):
        """The numbers of all that is to be sent, inputs first; a list of keys instead if these need each other in a cycle."""
        return order_nodes(self, targets)

    def height_of(self, uint32_t number):
        """The longest way below a node, once they are ordered."""
        return self.rows[number].height

    def begin_again(self, targets, data_of):
        """Of a graph of which a part has run: from here on it is what these targets need. `data_of(number)` gives what a
        node has come to, as Data, or None for one that has not run."""
        cdef list todo = list(targets)
        cdef GraphNode *node
        cdef uint32_t number, input, k
        for number in range(<uint32_t>len(self.keys)):
            node = &self.rows[number]
            node.uses, node.height = 0, HEIGHT_UNSEEN
            node.about &= ~<uint32_t>(NODE_BEGUN | NODE_FOLLOWED | NODE_IS_TARGET)
        for number in todo:
            self.rows[number].about |= NODE_IS_TARGET | NODE_BEGUN
        while todo:
            number = <uint32_t>todo.pop()
            node = &self.rows[number]
            data = data_of(number)
            if data is not None:
                self.nodes[number] = data
                node.count, node.about = 0, node.about & (NODE_BEGUN | NODE_IS_TARGET)
            for k in range(node.count):
                input = self.inputs[node.first + k]
                self.rows[input].uses += 1
                if not self.rows[input].about & NODE_BEGUN:
                    self.rows[input].about |= NODE_BEGUN
                    todo.append(input)
        for number in range(<uint32_t>len(self.keys)):
            self.rows[number].about &= ~<uint32_t>NODE_BEGUN

    # sending

    def note_followed(self):
        """Find the nodes after which another one can go on in the same task: nobody else needs their result."""
        cdef GraphNode *node
        cdef GraphNode *input
        cdef size_t number
        for number in range(len(self.keys)):
            node = &self.rows[number]
            if node.count == 1 and node.about & NODE_IS_FLAT:
                input = &self.rows[self.inputs[node.first]]
                if input.uses == 1 and input.about & NODE_CALLS and not input.about & NODE_IS_TARGET:
                    input.about |= NODE_FOLLOWED

    def is_followed(self, uint32_t number):
        """Whether another node goes on from this one in the same task."""
        return self.rows[number].about & NODE_FOLLOWED != 0

    def is_call(self, uint32_t number):
        """Whether it calls something; else it is data."""
        return self.rows[number].about & NODE_CALLS != 0

    def is_target(self, uint32_t number):
        """Whether it was asked for."""
        return self.rows[number].about & NODE_IS_TARGET != 0

    def uses_of(self, uint32_t number):
        """How many others need it."""
        return self.rows[number].uses

    def inputs_of(self, uint32_t number):
        """The numbers of its inputs."""
        cdef GraphNode *node = &self.rows[number]
        return [self.inputs[node.first + k] for k in range(node.count)]

    def pick_inputs(self, uint32_t number, list items not None):
        """Of a list with an item for each node, those of its inputs."""
        cdef GraphNode *node = &self.rows[number]
        return [items[self.inputs[node.first + k]] for k in range(node.count)]


cdef inline void fetch_items(tuple task) noexcept:
    """What this call names is looked at soon."""
    cdef Py_ssize_t i
    for i in range(1, min(PyTuple_GET_SIZE(task), 4)):
        prefetch(PyTuple_GET_ITEM(task, i))


cdef inline bint is_call(value):
    """Whether this value of a plain graph is a call."""
    return type(value) is tuple and PyTuple_GET_SIZE(<tuple>value) > 0 and callable((<tuple>value)[0])
