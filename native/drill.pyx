# Drill: clients and workers played in C, so that the rings and the core can be measured without anybody's Python.
#
# A Drill plays all peers of one Pump in one thread: its clients write submits and read results, its workers claim what
# they are given and write results, each into rings of the usual layout in private memory. Only the time inside the pump
# is counted. The functions below it are the two ends of one ring between two processes.
#
# Rule 1: a played peer does with its rings what a real one does, and nothing else; what it reads is counted and
#         checked.
# Not here: what is measured with it, and why (perf/core.py, perf/ring.py).

cdef class PlayedPeer:
    """A client's or a worker's ends of its rings."""
    cdef Segment memory
    cdef Ring tasks, results
    cdef uint32_t slot
    cdef uint64_t next_task


cdef class Drill:
    """A scheduler's pump and core with `clients` and `workers`, all in this thread."""
    cdef readonly Pump pump
    cdef Segment bell_memory
    cdef BellPage *bell
    cdef list clients, workers
    cdef uint32_t next_worker              # whose turn it is
    cdef readonly uint64_t submitted, done, delivered
    cdef readonly uint64_t core_ns         # spent in the pump and the core

    def __init__(self, uint32_t clients, uint32_t workers, uint32_t ring_bytes=262144):
        cdef uint32_t i
        cdef Segment recorder
        self.bell_memory = Segment.private(PAGE)
        self.bell = <BellPage *>self.bell_memory.start
        self.pump = Pump(SchedulerCore(1), self.bell_memory, -1)
        recorder = Segment.private(RECORDER_HEADER_BYTES + MOST_EVENTS * sizeof(RecordedEvent))
        memset(recorder.start, 0, recorder.size)           # as below
        self.pump.core.recorder = Recorder(recorder)
        self.clients = [self.play(False, i + 1, ring_bytes) for i in range(clients)]
        self.workers = [self.play(True, 0, ring_bytes) for i in range(workers)]

    cdef PlayedPeer play(self, bint is_worker, uint32_t bits, uint32_t ring_bytes):
        cdef PlayedPeer peer = PlayedPeer.__new__(PlayedPeer)
        cdef Peer known
        peer.memory = Segment.private(peer_segment_bytes(ring_bytes, 4096))
        memset(peer.memory.start, 0, peer.memory.size)     # the kernel gives the pages now, not while it is measured
        lay_out_peer(peer.memory, bytes(16), ring_bytes, 4096)
        peer.tasks, peer.results = peer_rings(peer.memory)[:2]
        peer.next_task = (<uint64_t>bits << TASK_NUMBER_BITS) + 1
        known = self.pump.add(peer.memory, is_worker, -1, client_bits=bits)
        peer.slot = known.slot
        if not is_worker:
            self.pump.core.on_function(known.index, 0, digest_of(b"", 0), 0, b"")
        return peer

    def fill(self, uint64_t count):
        """Submit `count` tasks more; the workers do nothing."""
        cdef uint64_t end = self.submitted + count
        while self.submitted < end:
            self.submit(end - self.submitted)
            self.pass_on()

    def run(self, uint64_t count, uint64_t duration_ns, uint32_t workers, uint32_t tasks):
        """Bring `count` tasks to their end, submitting as many, so that as many wait as before.

        Between two turns of the scheduler so many workers, the next ones each time, do up to so many tasks each, and
        say that each took `duration_ns`. Nanoseconds in the pump.
        """
        cdef uint64_t end = self.delivered + count
        cdef uint64_t waiting = self.submitted - self.delivered
        cdef uint64_t core_ns = self.core_ns
        cdef uint64_t before
        while self.delivered < end:
            before = self.delivered
            self.work(duration_ns, workers, tasks)
            self.pass_on()
            self.collect()
            if self.delivered == before:
                raise RuntimeError(f"nothing comes back: {self.pump.core.counts()}")
            self.submit(self.delivered + waiting - self.submitted)
        return self.core_ns - core_ns

    cdef int pass_on(self) except -1:
        """The scheduler's turn."""
        cdef uint64_t start = cpu_ns()
        while self.pump.run():
            pass
        self.core_ns += cpu_ns() - start
        return 0

    cdef inline void note_news(self, PlayedPeer peer) noexcept:
        """What `tell` does, to a scheduler that is awake."""
        set_bits(&self.bell.news[peer.slot >> 6], (<uint64_t>1) << (peer.slot & 63))

    cdef int submit(self, uint64_t most) except -1:
        """Submit up to so many calls of f(int), all clients alike."""
        cdef PlayedPeer client
        cdef Record *record
        cdef char payload[16]
        cdef uint64_t i
        cdef uint64_t share = most // <uint64_t>len(self.clients) + 1
        for client in self.clients:
            for i in range(min(share, most)):
                record = client.tasks.reserve(9)
                if record == NULL:
                    break
                memcpy(payload, b"\x80\x05J\x00\x00\x00\x00\x85.", 9)
                memcpy(payload + 3, &client.next_task, 4)
                fill_record(record, KIND_TASK, 0, 0, 0, client.next_task, 0, 0, 0)
                memcpy(payload_of(record), payload, 9)
                client.tasks.commit()
                client.next_task += 1
                self.submitted += 1
                most -= 1
            self.note_news(client)
        return 0

    cdef int work(self, uint64_t duration_ns, uint32_t workers, uint32_t most) except -1:
        """Let the next workers claim, run and answer up to `most` of the tasks they hold."""
        cdef PlayedPeer worker
        cdef Record *task
        cdef Record *result
        cdef uint32_t n, i
        for i in range(min(workers, <uint32_t>len(self.workers))):
            worker = self.workers[self.next_worker]
            self.next_worker = (self.next_worker + 1) % <uint32_t>len(self.workers)
            n = 0
            while n < most:
                task = worker.tasks.peek()
                if task == NULL:
                    break
                if worker.tasks.claim(task):
                    result = worker.results.reserve(8)
                    if result == NULL:
                        raise RuntimeError("a scheduler that has had its turn leaves room for results")
                    fill_record(result, KIND_RESULT, FLAG_PLAIN, STATUS_OK, task.function, task.task, task.attempt, 0, 0)
                    result.duration_ns = duration_ns
                    memcpy(payload_of(result), payload_of(task), 7)
                    payload_of(result)[7] = b'.'
                    worker.results.commit()
                    n += 1
                worker.tasks.step(task.record_bytes)
            if n:
                worker.tasks.recycle()
                self.note_news(worker)
                self.done += n
        return 0

    cdef int collect(self) except -1:
        """Let every client read its results."""
        cdef PlayedPeer client
        cdef Record *record
        cdef uint32_t n
        for client in self.clients:
            n = 0
            while True:
                record = client.results.peek()
                if record == NULL:
                    break
                if record.kind != KIND_RESULT or record.status != STATUS_OK:
                    raise RuntimeError(f"task {record.task:#x} ended with status {record.status}")
                client.results.step(record.record_bytes)
                n += 1
            if n:
                self.delivered += n
                if client.results.recycle():
                    self.note_news(client)
        return 0


