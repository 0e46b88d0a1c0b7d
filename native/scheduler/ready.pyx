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
# Tasks that ask for resources (resources) stand apart: what asks for the same has a *lane*, which is a ReadyQueue of its
# own. So a task that no worker has the resources for just now passes nobody and is in nobody's way. Which lane has the
# next turn, `choose` says: the higher priority; then the root that has been served less since there have been such tasks,
# so that a client that asks for ten different things has no more than one that asks for nothing; then what waits longer.
# As long as no such task is ready, none of this is looked at.
#
# Rule 1: a row is in one of these lists, of the lane that it asks for, if and only if its state is ROW_READY.
# Rule 2: a list is in its turn if and only if it has a task and its client is not held; a root is in the turn of a
#         priority if and only if its own list is, or a strand of its group there.
# Rule 3: a strand keeps its meaning as long as any row, wherever it is, has it.
# Rule 4: a lane that could not be placed is looked at again when `openings` has moved: a worker with resources has room
#         again, or some were given back, or what was before it has gone.
# Not here: which worker runs the task (worker_pool, claims), whether it may run yet (core).

cdef enum:
    LISTS = 64
    PRIORITIES = 48            # lists below are of priorities, the others strands
    STRANDS = 16
    DEPTHS = 16                # deeper tasks count as that deep
    TURN_NS = 5000000          # so that ten tasks of half a millisecond are one
    NO_QUEUE = 0xFFFFFFFF

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
    uint8_t has_lanes          # it has lists in some lane, or had
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


cdef struct Choice:            # which task is next, and of which lane
    uint32_t request           # 0: it asks for nothing. NO_QUEUE: there is none
    uint32_t row
    uint32_t root
    uint32_t level
    uint64_t served_ns         # of the root


