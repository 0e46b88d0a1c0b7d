# Inputs: how a payload names the tasks whose results it needs, and how these results stand in it for the worker.
#
# With FLAG_INPUTS a payload has, behind the places of its objects and before its pickle, on the way
#
#   to the core                                      to a worker
#
#   0   count of inputs                              0   count of inputs
#   4   how many of them, the first, were promised   4   bytes of the section behind this header; 0 with a count:
#   8   dependants that are promised                     the section is an object (PLACE_INPUT | PLACE_STREAM)
#   12  INPUTS_INNER and so on, status << 16    8   the section: for each input
#   16  ids[count]                                           0  bytes
#                                                            4  flags of the result
#                                                            8  the result, padded to 8; with FLAG_OBJECTS nothing:
#                                                               it is the next place with PLACE_INPUT
#
# In the pickle input k is `load_input(k)`, or, where all arguments are plain values and inputs, BINPERSID with the
# number k (write_template), which is read back without an unpickler.
#
# Rule 1: what a payload says of itself is checked before anything is taken from it.
# Not here: which tasks wait for which (edges), what load_input does (scaler.values.reference).

cpdef enum:
    MOST_INPUTS = 400         # of one task: with so many places its record still fits any ring

cdef enum:
    INPUTS_HEADER_BYTES = 16
    SECTION_HEADER_BYTES = 8
    ENTRY_HEADER_BYTES = 8
    INPUTS_INNER = 1          # its result is for other tasks only
    INPUTS_SUPPLY = 2         # no task: the result of the task with this id, which the client has read already
    INPUTS_GIVE_UP = 4        # no task: of the task with this id no dependants will come any more
    INPUTS_HANDED_IN = 8      # those of its promised inputs that are not there will be handed in


cdef packed struct Inputs:
    uint32_t count
    uint32_t expected
    uint32_t promised
    uint32_t about


cdef inline size_t inputs_offset(const char *payload, int flags) noexcept nogil:
    """Where the inputs begin in a payload whose places have been checked."""
    cdef uint32_t count
    if not flags & FLAG_OBJECTS:
        return 0
    memcpy(&count, payload, 4)
    return PLACES_OFFSET + <size_t>count * PLACE_BYTES


