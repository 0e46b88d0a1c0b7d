# TraceLanes: events of the recorder as slices of a Perfetto trace, a million a second.
#
# A Perfetto trace is a protobuf: a list of packets, here with nothing in them but what a slice needs. Every worker is a
# *sequence* of its own, so that its packets name neither their track, nor their clock, nor a whole time: these are
# defaults of the sequence, said once at its beginning, and a time is the step since the sequence's last packet. Names are
# numbers that the sequence has been told (interned). So a task takes some 35 bytes.
#
# The recorder knows when the scheduler read a result, and results are read several at a time. A worker runs one task
# after another, though: what is read together is laid out before the one that came next, each for as long as it ran.
#
# If a worker had nothing to do while its next task could have run, that gap is a slice `queued` before it; the whole time
# in the queue is an annotation of the task's own slice.
#
# Rule 1: what comes in are 32-byte events of whatever values; what goes out is a well-formed protobuf.
# Not here: tracks' names, counters, files (scaler.monitor.trace).

cdef enum:
    LANES = 1 << 16
    LEAST_GAP_NS = 10000       # of a `queued` slice
    IID_QUEUED = 1             # of its name, in each sequence
    IID_QUEUED_US = 1          # of the annotation's
    FIRST_IID = 2
    MOST_SLICE_BYTES = 256     # of all packets of one task, without names


cdef inline char *put_varint(char *at, uint64_t value) noexcept nogil:
    while value >= 0x80:
        at[0] = <char>(value & 0x7F | 0x80)
        at += 1
        value >>= 7
    at[0] = <char>value
    return at + 1


cdef inline uint32_t varint_bytes(uint64_t value) noexcept nogil:
    return (70 - <uint32_t>count_leading_zeros(value | 1)) // 7


cdef inline char *put_packet(char *at, uint32_t sequence, uint64_t step, uint32_t kind, uint64_t iid, int64_t queued_us) noexcept nogil:
    """One packet: a slice begins (kind 1, with the name of this iid) or ends (2)."""
    cdef uint32_t annotation = 0
    cdef uint32_t event = 2 + (1 + varint_bytes(iid) if iid else 0)
    cdef uint32_t size
    if queued_us >= 0:
        annotation = 3 + varint_bytes(queued_us)      # name_iid, uint_value
        event += 2 + annotation
    size = 1 + varint_bytes(step) + 1 + varint_bytes(sequence) + 2 + event + 2
    at[0] = 0x0A                                      # Trace.packet
    at = put_varint(at + 1, size)
    at[0] = 0x40                                      # timestamp
    at = put_varint(at + 1, step)
    at[0] = 0x50                                      # trusted_packet_sequence_id
    at = put_varint(at + 1, sequence)
    at[0], at[1] = 0x68, 2                            # sequence_flags: needs what was interned
    at[2] = 0x5A                                      # track_event
    at = put_varint(at + 3, event)
    at[0], at[1] = 0x48, <char>kind                   # type
    at += 2
    if iid:
        at[0] = 0x50                                  # name_iid
        at = put_varint(at + 1, iid)
    if queued_us >= 0:
        at[0], at[1] = 0x22, <char>annotation         # debug_annotations
        at[2], at[3], at[4] = 0x08, IID_QUEUED_US, 0x18
        at = put_varint(at + 5, queued_us)
    return at


cdef bytes varint(uint64_t value):
    cdef char space[10]
    return space[:put_varint(space, value) - space]


cdef bytes message(int field, bytes body):
    """A field that is a message or a text."""
    return varint(field << 3 | 2) + varint(len(body)) + body


