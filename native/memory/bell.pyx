# Bell: how a process that waits for rings is woken.
#
# One eventfd per process, so that one poll waits for rings and sockets alike, and one `sleeping` word that tells
# producers whether ringing is worth a system call. Waking is the dearest thing there is (30 us), so it is not done for
# a consumer that is awake.
#
# SYNC POINT sleep: consumer sets `sleeping`, full fence, looks at its rings again, blocks.
#                   producer publishes, full fence, looks at `sleeping`, rings.
# Acquire and release alone would let both look before the other's store is seen: both sides need the full fence.

cdef extern from "<unistd.h>" nogil:
    ssize_t c_write "write"(int fd, const void *buf, size_t count)
    ssize_t c_read "read"(int fd, void *buf, size_t count)
    int c_close "close"(int fd)

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *fds, unsigned long n, int timeout_ms)
    int POLLIN, POLLHUP, POLLERR


cdef inline void ring_bell(uint32_t *sleeping, int eventfd) noexcept nogil:
    """Producer's half of SYNC POINT sleep, after publishing. Only the first to see the sleeper rings."""
    full_fence()
    ring_bell_fenced(sleeping, eventfd)


cdef inline void ring_bell_fenced(uint32_t *sleeping, int eventfd) noexcept nogil:
    """The same after a full fence of the caller's: one does for all that it has published to."""
    cdef uint64_t one = 1
    if load_acquire32(sleeping) and compare_and_swap32(sleeping, 1, 0):
        c_write(eventfd, &one, 8)


cdef inline void quiet_bell(int eventfd) noexcept nogil:
    cdef uint64_t count
    c_read(eventfd, &count, 8)


cdef inline void tell(BellPage *bell, uint32_t slot, int eventfd) noexcept nogil:
    """Producer's half of SYNC POINT sleep towards a bell page: note the news, ring if the owner sleeps."""
    cdef uint64_t bit = (<uint64_t>1) << (slot & 63)
    cdef uint64_t *word = &bell.news[slot >> 6]
    full_fence()
    if not load_acquire(word) & bit:
        set_bits(word, bit)
    ring_bell(&bell.sleeping, eventfd)


cdef inline uint64_t take_news(uint64_t *word) noexcept nogil:
    """The bits that are set, which are clear from here on. What is noted from here on is seen in the ring, or sets its bit.

    The fence is the other half of `tell`'s: its record and our clearing must not miss each other.
    """
    cdef uint64_t bits = exchange(word, 0) if load_acquire(word) else 0
    if bits:
        full_fence()
    return bits
