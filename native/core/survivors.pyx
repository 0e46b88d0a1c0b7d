# Survivors: what outlived the scheduler before this one, until it is clear to whom it belongs.
#
# Workers go on when their scheduler dies. The next one hears what each of them still runs, and reads the results that
# nobody has read. Clients send their unanswered tasks again, in any order with that. So a task that was sent again is
# held back for a moment (ROW_HELD_BACK): if a worker runs it, it waits for that; if there is a result, that is its
# answer; else it is placed like any other. A result whose task nobody has sent again yet waits for RESULT_WAIT_NS.
#
# Rule 1: ids and attempts name one thing in all lives (an attempt has its scheduler's life in the high half), so
#         nothing here can be taken for something else.
# Rule 2: a worker that still runs what a scheduler before gave it is given nothing else until it has answered.
# Rule 3: a task is answered once, whoever else runs it: the row is gone with the first answer.
# Rule 4: what nobody wants does not hold a worker: who turns out to run a task that was cancelled while it was held
#         back is stopped, and so is, after RESULT_WAIT_NS, who runs one that nobody has sent again.
# Not here: taking over a worker's rings (takeover), what is done with a row (core).

cdef uint64_t HOLD_NS = 1000000000           # how long a task that was sent again waits for somebody who has it
cdef size_t MOST_UNWANTED = 100000           # tasks that are remembered for RESULT_WAIT_NS: clients name them
cdef uint64_t RESULT_WAIT_NS = 30000000000   # how long a result waits for its client


@cython.final
cdef class Survivors:
    cdef dict running           # task -> [(attempt, worker index), ...]
    cdef dict task_of           # worker index -> (task, attempt) that it runs
    cdef dict results           # task -> (end of waiting, worker index, the record as bytes)
    cdef dict held_back         # row -> end of waiting, by arrival
    cdef set unwanted           # tasks that were cancelled while they were held back, or before they were sent again
    cdef set unwanted_before    # those of RESULT_WAIT_NS ago, which are forgotten next
    cdef uint64_t rotate_ns     # when that is
    cdef dict unasked           # worker index -> until when somebody may ask for what it runs
    cdef bint any_lives         # whether a worker has come over from another scheduler

    def __cinit__(self):
        self.running, self.task_of, self.results, self.held_back = {}, {}, {}, {}
        self.unwanted, self.unwanted_before, self.unasked = set(), set(), {}
        self.rotate_ns = 0

    cdef bint is_empty(self):
        return not (self.running or self.results or self.held_back or self.unwanted
                    or self.unwanted_before)

    cdef bint is_waiting(self):
        """Whether time is to settle anything. What is unwanted is merely forgotten, whenever somebody looks."""
        return bool(self.running or self.results or self.held_back)

    cdef int add_running(self, uint32_t worker_index, uint64_t task, uint64_t attempt) except -1:
        self.running.setdefault(task, []).append((attempt, worker_index))
        self.task_of[worker_index] = task, attempt
        return 0

    cdef bint end_running(self, uint32_t worker_index, uint64_t task, uint64_t attempt) except -1:
        """This worker runs it no more. False if that is not known of it."""
        if self.task_of.get(worker_index) != (task, attempt):
            return False
        del self.task_of[worker_index]
        self.unasked.pop(worker_index, None)
        runs = self.running[task]
        runs.remove((attempt, worker_index))
        if not runs:
            del self.running[task]
        return True

    cdef list take_due(self, TaskTable table, uint64_t now):
        """The rows that have waited long enough, and that nobody runs."""
        cdef list due = []
        for row_index, end in self.held_back.items():
            if end > now:
                break
            if table.row(row_index).task not in self.running:
                due.append(row_index)
        for row_index in due:
            del self.held_back[row_index]
        return due

    cdef int note_unwanted(self, uint64_t task) except -1:
        if len(self.unwanted) < MOST_UNWANTED:
            self.unwanted.add(task)
        return 0

    cdef bint is_unwanted(self, uint64_t task):
        return task in self.unwanted or task in self.unwanted_before

    cdef int forget_unwanted(self, uint64_t now) except -1:
        if now >= self.rotate_ns:
            self.unwanted_before, self.unwanted = self.unwanted, set()
            self.rotate_ns = now + RESULT_WAIT_NS
        return 0

    cdef bint is_run_in_vain(self, uint32_t worker_index, bint is_open, uint64_t now):
        """Whether it has run long enough what nobody has sent again. Once each RESULT_WAIT_NS."""
        if is_open:
            self.unasked.pop(worker_index, None)
            return False
        if now < self.unasked.setdefault(worker_index, now + RESULT_WAIT_NS):
            return False
        self.unasked[worker_index] = now + RESULT_WAIT_NS
        return True
