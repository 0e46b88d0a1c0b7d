# ClientTable: which clients there are, what each of them has, and which results wait for room on the way to one.
#
# A task's id begins with the 24 bits of its client, so ClientBits finds the client of a result and the client's
# Directory the row. Its functions, whose numbers count up too, are found in another. Results that do not fit the
# client's ring wait in their rows, oldest first; the list is intrusive in the rows, as the others are.
#
# Rule 1: a client that left is forgotten when it has neither tasks nor functions any more: they are ended in pieces, and
#         workers may hold some for longer. Until then its place is taken.
# Rule 2: whatever a client makes the scheduler keep is counted here, at what it really takes; how much that may be says
#         `quota`.
# Not here: what is done about an event (core), what is written to a client (answers), its ready tasks (ready).

cdef enum:
    TASK_NUMBER_BITS = 40
    MOST_FUNCTIONS = 1 << 20     # that one client has at a time
    FUNCTION_BYTES = 1024        # what one takes besides its own bytes, a page for its number included

cdef uint64_t NUMBER_MASK = ((<uint64_t>1) << 40) - 1

cdef struct Client:
    bint present
    uint64_t joined_ns
    uint64_t highest_number    # of the tasks that it has ever submitted
    bint leaving           # gone, but workers still hold tasks of it
    bint dirty             # results written since the last flush: it hangs in the list of those
    uint32_t next_dirty    # index + 1
    void *outlet           # Outlet of its results, kept alive by the table
    uint64_t bits          # its 24 bits, in place
    uint64_t worker_tag    # of the worker whose tasks it is the client of; 0: it is a program's
    uint64_t open_tasks
    uint64_t queued_bytes  # of payloads, and of results that wait for room
    uint64_t brought_bytes # of the objects that its open tasks have brought
    uint64_t node_bytes    # of the nodes of its tasks, edges included
    uint64_t blob_bytes    # of results that are kept for its tasks
    uint64_t written_bytes # of inputs that were written for tasks that are still open
    uint64_t inline_bytes  # of these, their payloads, which are in queued_bytes, too
    uint64_t resting_bytes # of rows, and their nodes, that have ended and are kept for dependants
    uint64_t resting       # how many these are
    uint64_t rows_waiting  # in ROW_WAITING
    uint64_t rows_touched  # about which something is to be done (edges)
    uint32_t put_off_first # rows whose inputs are complete, and wait until fewer of these are, oldest first
    uint32_t put_off_last
    uint32_t taken_up      # the row of these whose turn it is, until it is settled; 0: none
    uint32_t last_number   # of a function, what was looked for last
    uint32_t last_function # and what it means: 0 if it has been forgotten since
    Directory directory
    uint32_t waiting_head  # rows in ROW_ANSWERED, oldest first
    uint32_t waiting_tail
    Directory functions    # its numbers -> ours + 1
    uint32_t function_count
    uint64_t function_bytes    # of those that it may name, and that others use since it has forgotten them
    uint64_t clear_before  # tasks with lower numbers are being cancelled, while its directory is walked
    bint unfinished        # what it wants no more is being cleared
    bint was_stalled       # its tasks were let in beyond their share since it was stalled, and have not been fewer since


