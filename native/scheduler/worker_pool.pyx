# WorkerPool: how much each worker holds, how much more it may be given, and which gets the next task.
#
# A worker is *open* while it may be given one more task, whichever that is: it holds less than CREDIT_NS of known work
# and fewer than `queue_size` tasks, there was room for its last record, and neither does its task wait for another
# (blocked) nor does it still run what a scheduler before gave it (aside). Whether it is open is never a question of the
# task: else a task that is hard to place would be passed over again and again by those that are easy, while they keep
# all workers filled. What a task costs is charged after it has been placed (dispatcher), so a worker holds less than
# CREDIT_NS and one task.
#
# Open workers hang in buckets by the power of two of the work they hold, so the least loaded one is found without
# looking at the others, with 10 workers or 10,000. Of two that are loaded alike the one comes first that has no
# resources (resources), since others may ask for these. One that has them hangs in a second bucket, of its supply.
#
# A picky worker, which reads no pickles, stands in the buckets of its supply only: nobody else finds it.
#
# Rule 1: a worker is in a bucket, the one of its load, if and only if it is open.
# Not here: what a task is charged (functions), when a worker that had no room is looked at again (dispatcher, pump).

cdef enum:
    BUCKETS = 34
    NO_BUCKET = 34         # of a worker that is not open
    CREDIT_NS = 4000000

cdef struct Worker:
    void *tasks            # Outlets, kept alive by the pool
    void *control
    uint32_t head          # rows it holds, in the order of its ring
    uint32_t tail
    uint32_t held
    uint32_t bucket
    uint32_t next
    uint32_t previous
    uint32_t queue_size
    bint present
    uint32_t host          # its number in the ObjectTable; 0: the scheduler's, where all objects are
    bint is_aside          # still runs what a scheduler before gave it
    bint is_ending         # it is given nothing more: somebody is about to kill it, or it leaves
    bint is_leaving        # it leaves since its host does; if it is killed before its task ends, that task is not to blame
    bint is_blocked        # what it runs waits for another task
    bint is_full           # a record for it found no room, and nothing has been heard of it since
    bint dirty             # records written since the last flush: it hangs in the list of those
    uint32_t next_dirty    # index + 1
    uint64_t load_ns
    uint64_t since_ns      # when its current task began, as far as we know
    uint64_t given_ns      # when it was last given anything: at the first since the last flush
    uint64_t tag           # by which it keeps objects
    uint64_t maker         # what the objects of its results begin with
    uint8_t *knows         # bit per function
    uint32_t knows_bytes
    uint32_t number        # what viewers know it by; from 1 on, and never another's
    uint64_t sent          # calls ever given to it
    uint64_t succeeded
    uint64_t failed
    const uint64_t *in_place_at    # where it says how many calls its tasks have run themselves; NULL: elsewhere
    uint64_t in_place      # then, as its supervisor says
    uint64_t rss_bytes     # of its process, as its supervisor says
    float cpu_share
    uint32_t pid
    uint64_t busy_ns       # sum of the durations of what it has answered
    uint64_t joined_ns
    uint32_t last_function # index + 1 of what it was given last, which spares a look at the bits
    bint is_picky          # it reads no pickles: it is given only what asks for something that it has
    uint32_t supply        # what it has, index + 1; 0: nothing that is told
    uint32_t supply_next   # in the bucket of its supply
    uint32_t supply_previous
    uint32_t requested     # how many of the tasks it holds ask for something
    uint32_t claimed_tasks # how many of these hold some of its accounts, all for the same request (claims)
    uint32_t lent_tasks    # that run in place in its task, and hold some
    uint16_t request       # that one
    int64_t *holds         # how much of each account of its supply


cdef inline uint64_t own_runs_of(Worker *worker) noexcept nogil:
    return worker.in_place if worker.in_place_at == NULL else load_acquire(worker.in_place_at)


cdef inline uint32_t bucket_of(Worker *worker) noexcept nogil:
    """Where it belongs: 0 or 1 with nothing to do, then by the power of two of its load, the higher of two if it has
    resources; NO_BUCKET unless it is open."""
    if (worker.load_ns >= CREDIT_NS or worker.held >= worker.queue_size
            or worker.is_full or worker.is_blocked or worker.is_aside):
        return NO_BUCKET
    if worker.held == 0:
        return worker.supply != 0
    return 2 * (1 + (64 - <uint32_t>count_leading_zeros(worker.load_ns >> 10 | 1))) + (worker.supply != 0)


