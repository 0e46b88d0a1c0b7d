# Meter: what a task took: time, CPU time, memory.
#
# Asking the kernel costs as much as a small task, so it is asked only where the answer may differ from what is known:
# CPU time of functions that took longer than LONG_NS when they last ran, or have not run yet (else it is the duration),
# and the memory's high-water mark when PEAK_NS have passed since it was last read.
#
# A profiled task (FLAG_PROFILE) is measured whatever it costs: before it what earlier tasks have left free in the heap is
# given back, and the high-water mark is set back, so that it is the task's own. Shared memory that the process has mapped
# (objects, its own and others') is not counted then.

cdef extern from *:
    """
    #include <fcntl.h>
    #include <unistd.h>
    #include <sys/resource.h>
    static inline uint64_t scaler_cpu_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
    }
    static inline uint32_t scaler_peak_kib(void) {
        struct rusage usage;
        return getrusage(RUSAGE_SELF, &usage) ? 0 : (uint32_t)usage.ru_maxrss;
    }
    #include <stdio.h>
    static inline uint32_t scaler_shared_kib(void) {
        char line[128];
        unsigned int kib = 0;
        FILE *status = fopen("/proc/self/status", "re");
        if (status == NULL) return 0;
        while (fgets(line, sizeof line, status) != NULL && sscanf(line, "RssShmem: %u", &kib) != 1) {}
        fclose(status);
        return kib;
    }
    static inline void scaler_set_peak_back(void) {
        int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
        if (fd >= 0) {
            ssize_t written = write(fd, "5", 1);
            (void)written;
            close(fd);
        }
    }
    """
    uint64_t cpu_ns "scaler_cpu_ns"() noexcept nogil
    uint32_t peak_kib "scaler_peak_kib"() noexcept nogil
    uint32_t shared_kib "scaler_shared_kib"() noexcept nogil
    void set_peak_back "scaler_set_peak_back"() noexcept nogil

cdef enum:
    LONG_NS = 1000000
    PEAK_NS = 1000000
    KEPT_BY_PROFILED = 1 << 20   # bytes of the heap: less is not worth the time
    LAST_UNKNOWN = 0
    LAST_SHORT = 1
    LAST_LONG = 2
    LAST_PLACES = 1024       # numbers of functions count up for ever

cdef struct Last:
    uint32_t function
    uint8_t was


cdef class Meter:
    """`begin` and `end` around a task; then the three figures are there."""
    cdef uint64_t start_ns, duration_ns, cpu_start_ns, peak_read_ns
    cdef uint32_t cpu_us, memory_peak_kib
    cdef bint asks_cpu, is_profiled
    cdef Last[LAST_PLACES] last      # by the function's number, as far as there are places

    cdef uint8_t *last_of(self, uint32_t function) noexcept nogil:
        cdef Last *last = &self.last[function % LAST_PLACES]
        if last.function != function:
            last.function, last.was = function, LAST_UNKNOWN
        return &last.was

    cdef void begin(self, uint32_t function, int flags) noexcept nogil:
        cdef uint8_t *last = self.last_of(function)
        self.is_profiled = flags & FLAG_PROFILE
        self.asks_cpu = self.is_profiled or last[0] != LAST_SHORT
        if self.is_profiled:
            if free_bytes() >= KEPT_BY_PROFILED:
                trim_heap()
            set_peak_back()
        if self.asks_cpu:
            self.cpu_start_ns = cpu_ns()
        self.start_ns = now_ns()

    cdef void end(self, uint32_t function) noexcept nogil:
        cdef uint64_t now = now_ns()
        cdef uint64_t cpu_us
        cdef uint8_t *last = self.last_of(function)
        self.duration_ns = now - self.start_ns
        cpu_us = (cpu_ns() - self.cpu_start_ns) // 1000 if self.asks_cpu else self.duration_ns // 1000
        self.cpu_us = <uint32_t>min(cpu_us, <uint64_t>0xFFFFFFFF)
        if self.is_profiled or now - self.peak_read_ns >= PEAK_NS:
            self.memory_peak_kib = peak_kib()
            if self.is_profiled:
                self.memory_peak_kib -= min(self.memory_peak_kib, shared_kib())
            self.peak_read_ns = now
        last[0] = LAST_LONG if self.duration_ns > LONG_NS else LAST_SHORT
