# Edges: which tasks wait for the results of which others.
#
# A row that is a part of a graph, or whose result another waits for, has a Node; all others have none and cost nothing.
# An edge stands in the Node of the one that waits (the dependant) and hangs in the list of the one it waits for (the
# input). When the input ends, its result becomes a Blob that its edges share; a task whose last input has come gets a
# payload that has them all (native/records/inputs.pyx), and is from then on a task like any other: it may be withdrawn,
# run again after a worker's death, and sent to another host. So inputs are held exactly until the last that needs them
# is complete.
#
# Dependants that come later: a graph says of each task how many dependants are still to come (`promised`), and it is kept for them
# (ROW_KEPT). A single submit cannot know. If its input has ended already, the client, which then has its result or is
# about to read it, hands it in (a supply); until then the edge hangs among those of absent inputs.
#
# What nobody but dependants wanted (inner) is cancelled when none of them is left.
#
# Rule 1: a row is ROW_WAITING if and only if inputs of it are open and none has failed, or it is put off.
# Rule 2: inputs have lower numbers than their dependants, so there are no cycles.
# A result is copied for each task that needs it, so few bytes can ask for many. What is kept and what is written counts
# against the client (quota): a result that has no room is lost, and a task whose inputs have none is put off until what
# was written for another has ended. Tasks that are put off have their turn in the order in which they came: one at a time
# is taken up, it stays the first if there still is no room for it, and no other is written before it, be it ever so small.
# Else large ones would wait for as long as small ones keep coming.
#
# All of that is two kinds of lists of rows, with the same two links in their nodes: a row is in one of them at most.
#
#   touched    of all clients: something is to be done about the row, which the core does next (`settle`). `touch` appends
#              it, out of the other list if it is there; `untouch` takes it out, when it is settled or ends.
#   put off    one for each client: rows whose inputs are complete and have no room. `put_off` appends the row, and
#              `unlist_put_off` takes it out.
#
# The turn is the client's `taken_up`: the first that was put off, which has been touched to look again. `take_up` gives
# it the turn if nobody has it, as soon as a task has ended for which inputs were written, or none are written any more.
# `end_turn` ends it, when the row is settled or ends: if it still has no room it is put off again, as the first, else the
# next is taken up.
#
# Inputs that together are too large for a record are written into an object of the scheduler's, some at a time, so that
# nobody waits for a hundred results to be copied: a row that is being written is touched until all of it is there.
#
# Rule 3: nothing here recurses: rows that an event concerns are noted (`touch`), and worked off by the core.
# Rule 4: noting allocates nothing, nor does waiting: a task must not be forgotten because there is no memory to remember
#         it with. What allocates (a Node, a Blob, a payload) does so before anything is changed.
# Not here: what edges look like (edge), what is done about touched rows (core).

cdef enum:                     # what came of writing the inputs of a task
    IS_COMPLETE = 1
    IS_BEING_WRITTEN = 2
    CANNOT_BE = 3
    SPILL_PIECE_BYTES = 1 << 18


cdef inline size_t entry_bytes(Blob *blob) noexcept nogil:
    """What an input takes in the section of a task."""
    return ENTRY_HEADER_BYTES + (0 if blob.flags & FLAG_OBJECTS else padded(blob.size))


cdef char *write_entry(Blob *blob, char *at) noexcept nogil:
    """Write an input into a section: where the next one begins."""
    cdef uint32_t head[2]
    head[0] = 0 if blob.flags & FLAG_OBJECTS else blob.size
    head[1] = blob.flags
    memcpy(at, head, ENTRY_HEADER_BYTES)
    at += ENTRY_HEADER_BYTES
    if head[0]:
        memset(at + padded(blob.size) - 8, 0, 8)
        memcpy(at, bytes_of(blob), blob.size)
        at += padded(blob.size)
    return at


