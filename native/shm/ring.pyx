# Ring: a single-producer, single-consumer ring of records in shared memory.
#
# SYNC POINT publish: the producer writes a record, then stores head with release; the consumer loads head with acquire,
#                     then reads the record. A record is there whole or not at all, whenever the producer is killed.
# SYNC POINT recycle: the consumer is done with a record, then stores tail with release; the producer loads tail with
#                     acquire, then overwrites the bytes.
#
# Claim: a task record is offered; the consumer makes it claimed before it looks inside, the producer can make it
# withdrawn instead, and the loser of the compare-and-swap skips it. The consumer moves tail past a claimed task only
# after its result is published, so the record at tail says what a dead worker was running.
#
# Rule 1: nothing in a ring is believed, by neither end: the other one may write anywhere in it, at any time. Every record
#         is found by `record_from`, which checks where it stands and reads its length once, and walks go on by what it
#         has found. A process that serves many peers reads a copy (`look`). A ring that fails is `broken` for good, and
#         its peer is to be shut out.
# Rule 2: a record is read between `record_from` and `recycle`, and written between `reserve` and `commit`. Else its bytes
#         are poisoned, so that `make sanitize` finds the code that touches them.
# Not here: how a peer is woken (bell), what the records mean (core, worker, client).

cdef struct Walk:
    # A look at the records that lie between two positions, by the ring's producer.
    uint64_t at             # of the record that was found last
    uint64_t next
    uint64_t end
    uint32_t record_bytes   # of that record, as it was checked


