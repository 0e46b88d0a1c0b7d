# Demand: how much work there is and who could do it, for clusters that grow and shrink with it.
#
# Work is measured in seconds, not in tasks: a thousand calls of a microsecond are worth no worker, ten of an hour are
# worth ten. What a call takes is known from the mean of its function. Of a function that no worker has answered yet
# nothing is known, and each call counts as UNKNOWN_NS: if they are quicker than that, answers come before anybody has
# asked twice, and if they are not, more workers are what is wanted.
#
# Only what could run now counts: what waits for other tasks' results could not be given to one more worker. Counts are
# kept per function for all open calls, and per client by state (counts), so the mean of an open call is multiplied by
# how many can run.
#
# Rule 1: this changes nothing, and costs no task anything: it is computed when somebody asks, a few times a second, and
#         looks at MOST_SAMPLED functions, evenly spread, if there are more.
# Not here: what a cluster makes of it (scaler.cluster.scaling).

cdef enum:
    MOST_SAMPLED = 16384

cdef uint64_t UNKNOWN_NS = 1000000000


def demand_of(SchedulerCore core not None):
    """(tasks that could run or do, the ns of work in them, workers that stay), a chunk of a map being one task."""
    cdef uint64_t tasks = core.ready.total()
    cdef uint64_t calls = 0
    cdef uint32_t staying = 0
    cdef uint32_t index
    cdef Worker *worker
    for index in range(core.pool.length):
        worker = &core.pool.workers[index]
        if worker.present:
            tasks += worker.held
            staying += not worker.is_ending
    for index in range(core.clients.length):
        calls += core.table.calls[index].at[ROW_READY] + core.table.calls[index].at[ROW_PLACED]
    return tasks, <uint64_t>(<double>calls * mean_of_open(core.functions)), staying


cdef double mean_of_open(FunctionTable functions):
    """What an open call takes, in ns, by what is known."""
    cdef double calls = 0, ns = 0
    cdef uint64_t ended, open
    cdef uint32_t step = functions.length // <uint32_t>MOST_SAMPLED + 1
    cdef uint32_t index
    cdef Function *function
    for index in range(0, functions.length, step):
        function = &functions.functions[index]
        ended = function.counts.succeeded + function.counts.failed + function.counts.cancelled
        if function.users and function.counts.submitted > ended:
            open = function.counts.submitted - ended
            calls += open
            ns += <double>open * (function.mean_ns if function.mean_ns else UNKNOWN_NS)
    return ns / calls if calls else <double>UNKNOWN_NS


def idle_times_ns(SchedulerCore core not None, indices, uint64_t now):
    """For how long each of these workers, by index, has had nothing to do; 0 of one that has, or that ends."""
    cdef Worker *worker
    cdef list times = []
    for index in indices:
        worker = &core.pool.workers[<uint32_t>index]
        if worker.present and worker.held == 0 and not worker.is_aside and now > worker.since_ns:
            times.append(now - worker.since_ns)
        else:
            times.append(0)
    return times
