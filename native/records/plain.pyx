# Plain values, pickled and unpickled without the pickler.
#
# A pickler costs 270 ns to set up and an unpickler 190 ns, more than all the rest of a tiny task. Tuples of a few None,
# bool, int, float, short str and bytes are written here directly as the same opcodes, and read back by the few opcodes
# they use. What comes out is an ordinary pickle (protocol 5, without frame and memo), so any unpickler reads it; what
# is not plain goes to pickle. Opcodes: Lib/pickletools.py.

from cpython.ref cimport PyObject, Py_INCREF, Py_DECREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.float cimport PyFloat_AS_DOUBLE

cdef enum:
    PLAIN_ROOM = 256      # the largest plain pickle


cdef char *write_plain(char *at, char *end, object value) except? NULL:
    """Opcodes of one value; NULL if it is not plain or does not fit."""
    cdef long long number
    cdef int overflow = 0
    cdef Py_ssize_t size
    cdef const char *text
    cdef uint64_t bits
    cdef double real
    cdef int i
    if end - at < 16:
        return NULL
    if value is None:
        at[0] = b'N'
        return at + 1
    if value is True:
        at[0] = <char>0x88
        return at + 1
    if value is False:
        at[0] = <char>0x89
        return at + 1
    if type(value) is int:
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow:
            return NULL
        if 0 <= number < 256:
            at[0] = b'K'
            at[1] = <char>number
            return at + 2
        if -0x80000000 <= number <= 0x7FFFFFFF:
            at[0] = b'J'
            for i in range(4):
                at[1 + i] = <char>(number >> (8 * i))
            return at + 5
        at[0] = <char>0x8A
        at[1] = 8
        for i in range(8):
            at[2 + i] = <char>(number >> (8 * i))
        return at + 10
    if type(value) is float:
        real = PyFloat_AS_DOUBLE(value)
        memcpy(&bits, &real, 8)
        at[0] = b'G'
        for i in range(8):
            at[1 + i] = <char>(bits >> (56 - 8 * i))
        return at + 9
    if type(value) is str:
        try:
            text = PyUnicode_AsUTF8AndSize(value, &size)
        except UnicodeEncodeError:
            return NULL
        if size > 255 or size + 2 > end - at:
            return NULL
        at[0] = <char>0x8C
        at[1] = <char>size
        memcpy(at + 2, text, size)
        return at + 2 + size
    if type(value) is bytes:
        size = PyBytes_GET_SIZE(value)
        if size > 255 or size + 2 > end - at:
            return NULL
        at[0] = b'C'
        at[1] = <char>size
        memcpy(at + 2, PyBytes_AS_STRING(value), size)
        return at + 2 + size
    return NULL


cdef uint32_t plain_value(char *buffer, object value) except? 0:
    """The pickle of a plain value; its length, or 0."""
    cdef char *at
    buffer[0] = <char>0x80
    buffer[1] = 5
    at = write_plain(buffer + 2, buffer + PLAIN_ROOM - 8, value)
    if at == NULL:
        return 0
    at[0] = b'.'
    return <uint32_t>(at + 1 - buffer)


cdef uint32_t plain_tuple(char *buffer, tuple values) except? 0:
    """The pickle of a tuple of at most three plain values; its length, or 0."""
    cdef Py_ssize_t n = PyTuple_GET_SIZE(values)
    cdef Py_ssize_t i
    cdef char *at = buffer + 2
    if n > 3:
        return 0
    buffer[0] = <char>0x80
    buffer[1] = 5
    for i in range(n):
        at = write_plain(at, buffer + PLAIN_ROOM - 8, <object>PyTuple_GET_ITEM(values, i))
        if at == NULL:
            return 0
    at[0] = b')' if n == 0 else <char>(0x84 + n)
    at[1] = b'.'
    return <uint32_t>(at + 2 - buffer)


cdef object read_value(const unsigned char **cursor, const unsigned char *end):
    """The value of the opcode at the cursor, which moves past it; NotImplemented if that is no plain value."""
    cdef const unsigned char *at = cursor[0]
    cdef unsigned char op
    cdef uint64_t bits = 0
    cdef double real
    cdef int i
    if at >= end:
        return NotImplemented
    op = at[0]
    at += 1
    if op == 0x4B and end - at >= 1:
        cursor[0] = at + 1
        return <long>at[0]
    if op == 0x4D and end - at >= 2:
        cursor[0] = at + 2
        return <long>(at[0] | at[1] << 8)
    if op == 0x4A and end - at >= 4:
        cursor[0] = at + 4
        return <long><int>(<uint32_t>at[0] | <uint32_t>at[1] << 8 | <uint32_t>at[2] << 16 | <uint32_t>at[3] << 24)
    if op == 0x47 and end - at >= 8:
        for i in range(8):
            bits = bits << 8 | at[i]
        memcpy(&real, &bits, 8)
        cursor[0] = at + 8
        return real
    if op == 0x4E or op == 0x88 or op == 0x89:
        cursor[0] = at
        return None if op == 0x4E else op == 0x88
    if op == 0x8A and end - at >= 9 and at[0] == 8:
        for i in range(8):
            bits |= <uint64_t>at[1 + i] << (8 * i)
        cursor[0] = at + 9
        return <long long>bits
    if op == 0x8C and end - at >= 1 and end - at > at[0]:
        cursor[0] = at + 1 + at[0]
        return PyUnicode_DecodeUTF8(<const char *>at + 1, at[0], "surrogatepass")
    if op == 0x43 and end - at >= 1 and end - at > at[0]:
        cursor[0] = at + 1 + at[0]
        return PyBytes_FromStringAndSize(<const char *>at + 1, at[0])
    if op == 0x29:
        cursor[0] = at
        return ()
    return NotImplemented


cdef object read_plain(const char *data, uint32_t size):
    """The value of a plain pickle, a tuple of up to three included; NotImplemented if it is any other."""
    cdef object first = None
    cdef object second = None
    cdef object third = None
    cdef object value
    cdef int depth = 0
    cdef const unsigned char *at = <const unsigned char *>data + 2
    cdef const unsigned char *end = <const unsigned char *>data + size
    if size < 4 or data[0] != <char>0x80:
        return NotImplemented
    while at < end:
        if at[0] == 0x2E:
            return first if depth == 1 and at + 1 == end else NotImplemented
        if 0x85 <= at[0] <= 0x87:
            if depth != at[0] - 0x84:
                return NotImplemented
            if depth == 1:
                first = (first,)
            elif depth == 2:
                first = (first, second)
            else:
                first = (first, second, third)
            depth = 1
            at += 1
            continue
        value = read_value(&at, end)
        if value is NotImplemented:
            return NotImplemented
        if depth == 0:
            first = value
        elif depth == 1:
            second = value
        elif depth == 2:
            third = value
        else:
            return NotImplemented
        depth += 1
    return NotImplemented
