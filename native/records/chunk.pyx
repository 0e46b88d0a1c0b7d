# Chunk: several calls of one map in one record, and their results in another.
#
# Calls whose arguments are all plain travel as one pickle, a flat list: the number of arguments per call, then the
# arguments of one call after the other (FLAG_CHUNK | FLAG_PLAIN). Anything else is pickled call by call (FLAG_CHUNK),
# since one pickle for all would hand the same mutable object to several of them: `ends` (4 bytes per call), then the
# pickles of the argument tuples. Where nothing mutable can be shared (small arrays that are all different, and immutable
# values), there is one pickle of the list of argument tuples after all, since it names what they have in common only
# once: it stands as the last call's, and those before it are empty, which no pickle is.
#
# Results that are all plain come back as one flat list (FLAG_CHUNK | FLAG_PLAIN). Otherwise (FLAG_CHUNK): `ends` (4
# bytes per call), a status byte per call, then what each call has to say. A status with PLAIN_ITEM set is followed by
# the opcodes of a plain value alone: a pickle without its first two bytes and its last. Large buffers of all results
# stay out of the pickles, in their order.
#
# Rule 1: a call that fails does not stop the others; each has its own status and its own place.
# Not here: how many calls make a chunk (scaler.client.mapping).

from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE, PyList_New, PyList_SET_ITEM
from cpython.tuple cimport PyTuple_CheckExact

cdef extern from "Python.h":
    object PyObject_Vectorcall(object callable, PyObject **args, size_t nargsf, PyObject *kwnames)
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET

cdef enum:
    MOST_PLAIN_ARGUMENTS = 8
    PLAIN_ITEM = 0x80
    ITEM_ROOM = 300           # more than write_plain ever writes


cdef class ByteBuffer:
    """Bytes that grow."""
    cdef char *start
    cdef size_t size
    cdef size_t room

    def __dealloc__(self):
        free(self.start)

    cdef char *need(self, size_t more) except NULL:
        """Room for `more` bytes at the end; where they begin."""
        cdef char *start
        if self.size + more > self.room:
            start = <char *>realloc(self.start, (self.size + more) * 2)
            if start == NULL:
                raise MemoryError(f"no memory for {self.size + more} bytes of a chunk")
            self.start = start
            self.room = (self.size + more) * 2
        return self.start + self.size

    cdef int append(self, const char *data, size_t size) except -1:
        memcpy(self.need(size), data, size)
        self.size += size
        return 0


cdef Py_ssize_t pack_plain_calls(ByteBuffer out, list calls, Py_ssize_t first, Py_ssize_t most, size_t most_bytes,
                                 bint bare) except -1:
    """Write up to `most` calls as one pickle. How many; 0 if the first ones cannot be written so.

    A call is the tuple of its arguments; if they are `bare`, its only argument itself.

    Stops before a call that is not plain or has another number of arguments: it begins the next chunk.
    """
    cdef Py_ssize_t n = 0
    cdef Py_ssize_t arguments = -1
    cdef Py_ssize_t i
    cdef size_t before
    cdef object call
    cdef char *at
    out.size = 0
    while n < most and out.size < most_bytes and first + n < PyList_GET_SIZE(calls):
        call = <object>PyList_GET_ITEM(calls, first + n)
        if not bare and not PyTuple_CheckExact(call):
            break
        if arguments < 0:
            arguments = 1 if bare else PyTuple_GET_SIZE(call)
            if arguments == 0 or arguments > MOST_PLAIN_ARGUMENTS:
                break
            at = out.need(8)
            at[0], at[1], at[2], at[3], at[4], at[5] = <char>0x80, 5, b']', b'(', b'K', <char>arguments
            out.size = 6
        elif not bare and PyTuple_GET_SIZE(call) != arguments:
            break
        before = out.size
        for i in range(arguments):
            at = out.need(ITEM_ROOM)
            at = write_plain(at, at + ITEM_ROOM, call if bare else <object>PyTuple_GET_ITEM(call, i))
            if at == NULL:
                out.size = before
                break
            out.size = at - out.start
        else:
            n += 1
            continue
        break
    if n:
        out.append(b"e.", 2)
    return n


