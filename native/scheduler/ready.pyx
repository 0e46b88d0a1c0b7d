# ReadyQueue: tasks that could run now, best first.
#
# Order: higher priority first; then the *roots* in turn; of a root what its tasks have submitted before its own, since
# who waits for that holds a worker, the deeper the sooner; then arrival. A root is a program's client. What tasks submit
# comes from clients of their own, those of the workers they run in, and counts as their root's, at the priority of the
# task that submitted it: a client that makes a thousand tasks from within one has no more turns than one that submits
# them all at once.
#
# A turn is one task, or as many as it takes to fill TURN_NS. Else a client with ten quick tasks beside another's long ones
# would wait for ten of those. One of unknown length takes half of what it is charged, so that ten of these are two or
# three turns, and a client that has nothing but new functions has no more than three in a turn.
#
# Every list is intrusive in the rows, so cancelling is O(1) and there is nothing to allocate per task. A client has a
# list for each priority, and the client of a worker some more, its *strands*: one for each (root, priority, depth) of
# which it has tasks. Those of one root and priority are a *group*, in which the strands of a depth take turns.
#
# A client whose results have no room is held, and so is one whose tasks are being cleared: its tasks stay in its lists,
# but these are in no turn. What its tasks have submitted is not held with it, since its results go to them.
#
# Rule 1: a row is in one of these lists if and only if its state is ROW_READY.
# Rule 2: a list is in its turn if and only if it has a task and its client is not held; a root is in the turn of a
#         priority if and only if its own list is, or a strand of its group there.
# Rule 3: a strand keeps its meaning as long as any row, wherever it is, has it.
# Not here: which worker runs the task (worker_pool), whether it may run yet (core).

cdef enum:
    LISTS = 64
    PRIORITIES = 48            # lists below are of priorities, the others strands
    STRANDS = 16
    DEPTHS = 16                # deeper tasks count as that deep
    TURN_NS = 5000000          # so that ten tasks of half a millisecond are one

cdef struct Level:             # one list of one client, and its neighbours in the turn: all of it in one cache line
    uint32_t head
    uint32_t tail
    uint32_t next_client       # of a strand: its name, client * STRANDS + which of its strands
    uint32_t previous_client

cdef struct Strand:
    uint32_t users             # rows that have it
    uint32_t root              # client index
    uint32_t root_bits         # 24 bits by which that is known
    uint8_t priority
    uint8_t depth

cdef struct Group:             # of one root at one priority
    uint32_t turn[16]          # by depth: whose turn it is, the strand's name + 1
    uint64_t depths            # bit per depth that has strands in turn

cdef struct ClientLists:
    Level at[64]
    uint8_t held               # why: any of the following
    uint64_t in_turn           # bit per priority at which this client, as a root, is in the turn
    uint64_t grouped           # bit per priority at which its group has strands in turn
    Group *groups              # by priority; NULL as long as its tasks have submitted nothing
    Strand *strands            # of a worker's client; NULL otherwise

cdef enum:
    HELD_FULL = 1              # its results have no room
    HELD_CLEARING = 2          # it wants many of its tasks no more


cdef inline uint32_t highest_of(uint64_t levels) noexcept nogil:
    """The highest of these levels; there must be one."""
    return 63 - <uint32_t>count_leading_zeros(levels)


cdef inline uint32_t name_of_strand(uint32_t client, uint32_t at) noexcept nogil:
    return client * STRANDS + at - PRIORITIES


