# Claims: which worker may take a task that asks for resources, and what workers hold of theirs.
#
# A worker runs one task at a time, so what it holds is what one of them needs. It may be given several tasks ahead that
# ask for the same: they hold it together, and it is given back with the last. While it has such, it is given none that
# asks for other amounts. What asks for no amount (tags) is given to it as anything else is.
#
# What cannot be placed for want of amounts, though workers are open, must not wait for ever for all that needs less of
# them: nothing that comes later is given of the accounts, and of the supplies, that it would have been satisfied from
# (`kept_at`), until something is opened or given back. Then the one whose turn it is looks first again (ready).
#
# A task that runs in place, in one that waits for it, holds what it needs beyond what its worker holds already. If that
# is not free, it waits until it is, unless all workers that hold any of it wait in tasks themselves: then nobody would
# ever give it back, and it is overdrawn.
#
# Rule 1: a worker holds nothing beyond what the tasks that it has, or runs in place, ask for.
# Not here: what there is (resources), where a task is put (dispatcher).

cdef enum:
    MOST_FITTING = 16              # supplies with an open worker that are compared, before the least loaded is taken
    MOST_CLAIM_LOOKS = 64          # at workers of one supply


@cython.final
cdef class Claims:
    cdef ReadyQueue ready
    cdef ResourceTable resources
    cdef WorkerPool pool

    def __cinit__(self, ReadyQueue ready, ResourceTable resources, WorkerPool pool):
        self.ready, self.resources, self.pool = ready, resources, pool

    # looking

    cdef uint32_t find(self, uint32_t request) noexcept nogil:
        """Index + 1 of a worker, among the least loaded ones, that may be given a task with this request now. 0: there is
        none, and if it could have been one, what it has is kept for this request."""
        cdef uint32_t length = self.resources.supply_length
        cdef uint32_t supply = self.resources.requests[request].next_supply
        cdef uint32_t i, worker
        cdef uint32_t best = 0
        cdef uint32_t fitting = 0
        cdef bint is_short = False
        for i in range(length):
            supply = supply + 1 if supply + 1 < length else 0
            if self.resources.supplies[supply].buckets == 0 or self.resources.slots_of(request, supply)[0] == UNFIT:
                continue
            worker = self.find_at(request, supply)
            if worker == 0:
                is_short = True
                continue
            if best == 0 or self.pool.workers[worker - 1].bucket < self.pool.workers[best - 1].bucket:
                best = worker
                self.resources.requests[request].next_supply = supply
            fitting += 1
            if self.pool.workers[best - 1].held == 0 or fitting == MOST_FITTING:
                break
        if best == 0 and is_short:
            self.keep_for(request)
        return best

    cdef uint32_t find_at(self, uint32_t request, uint32_t supply_index) noexcept nogil:
        """The same of the workers with this supply, of which some are open."""
        cdef Supply *supply = &self.resources.supplies[supply_index]
        cdef uint64_t buckets = supply.buckets
        cdef uint32_t looks = 0
        cdef uint32_t worker
        cdef bint has_free
        if not self.is_counted(request, supply_index):
            return supply.heads[count_trailing_zeros(buckets)]
        if self.is_kept(request, supply_index):
            return 0
        has_free = self.has_free(request, supply_index, NULL)
        while buckets:
            worker = supply.heads[count_trailing_zeros(buckets)]
            buckets &= buckets - 1
            while worker:
                if self.pool.workers[worker - 1].claimed_tasks == 0:
                    if has_free:
                        return worker
                elif self.pool.workers[worker - 1].request == request:
                    return worker
                looks += 1
                if looks == MOST_CLAIM_LOOKS:
                    return 0
                worker = self.pool.workers[worker - 1].supply_next
        return 0

    cdef bint is_counted(self, uint32_t request, uint32_t supply) noexcept nogil:
        """Whether anything of this supply would be taken."""
        cdef uint8_t *slots = self.resources.slots_of(request, supply)
        cdef uint32_t i
        for i in range(self.resources.requests[request].count):
            if slots[i] < NOT_COUNTED:
                return True
        return False

    cdef bint is_kept(self, uint32_t request, uint32_t supply) noexcept nogil:
        """Whether any of that is kept for a request that came before this one."""
        cdef uint8_t *slots = self.resources.slots_of(request, supply)
        cdef uint32_t i
        if self.resources.supplies[supply].kept_at == self.ready.openings:
            return True
        for i in range(self.resources.requests[request].count):
            if (slots[i] < NOT_COUNTED
                    and self.resources.accounts[self.resources.supplies[supply].accounts[slots[i]]].kept_at == self.ready.openings):
                return True
        return False

    cdef void keep_for(self, uint32_t request) noexcept nogil:
        """Nothing of what it could be satisfied from is given to others, for the time being."""
        cdef uint32_t supply, i
        cdef uint8_t *slots
        for supply in range(self.resources.supply_length):
            slots = self.resources.slots_of(request, supply)
            if self.resources.supplies[supply].users == 0 or slots[0] == UNFIT or not self.is_counted(request, supply):
                continue
            self.resources.supplies[supply].kept_at = self.ready.openings
            for i in range(self.resources.requests[request].count):
                if slots[i] < NOT_COUNTED:
                    self.resources.accounts[self.resources.supplies[supply].accounts[slots[i]]].kept_at = self.ready.openings

    cdef bint has_free(self, uint32_t request, uint32_t supply, const int64_t *holds) noexcept nogil:
        """Whether what it asks for is free, beyond what is held already (NULL: nothing)."""
        cdef uint8_t *slots = self.resources.slots_of(request, supply)
        cdef int64_t needed
        cdef uint32_t i
        for i in range(self.resources.requests[request].count):
            if slots[i] < NOT_COUNTED:
                needed = self.resources.requests[request].amounts[i]
                if holds != NULL:
                    needed -= holds[slots[i]]
                if needed > 0 and needed > self.resources.accounts[self.resources.supplies[supply].accounts[slots[i]]].free:
                    return False
        return True

    cdef bint has_idle(self, uint32_t request) noexcept nogil:
        """Whether some worker that could have it holds nothing; any, if it asks for nothing."""
        cdef uint32_t supply
        if request == 0:
            return self.pool.has_idle()
        for supply in range(self.resources.supply_length):
            if self.resources.supplies[supply].buckets & 3 and self.resources.slots_of(request, supply)[0] != UNFIT:
                return True
        return False

    cdef bint fits(self, uint32_t worker_index, uint32_t request) noexcept nogil:
        """Whether the worker could satisfy it, if it held nothing."""
        cdef uint32_t supply = self.pool.workers[worker_index].supply
        return request == 0 or (supply != 0 and self.resources.slots_of(request, supply - 1)[0] != UNFIT)

    # taking and giving back

    cdef void take(self, uint32_t worker_index, uint32_t request) noexcept nogil:
        """The worker is given a task with this request."""
        cdef Worker *worker = &self.pool.workers[worker_index]
        worker.requested += 1
        if not self.is_counted(request, worker.supply - 1):
            return
        if worker.claimed_tasks == 0:
            worker.request = <uint16_t>request
            self.hold(worker, request)
        worker.claimed_tasks += 1

    cdef void give_back(self, uint32_t worker_index, uint32_t request) noexcept nogil:
        """The worker has a task with this request no more."""
        cdef Worker *worker = &self.pool.workers[worker_index]
        worker.requested -= 1
        if not self.is_counted(request, worker.supply - 1):
            return
        worker.claimed_tasks -= 1
        if worker.claimed_tasks == 0:
            worker.request = 0
            self.settle(worker)
            self.ready.openings += 1

    cdef bint may_lend(self, uint32_t worker_index, uint32_t request) noexcept nogil:
        """Whether a task with this request may run in place in the task that the worker runs."""
        cdef Worker *worker = &self.pool.workers[worker_index]
        if request == 0:
            return True
        if not self.fits(worker_index, request):
            return False
        return self.has_free(request, worker.supply - 1, worker.holds) or self.is_stuck(worker_index, request)

    cdef bint is_stuck(self, uint32_t worker_index, uint32_t request) noexcept nogil:
        """Whether all workers that hold what it needs wait themselves."""
        cdef Worker *worker = &self.pool.workers[worker_index]
        cdef Supply *supply = &self.resources.supplies[worker.supply - 1]
        cdef uint8_t *slots = self.resources.slots_of(request, worker.supply - 1)
        cdef uint32_t other, i
        for other in range(self.pool.length):
            if other == worker_index or not self.pool.workers[other].present or self.pool.workers[other].is_blocked:
                continue
            for i in range(self.resources.requests[request].count):
                if slots[i] < NOT_COUNTED and self.holds_of(&self.pool.workers[other], supply.accounts[slots[i]]):
                    return False
        return True

    cdef bint holds_of(self, Worker *worker, uint32_t account) noexcept nogil:
        """Whether the worker holds any of this account."""
        cdef uint32_t slot
        if worker.supply == 0:
            return False
        for slot in range(self.resources.supplies[worker.supply - 1].count):
            if self.resources.supplies[worker.supply - 1].accounts[slot] == account and worker.holds[slot] > 0:
                return True
        return False

    cdef void lend(self, uint32_t worker_index, uint32_t request) noexcept nogil:
        """A task with this request runs in place there."""
        cdef Worker *worker = &self.pool.workers[worker_index]
        if request and self.is_counted(request, worker.supply - 1):
            worker.lent_tasks += 1
            self.hold(worker, request)

    cdef void unlend(self, uint32_t worker_index, uint32_t request) noexcept nogil:
        """Not any more. What it needed beyond what the worker holds is given back with the last such task."""
        cdef Worker *worker = &self.pool.workers[worker_index]
        if request and worker.lent_tasks and self.is_counted(request, worker.supply - 1):
            worker.lent_tasks -= 1
            if worker.lent_tasks == 0:
                self.settle(worker)
                self.ready.openings += 1

    cdef void hold(self, Worker *worker, uint32_t request) noexcept nogil:
        """Take what it asks for, beyond what the worker holds already."""
        cdef uint8_t *slots = self.resources.slots_of(request, worker.supply - 1)
        cdef Supply *supply = &self.resources.supplies[worker.supply - 1]
        cdef Account *account
        cdef int64_t more
        cdef uint32_t i
        for i in range(self.resources.requests[request].count):
            if slots[i] < NOT_COUNTED:
                more = self.resources.requests[request].amounts[i] - worker.holds[slots[i]]
                if more > 0:
                    worker.holds[slots[i]] += more
                    account = &self.resources.accounts[supply.accounts[slots[i]]]
                    account.free -= more

    cdef void settle(self, Worker *worker) noexcept nogil:
        """Give back what none of its tasks needs any more; while some run in place, nothing is."""
        cdef Supply *supply = &self.resources.supplies[worker.supply - 1]
        cdef Account *account
        cdef uint32_t slot
        if worker.lent_tasks:
            return
        for slot in range(supply.count):
            account = &self.resources.accounts[supply.accounts[slot]]
            account.free += worker.holds[slot]
            worker.holds[slot] = 0
        if worker.claimed_tasks:
            self.hold(worker, worker.request)
