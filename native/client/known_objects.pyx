# KnownObjects: what a client's scheduler knows of its objects, and which of them are of no use any more.
#
# A client's first scheduler knows all objects that records have named. Another scheduler hears of each object with the
# first record that names it (`name_anew`). Only the client can free an object of which its scheduler has never heard.
#
# Rule 1: an object that the scheduler calls free is freed once the results have been taken that came before that word:
#         until then a task may have to be sent again that names the object.
# Rule 2: when a result was lost with its scheduler, nothing that this scheduler has called free is freed any more: the
#         task is sent again, and names its objects.
# Not here: where objects lie (native/shm/store.pyx), what may be named again (scaler.client.objects).

import collections as _collections


@cython.final
cdef class KnownObjects:
    """Of one client. `objects` says which of its objects may be named again; None once it has left."""
    cdef Store store
    cdef set known               # to this scheduler; None as long as there was no other
    cdef object freed            # ids as the scheduler has said them
    cdef bint has_lost_result    # a result that was sent to us went with its scheduler
    cdef object objects

    def __cinit__(self, Store store not None):
        self.store, self.freed = store, _collections.deque()

    cdef void begin_anew(self):
        """There is another scheduler, which has heard of nothing."""
        self.freed.clear()                            # what is of no use goes when all has been said again
        self.has_lost_result = False
        self.known = set()

    # what records name

    cdef inline bytes named(self, bytes payload, int flags):
        """The payload as it must be for a scheduler that may not have heard of the objects that it names."""
        return payload if self.known is None or not flags & FLAG_OBJECTS else self.name_anew(payload)

    cdef bytes name_anew(self, bytes payload):
        """One that is not in the store any more is named as if it were known, and will be missing."""
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
            slot = self.store.slots.get(object)
            if slot is None or object in self.known or object in here:
                continue
            here.add(object)
            place.segment, place.offset, place.size = slot.area.segment, slot.offset, slot.size
            place.flags |= PLACE_NEW | (PLACE_HELD if self.objects.is_held(object) else 0)
        return other

    cdef int note(self, bytes payload, int flags) except -1:
        """The scheduler knows what this payload names."""
        cdef const char *at = PyBytes_AS_STRING(payload)
        cdef int64_t i
        if self.known is not None and flags & FLAG_OBJECTS:
            for i in range(places_in(at, len(payload))):
                self.known.add(place_at(at, i).object)
        return 0

    # what is free

    cdef int free_heard(self) except -1:
        """Free what the scheduler has said."""
        cdef bytes ids
        if self.has_lost_result:
            self.freed.clear()
        while self.freed:
            ids = self.freed.popleft()
            free_all(self.store, ids)
            if self.known is not None:
                self.known.difference_update(unpack_ids(ids))
        return 0

    cdef int free_unheard(self, IdList ids) except -1:
        """Of what is given back, free what this scheduler has never heard of: it would not know what is meant."""
        cdef size_t kept = 0
        cdef size_t i
        if self.known is None:
            return 0
        for i in range(ids.length):
            if ids.ids[i] >> TAG_SHIFT == self.store.tag and ids.ids[i] not in self.known:
                self.store.free(ids.ids[i])
            else:
                ids.ids[kept] = ids.ids[i]
                kept += 1
        ids.length = kept
        return 0

    cdef int free_unknown(self) except -1:
        """Free what only tasks held that are over: the scheduler that would have told us so is gone."""
        for object in list(self.store.slots):
            if object not in self.known and not self.objects.is_held(object) and not self.objects.is_made(object):
                self.store.free(object)
        return 0


cdef list unpack_ids(bytes ids):
    cdef uint64_t object
    cdef Py_ssize_t i
    cdef list found = []
    for i in range(len(ids) // 8):
        memcpy(&object, PyBytes_AS_STRING(ids) + 8 * i, 8)
        found.append(object)
    return found
