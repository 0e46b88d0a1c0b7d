# Record: one item in a ring, as its writer fills it and its readers look at it, and as a value in Python.
#
# `struct Record` in layout.pxi draws the bytes. Native code works on them where they stand, since nothing in the hot path
# may cost a Python object. The rare ones leave native code as a RecordCopy, whose fields have the names of the struct's:
# control records, and tasks and results whose objects travel by themselves.
#
# Rule 1: length and claim word say where a record stands, not what it says. They stay with the place when the rest is
#         copied elsewhere.
# Rule 2: fields have names, in native code and in Python. Nobody counts bytes or positions.
# Not here: what a record may say (bounds), how it is published and claimed (shm/ring), runs of records (record_run).

from collections import namedtuple as _namedtuple

cdef enum:
    RECORD_BODY_OFFSET = 12    # of what stands behind length, kind, flags, status and claim word: `function` and the rest

RecordCopy = _namedtuple(
    "RecordCopy",
    "kind task payload function flags status attempt items detail duration_ns cpu_us memory_peak_kib",
    defaults=(0, b"", 0, 0, 0, 0, 0, 0, 0, 0, 0), module=__name__)
RecordCopy.__doc__ = """A record that was copied out of a ring or a run: the same fields as in there, and its payload."""

cdef object _record_copy = RecordCopy
cdef object _new_tuple = tuple.__new__


cdef object copy_with_payload(const Record *header, bytes payload):
    """The record with this header and this payload, for Python."""
    return _new_tuple(_record_copy, (
        header.kind, header.task, payload, header.function, header.flags, header.status, header.attempt, header.items,
        header.detail, header.duration_ns, header.cpu_us, header.memory_peak_kib))


cdef inline object copy_of(Record *record):
    """The record, for Python."""
    return copy_with_payload(record, payload_of(record)[:payload_bytes_of(record)])


cdef inline void fill_record(Record *record, int kind, int flags, int status, uint32_t function, uint64_t task,
                             uint64_t attempt, uint32_t items, uint32_t detail) noexcept nogil:
    record.kind = <uint8_t>kind
    record.flags = <uint8_t>flags
    record.status = <uint16_t>status
    record.function = function
    record.task = task
    record.attempt = attempt
    record.items = items
    record.detail = detail
    record.duration_ns = 0
    record.cpu_us = 0
    record.memory_peak_kib = 0


cdef inline void copy_record(Record *record, const Record *other, uint32_t payload_bytes) noexcept nogil:
    """Fill a reserved record with what another says, whose payload has this size."""
    record.kind, record.flags, record.status = other.kind, other.flags, other.status
    memcpy(<char *>record + RECORD_BODY_OFFSET, <const char *>other + RECORD_BODY_OFFSET,
           RECORD_HEADER_BYTES - RECORD_BODY_OFFSET + payload_bytes)


cdef inline uint32_t payload_bytes_of(const Record *record) noexcept nogil:
    return record.record_bytes - RECORD_HEADER_BYTES


cdef inline char *payload_of(const Record *record) noexcept nogil:
    return <char *>record + RECORD_HEADER_BYTES
