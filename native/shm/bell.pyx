# Bell: how a process that waits for rings is woken.
#
# One descriptor per process, so that one poll waits for rings and sockets alike, and one `sleeping` word that tells
# producers whether ringing is worth a system call. Waking is the dearest thing there is (30 us), so it is not done for
# a consumer that is awake.
#
# Two kinds of descriptor, since a descriptor that two processes share has its flags in common: either of them can take
# O_NONBLOCK away from both. The scheduler and the relays must never block, whatever a peer does to what they share.
#
# * The bell of a scheduler or relay is an eventfd, which all its peers write to. Its owner reads it with RWF_NOWAIT,
#   which does not block whatever the flags say. (Where the kernel knows no such read of an eventfd, as older ones and some
#   sandboxes do not, it looks first and then reads as the flags say: a peer that has taken O_NONBLOCK away, and empties the
#   bell just in between, makes the owner wait for the next ring.) A write to an eventfd has no such form and blocks while the counter is
#   full, so a peer can make the others wait for the next read of the owner, but never the owner.
# * The doorbell of a peer is written to by the scheduler or relay. So it is a datagram socket that is connected to itself:
#   MSG_DONTWAIT holds for the one call, whatever the flags say, and a full queue means that there is something to be
#   heard already. It costs 0.4 us more than an eventfd, ringing and hearing together.
#
# SYNC POINT sleep: consumer sets `sleeping`, full fence, looks at its rings again, blocks.
#                   producer publishes, full fence, looks at `sleeping`, rings.
# Acquire and release alone would let both look before the other's store is seen: both sides need the full fence.

cdef extern from "<unistd.h>" nogil:
    ssize_t c_write "write"(int fd, const void *buf, size_t count)
    ssize_t c_read "read"(int fd, void *buf, size_t count)
    int c_close "close"(int fd)

cdef extern from "<sys/socket.h>" nogil:
    ssize_t c_send "send"(int fd, const void *buf, size_t count, int flags)
    ssize_t c_recv "recv"(int fd, void *buf, size_t count, int flags)
    int c_getsockopt "getsockopt"(int fd, int level, int option, void *value, unsigned int *size)
    int MSG_DONTWAIT, MSG_NOSIGNAL, SOL_SOCKET, SO_DOMAIN, SO_TYPE, AF_UNIX, SOCK_DGRAM

cdef extern from *:
    """
    #include <errno.h>
    #include <poll.h>
    #include <unistd.h>
    #include <sys/uio.h>
    #ifndef RWF_NOWAIT
    #define RWF_NOWAIT 8
    #endif
    /* preadv2 is a GNU extension: the prototype is ours where the headers were read without _GNU_SOURCE. */
    extern ssize_t preadv2(int, const struct iovec *, int, off_t, int);
    /* Empty an eventfd without waiting for anything, or where there is no such read, only if there is something. */
    static inline void scaler_read_nowait(int fd) {
        uint64_t count;
        struct iovec part = {&count, sizeof(count)};
        struct pollfd news = {fd, POLLIN, 0};
        if (preadv2(fd, &part, 1, -1, RWF_NOWAIT) < 0 && errno == EOPNOTSUPP && poll(&news, 1, 0) > 0)
            (void)!read(fd, &count, sizeof(count));
    }
    """
    void read_nowait "scaler_read_nowait"(int fd) noexcept nogil

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *fds, unsigned long n, int timeout_ms)
    int POLLIN, POLLHUP, POLLERR


cdef inline void ring_doorbell(uint32_t *sleeping, int doorbell) noexcept nogil:
    """Producer's half of SYNC POINT sleep towards a peer, after publishing. Only the first to see the sleeper rings."""
    full_fence()
    ring_doorbell_fenced(sleeping, doorbell)


cdef inline void ring_doorbell_fenced(uint32_t *sleeping, int doorbell) noexcept nogil:
    """The same after a full fence of the caller's: one does for all that it has published to."""
    cdef char nothing = 0
    if load_acquire32(sleeping) and compare_and_swap32(sleeping, 1, 0):
        c_send(doorbell, &nothing, 1, MSG_DONTWAIT | MSG_NOSIGNAL)


