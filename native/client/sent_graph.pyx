# SentGraph: what a client keeps of a graph that it has sent, so that another scheduler can be sent it again.
#
# The results between the nodes are the scheduler's, and go with it. What they are made of is kept here: each node's
# record as it was sent. Every open target holds its graph, which goes with the last of them.
#
# Of a graph of which all has been sent, only what its open targets need is sent again. A target that is done is not
# run again: its client hands its result in, as it does for tasks that come too late (INPUTS_HANDED_IN). A graph that
# was being sent is sent again as far as it had come.
#
# Rule 1: a dependant that was promised to a node is sent, whatever becomes of the dependant's future meanwhile: the
#         scheduler keeps the node's result for it.
# Not here: writing the records, and when (resend).

cdef struct SentNode:
    uint64_t task
    uint32_t function
    uint32_t users           # of those that are sent again, how many name it
    uint8_t flags
    uint8_t is_target
    uint8_t is_handed_in     # its client has the result


@cython.final
cdef class SentGraph:
    """The nodes of one graph in the order in which they were sent."""
    cdef SentNode *nodes
    cdef size_t count
    cdef size_t room
    cdef list payloads
    cdef dict targets        # place -> future of a target that other nodes need
    cdef dict named          # place -> futures of other calls that the node names
    cdef TaskOptions options
    cdef bint is_whole       # all has been sent

    def __init__(self, TaskOptions options not None):
        self.options, self.payloads, self.targets, self.named = options, [], {}, {}

    def __dealloc__(self):
        free(self.nodes)

    cdef int make_place(self) except -1:
        """See to it that there is room for one more."""
        cdef SentNode *nodes
        if self.count == self.room:
            nodes = <SentNode *>realloc(self.nodes, (2 * self.room + 64) * sizeof(SentNode))
            if nodes == NULL:
                raise MemoryError("no memory for another node")
            self.nodes, self.room = nodes, 2 * self.room + 64
        return 0

    cdef int note(self, uint64_t task, uint32_t function, int flags, bytes payload, packed, PendingFuture target) except -1:
        """This node was sent, for which make_place has been called. `target` is its future, `packed` what else it names."""
        cdef SentNode *node = &self.nodes[self.count]
        cdef Inputs inputs
        node.task, node.function, node.flags, node.is_target = task, function, <uint8_t>flags, target is not None
        node.users, node.is_handed_in = 0, False
        if target is not None and flags & FLAG_INPUTS:
            if read_inputs(&inputs, PyBytes_AS_STRING(payload), len(payload), flags) and inputs.promised:
                self.targets[self.count] = target
        if packed is not None and packed.inputs:
            self.named[self.count] = packed.inputs
        self.payloads.append(payload)
        self.count += 1
        return 0

    cdef size_t find(self, uint64_t task) noexcept nogil:
        """The place of this task; `count` if it is none of these."""
        cdef size_t low = 0
        cdef size_t high = self.count
        cdef size_t middle
        while low < high:
            middle = (low + high) // 2
            if self.nodes[middle].task < task:
                low = middle + 1
            else:
                high = middle
        return low if low < self.count and self.nodes[low].task == task else self.count

    cdef set functions(self):
        """The numbers of all that are called."""
        cdef size_t i
        return {self.nodes[i].function for i in range(self.count)}

    cdef list find_needed(self, OpenFutures open):
        """The places of what is to be sent again, in order, given what is open now."""
        cdef SentNode *node
        cdef list places = []
        cdef size_t i
        for i in range(self.count):
            self.nodes[i].users = 0
        for i in range(self.count, 0, -1):            # inputs stand before those that need them
            node = &self.nodes[i - 1]
            node.is_handed_in = False
            if not node.is_target or open.find(node.task & NUMBER_MASK) is None:
                if self.is_whole and node.users == 0:
                    continue
                if node.is_target and not self.is_needed_target(i - 1):
                    continue
            self.note_users(i - 1)
            places.append(i - 1)
        places.reverse()
        return places

    cdef bint is_needed_target(self, size_t place) except -1:
        """Whether this target, which is not open any more, is to be run again for others."""
        cdef PendingFuture future = self.targets.get(place)
        if future is None or not self.is_whole:
            return future is not None
        self.nodes[place].is_handed_in = future.state != FUTURE_CANCELLED
        return future.state == FUTURE_CANCELLED

    cdef int note_users(self, size_t place) except -1:
        """This one is sent again, and names its inputs."""
        cdef bytes payload = self.payloads[place]
        cdef const char *data = PyBytes_AS_STRING(payload)
        cdef size_t offset = inputs_offset(data, self.nodes[place].flags)
        cdef size_t input
        cdef Inputs inputs
        cdef uint32_t k
        if self.nodes[place].flags & FLAG_INPUTS and read_inputs(&inputs, data, len(payload), self.nodes[place].flags):
            for k in range(inputs.expected):
                input = self.find(input_id(data, offset, k))
                if input < self.count:
                    self.nodes[input].users += 1
        return 0

    cdef bytes payload_again(self, size_t place, bint is_inner, list handed_in):
        """What it is sent with again. The futures of inputs that are to be handed in are added to a list."""
        cdef bytes payload = self.payloads[place]
        cdef int flags = self.nodes[place].flags
        cdef size_t offset = inputs_offset(PyBytes_AS_STRING(payload), flags)
        cdef Inputs *inputs
        cdef size_t input
        cdef uint32_t k
        if not flags & FLAG_INPUTS:
            return payload
        payload = PyBytes_FromStringAndSize(PyBytes_AS_STRING(payload), len(payload))
        inputs = <Inputs *>(PyBytes_AS_STRING(payload) + offset)
        inputs.about = INPUTS_INNER if is_inner else 0
        if self.is_whole:
            inputs.promised = self.nodes[place].users
        for k in range(inputs.expected):
            input = self.find(input_id(PyBytes_AS_STRING(payload), offset, k))
            if input < self.count and self.nodes[input].is_handed_in:
                inputs.about |= INPUTS_HANDED_IN
                handed_in.append(self.targets[input])
        return payload
