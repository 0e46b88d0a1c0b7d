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
    #include <stdio.h>
    #include <unistd.h>
    #ifdef __GLIBC__
    #include <malloc.h>
    static inline void scaler_trim_heap(void) { malloc_trim(0); }
    #else
    static inline void scaler_trim_heap(void) {}
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
    uint64_t own_bytes "scaler_own_bytes"() noexcept nogil

cdef uint64_t NEVER_NS = <uint64_t>-1


@cython.final
cdef class Upkeep:
    """Every `interval_s` seconds (0: never), and trim if the memory of its own is `trim_bytes` or more after that.

    Memory of its own is what is resident and not shared: files and shared memory cannot be trimmed.
    """
    cdef uint64_t interval_ns, trim_bytes
    cdef uint64_t due_ns         # for an idle worker
    cdef uint64_t overdue_ns     # for any
    cdef uint64_t done           # tasks, when it was last done
    cdef readonly uint64_t collections, trims

    def __init__(self, double interval_s=30.0, trim_bytes=1 << 30):
        self.interval_ns = <uint64_t>(min(interval_s, 1e9) * 1e9)
        self.trim_bytes = min(trim_bytes, NEVER_NS)
        self.plan(now_ns())

    cdef void plan(self, uint64_t now) noexcept nogil:
        self.due_ns = now + self.interval_ns if self.interval_ns else NEVER_NS
        self.overdue_ns = now + 2 * self.interval_ns if self.interval_ns else NEVER_NS

    def on_idle(self, uint64_t now, uint64_t done):
        """It has had nothing to do for a moment, and has run `done` tasks in all."""
        if now >= self.due_ns and done != self.done:
            self.clean(done)

    cdef int clean(self, uint64_t done) except -1:
        """Collect garbage and trim."""
        self.done = done
        _gc.collect()
        self.collections += 1
        with nogil:
            if own_bytes() >= self.trim_bytes:
                trim_heap()
                self.trims += 1
            self.plan(now_ns())
        return 0
