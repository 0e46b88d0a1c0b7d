# Edges: which tasks wait for the results of which others.
#
# A row that is a part of a graph, or whose result another waits for, has a Node; all others have none and cost nothing.
# An edge stands in the Node of the one that waits (the dependant) and hangs in the list of the one it waits for (the
# input). When the input ends, its result becomes a Blob that its edges share; a task whose last input has come gets a
# payload that has them all (native/process/inputs.pyx), and is from then on a task like any other: it may be withdrawn,
# run again after a worker's death, and sent to another host. So inputs are held exactly until the last that needs them
# is complete.
#
# Who comes later: a graph says of each task how many dependants are still to come (`promised`), and it is kept for them
# (ROW_KEPT). A single submit cannot know. If its input has ended already, the client, which then has its result or is
# about to read it, hands it in (a supply); until then the edge hangs in `absent`.
#
# What nobody but dependants wanted (inner) is cancelled when none of them is left.
#
# Rule 1: a row is ROW_WAITING if and only if inputs of it are open and none has failed.
# Rule 2: inputs have lower numbers than their dependants, so there are no cycles.
# Rule 3: nothing here recurses: who is concerned by an event is noted (`touch`), and worked off by the core.
# Not here: what is done about those who are touched (core).

cdef enum:
    ABSENT = 0xFFFFFFFF      # `input` of an edge that waits for a supply

cdef struct Blob:             # a result; its bytes follow
    uint32_t holders
    uint32_t size
    uint16_t status
    uint16_t flags
    uint32_t gap

cdef struct Edge:
    Edge *next               # in the list of the input; or the Blob, once `input` is 0
    Edge *previous
    uint32_t dependant       # row
    uint32_t input           # row

cdef struct Node:             # its edges follow
    Edge *dependants         # youngest first
    Blob *blob               # of one that is kept
    uint32_t promised        # dependants that are still to come
    uint32_t served          # that nobody had promised, and that have been given its result
    uint32_t open            # inputs that have not ended
    uint32_t count
    uint32_t expected        # of these, the first were promised to it
    uint32_t touched         # place in the list of those + 1
    uint8_t inner            # nobody but dependants wants its result
    uint8_t ended
    uint8_t failed           # an input has
    uint8_t lost             # an input had been cancelled


cdef inline Edge *edges_of(Node *node) noexcept nogil:
    return <Edge *>(<char *>node + sizeof(Node))


cdef inline char *bytes_of(Blob *blob) noexcept nogil:
    return <char *>blob + sizeof(Blob)


