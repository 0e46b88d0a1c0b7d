# Batch frames: the two frames that carry tasks and results, written and read without pycapnp.
#
# They are all that a task costs on the wire, and what runs once per task finds cold caches: pycapnp walks its schema
# for each of up to thirteen fields. Here a frame is written as pycapnp writes it as long as it needs one segment only,
# and read if it looks so: one segment, the structs of this version right behind each other, columns in the order of the
# schema, none of them inside another.
#
#   word 0   0, and how many words follow        the table of segments
#        1   pointer: struct of 4 words and 1 pointer, right behind
#        2   magic, version
#        3   number
#        4   acknowledged
#        5   which member of the union, in the low 16 bits
#        6   pointer: struct of no words and a pointer per column, right behind
#        7   pointer: list of bytes, per column; 0 if it is empty
#      ...   the columns, each filled up with zeros to a whole word
#
# Rule 1: whatever looks otherwise is not an error here but none of our business: None, and pycapnp decides. So there is
#         no frame that is taken here and refused there, or taken as something else.
# Rule 2: nothing is read that was not compared with the length first.
# Rule 3: the numbers of the schema stand here a second time; scaler.protocol.codec tries them out when it is loaded.
# Not here: every other frame (scaler.protocol.codec), what the columns mean (columns).

from cpython.bytes cimport PyBytes_CheckExact, PyBytes_GET_SIZE

cdef enum:
    BATCH_MAGIC = 0x5343414C
    BATCH_VERSION = 2
    BATCH_TASKS = 6                    # as the union in protocol/frame.capnp numbers them
    BATCH_RESULTS = 7
    BATCH_FRAME_WORDS = 4
    BATCH_COLUMNS_AT = 7               # word of the first column's pointer
    BATCH_MOST_BYTES = 1 << 28         # of a column; a pointer has 29 bits for it, and 30 for how far away it is
    POINTER_LIST = 1                   # low two bits of a pointer
    POINTER_BYTES = 2                  # three bits that say what the items of a list are


cdef inline int columns_of(int member) noexcept nogil:
    """How many columns this member of the union has; 0 if it is none of ours."""
    return 11 if member == BATCH_TASKS else 13 if member == BATCH_RESULTS else 0


cdef inline uint64_t struct_pointer(uint64_t words, uint64_t pointers) noexcept nogil:
    """To a struct right behind the pointer."""
    return words << 32 | pointers << 48


def encode_batch(int member, columns not None, uint64_t number, uint64_t acknowledged):
    """The frame of a batch, as one segment. None if that cannot be: it is pycapnp's then."""
    cdef int n = columns_of(member)
    cdef size_t words = BATCH_COLUMNS_AT + n
    cdef size_t at = words
    cdef size_t size, filled
    cdef uint64_t *out
    cdef int i
    if not isinstance(columns, tuple) or not n or len(<tuple>columns) != n:
        return None
    for i in range(n):
        column = (<tuple>columns)[i]
        if not PyBytes_CheckExact(column) or PyBytes_GET_SIZE(column) > BATCH_MOST_BYTES:
            return None
        words += (PyBytes_GET_SIZE(column) + 7) // 8
    if words * 8 > BATCH_MOST_BYTES:
        return None
    data = PyBytes_FromStringAndSize(NULL, words * 8)
    out = <uint64_t *>PyBytes_AS_STRING(data)
    out[0] = <uint64_t>(words - 1) << 32
    out[1] = struct_pointer(BATCH_FRAME_WORDS, 1)
    out[2] = BATCH_MAGIC | <uint64_t>BATCH_VERSION << 32
    out[3] = number
    out[4] = acknowledged
    out[5] = member
    out[6] = struct_pointer(0, n)
    for i in range(n):
        column = (<tuple>columns)[i]
        size = PyBytes_GET_SIZE(column)
        if not size:
            out[BATCH_COLUMNS_AT + i] = 0
            continue
        out[BATCH_COLUMNS_AT + i] = (
            POINTER_LIST | <uint64_t>(at - (BATCH_COLUMNS_AT + i + 1)) << 2 | <uint64_t>POINTER_BYTES << 32
            | <uint64_t>size << 35
        )
        filled = (size + 7) // 8
        out[at + filled - 1] = 0
        memcpy(out + at, PyBytes_AS_STRING(column), size)
        at += filled
    return data


def decode_batch(bytes data not None):
    """(member, number, acknowledged, columns) of a frame that looks as encode_batch makes them; None of any other."""
    cdef const uint64_t *words = <const uint64_t *>PyBytes_AS_STRING(data)
    cdef size_t size = PyBytes_GET_SIZE(data)
    cdef size_t end = size // 8
    cdef size_t at, start, length
    cdef uint64_t pointer
    cdef int member, n, i
    if size % 8 or end < BATCH_COLUMNS_AT or words[0] != <uint64_t>(end - 1) << 32:
        return None
    if words[1] != struct_pointer(BATCH_FRAME_WORDS, 1) or words[2] != (BATCH_MAGIC | <uint64_t>BATCH_VERSION << 32):
        return None
    member = <int>(words[5] & 0xFFFF)
    n = columns_of(member)
    at = BATCH_COLUMNS_AT + n
    if not n or not words[3] or words[6] != struct_pointer(0, n) or end < at:
        return None
    columns = []
    for i in range(n):
        pointer = words[BATCH_COLUMNS_AT + i]
        if not pointer:
            columns.append(b"")
            continue
        length = pointer >> 35
        start = BATCH_COLUMNS_AT + i + 1 + ((pointer & 0xFFFFFFFF) >> 2)
        # A distance below zero looks like one of more than half a billion words here, which no frame has.
        if pointer & 3 != POINTER_LIST or pointer >> 32 & 7 != POINTER_BYTES or not length:
            return None
        if start < at or start > end or (length + 7) // 8 > end - start:
            return None
        columns.append(PyBytes_FromStringAndSize(<const char *>(words + start), length))
        at = start + (length + 7) // 8
    return member, words[3], words[4], tuple(columns)
