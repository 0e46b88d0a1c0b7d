# FailureGroups: failed calls by exception and by the line that raised it, with the last one's traceback.
#
# A worker describes an exception as a pickle of (exception, traceback's text), and the core unpickles nothing. It need
# not: the text is the last thing in that pickle, so it stands in plain sight before the pickle's last opcodes, with its
# length before it. So workers say nothing more than they did, and tasks that succeed pay nothing.
#
# Rule 1: whatever a peer has written, this is a look at bytes within their bounds; what cannot be found is left out.
# Rule 2: at most MOST_GROUPS groups, those that failed last; texts are cut to a stated length.
# Not here: what is counted (counts), texts made of facts (scaler.scheduler.publisher).

from json import loads as _read_json

cdef enum:
    MOST_GROUPS = 256
    MOST_MESSAGE_BYTES = 1000
    MOST_TRACEBACK_BYTES = 16000
    MOST_NAME_BYTES = 200
    OP_BINUNICODE = 0x58           # 'X', then 4 bytes of length
    OP_SHORT_BINUNICODE = 0x8C     # then one byte
    OP_MEMOIZE = 0x94
    OP_TUPLE2 = 0x86
    OP_STOP = 0x2E

cdef inline size_t skip_back(const unsigned char *data, size_t end, unsigned char opcode) noexcept nogil:
    return end - 1 if end and data[end - 1] == opcode else end


cdef bytes last_text(const char *payload, size_t size):
    """The text at the end of a pickle of a pair; b"" if there is none."""
    cdef const unsigned char *data = <const unsigned char *>payload
    cdef size_t end = size
    cdef size_t start
    cdef uint32_t length
    if size < 4 or data[size - 1] != OP_STOP:
        return b""
    end = skip_back(data, end - 1, OP_MEMOIZE)
    if end == 0 or data[end - 1] != OP_TUPLE2:
        return b""
    end = skip_back(data, end - 1, OP_MEMOIZE)
    # A long text has its length in four bytes, a short one in one.
    for start in range(end):
        if data[start] == OP_BINUNICODE and end - start >= 5:
            memcpy(&length, data + start + 1, 4)
            if length == end - start - 5:
                return payload[start + 5:end]
        elif data[start] == OP_SHORT_BINUNICODE and end - start >= 2 and data[start + 1] == end - start - 2:
            return payload[start + 2:end]
    return b""


cdef tuple neutral_texts(bytes payload):
    """(type, message, traceback) of what a named function has raised: a JSON object, and no pickle."""
    cdef list texts = []
    try:
        said = _read_json(payload)
    except (ValueError, RecursionError):
        return b"", b"", b""
    for key, most in (("type", MOST_NAME_BYTES), ("message", MOST_MESSAGE_BYTES), ("traceback", MOST_TRACEBACK_BYTES)):
        text = said.get(key) if type(said) is dict else None
        texts.append(text[:most].encode("utf-8", "replace")[:most] if type(text) is str else b"")
    return tuple(texts)


cdef tuple parts_of(bytes text):
    """(exception's type, message, place) as a traceback's text says them."""
    cdef bytes place = b""
    cdef bytes kind, message
    cdef Py_ssize_t frame = text.rfind(b'  File "')
    cdef list lines = text[max(frame, 0):].split(b"\n")
    cdef bytes line = lines[0]
    if frame >= 0:
        file, _, rest = line[8:].partition(b'", line ')
        number, _, function = rest.partition(b", in ")
        place = file + b":" + number + b" in " + function
        del lines[0]
    while lines and (not lines[0] or lines[0][:1] == b" "):
        del lines[0]
    kind, _, message = b"\n".join(lines).strip().partition(b": ")
    return kind[:MOST_NAME_BYTES], message[:MOST_MESSAGE_BYTES], place[:MOST_NAME_BYTES]


@cython.final
cdef class FailureGroup:
    """`text` is a traceback, or what a status says in place of one."""
    cdef readonly bytes kind, message, place, text
    cdef readonly int status
    cdef readonly uint32_t function, worker
    cdef readonly uint64_t count, first_ns, last_ns, task


@cython.final
cdef class FailureGroups:
    cdef dict groups           # (function, status, kind, place) -> FailureGroup, the one that failed last at the end
    cdef uint64_t noted

    def __cinit__(self):
        self.groups = {}

    cdef bint note(self, int status, const char *payload, size_t size, uint32_t function, uint32_t worker, uint64_t task,
                   uint64_t calls, uint64_t now) noexcept:
        """Some calls have failed alike. Whether it was by a time limit."""
        try:
            return self.add(status, payload, size, function, worker, task, calls, now)
        except MemoryError:
            return False

    cdef bint add(self, int status, const char *payload, size_t size, uint32_t function, uint32_t worker, uint64_t task,
                  uint64_t calls, uint64_t now) except -1:
        cdef bytes text, kind = b"", message = b"", place = b""
        cdef FailureGroup group
        cdef tuple key
        if status == STATUS_RAISED or status == STATUS_UNREADABLE:
            if size and payload[0] == b"{":
                kind, message, text = neutral_texts(payload[:size])
            else:
                text = last_text(payload, size)
                kind, message, place = parts_of(text)
        else:
            text = payload[:min(size, <size_t>MOST_TRACEBACK_BYTES)]
        key = (function, status, kind, place)
        group = self.groups.pop(key, None)
        if group is None:
            group = FailureGroup.__new__(FailureGroup)
            group.first_ns, group.kind, group.place, group.function, group.status = now, kind, place, function, status
        group.message, group.text = message, text[-MOST_TRACEBACK_BYTES:]
        group.worker, group.task, group.last_ns = worker, task, now
        group.count += calls
        self.noted += calls
        self.groups[key] = group
        if len(self.groups) > MOST_GROUPS:
            del self.groups[next(iter(self.groups))]
        return kind == b"scaler.exceptions.TaskTimeoutError"

    def all(self):
        """The groups, the one that failed last at the end."""
        return list(self.groups.values())