def drill_produce(Ring ring not None, uint64_t count, uint32_t payload_bytes):
    """Write `count` tasks, numbered from 0, as fast as their reader makes room."""
    cdef uint64_t i
    cdef Record *record
    with nogil:
        for i in range(count):
            record = ring.reserve(payload_bytes)
            while record == NULL:
                sched_yield()
                record = ring.reserve(payload_bytes)
            fill_record(record, KIND_TASK, 0, 0, 0, i, 0, 0, 0)
            memset(payload_of(record), <int>(i & 255), payload_bytes)
            ring.commit()


def drill_consume(Ring ring not None, uint64_t count, bint claims):
    """Read `count` tasks, and claim each if `claims`. RuntimeError if one of them is not what was written."""
    cdef uint64_t i = 0
    cdef uint64_t wrong = 0
    cdef uint32_t unrecycled = 0
    cdef uint32_t size
    cdef Record *record
    with nogil:
        while i < count and not ring.broken:
            record = ring.peek()
            if record == NULL:
                if unrecycled:
                    ring.recycle()
                    unrecycled = 0
                sched_yield()
                continue
            size = payload_bytes_of(record)
            if record.task != i or (size and <uint8_t>payload_of(record)[size - 1] != (i & 255)):
                wrong += 1
            if claims and not ring.claim(record):
                wrong += 1
            ring.step(record.record_bytes)
            i += 1
            unrecycled += 1
            if claims or unrecycled == 64:     # a worker recycles after each task, the scheduler after many results
                ring.recycle()
                unrecycled = 0
        ring.recycle()
    if wrong or ring.broken:
        raise RuntimeError(f"{wrong} of {count} records were not read as they were written")


def drill_hops(RingOutlet out not None, Ring into not None, Segment memory not None, size_t sleeping_offset, int doorbell,
               uint64_t count, bint begins):
    """Throw one record to and fro `count` times, sleeping for each as a worker does. Nanoseconds per hop."""
    cdef uint32_t *sleeping = <uint32_t *>(memory.start + sleeping_offset)
    cdef uint64_t start = now_ns()
    cdef uint64_t i
    cdef Record *record
    cdef pollfd fds[1]
    fds[0].fd = doorbell
    fds[0].events = POLLIN
    with nogil:
        for i in range(count):
            if begins or i:
                record = out.reserve(8)
                fill_record(record, KIND_TASK, 0, 0, 0, i, 0, 0, 0)
                out.commit()
                full_fence()
                out.flush()
            while True:
                record = into.peek()
                if record != NULL:
                    break
                store_release32(sleeping, 1)
                full_fence()                              # SYNC POINT sleep
                if not into.has_news():
                    fds[0].revents = 0
                    poll(fds, 1, 1000)
                    if fds[0].revents & POLLIN:
                        quiet_doorbell(doorbell)
                store_release32(sleeping, 0)
            into.step(record.record_bytes)
            into.recycle()
        if not begins:
            record = out.reserve(8)
            fill_record(record, KIND_TASK, 0, 0, 0, count, 0, 0, 0)
            out.commit()
            full_fence()
            out.flush()
    return (now_ns() - start) / (2.0 * count)
