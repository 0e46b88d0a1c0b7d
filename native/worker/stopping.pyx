# RunningTask: what a worker runs now, as the other end of its rings sees it, and how that is stopped.
#
# The worker writes into its page what it runs, since when, and how long that may take. The other side writes there
# which attempt is to be stopped, and sends a signal, whose handler asks the page whether it is just that one that runs
# now (native/worker/interrupts.pyx). So a signal that comes late does nothing, and none is lost: an attempt looks there as
# it begins.
#
# An attempt is in progress while its record is claimed and the ring's tail has not passed it, that is until its result
# is published, so this holds for a worker that is stuck or dead, too.
#
# SYNC POINT stop: the attempt is 0 while its task is written, and looked at before and after by the reader.
#
# Rule 1: a worker may have written anything into its ring. One whose records make no sense runs nothing that could be
#         named, so it cannot be asked to stop: it is to be shut out, and the reader of its rings is told to look.
# Not here: signals, patience, and what follows (scaler.cancellation).


@cython.final
cdef class RunningTask:
    """The task that a worker runs: looked at from outside. `tasks` is the producer's end of its ring."""
    cdef Segment memory
    cdef PeerPage *page
    cdef Ring tasks
    cdef Segment bell_memory      # of the process that drains the worker's rings
    cdef uint64_t *news           # there, and this worker's bit in it; NULL if nobody does
    cdef uint64_t bit

    def __init__(self, Segment memory not None, Ring tasks not None):
        self.memory = memory
        self.page = <PeerPage *>memory.start
        self.tasks = tasks

    @property
    def in_place(self):
        """How many calls the worker's tasks have run themselves."""
        return load_acquire(&self.page.in_place)

    def is_it(self, uint64_t task, uint64_t attempt, uint64_t since_ns=0):
        """Whether this attempt is in progress; with `since_ns`, whether it is still at the call that it began then."""
        cdef Record *record = self.find_claimed()
        return (record != NULL and record.task == task and record.attempt == attempt
                and (since_ns == 0 or load_acquire(&self.page.since_ns) == since_ns))

    cdef int report_to(self, Segment bell_memory, uint32_t slot) except -1:
        """The owner of this bell page is to look at the worker's rings when its tasks are found broken here."""
        self.bell_memory = bell_memory
        self.news = &(<BellPage *>bell_memory.start).news[slot >> 6]
        self.bit = (<uint64_t>1) << (slot & 63)
        return 0

    cdef Record *find_claimed(self) noexcept nogil:
        """The record that the worker has claimed and not answered; NULL if there is none."""
        cdef Walk walk = self.tasks.walk_unread()
        cdef Record *record = self.tasks.next_of(&walk)
        cdef uint32_t claim
        while record != NULL:
            if record.kind == KIND_TASK:
                claim = load_acquire32(&record.claim)
                if claim == claim_word(CLAIM_CLAIMED, walk.at):
                    return record
                if claim != claim_word(CLAIM_WITHDRAWN, walk.at):
                    self.tasks.broken |= claim != claim_word(CLAIM_OFFERED, walk.at)
                    break
            record = self.tasks.next_of(&walk)
        self.report_broken()
        return NULL

    cdef void report_broken(self) noexcept nogil:
        if self.tasks.broken and self.news != NULL:
            set_bits(self.news, self.bit)

    def find_overdue(self, uint64_t now):
        """(task, attempt, since, limit in ns) if it has run longer than it may; else None."""
        cdef PeerPage *page = self.page
        cdef uint64_t since
        cdef uint64_t task
        cdef uint64_t attempt
        cdef uint64_t limit = load_acquire(&page.limit_ns)
        if limit == 0 or load_acquire32(&page.state) != STATE_RUNNING:
            return None
        since = load_acquire(&page.since_ns)
        task = load_acquire(&page.task)
        attempt = load_acquire(&page.attempt)
        limit = load_acquire(&page.limit_ns)
        # Between two tasks it is not running, and the next has begun at another time: what was read is of one.
        if load_acquire32(&page.state) != STATE_RUNNING or load_acquire(&page.since_ns) != since:
            return None
        return (task, attempt, since, limit) if limit and now > since + limit else None

    def find_final(self):
        """(task, attempt) in progress that may not be tried again if the worker has died, since a child that may not be
        was under way on its stack; else None."""
        cdef Record *record = self.find_claimed()
        if record == NULL or load_acquire(&self.page.final) != record.attempt or record.attempt == 0:
            return None
        return record.task, record.attempt

    def find_piece_node(self):
        """If it runs a piece of a graph: which of the nodes of that it is at. Else None."""
        cdef Record *record = self.find_claimed()
        cdef uint32_t node = load_acquire32(&self.page.piece_node)
        if record == NULL or node == 0 or load_acquire(&self.page.attempt) != record.attempt:
            return None
        return node - 1

    cdef int add_noted(self, list claimed) except -1:
        """Add what the worker's page says that it runs: it is charged if the ring does not tell any more."""
        noted = load_acquire(&self.page.task), load_acquire(&self.page.attempt)
        if load_acquire32(&self.page.state) == STATE_RUNNING and noted not in claimed:
            claimed.append(noted)
        return 0

    @property
    def name(self):
        """The function of what it runs, if that has a limit or was stopped: as long as it is at it. Empty: not known."""
        cdef uint32_t size = min(load_acquire32(&self.page.name_bytes), <uint32_t>sizeof(self.page.name))
        return self.page.name[:size].decode("utf-8", "replace")

    def ask_to_stop(self, uint64_t task, uint64_t attempt, uint64_t since_ns=0):
        """Have this attempt stop (with `since_ns`, only the call that it began then), as soon as a signal has come."""
        cdef PeerPage *page = self.page
        store_release(&page.stop_attempt, 0)          # SYNC POINT stop
        full_fence()
        store_release(&page.stop_task, task)
        store_release(&page.stop_since_ns, since_ns)
        store_release(&page.stop_attempt, attempt)
        full_fence()

    @property
    def has_raised(self):
        """What runs was stopped, and goes on: it has caught that, or tidies up."""
        return load_acquire32(&self.page.stop_raised) != 0

    def take_back_all(self):
        """Take back all records that the worker has not claimed: (task, attempt) each."""
        cdef Walk walk = self.tasks.walk_unread()
        cdef Record *record = self.tasks.next_of(&walk)
        cdef list found = []
        while record != NULL:
            if record.kind == KIND_TASK and self.tasks.withdraw(walk.at):
                found.append((record.task, record.attempt))
            record = self.tasks.next_of(&walk)
        self.report_broken()
        return found


cdef int what_to_stop(PeerPage *page, uint64_t *since_ns) noexcept nogil:
    """For the worker: whether what it runs now is to be stopped, and whether since then only."""
    cdef uint64_t attempt = load_acquire(&page.stop_attempt)     # SYNC POINT stop
    cdef uint64_t task = load_acquire(&page.stop_task)
    since_ns[0] = load_acquire(&page.stop_since_ns)
    return (attempt and attempt == page.attempt and task == page.task and attempt == load_acquire(&page.stop_attempt)
            and (since_ns[0] == 0 or since_ns[0] == page.since_ns))
