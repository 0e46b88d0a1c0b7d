# Results: taking a client's results off their ring, and giving each to its future.
#
# There is no receiver thread in the fast case: the thread that waits takes the results (leadership), and so does any call
# that looks (`ClientRings.look`).
#
# Rule 1: results are taken off the ring in one step (`take`), in which no code but ours runs, the collector's finalizers
#         included. When it is over, each result is its future's, or is noted where any thread finds it (`arrived`).
# Rule 2: to find a result that is an object opens files, so other threads and others' code may run meanwhile. The result
#         stays in `arrived` until a future has it, and whichever thread is first ends that.
# Not here: which threads are told that a future is done (notifier), reading a result's value (future, `settle`).

@cython.final
cdef class Results:
    cdef Connection connection
    cdef OpenFutures open
    cdef Notifier notifier
    cdef LateDependants late
    cdef KnownObjects known
    cdef Mappings mappings
    cdef object arrived           # results that are objects, which are still to be found
    cdef uint64_t strays          # results of tasks that are not open: cancelled, or answered before
    cdef bint decode_plain        # plain results are unpickled as they are taken

    def __cinit__(self, Connection connection not None, OpenFutures open not None, Notifier notifier not None,
                  LateDependants late not None, KnownObjects known not None, Mappings mappings not None,
                  bint decode_plain):
        self.connection, self.open, self.notifier, self.late = connection, open, notifier, late
        self.known, self.mappings, self.decode_plain = known, mappings, decode_plain
        self.arrived = _collections.deque()

    cdef int take(self) except -1:
        """Take all results that are there: see rule 1."""
        cdef Ring results = self.connection.channel.results
        cdef Record *record
        cdef PendingFuture future
        cdef object value
        cdef uint8_t state
        cdef bint collects
        if self.connection.abandoned:
            return 0
        collects = PyGC_Disable()                     # it would run finalizers
        try:
            while True:
                record = results.peek()
                if record == NULL:
                    break
                if record.kind == KIND_RESULT and record.flags & FLAG_OBJECTS:
                    self.arrived.append((record.task, payload_of(record)[:payload_bytes_of(record)], record.duration_ns,
                                         record.cpu_us, record.memory_peak_kib, record.status, record.flags, record.detail))
                    results.step(record.record_bytes)
                    continue
                future = self.open.take(record.task & NUMBER_MASK) if record.kind == KIND_RESULT else None
                if future is None:
                    self.strays += record.kind == KIND_RESULT
                    results.step(record.record_bytes)
                    continue
                future.duration_ns = record.duration_ns
                future.cpu_us = record.cpu_us
                future.memory_peak_kib = record.memory_peak_kib
                future.status = <uint8_t>record.status
                future.flags = record.flags
                value = self.outcome_of(record, &state)
                if future.is_recalled and record.status == STATUS_STOPPED:
                    state, value = FUTURE_CANCELLED, RECALLED
                if future.dependants is not None:
                    future.served = record.detail
                    self.late.add(future)
                results.step(record.record_bytes)
                self.notifier.complete(future, state, value)
        finally:
            if collects:
                PyGC_Enable()
        if results.is_behind() and results.recycle():
            self.connection.channel.tell()
        return 0

    cdef object outcome_of(self, Record *record, uint8_t *state):
        """What the future of this result gets, and its state with that."""
        cdef uint32_t size = payload_bytes_of(record)
        cdef object value
        try:
            if record.status == STATUS_OK and record.flags == FLAG_PLAIN and self.decode_plain:
                value = read_plain(payload_of(record), size)
                if value is not NotImplemented:
                    state[0] = FUTURE_DONE
                    return value
            state[0] = FUTURE_RAW
            return PyBytes_FromStringAndSize(payload_of(record), size)
        except Exception as error:                    # bytes that make no sense, or no memory for them
            state[0] = FUTURE_FAILED
            return error

    cdef int find_arrived(self) except -1:
        """End the futures whose results are objects: see rule 2."""
        cdef PendingFuture future
        cdef Mapping mapping
        cdef Loan loan
        cdef bytes payload
        cdef tuple result
        cdef bint is_sound
        while self.arrived:
            result = self.arrived[0]
            payload = result[1]
            mapping = loan = None
            is_sound = places_in(PyBytes_AS_STRING(payload), len(payload)) == 1
            if is_sound:
                try:
                    mapping = self.mappings.find(place_at(PyBytes_AS_STRING(payload), 0).segment)
                except (OSError, ValueError):
                    pass                              # whichever call opens it raises the reason
            if not self.arrived or self.arrived[0] is not result:
                continue
            # From here on no code but ours runs.
            self.arrived.popleft()
            if is_sound and mapping is None and (self.connection.state != CONNECTED
                                                 or self.connection.channel.has_hung_up()):
                # It was removed before we came to it: its worker has gone over to the next scheduler, or was swept up.
                # The task stays open, and is sent again.
                self.known.has_lost_result = True
                continue
            if is_sound:
                loan = self.mappings.lend(place_at(PyBytes_AS_STRING(payload), 0), True)
                loan.pinned = mapping                 # its name may go before it is read
            future = self.open.take(<uint64_t>result[0] & NUMBER_MASK)
            if future is None:
                self.strays += 1                      # no future wants it: it is given back as it is dropped
                continue
            _, _, future.duration_ns, future.cpu_us, future.memory_peak_kib, future.status, future.flags, served = result
            if future.dependants is not None:
                future.served = served
                self.late.add(future)
            self.notifier.complete(future, FUTURE_RAW, loan)
        return 0