@cython.final
cdef class ReadyQueue:
    cdef TaskTable table
    cdef ClientLists **clients
    cdef uint32_t client_room
    cdef uint64_t levels           # bit per priority that has a task in turn
    cdef uint32_t turn[64]         # by priority: whose turn it is, client index + 1
    cdef uint64_t spent_ns[64]     # of that turn
    cdef readonly uint64_t size

    def __cinit__(self, TaskTable table):
        self.table = table

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.client_room):
            if self.clients[i] != NULL:
                free(self.clients[i].groups)
                free(self.clients[i].strands)
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

    # lists

    cdef void push(self, uint32_t index, uint32_t event, bint front) noexcept nogil:
        """By this event the row can run: before all others of its list, or behind them."""
        cdef Row *row = self.table.row(index)
        cdef ClientLists *lists = self.clients[row.client]
        cdef Level *list = &lists.at[row.level]
        self.table.move(row, event)
        if event != EVENT_IS_TAKEN_BACK and event != EVENT_IS_RETURNED:
            note_runnable(row, self.table.now_ns)
        self.size += 1
        if list.head == 0:
            row.next = row.previous = 0
            list.head = list.tail = index
            if not lists.held:
                self.begin(row.client, row.level)
        elif front:
            row.previous = 0
            row.next = list.head
            self.table.row(row.next).previous = index
            list.head = index
        else:
            row.next = 0
            row.previous = list.tail
            self.table.row(row.previous).next = index
            list.tail = index

    cdef void remove(self, uint32_t index) noexcept nogil:
        cdef Row *row = self.table.row(index)
        cdef ClientLists *lists = self.clients[row.client]
        cdef Level *list = &lists.at[row.level]
        self.size -= 1
        if row.previous:
            self.table.row(row.previous).next = row.next
        else:
            list.head = row.next
        if row.next:
            self.table.row(row.next).previous = row.previous
        else:
            list.tail = row.previous
        if list.head == 0 and not lists.held:
            self.end(row.client, row.level)

    cdef void hold(self, uint32_t client, bint held, uint8_t reason=HELD_FULL) noexcept nogil:
        """Take the client's lists out of all turns for this reason, or back into them if there is no other."""
        cdef ClientLists *lists = self.clients[client]
        cdef uint8_t before = lists.held
        cdef uint32_t at
        lists.held = <uint8_t>(before | reason if held else before & ~reason)
        if (before != 0) == (lists.held != 0):
            return
        for at in range(LISTS):
            if lists.at[at].head:
                if held:
                    self.end(client, at)
                else:
                    self.begin(client, at)

    # whose turn it is

    cdef inline uint32_t next_row(self, uint32_t priority) noexcept nogil:
        """The row whose turn it is. Only for a priority that is in `levels`."""
        cdef ClientLists *lists = self.clients[self.turn[priority] - 1]
        cdef Group *group
        cdef uint32_t strand
        if not lists.grouped >> priority & 1:
            return lists.at[priority].head
        group = &lists.groups[priority]
        strand = group.turn[highest_of(group.depths)] - 1
        return self.clients[strand // STRANDS].at[PRIORITIES + strand % STRANDS].head

    cdef inline void pass_turn(self, Row *row) noexcept nogil:
        """This row has had its root's turn; it is in its list still."""
        if row.level < PRIORITIES:
            self.pass_root(row.client, row.level)
        else:
            self.pass_strand(row.client, row.level)

    cdef inline void spend(self, Row *row, uint64_t cost_ns) noexcept nogil:
        """This row, which is in its list still, is placed for so much: its root has the turn for what is left of it."""
        cdef uint32_t priority = self.priority_of(row)
        self.spent_ns[priority] += cost_ns
        if self.spent_ns[priority] >= TURN_NS:
            self.pass_turn(row)

    cdef inline void pass_root(self, uint32_t root, uint32_t priority) noexcept nogil:
        if self.turn[priority] == root + 1:
            self.turn[priority] = self.clients[root].at[priority].next_client + 1
            self.spent_ns[priority] = 0

    cdef void pass_strand(self, uint32_t client, uint32_t at) noexcept nogil:
        cdef Strand *strand = &self.clients[client].strands[at - PRIORITIES]
        cdef uint32_t *turn = &self.clients[strand.root].groups[strand.priority].turn[strand.depth]
        if turn[0] == name_of_strand(client, at) + 1:
            turn[0] = self.clients[client].at[at].next_client + 1
        self.pass_root(strand.root, strand.priority)

    cdef inline void begin(self, uint32_t client, uint32_t at) noexcept nogil:
        """This list has something to be placed from now on."""
        if at < PRIORITIES:
            self.enter(client, at)
        else:
            self.begin_strand(client, at)

    cdef inline void end(self, uint32_t client, uint32_t at) noexcept nogil:
        """This list has nothing to be placed any more."""
        if at < PRIORITIES:
            self.leave(client, at)
        else:
            self.end_strand(client, at)

    cdef inline void enter(self, uint32_t root, uint32_t priority) noexcept nogil:
        if not self.clients[root].in_turn >> priority & 1:
            self.clients[root].in_turn |= (<uint64_t>1) << priority
            self.join_turn(root, priority)

    cdef inline void leave(self, uint32_t root, uint32_t priority) noexcept nogil:
        cdef ClientLists *lists = self.clients[root]
        if not lists.grouped >> priority & 1 and (lists.held or lists.at[priority].head == 0):
            lists.in_turn &= ~((<uint64_t>1) << priority)
            self.leave_turn(root, priority)

    cdef void begin_strand(self, uint32_t client, uint32_t at) noexcept nogil:
        cdef Strand *strand = &self.clients[client].strands[at - PRIORITIES]
        cdef Group *group = &self.clients[strand.root].groups[strand.priority]
        cdef Level *list = &self.clients[client].at[at]
        cdef uint32_t name = name_of_strand(client, at)
        cdef uint32_t first = group.turn[strand.depth]
        if not group.depths >> strand.depth & 1:
            group.depths |= (<uint64_t>1) << strand.depth
            group.turn[strand.depth] = name + 1
            list.next_client = list.previous_client = name
            self.clients[strand.root].grouped |= (<uint64_t>1) << strand.priority
            self.enter(strand.root, strand.priority)
            return
        list.next_client = first - 1
        list.previous_client = self.list_of(first - 1).previous_client
        self.list_of(list.previous_client).next_client = name
        self.list_of(first - 1).previous_client = name

    cdef void end_strand(self, uint32_t client, uint32_t at) noexcept nogil:
        cdef Strand *strand = &self.clients[client].strands[at - PRIORITIES]
        cdef Group *group = &self.clients[strand.root].groups[strand.priority]
        cdef Level *list = &self.clients[client].at[at]
        cdef uint32_t name = name_of_strand(client, at)
        if list.next_client != name:
            self.list_of(list.previous_client).next_client = list.next_client
            self.list_of(list.next_client).previous_client = list.previous_client
            if group.turn[strand.depth] == name + 1:
                group.turn[strand.depth] = list.next_client + 1
            return
        group.depths &= ~((<uint64_t>1) << strand.depth)
        if group.depths == 0:
            self.clients[strand.root].grouped &= ~((<uint64_t>1) << strand.priority)
            self.leave(strand.root, strand.priority)

    cdef inline Level *list_of(self, uint32_t strand) noexcept nogil:
        """The list of the strand with this name."""
        return &self.clients[strand // STRANDS].at[PRIORITIES + strand % STRANDS]

    # strands

    cdef uint32_t take_strand(self, uint32_t client, uint32_t root, uint32_t root_bits, uint32_t priority,
                              uint32_t depth) noexcept nogil:
        """Where a task of this worker's client belongs that was submitted by a task of this root. 0: there is no memory."""
        cdef ClientLists *lists = self.clients[client]
        cdef Strand *strand
        cdef uint32_t i
        cdef uint32_t best = STRANDS
        if lists.strands == NULL:
            lists.strands = <Strand *>calloc(STRANDS, sizeof(Strand))
        if lists.strands == NULL or not self.make_groups(root) or not self.make_groups(client):
            return 0
        depth = min(depth, <uint32_t>(DEPTHS - 1))
        for i in range(STRANDS):
            strand = &lists.strands[i]
            if strand.users == 0:
                best = i if best == STRANDS else best
            elif strand.root == root and strand.priority == priority and strand.depth == depth:
                strand.users += 1
                return PRIORITIES + i
        if best == STRANDS:
            best = STRANDS - 1                        # one worker's tasks of so many roots and depths: it joins others
        strand = &lists.strands[best]
        if strand.users == 0:
            strand.root, strand.root_bits = root, root_bits
            strand.priority, strand.depth = <uint8_t>priority, <uint8_t>depth
        strand.users += 1
        return PRIORITIES + best

    cdef bint make_groups(self, uint32_t root) noexcept nogil:
        if self.clients[root].groups == NULL:
            self.clients[root].groups = <Group *>calloc(PRIORITIES, sizeof(Group))
        return self.clients[root].groups != NULL

    cdef inline void let_go(self, Row *row) noexcept nogil:
        """The row is gone for good."""
        if row.level >= PRIORITIES:
            self.clients[row.client].strands[row.level - PRIORITIES].users -= 1

    cdef inline uint32_t priority_of(self, Row *row) noexcept nogil:
        """At which priority the row's turn comes."""
        return row.level if row.level < PRIORITIES else self.clients[row.client].strands[row.level - PRIORITIES].priority

    cdef inline uint32_t root_bits_of(self, Row *row) noexcept nogil:
        """By what the root of a task that a task has submitted is known; 0: the task is its client's own."""
        return 0 if row.level < PRIORITIES else self.clients[row.client].strands[row.level - PRIORITIES].root_bits

    cdef void orphan(self, uint32_t root) noexcept nogil:
        """This client is gone, and its place another's soon: what its tasks have submitted has turns of its own from now on."""
        cdef uint32_t client
        cdef uint32_t i
        for client in range(self.client_room):
            if client != root and self.clients[client] != NULL and self.clients[client].strands != NULL:
                for i in range(STRANDS):
                    if self.clients[client].strands[i].users and self.clients[client].strands[i].root == root:
                        self.adopt(client, PRIORITIES + i)

    cdef void adopt(self, uint32_t client, uint32_t at) noexcept nogil:
        cdef bint is_in_turn = self.clients[client].at[at].head != 0 and not self.clients[client].held
        if is_in_turn:
            self.end(client, at)
        self.clients[client].strands[at - PRIORITIES].root = client
        if is_in_turn:
            self.begin(client, at)

    # the ring of a priority's roots

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
        if self.turn[level] == client + 1:
            self.spent_ns[level] = 0
        if after == client:
            self.turn[level] = 0
            self.levels &= ~((<uint64_t>1) << level)
            return
        self.clients[before].at[level].next_client = after
        self.clients[after].at[level].previous_client = before
        if self.turn[level] == client + 1:
            self.turn[level] = after + 1