cdef inline void quiet_doorbell(int doorbell) noexcept nogil:
    """The peer has heard it."""
    cdef char nothing
    c_recv(doorbell, &nothing, 1, MSG_DONTWAIT)


def is_doorbell(int descriptor):
    """Whether this can be rung without ever waiting, whatever else is done to it: a datagram socket of this host."""
    cdef int domain = 0
    cdef int kind = 0
    cdef unsigned int size = sizeof(int)
    if c_getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size):
        return False
    size = sizeof(int)
    return c_getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &kind, &size) == 0 and domain == AF_UNIX and kind == SOCK_DGRAM


cdef inline void quiet_bell(int eventfd) noexcept nogil:
    """The owner of the bell has heard it."""
    read_nowait(eventfd)


cdef inline void tell(BellPage *bell, uint32_t slot, int eventfd) noexcept nogil:
    """Producer's half of SYNC POINT sleep towards a bell page: note the news, ring if the owner sleeps."""
    cdef uint64_t bit = (<uint64_t>1) << (slot & 63)
    cdef uint64_t *word = &bell.news[slot >> 6]
    cdef uint64_t one = 1
    full_fence()
    if not load_acquire(word) & bit:
        set_bits(word, bit)
    full_fence()
    if load_acquire32(&bell.sleeping) and compare_and_swap32(&bell.sleeping, 1, 0):
        c_write(eventfd, &one, 8)


cdef inline uint64_t take_news(uint64_t *word) noexcept nogil:
    """The bits that are set, which are clear from here on. What is noted from here on is seen in the ring, or sets its bit.

    The fence is the other half of `tell`'s: its record and our clearing must not miss each other.
    """
    cdef uint64_t bits = exchange(word, 0) if load_acquire(word) else 0
    if bits:
        full_fence()
    return bits


# the owner's walk over the news

cdef struct NewsWalk:
    # Slots that have news, or with `every_slot` all of them. The bits of a word are taken when the walk comes to it.
    uint64_t *news
    uint32_t words
    uint32_t word            # of the slot that was found last
    uint64_t hinted          # the bits of that word as they were set
    uint64_t left            # the bits of it that the walk has not come to
    uint64_t every_slot      # all bits, or none


cdef inline uint32_t news_words(size_t slots) noexcept nogil:
    """How many words the bits of so many slots take."""
    return <uint32_t>((slots + 63) // 64)


cdef inline NewsWalk walk_news(BellPage *bell, uint32_t words, bint every_slot) noexcept nogil:
    cdef NewsWalk walk
    walk.news, walk.words, walk.word = bell.news, words, <uint32_t>-1
    walk.hinted = walk.left = 0
    walk.every_slot = ~<uint64_t>0 if every_slot else 0
    return walk


cdef inline bint next_news(NewsWalk *walk, uint32_t *slot) noexcept nogil:
    """The next slot, be it that of a peer or beyond the last; False at the end."""
    while walk.left == 0:
        walk.word += 1
        if walk.word >= walk.words:
            return False
        walk.hinted = take_news(&walk.news[walk.word])
        walk.left = walk.hinted | walk.every_slot
    slot[0] = walk.word * 64 + count_trailing_zeros(walk.left)
    walk.left &= walk.left - 1
    return True


cdef inline bint is_hinted(NewsWalk *walk, uint32_t slot) noexcept nogil:
    """Whether somebody had said that there is news in the slot that was found last."""
    return walk.hinted >> (slot & 63) & 1


cdef inline void note_news(BellPage *bell, uint32_t slot) noexcept nogil:
    """There may be more in the rings of this slot's peer than was taken: the owner notes it for itself."""
    set_bits(&bell.news[slot >> 6], (<uint64_t>1) << (slot & 63))


cdef inline bint arm_bell(BellPage *bell, uint32_t words) noexcept nogil:
    """The owner's half of SYNC POINT sleep: say that it sleeps. False, and that it does not, if there is news after all."""
    cdef uint32_t word
    store_release32(&bell.sleeping, 1)
    full_fence()
    for word in range(words):
        if load_acquire(&bell.news[word]):
            store_release32(&bell.sleeping, 0)
            return False
    return True