@cython.final
cdef class Edges:
    """The nodes of rows, and what is to be done about some of them."""
    cdef TaskTable table
    cdef ClientTable clients
    cdef ObjectTable objects
    cdef dict absent             # task -> its first edge, as a number
    cdef uint32_t *touched       # rows; 0 where one has gone meanwhile
    cdef uint32_t touched_count
    cdef uint32_t touched_room
    cdef bint settling
    cdef readonly uint64_t nodes
    cdef readonly uint64_t blobs
    cdef readonly uint64_t blob_bytes
    cdef uint64_t own_tag
    cdef public object store     # where what is too large for a record goes

    def __cinit__(self, TaskTable table, ClientTable clients, ObjectTable objects, uint64_t own_tag):
        self.table, self.clients, self.objects, self.own_tag = table, clients, objects, own_tag
        self.absent = {}

    def __dealloc__(self):
        free(self.touched)

    def __len__(self):
        """How many tasks have something to do with others."""
        return self.nodes

    # nodes

    cdef inline Node *node(self, uint32_t row_index) noexcept nogil:
        return <Node *>self.table.row(row_index).node

    cdef Node *make(self, uint32_t row_index, uint32_t count) noexcept nogil:
        cdef Node *node = <Node *>malloc(sizeof(Node) + <size_t>count * sizeof(Edge))
        if node != NULL:
            memset(node, 0, sizeof(Node))
            node.count = count
            self.nodes += 1
            self.table.row(row_index).node = node
        return node

    cdef void touch(self, uint32_t row_index) noexcept nogil:
        """Something is to be done about this row: its inputs are complete, one has failed, or nobody wants it."""
        cdef uint32_t *touched
        cdef Node *node = self.node(row_index)
        if node.touched:
            return
        if self.touched_count == self.touched_room:
            touched = <uint32_t *>realloc(self.touched, (2 * self.touched_room + 64) * sizeof(uint32_t))
            if touched == NULL:
                return
            self.touched = touched
            self.touched_room = 2 * self.touched_room + 64
        self.touched[self.touched_count] = row_index
        self.touched_count += 1
        node.touched = self.touched_count

    cdef void drop_node(self, uint32_t row_index) noexcept nogil:
        cdef Row *row = self.table.row(row_index)
        cdef Node *node = <Node *>row.node
        if node.touched:
            self.touched[node.touched - 1] = 0
        if node.blob != NULL:
            self.let_go(node.blob)
        free(node)
        row.node = NULL
        self.nodes -= 1

    # a task arrives

    cdef bint begin(self, uint32_t row_index) noexcept nogil:
        """Take up what its payload says of inputs and dependants. False if that makes no sense or there is no memory."""
        cdef Row *row = self.table.row(row_index)
        cdef char *payload = self.table.payload(row)
        cdef size_t offset
        cdef Inputs inputs
        cdef Node *node
        cdef Edge *edge
        cdef uint64_t task
        cdef uint32_t k
        if not read_inputs(&inputs, payload, row.payload_bytes, row.flags):
            return False
        offset = inputs_offset(payload, row.flags)
        for k in range(inputs.count):
            task = input_id(payload, offset, k)
            if not self.clients.is_own(row.client, task) or task >= row.task:
                return False
        node = self.make(row_index, inputs.count)
        if node == NULL:
            return False
        node.promised, node.expected = inputs.promised, inputs.expected
        node.inner = inputs.about & INPUTS_INNER
        memset(edges_of(node), 0, <size_t>inputs.count * sizeof(Edge))
        for k in range(inputs.count):
            edge = &edges_of(node)[k]
            edge.dependant = row_index
            self.attach(node, edge, self.clients.find_row(row.client, input_id(payload, offset, k)),
                        input_id(payload, offset, k), k < inputs.expected,
                        k >= inputs.expected or inputs.about & INPUTS_HANDED_IN)
        return True

    cdef void attach(self, Node *node, Edge *edge, uint32_t input_index, uint64_t task, bint expected,
                     bint may_come) noexcept nogil:
        """Let it wait for this input, or have it. One that is not there may be handed in, or is lost."""
        cdef Row *row = self.table.row(input_index) if input_index else NULL
        cdef Node *input
        if row != NULL and row.state == ROW_CANCELLED:
            row = NULL
        if row != NULL and row.state == ROW_ANSWERED and row.node == NULL:
            row = NULL                                   # its client is about to read it
        if row == NULL:
            if may_come:
                node.open += 1
                self.await_supply(edge, task)
            else:
                node.lost = True
            return
        input = <Node *>row.node
        if input == NULL:
            input = self.make(input_index, 0)
            if input == NULL:
                node.lost = True
                return
        if input.ended and input.blob == NULL:
            node.open += 1
            self.await_supply(edge, task)
            return
        if input.ended:
            self.give(node, edge, input.blob)
        else:
            node.open += 1
            edge.input = input_index
            edge.next = input.dependants
            if edge.next != NULL:
                edge.next.previous = edge
            input.dependants = edge
        if expected and input.promised:
            input.promised -= 1
            if input.promised == 0 and row.state == ROW_KEPT:
                self.touch(input_index)

    cdef inline void give(self, Node *node, Edge *edge, Blob *blob) noexcept nogil:
        """The dependant has this input from now on."""
        blob.holders += 1
        edge.input = 0
        edge.previous = NULL
        edge.next = <Edge *>blob
        if blob.status != STATUS_OK:
            node.failed = True

    # a task ends

    cdef void on_end(self, uint32_t row_index, Record *result) noexcept nogil:
        """It has ended with this result: dependants get it, and it is kept for those that were promised."""
        cdef Node *node = self.node(row_index)
        cdef Blob *blob = NULL
        self.detach_all(row_index)
        node.ended = True
        if node.dependants == NULL and node.promised == 0:
            return
        blob = self.make_blob(payload_of(result), payload_bytes_of(result), result.status, result.flags)
        if blob == NULL:
            node.ended = False
            self.lose_dependants(node)
            node.ended = True
            node.promised = 0
            return
        self.serve(node, blob)
        if node.promised:
            node.blob = blob
        else:
            self.let_go(blob)

    cdef void serve(self, Node *node, Blob *blob) noexcept nogil:
        node.served += self.serve_list(node.dependants, blob)
        node.dependants = NULL

    cdef uint32_t serve_list(self, Edge *edge, Blob *blob) noexcept nogil:
        """All that wait in this list have this input now. How many of them nobody had promised."""
        cdef Edge *next
        cdef Node *dependant
        cdef uint32_t count = 0
        while edge != NULL:
            next = edge.next
            dependant = self.node(edge.dependant)
            self.give(dependant, edge, blob)
            dependant.open -= 1
            if dependant.open == 0 or blob.status != STATUS_OK:
                self.touch(edge.dependant)
            count += edge - edges_of(dependant) >= <int64_t>dependant.expected
            edge = next
        return count

    cdef void lose_dependants(self, Node *node) noexcept nogil:
        """It will never have a result: neither will they."""
        self.lose_list(node.dependants)
        node.dependants = NULL

    cdef void lose_list(self, Edge *edge) noexcept nogil:
        cdef Edge *next
        cdef Node *dependant
        while edge != NULL:
            next = edge.next
            dependant = self.node(edge.dependant)
            edge.input = 0
            edge.next = edge.previous = NULL
            dependant.open -= 1
            dependant.lost = True
            self.touch(edge.dependant)
            edge = next

    cdef void detach_all(self, uint32_t row_index) noexcept nogil:
        """It waits for nothing any more, and needs none of its inputs."""
        cdef Row *row = self.table.row(row_index)
        cdef Node *node = <Node *>row.node
        cdef Edge *edge
        cdef uint32_t k
        for k in range(node.count):
            edge = &edges_of(node)[k]
            if edge.input == 0:
                if edge.next != NULL:
                    self.let_go(<Blob *>edge.next)
            elif edge.input == ABSENT:
                self.leave_absent(edge, input_id(self.table.payload(row), inputs_offset(self.table.payload(row), row.flags), k))
            else:
                self.detach(edge)
            edge.next = edge.previous = NULL
            edge.input = 0
        node.count = node.open = 0

    cdef void detach(self, Edge *edge) noexcept nogil:
        cdef Node *input = self.node(edge.input)
        if edge.previous != NULL:
            edge.previous.next = edge.next
        else:
            input.dependants = edge.next
        if edge.next != NULL:
            edge.next.previous = edge.previous
        if self.is_unwanted(input):
            self.touch(edge.input)

    cdef inline bint is_unwanted(self, Node *node) noexcept nogil:
        return node.inner and node.dependants == NULL and node.promised == 0

    cdef bint may_end(self, uint32_t row_index) noexcept nogil:
        """The row is about to be forgotten. False if it is kept instead, for dependants that are still to come."""
        cdef Node *node = self.node(row_index)
        if node.ended and node.promised:
            node.inner = True
            return False
        if not node.ended:
            self.detach_all(row_index)
            self.lose_dependants(node)
        self.drop_node(row_index)
        return True

    # results that are shared

    cdef Blob *make_blob(self, const char *payload, uint32_t size, int status, int flags) noexcept nogil:
        """Held once, by the caller."""
        cdef Blob *blob = <Blob *>malloc(sizeof(Blob) + size)
        cdef int64_t i
        if blob == NULL:
            return NULL
        blob.holders = 1
        blob.size = size
        blob.status = <uint16_t>status
        blob.flags = <uint16_t>flags
        memcpy(bytes_of(blob), payload, size)
        self.blobs += 1
        self.blob_bytes += size
        if flags & FLAG_OBJECTS:
            with gil:
                for i in range(places_in(bytes_of(blob), size)):
                    self.objects.hold(place_at(bytes_of(blob), i).object)
        return blob

    cdef void let_go(self, Blob *blob) noexcept nogil:
        blob.holders -= 1
        if blob.holders:
            return
        if blob.flags & FLAG_OBJECTS:
            with gil:
                self.objects.drop(bytes_of(blob), blob.size)
        self.blobs -= 1
        self.blob_bytes -= blob.size
        free(blob)

    cdef Blob *failure_of(self, Node *node) noexcept nogil:
        """What the first input that failed ended with; NULL if none has."""
        cdef Edge *edge
        cdef uint32_t k
        for k in range(node.count):
            edge = &edges_of(node)[k]
            if edge.input == 0 and edge.next != NULL and (<Blob *>edge.next).status != STATUS_OK:
                return <Blob *>edge.next
        return NULL

    # results that the client hands in

    cdef void await_supply(self, Edge *edge, uint64_t task) noexcept nogil:
        cdef Edge *first
        edge.input = ABSENT
        edge.previous = NULL
        with gil:
            first = <Edge *><size_t>self.absent.get(task, 0)
            edge.next = first
            if first != NULL:
                first.previous = edge
            self.absent[task] = <size_t>edge

    cdef void leave_absent(self, Edge *edge, uint64_t task) noexcept nogil:
        if edge.next != NULL:
            edge.next.previous = edge.previous
        if edge.previous != NULL:
            edge.previous.next = edge.next
            return
        with gil:
            if edge.next != NULL:
                self.absent[task] = <size_t>edge.next
            else:
                self.absent.pop(task, None)

    cdef bint supply(self, uint32_t client, Record *record) noexcept nogil:
        """The client hands in a result that it has. False if that makes no sense, or there is no room for it."""
        cdef char *payload = payload_of(record)
        cdef uint32_t size = payload_bytes_of(record)
        cdef Inputs inputs
        cdef size_t offset
        cdef Edge *first
        cdef Blob *blob
        if not read_inputs(&inputs, payload, size, record.flags) or not self.clients.is_own(client, record.task):
            return False
        offset = inputs_offset(payload, record.flags)
        if record.flags & FLAG_OBJECTS:
            blob = self.supplied_object(payload, size, <uint32_t>offset, inputs.about >> 16, self.clients.tag_of(client))
        else:
            offset += INPUTS_HEADER_BYTES
            blob = self.make_blob(payload + offset, <uint32_t>(size - offset), inputs.about >> 16, 0)
        with gil:
            first = <Edge *><size_t>self.absent.pop(record.task, 0)
        if blob == NULL:
            self.lose_list(first)
            return False
        self.serve_list(first, blob)
        self.let_go(blob)
        return True

    cdef Blob *supplied_object(self, char *payload, uint32_t size, uint32_t places_bytes, int status, uint64_t tag) noexcept nogil:
        """A result that is an object of the client; NULL if it cannot be had."""
        cdef Blob *blob = NULL
        with gil:
            if places_in(payload, size) == 1 and self.objects.take(payload, size, tag, True) == PLACES_GOOD:
                blob = self.make_blob(payload, places_bytes, status, FLAG_OBJECTS)
                self.objects.drop(payload, size)
        return blob

    # all inputs are there

    cdef bint complete(self, uint32_t row_index) noexcept nogil:
        """Write what the inputs are into the payload. False if there is no room for that."""
        cdef Row *row = self.table.row(row_index)
        cdef Node *node = <Node *>row.node
        cdef char *old = self.table.payload(row)
        cdef size_t offset = inputs_offset(old, row.flags)
        cdef size_t rest = offset + INPUTS_HEADER_BYTES + 8 * <size_t>node.count
        cdef size_t rest_bytes = row.payload_bytes - rest
        cdef size_t section = 0
        cdef uint32_t places = 0
        cdef uint32_t inputs = node.count
        cdef Blob *blob
        cdef uint32_t k
        cdef bint good
        for k in range(inputs):
            blob = <Blob *>edges_of(node)[k].next
            section += ENTRY_HEADER_BYTES
            if blob.flags & FLAG_OBJECTS:
                places += 1
            else:
                section += padded(blob.size)
        if inputs == 0 and not offset:
            row.flags = <uint8_t>(row.flags & ~<int>FLAG_INPUTS)
            return self.replace(row, old + rest, rest_bytes)
        good = self.write(row, node, places, section, rest, rest_bytes)
        if good:
            self.detach_all(row_index)
        return good

    cdef bint replace(self, Row *row, const char *payload, size_t size) noexcept nogil:
        """Another payload; it may lie in the old one."""
        cdef Client *client = &self.clients.clients[row.client]
        cdef char *copy = <char *>malloc(size if size else 1)
        cdef bint good
        if copy == NULL:
            return False
        memcpy(copy, payload, size)
        client.queued_bytes -= row.payload_bytes
        good = self.table.set_payload(row, copy, <uint32_t>size)
        client.queued_bytes += row.payload_bytes
        free(copy)
        return good

    cdef bint write(self, Row *row, Node *node, uint32_t objects, size_t section, size_t rest, size_t rest_bytes) noexcept nogil:
        cdef char *old = self.table.payload(row)
        cdef uint32_t own = <uint32_t>places_in(old, row.payload_bytes) if row.flags & FLAG_OBJECTS else 0
        cdef uint32_t places = own + objects
        cdef bint spill = False
        cdef char *made
        cdef char *at
        cdef char *entries
        cdef size_t size
        cdef uint32_t section_bytes = <uint32_t>section
        cdef bint good
        size = (stream_offset(places) if places else 0) + SECTION_HEADER_BYTES + section + rest_bytes
        if size > MOST_RECORD_BYTES - RECORD_HEADER_BYTES:
            spill = True
            places += 1
            size = stream_offset(places) + SECTION_HEADER_BYTES + rest_bytes
        made = <char *>malloc(size + section + 8)
        if made == NULL:
            return False
        entries = made + size if spill else made + (stream_offset(places) if places else 0) + SECTION_HEADER_BYTES
        at = made
        if places:
            memset(made, 0, stream_offset(places))
            memcpy(made, &places, 4)
            if own:
                memcpy(made + PLACES_OFFSET, old + PLACES_OFFSET, <size_t>own * PLACE_BYTES)
            at += stream_offset(places)
        self.write_entries(node, entries)
        if spill:
            section_bytes = 0
        good = True
        if objects or spill:
            with gil:
                good = self.write_places(node, made, own, spill, entries, section)
        if good:
            memcpy(at, &node.count, 4)
            memcpy(at + 4, &section_bytes, 4)
            memcpy(at + SECTION_HEADER_BYTES + section_bytes, old + rest, rest_bytes)
            if places:
                row.flags |= FLAG_OBJECTS
            good = self.replace(row, made, size)
        free(made)
        return good

    cdef void write_entries(self, Node *node, char *at) noexcept nogil:
        cdef Blob *blob
        cdef uint32_t k
        cdef uint32_t head[2]
        for k in range(node.count):
            blob = <Blob *>edges_of(node)[k].next
            head[0] = 0 if blob.flags & FLAG_OBJECTS else blob.size
            head[1] = blob.flags
            memcpy(at, head, ENTRY_HEADER_BYTES)
            at += ENTRY_HEADER_BYTES
            if head[0]:
                memset(at + padded(blob.size) - 8, 0, 8)
                memcpy(at, bytes_of(blob), blob.size)
                at += padded(blob.size)

    cdef bint write_places(self, Node *node, char *payload, uint32_t at, bint spill, const char *entries, size_t section):
        """Places of the inputs that are objects, which the task holds from now on; and of the section, if it is one."""
        cdef Place *place
        cdef Blob *blob
        cdef uint32_t k
        if spill:
            if self.store is None:
                return False
            try:
                spilled = self.store.put(PyBytes_FromStringAndSize(entries, section), PLACE_NEW)
            except OSError:
                return False
        for k in range(node.count):
            blob = <Blob *>edges_of(node)[k].next
            if blob.flags & FLAG_OBJECTS:
                place = place_at(payload, at)
                place[0] = place_at(bytes_of(blob), 0)[0]
                self.objects.hold(place.object)
                self.objects.complete(place)
                place.flags = PLACE_PACKED | PLACE_INPUT
                at += 1
        if spill:
            place = place_at(payload, at)
            place.object, place.segment, place.offset, place.size, place.flags = spilled
            self.objects.take_one(place, self.own_tag, False)
            place.flags = PLACE_STREAM | PLACE_INPUT
        return True