cdef inline bint knows_function(Worker *worker, uint32_t function) noexcept nogil:
    """Whether it has been told what this function is, by its index."""
    return function >> 3 < worker.knows_bytes and worker.knows[function >> 3] & (1 << (function & 7)) != 0


@cython.final
cdef class WorkerPool:
    """Workers by index, and by how much they hold."""
    cdef Worker *workers
    cdef uint32_t room
    cdef uint32_t length
    cdef uint32_t heads[34]        # worker index + 1
    cdef ResourceTable resources
    cdef ReadyQueue ready
    cdef uint64_t buckets          # bit per bucket in use
    cdef uint32_t dirty            # first of the list, index + 1
    cdef list outlets              # by index: keeps them alive
    cdef readonly uint32_t present
    cdef uint32_t first_free       # no index before it is free
    cdef uint32_t next_number
    cdef uint64_t in_place_gone    # run in place in workers that have gone
    cdef readonly uint64_t changes # how often one has come or gone

    def __cinit__(self, ResourceTable resources, ReadyQueue ready):
        self.resources, self.ready = resources, ready
        self.outlets = []

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(self.length):
            free(self.workers[i].knows)
            free(self.workers[i].holds)
        free(self.workers)

    cdef int add(self, Outlet tasks, Outlet control, uint32_t queue_size, uint32_t supply=0, bint is_picky=False) except -1:
        """A new worker's index. `supply` is that of what it has, + 1."""
        cdef uint32_t index = self.first_free
        cdef int64_t *holds = NULL
        cdef Worker *workers
        cdef bint dirty
        cdef uint32_t next_dirty
        while index < self.length and self.workers[index].present:
            index += 1
        if index == self.length:
            if self.length == self.room:
                workers = <Worker *>realloc(self.workers, (self.room * 2 + 16) * sizeof(Worker))
                if workers == NULL:
                    raise MemoryError("no memory for another worker")
                self.workers = workers
                self.room = self.room * 2 + 16
            self.length += 1
            self.outlets.append(None)
            memset(&self.workers[index], 0, sizeof(Worker))
        if supply:
            holds = <int64_t *>calloc(max(self.resources.supplies[supply - 1].count, <uint32_t>1), sizeof(int64_t))
            if holds == NULL:
                raise MemoryError("no memory for another worker")
        free(self.workers[index].knows)
        free(self.workers[index].holds)
        dirty, next_dirty = self.workers[index].dirty, self.workers[index].next_dirty
        memset(&self.workers[index], 0, sizeof(Worker))
        # The one that had this place may have left before the next flush, and hang in the list still.
        self.workers[index].dirty, self.workers[index].next_dirty = dirty, next_dirty
        self.workers[index].present = True
        self.workers[index].supply, self.workers[index].holds = supply, holds
        self.workers[index].is_picky = is_picky
        self.workers[index].tasks = <void *>tasks
        self.workers[index].control = <void *>control
        self.outlets[index] = (tasks, control)
        self.workers[index].queue_size = queue_size if queue_size else 1
        self.next_number += 1
        self.changes += 1
        self.workers[index].number = self.next_number
        self.present += 1
        self.first_free = index + 1
        self.ready.openings += supply != 0
        self.enter(index)
        return index

    cdef int remove(self, uint32_t index) except -1:
        """The worker is gone; what it held is somewhere else by now."""
        cdef Worker *worker = &self.workers[index]
        cdef uint32_t supply = worker.supply
        cdef uint32_t slot
        self.leave(index)
        if supply:
            for slot in range(self.resources.supplies[supply - 1].count):
                self.resources.accounts[self.resources.supplies[supply - 1].accounts[slot]].free += worker.holds[slot]
                worker.holds[slot] = 0
            worker.supply = worker.requested = worker.claimed_tasks = worker.lent_tasks = 0
            self.ready.openings += 1
            self.resources.let_go_of_supply(supply - 1)
        self.in_place_gone += own_runs_of(worker)
        worker.in_place_at = NULL
        worker.present = False
        self.first_free = min(self.first_free, index)
        worker.head = worker.tail = worker.held = 0
        worker.load_ns = 0
        worker.tasks = worker.control = NULL
        self.outlets[index] = None
        self.present -= 1
        self.changes += 1
        return 0

    cdef inline void note_dirty(self, uint32_t index, uint64_t now) noexcept nogil:
        if not self.workers[index].dirty:
            self.workers[index].given_ns = now
            self.workers[index].dirty = True
            self.workers[index].next_dirty = self.dirty
            self.dirty = index + 1

    cdef void flush(self) noexcept nogil:
        """Let every worker that was written to see it. The caller has just made a full fence."""
        cdef Worker *worker
        while self.dirty:
            worker = &self.workers[self.dirty - 1]
            self.dirty = worker.next_dirty
            worker.dirty = False
            if worker.present:
                (<Outlet>worker.tasks).flush()

    cdef void enter(self, uint32_t index) noexcept nogil:
        cdef Worker *worker = &self.workers[index]
        worker.bucket = bucket_of(worker)
        if worker.bucket == NO_BUCKET:
            return
        if worker.supply:
            self.enter_supply(index, &self.resources.supplies[worker.supply - 1])
        if worker.is_picky:
            return
        worker.previous = 0
        worker.next = self.heads[worker.bucket]
        if worker.next:
            self.workers[worker.next - 1].previous = index + 1
        self.heads[worker.bucket] = index + 1
        self.buckets |= (<uint64_t>1) << worker.bucket

    cdef void enter_supply(self, uint32_t index, Supply *supply) noexcept nogil:
        cdef Worker *worker = &self.workers[index]
        worker.supply_previous = 0
        worker.supply_next = supply.heads[worker.bucket]
        if worker.supply_next:
            self.workers[worker.supply_next - 1].supply_previous = index + 1
        supply.heads[worker.bucket] = index + 1
        supply.buckets |= (<uint64_t>1) << worker.bucket

    cdef void leave_supply(self, uint32_t index, Supply *supply) noexcept nogil:
        cdef Worker *worker = &self.workers[index]
        if worker.supply_previous:
            self.workers[worker.supply_previous - 1].supply_next = worker.supply_next
        else:
            supply.heads[worker.bucket] = worker.supply_next
            if worker.supply_next == 0:
                supply.buckets &= ~((<uint64_t>1) << worker.bucket)
        if worker.supply_next:
            self.workers[worker.supply_next - 1].supply_previous = worker.supply_previous

    cdef void leave(self, uint32_t index) noexcept nogil:
        cdef Worker *worker = &self.workers[index]
        if worker.bucket == NO_BUCKET:
            return
        if worker.supply:
            self.leave_supply(index, &self.resources.supplies[worker.supply - 1])
        if worker.is_picky:
            return
        if worker.previous:
            self.workers[worker.previous - 1].next = worker.next
        else:
            self.heads[worker.bucket] = worker.next
            if worker.next == 0:
                self.buckets &= ~((<uint64_t>1) << worker.bucket)
        if worker.next:
            self.workers[worker.next - 1].previous = worker.previous

    cdef inline void settle(self, uint32_t index) noexcept nogil:
        """What it holds, or may be given, has changed: move it to its bucket."""
        if bucket_of(&self.workers[index]) != self.workers[index].bucket:
            self.ready.openings += self.workers[index].supply != 0 and self.workers[index].bucket == NO_BUCKET
            self.leave(index)
            self.enter(index)

    cdef void set_aside(self, uint32_t index, bint is_aside) noexcept nogil:
        """The worker is to be given nothing, or is again like any other. It holds nothing."""
        self.workers[index].is_aside = is_aside or self.workers[index].is_ending
        self.settle(index)

    cdef void set_ending(self, uint32_t index) noexcept nogil:
        """The worker is to be given nothing for as long as it is there."""
        self.workers[index].is_ending = True
        self.set_aside(index, True)

    cdef void set_blocked(self, uint32_t index, bint is_blocked) noexcept nogil:
        """The worker is to be given nothing more until its next result, or is again like any other."""
        if self.workers[index].held or not is_blocked:
            self.workers[index].is_blocked = is_blocked
            self.settle(index)

    cdef void set_full(self, uint32_t index, bint is_full) noexcept nogil:
        """A record for it has found no room; or it may have room again."""
        self.workers[index].is_full = is_full
        self.settle(index)

    cdef inline uint32_t least_loaded(self) noexcept nogil:
        """Index + 1 of an open worker with the least work, 0 if there is none."""
        return 0 if self.buckets == 0 else self.heads[count_trailing_zeros(self.buckets)]

    cdef inline bint has_idle(self) noexcept nogil:
        """Whether some worker holds nothing."""
        return self.buckets & 3 != 0
