# Columns: records <-> the column batches of the wire (protocol/batch.capnp).
#
# Each direction makes two passes in C over a batch: one that checks and counts, one that moves. Columns come as a tuple
# of bytes objects in the order of the schema; a column of zeros only is empty on the wire. A batch has a few hundred
# rows, so they are in the cache for the second pass, and nothing is undone when the first finds an error.
#
# Rule 1: what comes from the wire is believed in nothing. A batch with an error adds no record, and the ValueError says
#         what is wrong with which row.
# Rule 2: where an object lies means something only on its own host, so it never crosses the wire: the places of a
#         payload with FLAG_OBJECTS are bare there (checked in both directions).
# Not here: Cap'n Proto (scaler.protocol.codec), whether a task or an attempt is known (core).

from libc.stdint cimport int64_t

cdef enum:
    COLUMN_PEERS = 0
    COLUMN_TASKS = 1
    COLUMN_ATTEMPTS = 2
    COLUMN_FUNCTIONS = 3
    COLUMN_FLAGS = 4
    COLUMN_STATUSES = 5
    COLUMN_ITEMS = 6
    COLUMN_DETAILS = 7
    COLUMN_DURATIONS = 8
    COLUMN_CPU = 9
    COLUMN_MEMORY = 10
    COLUMN_ENDS = 11
    COLUMN_PAYLOAD = 12
    COLUMN_OPTIONS = 13
    COLUMN_LIMITS = 14
    COLUMNS = 15
    LARGEST_BATCH_BYTES = 128 << 10    # larger frames cost ten times as much per byte (scaler.protocol.codec)

cdef int[15] COLUMN_WIDTH = [4, 8, 8, 4, 1, 2, 4, 4, 8, 4, 4, 4, 1, 4, 4]
cdef tuple COLUMN_NAMES = ("peers", "tasks", "attempts", "functions", "flags", "statuses", "items", "details",
                           "durationsNs", "cpuUs", "memoryPeakKib", "ends", "payload", "options", "limitsMs")
cdef tuple TASK_COLUMNS = (0, 1, 2, 3, 4, 6, 7, 11, 12, 13, 14)
cdef tuple RESULT_COLUMNS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)

cdef struct Columns:
    size_t rows
    size_t payload_bytes
    char *start[15]            # NULL: a column of zeros


# Memory behind a bytes object's header is aligned for eight bytes, and so is every column.

cdef inline uint64_t cell64(Columns *columns, int column, size_t row) noexcept nogil:
    return (<uint64_t *>columns.start[column])[row] if columns.start[column] != NULL else 0


cdef inline uint32_t cell32(Columns *columns, int column, size_t row) noexcept nogil:
    return (<uint32_t *>columns.start[column])[row] if columns.start[column] != NULL else 0


cdef inline uint16_t cell16(Columns *columns, int column, size_t row) noexcept nogil:
    return (<uint16_t *>columns.start[column])[row] if columns.start[column] != NULL else 0


cdef inline uint8_t cell8(Columns *columns, int column, size_t row) noexcept nogil:
    return (<uint8_t *>columns.start[column])[row] if columns.start[column] != NULL else 0


cdef inline void set64(Columns *columns, int column, size_t row, uint64_t value) noexcept nogil:
    if columns.start[column] != NULL:
        (<uint64_t *>columns.start[column])[row] = value


cdef inline void set32(Columns *columns, int column, size_t row, uint32_t value) noexcept nogil:
    if columns.start[column] != NULL:
        (<uint32_t *>columns.start[column])[row] = value


# records -> columns

cdef struct Sums:
    size_t rows
    size_t payload_bytes
    uint64_t bits[15]          # all values of a column or-ed: 0 means that it may be left out
    const char *wrong          # the first error found