@cython.final
cdef class ClientTable:
    """Clients by index, and by the bits in the ids of their tasks."""
    cdef TaskTable table
    cdef Client *clients
    cdef uint32_t room
    cdef uint32_t length
    cdef uint32_t dirty                # first of the list, index + 1
    cdef ClientBits bits               # of those who are here, or leaving
    cdef list outlets                  # by index: keeps them alive
    cdef uint64_t multiplier           # of their directories
    cdef uint64_t quota                # of each of them
    cdef uint32_t first_free           # no place before it is free

    def __cinit__(self, TaskTable table):
        self.table = table
        self.bits = ClientBits()
        self.outlets = []
        self.multiplier = int.from_bytes(_os.urandom(8), "little")

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.length):
            directory_free(&self.clients[i].directory)
            directory_free(&self.clients[i].functions)
        free(self.clients)

    # coming and going

    cdef uint32_t make_room(self) except? 0:
        """Where the next client will stand."""
        cdef uint32_t place = self.first_free
        cdef Client *clients
        while place < self.length and (self.clients[place].present or self.clients[place].leaving):
            place += 1
        if place == self.length:
            if self.length == self.room:
                clients = <Client *>realloc(self.clients, (self.room * 2 + 8) * sizeof(Client))
                if clients == NULL:
                    raise MemoryError("no memory for another client")
                self.clients = clients
                self.room = self.room * 2 + 8
            self.length += 1
            self.outlets.append(None)
            memset(&self.clients[place], 0, sizeof(Client))
        self.table.make_client_room(place)
        self.first_free = place
        return place

    cdef int add(self, uint32_t place, uint32_t client_bits, Outlet results, Outlet control) except -1:
        cdef Client *client = &self.clients[place]
        cdef bint dirty = client.dirty
        cdef uint32_t next_dirty = client.next_dirty
        cdef bint unfinished = client.unfinished
        self.bits.note(client_bits, place)
        memset(client, 0, sizeof(Client))
        # The one that had this place may have left before the next flush, and hang in the list still.
        client.dirty, client.next_dirty, client.unfinished = dirty, next_dirty, unfinished
        client.present = True
        client.bits = (<uint64_t>client_bits) << TASK_NUMBER_BITS
        client.outlet = <void *>results
        directory_begin(&client.directory, self.multiplier)
        directory_begin(&client.functions, self.multiplier)
        self.outlets[place] = (results, control)
        return 0

    cdef int leave(self, uint32_t index) except -1:
        """The client writes and reads no more."""
        self.clients[index].present = False
        self.clients[index].leaving = True
        self.clients[index].outlet = NULL
        self.outlets[index] = None
        self.release(index)
        return 0

    cdef void release(self, uint32_t index) noexcept nogil:
        """Forget a client that has left, if it has no task any more."""
        cdef Client *client = &self.clients[index]
        if client.leaving and client.open_tasks == 0 and client.function_count == 0:
            client.leaving = False
            self.table.on_client_gone(index)
            self.first_free = min(self.first_free, index)
            self.bits.forget(<uint32_t>(client.bits >> TASK_NUMBER_BITS))
            directory_free(&client.directory)
            directory_free(&client.functions)

    cdef inline uint64_t tag_of(self, uint32_t index) noexcept nogil:
        """What its tasks and its objects begin with."""
        return self.clients[index].bits >> TASK_NUMBER_BITS

    cdef object control_of(self, uint32_t index):
        """The outlet of what it is told besides results; None if it has left."""
        return None if self.outlets[index] is None else (<tuple>self.outlets[index])[1]

    # its tasks

    cdef inline uint32_t find(self, uint64_t task) noexcept nogil:
        """Index + 1 of the client whose task this is."""
        return self.bits.find(<uint32_t>(task >> TASK_NUMBER_BITS))

    cdef inline bint is_own(self, uint32_t index, uint64_t task) noexcept nogil:
        return (task & ~NUMBER_MASK) == self.clients[index].bits

    cdef inline uint32_t find_row(self, uint32_t index, uint64_t task) noexcept nogil:
        """The row of this client's task; 0 if it has no such task."""
        return directory_find(&self.clients[index].directory, task & NUMBER_MASK)

    cdef inline uint32_t find_open(self, uint64_t task) noexcept nogil:
        """The row of this task of any client; 0 if there is none."""
        cdef uint32_t index = self.find(task)
        return self.find_row(index - 1, task) if index else 0

    cdef inline bint note_row(self, uint32_t row_index) noexcept nogil:
        """The row is a task of its client's from now on. False when there is no memory."""
        cdef Row *row = self.table.row(row_index)
        cdef Client *client = &self.clients[row.client]
        if not directory_note(&client.directory, row.task & NUMBER_MASK, row_index):
            return False
        client.open_tasks += 1
        if row.task & NUMBER_MASK > client.highest_number:
            client.highest_number = row.task & NUMBER_MASK
        client.queued_bytes += row.payload_bytes
        if row.flags & FLAG_OBJECTS:
            client.brought_bytes += new_bytes(self.table.payload(row), row.payload_bytes)
        return True

    cdef inline void forget_row(self, uint32_t row_index) noexcept nogil:
        cdef Row *row = self.table.row(row_index)
        cdef Client *client = &self.clients[row.client]
        client.open_tasks -= 1
        directory_forget(&client.directory, row.task & NUMBER_MASK)

    # its functions

    cdef inline uint32_t find_function(self, uint32_t index, uint32_t number) noexcept nogil:
        """Our index + 1 of what the client calls by this number; 0 if it has not announced it."""
        cdef Client *client = &self.clients[index]
        return client.last_function if number == client.last_number else self.find_other_function(client, number)

    cdef uint32_t find_other_function(self, Client *client, uint32_t number) noexcept nogil:
        cdef uint32_t function = directory_find(&client.functions, number)
        if function:
            client.last_number, client.last_function = number, function
        return function

    cdef bint note_function(self, uint32_t index, uint32_t number, uint32_t function, uint64_t n_bytes) noexcept nogil:
        """The client calls it by this number, which it does not use yet. False if it has too many."""
        cdef Client *client = &self.clients[index]
        if client.function_count >= MOST_FUNCTIONS or not directory_note(&client.functions, number, function + 1):
            return False
        client.function_count += 1
        client.function_bytes += n_bytes
        client.last_number, client.last_function = number, function + 1
        return True

    cdef void forget_function(self, uint32_t index, uint32_t number) noexcept nogil:
        """The client will not use this number again, which it has."""
        cdef Client *client = &self.clients[index]
        client.function_count -= 1
        directory_forget(&client.functions, number)
        if number == client.last_number:
            client.last_function = 0

    # its results

    cdef void wait(self, uint32_t row_index) noexcept nogil:
        """The row's result waits for room, behind those that do already."""
        cdef Row *row = self.table.row(row_index)
        cdef Client *client = &self.clients[row.client]
        self.table.move(row, EVENT_HAS_NO_ROOM)
        row.next = 0
        row.previous = client.waiting_tail
        if client.waiting_tail:
            self.table.row(client.waiting_tail).next = row_index
        else:
            client.waiting_head = row_index
        client.waiting_tail = row_index

    cdef void stop_waiting(self, uint32_t row_index) noexcept nogil:
        cdef Row *row = self.table.row(row_index)
        cdef Client *client = &self.clients[row.client]
        if row.previous:
            self.table.row(row.previous).next = row.next
        else:
            client.waiting_head = row.next
        if row.next:
            self.table.row(row.next).previous = row.previous
        else:
            client.waiting_tail = row.previous

    cdef inline void note_dirty(self, uint32_t index) noexcept nogil:
        if not self.clients[index].dirty:
            self.clients[index].dirty = True
            self.clients[index].next_dirty = self.dirty
            self.dirty = index + 1

    cdef void flush(self) noexcept nogil:
        """Let every client that was written to see it. The caller has just made a full fence."""
        cdef Client *client
        while self.dirty:
            client = &self.clients[self.dirty - 1]
            self.dirty = client.next_dirty
            client.dirty = False
            if client.present:
                (<Outlet>client.outlet).flush()