cdef Py_ssize_t pack_calls(ByteBuffer out, list calls, Py_ssize_t first, Py_ssize_t most, size_t most_bytes,
                           parcel, bint bare) except -1:
    """Write up to `most` calls, each pickled by itself. How many; at least one.

    A call with large buffers is the last: whose buffers they are is then no question.
    """
    cdef list pickles = []
    cdef size_t size = 0
    cdef uint32_t end = 0
    cdef Py_ssize_t n = 0
    cdef bytes data
    together = parcel.dumps_together(calls, first, most, most_bytes, bare)
    if together is not None:
        data, n = together
        out.size = 0
        memset(out.need(4 * (n - 1)), 0, 4 * (n - 1))
        out.size = 4 * (n - 1)
        end = <uint32_t>len(data)
        out.append(<char *>&end, 4)
        out.append(PyBytes_AS_STRING(data), len(data))
        return n
    while n < most and (n == 0 or size < most_bytes) and first + n < PyList_GET_SIZE(calls):
        data = parcel.dumps((calls[first + n],) if bare else tuple(calls[first + n]))
        pickles.append(data)
        size += len(data) + 4
        n += 1
        if parcel.is_full:
            break
    if size >= 0xFFFFFFFF:
        raise OverflowError("the arguments of one call are larger than 4 GiB")
    out.size = 0
    for data in pickles:
        end += <uint32_t>len(data)
        out.append(<char *>&end, 4)
    for data in pickles:
        out.append(PyBytes_AS_STRING(data), len(data))
    return n


cdef list read_plain_list(const char *data, size_t size):
    """The values of a flat list; ValueError if it is none."""
    cdef const unsigned char *at = <const unsigned char *>data + 4
    cdef const unsigned char *end = <const unsigned char *>data + size - 2
    cdef list values = []
    cdef object value
    if size < 6 or data[2] != b']' or data[size - 1] != b'.':
        raise ValueError("the results of a chunk are not a list of plain values")
    while at < end:
        value = read_value(&at, end)
        if value is NotImplemented:
            raise ValueError(f"opcode {at[0]:#x} in the results of a chunk")
        values.append(value)
    return values