cdef bint add_to_sums(Sums *sums, Record *record, uint32_t peer, int kind, size_t most_bytes) noexcept nogil:
    """Count one record in. False if it is too much for this batch, or wrong."""
    cdef size_t size = payload_bytes_of(record)
    cdef size_t row_bytes = RECORD_HEADER_BYTES + size
    if sums.rows and sums.rows * RECORD_HEADER_BYTES + sums.payload_bytes + row_bytes > most_bytes:
        return False
    if record.kind != kind:
        sums.wrong = "a record of another kind than the batch's"
        return False
    if record.flags & FLAG_OBJECTS and not are_bare(payload_of(record), size):
        sums.wrong = "a payload that says where on this host its objects lie"
        return False
    sums.rows += 1
    sums.payload_bytes += size
    sums.bits[COLUMN_PEERS] |= peer
    sums.bits[COLUMN_TASKS] |= 1                         # never left out: it says how many rows there are
    sums.bits[COLUMN_ATTEMPTS] |= record.attempt
    sums.bits[COLUMN_FUNCTIONS] |= record.function
    sums.bits[COLUMN_FLAGS] |= record.flags
    sums.bits[COLUMN_ITEMS] |= record.items
    sums.bits[COLUMN_DETAILS] |= record.detail
    sums.bits[COLUMN_ENDS] |= size
    sums.bits[COLUMN_PAYLOAD] |= size
    if kind == KIND_RESULT:
        sums.bits[COLUMN_STATUSES] |= record.status
        sums.bits[COLUMN_DURATIONS] |= record.duration_ns
        sums.bits[COLUMN_CPU] |= record.cpu_us
        sums.bits[COLUMN_MEMORY] |= record.memory_peak_kib
    else:
        sums.bits[COLUMN_OPTIONS] |= options_of(record)
        sums.bits[COLUMN_LIMITS] |= limit_ms_of(record)
    return True


cdef bint sum_run(Sums *sums, RecordRun run, uint32_t peer, int kind, size_t most_bytes) noexcept:
    """Count the run's records in, from its cursor on. False if not all of them go into this batch."""
    cdef size_t offset = run.cursor
    cdef Record *record
    while offset < run.used:
        record = <Record *>(run.data + offset)
        if record.claim & 3 != CLAIM_WITHDRAWN and not add_to_sums(sums, record, peer, kind, most_bytes):
            return False
        offset += padded(record.record_bytes)
    return True


cdef inline void move_out(Columns *columns, size_t row, uint32_t peer, Record *record) noexcept nogil:
    cdef uint32_t size = payload_bytes_of(record)
    set32(columns, COLUMN_PEERS, row, peer)
    set64(columns, COLUMN_TASKS, row, record.task)
    set64(columns, COLUMN_ATTEMPTS, row, record.attempt)
    set32(columns, COLUMN_FUNCTIONS, row, record.function)
    if columns.start[COLUMN_FLAGS] != NULL:
        (<uint8_t *>columns.start[COLUMN_FLAGS])[row] = record.flags
    if columns.start[COLUMN_STATUSES] != NULL:
        (<uint16_t *>columns.start[COLUMN_STATUSES])[row] = record.status
    set32(columns, COLUMN_ITEMS, row, record.items)
    set32(columns, COLUMN_DETAILS, row, record.detail)
    set64(columns, COLUMN_DURATIONS, row, record.duration_ns)
    set32(columns, COLUMN_CPU, row, record.cpu_us)
    set32(columns, COLUMN_MEMORY, row, record.memory_peak_kib)
    set32(columns, COLUMN_OPTIONS, row, options_of(record))
    set32(columns, COLUMN_LIMITS, row, limit_ms_of(record))
    if size:
        memcpy(columns.start[COLUMN_PAYLOAD] + columns.payload_bytes, payload_of(record), size)
        columns.payload_bytes += size
    set32(columns, COLUMN_ENDS, row, <uint32_t>columns.payload_bytes)


cdef tuple runs_to_columns(list runs, int kind, tuple which, size_t most_bytes):
    cdef Sums sums
    cdef Columns columns
    cdef RecordRun run
    cdef Record *record
    cdef uint32_t number
    cdef size_t row = 0
    cdef int column
    if most_bytes > RUN_MOST_BYTES:
        raise ValueError(f"a batch has at most {RUN_MOST_BYTES} bytes, not {most_bytes}")
    memset(&sums, 0, sizeof(Sums))
    memset(&columns, 0, sizeof(Columns))
    for peer, run in runs:
        number = peer
        if not sum_run(&sums, run, number, kind, most_bytes):
            break
    if sums.wrong != NULL:
        raise ValueError(f"row {sums.rows}: {(<bytes>sums.wrong).decode()}")
    if not sums.rows:
        return None
    answer = []
    for column in which:
        data = b""
        if sums.bits[column]:
            data = PyBytes_FromStringAndSize(NULL, sums.payload_bytes if column == COLUMN_PAYLOAD
                                             else sums.rows * COLUMN_WIDTH[column])
            columns.start[column] = PyBytes_AS_STRING(data)
        answer.append(data)
    for peer, run in runs:
        number = peer
        while row < sums.rows:
            record = run.peek()
            if record == NULL:
                break
            move_out(&columns, row, number, record)
            run.step(record)
            row += 1
    if row != sums.rows:
        raise ValueError("a run was named twice")        # and the rows that were not written must not be seen
    return tuple(answer)