cdef inline size_t completed_bytes(uint32_t places, size_t section, size_t pickle_bytes) noexcept nogil:
    """How large a payload is with so many places and such a section."""
    return (stream_offset(places) if places else 0) + SECTION_HEADER_BYTES + section + pickle_bytes


@cython.final
cdef class Edges:
    """The nodes of rows, and what is to be done about some of them."""
    cdef TaskTable table
    cdef ClientTable clients
    cdef ObjectTable objects
    cdef AbsentInputs absent
    cdef uint32_t first_touched  # row
    cdef uint32_t last_touched
    cdef bint settling
    cdef bint is_cut             # there was more to settle than is done in one go
    cdef uint64_t settled_bytes  # of inputs that were written since the core has begun to settle
    cdef readonly uint64_t nodes
    cdef readonly uint64_t blobs
    cdef readonly uint64_t blob_bytes
    cdef uint64_t own_tag
    cdef public object store     # where what is too large for a record goes

    def __cinit__(self, TaskTable table, ClientTable clients, ObjectTable objects, uint64_t own_tag):
        self.table, self.clients, self.objects, self.own_tag = table, clients, objects, own_tag
        self.absent = AbsentInputs()

    def __len__(self):
        """How many tasks have something to do with others."""
        return self.nodes

    # nodes

    cdef inline Node *node(self, uint32_t row_index) noexcept nogil:
        return <Node *>self.table.row(row_index).node

    cdef Node *make(self, uint32_t row_index, uint32_t count) noexcept nogil:
        cdef Client *client = &self.clients.clients[self.table.row(row_index).client]
        cdef Node *node = <Node *>malloc(sizeof(Node) + <size_t>count * sizeof(Edge))
        if node != NULL:
            memset(node, 0, sizeof(Node))
            node.count = node.edges = count
            client.node_bytes += bytes_of_node(node)
            self.nodes += 1
            self.table.row(row_index).node = node
        return node

    cdef void touch(self, uint32_t row_index) noexcept nogil:
        """Something is to be done about this row: its inputs are complete, one has failed, or nobody wants it."""
        cdef Client *client = &self.clients.clients[self.table.row(row_index).client]
        cdef Node *node = self.node(row_index)
        if node.is_touched:
            return
        if node.is_put_off:
            self.unlist_put_off(row_index)
        node.is_touched = True
        client.rows_touched += 1
        self.append(row_index, &self.first_touched, &self.last_touched)

    cdef void untouch(self, uint32_t row_index) noexcept nogil:
        """Nothing is to be done about it any more."""
        cdef Client *client = &self.clients.clients[self.table.row(row_index).client]
        cdef Node *node = self.node(row_index)
        client.rows_touched -= 1
        node.is_touched = False
        self.unlist(node, &self.first_touched, &self.last_touched)

    cdef void put_off(self, uint32_t row_index, bint is_next) noexcept nogil:
        """The row, which is not touched, waits until less is written for its client: before the others if it is the one
        whose turn it was."""
        cdef Client *client = &self.clients.clients[self.table.row(row_index).client]
        cdef Node *node = self.node(row_index)
        node.is_put_off = True
        if not is_next or client.put_off_first == 0:
            self.append(row_index, &client.put_off_first, &client.put_off_last)
            return
        node.previous_touched = 0
        node.next_touched = client.put_off_first
        self.node(client.put_off_first).previous_touched = row_index
        client.put_off_first = row_index

    cdef void unlist_put_off(self, uint32_t row_index) noexcept nogil:
        cdef Client *client = &self.clients.clients[self.table.row(row_index).client]
        self.node(row_index).is_put_off = False
        self.unlist(self.node(row_index), &client.put_off_first, &client.put_off_last)

    cdef void append(self, uint32_t row_index, uint32_t *first, uint32_t *last) noexcept nogil:
        """To the list of those that are touched, or that are put off."""
        cdef Node *node = self.node(row_index)
        node.next_touched = 0
        node.previous_touched = last[0]
        if last[0]:
            self.node(last[0]).next_touched = row_index
        else:
            first[0] = row_index
        last[0] = row_index

    cdef void unlist(self, Node *node, uint32_t *first, uint32_t *last) noexcept nogil:
        if node.previous_touched:
            self.node(node.previous_touched).next_touched = node.next_touched
        else:
            first[0] = node.next_touched
        if node.next_touched:
            self.node(node.next_touched).previous_touched = node.previous_touched
        else:
            last[0] = node.previous_touched

    cdef inline void forget_written(self, Client *client, Node *node) noexcept nogil:
        """The task has ended, and what was written for it goes."""
        if node.written:
            client.written_bytes -= node.written
            client.inline_bytes -= node.written_inline
            node.written = node.written_inline = 0
            self.take_up(client)

    cdef inline void note_written(self, Client *client, Node *node, uint64_t n_bytes, uint64_t inline_bytes) noexcept nogil:
        """So much was written for the task, and so much of it into its payload."""
        client.written_bytes += n_bytes - node.written
        client.inline_bytes += inline_bytes
        node.written, node.written_inline = n_bytes, inline_bytes

    cdef inline void take_up(self, Client *client) noexcept nogil:
        """There may be room for the next one that was put off."""
        if client.put_off_first and client.taken_up == 0:
            client.taken_up = client.put_off_first
            self.touch(client.put_off_first)

    cdef inline bint end_turn(self, Client *client, uint32_t row_index) noexcept nogil:
        """The row is settled, or ends. Whether it was the one that has been taken up."""
        if client.taken_up != row_index:
            return False
        client.taken_up = 0
        return True

    cdef bint has_room(self, uint32_t row_index) noexcept nogil:
        """Whether its inputs may be written now, if it is its turn, or are being written."""
        cdef Client *client = &self.clients.clients[self.table.row(row_index).client]
        cdef Node *node = self.node(row_index)
        return node.spilled or may_write(client, self.clients.quota, self.completed_most(row_index))

    cdef uint64_t completed_most(self, uint32_t row_index) noexcept nogil:
        """How many bytes the row has once its inputs are written, at most."""
        cdef Node *node = self.node(row_index)
        cdef uint64_t n_bytes = self.table.row(row_index).payload_bytes + 2 * PLACE_BYTES
        cdef uint32_t k
        cdef Blob *blob
        for k in range(node.count):
            blob = edges_of(node)[k].blob
            n_bytes += entry_bytes(blob) + (PLACE_BYTES if blob.flags & FLAG_OBJECTS else 0)
        return n_bytes

    cdef void rest(self, uint32_t row_index) noexcept nogil:
        """The row has ended, and is kept: from now on it counts as a result."""
        cdef Client *client = &self.clients.clients[self.table.row(row_index).client]
        client.resting += 1
        client.resting_bytes += sizeof(Row) + bytes_of_node(self.node(row_index))

    cdef void rest_no_more(self, uint32_t row_index) noexcept nogil:
        """The row is about to go, or would be kept once more."""
        cdef Client *client = &self.clients.clients[self.table.row(row_index).client]
        client.resting -= 1
        client.resting_bytes -= sizeof(Row) + bytes_of_node(self.node(row_index))

    cdef void begin_waiting(self, uint32_t row_index) noexcept nogil:
        """The row is ROW_WAITING now."""
        cdef Client *client = &self.clients.clients[self.table.row(row_index).client]
        self.node(row_index).is_waiting = True
        client.rows_waiting += 1

    cdef void end_waiting(self, uint32_t row_index) noexcept nogil:
        """The row, if it is ROW_WAITING, is so no longer."""
        cdef Client *client = &self.clients.clients[self.table.row(row_index).client]
        cdef Node *node = self.node(row_index)
        if node.is_waiting:
            node.is_waiting = False
            client.rows_waiting -= 1

    cdef void drop_node(self, uint32_t row_index) noexcept nogil:
        cdef Row *row = self.table.row(row_index)
        cdef Client *client = &self.clients.clients[row.client]
        cdef Node *node = <Node *>row.node
        self.end_waiting(row_index)
        if node.is_touched:
            self.untouch(row_index)
        if node.is_put_off:
            self.unlist_put_off(row_index)
        client.node_bytes -= bytes_of_node(node)
        self.end_turn(client, row_index)
        self.forget_written(client, node)
        if node.blob != NULL:
            self.let_go(node.blob)
        free(node)
        row.node = NULL
        self.nodes -= 1
        if client.written_bytes == 0:                    # it may have been taken up to be written, and has ended before
            self.take_up(client)

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
            edge.task = input_id(payload, offset, k)
            self.attach(node, edge, self.clients.find_row(row.client, edge.task), k < inputs.expected,
                        k >= inputs.expected or inputs.about & INPUTS_HANDED_IN)
        return True

    cdef void attach(self, Node *node, Edge *edge, uint32_t input_index, bint expected, bint may_come) noexcept nogil:
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
                self.absent.add(edge)
            else:
                node.lost = LOST_GONE
            return
        input = <Node *>row.node
        if input == NULL:
            input = self.make(input_index, 0)
            if input == NULL:
                node.lost = LOST_GONE
                return
        if input.ended and input.blob == NULL:           # there was no room to keep its result
            if may_come:
                node.open += 1
                self.absent.add(edge)
            else:
                node.lost = LOST_NO_ROOM
            return
        if input.ended:
            self.give(node, edge, input.blob)
        else:
            node.open += 1
            edge.input = input_index
            hang(&input.dependants, edge)
        if expected and input.promised:
            input.promised -= 1
            if input.promised == 0 and row.state == ROW_KEPT:
                self.touch(input_index)

    cdef inline void give(self, Node *node, Edge *edge, Blob *blob) noexcept nogil:
        """The dependant has this input from now on. The edge is in no list any more."""
        blob.holders += 1
        edge.input = 0
        edge.next = NULL
        edge.link = NULL
        edge.blob = blob
        if blob.status != STATUS_OK:
            node.failed = True

    # a task ends

    cdef void on_end(self, uint32_t row_index, Record *result) noexcept nogil:
        """It has ended with this result: dependants get it, and it is kept for those that were promised."""
        cdef Node *node = self.node(row_index)
        cdef Blob *blob = NULL
        self.end_waiting(row_index)
        self.detach_all(row_index)
        self.forget_written(&self.clients.clients[self.table.row(row_index).client], node)
        if node.is_put_off:
            self.unlist_put_off(row_index)
        node.ended = True
        if node.dependants == NULL and node.promised == 0:
            return
        blob = self.make_blob(self.table.row(row_index).client, payload_of(result), payload_bytes_of(result),
                              result.status, result.flags, sizeof(Row) + bytes_of_node(node) if node.promised else 0)
        if blob == NULL:
            node.ended = False
            self.lose_dependants(node, LOST_NO_ROOM)
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

    cdef void lose_dependants(self, Node *node, uint8_t why) noexcept nogil:
        """It will never have a result: neither will they."""
        self.lose_list(node.dependants, why)
        node.dependants = NULL

    cdef void lose_list(self, Edge *edge, uint8_t why) noexcept nogil:
        cdef Edge *next
        cdef Node *dependant
        while edge != NULL:
            next = edge.next
            dependant = self.node(edge.dependant)
            edge.input = 0
            edge.next = NULL
            edge.link = NULL
            dependant.open -= 1
            dependant.lost = why
            self.touch(edge.dependant)
            edge = next

    cdef void detach_all(self, uint32_t row_index) noexcept nogil:
        """It waits for nothing any more, and needs none of its inputs."""
        cdef Node *node = self.node(row_index)
        cdef Edge *edge
        cdef uint32_t k
        if node.spilled:
            self.drop_spilled(node)
        for k in range(node.count):
            edge = &edges_of(node)[k]
            if edge.blob != NULL:
                self.let_go(edge.blob)
                edge.blob = NULL
            elif edge.input == ABSENT:
                self.absent.remove(edge)
            elif edge.input:
                self.detach(edge)
        node.count = node.open = 0

    cdef void detach(self, Edge *edge) noexcept nogil:
        unhang(edge)
        if self.is_unwanted(self.node(edge.input)):
            self.touch(edge.input)
        edge.input = 0

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
            self.lose_dependants(node, LOST_GONE)
        self.drop_node(row_index)
        return True

    # results that are shared

    cdef Blob *make_blob(self, uint32_t client, const char *payload, uint32_t size, int status, int flags,
                         uint64_t row_bytes=0) noexcept nogil:
        """Held once, by the caller; NULL if there is no memory, or if as much is kept for this client as may be.

        `row_bytes` is what stays of its row.
        """
        cdef Client *owner = &self.clients.clients[client]
        cdef Blob *blob
        if not may_keep(owner, self.clients.quota, sizeof(Blob) + size + row_bytes):
            return NULL
        blob = <Blob *>malloc(sizeof(Blob) + size)
        if blob == NULL or flags & FLAG_OBJECTS and not self.objects.hold_record(payload, size):
            free(blob)
            return NULL
        blob.holders = 1
        blob.size = size
        blob.status = <uint16_t>status
        blob.flags = <uint16_t>flags
        memcpy(bytes_of(blob), payload, size)
        blob.client = client
        owner.blob_bytes += sizeof(Blob) + size
        self.blobs += 1
        self.blob_bytes += size
        return blob

    cdef void let_go(self, Blob *blob) noexcept nogil:
        cdef Client *client = &self.clients.clients[blob.client]
        blob.holders -= 1
        if blob.holders:
            return
        if blob.flags & FLAG_OBJECTS:
            self.objects.drop_record(bytes_of(blob), blob.size)
        client.blob_bytes -= sizeof(Blob) + blob.size
        self.blobs -= 1
        self.blob_bytes -= blob.size
        free(blob)

    cdef Blob *failure_of(self, Node *node) noexcept nogil:
        """What the first input that failed ended with; NULL if none has."""
        cdef Edge *edge
        cdef uint32_t k
        for k in range(node.count):
            edge = &edges_of(node)[k]
            if edge.blob != NULL and edge.blob.status != STATUS_OK:
                return edge.blob
        return NULL

    # results that the client hands in

    cdef bint supply(self, uint32_t client, Record *record, int status, uint64_t tag) noexcept nogil:
        """The client, which has this tag, hands in a result that it has: those that wait for it get it, or hear that it is lost.

        False if it makes no sense or there is no room for it. What it brings is seen to in any case.
        """
        cdef char *payload = payload_of(record)
        cdef uint32_t size = payload_bytes_of(record)
        cdef uint32_t offset = <uint32_t>inputs_offset(payload, record.flags)
        cdef Edge *first = self.absent.take(record.task)
        cdef bint has_room
        cdef Blob *blob = NULL
        if record.flags & FLAG_OBJECTS:
            blob = self.supplied_object(client, payload, size, offset, status, tag)
        elif is_known_status(<uint16_t>status):
            offset += INPUTS_HEADER_BYTES
            blob = self.make_blob(client, payload + offset, size - offset, status, 0)
        if blob == NULL:
            has_room = may_keep(&self.clients.clients[client], self.clients.quota, sizeof(Blob) + size)
            self.lose_list(first, LOST_GONE if has_room else LOST_NO_ROOM)
            return False
        self.serve_list(first, blob)
        self.let_go(blob)
        return True

    cdef Blob *supplied_object(self, uint32_t client, char *payload, uint32_t size, uint32_t places_bytes, int status,
                               uint64_t tag) noexcept nogil:
        """A result that is an object of the client; NULL if it cannot be had."""
        cdef Blob *blob
        if places_in(payload, size) != 1 or not is_known_status(<uint16_t>status):
            self.objects.refuse_record(payload, size, tag)
            return NULL
        if self.objects.take_record(payload, size, tag, True) != PLACES_GOOD:
            return NULL
        blob = self.make_blob(client, payload, places_bytes, status, FLAG_OBJECTS)
        self.objects.drop_record(payload, size)
        return blob

    # all inputs are there

    cdef int complete(self, uint32_t row_index) noexcept nogil:
        """Write what the inputs are into the payload, or some of it. IS_COMPLETE, IS_BEING_WRITTEN, or CANNOT_BE for that."""
        cdef Row *row = self.table.row(row_index)
        cdef Client *client = &self.clients.clients[row.client]
        cdef Node *node = <Node *>row.node
        cdef char *old = self.table.payload(row)
        cdef size_t offset = inputs_offset(old, row.flags)
        cdef size_t pickle_at = offset + INPUTS_HEADER_BYTES + 8 * <size_t>node.count
        cdef size_t pickle_bytes = row.payload_bytes - pickle_at
        cdef size_t section = 0
        cdef uint32_t places = 0
        cdef uint32_t own = <uint32_t>places_in(old, row.payload_bytes) if row.flags & FLAG_OBJECTS else 0
        cdef bint spills
        cdef size_t size
        cdef Blob *blob
        cdef uint32_t k
        for k in range(node.count):
            blob = edges_of(node)[k].blob
            section += entry_bytes(blob)
            places += blob.flags & FLAG_OBJECTS != 0
        if node.count == 0 and not offset:
            row.flags = <uint8_t>(row.flags & ~<int>FLAG_INPUTS)
            client.queued_bytes -= pickle_at
            self.table.cut_payload(row, <uint32_t>pickle_at)
            return IS_COMPLETE
        size = completed_bytes(own + places, section, pickle_bytes)
        spills = size > MOST_PAYLOAD_BYTES
        if spills:
            size = completed_bytes(own + places + 1, 0, pickle_bytes)
            if size > MOST_PAYLOAD_BYTES:
                return CANNOT_BE                               # it names so much besides: no worker would take it
            if not self.spill(client, node, section):
                return CANNOT_BE
            if node.spilled_inputs < node.count:
                return IS_BEING_WRITTEN
        if not self.write(row, node, places, section, pickle_at, size):
            return CANNOT_BE
        if spills:
            self.note_written(client, node, section + size, size)    # its own payload is in that, which is little
        else:
            self.settled_bytes += section
            self.note_written(client, node, size, size)
        self.detach_all(row_index)
        return IS_COMPLETE

    cdef bint spill(self, Client *client, Node *node, size_t section) noexcept nogil:
        """Write some more of the inputs into an object of the scheduler's. False if it cannot be had."""
        with gil:
            try:
                if self.store is None:
                    return False
                if not node.spilled:
                    node.spilled = self.store.reserve(0, section)[0]
                    node.spilled_bytes = node.spilled_inputs = 0
                    self.note_written(client, node, section, 0)
                self.spill_some(node)
            except (OSError, MemoryError):
                return False
        return True

    cdef int spill_some(self, Node *node) except -1:
        cdef size_t n_bytes = 0
        cdef uint32_t end = node.spilled_inputs
        cdef bytes entries
        cdef char *at
        cdef uint32_t k
        while end < node.count and (n_bytes == 0 or n_bytes + entry_bytes(edges_of(node)[end].blob) <= SPILL_PIECE_BYTES):
            n_bytes += entry_bytes(edges_of(node)[end].blob)
            end += 1
        entries = PyBytes_FromStringAndSize(NULL, n_bytes)
        at = PyBytes_AS_STRING(entries)
        for k in range(node.spilled_inputs, end):
            at = write_entry(edges_of(node)[k].blob, at)
        self.store.fill(node.spilled, node.spilled_bytes, entries)
        node.spilled_inputs = end
        node.spilled_bytes += n_bytes
        self.settled_bytes += n_bytes
        return 0

    cdef void drop_spilled(self, Node *node) noexcept nogil:
        """What was written of its inputs is of no use any more."""
        with gil:
            self.store.free(node.spilled)
        node.spilled = 0

    cdef bint write(self, Row *row, Node *node, uint32_t objects, size_t section, size_t pickle_at, size_t size) noexcept nogil:
        """Give the row a payload of this size with its inputs, or with the place of those that were spilled."""
        cdef char *old = self.table.payload(row)
        cdef Client *client = &self.clients.clients[row.client]
        cdef uint32_t own = <uint32_t>places_in(old, row.payload_bytes) if row.flags & FLAG_OBJECTS else 0
        cdef uint32_t places = own + objects + (node.spilled != 0)
        cdef uint32_t section_bytes = 0 if node.spilled else <uint32_t>section
        cdef char *made = <char *>malloc(size)
        cdef char *at
        cdef char *entry
        cdef uint32_t k
        if made == NULL:
            return False
        at = made + (stream_offset(places) if places else 0)
        if places:
            memset(made, 0, stream_offset(places))
            memcpy(made, &places, 4)
            if own:
                memcpy(made + PLACES_OFFSET, old + PLACES_OFFSET, <size_t>own * PLACE_BYTES)
        memcpy(at, &node.count, 4)
        memcpy(at + 4, &section_bytes, 4)
        entry = at + SECTION_HEADER_BYTES
        if not node.spilled:
            for k in range(node.count):
                entry = write_entry(edges_of(node)[k].blob, entry)
        memcpy(entry, old + pickle_at, row.payload_bytes - pickle_at)
        if (objects or node.spilled) and not self.write_places(node, made, own, objects):
            free(made)
            return False
        if places:
            row.flags |= FLAG_OBJECTS
        client.queued_bytes += size - row.payload_bytes
        self.table.adopt_payload(row, made, <uint32_t>size)
        return True

    cdef bint write_places(self, Node *node, char *payload, uint32_t own, uint32_t objects) noexcept nogil:
        """Places of the inputs that are objects, which the task holds from now on; and of the section, if it is one.

        False if there is no room or no memory for them: then it holds none of them.
        """
        cdef Place *spilled = place_at(payload, own + objects) if node.spilled else NULL
        cdef uint32_t held = 0
        with gil:
            try:
                if spilled != NULL and not self.write_spilled(spilled, node):
                    return False
                self.write_input_places(node, payload, own, &held)
                return True
            except (OSError, MemoryError):
                while held > 0:
                    held -= 1
                    self.objects.let_go_sometime(place_at(payload, own + held).object)
                if spilled != NULL and spilled.flags & PLACE_STREAM:
                    self.objects.let_go_sometime(spilled.object)
        return False

    cdef bint write_spilled(self, Place *place, Node *node) except -1:
        """The place of the section, which is the task's from now on. False if it cannot be one."""
        place.object, place.segment, place.offset, place.size, _ = self.store.place_of(node.spilled)
        place.flags = PLACE_NEW
        if self.objects.take_one(place, self.own_tag, False) != PLACES_GOOD:
            return False
        node.spilled = 0
        place.flags = PLACE_STREAM | PLACE_INPUT
        return True

    cdef int write_input_places(self, Node *node, char *payload, uint32_t at, uint32_t *held) except -1:
        """From this place on; `held` says how many the task holds by now."""
        cdef Place *place
        cdef Blob *blob
        cdef uint32_t k
        for k in range(node.count):
            blob = edges_of(node)[k].blob
            if blob.flags & FLAG_OBJECTS:
                place = place_at(payload, at)
                place[0] = place_at(bytes_of(blob), 0)[0]
                self.objects.hold(place.object)
                held[0] += 1
                self.objects.complete(place)
                place.flags = PLACE_PACKED | PLACE_INPUT
                at += 1
        return 0
