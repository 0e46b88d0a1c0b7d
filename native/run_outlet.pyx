# RunOutlet: what stands for a remote peer on the scheduler's side, between the core and the peer's session.
#
# The core writes records into it as it writes into a ring; the session takes them out in batches. What comes in goes
# from a batch into the core by the feed functions.
#
# Rule 1: no Python object per record, but for payloads with objects, which go aside as tuples: they travel in chunks.
# Not here: frames, sockets, objects in chunks (scaler.scheduler.remote_session).

cdef enum:
    OUTLET_MOST_BYTES = 16 << 20
    SET_ASIDE = -1


cdef class RunOutlet(Outlet):
    """Where the core writes the records of a remote peer. `dirty`, `asks` and `large` belong to its session.

    `dirty` gets this outlet when it has something new, `asks` gets (peer, task, attempt) for records that have left and are
    wanted back, `large` gets (peer, record tuple) for payloads with objects.
    """
    cdef readonly RecordRun run
    cdef readonly uint32_t peer
    cdef bint is_dirty
    cdef list dirty, asks, large

    def __init__(self, uint32_t peer, list dirty not None, list asks not None, list large not None):
        self.run = RecordRun()
        self.peer = peer
        self.dirty, self.asks, self.large = dirty, asks, large

    cdef Record *reserve(self, uint32_t payload_bytes) noexcept nogil:
        if self.run.used - self.run.cursor > OUTLET_MOST_BYTES:
            return NULL
        return self.run.reserve(payload_bytes)

    cdef uint64_t commit(self) noexcept nogil:
        cdef Record *record = <Record *>(self.run.data + self.run.used)
        if record.flags & FLAG_OBJECTS:
            with gil:
                self.large.append((self.peer, record_tuple(record)))
            return SET_ASIDE
        return self.run.commit()

    cdef int withdraw(self, uint64_t task, uint64_t attempt, uint64_t position) noexcept nogil:
        if self.run.withdraw(position):
            return WITHDREW
        with gil:
            self.asks.append((self.peer, task, attempt))
            self.mark()
        return ASKED

    cdef uint32_t largest_payload(self) noexcept nogil:
        return OUTLET_MOST_BYTES

    cdef void flush(self) noexcept nogil:
        if not self.is_dirty:
            with gil:
                self.mark()

    cdef void flush_unhurried(self) noexcept nogil:
        self.flush()

    cdef mark(self):
        if not self.is_dirty:
            self.is_dirty = True
            self.dirty.append(self)

    def clean(self):
        """The session has taken what there was."""
        self.is_dirty = False


cdef tuple record_tuple(Record *record):
    """As RecordRun.read gives it."""
    return (record.kind, record.task, payload_of(record)[:payload_bytes_of(record)], record.function, record.flags,
            record.status, record.attempt, record.items, record.detail, record.duration_ns, record.cpu_us,
            record.memory_peak_kib)


def feed_tasks(SchedulerCore core not None, uint32_t client, RecordBatch batch not None):
    """Give a remote client's tasks to the core, as long as it may have more queued.

    Returns the tuples of those whose payload names objects: the caller finds those and feeds them by themselves.
    What is left in the batch is to be fed later.
    """
    cdef Record *record
    cdef uint32_t peer = 0
    cdef uint64_t now = now_ns()
    cdef list large = []
    while not core.is_over_quota(client):
        record = batch.peek(&peer)
        if record == NULL:
            break
        if record.flags & FLAG_OBJECTS:
            large.append(record_tuple(record))
        else:
            core.on_submit(client, record, now)
        batch.step(record)
    return large


def feed_results(SchedulerCore core not None, list workers not None, RecordBatch batch not None):
    """Give results of remote workers to the core; workers[peer] is a worker's index or None if it has left.

    Returns (peer, tuple) of those whose payload names objects.
    """
    cdef Record *record
    cdef uint32_t peer = 0
    cdef uint64_t now = now_ns()
    cdef list large = []
    while True:
        record = batch.peek(&peer)
        if record == NULL:
            break
        worker = workers[peer]
        if worker is not None:
            if record.flags & FLAG_OBJECTS:
                large.append((peer, record_tuple(record)))
            else:
                core.on_result(worker, record, now)
        batch.step(record)
    return large


def feed_one(SchedulerCore core not None, uint32_t index, RecordRun run not None):
    """Give the one record of `run` to the core: a task of client `index` or a result of worker `index`."""
    cdef Record *record = run.peek()
    if record == NULL:
        return
    if record.kind == KIND_TASK:
        core.on_submit(index, record, now_ns())
    else:
        core.on_result(index, record, now_ns())
    run.step(record)
