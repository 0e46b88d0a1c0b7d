# ObjectUpkeep: what a client does for the objects that it holds and has made, besides naming them.
#
# It says which objects of others it holds no more, hears which of its own are free, and gives memory back that has been
# of no use for a while.
#
# Not here: which objects the scheduler knows (known_objects), what may be named again (scaler/client/objects.py),
# segments and slots (native/shm/store.pyx, native/shm/mapping.pyx).

@cython.final
cdef class ObjectUpkeep:
    cdef Store store             # of the client's own objects
    cdef Mappings mappings       # of all others
    cdef uint64_t next_trim_ns

    def __cinit__(self, Store store not None, Mappings mappings not None):
        self.store, self.mappings = store, mappings

    cdef int say_given_back(self, ClientRings rings) except -1:
        """Say which objects of others are held no more, as far as there is room."""
        if rings.connection.state != CONNECTED:
            return 0
        rings.known.free_unheard(self.mappings.given_back)
        if write_release(rings.connection.channel.tasks, self.mappings.given_back):
            rings.connection.channel.tell()
        return 0

    cdef bint tend(self, ClientRings rings) except -1:
        """Say what is held no more, hear what is free, give up what is of no use. False if there is nothing to tend."""
        cdef uint64_t now
        if self.mappings.given_back.length:
            self.say_given_back(rings)
        if rings.connection.channel.down.has_news():
            rings.read_control()
            if rings.known.freed:
                rings.look()
        if rings.connection.state != CONNECTED:
            return True
        now = now_ns()
        if now >= self.next_trim_ns:
            self.next_trim_ns = now + TRIM_NS
            self.mappings.trim(now)
            self.store.trim(now)
        return bool(self.store.areas or self.mappings.by_segment or self.mappings.open_loans)

    cdef bint make_room(self, ClientRings rings) except -1:
        """Wait a moment for objects to be freed. False if nothing is under way that could free any."""
        cdef uint64_t used = self.store.used_bytes
        cdef bint any_open = rings.open.count > 0 or self.mappings.given_back.length > 0
        if here_is_needed():
            refuse_to_wait()
        rings.look()
        rings.connection.check()
        if self.mappings.given_back.length:
            self.say_given_back(rings)
        rings.read_control()
        if self.store.used_bytes < used:
            return True
        self.mappings.trim(now_ns())
        with nogil:
            poll(NULL, 0, 1 if any_open else 50)      # what has just ended is heard of in a moment
        PyErr_CheckSignals()
        rings.check_scheduler()
        rings.read_control()
        return any_open or self.store.used_bytes < used
