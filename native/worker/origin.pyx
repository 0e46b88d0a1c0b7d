# Origin: for which client the running task runs, which its own tasks must say, and how often it was tried in vain.
#
# What tasks submit comes from the client of their worker, and would have turns as if that were somebody by itself. So
# each of its records says whose task submitted it: the root, the program's client at the beginning of it all, by its 24
# bits. A worker knows that of a program's task by the task's id, of any other it is told. What a task submits has its
# priority, unless it asks for another.
#
# A task whose worker has died is run again, and submits anew what it has submitted before. So each of these deaths counts
# for what it submits now as if that had died of it: it has fewer `retries` by so many, if not less than none. Otherwise
# one that kills its worker, run in place of waiting, would be tried as often as the tasks below it may be.
#
#   detail of a TASK record   to a worker: the root's 24 bits, of a task that a task has submitted; else 0
#                             from a worker's client: the root's bits << 8 | how deep on the waiting stack, at most 255
#
# What the root wants to see of its tasks' output it wants to see of theirs.
#
# Rule 1: a worker has one task at a time, and its own client runs nothing that does not belong to that: so one of these
#         serves all clients that its tasks use.
# Not here: what the scheduler makes of it (ready).


@cython.final
cdef class Origin:
    cdef readonly uint32_t root
    cdef int priority
    cdef int flags                 # that what it submits has, too: FLAG_OUTPUT, or none
    cdef uint32_t deaths           # of workers that ran this task
    cdef TaskOptions asked         # what was last asked for, and what became of it
    cdef TaskOptions given
    cdef int given_priority        # for which priority and how many deaths
    cdef uint32_t given_deaths

    cdef inline void begin(self, Record *task) noexcept:
        """This task begins."""
        self.root = task.detail if task.detail else <uint32_t>(task.task >> 40)
        self.priority = priority_in(options_of(task))
        self.flags = task.flags & FLAG_OUTPUT
        self.deaths = deaths_in(options_of(task))

    cdef inline uint32_t detail(self, size_t depth) noexcept:
        return self.root << 8 | <uint32_t>min(depth, <size_t>255)

    cdef TaskOptions inherit(self, TaskOptions options):
        """What a task is submitted with that has been given these options."""
        if self.deaths == 0 and (self.priority == 0 or (options is not None and options.priority)):
            return options
        if (self.given is None or self.asked is not options or self.given_priority != self.priority
                or self.given_deaths != self.deaths):
            self.asked, self.given_priority, self.given_deaths = options, self.priority, self.deaths
            options = TaskOptions() if options is None else options
            self.given = TaskOptions(retries=max(options.retries, self.deaths) - self.deaths,
                                     priority=options.priority or self.priority, limit_ms=options.limit_ms)
        return self.given
