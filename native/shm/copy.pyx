# copy_bytes: how an object's bytes come into its slot.
#
# Rule 1: a large copy passes the processor's caches by. It would not fit them anyway, and a plain copy first reads from
#         memory each line that it is about to write all of: 100 MB took 10 to 12 ms so, and 6 ms without.
# Rule 2: a copy that takes long lets other threads run.

cdef extern from *:
    """
    #include <string.h>
    #if defined(__SSE2__)
    #include <emmintrin.h>

    static void copy_past_caches(char *to, const char *from, size_t size)
    {
        size_t head = (size_t)(-(intptr_t)to & 15);   /* what is stored this way begins at a multiple of 16 */
        size_t i;
        if (size < 64 + head) {
            memcpy(to, from, size);
            return;
        }
        memcpy(to, from, head);
        to += head, from += head, size -= head;
        for (i = 0; i + 64 <= size; i += 64) {
            __m128i a = _mm_loadu_si128((const __m128i *)(from + i));
            __m128i b = _mm_loadu_si128((const __m128i *)(from + i + 16));
            __m128i c = _mm_loadu_si128((const __m128i *)(from + i + 32));
            __m128i d = _mm_loadu_si128((const __m128i *)(from + i + 48));
            _mm_stream_si128((__m128i *)(to + i), a);
            _mm_stream_si128((__m128i *)(to + i + 16), b);
            _mm_stream_si128((__m128i *)(to + i + 32), c);
            _mm_stream_si128((__m128i *)(to + i + 48), d);
        }
        memcpy(to + i, from + i, size - i);
        _mm_sfence();   /* such stores are not ordered with those that publish the record */
    }
    #else
    #define copy_past_caches memcpy
    #endif
    """
    void copy_past_caches(char *to, const char *start, size_t size) noexcept nogil

cdef enum:
    UNLOCKED_COPY_BYTES = 1 << 18    # from here on other threads may run
    PAST_CACHES_BYTES = 1 << 23      # below, the next reader of all of it finds some in a cache: both ways cost the same


cdef int copy_bytes(char *to, const unsigned char[:] data) except -1:
    """Copy all of `data`, which does not overlap."""
    cdef size_t size = data.shape[0]
    cdef const char *start
    if size == 0:
        return 0
    start = <const char *>&data[0]
    if size < UNLOCKED_COPY_BYTES:
        memcpy(to, start, size)
    elif size < PAST_CACHES_BYTES:
        with nogil:
            memcpy(to, start, size)
    else:
        with nogil:
            copy_past_caches(to, start, size)
    return 0