cdef class TraceLanes:
    """`begin(worker)` is the bytes with which a worker's sequence begins, whose clock starts at `start_ns`; `name(function,
    outcome)` what a slice is called. Events are handed in in their order, in pieces of any size."""
    cdef object begin, name
    cdef uint64_t start_ns
    cdef uint64_t *last            # by worker: the time of its sequence's last packet
    cdef uint64_t *next_begin      # by worker, of the event behind, while a piece is laid out
    cdef dict iids                 # (function, whether it failed) -> iid
    cdef dict told                 # worker -> set of iids
    cdef readonly uint64_t slices

    def __init__(self, uint64_t start_ns, begin not None, name not None):
        self.begin, self.name, self.start_ns = begin, name, start_ns
        self.iids, self.told = {}, {}
        self.last = <uint64_t *>calloc(LANES, sizeof(uint64_t))
        self.next_begin = <uint64_t *>calloc(LANES, sizeof(uint64_t))
        if self.last == NULL or self.next_begin == NULL:
            raise MemoryError("no memory for a trace")

    def __dealloc__(self):
        free(self.last)
        free(self.next_begin)

    def encode(self, events not None):
        """The packets of these events, of which those that no worker ran are left out."""
        cdef const unsigned char[:] view = events
        cdef const RecordedEvent *event
        cdef size_t count = view.shape[0] // sizeof(RecordedEvent)
        cdef uint64_t *ends = <uint64_t *>malloc((count + 1) * sizeof(uint64_t))
        cdef ByteBuffer out = ByteBuffer()
        cdef set told = None
        cdef int64_t told_of = -1
        cdef int64_t iid_of = -1       # the function, and whether it failed, that `iid` is of
        cdef uint64_t iid = 0
        cdef uint64_t duration, begin, end, gap
        cdef int64_t key
        cdef uint32_t sequence
        cdef size_t i
        cdef char *at
        if ends == NULL:
            raise MemoryError("no memory for a trace")
        try:
            if count == 0:
                return b""
            event = <const RecordedEvent *>&view[0]
            self.lay_out(event, count, ends)
            for i in range(count):
                if event[i].worker == 0 or not event[i].duration_s >= 0 or not event[i].duration_s < 1e9:
                    continue
                duration = <uint64_t>(<double>event[i].duration_s * 1e9)
                end = max(ends[i], self.start_ns)
                begin = end - min(duration, end)
                if told_of != event[i].worker:
                    told, told_of = self.told_by(event[i].worker, out), event[i].worker
                key = <int64_t>event[i].function << 1 | (event[i].outcome != 0)
                if key != iid_of:
                    iid, iid_of = self.iid_for(key), key
                if iid not in told:
                    self.tell(event[i].worker, iid, key, out)
                    told.add(iid)
                begin = max(begin, self.last[event[i].worker])
                end = max(end, begin)
                sequence = <uint32_t>event[i].worker + 2
                at = out.need(MOST_SLICE_BYTES)
                gap = begin - self.last[event[i].worker]
                if event[i].queued_s * 1e9 < gap:
                    gap = <uint64_t>(event[i].queued_s * 1e9) if event[i].queued_s > 0 else 0
                if gap >= LEAST_GAP_NS:
                    at = put_packet(at, sequence, begin - gap - self.last[event[i].worker], 1, IID_QUEUED, -1)
                    at = put_packet(at, sequence, gap, 2, 0, -1)
                    self.last[event[i].worker] = begin
                at = put_packet(at, sequence, begin - self.last[event[i].worker], 1, iid,
                                <int64_t>(event[i].queued_s * 1e6) if 0 <= event[i].queued_s < 1e9 else -1)
                at = put_packet(at, sequence, end - begin, 2, 0, -1)
                self.last[event[i].worker] = end
                out.size = at - out.start
                self.slices += 1
            return PyBytes_FromStringAndSize(out.start, out.size)
        finally:
            free(ends)

    cdef void lay_out(self, const RecordedEvent *event, size_t count, uint64_t *ends) noexcept nogil:
        """When each ended: at the latest when the next one on its worker began."""
        cdef size_t i = count
        cdef uint64_t duration
        memset(self.next_begin, 0xFF, LANES * sizeof(uint64_t))
        while i:
            i -= 1
            ends[i] = min(event[i].end_ns, self.next_begin[event[i].worker])
            if event[i].duration_s >= 0 and event[i].duration_s < 1e9:
                duration = <uint64_t>(<double>event[i].duration_s * 1e9)
                self.next_begin[event[i].worker] = ends[i] - min(duration, ends[i])

    cdef set told_by(self, uint32_t worker, ByteBuffer out):
        """The iids that the worker's sequence knows; it begins here if this is its first slice."""
        cdef bytes data
        cdef object told = self.told.get(worker)
        if told is None:
            told = self.told[worker] = set()
            self.last[worker] = self.start_ns
            data = self.begin(worker)
            out.append(PyBytes_AS_STRING(data), len(data))
        return told

    cdef uint64_t iid_for(self, int64_t key) except 0:
        found = self.iids.get(key)
        if found is None:
            found = self.iids[key] = FIRST_IID + len(self.iids)
        return found

    cdef int tell(self, uint32_t worker, uint64_t iid, int64_t key, ByteBuffer out) except -1:
        """Say in the worker's sequence what this iid is."""
        cdef bytes text = self.name(key >> 1, key & 1)
        cdef bytes packet = message(1, varint(10 << 3) + varint(worker + 2) + varint(13 << 3) + varint(2)
                                    + message(12, message(2, varint(1 << 3) + varint(iid) + message(2, text))))
        out.append(PyBytes_AS_STRING(packet), len(packet))
        return 0
