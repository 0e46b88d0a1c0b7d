# TaskOptions: what a submit may ask for, and where that stands in a TASK record.
#
# A TASK record has no result fields to fill, so its options stand there: cpu_us is one word of options, and
# memory_peak_kib the time limit in milliseconds (0: none). Zeros stand for the defaults, so a record that says nothing
# asks for nothing.
#
#   cpu_us    bits 0 to 7     retries + 1; 0: DEFAULT_RETRIES
#             bits 8 to 15    priority, -MOST_PRIORITY to MOST_PRIORITY in two's complement
#             bits 20 to 27   to a worker: how many workers have died running it. From a client they mean nothing
#
# Rule 1: nothing else reads or writes these fields of a TASK record.
# Rule 2: a level is where a priority stands in the ReadyQueue; whatever a record says, it is one that there is.
# Not here: which values make sense to a user (scaler.client.options), what is done about them (core, worker).

cpdef enum:
    DEFAULT_RETRIES = 3
    MOST_RETRIES = 254
    MOST_PRIORITY = 15
    KNOWN_OPTIONS = 0x0FF0FFFF

cdef enum:
    LEVEL_PLAIN = 32           # of priority 0


cdef inline uint32_t options_word(uint32_t retries, int priority) noexcept nogil:
    return (0 if retries == DEFAULT_RETRIES else retries + 1) | (<uint32_t>priority & 0xFF) << 8


cdef inline uint32_t retries_in(uint32_t word) noexcept nogil:
    return (word & 0xFF) - 1 if word & 0xFF else DEFAULT_RETRIES


cdef inline uint32_t deaths_in(uint32_t word) noexcept nogil:
    return word >> 20 & 0xFF


cdef inline int priority_in(uint32_t word) noexcept nogil:
    return <signed char>(word >> 8 & 0xFF)


cdef inline uint32_t level_in(uint32_t word) noexcept nogil:
    return <uint32_t>(LEVEL_PLAIN + max(-MOST_PRIORITY, min(MOST_PRIORITY, priority_in(word))))


cdef inline bint is_known_word(uint32_t word) noexcept nogil:
    """Whether a record from elsewhere may have this word."""
    return not word & ~<uint32_t>KNOWN_OPTIONS and -MOST_PRIORITY <= priority_in(word) <= MOST_PRIORITY


cdef inline uint32_t options_of(Record *task) noexcept nogil:
    """The word of a TASK record."""
    return task.cpu_us


cdef inline uint32_t limit_ms_of(Record *task) noexcept nogil:
    """How long a TASK record's attempt may run; 0: as long as it likes."""
    return task.memory_peak_kib


cdef inline void set_options(Record *task, uint32_t word, uint32_t limit_ms) noexcept nogil:
    task.cpu_us = word
    task.memory_peak_kib = limit_ms


@cython.final
@cython.no_gc
cdef class TaskOptions:
    """The options of one call as its record has them. Immutable; its maker has checked the values."""
    cdef uint32_t word
    cdef readonly uint32_t limit_ms

    def __init__(self, *, uint32_t retries=DEFAULT_RETRIES, int priority=0, uint32_t limit_ms=0):
        if retries > MOST_RETRIES or not -MOST_PRIORITY <= priority <= MOST_PRIORITY:
            raise ValueError(f"{retries} retries at priority {priority}")
        self.word = options_word(retries, priority)
        self.limit_ms = limit_ms

    @property
    def retries(self):
        return retries_in(self.word)

    @property
    def priority(self):
        return priority_in(self.word)