@cython.final
cdef class ReadyQueue:
    """What asks for nothing stands here, all else in its lane."""
    cdef TaskTable table
    cdef ClientLists **clients
    cdef uint32_t client_room
    cdef uint64_t levels           # bit per priority that has a task in turn
    cdef uint32_t turn[64]         # by priority: whose turn it is, client index + 1
    cdef uint64_t spent_ns[64]     # of that turn
    cdef readonly uint64_t size    # without those in lanes
    cdef uint64_t passed           # bit per priority whose head fits no worker that is open, in this round
    cdef uint64_t blocked_at       # of a lane: at how many openings there was no worker for it
    cdef bint is_lane
    cdef uint32_t active_at        # of a lane: where in `active` it stands
    # of all lanes
    cdef list lanes                # by request
    cdef void **lane_at            # the same
    cdef uint32_t lane_room
    cdef uint32_t *active          # requests whose lanes have tasks
    cdef uint32_t active_count
    cdef readonly uint64_t requested    # tasks in lanes
    cdef uint64_t openings         # from 1 on
    cdef uint64_t *served_ns       # by root
    cdef uint64_t clock_ns         # what the root had been served that was chosen last

    def __cinit__(self, TaskTable table):
        self.table = table
        self.lanes = []
        self.openings = 1

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.client_room):
            if self.clients[i] != NULL:
                free(self.clients[i].groups)
                free(self.clients[i].strands)
            free(self.clients[i])
        free(self.clients)
        free(self.lane_at)
        free(self.active)
        free(self.served_ns)

    cdef bint add_client(self, uint32_t client) noexcept nogil:
        cdef uint32_t i
        cdef ClientLists **clients
        cdef uint64_t *served_ns
        if client >= self.client_room:
            if not self.is_lane:
                served_ns = <uint64_t *>realloc(self.served_ns, (client + 64) * sizeof(uint64_t))
                if served_ns == NULL:
                    return False
                self.served_ns = served_ns
            clients = <ClientLists **>realloc(self.clients, (client + 64) * sizeof(ClientLists *))
            if clients == NULL:
                return False
            self.clients = clients
            for i in range(self.client_room, client + 64):
                self.clients[i] = NULL
            self.client_room = client + 64
        if not self.is_lane:
            self.served_ns[client] = 0
        if self.clients[client] == NULL:
            self.clients[client] = <ClientLists *>calloc(1, sizeof(ClientLists))
        return self.clients[client] != NULL

    # lanes

    cdef int add_lane(self, uint32_t request) except -1:
        """Tasks may ask for this from now on."""
        cdef ReadyQueue lane = ReadyQueue(self.table)
        cdef uint32_t room = 2 * request + 16
        cdef void **lane_at
        cdef uint32_t *active
        if request >= self.lane_room:
            active = <uint32_t *>realloc(self.active, room * sizeof(uint32_t))
            if active == NULL:
                raise MemoryError("no memory for another request of resources")
            self.active = active
            lane_at = <void **>realloc(self.lane_at, room * sizeof(void *))
            if lane_at == NULL:
                raise MemoryError("no memory for another request of resources")
            memset(lane_at + self.lane_room, 0, (room - self.lane_room) * sizeof(void *))
            self.lane_at = lane_at
            self.lanes.extend([None] * (room - len(self.lanes)))
            self.lane_room = room
        lane.is_lane = True
        self.lanes[request] = lane
        self.lane_at[request] = <void *>lane
        return 0

    cdef int drop_lane(self, uint32_t request) except -1:
        """No task asks for this any more."""
        self.lane_at[request] = NULL
        self.lanes[request] = None
        return 0

    cdef bint make_lists(self, uint32_t request, uint32_t client) noexcept nogil:
        """The client, or a root, is about to have a task that asks for this. False if there is no memory."""
        self.clients[client].has_lanes = True
        return (<ReadyQueue>self.lane_at[request]).make_lists_here(client, self.clients[client].held)

    cdef bint make_lists_here(self, uint32_t client, uint8_t held) noexcept nogil:
        if client < self.client_room and self.clients[client] != NULL:
            return True
        if not self.add_client(client):
            return False
        self.clients[client].held = held
        return True

    cdef void note_in_lane(self, uint32_t request) noexcept nogil:
        """One more task in this lane."""
        self.requested += 1
        if (<ReadyQueue>self.lane_at[request]).size == 1:
            (<ReadyQueue>self.lane_at[request]).active_at = self.active_count
            self.active[self.active_count] = request
            self.active_count += 1

    cdef void note_out_of_lane(self, uint32_t request) noexcept nogil:
        """One less. With the last, nothing is kept for it any more that others could have."""
        cdef uint32_t last
        self.requested -= 1
        if (<ReadyQueue>self.lane_at[request]).size == 0:
            self.active_count -= 1
            last = self.active[self.active_count]
            self.active[(<ReadyQueue>self.lane_at[request]).active_at] = last
            (<ReadyQueue>self.lane_at[last]).active_at = (<ReadyQueue>self.lane_at[request]).active_at
            self.openings += 1

    cdef void begin_round(self) noexcept nogil:
        """Nothing has been passed over."""
        cdef uint32_t i
        self.passed = 0
        for i in range(self.active_count):
            (<ReadyQueue>self.lane_at[self.active[i]]).passed = 0

    cdef Choice choose(self, bint any_open) noexcept nogil:
        """Which task is next, of those for which there may be a worker; what asks for nothing only if one is open."""
        cdef Choice best
        cdef uint32_t i
        best.request = NO_QUEUE
        if any_open and self.levels & ~self.passed:
            self.compare(&best, 0, <void *>self)
        for i in range(self.active_count):
            if (<ReadyQueue>self.lane_at[self.active[i]]).may_be_placed(self.openings):
                self.compare(&best, self.active[i], self.lane_at[self.active[i]])
        return best

    cdef inline bint may_be_placed(self, uint64_t openings) noexcept nogil:
        return self.blocked_at != openings and self.levels & ~self.passed != 0

    cdef void compare(self, Choice *best, uint32_t request, void *lane) noexcept nogil:
        """Take the head of this lane, if it comes before."""
        cdef uint32_t level = highest_of((<ReadyQueue>lane).levels & ~(<ReadyQueue>lane).passed)
        cdef uint32_t root = (<ReadyQueue>lane).turn[level] - 1
        cdef uint32_t row = (<ReadyQueue>lane).next_row(level)
        cdef uint64_t served_ns = max(self.served_ns[root], self.clock_ns)
        if best.request != NO_QUEUE:
            if level != best.level:
                if level < best.level:
                    return
            elif served_ns != best.served_ns:
                if served_ns > best.served_ns:
                    return
            elif runnable_ns(self.table.row(row)) >= runnable_ns(self.table.row(best.row)):
                return
        best.request, best.row, best.root, best.level, best.served_ns = request, row, root, level, served_ns

    cdef inline void note_served(self, Choice *choice, uint64_t cost_ns) noexcept nogil:
        """What was chosen has been placed."""
        self.clock_ns = choice.served_ns
        self.served_ns[choice.root] = choice.served_ns + cost_ns

    cdef inline void block(self, uint32_t request) noexcept nogil:
        """There is no worker for this just now."""
        (<ReadyQueue>self.lane_at[request]).blocked_at = self.openings

    cdef inline void pass_over(self, Choice *choice) noexcept nogil:
        """What was chosen fits no worker that is open: another's turn comes with the next event."""
        if choice.request:
            (<ReadyQueue>self.lane_at[choice.request]).pass_level(choice.level)
        else:
            self.pass_level(choice.level)

    cdef inline void pass_level(self, uint32_t level) noexcept nogil:
        self.passed |= (<uint64_t>1) << level

    cdef inline uint64_t total(self) noexcept nogil:
        """All tasks that could run."""
        return self.size + self.requested

    cdef uint32_t find_any(self) noexcept nogil:
        """A row that has a turn, whatever it asks for; 0 if there is none."""
        cdef uint32_t i
        if self.levels:
            return self.next_row(highest_of(self.levels))
        for i in range(self.active_count):
            if (<ReadyQueue>self.lane_at[self.active[i]]).levels:
                return (<ReadyQueue>self.lane_at[self.active[i]]).next_row(
                    highest_of((<ReadyQueue>self.lane_at[self.active[i]]).levels))
        return 0

    cdef inline ReadyQueue queue_of(self, Row *row):
        """Where the row's task stands when it is ready; for those who look."""
        return <ReadyQueue>self.lane_at[row.request] if row.request else self

    # lists

    cdef inline void push(self, uint32_t index, uint32_t event, bint front) noexcept nogil:
        """By this event the row can run: before all others of its list, or behind them."""
        if self.table.row(index).request == 0:
            self.push_here(index, event, front)
        else:
            self.push_in_lane(index, event, front)

    cdef void push_in_lane(self, uint32_t index, uint32_t event, bint front) noexcept nogil:
        cdef uint32_t request = self.table.row(index).request
        cdef uint64_t levels = (<ReadyQueue>self.lane_at[request]).levels
        (<ReadyQueue>self.lane_at[request]).push_here(index, event, front)
        self.note_in_lane(request)
        if (<ReadyQueue>self.lane_at[request]).levels & ~levels:
            self.openings += 1                        # it may come before those for which something is kept

    cdef void push_here(self, uint32_t index, uint32_t event, bint front) noexcept nogil:
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

    cdef inline void remove(self, uint32_t index) noexcept nogil:
        cdef uint32_t request = self.table.row(index).request
        if request == 0:
            self.remove_here(index)
        else:
            (<ReadyQueue>self.lane_at[request]).remove_here(index)
            self.note_out_of_lane(request)

    cdef void remove_here(self, uint32_t index) noexcept nogil:
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
        cdef uint32_t request
        self.hold_here(client, held, reason)
        if not self.clients[client].has_lanes:
            return
        for request in range(self.lane_room):
            if self.lane_at[request] != NULL and (<ReadyQueue>self.lane_at[request]).has_lists(client):
                (<ReadyQueue>self.lane_at[request]).hold_here(client, held, reason)

    cdef inline bint has_lists(self, uint32_t client) noexcept nogil:
        return client < self.client_room and self.clients[client] != NULL

    cdef void hold_here(self, uint32_t client, bint held, uint8_t reason) noexcept nogil:
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
        if row.request:
            (<ReadyQueue>self.lane_at[row.request]).pass_turn_here(row)
        else:
            self.pass_turn_here(row)

    cdef inline void pass_turn_here(self, Row *row) noexcept nogil:
        if row.level < PRIORITIES:
            self.pass_root(row.client, row.level)
        else:
            self.pass_strand(row.client, row.level)

    cdef inline void spend(self, Row *row, uint64_t cost_ns) noexcept nogil:
        """This row, which is in its list still, is placed for so much: its root has the turn for what is left of it."""
        if row.request:
            (<ReadyQueue>self.lane_at[row.request]).spend_here(row, cost_ns)
        else:
            self.spend_here(row, cost_ns)

    cdef inline void spend_here(self, Row *row, uint64_t cost_ns) noexcept nogil:
        cdef uint32_t priority = self.priority_here(row)
        self.spent_ns[priority] += cost_ns
        if self.spent_ns[priority] >= TURN_NS:
            self.pass_turn_here(row)

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

    cdef uint32_t take_strand(self, Row *row, uint32_t root, uint32_t root_bits, uint32_t depth) noexcept nogil:
        """Where a task of a worker's client belongs that was submitted by a task of this root. 0: there is no memory."""
        if row.request == 0:
            return self.take_strand_here(row.client, root, root_bits, row.level, depth)
        if not self.make_lists(row.request, root):
            return 0
        return (<ReadyQueue>self.lane_at[row.request]).take_strand_here(row.client, root, root_bits, row.level, depth)

    cdef uint32_t take_strand_here(self, uint32_t client, uint32_t root, uint32_t root_bits, uint32_t priority,
                                   uint32_t depth) noexcept nogil:
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
            if row.request:
                (<ReadyQueue>self.lane_at[row.request]).let_go_here(row)
            else:
                self.let_go_here(row)

    cdef inline void let_go_here(self, Row *row) noexcept nogil:
        self.clients[row.client].strands[row.level - PRIORITIES].users -= 1

    cdef inline uint32_t priority_of(self, Row *row) noexcept nogil:
        """At which priority the row's turn comes."""
        if row.request:
            return (<ReadyQueue>self.lane_at[row.request]).priority_here(row)
        return self.priority_here(row)

    cdef inline uint32_t priority_here(self, Row *row) noexcept nogil:
        return row.level if row.level < PRIORITIES else self.clients[row.client].strands[row.level - PRIORITIES].priority

    cdef inline uint32_t root_bits_of(self, Row *row) noexcept nogil:
        """By what the root of a task that a task has submitted is known; 0: the task is its client's own."""
        if row.request:
            return (<ReadyQueue>self.lane_at[row.request]).root_bits_here(row)
        return self.root_bits_here(row)

    cdef inline uint32_t root_bits_here(self, Row *row) noexcept nogil:
        return 0 if row.level < PRIORITIES else self.clients[row.client].strands[row.level - PRIORITIES].root_bits

    cdef void orphan(self, uint32_t root) noexcept nogil:
        """This client is gone, and its place another's soon: what its tasks have submitted has turns of its own from now on."""
        cdef uint32_t request
        self.orphan_here(root)
        for request in range(self.lane_room):
            if self.lane_at[request] != NULL:
                (<ReadyQueue>self.lane_at[request]).orphan_here(root)

    cdef void orphan_here(self, uint32_t root) noexcept nogil:
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
