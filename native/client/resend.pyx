# Resend: what a client keeps so that it can say everything anew to another scheduler.
#
# When its scheduler is gone a client looks for another (scaler.client.reconnect) and hands in new rings
# (ClientRings.attach). Then it announces its functions under their old numbers, and sends each task that has no answer,
# in order, marked FLAG_RESENT: a worker may still run it, or hold its result. Objects are the client's own, and stay
# where they are: the first record that names one to this scheduler says that it is new.
#
# A graph's inner results went with the scheduler. What they are made of is kept (sent_graph), and sent again as far as
# open targets need it.
#
# Rule 1: numbers and ids go out in rising order: the scheduler keeps them in pages of a table (directory).
# Rule 2: a function that was forgotten is kept as long as a task that names it is open.
# Not here: finding a scheduler (scaler.client.reconnect).

import operator as _operator

cdef enum:
    LEAST_FORGOTTEN = 1000     # of forgotten ones; with more, those that no open task names are dropped


@cython.final
cdef class CallerFunctions:
    """What a client has announced, by its numbers."""
    cdef dict known            # number -> (digest, payload, flags)
    cdef set forgotten         # of these, what the scheduler was told to forget
    cdef size_t most_forgotten
    cdef bint any_requests     # some were announced with what their calls ask for

    def __cinit__(self):
        self.known, self.forgotten, self.most_forgotten = {}, set(), LEAST_FORGOTTEN

    cdef int note(self, uint32_t number, bytes digest, bytes payload, int flags) except -1:
        self.known[number] = digest, payload, flags
        if flags & FLAG_REQUEST:
            self.any_requests = True
        return 0

    cdef bytes request_of(self, uint32_t number):
        """What calls of this number ask for; None if that is nothing."""
        return cut_request(self.known[number][1])[1] if self.any_requests and self.known[number][2] & FLAG_REQUEST else None

    cdef int forget(self, uint32_t number, OpenFutures open, list graphs) except -1:
        """No task to come names it; those that are open may, and those of graphs that are being sent."""
        if number in self.known:
            self.forgotten.add(number)
        if <size_t>len(self.forgotten) > self.most_forgotten:
            self.drop_unused(open, graphs)
        return 0

    cdef int drop_unused(self, OpenFutures open, list graphs) except -1:
        cdef PendingFuture future
        cdef SentGraph graph
        cdef set used
        if not self.forgotten:
            return 0
        used = {future.function for future in open.all()}
        for graph in open.graphs().union(graphs):
            used |= graph.functions()
        for number in self.forgotten - used:
            del self.known[number]
        self.forgotten &= used
        self.most_forgotten = 2 * len(self.forgotten) + LEAST_FORGOTTEN
        return 0

    cdef list needed(self, OpenFutures open, list graphs):
        """The numbers that another scheduler must hear of, in their order."""
        self.drop_unused(open, graphs)
        return sorted(self.known)


# saying it

cdef bint say_all_again(ClientRings rings) except -1:
    """All that is open. False if the scheduler has gone meanwhile."""
    for number in rings.functions.needed(rings.open, rings.graphs_begun):
        if not announce_again(rings, number):
            return False
    for _, what, place in what_is_open(rings.open, rings.graphs_begun):
        if place is None:
            if not send_future_again(rings, what):
                return False
        elif not send_node_again(rings, what, place):
            return False
    for number in list(rings.functions.forgotten):
        while not rings.connection.channel.put(KIND_FORGET, 0, number, 0, 0, 0, None, b""):
            if not has_room_soon(rings, rings.connection.channel.tasks):
                return False
    if not rings.cancels.say_again(rings):
        return False
    rings.known.free_unknown()
    return is_resending(rings)


cdef inline bint is_resending(ClientRings rings) noexcept:
    return rings.connection.state == RESENDING and rings.connection.lost is None


cdef bint has_room_soon(ClientRings rings, Ring ring) except -1:
    """Wait for room in a ring. False if the scheduler has gone."""
    rings.connection.channel.tell()
    if not is_resending(rings):
        return False
    rings.let_get_on(rings.connection.channel, ring)
    return is_resending(rings)


cdef list what_is_open(OpenFutures open, list graphs_begun):
    """(task, future, None) and (task, graph, place) of all that is to be sent, by tasks."""
    cdef PendingFuture future
    cdef SentGraph graph
    cdef list found = []
    cdef set of_graphs = set()
    for future in open.all():
        future.dependants = None                      # they are noted again as they are sent
    for graph in open.graphs().union(graphs_begun):
        for place in graph.find_needed(open):
            found.append((graph.nodes[<size_t>place].task, graph, place))
            if graph.nodes[<size_t>place].is_target:
                of_graphs.add(graph.nodes[<size_t>place].task)
    found += [(future.task_id, future, None) for future in open.all() if future.task_id not in of_graphs]
    found.sort(key=_operator.itemgetter(0))
    return found


cdef bint announce_again(ClientRings rings, number) except -1:
    cdef bytes payload
    while True:
        digest, payload, flags = rings.functions.known[number]
        payload = rings.known.named(payload, flags)
        if rings.connection.channel.say(KIND_FUNCTION, 0, digest + payload, number, flags):
            rings.known.note(payload, flags)
            return True
        if not has_room_soon(rings, rings.connection.channel.up):
            return False


cdef bint send_future_again(ClientRings rings, PendingFuture future) except -1:
    """Send the task of this future again, unless it is over. False if the scheduler has gone."""
    cdef bytes payload = None
    while future.state == FUTURE_PENDING and payload is None:
        payload = write_again(rings, future.task_id, future.function, future.flags, future.items, future.options, future.payload)
        if payload is not None:
            future.payload = payload
            if future.inputs is not None:             # it does not know those that are done
                rings.late.note_dependant(future, future.inputs)
        elif not has_room_soon(rings, rings.connection.channel.tasks):
            return False
    return True


cdef bint send_node_again(ClientRings rings, SentGraph graph, size_t place) except -1:
    """Send this node again, whatever has become of its future meanwhile. False if the scheduler has gone."""
    cdef SentNode *node = &graph.nodes[place]
    cdef PendingFuture future = rings.open.find(node.task & NUMBER_MASK) if node.is_target else None
    cdef list inputs = []
    cdef bytes payload = graph.payload_again(place, future is None, inputs)
    while True:
        sent = write_again(rings, node.task, node.function, node.flags, 0, graph.options, payload)
        if sent is not None:
            break
        if not has_room_soon(rings, rings.connection.channel.tasks):
            return False
    inputs += graph.named.get(place, ())
    if inputs:
        rings.late.note_dependant(future, inputs)
    return True


cdef bytes write_again(ClientRings rings, uint64_t task, uint32_t function, int flags, uint32_t items, TaskOptions options,
                       bytes payload):
    """Write a task's record. The payload as it stands in the ring, which this scheduler can read; None if there is no room."""
    payload = rings.known.named(payload, flags)
    if not rings.connection.channel.put(KIND_TASK, flags | FLAG_RESENT, function, task, items, 0, options, payload):
        return None
    rings.known.note(payload, flags)
    return payload