cdef bint read_inputs(Inputs *inputs, const char *payload, size_t size, int flags) noexcept nogil:
    """What the payload says on its way to the core. False if it makes no sense."""
    cdef size_t offset
    if flags & FLAG_OBJECTS and places_in(payload, size) < 0:
        return False
    offset = inputs_offset(payload, flags)
    if size - offset < INPUTS_HEADER_BYTES:
        return False
    memcpy(inputs, payload + offset, INPUTS_HEADER_BYTES)
    return (inputs.count <= MOST_INPUTS and inputs.expected <= inputs.count
            and inputs.count <= (size - offset - INPUTS_HEADER_BYTES) // 8)


cdef inline uint64_t input_id(const char *payload, size_t offset, uint32_t k) noexcept nogil:
    cdef uint64_t task
    memcpy(&task, payload + offset + INPUTS_HEADER_BYTES + 8 * <size_t>k, 8)
    return task


def pack_inputs(ids, uint32_t expected, uint32_t promised, bint inner):
    """The bytes before the pickle of a task with inputs: the first `expected` ids were promised to be named."""
    cdef uint32_t count = <uint32_t>len(ids)
    cdef bytes data = PyBytes_FromStringAndSize(NULL, INPUTS_HEADER_BYTES + 8 * <size_t>count)
    cdef Inputs *inputs = <Inputs *>PyBytes_AS_STRING(data)
    cdef uint64_t task
    cdef uint32_t k = 0
    inputs.count, inputs.expected, inputs.promised, inputs.about = count, expected, promised, INPUTS_INNER if inner else 0
    for task in ids:
        memcpy(<char *>inputs + INPUTS_HEADER_BYTES + 8 * <size_t>k, &task, 8)
        k += 1
    return data


def pack_supply(int status):
    """The bytes before a result that is handed in later."""
    cdef Inputs inputs
    memset(&inputs, 0, sizeof(Inputs))
    inputs.about = INPUTS_SUPPLY | <uint32_t>status << 16
    return (<char *>&inputs)[:INPUTS_HEADER_BYTES]


def pack_give_up():
    """The whole payload that says that no dependants of a task will come any more."""
    cdef Inputs inputs
    memset(&inputs, 0, sizeof(Inputs))
    inputs.about = INPUTS_GIVE_UP
    return (<char *>&inputs)[:INPUTS_HEADER_BYTES]


# arguments that are plain values and inputs

@cython.final
cdef class InputSlot:
    """Stands for input `number` among the arguments of a task."""
    cdef readonly uint32_t number
    cdef object load

    def __init__(self, uint32_t number, load):
        self.number, self.load = number, load

    def __reduce__(self):
        return self.load, (self.number,)


cdef uint32_t write_template(char *buffer, tuple values) except? 0:
    """The pickle of a tuple of at most three plain values and InputSlots; its length, or 0."""
    cdef Py_ssize_t n = PyTuple_GET_SIZE(values)
    cdef Py_ssize_t i
    cdef uint32_t number
    cdef char *at = buffer + 2
    cdef char *end = buffer + PLAIN_ROOM - 8
    if n > 3:
        return 0
    buffer[0] = <char>0x80
    buffer[1] = 5
    for i in range(n):
        value = <object>PyTuple_GET_ITEM(values, i)
        if type(value) is InputSlot:
            number = (<InputSlot>value).number
            if end - at < 16:
                return 0
            at[0] = b'M'
            at[1] = <char>(number & 255)
            at[2] = <char>(number >> 8)
            at[3] = b'Q'
            at += 4
        else:
            at = write_plain(at, end, value)
            if at == NULL:
                return 0
    at[0] = b')' if n == 0 else <char>(0x84 + n)
    at[1] = b'.'
    return <uint32_t>(at + 2 - buffer)


@cython.final
cdef class TaskInput:
    """The result of another task, as it came: `flags`, and its bytes or the Loan of the object it is."""
    cdef readonly int flags
    cdef readonly object raw


cdef object plain_input(TaskInput given):
    """Its value, if it is plain; else NotImplemented."""
    cdef bytes raw
    if given.flags != FLAG_PLAIN:
        return NotImplemented
    raw = given.raw
    return read_plain(PyBytes_AS_STRING(raw), <uint32_t>len(raw))


cdef object read_template(const char *data, size_t size, list inputs, loads):
    """The tuple that write_template wrote, with `loads(input)` in its places; NotImplemented if it is anything else."""
    cdef const unsigned char *at = <const unsigned char *>data + 2
    cdef const unsigned char *end = <const unsigned char *>data + size
    cdef uint32_t number
    cdef list values = []
    cdef dict known = None
    if size < 4 or data[0] != <char>0x80:
        return NotImplemented
    while at < end:
        if at[0] == 0x2E:
            return NotImplemented
        if 0x85 <= at[0] <= 0x87 or (at[0] == 0x29 and not values):
            return tuple(values) if len(values) == (at[0] - 0x84 if at[0] != 0x29 else 0) and at + 2 == end else NotImplemented
        if at[0] == 0x4D and end - at > 4 and at[3] == 0x51:
            number = at[1] | <uint32_t>at[2] << 8
            if number >= <uint32_t>len(inputs):
                return NotImplemented
            at += 4
            if known is None:
                known = {}
            if number not in known:
                value = plain_input(inputs[number])
                known[number] = loads(inputs[number]) if value is NotImplemented else value
            values.append(known[number])
            continue
        value = read_value(&at, end)
        if value is NotImplemented:
            return NotImplemented
        values.append(value)
    return NotImplemented


# in the worker

cdef list unpack_inputs(const char *payload, size_t size, int flags, list loans, size_t *end):
    """The inputs of a task that has come to a worker, and where its pickle begins. ValueError if they make no sense."""
    cdef size_t offset
    cdef size_t at
    cdef size_t section_bytes
    cdef uint32_t count, k, length, inline_bytes, input_flags
    cdef TaskInput one
    cdef Loan loan
    cdef list given = []
    cdef list objects = []
    cdef const char *section
    cdef const unsigned char[:] spilled
    if flags & FLAG_OBJECTS and places_in(payload, size) < 0:
        raise ValueError("a task's objects do not fit its payload")
    offset = inputs_offset(payload, flags)
    if size - offset < SECTION_HEADER_BYTES:
        raise ValueError("a task's inputs do not fit its payload")
    memcpy(&count, payload + offset, 4)
    memcpy(&inline_bytes, payload + offset + 4, 4)
    if inline_bytes > size - offset - SECTION_HEADER_BYTES:
        raise ValueError("a task's inputs do not fit its payload")
    section_bytes = inline_bytes
    end[0] = offset + SECTION_HEADER_BYTES + inline_bytes
    section = payload + offset + SECTION_HEADER_BYTES
    for loan in loans:
        if loan.place.flags & PLACE_INPUT:
            if loan.place.flags & PLACE_STREAM:
                spilled = loan.open(False)
                section, section_bytes = <const char *>&spilled[0], <size_t>spilled.shape[0]
            else:
                objects.append(loan)
    at = 0
    objects.reverse()
    for k in range(count):
        if section_bytes - at < ENTRY_HEADER_BYTES:
            raise ValueError("a task's inputs are cut off")
        memcpy(&length, section + at, 4)
        memcpy(&input_flags, section + at + 4, 4)
        at += ENTRY_HEADER_BYTES
        one = TaskInput.__new__(TaskInput)
        one.flags = <int>input_flags
        if input_flags & FLAG_OBJECTS:
            if not objects:
                raise ValueError("a task's inputs are objects that it does not name")
            one.raw = objects.pop()
        else:
            if (<size_t>length + 7) & ~<size_t>7 > section_bytes - at:
                raise ValueError("a task's inputs are cut off")
            one.raw = PyBytes_FromStringAndSize(section + at, length)
            at += (<size_t>length + 7) & ~<size_t>7
        given.append(one)
    return given
