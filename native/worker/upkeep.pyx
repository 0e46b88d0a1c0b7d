# Upkeep: a worker's memory is given back: now and then garbage is collected, and what the C library keeps is trimmed.
#
# Python collects by itself only as objects are made, so what the last task left in cycles would stay as long as the
# worker has nothing to do; and the C library keeps what was freed below its highest block that is in use. Neither helps
# a worker that is busy: so it is done once it has been idle for a moment, and only if it has run anything since the
# last time. One that is never idle for two intervals does it between two tasks.
#
# Rule 1: never in the middle of a task.
# Rule 2: an idle worker that has run nothing does nothing.
# Not here: shared memory (store, mapping), whose memory is too much (the supervisor).

import gc as _gc

cdef extern from *:
    """
    #include <limits.h>
    #include <stdio.h>
    #include <unistd.h>
    #ifdef __GLIBC__
    #include <malloc.h>
    static inline void scaler_trim_heap(void) { malloc_trim(0); }
    static inline void scaler_keep_heap(uint64_t bytes) {
        mallopt(M_MMAP_MAX, 0);
        mallopt(M_TRIM_THRESHOLD, bytes < INT_MAX ? (int)bytes : INT_MAX);
    }
    #if __GLIBC_PREREQ(2, 33)
    static inline uint64_t scaler_free_bytes(void) { return mallinfo2().fordblks; }
    #else
    static inline uint64_t scaler_free_bytes(void) { return (unsigned)mallinfo().fordblks; }
    #endif
    #else
    static inline void scaler_trim_heap(void) {}
    static inline void scaler_keep_heap(uint64_t bytes) {}
    static inline uint64_t scaler_free_bytes(void) { return 0; }
    #endif
    static inline uint64_t scaler_own_bytes(void) {
        unsigned long resident = 0, shared = 0;
        FILE *statm = fopen("/proc/self/statm", "re");
        if (statm == NULL) return 0;
        if (fscanf(statm, "%*u %lu %lu", &resident, &shared) != 2 || resident < shared) resident = shared = 0;
        fclose(statm);
        return (uint64_t)(resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
    }
    """
    void trim_heap "scaler_trim_heap"() noexcept nogil
    void keep_heap "scaler_keep_heap"(uint64_t bytes) noexcept nogil
    uint64_t free_bytes "scaler_free_bytes"() noexcept nogil      # in the heap, resident or not
    uint64_t own_bytes "scaler_own_bytes"() noexcept nogil

cdef uint64_t NEVER_NS = <uint64_t>-1


cdef enum:
    KEPT_BY_BUSY = 2             # parts of the threshold: so much of it may lie free
    KEPT_BY_IDLE = 16
    LEAST_KEPT = 1 << 20         # with less the C library does better as it is

_SETTINGS = "GLIBC_TUNABLES", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_TRIM_THRESHOLD_"


def keep_freed_memory(trim_bytes, environment):
    """From now on this process keeps what it frees, up to a part of `trim_bytes`, if `environment` says nothing else."""
    cdef uint64_t most = min(trim_bytes, NEVER_NS) // KEPT_BY_BUSY
    if most >= LEAST_KEPT and not any(name in environment for name in _SETTINGS):
        keep_heap(most)


cdef uint64_t bytes_in_use(uint64_t limit) noexcept nogil:
    """Memory of its own; what only lies free is given back before it is said to be above `limit`."""
    cdef uint64_t used = own_bytes()
    if used > limit:
        trim_heap()
        used = own_bytes()
    return used


@cython.final
cdef class Upkeep:
    """Every `interval_s` seconds (0: never), and trim if the memory of its own is `trim_bytes` or more after that.

    One that has been idle for an interval also trims when much less than that lies free. Memory of its own is what is
    resident and not shared: files and shared memory cannot be trimmed.
    """
    cdef uint64_t interval_ns, trim_bytes
    cdef uint64_t due_ns         # for an idle worker
    cdef uint64_t overdue_ns     # for any
    cdef uint64_t done           # tasks, when it was last done
    cdef uint64_t seen           # tasks, when it was last idle
    cdef uint64_t idle_since_ns  # NEVER_NS: what lay free has been given back since
    cdef readonly uint64_t collections, trims

    def __init__(self, double interval_s=30.0, trim_bytes=1 << 30):
        self.interval_ns = <uint64_t>(min(interval_s, 1e9) * 1e9)
        self.trim_bytes = min(trim_bytes, NEVER_NS)
        self.idle_since_ns = NEVER_NS
        self.plan(now_ns())

    cdef void plan(self, uint64_t now) noexcept nogil:
        self.due_ns = now + self.interval_ns if self.interval_ns else NEVER_NS
        self.overdue_ns = now + 2 * self.interval_ns if self.interval_ns else NEVER_NS

    def on_idle(self, uint64_t now, uint64_t done):
        """It has had nothing to do for a moment, and has run `done` tasks in all."""
        if self.seen != done:
            self.seen, self.idle_since_ns = done, now
        if now >= self.due_ns and done != self.done:
            self.clean(done)
        if self.interval_ns and self.idle_since_ns != NEVER_NS and now >= self.idle_since_ns + self.interval_ns:
            self.idle_since_ns = NEVER_NS
            if min(own_bytes(), free_bytes()) >= self.trim_bytes // KEPT_BY_IDLE:
                self.trim()

    cdef int clean(self, uint64_t done) except -1:
        """Collect garbage and trim."""
        self.done = done
        _gc.collect()
        self.collections += 1
        if own_bytes() >= self.trim_bytes:
            self.trim()
        self.plan(now_ns())
        return 0

    cdef int trim(self) except -1:
        with nogil:
            trim_heap()
        self.trims += 1
        return 0
