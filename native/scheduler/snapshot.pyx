# Snapshot: what the core knows of its workers, functions and clients, in columns, for those who look.
#
# The shell asks once a second, and only for what somebody looks at. A column is an array of numbers, filled in one pass in
# C: with five thousand workers a Python object for each would hold the scheduler up for longer than all its tasks.
#
# Rule 1: this changes nothing, and is asked between two events.
# Rule 2: of functions, of which there may be a million, those are shown that were called last; the others are one row.
# Not here: names and texts (scaler.scheduler.reporter), what is counted (counts).

cdef enum:
    MOST_SHOWN_FUNCTIONS = 500
    STATE_RUNS = 1             # bits of a worker's state, as protocol/monitor.capnp has them
    STATE_WAITS = 2
    STATE_ASIDE = 4
    STATE_STOPPING = 8
    STATE_FULL = 16
    CLIENT_NESTED = 1          # of a client's
    CLIENT_UNREAD = 2
    CLIENT_STALLED = 4
    CLIENT_GONE = 8


cdef object new_column(str typecode, Py_ssize_t rows):
    cdef object made = _array(typecode)
    made.frombytes(bytes(rows * made.itemsize))
    return made


cdef void *column_data(column) except NULL:
    """Where an array's numbers stand; it must not grow from here on."""
    return <void *><size_t>column.buffer_info()[0]


cdef tuple new_columns(names, typecodes, Py_ssize_t rows, void **data):
    cdef list made = [new_column(typecode, rows) for typecode in typecodes]
    cdef Py_ssize_t i
    for i in range(len(made)):
        data[i] = column_data(made[i]) if rows else NULL
    return tuple(zip(names, made))


_WORKER_COLUMNS = ("number", "host", "pid", "state", "task", "function", "since_ns", "held", "free", "load_ns", "sent",
                   "succeeded", "failed", "in_place", "busy_ns", "cpu_share", "rss_bytes", "joined_ns")
_WORKER_TYPES = "IIIBQIQIIQQQQQQfQQ"


def worker_columns(SchedulerCore core not None):
    """The workers that are here: a column by name. `worker_indices` says which they are."""
    cdef void *data[18]
    cdef WorkerPool pool = core.pool
    cdef dict columns = dict(new_columns(_WORKER_COLUMNS, _WORKER_TYPES, pool.present, data))
    cdef Worker *worker
    cdef Row *row
    cdef uint32_t index
    cdef size_t at = 0
    for index in range(pool.length):
        worker = &pool.workers[index]
        if not worker.present:
            continue
        (<uint32_t *>data[0])[at] = worker.number
        (<uint32_t *>data[1])[at] = worker.host
        (<uint32_t *>data[2])[at] = worker.pid
        (<uint8_t *>data[3])[at] = <uint8_t>(STATE_RUNS * (worker.held != 0) | STATE_WAITS * worker.is_blocked
                                             | STATE_ASIDE * (worker.is_aside and not worker.is_ending)
                                             | STATE_STOPPING * worker.is_ending | STATE_FULL * worker.is_full)
        if worker.head:
            row = core.table.row(worker.head)
            (<uint64_t *>data[4])[at] = row.task
            (<uint32_t *>data[5])[at] = core.functions.number_of(row.function)
            if row.state == ROW_CANCELLED:
                (<uint8_t *>data[3])[at] |= STATE_STOPPING
        (<uint64_t *>data[6])[at] = worker.since_ns
        (<uint32_t *>data[7])[at] = worker.held
        (<uint32_t *>data[8])[at] = worker.queue_size - min(worker.held, worker.queue_size)
        (<uint64_t *>data[9])[at] = worker.load_ns
        (<uint64_t *>data[10])[at] = worker.sent
        (<uint64_t *>data[11])[at] = worker.succeeded
        (<uint64_t *>data[12])[at] = worker.failed
        (<uint64_t *>data[13])[at] = own_runs_of(worker)
        (<uint64_t *>data[14])[at] = worker.busy_ns
        (<float *>data[15])[at] = worker.cpu_share
        (<uint64_t *>data[16])[at] = worker.rss_bytes
        (<uint64_t *>data[17])[at] = worker.joined_ns
        at += 1
    return columns


