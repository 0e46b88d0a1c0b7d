# Outcomes: a call has ended: who has to count that, and what the recorder notes.
#
# A call ends once: when its result is there (whether its client has room for it or not), or when nobody wants it any
# more (whether a worker still runs it or not). From then on its row may stay for a while, and says nothing more here.
#
# Time in the queue is from when the task could run (all inputs there) until a worker began it. The core has no clock of
# the workers' beginnings: that is when the result was read, less the duration that the worker says. So what a result
# waited to be read counts as time in the queue, which is one pass of the pump at most. A task that is taken back before
# it was begun goes on waiting; one whose worker died begins to wait anew.
#
# Rule 1: this is told before the row ends, and before its function may be forgotten.
# Rule 2: nothing here decides anything.
# Not here: what stands in an event (recorder), what failures say (failure_groups).

cdef inline uint64_t waited_ns(Row *row, uint64_t now, uint64_t duration_ns) noexcept nogil:
    """How long the row's task could run before a worker began it."""
    cdef uint64_t since = runnable_ns(row) + duration_ns
    return now - since if now > since else 0


@cython.final
cdef class Outcomes:
    cdef TaskTable table
    cdef FunctionTable functions
    cdef WorkerPool pool
    cdef Recorder recorder
    cdef FailureGroups failures

    def __cinit__(self, TaskTable table, FunctionTable functions, WorkerPool pool):
        self.table, self.functions, self.pool = table, functions, pool
        self.recorder, self.failures = Recorder(), FailureGroups()

    cdef void note_result(self, uint32_t row_index, Record *result) noexcept nogil:
        """The row's task ends with this. The row is placed if a worker has sent it."""
        cdef Row *row = self.table.row(row_index)
        cdef CallCounts *calls = self.table.counts_of(row.client)
        cdef FunctionCounts *counts = NULL
        cdef Worker *worker = NULL
        cdef uint64_t now = self.table.now_ns
        cdef uint64_t n = calls_of(row)
        cdef uint64_t bad = n
        cdef uint64_t queued_ns = 0
        cdef uint32_t outcome = OUTCOME_SUCCEEDED
        if result.status == STATUS_STOPPED:
            self.note_cancelled(row_index)
            calls.stopped += n
            return
        if result.status == STATUS_OK:
            bad = min(<uint64_t>result.function, n) if result.flags & FLAG_CHUNK else 0
        if row.state == ROW_PLACED:
            worker = &self.pool.workers[row.worker]
            worker.succeeded += n - bad
            worker.failed += bad
        calls.succeeded += n - bad
        calls.failed += bad
        if bad:
            outcome = self.note_failure(row_index, result, 0 if worker == NULL else worker.number, bad)
        if row.function != NO_FUNCTION:
            counts = self.functions.counts_of(row.function)
            counts.succeeded += n - bad
            counts.failed += bad
            counts.last_ns = now
            if worker != NULL and result.duration_ns:
                queued_ns = waited_ns(row, now, result.duration_ns)
                counts.duration_ns += result.duration_ns
                counts.queued_ns += queued_ns * n
                if counts.histograms == NULL:
                    self.functions.add_histograms(row.function)
                if counts.histograms != NULL:
                    counts.histograms.durations.counts[bucket_of_ns(
                        result.duration_ns if n == 1 else result.duration_ns // n)] += n
                    counts.histograms.queued.counts[bucket_of_ns(queued_ns)] += n
        self.recorder.write(row.task, now, result.duration_ns, queued_ns, self.functions.number_of(row.function),
                            0 if worker == NULL else worker.number, outcome, n)

    cdef uint32_t note_failure(self, uint32_t row_index, Record *result, uint32_t worker, uint64_t bad) noexcept nogil:
        """What became of the row's task, of whose calls so many have failed."""
        cdef Row *row = self.table.row(row_index)
        cdef uint32_t function = self.functions.number_of(row.function)
        cdef bint is_overdue = False
        cdef CallCounts *calls = self.table.counts_of(row.client)
        cdef const char *payload = payload_of(result)
        cdef size_t size = payload_bytes_of(result)
        with gil:
            if result.flags & FLAG_OBJECTS:           # larger than a record: what it says is not here
                self.failures.note(STATUS_RAISED, b"", 0, function, worker, row.task, bad, self.table.now_ns)
            elif result.flags & FLAG_CHUNK and result.status == STATUS_OK:
                self.note_failed_items(payload, size, row, function, worker, bad)
            else:
                is_overdue = self.failures.note(result.status, payload, size, function, worker, row.task, bad,
                                                self.table.now_ns)
        if is_overdue:
            calls.stopped += bad
            return OUTCOME_OVERDUE
        if result.status == STATUS_WORKER_DIED:
            return OUTCOME_LOST
        if result.status == STATUS_OK or result.status == STATUS_RAISED or result.status == STATUS_UNREADABLE:
            return OUTCOME_FAILED
        return OUTCOME_REFUSED

    cdef void note_failed_items(self, const char *payload, size_t size, Row *row, uint32_t function, uint32_t worker,
                                uint64_t bad) noexcept:
        """Each call of a chunk that failed (records/chunk.pyx draws the payload)."""
        cdef size_t items = <size_t>calls_of(row)
        cdef const uint32_t *ends = <const uint32_t *>payload
        cdef const unsigned char *codes = <const unsigned char *>payload + 4 * items
        cdef uint32_t first = 0
        cdef size_t i
        if size < 5 * items:
            return
        for i in range(items):
            if ends[i] < first or ends[i] > size - 5 * items or bad == 0:
                return
            if codes[i] & 0x7F != STATUS_OK:
                bad -= 1
                self.failures.note(codes[i] & 0x7F, payload + 5 * items + first, ends[i] - first, function, worker, row.task,
                                   1, self.table.now_ns)
            first = ends[i]

    cdef void note_cancelled(self, uint32_t row_index) noexcept nogil:
        """Nobody wants it any more."""
        cdef Row *row = self.table.row(row_index)
        cdef uint64_t n = calls_of(row)
        cdef CallCounts *calls = self.table.counts_of(row.client)
        cdef FunctionCounts *counts
        calls.cancelled += n
        if row.function != NO_FUNCTION:
            counts = self.functions.counts_of(row.function)
            counts.cancelled += n
        self.recorder.write(row.task, self.table.now_ns, 0, 0, self.functions.number_of(row.function),
                            self.pool.workers[row.worker].number if row.state == ROW_PLACED else 0, OUTCOME_CANCELLED, n)

    cdef void note_run_in_place(self, uint32_t row_index) noexcept nogil:
        """The task that waited for it has run it. What it came to stays there; it counts as a success."""
        cdef Row *row = self.table.row(row_index)
        cdef uint64_t n = calls_of(row)
        cdef CallCounts *calls = self.table.counts_of(row.client)
        cdef FunctionCounts *counts
        calls.succeeded += n
        if row.function != NO_FUNCTION:
            counts = self.functions.counts_of(row.function)
            counts.succeeded += n
        self.recorder.write(row.task, self.table.now_ns, 0, 0, self.functions.number_of(row.function), 0, OUTCOME_SUCCEEDED, n)

    cdef void note_lost(self, Row *row) noexcept nogil:
        """Its worker has gone, and holds it no longer."""
        cdef FunctionCounts *counts = self.functions.counts_of(row.function)
        counts.placed -= calls_of(row)

    cdef void note_stopped(self, uint32_t row_index) noexcept nogil:
        """It was cancelled while a worker ran it, and has been stopped by force."""
        cdef Row *row = self.table.row(row_index)
        cdef CallCounts *calls = self.table.counts_of(row.client)
        calls.stopped += calls_of(row)

    cdef void note_back(self, uint32_t row_index) noexcept nogil:
        """Its worker has died: it is run again if it had been begun, and else goes on waiting."""
        cdef Row *row = self.table.row(row_index)
        cdef CallCounts *calls = self.table.counts_of(row.client)
        if row.charged:
            row.charged = False
            calls.retried += calls_of(row)
            note_runnable(row, self.table.now_ns)
