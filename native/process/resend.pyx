# Resend: what a client keeps so that it can say everything anew to another scheduler.
#
# When its scheduler is gone a client looks for another (scaler.client.comeback) and hands in new rings
# (ClientRings.attach). Then it announces its functions under their old numbers, and sends each task that has no answer,
# in order, marked FLAG_RESENT: a worker may still run it, or hold its result. Objects are the client's own, and stay
# where they are: the first record that names one to this scheduler says that it is new.
#
# Rule 1: numbers and ids go out in rising order: the scheduler finds them in windows that only slide upwards.
# Rule 2: a function that was forgotten is kept as long as a task that names it is open.
# Not here: writing the records (client), finding a scheduler (scaler.client.comeback).

cdef enum:
    LEAST_FORGOTTEN = 1000     # that are looked through for those that no open task names


@cython.final
cdef class CallerFunctions:
    """What a client has announced, by its numbers."""
    cdef dict known            # number -> (digest, payload, flags)
    cdef set forgotten         # of these, what the scheduler was told to forget
    cdef size_t most_forgotten

    def __cinit__(self):
        self.known, self.forgotten, self.most_forgotten = {}, set(), LEAST_FORGOTTEN

    cdef int note(self, uint32_t number, bytes digest, bytes payload, int flags) except -1:
        self.known[number] = digest, payload, flags
        return 0

    cdef int forget(self, uint32_t number, OpenFutures open) except -1:
        """No task to come names it; those that are open may."""
        if number in self.known:
            self.forgotten.add(number)
        if <size_t>len(self.forgotten) > self.most_forgotten:
            self.drop_unused(open)
        return 0

    cdef int drop_unused(self, OpenFutures open) except -1:
        cdef PendingFuture future
        cdef set used = {future.function for future in open.all()} if self.forgotten else set()
        for number in self.forgotten - used:
            del self.known[number]
        self.forgotten &= used
        self.most_forgotten = 2 * len(self.forgotten) + LEAST_FORGOTTEN
        return 0

    cdef list needed(self, OpenFutures open):
        """The numbers that another scheduler must hear of, in their order."""
        self.drop_unused(open)
        return sorted(self.known)


cdef bytes name_anew(bytes payload, set known, Store store, objects):
    """The payload as it must be for a scheduler that knows these of our objects: what it does not know is new to it.

    `objects` says which of them may be named again. One that is not in the store any more is named as if it were known,
    and will be missing.
    """
    cdef bytes other = PyBytes_FromStringAndSize(PyBytes_AS_STRING(payload), len(payload))
    cdef char *at = PyBytes_AS_STRING(other)
    cdef set here = set()
    cdef Place *place
    cdef Slot slot
    cdef int64_t i
    for i in range(places_in(at, len(other))):
        place = place_at(at, i)
        place.flags &= ~<uint32_t>(PLACE_NEW | PLACE_HELD)
        object = place.object
        slot = store.slots.get(object)
        if slot is None or object in known or object in here:
            continue
        here.add(object)
        place.segment, place.offset, place.size = slot.area.segment, slot.offset, slot.size
        place.flags |= PLACE_NEW | (PLACE_HELD if objects.is_held(object) else 0)
    return other


cdef int note_objects(bytes payload, set known) except -1:
    """The scheduler knows what this payload names."""
    cdef const char *at = PyBytes_AS_STRING(payload)
    cdef int64_t i
    for i in range(places_in(at, len(payload))):
        known.add(place_at(at, i).object)
    return 0


cdef list unpack_ids(bytes ids):
    cdef uint64_t object
    cdef Py_ssize_t i
    cdef list found = []
    for i in range(len(ids) // 8):
        memcpy(&object, PyBytes_AS_STRING(ids) + 8 * i, 8)
        found.append(object)
    return found
