# GraphTable: the nodes of one graph that are needed, by number, and the order in which they are sent.
#
# Keys may be anything that can be hashed, and a look for one in a dict of millions costs several cache misses. So each
# key is looked for once, gets a number, and from then on there are arrays. What a node calls is read by the Python
# reader (scaler/client/graph/read.py), but for the plainest and most common form, which is read here to the same end.
#
# Rule 1: no recursion: a graph may be a chain of a million nodes.
# Rule 2: what `read_plain` does not know for sure is left to the reader, errors above all.
# Not here: what order is good and why (scaler/client/graph/order.py), sending (scaler/client/graph/run.py).

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


cdef struct Visit:
    uint32_t node
    uint32_t place


@cython.final
cdef class GraphTable:
    """Nodes by number, in the order in which they were found."""
    cdef dict graph              # if its plain calls are read here
    cdef CallIndex calls         # of the graph
    cdef dict numbers            # of all other nodes, by key
    cdef readonly list keys
    cdef list nodes              # Call or Data; the tuple of a plain call
    cdef GraphNode *table
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
        free(self.table)
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
        cdef GraphNode *table
        if number == self.room:
            table = <GraphNode *>realloc(self.table, (2 * self.room + 64) * sizeof(GraphNode))
            if table == NULL:
                raise MemoryError("no memory for another node")
            self.table, self.room = table, 2 * self.room + 64
        memset(&self.table[number], 0, sizeof(GraphNode))
        self.table[number].height = HEIGHT_UNSEEN
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
        self.table[input].uses += 1
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

    def read(self, targets, read, dict plain, list slots):
        """Read these keys and all they need: `read(key)` gives a Call or Data. The numbers of the targets.

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
            self.table[number].about |= NODE_IS_TARGET
            wanted.append(number)
        # From the last found on: what lies beside each other in memory is mostly found and read together.
        todo = list(reversed(range(len(self.keys))))
        while todo:
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
        self.table[number].first = <uint32_t>first
        if type(node) is not Call:
            return 0
        call = node
        for key in call.inputs:
            self.note_input(self.number_of(key))
        self.table[number].count = <uint32_t>(self.input_count - first)
        self.table[number].about |= NODE_CALLS | (NODE_IS_FLAT if call.is_flat else 0)
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
        self.table[number].first = <uint32_t>self.input_count
        self.table[number].codes = self.code_count
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
        self.table[number].count = count
        self.table[number].about |= NODE_CALLS | NODE_IS_FLAT | NODE_IS_PLAIN
        return True

    def node(self, uint32_t number):
        """Its Call or Data."""
        cdef tuple task
        cdef uint8_t *codes
        cdef Py_ssize_t i, n
        cdef Call call
        if not self.table[number].about & NODE_IS_PLAIN:
            return self.nodes[number]
        task = self.nodes[number]
        codes = self.codes + self.table[number].codes
        n = PyTuple_GET_SIZE(task) - 1
        args = PyTuple_New(n)
        for i in range(n):
            value = <object>PyTuple_GET_ITEM(task, i + 1) if codes[i] == CODE_LITERAL else self.slots[codes[i]]
            Py_INCREF(value)
            PyTuple_SET_ITEM(args, i, value)
        call = Call.__new__(Call)
        call.function, call.args, call.is_flat = <object>PyTuple_GET_ITEM(task, 0), args, True
        return call

    # order

    def order(self, targets):
        """The numbers of all that is to be sent, inputs first; a list of keys instead if these need each other in a cycle."""
        cdef size_t n = len(self.keys)
        cdef Visit *stack = <Visit *>malloc((n + 1) * sizeof(Visit))
        cdef uint32_t *inputs = self.inputs
        cdef uint32_t *out
        cdef size_t made = 0
        cdef bint is_uneven = False
        cdef bytearray order = bytearray(4 * n)
        cdef size_t depth
        if stack == NULL:
            raise MemoryError("no memory to order a graph")
        out = <uint32_t *>PyByteArray_AS_STRING(order)
        try:
            for target in targets:
                depth = self.visit(target, stack, out, &made, &is_uneven)
                if depth:
                    return [self.keys[stack[i].node] for i in range(depth)]
            if is_uneven:
                inputs = self.longest_first()
                made = 0
                for target in targets:
                    self.emit(target, stack, inputs, out, &made)
        finally:
            free(stack)
            if inputs != self.inputs:
                free(inputs)
        return memoryview(order)[:4 * made].cast("I")

    cdef size_t visit(self, uint32_t target, Visit *stack, uint32_t *out, size_t *made, bint *is_uneven) noexcept nogil:
        """Find the heights of what the target needs, depth first. Else how many of the stack are a cycle, and which."""
        cdef GraphNode *node
        cdef uint32_t input, lowest, highest, k
        cdef size_t depth = 0
        if self.table[target].height != HEIGHT_UNSEEN:
            return 0
        stack[0].node, stack[0].place = target, 0
        self.table[target].height = HEIGHT_UNDER_WAY
        depth = 1
        while depth:
            node = &self.table[stack[depth - 1].node]
            if stack[depth - 1].place < node.count:
                input = self.inputs[node.first + stack[depth - 1].place]
                stack[depth - 1].place += 1
                if self.table[input].height == HEIGHT_UNSEEN:
                    self.table[input].height = HEIGHT_UNDER_WAY
                    stack[depth].node, stack[depth].place = input, 0
                    depth += 1
                elif self.table[input].height == HEIGHT_UNDER_WAY:
                    return self.cut_to_cycle(stack, depth, input)
                continue
            lowest, highest = 0xFFFFFFFF, 0
            for k in range(node.count):
                lowest = min(lowest, self.table[self.inputs[node.first + k]].height)
                highest = max(highest, self.table[self.inputs[node.first + k]].height)
            node.height = highest + 1 if node.count else 0
            if node.count and lowest != highest:
                is_uneven[0] = True
            depth -= 1
            self.put_out(stack[depth].node, out, made)
        return 0

    cdef size_t cut_to_cycle(self, Visit *stack, size_t depth, uint32_t input) noexcept nogil:
        """Move the part of the stack that begins with this input to its front, and close the cycle. Its length."""
        cdef size_t at = 0
        while stack[at].node != input:
            at += 1
        memmove(stack, stack + at, (depth - at) * sizeof(Visit))
        stack[depth - at].node = input
        return depth - at + 1

    cdef inline void put_out(self, uint32_t number, uint32_t *out, size_t *made) noexcept nogil:
        """Data that nobody needs is not sent."""
        if self.table[number].about & NODE_CALLS or self.table[number].uses:
            out[made[0]] = number
            made[0] += 1

    cdef uint32_t *longest_first(self) except NULL:
        """The inputs of each node once more, the one with the longest way below it first."""
        cdef uint32_t *inputs = <uint32_t *>malloc((self.input_count + 1) * sizeof(uint32_t))
        cdef uint32_t *mine
        cdef GraphNode *node
        cdef size_t number
        cdef uint32_t i, k, input, height
        if inputs == NULL:
            raise MemoryError("no memory to order a graph")
        memcpy(inputs, self.inputs, self.input_count * sizeof(uint32_t))
        for number in range(len(self.keys)):
            node = &self.table[number]
            mine = inputs + node.first
            if node.count > 2 * PLAIN_ARGUMENTS:
                ordered = sorted([mine[i] for i in range(node.count)], key=self.height_of, reverse=True)
                for i in range(node.count):
                    mine[i] = ordered[i]
                continue
            for i in range(1, node.count):
                input = mine[i]
                height = self.table[input].height
                k = i
                while k and self.table[mine[k - 1]].height < height:
                    mine[k] = mine[k - 1]
                    k -= 1
                mine[k] = input
        return inputs

    def height_of(self, uint32_t number):
        """The longest way below a node, once they are ordered."""
        return self.table[number].height

    cdef void emit(self, uint32_t target, Visit *stack, const uint32_t *inputs, uint32_t *out, size_t *made) noexcept nogil:
        """What the target needs and was not put out before, depth first."""
        cdef GraphNode *node
        cdef uint32_t input
        cdef size_t depth = 1
        if self.table[target].about & NODE_BEGUN:
            return
        stack[0].node, stack[0].place = target, 0
        self.table[target].about |= NODE_BEGUN
        while depth:
            node = &self.table[stack[depth - 1].node]
            if stack[depth - 1].place < node.count:
                input = inputs[node.first + stack[depth - 1].place]
                stack[depth - 1].place += 1
                if not self.table[input].about & NODE_BEGUN:
                    self.table[input].about |= NODE_BEGUN
                    stack[depth].node, stack[depth].place = input, 0
                    depth += 1
                continue
            depth -= 1
            self.put_out(stack[depth].node, out, made)

    # sending

    def note_followed(self):
        """Find the nodes after which another one can go on in the same task: nobody else needs their result."""
        cdef GraphNode *node
        cdef GraphNode *input
        cdef size_t number
        for number in range(len(self.keys)):
            node = &self.table[number]
            if node.count == 1 and node.about & NODE_IS_FLAT:
                input = &self.table[self.inputs[node.first]]
                if input.uses == 1 and input.about & NODE_CALLS and not input.about & NODE_IS_TARGET:
                    input.about |= NODE_FOLLOWED

    def is_followed(self, uint32_t number):
        """Whether another node goes on from this one in the same task."""
        return self.table[number].about & NODE_FOLLOWED != 0

    def is_target(self, uint32_t number):
        """Whether it was asked for."""
        return self.table[number].about & NODE_IS_TARGET != 0

    def uses_of(self, uint32_t number):
        """How many others need it."""
        return self.table[number].uses

    def inputs_of(self, uint32_t number):
        """The numbers of its inputs."""
        cdef GraphNode *node = &self.table[number]
        return [self.inputs[node.first + k] for k in range(node.count)]

    def pick_inputs(self, uint32_t number, list items not None):
        """Of a list with an item for each node, those of its inputs."""
        cdef GraphNode *node = &self.table[number]
        return [items[self.inputs[node.first + k]] for k in range(node.count)]


cdef inline void fetch_items(tuple task) noexcept:
    """What this call names is looked at soon."""
    cdef Py_ssize_t i
    for i in range(1, min(PyTuple_GET_SIZE(task), 4)):
        prefetch(PyTuple_GET_ITEM(task, i))


cdef inline bint is_call(value):
    """Whether this value of a plain graph is a call."""
    return type(value) is tuple and PyTuple_GET_SIZE(<tuple>value) > 0 and callable((<tuple>value)[0])
