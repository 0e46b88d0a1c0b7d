# Answers: what a client hears of its tasks, and how a task ends.
#
# A result is copied from the worker's ring into the client's, and then it is nowhere else. If it does not fit, the
# whole record stays in the task's row (ROW_ANSWERED) and the client is held: none of its tasks is placed until it has
# gone out, so what is kept is bounded by what was placed already. What a result brings is held by the client from then
# on.
#
# Rule 1: an outgoing ring is never waited for, and a want of memory shortens an answer but does not drop it.
# Rule 2: a row holds the objects that its payload names, first the task's and then the result's, and lets go of them
#         once.
# Rule 3: a submit is refused without a row, so what says it cannot wait: it stays where it is until there is room for that.
#         The exception is a want of memory for the row itself.
# Not here: whether a result counts (core), what its bytes mean (payload).

cdef enum:
    MOST_REFUSAL_BYTES = 256


@cython.final
cdef class Answers:
    cdef TaskTable table
    cdef ReadyQueue ready
    cdef ClientTable clients
    cdef ObjectTable objects
    cdef FunctionTable functions
    cdef Edges edges
    cdef Outcomes outcomes
    cdef uint64_t answered

    def __cinit__(self, TaskTable table, ReadyQueue ready, ClientTable clients, ObjectTable objects,
                  FunctionTable functions, Edges edges, Outcomes outcomes):
        self.outcomes = outcomes
        self.table = table
        self.ready = ready
        self.clients = clients
        self.objects = objects
        self.functions = functions
        self.edges = edges

    cdef inline void answer(self, uint32_t row_index, Record *result) noexcept nogil:
        """The task has ended with this result: whoever needs it gets it."""
        self.outcomes.note_result(row_index, result)
        if self.table.row(row_index).node == NULL or self.tell_dependants(row_index, result):
            self.send(row_index, result)

    cdef inline void answer_with(self, uint32_t row_index, Record *result, uint64_t maker) noexcept nogil:
        """The same with what a worker has sent, whose objects begin with `maker`."""
        if result.flags & FLAG_OBJECTS and not self.take_brought(result, maker):
            self.answer_text(row_index, STATUS_REFUSED, b"there was no room for its result, or its result makes no sense")
        else:
            self.answer(row_index, result)

    cdef bint tell_dependants(self, uint32_t row_index, Record *result) noexcept nogil:
        """Give it to those that wait for it. False if nobody else wants it: then that was all."""
        cdef Node *node = self.edges.node(row_index)
        self.edges.on_end(row_index, result)
        result.detail = node.served
        if not node.inner:
            return True
        if result.flags & FLAG_OBJECTS:
            self.objects.drop_record(payload_of(result), payload_bytes_of(result))
        self.end(row_index)
        return False

    cdef void send(self, uint32_t row_index, Record *result) noexcept nogil:
        """Send the result, or keep it in the row until its client has room."""
        cdef Row *row = self.table.row(row_index)
        cdef Client *client = &self.clients.clients[row.client]
        cdef Record *record
        cdef uint32_t size = payload_bytes_of(result)
        self.drop_payload(row_index)
        record = NULL
        if client.outlet == NULL:                     # it has left, and this task has not been cleared yet
            if result.flags & FLAG_OBJECTS:
                self.objects.drop_record(payload_of(result), size)
            self.end(row_index)
            return
        if client.waiting_head == 0 and self.may_bring(client, result):
            record = (<Outlet>client.outlet).reserve(size)
        if record != NULL:
            copy_record(record, result, size)
        if record != NULL and (<Outlet>client.outlet).commit() != NOT_COMMITTED:
            self.clients.note_dirty(row.client)
            self.answered += 1
            if result.flags & FLAG_OBJECTS:
                self.hand_over(client, payload_of(result), size)
            self.end(row_index)
            return
        # The row keeps the whole record: header and payload, to be copied out later. If there is no memory for that,
        # it keeps nothing, and the client is told so.
        if self.table.set_payload(row, <char *>result, RECORD_HEADER_BYTES + size):
            client.queued_bytes += row.payload_bytes
            row.flags = result.flags
        elif result.flags & FLAG_OBJECTS:
            self.objects.drop_record(payload_of(result), size)
        self.clients.wait(row_index)
        self.ready.hold(row.client, True)

    cdef void drop_payload(self, uint32_t row_index) noexcept nogil:
        """The row needs its payload no more, and lets go of the objects that this names."""
        cdef Row *row = self.table.row(row_index)
        cdef Client *client = &self.clients.clients[row.client]
        cdef uint32_t skip = RECORD_HEADER_BYTES if row.state == ROW_ANSWERED and row.payload_bytes else 0
        client.queued_bytes -= row.payload_bytes
        if row.flags & FLAG_OBJECTS:
            if not skip:
                client.brought_bytes -= new_bytes(self.table.payload(row), row.payload_bytes)
            self.objects.drop_record(self.table.payload(row) + skip, row.payload_bytes - skip)
        row.flags = 0
        self.table.drop_payload(row)

    cdef bint take_brought(self, Record *result, uint64_t maker) noexcept nogil:
        """The result holds the one object that it brings, which begins with `maker`. False if that makes no sense."""
        if places_in(payload_of(result), payload_bytes_of(result)) != 1:
            self.discard(result, maker)
            return False
        return self.objects.take_record(payload_of(result), payload_bytes_of(result), maker, False) == PLACES_GOOD

    cdef void discard(self, Record *result, uint64_t maker) noexcept nogil:
        """Nobody wants this result: what it brings is of no use."""
        if result.flags & FLAG_OBJECTS:
            self.objects.discard_record(payload_of(result), payload_bytes_of(result), maker)

    cdef inline bint may_bring(self, Client *client, Record *result) noexcept nogil:
        """Whether the client has read enough to be given what this result brings."""
        return not result.flags & FLAG_OBJECTS or (<Outlet>client.outlet).takes_objects()

    cdef void hand_over(self, Client *client, const char *payload, uint32_t size) noexcept nogil:
        """The client has been given the objects of a result: it holds them as long as it likes."""
        (<Outlet>client.outlet).note_objects(new_bytes(payload, size))
        if self.objects.keep_record(payload, size, <uint32_t>-1, client.bits >> TASK_NUMBER_BITS):
            self.objects.drop_record(payload, size)

    cdef void answer_text(self, uint32_t row_index, int status, const char *text) noexcept nogil:
        """End a task without a worker's result."""
        self.answer_data(row_index, status, text, <uint32_t>strlen(text))

    cdef void answer_data(self, uint32_t row_index, int status, const char *text, uint32_t size) noexcept nogil:
        """The same with any bytes; left out if there is no memory for them, or never room."""
        cdef char small[512]
        cdef char *space = small
        cdef Row *row = self.table.row(row_index)
        cdef void *outlet = self.clients.clients[row.client].outlet
        cdef Record *record
        if outlet != NULL and size > (<Outlet>outlet).largest_payload():
            size = 0
        if RECORD_HEADER_BYTES + size > sizeof(small):
            space = <char *>malloc(RECORD_HEADER_BYTES + size)
            if space == NULL:
                space, size = small, 0
        record = <Record *>space
        record.record_bytes = RECORD_HEADER_BYTES + size
        fill_record(record, KIND_RESULT, 0, status, 0, row.task, self.table.attempt_of(row), row.items, 0)
        memcpy(payload_of(record), text, size)
        self.answer(row_index, record)
        if space != small:
            free(space)

    cdef void refuse(self, uint32_t client_index, Record *submit, const char *text) noexcept nogil:
        """Say why there will be no task of this submit, for which there is room where it matters (`may_refuse`)."""
        cdef void *outlet = self.clients.clients[client_index].outlet
        cdef uint32_t size = <uint32_t>strlen(text)
        cdef CallCounts *calls = self.table.counts_of(client_index)
        cdef Record *record = (<Outlet>outlet).reserve(size)
        if record == NULL:
            return
        fill_record(record, KIND_RESULT, 0, STATUS_REFUSED, submit.function, submit.task, 0, submit.items, 0)
        memcpy(payload_of(record), text, size)
        calls.submitted += max(submit.items, <uint32_t>1)
        calls.failed += max(submit.items, <uint32_t>1)
        (<Outlet>outlet).commit()
        self.clients.note_dirty(client_index)

    cdef inline bint may_refuse(self, uint32_t client_index) noexcept nogil:
        """Whether there is room to refuse one more submit, which ends with that: its client waits for the answer."""
        cdef void *outlet = self.clients.clients[client_index].outlet
        return outlet == NULL or (<Outlet>outlet).reserve(MOST_REFUSAL_BYTES) != NULL

    cdef uint32_t deliver_waiting(self, uint32_t client_index) noexcept nogil:
        """Send what did not fit before, oldest first, as far as there is room now. How many results that were."""
        cdef Client *client = &self.clients.clients[client_index]
        cdef uint32_t row_index
        cdef Row *row
        cdef Record *kept
        cdef Record *record
        cdef Record lost
        cdef uint32_t size
        cdef uint32_t sent = 0
        while client.waiting_head:
            row_index = client.waiting_head
            row = self.table.row(row_index)
            kept = <Record *>self.table.payload(row)
            if row.payload_bytes == 0:                # there was no memory to keep it in
                kept = &lost
                lost.record_bytes = RECORD_HEADER_BYTES
                fill_record(kept, KIND_RESULT, 0, STATUS_REFUSED, 0, row.task, self.table.attempt_of(row), row.items, 0)
            size = payload_bytes_of(kept)
            record = (<Outlet>client.outlet).reserve(size) if self.may_bring(client, kept) else NULL
            if record == NULL:
                break
            copy_record(record, kept, size)
            if (<Outlet>client.outlet).commit() == NOT_COMMITTED:
                break
            sent += 1
            self.clients.note_dirty(client_index)
            self.answered += 1
            self.stop_waiting(row_index)
            if row.flags & FLAG_OBJECTS:
                self.hand_over(client, payload_of(kept), size)
                row.flags = 0
            self.end(row_index)
        return sent

    cdef void stop_waiting(self, uint32_t row_index) noexcept nogil:
        """The row's result waits no longer; with the last of them its client gets its turns back."""
        cdef uint32_t client_index = self.table.row(row_index).client
        self.clients.stop_waiting(row_index)
        if self.clients.clients[client_index].waiting_head == 0:
            self.ready.hold(client_index, False)

    cdef void end(self, uint32_t row_index) noexcept nogil:
        """The row's task is over: forget it, once no dependant is to be sent. It is in no list any more."""
        cdef Row *row = self.table.row(row_index)
        cdef uint32_t client_index = row.client
        cdef bint over
        if row.state == ROW_KEPT:
            self.edges.rest_no_more(row_index)
        over = row.node == NULL or self.edges.may_end(row_index)
        if row.request:
            self.ready.let_go(row)                    # its lane may go with its function
            row.request, row.level = 0, 0
        if row.function != NO_FUNCTION:
            self.functions.let_go(row.function)
        self.drop_payload(row_index)
        if not over:
            row.function = NO_FUNCTION
            self.table.move(row, EVENT_IS_KEPT)
            self.edges.rest(row_index)
            return
        self.clients.forget_row(row_index)
        self.ready.let_go(row)
        self.table.give_back(row_index)
        self.clients.release(client_index)
