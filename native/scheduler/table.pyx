# TaskTable: one row per task that the scheduler has accepted and not yet answered.
#
# Rows live in slabs (limits.h), so that the table grows without moving or doubling, and are named by a 32-bit index (0
# is none). A small payload stands in the row itself. A client's tasks are found by their ids through its Directory.
#
# Rule 1: a row stays where it is, and its memory stays the table's, until the event is over in which it ended: slabs are
#         given back by `give_back_slabs` only, which the core calls between two events (`flush`). So whoever has a
#         pointer to a row may call anything that ends rows, and still has a pointer into the table.
# Rule 2: what such a pointer leads to is another matter. A row that has ended says nothing any more; after a call that
#         may have ended it, it is looked up again by its id (`ClientTable.find_row`).
# Rule 3: only the arrival of a task takes a row, before anything else: an index that ended in an event is not used again
#         in the same event.

cdef enum:
    RUNNABLE_SHIFT = 10        # a microsecond is enough
    NOT_ASKED = 0
    ASKED_FOR_OTHERS = 1    # another worker is to have it
    ASKED_FOR_CLIENT = 2    # its client wants it only if it has begun

cdef struct Row:
    uint64_t task
    uint64_t position       # in the worker's ring
    char *payload           # NULL while the payload is in `small`
    void *node              # what it has to do with other tasks (edges); NULL: nothing
    uint32_t payload_bytes
    uint32_t next           # in the client's ready list, the worker's list, or the free list
    uint32_t previous
    uint32_t client
    uint32_t function       # NO_FUNCTION: the client has announced none of that number
    uint32_t worker
    uint32_t placements     # low half of the attempt
    uint32_t items
    uint32_t charge_ns      # to the worker that has it
    uint8_t asked           # whether a relay was asked for it back, and for whom
    uint8_t state
    uint8_t flags
    uint8_t level           # in which of its client's lists it stands when it is ready: of a priority, or a strand
    uint8_t deaths          # workers that died running it
    uint8_t retries         # how many deaths it may survive
    uint16_t request        # which resources it asks for (resources); 0: none
    uint32_t limit_ms       # how long an attempt may run; 0: as long as it likes
    uint32_t runnable_low   # since when it waits for nothing but a worker, in units of 1 << RUNNABLE_SHIFT ns
    uint16_t runnable_high
    uint8_t charged         # its worker died at it, and that has not been counted yet
    uint8_t awaited         # a task waits for it, which will run it if nobody else does
    char small[INLINE_BYTES]

cdef inline void note_runnable(Row *row, uint64_t now) noexcept nogil:
    """From now on the row's task waits for nothing but a worker."""
    row.runnable_low = <uint32_t>(now >> RUNNABLE_SHIFT)
    row.runnable_high = <uint16_t>(now >> (RUNNABLE_SHIFT + 32))


cdef inline uint64_t runnable_ns(Row *row) noexcept nogil:
    """Since when."""
    return ((<uint64_t>row.runnable_high << 32) | row.runnable_low) << RUNNABLE_SHIFT


cdef inline uint32_t calls_of(Row *row) noexcept nogil:
    """How many calls the row's task is."""
    return row.items + (row.items == 0)


cdef inline void move(Row *row, uint32_t event) noexcept nogil:
    """This has happened to the row's task. Counted by `TaskTable.move`."""
    if IS_CHECKED and not step_of(event).before >> row.state & 1:
        refuse_event(row.state, event, row.task)
    row.state = step_of(event).after

cdef inline uint32_t word_of(Row *row, uint32_t level) noexcept nogil:
    """The options of the row's task, whose priority is this level, for the worker that it is given to."""
    return options_word(row.retries, <int>level - LEVEL_PLAIN) | <uint32_t>row.deaths << 20

cdef inline void note_options(Row *row, Record *task) noexcept nogil:
    """The row has the options of this record from now on."""
    cdef uint32_t word = options_of(task)
    row.retries = <uint8_t>retries_in(word)
    row.level = <uint8_t>level_in(word)
    row.limit_ms = limit_ms_of(task)


