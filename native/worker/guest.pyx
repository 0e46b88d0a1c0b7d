# Guest: what a task's nested tasks need in a process that has no worker's loop: an engine's, which runs tasks as parts of
# its own jobs (scaler.engines).
#
# There, Python code finds the function and the arguments, calls, and packs the result. But a client that comes along with
# a task expects what a WorkerLoop has: a runner and interrupts for what runs in place of waiting, the origin of the task,
# and the list of the clients that hear when the task is over. GuestLoop has these, one for each thread that runs tasks.
#
# Rule 1: names from a program's `__main__` are there as long as the task runs, and nothing of the engine's own `__main__`
#         is changed beyond that: others' tasks may use the same process.
# Not here: how a job is read and its results are packed (scaler.engines.run).


@cython.final
cdef class GuestLoop:
    """In the place of a WorkerLoop, for one thread."""
    cdef readonly TaskRunner runner
    cdef readonly Interrupts interrupts
    cdef readonly Origin origin
    cdef readonly list clients        # rings of those that tasks have used here
    cdef public uint64_t epoch         # of the scheduler whose task runs
    cdef MainBefore main              # of the engine

    def __init__(self, TaskRunner runner not None, Interrupts interrupts not None):
        self.runner, self.interrupts, self.origin, self.clients = runner, interrupts, Origin(), []
        runner.forks = forks_so_far

    def begin(self, uint64_t task, uint32_t detail, uint32_t options, int flags):
        """This task begins, as its record says."""
        self.main = MainBefore()
        self.origin.root = detail if detail else <uint32_t>(task >> 40)
        self.origin.priority = priority_in(options)
        self.origin.deaths = deaths_in(options)
        self.origin.flags = flags & FLAG_OUTPUT

    def callable(self, function):
        """What is to be called; what kept it from being read is raised."""
        return as_callable_in_place(readable(function))

    def end_call(self):
        """What the arguments of this call of a chunk have brought is not there for the next."""
        if visits:
            end_visits(self.main.count)

    def end(self, bint is_stopped):
        """The task is over, which the clients hear that it has used."""
        cdef object lost
        for rings in list(self.clients):
            lost = (<WorkerClientRings>rings).connection.lost
            if lost is not None:
                self.clients.remove(rings)
            else:
                (<WorkerClientRings>rings).after_task(is_stopped)
        self.main.put_back()