def runs_to_task_columns(list runs not None, size_t most_bytes=LARGEST_BATCH_BYTES):
    """Take task records out of [(peer, RecordRun), ...], up to `most_bytes`: the columns of Tasks, or None.

    What did not fit stays in the runs for the next call. A batch has at least one row, however large. A run is named
    once. ValueError, with nothing taken, if a record cannot travel.
    """
    return runs_to_columns(runs, KIND_TASK, TASK_COLUMNS, most_bytes)


def runs_to_result_columns(list runs not None, size_t most_bytes=LARGEST_BATCH_BYTES):
    """As runs_to_task_columns, with result records: the columns of Results."""
    return runs_to_columns(runs, KIND_RESULT, RESULT_COLUMNS, most_bytes)


# columns -> records

cdef int look_at(Columns *columns, tuple data, tuple which) except -1:
    """Check the form: which columns there are, and that they are equally long."""
    cdef int column
    cdef size_t size
    cdef int i
    if len(data) != len(which):
        raise ValueError(f"{len(data)} columns instead of {len(which)}")
    memset(columns, 0, sizeof(Columns))
    columns.rows = len(<bytes?>data[COLUMN_TASKS]) // 8
    if not columns.rows or len(data[COLUMN_TASKS]) % 8:
        raise ValueError(f"tasks: {len(data[COLUMN_TASKS])} bytes are not a positive number of rows of 8 bytes")
    for i in range(len(which)):
        column = which[i]
        size = len(<bytes?>data[i])
        if size == 0:
            continue
        if column == COLUMN_PAYLOAD:
            columns.payload_bytes = size
        elif size != columns.rows * COLUMN_WIDTH[column]:
            raise ValueError(f"{COLUMN_NAMES[column]}: {size} bytes are not {columns.rows} rows of "
                             f"{COLUMN_WIDTH[column]} bytes")
        columns.start[column] = PyBytes_AS_STRING(data[i])
    if columns.payload_bytes > RUN_MOST_BYTES:
        raise ValueError(f"payload: {columns.payload_bytes} bytes are more than {RUN_MOST_BYTES}")
    return 0


cdef struct Bounds:
    uint32_t peers
    int64_t client_bits        # -1: any


cdef const char *find_error(Columns *columns, int kind, Bounds *bounds, size_t *row, size_t *total_bytes) noexcept nogil:
    """The first thing wrong, with its row, or NULL; and how many bytes the records will take."""
    cdef const char *error
    cdef size_t start = 0
    cdef size_t end
    cdef int flags
    row[0] = 0
    total_bytes[0] = 0
    while row[0] < columns.rows:
        end = cell32(columns, COLUMN_ENDS, row[0])
        if end < start or end > columns.payload_bytes:
            return "ends: does not rise inside the payload"
        flags = cell8(columns, COLUMN_FLAGS, row[0])
        error = record_error(kind, flags, cell16(columns, COLUMN_STATUSES, row[0]), cell32(columns, COLUMN_OPTIONS, row[0]),
                             columns.start[COLUMN_PAYLOAD] + start, end - start)
        if error != NULL:
            return error
        if flags & FLAG_OBJECTS and not are_bare(columns.start[COLUMN_PAYLOAD] + start, end - start):
            return "payload: it says where on another host its objects lie"
        if cell32(columns, COLUMN_PEERS, row[0]) >= bounds.peers:
            return "peers: a number that was never given out"
        if bounds.client_bits >= 0 and cell64(columns, COLUMN_TASKS, row[0]) >> 40 != <uint64_t>bounds.client_bits:
            return "tasks: the id belongs to another client"
        total_bytes[0] += (RECORD_HEADER_BYTES + end - start + 7) & ~<size_t>7
        start = end
        row[0] += 1
    if start != columns.payload_bytes:
        row[0] = columns.rows - 1
        return "ends: the last one is not the end of the payload"
    return NULL


