# Loan: bytes of an object that this process reads, out of somebody's store.
#
# They come read-only, or as this process's own: a small object is copied out, since that costs less than a mapping; a
# large one is mapped copy-on-write (mapping).
#
# Each view of the bytes (an array, a memoryview) holds the Loan, so a Loan that is gone means that nobody looks any
# more, and only then may its slot be given out again. So nothing is ever changed under a view.
#
# Rule 1: what others may free while somebody still looks is made this process's own first: before it forks, and when it
#         leaves. What is read-only cannot be: it is not given back once this process has forked.
# Rule 2: a Loan may end at any moment, in any thread that holds the GIL, in the middle of anything: it notes its id and
#         puts its mapping aside, and that is all.
# Not here: how that is told (client, worker), what the bytes mean (scaler.values.payload).

@cython.no_gc  # what it refers to refers to no Loan; and it must still have its Mappings when it ends
cdef class Loan:
    """The bytes of one object: a buffer, once `open` has been called."""
    cdef Place place
    cdef Mappings mappings
    cdef Mapping shared
    cdef Mapping pinned           # where it lies, whatever becomes of the segment's name
    cdef Loan base                # of the same object: that one says when nobody looks any more
    cdef char *start
    cdef void *own                # private memory, allocated
    cdef PrivateMapping *own_mapping
    cdef uint64_t number          # of this process's loans
    cdef bint is_counted
    cdef bint is_unread           # counted, and not yet opened
    cdef bint is_writable

    def __dealloc__(self):
        free(self.own)
        if self.own_mapping != NULL:
            self.mappings.put_aside(self.own_mapping)
        self.note_read()
        self.end_count()

    cdef void count(self) noexcept:
        self.is_counted = self.is_unread = True
        self.mappings.open_loans += 1
        self.mappings.unread_loans += 1

    cdef inline void note_read(self) noexcept:
        if self.is_unread:
            self.is_unread = False
            self.mappings.unread_loans -= 1

    @property
    def object(self):
        return self.place.object

    @property
    def flags(self):
        return self.place.flags

    def open(self, bint is_private):
        """Have the bytes at hand, read-only or as this process's own. OSError, ValueError if they are not there."""
        cdef Mapping mapping
        cdef size_t size = self.place.size
        cdef size_t offset = self.place.offset
        cdef PrivateMapping *own
        if self.start != NULL:
            return self
        if self.mappings.has_left:
            raise OSError("the client has left before it was read")
        mapping = self.pinned if self.pinned is not None else self.mappings.find(self.place.segment)
        if self.mappings.has_left:            # while other threads ran
            raise OSError("the client has left before it was read")
        if offset > mapping.size or size > mapping.size - offset:
            raise ValueError(f"object {self.place.object:#x} does not lie in its segment {mapping.name}: "
                             f"{offset} + {size} bytes of {mapping.size}")
        if is_private and size >= PRIVATE_MAP_BYTES and (self.pinned is None or Segment.exists(mapping.name)):
            own = self.mappings.map_private(&self.place, mapping)
            if self.start != NULL or self.mappings.has_left:    # another thread was faster, or left meanwhile
                self.mappings.put_aside(own)
                if self.start == NULL:
                    raise OSError("the client has left before it was read")
                return self
            self.own_mapping = own
            self.is_writable = True
            self.start = own.start + offset % PAGE
        elif self.start != NULL:
            return self
        elif is_private:
            self.own = malloc(size if size else 1)
            if self.own == NULL:
                raise MemoryError(f"no memory for {size} bytes")
            memcpy(self.own, mapping.start + offset, size)
            self.is_writable = True
            self.start = <char *>self.own
            self.end_count()
            self.base = None
        else:
            self.shared = mapping
            self.start = mapping.start + offset
        self.note_read()
        return self

    cdef int pin(self) except -1:
        """Hold the segment, so that it can be opened when its name is gone."""
        try:
            self.pinned = self.mappings.find(self.place.segment)
        except (OSError, ValueError):
            pass                              # opening it says why
        return 0

    cdef void end_count(self) noexcept:
        """This process has all it wants of the object."""
        if self.is_counted:
            self.is_counted = False
            self.mappings.open_loans -= 1
            if not self.is_forked() and self.number > self.mappings.old_loans:
                self.mappings.given_back.add(self.place.object)

    cdef inline bint is_forked(self) noexcept:
        """A forked child may have a view of it, of which nobody will hear: it is held until this process ends."""
        return self.shared is not None and self.number <= self.mappings.forked_loans

    def __getbuffer__(self, Py_buffer *view, int flags):
        if self.start == NULL:
            raise BufferError("this object has not been opened")
        PyBuffer_FillInfo(view, self, self.start, self.place.size, not self.is_writable, flags)