@cython.final
@cython.no_gc
cdef class Ring:
    """One end of a ring whose header is at `offset` in `memory`; its data are behind that unless `data_offset` says.

    Make one object per process and direction.
    """
    cdef Segment memory
    cdef RingHeader *header
    cdef char *data
    cdef readonly uint32_t capacity
    cdef uint64_t head          # producer's own copy; the reserved record begins here
    cdef uint64_t tail          # consumer's own copy
    cdef uint64_t tail_seen     # what the producer last saw of tail
    cdef uint64_t head_seen     # what the consumer last saw of head
    cdef uint64_t reserved
    cdef uint64_t recycled      # consumer: up to here the room of records has been given back
    cdef uint32_t peeked_bytes  # the length of what `peek` has found, as it was checked
    cdef readonly bint broken
    cdef bint producer_waits    # `read` has made room that a producer waits for; the reader sees to it

    def __cinit__(self, Segment memory, size_t offset, uint32_t capacity, size_t data_offset=0):
        if capacity < 1024 or capacity & (capacity - 1):
            raise ValueError(f"a ring's capacity is a power of two of at least 1024, not {capacity}")
        if data_offset == 0:
            data_offset = offset + RING_HEADER_BYTES
        if (offset % 64 or offset + RING_HEADER_BYTES > memory.size
                or data_offset % 64 or data_offset + capacity > memory.size):
            raise ValueError(f"a ring of {capacity} bytes at {offset} does not fit a segment of {memory.size} bytes")
        self.memory = memory
        self.header = <RingHeader *>(memory.start + offset)
        self.data = memory.start + data_offset
        self.capacity = capacity
        self.head = self.head_seen = load_acquire(&self.header.head)
        self.tail = self.tail_seen = self.recycled = load_acquire(&self.header.tail)
        if self.head & 7 or self.tail & 7 or self.head - self.tail > capacity:
            raise ValueError(f"a ring of {capacity} bytes has no records between {self.tail} and {self.head}")
        if self.head == self.tail:
            poison(self.data, capacity)

    cdef inline Record *record_from(self, uint64_t *at, uint64_t end, uint32_t *record_bytes) noexcept nogil:
        """The record at this position, or behind the padding there; NULL at `end`, or if the ring turns out broken.

        The record and its header lie within the ring and before `end`, and `record_bytes` is a length with which all
        of it does: what stands in the record may be another by the time that somebody looks again.
        """
        cdef Record *record
        cdef uint32_t rest, found
        while at[0] != end:
            if end - at[0] > self.capacity or at[0] & 7 or end & 7:
                break
            rest = self.capacity - <uint32_t>(at[0] & (self.capacity - 1))
            record = <Record *>(self.data + (self.capacity - rest))
            unpoison(record, 8)
            found = load_acquire32(&record.record_bytes)
            # At least 8 bytes are left, and a length that is no more than what is left is so when it is padded, too.
            if found > rest or found > end - at[0]:
                break
            if found == rest and record.kind == KIND_PADDING:
                at[0] += found
                continue
            if found < RECORD_HEADER_BYTES:
                break
            unpoison(record, found)
            record_bytes[0] = found
            return record
        self.broken |= at[0] != end
        return NULL

    # producer

    cdef inline uint32_t largest_payload(self) noexcept nogil:
        return min(self.capacity // 8, <uint32_t>MOST_RECORD_BYTES) - RECORD_HEADER_BYTES

    cdef Record *reserve(self, uint32_t payload_bytes) noexcept nogil:
        """Room for a record, or NULL while the ring is too full. Nothing is seen before commit."""
        cdef uint32_t wanted = padded(RECORD_HEADER_BYTES + payload_bytes)
        cdef uint32_t index = <uint32_t>(self.head & (self.capacity - 1))
        cdef uint32_t rest = self.capacity - index
        cdef uint32_t padding = 0 if wanted <= rest else rest
        cdef Record *record
        if self.head + padding + wanted - self.tail_seen > self.capacity:
            self.tail_seen = load_acquire(&self.header.tail)  # SYNC POINT recycle
            if self.head + padding + wanted - self.tail_seen > self.capacity:
                return NULL
        if padding:
            record = <Record *>(self.data + index)
            unpoison(record, 8)
            record.record_bytes = padding
            record.kind = KIND_PADDING
            self.head += padding
            index = 0
        record = <Record *>(self.data + index)
        self.reserved = wanted
        unpoison(record, wanted)
        record.record_bytes = RECORD_HEADER_BYTES + payload_bytes
        record.claim = claim_word(CLAIM_OFFERED, self.head)
        return record

    cdef inline void expect_writes(self) noexcept nogil:
        """Some records will be written soon: have the memory they will stand in fetched meanwhile."""
        cdef char *next = self.data + (self.head & (self.capacity - 1))
        prefetch_to_write(next)
        prefetch_to_write(next + 64)
        prefetch_to_write(next + 128)
        prefetch_to_write(next + 192)

    cdef inline uint64_t commit(self) noexcept nogil:
        """Publish the reserved record; its position is what withdraw takes."""
        cdef uint64_t position = self.head
        self.head += self.reserved
        store_release(&self.header.head, self.head)  # SYNC POINT publish
        return position

    cdef bint withdraw(self, uint64_t position) noexcept nogil:
        """Take back an offered task. False if the consumer has claimed it or is past it, or wrote over it."""
        cdef Record *record
        if position < load_acquire(&self.header.tail):
            return False
        record = <Record *>(self.data + (position & (self.capacity - 1)))
        unpoison(record, RECORD_HEADER_BYTES)
        # Among zeros stands a claim word, too: that of a record that was offered first of all.
        if record.kind != KIND_TASK or load_acquire32(&record.record_bytes) < RECORD_HEADER_BYTES:
            self.broken = True
            return False
        return compare_and_swap32(&record.claim, claim_word(CLAIM_OFFERED, position), claim_word(CLAIM_WITHDRAWN, position))

    cdef Walk walk_from(self, uint64_t position) noexcept nogil:
        """A walk over the records from this position on, to the last that was committed."""
        cdef Walk walk
        walk.at = walk.next = position
        walk.end = self.head
        walk.record_bytes = 0
        return walk

    cdef inline Walk walk_unread(self) noexcept nogil:
        """A walk over the records that the consumer has not gone past, as far as it says so itself."""
        return self.walk_from(load_acquire(&self.header.tail))

    cdef Record *next_of(self, Walk *walk) noexcept nogil:
        """The next record; NULL at the end, and where the ring turns out broken. It ends: each step is a record long."""
        cdef Record *record
        walk.at = walk.next
        record = self.record_from(&walk.at, walk.end, &walk.record_bytes)
        if record != NULL:
            walk.next = walk.at + padded(walk.record_bytes)
        return record

    cdef bint find(self, uint64_t task, uint64_t attempt, uint64_t *position) noexcept nogil:
        """Where an unread record of this task and attempt stands. For the rare: it looks at all of them."""
        cdef Walk walk = self.walk_unread()
        cdef Record *record = self.next_of(&walk)
        while record != NULL:
            if record.kind == KIND_TASK and record.task == task and record.attempt == attempt:
                position[0] = walk.at
                return True
            record = self.next_of(&walk)
        return False

    def claimed(self):
        """(task, attempt) of what the consumer had claimed and not gone past when it died."""
        cdef Walk walk = self.walk_unread()
        cdef Record *record = self.next_of(&walk)
        cdef list found = []
        while record != NULL:
            if record.kind == KIND_TASK and record.claim & 3 == CLAIM_CLAIMED:
                found.append((record.task, record.attempt))
            record = self.next_of(&walk)
        return found

    cdef uint32_t free_bytes(self) noexcept nogil:
        self.tail_seen = load_acquire(&self.header.tail)
        return <uint32_t>(self.capacity - (self.head - self.tail_seen))

    # consumer

    cdef inline bint has_news(self) noexcept nogil:
        return load_acquire(&self.header.head) != self.tail

    cdef inline uint64_t unread_bytes(self) noexcept nogil:
        """How much there is to be read, as far as the producer has got."""
        return load_acquire(&self.header.head) - self.tail

    cdef Record *peek(self) noexcept nogil:
        """The next record, or NULL if there is none (or the ring is broken)."""
        cdef Record *record
        while not self.broken:
            if self.head_seen == self.tail:
                self.head_seen = load_acquire(&self.header.head)  # SYNC POINT publish
                if self.head_seen == self.tail:
                    break
            record = self.record_from(&self.tail, self.head_seen, &self.peeked_bytes)
            if record != NULL:
                return record
        return NULL

    cdef inline Record *look(self, char *space) noexcept nogil:
        """As peek, but a copy, in MOST_RECORD_BYTES of ours: what its producer does to the record later is not seen."""
        cdef Record *record = self.peek()
        if record == NULL:
            return NULL
        if self.peeked_bytes > MOST_RECORD_BYTES:
            self.broken = True
            return NULL
        unpoison(space, MOST_RECORD_BYTES)
        memcpy(space, record, self.peeked_bytes)
        poison(space + padded(self.peeked_bytes), MOST_RECORD_BYTES - padded(self.peeked_bytes))
        (<Record *>space).record_bytes = self.peeked_bytes
        return <Record *>space

    cdef inline void step_over_peeked(self) noexcept nogil:
        """Go on behind the record that peek or look has found last."""
        self.step(self.peeked_bytes)

    cdef inline bint claim(self, Record *record) noexcept nogil:
        """Take the record that peek returned. False if the producer has withdrawn it."""
        return compare_and_swap32(&record.claim, claim_word(CLAIM_OFFERED, self.tail), claim_word(CLAIM_CLAIMED, self.tail))

    cdef inline void step(self, uint32_t record_bytes) noexcept nogil:
        """Go on to the next record; the room of this one is given back by recycle."""
        self.tail += padded(record_bytes)

    cdef inline bint is_behind(self) noexcept nogil:
        """Records were stepped over whose room has not been given back."""
        return self.header.tail != self.tail

    cdef inline void poison_read(self) noexcept nogil:
        """What lies between the tail that is told and our own is the producer's in a moment."""
        cdef uint32_t index = <uint32_t>(self.recycled & (self.capacity - 1))
        cdef uint32_t n_bytes = <uint32_t>(self.tail - self.recycled)
        cdef uint32_t first = min(n_bytes, self.capacity - index)
        poison(self.data + index, first)
        poison(self.data, n_bytes - first)
        self.recycled = self.tail

    cdef inline bint recycle(self) noexcept nogil:
        """Give back the room of all records stepped over. True if a producer waits for it and a quarter is free."""
        self.poison_read()
        store_release(&self.header.tail, self.tail)  # SYNC POINT recycle
        full_fence()
        return (load_acquire32(&self.header.waiting_for_room) != 0
                and load_acquire(&self.header.head) - self.tail <= self.capacity - self.capacity // 4
                and compare_and_swap32(&self.header.waiting_for_room, 1, 0))

    # from Python, for tests and rare records

    def write(self, int kind, uint64_t task=0, const unsigned char[:] payload=b"", *, uint32_t function=0, int flags=0,
              int status=0, uint64_t attempt=0, uint32_t items=0, uint32_t detail=0, TaskOptions options=None,
              uint64_t duration_ns=0):
        """Write one record. Its position, or None while there is no room. `options` are a task's, `duration_ns` a result's."""
        cdef Record *record
        cdef size_t size = payload.shape[0]
        if size > self.largest_payload():
            raise ValueError(f"a record's payload is at most {self.largest_payload()} bytes in this ring, not {size}")
        record = self.reserve(<uint32_t>size)
        if record == NULL:
            return None
        fill_record(record, kind, flags, status, function, task, attempt, items, detail)
        if options is not None:
            set_options(record, options.word, options.limit_ms)
        if duration_ns:
            record.duration_ns = duration_ns
        if size:
            memcpy(payload_of(record), &payload[0], size)
        return self.commit()

    def read(self, *, bint claim=False, bint stays=False):
        """Take the next record as a RecordCopy; None if there is none.

        With `claim`, withdrawn records are skipped. With `stays` it is in the ring until `step_over`, as a worker leaves
        what it runs.
        """
        cdef Record *record
        cdef Record header
        cdef bytes payload
        cdef uint32_t record_bytes
        while True:
            record = self.peek()
            if record == NULL:
                self.producer_waits |= self.recycle()
                return None
            record_bytes = self.peeked_bytes
            if claim and not self.claim(record):
                self.step(record_bytes)
                continue
            # Making an object may run a finalizer, which may read too: this record is to be taken by then.
            header = record[0]
            payload = payload_of(record)[:record_bytes - RECORD_HEADER_BYTES]
            if not stays:
                self.step(record_bytes)
                self.producer_waits |= self.recycle()
            return copy_with_payload(&header, payload)

    def step_over(self):
        """The record that stayed is done with."""
        if self.peek() != NULL:
            self.step_over_peeked()
            self.producer_waits |= self.recycle()

    cdef inline bint take_producer_waits(self) noexcept nogil:
        """Whether somebody waits for the room that `read` has made since this was asked last: wake it."""
        cdef bint waits = self.producer_waits
        self.producer_waits = False
        return waits

    def take_back(self, uint64_t position):
        """Withdraw the record at `position`: True if it was still offered."""
        return self.withdraw(position)

    @property
    def positions(self):
        """(head, tail) as both sides see them now."""
        return load_acquire(&self.header.head), load_acquire(&self.header.tail)

    def start_at(self, uint64_t position):
        """Set head and tail of an unused ring, to test what happens at a wrap."""
        self.header.head = self.header.tail = position
        self.head = self.head_seen = self.tail = self.tail_seen = self.recycled = position