@cython.final
cdef class TaskTable:
    """Rows by index."""
    cdef uint64_t epoch        # the high half of every attempt
    cdef Row **slabs
    cdef uint32_t slab_count
    cdef uint32_t slab_room
    cdef uint32_t free_head
    cdef uint32_t fresh       # next index never used
    cdef readonly uint64_t used
    cdef readonly uint64_t payload_bytes
    cdef CallCounts *calls    # by client
    cdef uint32_t calls_room
    cdef CallCounts gone      # of clients that are not here any more
    cdef uint64_t now_ns      # when what happens just now happens, for what is counted

    def __cinit__(self, uint32_t epoch=1):
        self.epoch = (<uint64_t>epoch) << 32
        self.fresh = 1
        memset(&self.gone, 0, sizeof(CallCounts))

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.slab_count):
            free(self.slabs[i])
        free(self.slabs)
        free(self.calls)

    cdef inline CallCounts *counts_of(self, uint32_t client) noexcept nogil:
        """What is counted of this client's calls."""
        return &self.calls[client]

    cdef inline void move(self, Row *row, uint32_t event) noexcept nogil:
        """This has happened to the row's task, whose client is known."""
        cdef CallCounts *calls = &self.calls[row.client]
        cdef uint64_t n = calls_of(row)
        calls.at[row.state] -= n
        move(row, event)
        calls.at[row.state] += n

    cdef int make_client_room(self, uint32_t client) except -1:
        """A client of this index is about to come."""
        cdef CallCounts *calls
        if client >= self.calls_room:
            calls = <CallCounts *>realloc(self.calls, (client + 64) * sizeof(CallCounts))
            if calls == NULL:
                raise MemoryError("no memory for another client")
            memset(calls + self.calls_room, 0, (client + 64 - self.calls_room) * sizeof(CallCounts))
            self.calls, self.calls_room = calls, client + 64
        return 0

    cdef void on_client_gone(self, uint32_t client) noexcept nogil:
        """Its place is another's soon: what it counted is kept among those of all that have gone."""
        add_calls(&self.gone, &self.calls[client])
        memset(&self.calls[client], 0, sizeof(CallCounts))

    cdef inline Row *row(self, uint32_t index) noexcept nogil:
        return &self.slabs[index >> SLAB_SHIFT][index & ((1 << SLAB_SHIFT) - 1)]

    cdef inline bint is_in(self, uint32_t index, uint32_t state) noexcept nogil:
        """Whether there is still a row of this index in this state: for lists that may not have heard of its end."""
        cdef Row *row
        cdef uint32_t found
        if index >= self.fresh:
            return False
        row = self.row(index)
        unpoison(row, sizeof(Row))
        found = row.state
        if found == ROW_FREE:
            poison(row, sizeof(Row))
        return found == state

    cdef inline uint64_t attempt_of(self, Row *row) noexcept nogil:
        """What the row's latest placement is called: no other of this or any other scheduler is called so."""
        return self.epoch | row.placements

    cdef uint32_t take(self) noexcept nogil:
        """A row of its own for a new task; 0 when there is no memory."""
        cdef uint32_t index = self.free_head
        cdef Row **slabs
        if index:
            unpoison(self.row(index), sizeof(Row))
            self.free_head = self.row(index).next
        else:
            if self.fresh >> SLAB_SHIFT == self.slab_count:
                if self.slab_count == self.slab_room:
                    slabs = <Row **>realloc(self.slabs, (self.slab_room + TABLE_STEP) * sizeof(Row *))
                    if slabs == NULL:
                        return 0
                    self.slabs = slabs
                    self.slab_room += TABLE_STEP
                self.slabs[self.slab_count] = <Row *>malloc(sizeof(Row) << SLAB_SHIFT)
                if self.slabs[self.slab_count] == NULL:
                    return 0
                poison(self.slabs[self.slab_count], sizeof(Row) << SLAB_SHIFT)
                self.slab_count += 1
            index = self.fresh
            self.fresh += 1
            unpoison(self.row(index), sizeof(Row))
        self.used += 1
        self.row(index).state = ROW_FREE              # a new slab says nothing
        move(self.row(index), EVENT_COMES)
        self.row(index).payload = NULL
        self.row(index).payload_bytes = 0
        self.row(index).node = NULL
        return index

    cdef void give_back(self, uint32_t index) noexcept nogil:
        cdef Row *row = self.row(index)
        self.drop_payload(row)
        self.move(row, EVENT_ENDS)
        row.next = self.free_head
        poison(row, sizeof(Row))
        self.free_head = index
        self.used -= 1

    cdef inline void give_back_slabs(self) noexcept nogil:
        """Nobody has a pointer to a row now: if none is in use, give back the memory of all slabs but the first."""
        if self.used == 0 and self.slab_count > 1:
            self.shrink()

    cdef void shrink(self) noexcept nogil:
        while self.slab_count > 1:
            self.slab_count -= 1
            free(self.slabs[self.slab_count])
        self.free_head = 0
        self.fresh = 1

    cdef bint set_payload(self, Row *row, const char *payload, uint32_t size) noexcept nogil:
        self.drop_payload(row)
        if size > INLINE_BYTES:
            row.payload = <char *>malloc(size)
            if row.payload == NULL:
                return False
            memcpy(row.payload, payload, size)
        else:
            memcpy(row.small, payload, size)
        row.payload_bytes = size
        self.payload_bytes += size
        return True

    cdef void adopt_payload(self, Row *row, char *payload, uint32_t size) noexcept nogil:
        """Have this payload, which was allocated for the row and is the row's to free. This cannot fail."""
        self.drop_payload(row)
        if size > INLINE_BYTES:
            row.payload = payload
        else:
            memcpy(row.small, payload, size)
            free(payload)
        row.payload_bytes = size
        self.payload_bytes += size

    cdef void cut_payload(self, Row *row, uint32_t skip) noexcept nogil:
        """Leave out the payload's first bytes. Nor can this."""
        cdef char *payload = self.payload(row)
        memmove(payload, payload + skip, row.payload_bytes - skip)
        row.payload_bytes -= skip
        self.payload_bytes -= skip

    cdef inline void drop_payload(self, Row *row) noexcept nogil:
        self.payload_bytes -= row.payload_bytes
        row.payload_bytes = 0
        if row.payload != NULL:
            free(row.payload)
            row.payload = NULL

    cdef inline char *payload(self, Row *row) noexcept nogil:
        return row.payload if row.payload != NULL else row.small
