# Place: how a payload names the objects it needs, and where they lie.
#
# A payload with FLAG_OBJECTS is a count, so many places, and the pickle (layout.pxi draws it). The object's id is its
# name everywhere; segment and offset mean something only on one host, so they are 0 on the wire and filled in on the
# other side.
#
# Rule 1: a payload that came from somebody else is measured before a place in it is looked at.
# Not here: what lies at a place (store, loan), its holders (objects).

from libc.stdint cimport int64_t

cdef enum:
    TAG_SHIFT = 40
    SEGMENT_FILE_BIT = 63


cdef inline int64_t places_in(const char *payload, size_t size) noexcept nogil:
    """How many places the payload begins with; -1 if it is too short for what it says."""
    cdef uint32_t count
    if size < PLACES_OFFSET:
        return -1
    memcpy(&count, payload, 4)
    if count > (size - PLACES_OFFSET) // PLACE_BYTES:
        return -1
    return count


cdef inline Place *place_at(const char *payload, size_t i) noexcept nogil:
    return <Place *>(payload + PLACES_OFFSET) + i


cpdef inline size_t stream_offset(size_t places) noexcept nogil:
    """Where the pickle begins in a payload with so many places."""
    return PLACES_OFFSET + places * PLACE_BYTES


cdef bint are_bare(const char *payload, size_t size) noexcept nogil:
    """Whether the payload names objects and says of none where it lies, as it must on the wire."""
    cdef int64_t count = places_in(payload, size)
    cdef Place *place
    cdef int64_t i
    for i in range(count):
        place = place_at(payload, i)
        if place.segment or place.offset:
            return False
    return count >= 0


cpdef inline uint64_t maker_of(uint64_t object) noexcept nogil:
    """The tag of the object's maker."""
    return object >> TAG_SHIFT


cpdef inline uint64_t keeper_of(uint64_t segment) noexcept nogil:
    """The tag of whose store the segment is."""
    return segment >> 32 & 0xFFFFFF


cpdef str area_name(str epoch, str folder, uint64_t segment):
    """The segment's name as Segment takes it: in /dev/shm, or a path in `folder`."""
    name = f"scaler-{epoch}-{keeper_of(segment):06x}-{segment & 0xFFFFFFFF:x}"
    return f"{folder}/{name}" if segment >> SEGMENT_FILE_BIT else name


cdef uint64_t named_bytes(const char *payload, size_t size, uint32_t flag=0) noexcept nogil:
    """How many bytes the objects have that this payload names; with a `flag`, those that have it."""
    cdef int64_t count = places_in(payload, size)
    cdef uint64_t total = 0
    cdef int64_t i
    for i in range(count):
        if flag == 0 or place_at(payload, i).flags & flag:
            total += place_at(payload, i).size
    return total


cdef inline uint64_t new_bytes(const char *payload, size_t size) noexcept nogil:
    """How many bytes of objects this payload has brought with it."""
    return named_bytes(payload, size, PLACE_NEW)


def join_places(places, const unsigned char[:] stream=b""):
    """A payload with FLAG_OBJECTS: `places` are (object, segment, offset, size, flags), `stream` is the pickle."""
    cdef Place place
    cdef uint32_t count = <uint32_t>len(places)
    cdef size_t stream_bytes = stream.shape[0]
    cdef bytes payload = PyBytes_FromStringAndSize(NULL, stream_offset(count) + stream_bytes)
    cdef char *at = PyBytes_AS_STRING(payload)
    cdef uint32_t i = 0
    memset(at, 0, PLACES_OFFSET)
    memcpy(at, &count, 4)
    memset(&place, 0, sizeof(Place))
    for place.object, place.segment, place.offset, place.size, place.flags in places:
        place_at(at, i)[0] = place
        i += 1
    if stream_bytes:
        memcpy(at + stream_offset(count), &stream[0], stream_bytes)
    return payload


def bare(bytes payload not None):
    """The same payload without a word where its objects lie: what goes to another host."""
    cdef bytes other = PyBytes_FromStringAndSize(PyBytes_AS_STRING(payload), len(payload))
    cdef char *at = PyBytes_AS_STRING(other)
    cdef int64_t i
    for i in range(places_in(at, len(other))):
        place_at(at, i).segment = place_at(at, i).offset = 0
    return other


def split_places(bytes payload not None):
    """([(object, segment, offset, size, flags), ...], the pickle) of a payload with FLAG_OBJECTS; ValueError if it is none."""
    cdef const char *at = PyBytes_AS_STRING(payload)
    cdef int64_t count = places_in(at, len(payload))
    cdef Place *place
    cdef int64_t i
    if count < 0:
        raise ValueError(f"a payload of {len(payload)} bytes is too short for the objects it names")
    places = []
    for i in range(count):
        place = place_at(at, i)
        places.append((place.object, place.segment, place.offset, place.size, place.flags))
    return places, payload[stream_offset(count):]
