# Counts: how many calls there are, and were, and how long they took; for people who look.
#
# Everything is in calls: a chunk of a map counts as its items. Each client has a count for every state of a task, which
# `TaskTable.move` keeps as a row goes from one state to the next, and counts of what was submitted and how it ended.
# So what was submitted is, at any moment, the sum of what is in the open states and of what has ended, and `check` holds
# that. Totals are sums over the clients, made when somebody asks; clients that have gone are summed up in one.
#
# A function has its own counts, and two histograms: of durations and of times in the queue. Their buckets are
# logarithmic, four to each power of two (scaler/monitor/histogram.py reads them). The first one has all that is shorter,
# the last one all that is longer. A program may have a million functions, so only MOST_HISTOGRAMS have histograms at a
# time; others have the counts and sums.
#
# Rule 1: nothing here is sampled, and nothing follows from the recorder's events, which may be overwritten.
# Rule 2: what is counted for each task is a few additions to memory that the event touches anyway.
# Not here: when a call ends, and how (outcomes), which columns are shown (snapshot).

cdef enum:
    HISTOGRAM_FIRST = 24       # the bucket of 64 ns
    HISTOGRAM_BUCKETS = 168    # the last one begins at 2 ** 47 * 7 / 4 ns, which is three days
    MOST_HISTOGRAMS = 4096
    OPEN_STATES = 6

cdef struct CallCounts:        # of one client
    uint64_t at[STATES]        # calls of rows in each state; of NEW and FREE, which no row keeps, it says nothing
    uint64_t submitted
    uint64_t succeeded
    uint64_t failed
    uint64_t cancelled
    uint64_t retried           # beyond the first run
    uint64_t stopped           # by force

cdef struct Histogram:
    uint64_t counts[HISTOGRAM_BUCKETS]

cdef struct FunctionHistograms:
    Histogram durations
    Histogram queued

cdef struct FunctionCounts:
    uint64_t submitted
    uint64_t succeeded
    uint64_t failed
    uint64_t cancelled
    uint64_t placed            # on workers just now, those that nobody wants any more included
    uint64_t duration_ns       # sum, of those that a worker has answered
    uint64_t queued_ns
    uint64_t last_ns           # when one was last answered
    FunctionHistograms *histograms    # NULL: it has none (yet)


cdef inline uint32_t bucket_of_ns(uint64_t value_ns) noexcept nogil:
    """Which bucket of a Histogram has this value."""
    cdef uint32_t exponent
    cdef uint32_t bucket
    if value_ns < 64:
        return 0
    exponent = 63 - <uint32_t>count_leading_zeros(value_ns)
    bucket = 4 * exponent + <uint32_t>(value_ns >> (exponent - 2)) - 4 - HISTOGRAM_FIRST
    return min(bucket, <uint32_t>(HISTOGRAM_BUCKETS - 1))


cdef inline bint is_open(uint32_t state) noexcept nogil:
    """Whether a call in this state has not ended, nor been cancelled."""
    return (1 << state) & (1 << ROW_READY | 1 << ROW_PLACED | 1 << ROW_HELD_BACK | 1 << ROW_LENT | 1 << ROW_DOOMED
                           | 1 << ROW_WAITING) != 0


cdef inline uint64_t open_calls(CallCounts *calls) noexcept nogil:
    return (calls.at[ROW_READY] + calls.at[ROW_PLACED] + calls.at[ROW_HELD_BACK] + calls.at[ROW_LENT]
            + calls.at[ROW_DOOMED] + calls.at[ROW_WAITING])


cdef void add_calls(CallCounts *total, CallCounts *more) noexcept nogil:
    cdef uint32_t state
    for state in range(STATES):
        total.at[state] += more.at[state]
    total.submitted += more.submitted
    total.succeeded += more.succeeded
    total.failed += more.failed
    total.cancelled += more.cancelled
    total.retried += more.retried
    total.stopped += more.stopped


cdef void add_function_counts(FunctionCounts *total, FunctionCounts *more) noexcept nogil:
    """Those of a function that has gone, into those of all that have."""
    cdef uint32_t bucket
    total.submitted += more.submitted
    total.succeeded += more.succeeded
    total.failed += more.failed
    total.cancelled += more.cancelled
    total.duration_ns += more.duration_ns
    total.queued_ns += more.queued_ns
    total.last_ns = max(total.last_ns, more.last_ns)
    if more.histograms == NULL:
        return
    if total.histograms == NULL:
        total.histograms = <FunctionHistograms *>calloc(1, sizeof(FunctionHistograms))
    if total.histograms != NULL:
        for bucket in range(HISTOGRAM_BUCKETS):
            total.histograms.durations.counts[bucket] += more.histograms.durations.counts[bucket]
            total.histograms.queued.counts[bucket] += more.histograms.queued.counts[bucket]
