# Atomic loads, stores and fences as C11 has them, on plain integers in shared memory.
#
# Why not <stdatomic.h> types: the memory is mapped by several processes and drawn in layout.pxi as plain integers; the
# GCC builtins work on those and mean the same on x86-64 and aarch64.

cdef extern from *:
    """
    #include <stdint.h>
    #include <sched.h>
    #include <time.h>
    static inline uint64_t scaler_load_acquire(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void scaler_store_release(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline uint32_t scaler_load_acquire32(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void scaler_store_release32(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline int scaler_compare_and_swap32(uint32_t *p, uint32_t expected, uint32_t wanted) {
        return __atomic_compare_exchange_n(p, &expected, wanted, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    static inline int scaler_compare_and_swap(uint64_t *p, uint64_t expected, uint64_t wanted) {
        return __atomic_compare_exchange_n(p, &expected, wanted, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    static inline uint64_t scaler_exchange(uint64_t *p, uint64_t v) { return __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL); }
    static inline void scaler_set_bits(uint64_t *p, uint64_t bits) { __atomic_fetch_or(p, bits, __ATOMIC_RELEASE); }
    static inline void scaler_touch(char *p) { __atomic_fetch_or(p, 0, __ATOMIC_RELAXED); }
    static inline void scaler_full_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
    static inline uint64_t scaler_now_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
    }
    """
    ctypedef unsigned long long uint64_t
    ctypedef unsigned int uint32_t
    ctypedef unsigned short uint16_t
    ctypedef unsigned char uint8_t
    uint64_t load_acquire "scaler_load_acquire"(const uint64_t *p) noexcept nogil
    void store_release "scaler_store_release"(uint64_t *p, uint64_t v) noexcept nogil
    uint32_t load_acquire32 "scaler_load_acquire32"(const uint32_t *p) noexcept nogil
    void store_release32 "scaler_store_release32"(uint32_t *p, uint32_t v) noexcept nogil
    bint compare_and_swap32 "scaler_compare_and_swap32"(uint32_t *p, uint32_t expected, uint32_t wanted) noexcept nogil
    bint compare_and_swap "scaler_compare_and_swap"(uint64_t *p, uint64_t expected, uint64_t wanted) noexcept nogil
    uint64_t exchange "scaler_exchange"(uint64_t *p, uint64_t v) noexcept nogil
    void set_bits "scaler_set_bits"(uint64_t *p, uint64_t bits) noexcept nogil
    void touch "scaler_touch"(char *p) noexcept nogil      # a write that changes nothing, though others write there
    void full_fence "scaler_full_fence"() noexcept nogil
    uint64_t now_ns "scaler_now_ns"() noexcept nogil
    int sched_yield() noexcept nogil

cdef extern from *:
    """
    static inline int scaler_count_leading_zeros(uint64_t v) { return __builtin_clzll(v); }
    static inline int scaler_count_trailing_zeros(uint64_t v) { return __builtin_ctzll(v); }
    static inline void scaler_prefetch(const void *p) { __builtin_prefetch(p); }
    static inline void scaler_prefetch_to_write(const void *p) { __builtin_prefetch(p, 1); }
    """
    void prefetch "scaler_prefetch"(const void *p) noexcept nogil
    void prefetch_to_write "scaler_prefetch_to_write"(const void *p) noexcept nogil
    int count_leading_zeros "scaler_count_leading_zeros"(uint64_t v) noexcept nogil
    int count_trailing_zeros "scaler_count_trailing_zeros"(uint64_t v) noexcept nogil
