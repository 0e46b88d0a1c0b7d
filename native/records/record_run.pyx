# RecordRun: records one after another in private memory, for what waits between a ring and the wire.
#
# The records look exactly as in a ring, so that the core writes into either, and a record goes from one to the other by
# one copy. Unlike a ring it has one owner, grows, and is not shared; so there are no fences here.
#
# A position counts bytes and grows for ever, as a ring's does: it stays a valid name of a record that has left.
# Withdraw marks the record as a ring does, and the reader skips it.
#
# Rule 1: no Python object per record.
# Rule 2: reserve may move everything: a Record pointer lives until the next reserve, commit or step.
# Rule 3: memory is given back slowly. Fresh pages cost more than the copy into them, so room is halved only when a
#         whole run has used less than a quarter of it.
# Not here: columns (columns), whose records they are (relay, outlet).

cdef enum:
    RUN_MOST_BYTES = 1 << 30


cdef class RecordRun:
    """A growing queue of records; at most `most_bytes` of them at a time."""
    cdef char *data
    cdef size_t room
    cdef size_t used               # up to here records are committed
    cdef size_t cursor             # up to here they have been read
    cdef size_t reserved
    cdef uint64_t base             # position of data[0]
    cdef readonly size_t most_bytes
    cdef readonly size_t added     # records since the run was last empty or compacted, withdrawn ones included
    cdef readonly size_t stepped   # of these, how many were stepped over
    cdef readonly size_t dead      # of the rest, how many are withdrawn

    def __cinit__(self, size_t most_bytes=RUN_MOST_BYTES):
        if most_bytes < RUN_FIRST_BYTES or most_bytes > RUN_MOST_BYTES:
            raise ValueError(f"a run holds {RUN_FIRST_BYTES} to {RUN_MOST_BYTES} bytes, not {most_bytes}")
        self.most_bytes = most_bytes

    def __dealloc__(self):
        free(self.data)

    # writing

    cdef bint grow(self, size_t more) noexcept nogil:
        """See to it that `more` bytes fit. False if that is over the limit, or there is no memory."""
        cdef size_t wanted = self.used + more
        cdef size_t room = self.room if self.room else RUN_FIRST_BYTES
        cdef char *data
        if wanted <= self.room:
            return True
        if wanted > self.most_bytes:
            return False
        while room < wanted:
            room *= 2
        data = <char *>realloc(self.data, room)
        if data == NULL:
            return False
        self.data = data
        self.room = room
        poison(data + self.used, room - self.used)
        return True

    cdef inline bint is_worn(self) noexcept nogil:
        """Most of what is here has been read, so moving the rest to the front is cheap."""
        return self.cursor > self.used - self.cursor

    cdef void compact(self) noexcept nogil:
        """Move what is still to be read to the front."""
        unpoison(self.data, self.used)
        memmove(self.data, self.data + self.cursor, self.used - self.cursor)
        poison(self.data + self.used - self.cursor, self.cursor)
        self.base += self.cursor
        self.used -= self.cursor
        self.added -= self.stepped
        self.cursor = self.stepped = 0

    cdef inline Record *reserve(self, uint32_t payload_bytes) noexcept nogil:
        """Room for a record, or NULL if the run is full. It is part of the run after commit."""
        cdef size_t wanted = (<size_t>payload_bytes + RECORD_HEADER_BYTES + 7) & ~<size_t>7
        cdef Record *record
        if self.used + wanted > self.room:
            if self.is_worn():
                self.compact()
            if payload_bytes > RUN_MOST_BYTES or not self.grow(wanted):
                return NULL
        record = <Record *>(self.data + self.used)
        unpoison(record, wanted)
        self.reserved = wanted
        record.record_bytes = RECORD_HEADER_BYTES + payload_bytes
        record.claim = claim_word(CLAIM_OFFERED, self.base + self.used)
        return record

    cdef inline uint64_t commit(self) noexcept nogil:
        """Make the reserved record part of the run; its position is what withdraw takes."""
        cdef uint64_t position = self.base + self.used
        self.used += self.reserved
        self.added += 1
        return position

    cdef bint append(self, Record *other) noexcept nogil:
        """Copy a record of a ring or another run. False if the run is full."""
        cdef uint32_t size = payload_bytes_of(other)
        cdef Record *record = self.reserve(size)
        if record == NULL:
            return False
        copy_record(record, other, size)
        self.commit()
        return True

    cdef bint withdraw(self, uint64_t position) noexcept nogil:
        """Take back a record that has not been read. False if it has left."""
        cdef Record *record
        if position < self.base + self.cursor or position >= self.base + self.used:
            return False
        record = <Record *>(self.data + (position - self.base))
        if record.claim != claim_word(CLAIM_OFFERED, position):
            return False
        record.claim = claim_word(CLAIM_WITHDRAWN, position)
        self.dead += 1
        return True

    # reading

    cdef inline Record *peek(self) noexcept nogil:
        """The next record that was not withdrawn, or NULL."""
        cdef Record *record
        while self.cursor < self.used:
            record = <Record *>(self.data + self.cursor)
            if record.claim & 3 != CLAIM_WITHDRAWN:
                return record
            self.dead -= 1
            self.step(record)
        return NULL

    cdef inline void step(self, Record *record) noexcept nogil:
        """Go past the record that peek returned; past the last one the run is empty again."""
        cdef uint32_t record_bytes = padded(record.record_bytes)
        poison(record, record_bytes)
        self.cursor += record_bytes
        self.stepped += 1
        if self.cursor == self.used:
            self.empty()

    cdef void empty(self) noexcept nogil:
        cdef char *data
        cdef size_t room = self.room // 2
        if self.room > RUN_KEPT_BYTES and self.used < self.room // 4:
            data = <char *>realloc(self.data, room)
            if data != NULL:
                self.data = data
                self.room = room
        self.base += self.used
        self.used = self.cursor = self.added = self.stepped = self.dead = 0

    cdef void shrink(self) noexcept nogil:
        """Give its memory back. It is empty, or all that is in it was withdrawn."""
        self.empty()
        unpoison(self.data, self.room)
        free(self.data)
        self.data = NULL
        self.room = 0

    # from Python, for tests and rare records

    def __len__(self):
        """Records that are still to be read."""
        return self.added - self.stepped - self.dead

    @property
    def unread_bytes(self):
        """Bytes that are still to be read, headers, padding and withdrawn records included."""
        return self.used - self.cursor

    @property
    def end(self):
        """The position behind all records that have been added."""
        return self.base + self.used

    @property
    def left(self):
        """The position up to which all have been read."""
        return self.base + self.cursor

    @property
    def room_bytes(self):
        """Memory held."""
        return self.room

    def clear(self):
        """Forget all records."""
        self.empty()

    def write(self, int kind, uint64_t task=0, const unsigned char[:] payload=b"", *, uint32_t function=0, int flags=0,
              int status=0, uint64_t attempt=0, uint32_t items=0, uint32_t detail=0, uint64_t duration_ns=0,
              uint32_t cpu_us=0, uint32_t memory_peak_kib=0):
        """Add one record. Its position, or None if the run is full."""
        cdef size_t size = payload.shape[0]
        cdef Record *record = self.reserve(<uint32_t>size) if size <= RUN_MOST_BYTES else NULL
        if record == NULL:
            return None
        fill_record(record, kind, flags, status, function, task, attempt, items, detail)
        record.duration_ns = duration_ns
        record.cpu_us = cpu_us
        record.memory_peak_kib = memory_peak_kib
        if size:
            memcpy(payload_of(record), &payload[0], size)
        return self.commit()

    def read(self):
        """Take the next record as a RecordCopy; None if there is none."""
        cdef Record *record = self.peek()
        cdef object copied
        if record == NULL:
            return None
        copied = copy_of(record)
        self.step(record)
        return copied

    def tasks(self):
        """The ids of the tasks that are still to be read."""
        cdef size_t offset = self.cursor
        cdef Record *record
        cdef list ids = []
        while offset < self.used:
            record = <Record *>(self.data + offset)
            if record.claim & 3 != CLAIM_WITHDRAWN:
                ids.append(record.task)
            offset += padded(record.record_bytes)
        return ids

    def take_back(self, uint64_t position):
        """Withdraw the record at `position`: True if nobody had read it."""
        return self.withdraw(position)
