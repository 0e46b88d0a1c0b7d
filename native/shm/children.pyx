# Children: tasks that a task has submitted and nobody has taken yet.
#
# They stand in the segment of the worker's own client, one small record to a slot, and cost no message: a parent that
# waits for one takes it back and runs it on its own stack. Only when some worker is idle does the scheduler take some
# away, the oldest first, since the oldest is the root of the largest rest of the work.
#
# Each slot has a word: two bits of state, and the number it was offered under. Both sides take by a compare-and-swap on
# it, so the winner has the slot to itself. Any slot can be taken, not just one at an end: a parent may wait for its
# first child while the last ones are still here, and must not run those on its stack (they might want a lock that it
# holds).
#
# SYNC POINT hungry: the owner offers a child, full fence, looks at `hungry`, tells.
#                    the scheduler sets `hungry`, full fence, looks at the children, sleeps.
#
# Rule 1: a word goes FREE -> OFFERED by the owner, OFFERED -> FREE by the owner (it runs it) or OFFERED -> TAKEN ->
#         FREE by the scheduler (it copies it between the two).
# Rule 2: the scheduler believes neither length nor kind of what it finds.
# Not here: which task waits for which (nested), what the scheduler does with one (pump).

cdef enum:
    CHILD_FREE = 0
    CHILD_OFFERED = 1
    CHILD_TAKEN = 2
    CHILD_STATES = 3       # mask
    CHILD_SLOTS = 256
    CHILD_SLOT_BYTES = 512
    CHILD_MOST_PAYLOAD = 456     # a slot without the header

cpdef enum:
    CHILDREN_BYTES = 133120      # all slots and their words


@cython.final
@cython.no_gc
cdef class Children:
    """One side's view of the slots in a peer's segment."""
    cdef Segment memory
    cdef uint64_t *words
    cdef char *slots
    cdef uint64_t number       # owner: of the last offer
    cdef uint32_t next         # owner: where to look for room first

    def __init__(self, Segment memory not None):
        cdef PeerPage *page = <PeerPage *>memory.start
        cdef size_t start = PAGE
        cdef int i
        for i in range(RINGS):
            start += page.ring_bytes[i]
        if page.children_bytes != CHILDREN_BYTES or start % 64 or start + CHILDREN_BYTES > memory.size:
            raise ValueError(f"segment {memory.name!r} has no place for children as this version lays it out")
        self.memory = memory
        self.words = <uint64_t *>(memory.start + start)
        self.slots = memory.start + start + CHILD_SLOTS * 8

    cdef inline Record *record(self, uint32_t slot) noexcept nogil:
        return <Record *>(self.slots + slot * <size_t>CHILD_SLOT_BYTES)

    # the owner

    cdef int find_room(self) noexcept nogil:
        """A free slot, to be filled and offered; -1 if there is none."""
        cdef uint32_t i
        cdef uint32_t slot = self.next
        for i in range(CHILD_SLOTS):
            if load_acquire(&self.words[slot]) & CHILD_STATES == CHILD_FREE:
                return <int>slot
            slot = (slot + 1) % CHILD_SLOTS
        return -1

    cdef inline void offer(self, uint32_t slot) noexcept nogil:
        """The slot is filled: either side may take it."""
        self.number += 1
        self.next = (slot + 1) % CHILD_SLOTS
        store_release(&self.words[slot], self.number << 2 | CHILD_OFFERED)

    cdef inline bint take_back(self, uint32_t slot, uint64_t task) noexcept nogil:
        """The owner's own again, if the slot still holds this task and nobody has it yet. Its payload is the owner's to know."""
        cdef uint64_t word = load_acquire(&self.words[slot])
        if word & CHILD_STATES != CHILD_OFFERED or self.record(slot).task != task:
            return False
        if not compare_and_swap(&self.words[slot], word, word & ~<uint64_t>CHILD_STATES | CHILD_FREE):
            return False
        self.next = slot
        return True

    cdef inline bint is_offered(self, uint32_t slot, uint64_t last) noexcept nogil:
        """Whether there is a child that nobody has yet, offered under a number of at most `last`."""
        cdef uint64_t word = load_acquire(&self.words[slot])
        return word & CHILD_STATES == CHILD_OFFERED and word >> 2 <= last

    # the scheduler

    cdef bint take_oldest(self, char *into) noexcept nogil:
        """Copy the oldest child away: CHILD_SLOT_BYTES at `into`. False if there is none, or it makes no sense."""
        cdef uint64_t oldest, word
        cdef uint32_t slot, best = 0
        cdef Record *record
        cdef uint32_t tries = CHILD_SLOTS
        while tries:                                  # an owner that is faster each time takes them all itself
            tries -= 1
            oldest = 0
            for slot in range(CHILD_SLOTS):
                word = load_acquire(&self.words[slot])
                if word & CHILD_STATES == CHILD_OFFERED and (oldest == 0 or word < oldest):
                    oldest = word
                    best = slot
            if oldest == 0:
                return False
            if not compare_and_swap(&self.words[best], oldest, oldest & ~<uint64_t>CHILD_STATES | CHILD_TAKEN):
                continue                              # its owner was faster
            memcpy(into, self.record(best), CHILD_SLOT_BYTES)
            store_release(&self.words[best], oldest & ~<uint64_t>CHILD_STATES | CHILD_FREE)
            record = <Record *>into
            return (record.kind == KIND_TASK and RECORD_HEADER_BYTES <= record.record_bytes <= CHILD_SLOT_BYTES)
        return False

    # for tests

    def put(self, uint64_t task, bytes payload not None):
        """Offer a task; False if there is no room."""
        cdef int slot = self.find_room()
        cdef Record *record
        if slot < 0 or len(payload) > CHILD_MOST_PAYLOAD:
            return False
        record = self.record(slot)
        record.record_bytes = <uint32_t>(RECORD_HEADER_BYTES + len(payload))
        fill_record(record, KIND_TASK, 0, 0, 1, task, 0, 0, 0)
        memcpy(payload_of(record), PyBytes_AS_STRING(payload), len(payload))
        self.offer(slot)
        return True

    def take_task(self, uint64_t task):
        """Take this task back; False if it is not here."""
        cdef uint32_t slot
        for slot in range(CHILD_SLOTS):
            if self.take_back(slot, task):
                return True
        return False

    def steal(self):
        """(task, payload) of the oldest; None if there is none."""
        cdef char space[CHILD_SLOT_BYTES]
        cdef Record *record = <Record *>space
        if not self.take_oldest(space):
            return None
        return record.task, payload_of(record)[:payload_bytes_of(record)]