def worker_indices(SchedulerCore core not None):
    """The indices of the workers that are here, in the order of `worker_columns`. It is another after `pool.changes`."""
    cdef uint32_t index
    return [index for index in range(core.pool.length) if core.pool.workers[index].present]


def worker_number(SchedulerCore core not None, uint32_t index):
    """What viewers know the worker with this index by."""
    return core.pool.workers[index].number


def note_worker_usage(SchedulerCore core not None, uint32_t index, uint32_t pid, float cpu_share, uint64_t rss_bytes,
                      uint64_t in_place):
    """What its supervisor says of its process. What it has run in place it says itself if it shares memory with us."""
    cdef Worker *worker
    if index < core.pool.length and core.pool.workers[index].present:
        worker = &core.pool.workers[index]
        worker.pid, worker.cpu_share, worker.rss_bytes, worker.in_place = pid, cpu_share, rss_bytes, in_place


def note_worker_process(SchedulerCore core not None, uint32_t index, uint32_t pid):
    """Its process has this number on its own host."""
    core.pool.workers[index].pid = pid


def calls_in_place(SchedulerCore core not None):
    """How many calls tasks have run themselves, in workers that have gone, too."""
    cdef uint64_t total = core.pool.in_place_gone
    cdef uint32_t index
    for index in range(core.pool.length):
        if core.pool.workers[index].present:
            total += own_runs_of(&core.pool.workers[index])
    return total


def idle_workers(SchedulerCore core not None):
    """How many workers hold nothing."""
    cdef uint32_t index
    cdef uint32_t count = 0
    for index in range(core.pool.length):
        count += core.pool.workers[index].present and core.pool.workers[index].held == 0
    return count


# functions

_FUNCTION_COLUMNS = ("number", "submitted", "succeeded", "failed", "cancelled", "placed", "duration_ns", "queued_ns",
                     "last_ns", "is_gone")
_FUNCTION_TYPES = "IQQQQQQQQB"


@cython.final
cdef class _FunctionRows:
    """Columns of functions while they are filled."""
    cdef list columns, payloads
    cdef object durations, queued        # (ends, buckets, counts)

    def __cinit__(self):
        self.columns = [_array(typecode) for typecode in _FUNCTION_TYPES]
        self.payloads = []
        self.durations = _array("I"), _array("H"), _array("Q")
        self.queued = _array("I"), _array("H"), _array("Q")

    cdef int add(self, uint32_t number, FunctionCounts *counts, bint is_gone, bytes payload) except -1:
        cdef tuple row = (number, counts.submitted, counts.succeeded, counts.failed, counts.cancelled, counts.placed,
                          counts.duration_ns, counts.queued_ns, counts.last_ns, is_gone)
        for column, value in zip(self.columns, row):
            column.append(value)
        self.payloads.append(payload)
        self.add_histogram(self.durations, NULL if counts.histograms == NULL else &counts.histograms.durations)
        self.add_histogram(self.queued, NULL if counts.histograms == NULL else &counts.histograms.queued)
        return 0

    cdef int add_histogram(self, tuple columns, Histogram *histogram) except -1:
        cdef uint32_t i
        ends, buckets, counts = columns
        if histogram != NULL:
            for i in range(HISTOGRAM_BUCKETS):
                if histogram.counts[i]:
                    buckets.append(HISTOGRAM_FIRST + i)
                    counts.append(histogram.counts[i])
        ends.append(len(buckets))
        return 0


cdef inline uint32_t age_of(FunctionCounts *counts, uint64_t now) noexcept nogil:
    """As a power of two; 0 of one that workers have just now."""
    if counts.placed:
        return 0
    return 64 - <uint32_t>count_leading_zeros((now - min(now, counts.last_ns)) | 1)