def read_packed(buffer not None):
    """(pickle, [buffers]) of a packed object, as views into it; ValueError if it is none."""
    cdef size_t size
    cdef size_t count, i, start, length
    view = memoryview(buffer)
    size = view.nbytes
    if size < PACKED_HEADER_BYTES:
        raise ValueError(f"an object of {size} bytes is no packed one")
    header = view.cast("Q") if size % 8 == 0 else view[:size // 8 * 8].cast("Q")
    length, count = header[0], header[1]
    if count > (size - PACKED_HEADER_BYTES) // 16 or length > size - PACKED_HEADER_BYTES - 16 * count:
        raise ValueError("an object's parts do not lie inside it")
    stream = view[PACKED_HEADER_BYTES + 16 * count:PACKED_HEADER_BYTES + 16 * count + length]
    buffers = []
    for i in range(count):
        start, length = header[2 + 2 * i], header[3 + 2 * i]
        if start > size or length > size - start:
            raise ValueError("an object's parts do not lie inside it")
        buffers.append(view[start:start + length])
    return stream, buffers


cdef tuple borrow_all(Mappings mappings, const char *payload, size_t size, list loans, bint is_counted, list bases=None):
    """(pickle, the buffers it left out, the objects of its references) of a payload; `loans` gets all, in its order.

    `bases` are loans of the same objects, which go on as long as one of these does.
    """
    cdef int64_t count = places_in(payload, size)
    cdef Place *place
    cdef Loan loan
    cdef int64_t i
    cdef list buffers = []
    cdef list references = []
    cdef object stream
    if count < 0:
        raise ValueError(f"a payload of {size} bytes is too short for the objects it names")
    stream = PyBytes_FromStringAndSize(payload + stream_offset(count), size - stream_offset(count))
    for i in range(count):                             # all of them first: each is given back, whatever fails
        loans.append(mappings.lend(place_at(payload, i), is_counted))
    for i in range(count):
        place = place_at(payload, i)
        loan = loans[i]
        if bases is not None:
            loan.base = bases[i]
            loan.pinned = loan.base.pinned
        if place.flags & PLACE_INPUT:
            continue                                  # unpack_inputs finds it among the loans
        if place.flags & PLACE_SHARED:
            loan.pin()                                # it is opened when it is come across
            references.append(loan)
        elif place.flags & PLACE_PACKED:
            stream, buffers = read_packed(loan.open(True))
        elif place.flags & PLACE_STREAM:
            stream = loan.open(False)
        else:
            buffers.append(loan.open(True))
    return stream, buffers, references


@cython.final
cdef class FunctionObjects:
    """What a function carries: lent to this worker once, and given back when neither this nor a view is there any more.

    `parts()` gives (pickle, buffers, references), anew each time: what is done to the ones the next do not show.
    """
    cdef Mappings mappings
    cdef bytes payload
    cdef list bases

    def __init__(self, Mappings mappings not None, bytes payload not None):
        cdef const char *at = PyBytes_AS_STRING(payload)
        cdef size_t size = len(payload)
        cdef Loan loan
        cdef int64_t i
        self.mappings, self.payload, self.bases = mappings, payload, []
        for i in range(max(places_in(at, size), <int64_t>0)):
            loan = mappings.lend(place_at(at, i), True)
            self.bases.append(loan)
            loan.pin()

    def parts(self):
        return borrow_all(self.mappings, PyBytes_AS_STRING(self.payload), len(self.payload), [], False, self.bases)


cdef int give_back_all(Mappings mappings, const char *payload, size_t size) except -1:
    """The objects of a function's payload will not be borrowed after all."""
    cdef int64_t i
    for i in range(places_in(payload, size)):
        mappings.give_back(place_at(payload, i).object)
    return 0


cdef bint write_release(Ring ring, IdList ids):
    """Say as much of the list as the ring has room for. True if a record was written."""
    cdef size_t most = ring.largest_payload() // 8
    cdef size_t count
    cdef Record *record
    cdef bint written = False
    while ids.length:
        count = min(ids.length, most)
        record = ring.reserve(<uint32_t>(8 * count))
        if record == NULL:
            break
        fill_record(record, KIND_RELEASE, 0, 0, 0, 0, 0, 0, 0)
        memcpy(payload_of(record), ids.ids, 8 * count)
        ring.commit()
        ids.drop_first(count)
        written = True
    return written


cdef int free_all(Store store, bytes ids) except -1:
    """Nobody holds these objects of ours any more."""
    cdef uint64_t object
    cdef Py_ssize_t i
    for i in range(len(ids) // 8):
        memcpy(&object, PyBytes_AS_STRING(ids) + 8 * i, 8)
        store.free(object)
    return 0
