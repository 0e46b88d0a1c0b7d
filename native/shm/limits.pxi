# What limits.h and poison.h say, for Cython.

cdef extern from "shm/limits.h":
    enum:
        SLAB_SHIFT
        TABLE_STEP
        INLINE_BYTES
        PAGE_SHIFT
        PAGE_NUMBERS
        FUTURE_PAGE
        MOST_FREED
        MOST_RECORDS
        FLUSH_RECORDS
        MOST_UNREAD_BYTES
        RUN_FIRST_BYTES
        RUN_KEPT_BYTES

cdef extern from "shm/poison.h":
    void poison "scaler_poison"(void *start, size_t n_bytes) noexcept nogil
    void unpoison "scaler_unpoison"(void *start, size_t n_bytes) noexcept nogil
