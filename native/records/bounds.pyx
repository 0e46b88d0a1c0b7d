# Bounds: what a record may be, said once for its writer and for its readers.
#
# A record goes from a client through the scheduler to a worker, and its result goes back, each time perhaps over a wire.
# Every reader refuses what is larger, or says more, than is allowed here, and ends its sender's session. So a scheduler or
# relay that takes a record in to pass it on looks at it with the eyes of the next reader: what that reader would refuse is
# answered, or its sender is shut out, where it comes in. It is never sent.
#
# Rule 1: readers of rings (pump, relay) and of frames (columns) ask `record_error`; a bound stands nowhere else.
# Rule 2: what fits a bound fits every ring that a client or a worker may have (LEAST_RING_BYTES).
# Not here: texts, identities and frames (scaler.protocol.bounds), whether a task or a function is known (core).

cpdef enum:
    MOST_PAYLOAD_BYTES = 32712     # of a task or a result: MOST_RECORD_BYTES without the header
    DIGEST_BYTES = 16              # before a function's bytes
    MOST_FUNCTION_BYTES = 8120     # of these bytes: with header and digest an eighth of a control ring of 64 KiB
    LEAST_RING_BYTES = 65536       # of a ring for tasks or results: the largest record fits wherever the ring wraps
    KNOWN_FLAGS = 191              # all that layout.pxi names, but for what only tasks have
    TASK_FLAGS = 255
    FUNCTION_FLAGS = 255
    MOST_REQUEST_BYTES = 1346      # what stands behind a function whose calls ask for resources (resources.pyx)
    MOST_FUNCTION_NAME_BYTES = 255          # of a named function

cdef uint64_t MOST_OBJECT_BYTES = <uint64_t>1 << 40


cdef inline bint is_known_status(uint16_t status) noexcept nogil:
    return status <= STATUS_STOPPED


cdef inline const char *record_error(int kind, int flags, uint16_t status, uint32_t options, const char *payload,
                                     size_t size) noexcept nogil:
    """What is wrong with a task or a result of any peer; NULL if nothing is."""
    if size > MOST_PAYLOAD_BYTES:
        return "payload: larger than allowed here"
    if flags & ~(TASK_FLAGS if kind == KIND_TASK else KNOWN_FLAGS):
        return "flags: a bit that this version does not know"
    if flags & FLAG_OBJECTS and places_in(payload, size) < 0:
        return "payload: not the places of objects and a pickle, though the flag says so"
    if kind == KIND_RESULT and not is_known_status(status):
        return "statuses: a status that this version does not know"
    if kind == KIND_TASK and not is_known_word(options):
        return "options: a bit that this version does not know, or a priority that there is not"
    return NULL


cdef inline bint brings_one(const char *payload, size_t size, uint64_t tag) noexcept nogil:
    """Whether a payload with FLAG_OBJECTS names just one object, which the peer with this tag has made and brings: as a
    result with an object does."""
    return (places_in(payload, size) == 1 and place_at(payload, 0).flags & PLACE_NEW
            and maker_of(place_at(payload, 0).object) == tag
            and 0 < place_at(payload, 0).size <= MOST_OBJECT_BYTES)


cdef inline const char *function_error(int flags, size_t size) noexcept nogil:
    """What is wrong with the announcement of a function, digest included; NULL if nothing is."""
    if size < DIGEST_BYTES:
        return "function: no digest"
    if size - DIGEST_BYTES > MOST_FUNCTION_BYTES:
        return "function: larger than allowed, it should be an object"
    if flags & ~FUNCTION_FLAGS:
        return "flags: a bit that this version does not know"
    if flags & FLAG_NAMED and (flags & ~FLAG_REQUEST != FLAG_NAMED
                               or not 0 < size - DIGEST_BYTES <= MOST_FUNCTION_NAME_BYTES
                               + (MOST_REQUEST_BYTES if flags & FLAG_REQUEST else 0)):
        return "function: not just a name, though the flag says so"
    return NULL


def find_record_error(int kind, int flags, int status, bytes payload not None, uint32_t options=0):
    """What a reader of this record would find wrong with it, as a sentence; None if nothing. For tests."""
    cdef const char *error
    if kind == KIND_FUNCTION:
        error = function_error(flags, len(payload))
    else:
        error = record_error(kind, flags, status, options, PyBytes_AS_STRING(payload), len(payload))
    return None if error == NULL else (<bytes>error).decode()
