# Outlet: where the core writes a peer's records.
#
# Writing memory is not I/O, so the core writes straight into whatever stands here: a ring of a co-located peer, or the
# column buffer of a remote one. Ten verbs; the core never knows which it is.

cdef enum:
    WITHDREW = 0     # it is ours again
    TOO_LATE = 1     # it is claimed, or done
    ASKED = 2        # somebody else holds the ring: the answer comes as an event

cdef uint64_t SET_ASIDE = <uint64_t>-1    # the position of a record that waits for its objects
cdef uint64_t NOT_COMMITTED = <uint64_t>-2  # of one for which there was no memory after all: it has not been written


cdef class Outlet:
    """What the core can do to a peer."""

    cdef Record *reserve(self, uint32_t payload_bytes) noexcept nogil:
        return NULL

    cdef uint64_t commit(self) noexcept nogil:
        return 0

    cdef int withdraw(self, uint64_t task, uint64_t attempt, uint64_t position) noexcept nogil:
        return TOO_LATE

    cdef void stop(self, uint64_t task, uint64_t attempt) noexcept nogil:
        """Have a record that could not be taken back stopped, if it still runs. Its end comes as a result, or a death."""
        pass

    cdef bint takes_objects(self) noexcept nogil:
        """Whether one more result with objects may be written: records say little of how much they bring."""
        return True

    cdef void note_objects(self, uint64_t n_bytes) noexcept nogil:
        """The result that was just committed brings so much."""
        pass

    cdef uint32_t largest_payload(self) noexcept nogil:
        return 0

    cdef bint can_fit(self, uint64_t payload_bytes) noexcept nogil:
        """Whether such a record finds room once all before it has been read."""
        return False

    cdef bint is_elsewhere(self) noexcept nogil:
        """Whether the peer is on another host, so that what it makes lies in a store here."""
        return False

    cdef void flush(self) noexcept nogil:
        """Let the peer see what was committed; wake it if it sleeps. The caller has just made a full fence."""
        pass

    cdef void flush_unhurried(self) noexcept nogil:
        """The same, but a peer that sleeps need not be woken: it will see when it wakes."""
        pass


@cython.final
@cython.no_gc
cdef class RingOutlet(Outlet):
    """The producer's end of a ring, and the bell of its reader.

    `stops` gets (owner, task, attempt) of what is to be stopped: signals are for the shell to send.
    """
    cdef Ring ring
    cdef Segment bell_memory
    cdef uint32_t *sleeping
    cdef int doorbell
    cdef list stops
    cdef object owner
    cdef uint64_t object_bytes   # of what was written since the ring was last found empty

    def __init__(self, Ring ring, Segment bell_memory=None, size_t sleeping_offset=0, int doorbell=-1, *,
                 list stops=None, owner=None):
        self.ring = ring
        self.stops, self.owner = stops, owner
        self.bell_memory = bell_memory
        self.sleeping = NULL if bell_memory is None else <uint32_t *>(bell_memory.start + sleeping_offset)
        self.doorbell = doorbell

    cdef Record *reserve(self, uint32_t payload_bytes) noexcept nogil:
        cdef Record *record = self.ring.reserve(payload_bytes)
        if record == NULL:
            # Have the reader wake us when a quarter is free; look once more, it may have read meanwhile.
            store_release32(&self.ring.header.waiting_for_room, 1)
            full_fence()
            record = self.ring.reserve(payload_bytes)
        return record

    cdef uint64_t commit(self) noexcept nogil:
        return self.ring.commit()

    cdef bint takes_objects(self) noexcept nogil:
        if self.object_bytes <= MOST_UNREAD_BYTES:
            return True
        if load_acquire(&self.ring.header.tail) != self.ring.head:
            store_release32(&self.ring.header.waiting_for_room, 1)    # as in reserve
            full_fence()
            if load_acquire(&self.ring.header.tail) != self.ring.head:
                return False
        self.object_bytes = 0
        return True

    cdef void note_objects(self, uint64_t n_bytes) noexcept nogil:
        self.object_bytes += n_bytes

    cdef int withdraw(self, uint64_t task, uint64_t attempt, uint64_t position) noexcept nogil:
        return WITHDREW if self.ring.withdraw(position) else TOO_LATE

    cdef void stop(self, uint64_t task, uint64_t attempt) noexcept nogil:
        if self.stops is not None:
            with gil:                                 # with no memory for this it runs to its end, which changes nothing
                self.stops.append((self.owner, task, attempt))

    cdef uint32_t largest_payload(self) noexcept nogil:
        return self.ring.largest_payload()

    cdef bint can_fit(self, uint64_t payload_bytes) noexcept nogil:
        return 2 * (RECORD_HEADER_BYTES + payload_bytes + 7) <= self.ring.capacity     # where it would wrap, too

    cdef void flush(self) noexcept nogil:
        if self.sleeping != NULL:
            ring_doorbell_fenced(self.sleeping, self.doorbell)
