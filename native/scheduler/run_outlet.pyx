# RunOutlet: what stands for a remote peer on the scheduler's side, between the core and the peer's session.
#
# The core writes records into it as it writes into a ring; the session takes them out in batches. What comes in goes
# from a batch into the core by the feed functions.
#
# Rule 1: no Python object per record, but for payloads with objects, which go aside as tuples: they wait for those.
# Rule 2: a client that does not take results gets no more of them, large or small: then its tasks are not placed (answers).
# Rule 3: what waits has not left: it is taken back like a record of the run, at once.
# Not here: frames, sockets, objects in chunks (scaler.session.session_at_scheduler).

cdef enum:
    OUTLET_MOST_BYTES = 16 << 20
    FIRST_POSITION = 8       # so that there is something below it


cdef class RunOutlet(Outlet):
    """Where the core writes the records of a remote peer. `dirty`, `asks`, `large` and `stops` belong to its session.

    `dirty` gets this outlet when it has something new, `asks` gets (peer, task, attempt) for records that have left and are
    wanted back, `large` gets (peer, record tuple) for payloads with objects: once those are there, the session asks
    `leaves` whether the task is still to go. `stops` gets (peer, task, attempt) of what is to be stopped if it runs.
    `ready`, if there is one, gets `owner` when there is something new.
    """
    cdef readonly RecordRun run
    cdef readonly uint32_t peer
    cdef bint is_dirty
    cdef list dirty, asks, large, stops
    cdef set ready
    cdef object owner
    cdef uint64_t object_bytes   # of results that were set aside and have not left
    cdef readonly set waiting    # (task, attempt) of what was set aside and has not left

    def __init__(self, uint32_t peer, list dirty not None, list asks not None, list large not None,
                 set ready=None, owner=None, *, list stops=None):
        self.ready, self.owner = ready, owner
        self.run = RecordRun()
        self.run.base = FIRST_POSITION
        self.waiting = set()
        self.peer = peer
        self.dirty, self.asks, self.large = dirty, asks, large
        self.stops = [] if stops is None else stops

    cdef Record *reserve(self, uint32_t payload_bytes) noexcept nogil:
        if self.run.used - self.run.cursor > OUTLET_MOST_BYTES:
            return NULL
        return self.run.reserve(payload_bytes)

    cdef uint64_t commit(self) noexcept nogil:
        cdef Record *record = <Record *>(self.run.data + self.run.used)
        if record.flags & FLAG_OBJECTS:
            return self.set_aside(record)
        return self.run.commit()

    cdef uint64_t set_aside(self, Record *record) noexcept nogil:
        with gil:
            try:
                if record.kind == KIND_TASK:
                    self.waiting.add((record.task, record.attempt))
                self.large.append((self.peer, copy_of(record)))
            except MemoryError:
                return NOT_COMMITTED                  # `waiting` without a copy in `large`: nobody will ask for it
        return SET_ASIDE

    def leaves(self, uint64_t task, uint64_t attempt):
        """A record that was set aside may leave now. Its place in the order of leaving; None if it was taken back."""
        if (task, attempt) not in self.waiting:
            return None
        self.waiting.remove((task, attempt))
        return self.run.base + self.run.cursor - 1    # after what has left, before the rest; the position of no record

    cdef bint takes_objects(self) noexcept nogil:
        return self.object_bytes <= MOST_UNREAD_BYTES

    cdef void note_objects(self, uint64_t n_bytes) noexcept nogil:
        self.object_bytes += n_bytes

    def result_leaves(self, bytes payload not None):
        """A result that was set aside leaves now."""
        self.object_bytes -= new_bytes(PyBytes_AS_STRING(payload), len(payload))

    cdef int withdraw(self, uint64_t task, uint64_t attempt, uint64_t position) noexcept nogil:
        if position == SET_ASIDE:
            with gil:                                 # with no memory for this it leaves, and its result comes too late
                self.waiting.discard((task, attempt))
            return WITHDREW
        if self.run.withdraw(position):
            return WITHDREW
        with gil:
            try:
                self.asks.append((self.peer, task, attempt))
                self.mark()
            except MemoryError:
                return TOO_LATE                       # as if it ran already
        return ASKED

    cdef void stop(self, uint64_t task, uint64_t attempt) noexcept nogil:
        with gil:
            self.stops.append((self.peer, task, attempt))
            self.mark()

    cdef uint32_t largest_payload(self) noexcept nogil:
        return MOST_PAYLOAD_BYTES

    cdef bint can_fit(self, uint64_t payload_bytes) noexcept nogil:
        return payload_bytes <= OUTLET_MOST_BYTES

    cdef bint is_elsewhere(self) noexcept nogil:
        return True

    cdef void flush(self) noexcept nogil:
        if not self.is_dirty:
            with gil:
                self.mark()

    cdef void flush_unhurried(self) noexcept nogil:
        self.flush()

    cdef mark(self):
        if not self.is_dirty:
            if self.ready is not None:
                self.ready.add(self.owner)
            self.dirty.append(self)
            self.is_dirty = True                      # last: what has failed is done again at the next flush

    def clean(self):
        """The session has taken what there was."""
        self.is_dirty = False


def feed_tasks(SchedulerCore core not None, uint32_t client, RecordBatch batch not None, uint64_t now,
               uint32_t most=<uint32_t>-1):
    """Give a remote client's tasks to the core, at most so many, as long as it may have more queued.

    Stops at one whose payload names objects, and returns a copy of it: the caller finds those, feeds it by itself, and calls
    again, since what comes behind it may need its result. None when that is all for now.
    """
    cdef Record *record
    cdef uint32_t peer = 0
    cdef object large = None
    while large is None and most:
        most -= 1
        record = batch.peek(&peer)
        if record == NULL or core.has_to_wait(client, cost_of(record)):
            break
        if record.flags & FLAG_OBJECTS:
            large = copy_of(record)
        else:
            core.on_submit(client, record, now)
        batch.step(record)
    return large


def feed_results(SchedulerCore core not None, dict workers not None, RecordBatch batch not None, uint64_t now,
                 uint32_t most=<uint32_t>-1):
    """Give results of remote workers to the core, at most so many. workers[peer] is a worker's index: else it has left.

    Returns (peer, RecordCopy) of those whose payload names objects, of workers that have left, too.
    """
    cdef Record *record
    cdef uint32_t peer = 0
    cdef int64_t last = -1           # whose index `worker` is: the records of a batch come peer by peer
    cdef object worker = None
    cdef list large = []
    while most:
        most -= 1
        record = batch.peek(&peer)
        if record == NULL:
            break
        if peer != last:
            worker, last = workers.get(peer), peer
        if record.flags & FLAG_OBJECTS:
            large.append((peer, copy_of(record)))
        elif worker is not None:
            core.on_result(worker, record, now)
        batch.step(record)
    return large


def feed_one(SchedulerCore core not None, uint32_t index, RecordRun run not None, uint64_t now):
    """Give the one record of `run` to the core: a task of client `index` or a result of worker `index`."""
    cdef Record *record = run.peek()
    if record == NULL:
        return
    if record.kind == KIND_TASK:
        core.on_submit(index, record, now)
    else:
        core.on_result(index, record, now)
    run.step(record)
