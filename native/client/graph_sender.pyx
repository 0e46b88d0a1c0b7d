# GraphSender: how the nodes of one graph are sent, as tasks that name each other.
#
# What the client was asked for are targets, which have futures. All other nodes are inner ones: their results are for
# other tasks only, and no one here hears of them. Each node is noted as it is sent (sent_graph), for another scheduler.
#
# Not here: what a node is, and in what order they are sent (scaler/client/graph).


@cython.final
cdef class GraphSender:
    cdef TaskSender sender
    cdef ClientRings rings
    cdef SentGraph graph

    def __init__(self, TaskSender sender not None, SentGraph graph not None):
        self.sender, self.rings, self.graph = sender, sender.rings, graph
        self.rings.graphs_begun.append(graph)

    def end(self):
        """No more nodes will come."""
        self.graph.is_whole = True
        self.rings.graphs_begun.remove(self.graph)

    def submit_node(self, uint32_t function, tuple args not None, list ids not None, uint32_t promised, bint inner, dumps):
        """Send a node: `ids` are its inputs, InputSlots in `args` name them, and `promised` tasks will name it.

        Its future; or its id, if it is `inner`. `dumps(args, most bytes, ids, promised, inner)` packs what is not plain.
        """
        cdef char small[256]
        cdef uint32_t size
        cdef object payload
        cdef int flags = FLAG_INPUTS if ids or promised or inner else 0
        self.rings.connection.check()
        self.graph.make_place()
        size = write_template(small, args)
        if size:
            payload = PyBytes_FromStringAndSize(small, size)
            if flags:
                payload = pack_inputs(ids, <uint32_t>len(ids), promised, inner) + payload
            return self.send(function, payload, flags, inner, None)
        payload = dumps(args, self.rings.connection.channel.tasks.largest_payload(), ids, promised, inner)
        if type(payload) is bytes:
            return self.send(function, payload, flags, inner, None)
        try:
            return self.send(function, payload.payload, flags | payload.flags, inner, payload)
        finally:
            payload.end()

    cdef object send(self, uint32_t function, bytes payload, int flags, bint inner, packed):
        cdef PendingFuture future
        if inner:
            return self.send_inner(function, payload, flags, packed)
        future = self.sender.send(function, payload, flags, 0, None, packed, self.graph.options)
        self.graph.note(future.task_id, function, flags | self.sender.more_flags, payload, packed, future)
        if future.state == FUTURE_PENDING:
            future.graph = self.graph
        return future

    cdef object send_inner(self, uint32_t function, bytes payload, int flags, packed):
        """Send a task whose result is for other tasks only. Its id."""
        cdef Connection connection = self.rings.connection
        cdef OpenFutures open = self.rings.open
        cdef uint64_t task
        flags |= self.sender.more_flags
        if self.rings.mappings.given_back.length:
            self.rings.upkeep.say_given_back(self.rings)
        while True:
            if connection.state != CONNECTED:
                self.rings.wait_connected()
                continue
            payload = self.rings.known.named(payload, flags)
            task = self.rings.bits | open.next_number
            if connection.channel.put(KIND_TASK, flags, function, task, 0, 0, self.graph.options, payload):
                break
            self.rings.wait_for_room()
        open.next_number += 1
        self.graph.note(task, function, flags, payload, packed, None)
        if packed is not None:
            self.sender.note_written(packed, payload, None)
        self.sender.look_now_and_then()
        return task

    def give_up_node(self, uint64_t task):
        """No task will name this node any more, though it was said so. It ends if no other task needs it."""
        cdef Connection connection = self.rings.connection
        cdef bytes payload = pack_give_up()
        while connection.lost is None and connection.state == CONNECTED:
            if connection.channel.put(KIND_TASK, FLAG_INPUTS, 0, task, 0, 0, None, payload):
                return
            self.rings.wait_for_room()
