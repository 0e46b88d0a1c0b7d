# ReadyQueue: tasks that could run now, best first.
#
# Order: higher level first, then clients in turn, then arrival. Every list is intrusive in the rows, so cancelling is
# O(1) and there is nothing to allocate.
#
# A client whose results have no room is held, and so is one whose tasks are being cleared: its tasks stay in its lists,
# but it is in no turn.
#
# Rule 1: a row is in one of these lists if and only if its state is ROW_READY.
# Rule 2: a client is in the turn of a level if and only if it has a task there and is not held.
# Not here: who runs the task (worker_pool), whether it may run yet (core).

cdef enum:
    LEVELS = 64
    LEVEL_NESTED = 48  # above all priorities, and deeper ones above that: who waits for them holds a worker

cdef struct Level:             # one client's tasks of one level: all of it in one cache line
    uint32_t head
    uint32_t tail
    uint32_t next_client       # ring of the clients that have something at this level
    uint32_t previous_client

cdef struct ClientLists:
    Level at[64]
    uint8_t held               # why: any of the following

cdef enum:
    HELD_FULL = 1              # its results have no room
    HELD_CLEARING = 2          # it wants many of its tasks no more


cdef inline uint32_t highest_of(uint64_t levels) noexcept nogil:
    """The highest of these levels; there must be one."""
    return 63 - <uint32_t>count_leading_zeros(levels)


@cython.final
cdef class ReadyQueue:
    cdef TaskTable table
    cdef ClientLists **clients
    cdef uint32_t client_room
    cdef uint64_t levels           # bit per level that has a ready task
    cdef uint32_t turn[64]         # whose turn it is, client index + 1
    cdef readonly uint64_t size

    def __cinit__(self, TaskTable table):
        self.table = table

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.client_room):
            free(self.clients[i])
        free(self.clients)

    cdef bint add_client(self, uint32_t client) noexcept nogil:
        cdef uint32_t i
        cdef ClientLists **clients
        if client >= self.client_room:
            clients = <ClientLists **>realloc(self.clients, (client + 64) * sizeof(ClientLists *))
            if clients == NULL:
                return False
            self.clients = clients
            for i in range(self.client_room, client + 64):
                self.clients[i] = NULL
            self.client_room = client + 64
        if self.clients[client] == NULL:
            self.clients[client] = <ClientLists *>calloc(1, sizeof(ClientLists))
        return self.clients[client] != NULL

    cdef void push(self, uint32_t index, uint32_t event, bint front) noexcept nogil:
        """By this event the row can run: before all others of its client and level, or behind them."""
        cdef Row *row = self.table.row(index)
        cdef ClientLists *lists = self.clients[row.client]
        cdef uint32_t level = row.level
        move(row, event)
        self.size += 1
        if lists.at[level].head == 0:
            row.next = row.previous = 0
            lists.at[level].head = lists.at[level].tail = index
            if not lists.held:
                self.join_turn(row.client, level)
        elif front:
            row.previous = 0
            row.next = lists.at[level].head
            self.table.row(row.next).previous = index
            lists.at[level].head = index
        else:
            row.next = 0
            row.previous = lists.at[level].tail
            self.table.row(row.previous).next = index
            lists.at[level].tail = index

    cdef void remove(self, uint32_t index) noexcept nogil:
        cdef Row *row = self.table.row(index)
        cdef ClientLists *lists = self.clients[row.client]
        cdef uint32_t level = row.level
        self.size -= 1
        if row.previous:
            self.table.row(row.previous).next = row.next
        else:
            lists.at[level].head = row.next
        if row.next:
            self.table.row(row.next).previous = row.previous
        else:
            lists.at[level].tail = row.previous
        if lists.at[level].head == 0 and not lists.held:
            self.leave_turn(row.client, level)

    cdef void hold(self, uint32_t client, bint held, uint8_t reason=HELD_FULL) noexcept nogil:
        """Take the client out of all turns for this reason, or back into them if there is no other."""
        cdef ClientLists *lists = self.clients[client]
        cdef uint8_t before = lists.held
        cdef uint32_t level
        lists.held = <uint8_t>(before | reason if held else before & ~reason)
        if (before != 0) == (lists.held != 0):
            return
        for level in range(LEVELS):
            if lists.at[level].head:
                if held:
                    self.leave_turn(client, level)
                else:
                    self.join_turn(client, level)

    cdef inline void pass_turn(self, uint32_t client, uint32_t level) noexcept nogil:
        """If it is this client's turn it has had it."""
        if self.turn[level] == client + 1:
            self.turn[level] = self.clients[client].at[level].next_client + 1

    cdef void join_turn(self, uint32_t client, uint32_t level) noexcept nogil:
        cdef uint32_t first = self.turn[level]
        cdef uint32_t last
        if first == 0:
            self.clients[client].at[level].next_client = self.clients[client].at[level].previous_client = client
            self.turn[level] = client + 1
            self.levels |= (<uint64_t>1) << level
            return
        first -= 1
        last = self.clients[first].at[level].previous_client
        self.clients[client].at[level].next_client = first
        self.clients[client].at[level].previous_client = last
        self.clients[last].at[level].next_client = client
        self.clients[first].at[level].previous_client = client

    cdef void leave_turn(self, uint32_t client, uint32_t level) noexcept nogil:
        cdef uint32_t after = self.clients[client].at[level].next_client
        cdef uint32_t before = self.clients[client].at[level].previous_client
        if after == client:
            self.turn[level] = 0
            self.levels &= ~((<uint64_t>1) << level)
            return
        self.clients[before].at[level].next_client = after
        self.clients[after].at[level].previous_client = before
        if self.turn[level] == client + 1:
            self.turn[level] = after + 1
