# Recorder: what has ended, one event of 32 bytes each, in a ring in shared memory that is written over and over.
#
# It is always on, so the last tasks are there after the fact. A viewer on the scheduler's host maps the ring read-only
# and follows it by number: it pays for that, and the scheduler pays for 32 bytes per record of tasks. What a viewer was
# too slow to read it has lost, and it knows how much (scaler/monitor/flight_recorder.py).
#
#   0     magic "SCRC", version              4096  Event[room], the event with number n at n % room
#   8     epoch                                    (32 bytes each: protocol/monitor.capnp, Events)
#   16    room: events in the ring, a power of two
#   24    written: events ever written
#
# The ring begins small and doubles when it is full, up to what the segment has room for, as long as there is memory for
# that: event n stays where it is, since n is below the room before. So a scheduler that runs few tasks takes few pages.
#
# An event is first put into a small buffer, and goes into the ring with others, at the latest when the scheduler lets its
# peers see what it has done. The ring is larger than the processor's caches: a store into it waits for memory, and several
# lines at once do so together.
#
# Rule 1: the header's `written` is stored after the events (SYNC POINT record), so whoever has read it may read all below.
# Rule 2: the writer waits for nobody. A reader copies and then looks at `written` again: of what it has copied, all but
#         what may have been written over meanwhile is good. What is being written just then is up to RECORDER_BUFFER
#         events beyond `written`, and stores of a processor with a weak order may be seen early: readers leave SLACK.
# Not here: what ends, and how (outcomes).

cpdef enum:
    RECORDER_MAGIC = 0x53435243
    RECORDER_VERSION = 1
    RECORDER_HEADER_BYTES = 4096
    RECORDER_FIRST_ROOM = 1 << 11
    MOST_EVENTS = 1 << 18      # of a scheduler's ring, which then takes 8 MiB
    RECORDER_BUFFER = 32       # events that go into the ring together
    RECORDER_SLACK = 64        # events behind the oldest one that readers do not trust

cdef packed struct RecorderHeader:
    uint32_t magic
    uint32_t version
    uint64_t epoch
    uint64_t room
    uint64_t written

cdef packed struct RecordedEvent:
    uint64_t task
    uint64_t end_ns
    float duration_s
    float queued_s
    uint32_t function
    uint16_t worker
    uint8_t outcome
    uint8_t calls

cdef enum:
    OUTCOME_SUCCEEDED = 0
    OUTCOME_FAILED = 1
    OUTCOME_CANCELLED = 2
    OUTCOME_LOST = 3
    OUTCOME_OVERDUE = 4
    OUTCOME_REFUSED = 5


@cython.final
cdef class Recorder:
    """Writes into a segment, which may be one that grows; without any it writes nothing."""
    cdef readonly Segment memory
    cdef RecorderHeader *header
    cdef RecordedEvent *ring
    cdef uint64_t mask
    cdef readonly uint64_t written     # those in the buffer included
    cdef RecordedEvent buffer[RECORDER_BUFFER]
    cdef uint32_t buffered
    cdef uint64_t full_at          # when so many are written the ring is to be made larger
    cdef uint64_t most_room

    def __init__(self, Segment memory=None, uint64_t epoch=0):
        cdef uint64_t room = RECORDER_FIRST_ROOM
        if memory is None:
            return
        if memory.size < RECORDER_HEADER_BYTES + RECORDER_FIRST_ROOM * sizeof(RecordedEvent):
            raise ValueError(f"a recorder needs more than {memory.size} bytes")
        self.most_room = (memory.size - RECORDER_HEADER_BYTES) // sizeof(RecordedEvent)
        if memory.name:
            memory.allocate(0, RECORDER_HEADER_BYTES + room * sizeof(RecordedEvent))
        self.memory = memory
        self.header = <RecorderHeader *>memory.start
        self.header.magic, self.header.version, self.header.epoch = RECORDER_MAGIC, RECORDER_VERSION, epoch
        self.header.room, self.header.written = room, 0
        self.mask = room - 1
        self.full_at = room
        self.ring = <RecordedEvent *>(memory.start + RECORDER_HEADER_BYTES)

    @property
    def room(self):
        """How many events are in it at a time, at present."""
        return self.mask + 1 if self.ring != NULL else 0

    cdef inline void write(self, uint64_t task, uint64_t end_ns, uint64_t duration_ns, uint64_t queued_ns, uint32_t function,
                           uint32_t worker, uint32_t outcome, uint64_t calls) noexcept nogil:
        cdef RecordedEvent *event
        if self.ring == NULL:
            return
        event = &self.buffer[self.buffered]
        event.task = task
        event.end_ns = end_ns
        event.duration_s = <float>(<double><int64_t>duration_ns * 1e-9)
        event.queued_s = <float>(<double><int64_t>queued_ns * 1e-9)
        event.function = function
        event.worker = <uint16_t>worker
        event.outcome = <uint8_t>outcome
        event.calls = <uint8_t>min(calls, <uint64_t>255)
        self.written += 1
        self.buffered += 1
        if self.buffered == RECORDER_BUFFER:
            self.publish()

    cdef void publish(self) noexcept nogil:
        """Put what is in the buffer into the ring, for viewers to see."""
        cdef uint64_t at
        cdef uint64_t to_end
        if self.buffered == 0:
            return
        if self.written > self.full_at:
            self.grow()
        at = (self.written - self.buffered) & self.mask
        to_end = min(<uint64_t>self.buffered, self.mask + 1 - at)
        memcpy(&self.ring[at], self.buffer, to_end * sizeof(RecordedEvent))
        memcpy(self.ring, &self.buffer[to_end], (self.buffered - to_end) * sizeof(RecordedEvent))
        self.buffered = 0
        store_release(&self.header.written, self.written)      # SYNC POINT record

    cdef void grow(self) noexcept nogil:
        """Twice the room from now on, if that can be had; else never more."""
        cdef uint64_t room = 2 * (self.mask + 1)
        self.full_at = <uint64_t>-1
        if room > self.most_room:
            return
        with gil:
            if not self.has_pages(room):
                return
        self.mask = room - 1
        self.full_at = room
        store_release(&self.header.room, room)

    cdef bint has_pages(self, uint64_t room) noexcept:
        """Whether the segment's memory reaches so far. One without a name has it all."""
        try:
            if self.memory.name:
                self.memory.allocate(0, RECORDER_HEADER_BYTES + room * sizeof(RecordedEvent))
        except (OSError, MemoryError):
            return False
        return True

    def read(self, uint64_t first, uint64_t most):
        """(number of the first one, the events from there on), at most so many and the newest ones; for the writer's own
        process, between two events."""
        cdef uint64_t begin
        cdef uint64_t at
        cdef uint64_t count
        self.publish()
        begin = max(first, self.written - min(self.written, min(most, self.mask + 1)))
        at = begin & self.mask
        if self.ring == NULL or begin >= self.written:
            return self.written, b""
        count = self.written - begin
        if at + count <= self.mask + 1:
            return begin, (<char *>&self.ring[at])[:count * sizeof(RecordedEvent)]
        return begin, ((<char *>&self.ring[at])[:(self.mask + 1 - at) * sizeof(RecordedEvent)]
                       + (<char *>self.ring)[:(count - (self.mask + 1 - at)) * sizeof(RecordedEvent)])