cdef inline void move_in(Columns *columns, size_t row, size_t start, size_t end, int kind,
                         Record *record) noexcept nogil:
    record.kind = <uint8_t>kind
    record.flags = cell8(columns, COLUMN_FLAGS, row)
    record.status = cell16(columns, COLUMN_STATUSES, row)
    record.function = cell32(columns, COLUMN_FUNCTIONS, row)
    record.task = cell64(columns, COLUMN_TASKS, row)
    record.attempt = cell64(columns, COLUMN_ATTEMPTS, row)
    record.items = cell32(columns, COLUMN_ITEMS, row)
    record.detail = cell32(columns, COLUMN_DETAILS, row)
    record.duration_ns = cell64(columns, COLUMN_DURATIONS, row)
    if kind == KIND_TASK:
        set_options(record, cell32(columns, COLUMN_OPTIONS, row), cell32(columns, COLUMN_LIMITS, row))
    else:
        record.cpu_us = cell32(columns, COLUMN_CPU, row)
        record.memory_peak_kib = cell32(columns, COLUMN_MEMORY, row)
    if end > start:
        memcpy(payload_of(record), columns.start[COLUMN_PAYLOAD] + start, end - start)


cdef class RecordBatch:
    """Records that came from the wire, in order, each with its peer; `run` may be read only through this object."""
    cdef readonly RecordRun run
    cdef uint32_t *peers
    cdef size_t peer_room

    def __cinit__(self, size_t most_bytes=RUN_MOST_BYTES):
        self.run = RecordRun(most_bytes)

    def __dealloc__(self):
        free(self.peers)

    def __len__(self):
        return len(self.run)

    cdef inline Record *peek(self, uint32_t *peer) noexcept nogil:
        """The next record and its peer, or NULL."""
        cdef Record *record = self.run.peek()
        if record != NULL:
            peer[0] = self.peers[self.run.stepped]
        return record

    cdef inline void step(self, Record *record) noexcept nogil:
        """Go past the record that peek returned."""
        self.run.step(record)

    cdef size_t put(self, tuple data, tuple which, int kind, uint32_t peers, int64_t client_bits) except 0:
        cdef Columns columns
        cdef Bounds bounds
        cdef size_t row = 0
        cdef size_t total_bytes = 0
        cdef size_t start = 0
        cdef size_t end
        cdef Record *record
        look_at(&columns, data, which)
        bounds.peers, bounds.client_bits = peers, client_bits
        error = find_error(&columns, kind, &bounds, &row, &total_bytes)
        if error != NULL:
            raise ValueError(f"row {row}: {(<bytes>error).decode()}")
        self.make_room(columns.rows)
        if not self.run.grow(total_bytes):
            raise ValueError(f"{total_bytes} bytes of records are more than the "
                             f"{self.run.most_bytes - self.run.used} left here")
        for row in range(columns.rows):
            end = cell32(&columns, COLUMN_ENDS, row)
            record = self.run.reserve(<uint32_t>(end - start))
            move_in(&columns, row, start, end, kind, record)
            self.peers[self.run.added] = cell32(&columns, COLUMN_PEERS, row)
            self.run.commit()
            start = end
        return columns.rows

    cdef int make_room(self, size_t more) except -1:
        """See to it that `more` peers fit behind the others; leave out those that were read if they are the most."""
        cdef size_t rows = self.run.added + more
        cdef size_t room = self.peer_room if self.peer_room else 256
        cdef uint32_t *peers
        if self.run.is_worn():
            rows -= self.run.stepped
            memmove(self.peers, self.peers + self.run.stepped, (self.run.added - self.run.stepped) * sizeof(uint32_t))
            self.run.compact()
        if rows <= self.peer_room:
            return 0
        while room < rows:
            room *= 2
        peers = <uint32_t *>realloc(self.peers, room * sizeof(uint32_t))
        if peers == NULL:
            raise MemoryError("no memory for a batch's peers")
        self.peers = peers
        self.peer_room = room
        return 0

    def trim(self):
        """All has been read: give back what a large frame took."""
        if len(self.run) == 0 and self.run.room > RUN_KEPT_BYTES:
            self.run.shrink()
            free(self.peers)
            self.peers = NULL
            self.peer_room = 0

    def put_tasks(self, columns, *, uint32_t peers=1, int64_t client_bits=-1):
        """Check the columns of Tasks and add their records. How many; ValueError, with none added, if one is wrong.

        `peers` is how many numbers were given out. With `client_bits`, each task must be that client's.
        """
        return self.put(tuple(columns), TASK_COLUMNS, KIND_TASK, peers, client_bits)

    def put_results(self, columns, *, uint32_t peers=1, int64_t client_bits=-1):
        """As put_tasks, with the columns of Results."""
        return self.put(tuple(columns), RESULT_COLUMNS, KIND_RESULT, peers, client_bits)

    def read(self):
        """Take the next record as (peer, RecordCopy), None if there is none."""
        cdef uint32_t peer = 0
        if self.peek(&peer) == NULL:
            return None
        return peer, self.run.read()