def function_columns(SchedulerCore core not None):
    """({column's name: numbers}, durations, queued, [the bytes each function was announced with]). The row of number 0, if
    there is one, is the sum of all functions that have none of their own."""
    cdef FunctionTable functions = core.functions
    cdef _FunctionRows rows = _FunctionRows()
    cdef GoneFunction gone
    cdef Announced announced
    cdef FunctionCounts others
    cdef uint64_t ages[65]
    cdef uint64_t left = MOST_SHOWN_FUNCTIONS
    cdef uint32_t index
    cdef uint32_t oldest = 0
    memset(&others, 0, sizeof(others))
    memset(ages, 0, sizeof(ages))
    for index in range(functions.length):
        ages[age_of(&functions.functions[index].counts, core.table.now_ns)] += functions.functions[index].users != 0
    while oldest < 64 and ages[oldest] <= left:
        left -= ages[oldest]
        oldest += 1
    try:
        for index in range(functions.length):
            announced = functions.announced[index]
            if announced is None:
                continue
            if age_of(&functions.functions[index].counts, core.table.now_ns) < oldest or left:
                left -= age_of(&functions.functions[index].counts, core.table.now_ns) >= oldest
                rows.add(functions.functions[index].number, &functions.functions[index].counts, False, announced.payload)
            else:
                add_function_counts(&others, &functions.functions[index].counts)
                others.placed += functions.functions[index].counts.placed
        for gone in functions.gone:
            rows.add(gone.number, &gone.counts, True, gone.payload)
        add_function_counts(&others, &functions.gone_counts)
        if others.submitted:
            rows.add(0, &others, True, b"")
    finally:
        free(others.histograms)
    return dict(zip(_FUNCTION_COLUMNS, rows.columns)), rows.durations, rows.queued, rows.payloads


def function_payload(SchedulerCore core not None, uint32_t number):
    """The bytes that the function of this number was announced with; b"" if it has gone."""
    cdef uint32_t index
    for index in range(core.functions.length):
        if core.functions.announced[index] is not None and core.functions.functions[index].number == number:
            return (<Announced>core.functions.announced[index]).payload
    return b""


# clients

_CLIENT_COLUMNS = ("bits", "state", "submitted", "succeeded", "failed", "cancelled", "waiting", "ready", "placed", "unread",
                   "kept_bytes", "quota_bytes", "objects", "object_bytes", "joined_ns")
_CLIENT_TYPES = "IBQQQQQQQQQQQQQ"


def client_columns(SchedulerCore core not None):
    """The clients that are here, or whose tasks are: a column by name."""
    cdef list columns = [_array(typecode) for typecode in _CLIENT_TYPES]
    cdef CallCounts *calls
    cdef Client *client
    cdef uint64_t tag
    cdef uint32_t index
    for index in range(core.clients.length):
        client = &core.clients.clients[index]
        if not client.present and not client.leaving:
            continue
        calls = core.table.counts_of(index)
        if client.worker_tag and not calls.submitted:
            continue                                  # of a worker whose tasks have never sent anything away
        tag = core.clients.tag_of(index)
        row = (tag,
               CLIENT_NESTED * (client.worker_tag != 0) | CLIENT_UNREAD * (client.waiting_head != 0)
               | CLIENT_STALLED * (not may_take(client, core.clients.quota, sizeof(Row))) | CLIENT_GONE * (not client.present),
               calls.submitted, calls.succeeded, calls.failed, calls.cancelled, calls.at[ROW_WAITING],
               calls.at[ROW_READY] + calls.at[ROW_HELD_BACK],
               calls.at[ROW_PLACED] + calls.at[ROW_LENT] + calls.at[ROW_DOOMED], calls.at[ROW_ANSWERED],
               core.kept_bytes(index), core.clients.quota, core.objects.made_by(tag), core.objects.made_bytes.get(tag, 0),
               client.joined_ns)
        for column, value in zip(columns, row):
            column.append(value)
    return dict(zip(_CLIENT_COLUMNS, columns))


def totals(SchedulerCore core not None):
    """What is there altogether, by name."""
    cdef uint64_t kept = 0
    cdef uint32_t index
    cdef uint32_t clients = 0
    for index in range(core.clients.length):
        if core.clients.clients[index].present:
            kept += core.clients.clients[index].blob_bytes
            clients += core.clients.clients[index].worker_tag == 0
    return {"workers": core.pool.present, "idle_workers": idle_workers(core), "clients": clients,
            "functions": len(core.functions.index_of), "queued_bytes": core.table.used * sizeof(Row) + core.table.payload_bytes,
            "objects": len(core.objects.objects), "object_bytes": core.objects.bytes, "kept_result_bytes": kept}


def refusals(SchedulerCore core not None):
    """What was refused or came to nothing, by reason."""
    return {"made no sense, or found no room": core.refused, "no worker had room": core.turned_away,
            "results that nobody wanted any more": core.dropped,
            "results of attempts that were over": core.late + core.survivors.late}