cdef class ChunkCalls:
    """A worker's view of a chunk: the arguments of one call after the other."""
    cdef const char *data
    cdef uint32_t items
    cdef uint32_t next
    cdef bint plain
    cdef size_t size
    cdef uint32_t arguments
    cdef const unsigned char *at
    cdef object loads
    cdef object together             # the calls that were pickled together; what they could not be unpickled for

    cdef int begin(self, const char *data, size_t size, uint32_t items, bint plain, loads) except -1:
        self.data, self.size, self.items, self.plain, self.loads = data, size, items, plain, loads
        self.next = 0
        self.together = None
        if plain:
            if size < 8 or data[4] != b'K':
                raise ValueError("a chunk of calls makes no sense")
            self.arguments = <unsigned char>data[5]
            self.at = <const unsigned char *>data + 6
            if self.arguments > MOST_PLAIN_ARGUMENTS:
                raise ValueError(f"a chunk with {self.arguments} arguments per call")
        elif size < 4 * <size_t>items:
            raise ValueError("a chunk of calls is too short")
        return 0

    cdef object call_next(self, function):
        """Call with the next arguments. What it raises is the call's own; Unreadable is returned for bad arguments."""
        cdef PyObject *arguments[2]
        cdef uint32_t first
        cdef uint32_t end
        cdef object value
        if self.plain:
            if self.arguments == 1:
                value = read_value(&self.at, <const unsigned char *>self.data + self.size - 2)
                if value is NotImplemented:
                    return Unreadable(ValueError("a chunk's arguments make no sense"))
                arguments[1] = <PyObject *>value
                return PyObject_Vectorcall(function, arguments + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
            return self.call_many(function)
        if self.next == 0 and self.items > 1 and (<uint32_t *>self.data)[0] == 0:
            self.load_together()
        if self.together is not None:
            return self.call_together(function)
        first = 0 if self.next == 0 else (<uint32_t *>self.data)[self.next - 1]
        end = (<uint32_t *>self.data)[self.next]
        self.next += 1
        if first > end or 4 * <size_t>self.items + end > self.size:
            return Unreadable(ValueError("a chunk's ends make no sense"))
        try:
            value = self.loads(PyBytes_FromStringAndSize(self.data + 4 * <size_t>self.items + first, end - first))
        except BaseException as error:
            return Unreadable(error)
        return function(*value)

    cdef int load_together(self) except -1:
        cdef size_t head = 4 * <size_t>self.items
        try:
            calls = self.loads(PyBytes_FromStringAndSize(self.data + head, self.size - head))
            if type(calls) is not list or len(calls) != self.items:
                raise ValueError("calls that were pickled together make no sense")
        except BaseException as error:
            self.together = error
        else:
            self.together = calls
        return 0

    cdef object call_together(self, function):
        cdef object value
        if type(self.together) is not list:
            return Unreadable(self.together)
        value = (<list>self.together)[self.next]
        (<list>self.together)[self.next] = None       # the arguments go with their call
        self.next += 1
        return function(*value)

    cdef object call_many(self, function):
        cdef object value
        cdef tuple values = PyTuple_New(self.arguments)
        cdef uint32_t i
        for i in range(self.arguments):
            value = read_value(&self.at, <const unsigned char *>self.data + self.size - 2)
            if value is NotImplemented:
                return Unreadable(ValueError("a chunk's arguments make no sense"))
            Py_INCREF(value)
            PyTuple_SET_ITEM(values, i, value)
        return function(*values)


cdef class ChunkResults:
    """What a worker writes while it runs a chunk."""
    cdef ByteBuffer body, ends, codes
    cdef bint all_plain
    cdef uint32_t failed      # how many calls have: goes with the result, whose reader may be unable to look at them

    def __cinit__(self):
        self.body, self.ends, self.codes = ByteBuffer(), ByteBuffer(), ByteBuffer()

    cdef int begin(self) except -1:
        self.body.size = self.ends.size = self.codes.size = 0
        self.body.append(b"\x80\x05](", 4)
        self.all_plain = True
        self.failed = 0
        return 0

    cdef bint add_plain(self, value) except -1:
        """Write a value if it is plain."""
        cdef char *at = self.body.need(ITEM_ROOM)
        at = write_plain(at, at + ITEM_ROOM, value)
        if at == NULL:
            return False
        self.body.size = at - self.body.start
        self.note(PLAIN_ITEM | STATUS_OK)
        return True

    cdef int add(self, int status, bytes data) except -1:
        self.all_plain = False
        self.failed += status != STATUS_OK
        self.body.append(PyBytes_AS_STRING(data), len(data))
        return self.note(status)

    cdef int note(self, int code) except -1:
        cdef uint32_t end
        if self.body.size >= 0xFFFFFF00:
            raise OverflowError("the results of one chunk are larger than 4 GiB")
        end = <uint32_t>(self.body.size - 4)
        (<uint32_t *>self.ends.need(4))[0] = end
        self.ends.size += 4
        self.codes.need(1)[0] = <char>code
        self.codes.size += 1
        return 0

    cdef bytes finish(self):
        """The payload; FLAG_PLAIN goes with it if `all_plain`."""
        if self.all_plain:
            self.body.append(b"e.", 2)
            return PyBytes_FromStringAndSize(self.body.start, self.body.size)
        return (self.ends.start[:self.ends.size] + self.codes.start[:self.codes.size]
                + self.body.start[4:self.body.size])


def read_chunk(data, bint plain, uint32_t items, load):
    """The results of a chunk, in order. Calls load(status, payload) for what is not plain; it returns or raises."""
    cdef const unsigned char[:] view = data
    cdef const char *start = <const char *>&view[0]
    cdef size_t size = view.shape[0]
    cdef uint32_t *ends
    cdef const unsigned char *codes
    cdef const char *body
    cdef const unsigned char *at
    cdef uint32_t i
    cdef uint32_t first = 0
    cdef list values
    cdef object value
    if plain:
        values = read_plain_list(start, size)
        if PyList_GET_SIZE(values) != items:
            raise ValueError(f"a chunk of {items} calls has {PyList_GET_SIZE(values)} results")
        return values
    if size < 5 * <size_t>items:
        raise ValueError("the results of a chunk are too short")
    ends = <uint32_t *>start
    codes = <const unsigned char *>start + 4 * <size_t>items
    body = start + 5 * <size_t>items
    values = []
    for i in range(items):
        if ends[i] < first or ends[i] > size - 5 * <size_t>items:
            raise ValueError("the results of a chunk make no sense")
        if codes[i] & PLAIN_ITEM:
            at = <const unsigned char *>body + first
            value = read_value(&at, <const unsigned char *>body + ends[i])
            if value is NotImplemented:
                raise ValueError("a result in a chunk that is said to be plain, and is not")
        else:
            value = load(<int>codes[i], PyBytes_FromStringAndSize(body + first, ends[i] - first))
        values.append(value)
        first = ends[i]
    return values
