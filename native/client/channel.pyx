# Channel: a client's ends of its rings to one scheduler, and the bells at both ends.
#
# Another scheduler is another channel. What is left in the old one is read first, and then nobody touches it again.
#
# Rule 1: descriptors are copies, closed with the channel: a thread that still waits must not meet somebody else's.
# Rule 2: code that lets other threads run inside a channel's method holds a reference to the channel: the client may get
#         another one meanwhile.
# Rule 3: the methods that write a task call nothing of Python's, so no other thread can come between the reserving and
#         the committing of a record.
# Not here: what is written (task_sender, graph_sender, cancels, late_dependants, resend), what is read (results,
# connection).

cdef enum:
    YIELD_NS = 60000         # how long a waiting thread looks for news before it sleeps


@cython.final
cdef class Channel:
    cdef Segment memory
    cdef PeerPage *page
    cdef Ring tasks, results, up, down
    cdef Segment bell_memory
    cdef BellPage *bell
    cdef uint32_t slot
    cdef int doorbell, bell_eventfd, lifeline

    def __cinit__(self):
        self.doorbell = self.bell_eventfd = self.lifeline = -1

    def __init__(self, Segment memory not None, int doorbell, Segment bell_memory not None, uint32_t slot, int bell_eventfd,
                 int lifeline):
        self.memory = memory
        self.page = <PeerPage *>memory.start
        self.tasks, self.results, self.up, self.down = peer_rings(memory)
        self.bell_memory = bell_memory
        self.bell = <BellPage *>bell_memory.start
        self.slot = slot
        self.doorbell, self.bell_eventfd, self.lifeline = _os.dup(doorbell), _os.dup(bell_eventfd), _os.dup(lifeline)

    def __dealloc__(self):
        for fd in (self.doorbell, self.bell_eventfd, self.lifeline):
            if fd >= 0:
                c_close(fd)

    # writing

    cdef inline void tell(self) noexcept nogil:
        """There is something new in the rings."""
        tell(self.bell, self.slot, self.bell_eventfd)

    cdef inline bint has_room(self, uint32_t payload_bytes) noexcept nogil:
        """Whether a task with such a payload can be put now."""
        return self.tasks.reserve(payload_bytes) != NULL

    cdef inline bint put(self, int kind, int flags, uint32_t function, uint64_t task, uint32_t items, uint32_t detail,
                         TaskOptions options, bytes payload) noexcept:
        """Write a record into the submit ring. False if there is no room."""
        cdef Record *record = self.tasks.reserve(<uint32_t>PyBytes_GET_SIZE(payload))
        if record == NULL:
            return False
        fill_task(record, kind, flags, function, task, items, detail, options, payload)
        self.tasks.commit()
        self.tell()
        return True

    cdef bint say(self, int kind, uint64_t task, bytes payload, uint32_t function, int flags) except -1:
        """Write a record into the control ring. False if there is no room."""
        if self.up.write(kind, task, payload, function=function, flags=flags) is None:
            return False
        self.tell()
        return True

    # waiting

    cdef bint has_hung_up(self) noexcept:
        """Whether the scheduler has gone, as far as its socket tells."""
        cdef pollfd fds[1]
        fds[0].fd = self.lifeline
        fds[0].events = POLLIN
        return poll(fds, 1, 0) > 0

    cdef bint wait_for_room(self, Ring ring) noexcept:
        """Wait a moment, in which the reader of this ring gets on. Whether the scheduler has gone."""
        cdef pollfd fds[1]
        cdef int wait_ms
        store_release32(&ring.header.waiting_for_room, 1)
        full_fence()
        wait_ms = 1 if ring.free_bytes() < ring.capacity // 4 else 0
        fds[0].fd = self.lifeline
        fds[0].events = POLLIN
        fds[0].revents = 0
        with nogil:             # whatever there is room for: the reader may be a relay in a thread of this process
            sched_yield()
            poll(fds, 1, wait_ms)
        return fds[0].revents != 0

    cdef inline bint is_half_full(self) noexcept nogil:
        """Whether results should be read before more is submitted."""
        return self.results.unread_bytes() > self.results.capacity // 2

    cdef inline bint has_news(self, bint with_control) noexcept nogil:
        return self.results.has_news() or (with_control and self.down.has_news())

    cdef bint spin(self, uint64_t start, bint with_control) noexcept:
        """Look for news for YIELD_NS, letting others run. Whether there is any."""
        with nogil:
            while now_ns() - start < YIELD_NS:
                if self.has_news(with_control):
                    return True
                sched_yield()
        return False

    cdef bint sleep(self, int wait_ms, bint with_control) noexcept:
        """Sleep until there is news, or for so long. Whether the scheduler has gone."""
        cdef pollfd fds[2]
        cdef int n = 0
        store_release32(&self.page.sleeping, 1)
        full_fence()                                  # SYNC POINT sleep
        if not self.has_news(with_control):
            fds[0].fd = self.doorbell
            fds[0].events = POLLIN
            fds[1].fd = self.lifeline
            fds[1].events = POLLIN
            with nogil:
                n = poll(fds, 2, wait_ms)
            if n > 0 and fds[0].revents & POLLIN:
                quiet_doorbell(self.doorbell)
        store_release32(&self.page.sleeping, 0)
        return n > 0 and fds[1].revents != 0


cdef inline void fill_task(Record *record, int kind, int flags, uint32_t function, uint64_t task, uint32_t items,
                           uint32_t detail, TaskOptions options, bytes payload) noexcept:
    """All of a task's record but its length, which is there."""
    fill_record(record, kind, flags, 0, function, task, 0, items, detail)
    if options is not None:
        set_options(record, options.word, options.limit_ms)
    memcpy(payload_of(record), PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
