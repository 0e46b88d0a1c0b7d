# Store: where one process keeps the objects it makes, in shared memory that is used again.
#
# Fresh pages cost ten times a warm copy, so what was freed is kept and given out again, last freed first. Objects of
# more than AREA_BYTES have a segment each, smaller ones share segments cut into equal slots: a slot is free again
# whatever its neighbours do, so one small object that stays pins one segment and not the memory of many.
#
# Rule 1: an object's bytes are written once. Its slot is given out again only after `free`, which is called when nobody
#         anywhere holds the object (the table of the scheduler's core knows).
# Rule 2: a segment's number is never used twice, so a process that has mapped it may keep the mapping for ever.
# Rule 3: no room in /dev/shm, more than `most_bytes` in it, or no /dev/shm to be used: files in `folder`, with one
#         warning. No room there either is OSError, and nothing has changed.
# Rule 4: one thread at a time makes objects (`making`); any may free some, or trim, while the other waits for the kernel.
#         Nobody's code but ours runs while a thread has that lock: the handler of a signal, which would run on the stack
#         that has it, may wait for what another thread is to make.
# Not here: reading (loan), which objects are held (objects), what the bytes mean (scaler.values.payload).

cdef enum:
    GROWTH_BYTES = 1 << 22           # pages are allocated for as much again as there is, but at most for so much
    AREA_BYTES = 1 << 20             # larger objects have a segment of their own
    SLOTS_PER_AREA = 8
    LEAST_AREA_BYTES = 1 << 16
    LEAST_SLOT_BYTES = 256
    BUFFER_ALIGNMENT = 64
    PACKED_HEADER_BYTES = 16

cdef uint64_t POOL_NS = 60000000000  # what nobody has used for so long is given back
cdef uint64_t PRESSED_NS = 1000000000    # the same while /dev/shm is nearly full
cdef uint64_t TRIM_NS = 500000000   # how often a process looks after its memory
cdef uint64_t ROOM_NS = 1000000000  # how long to try again for room that others may just be giving up: they look that often
cdef size_t POOL_BYTES = <size_t>2 << 30


cdef class Area:
    """A segment of the store, cut into slots of one size."""
    cdef Segment memory
    cdef uint64_t segment
    cdef size_t slot_bytes
    cdef uint32_t used               # slots
    cdef uint64_t idle_since_ns      # when the last slot was freed
    cdef size_t allocated            # so much of it, from the beginning, has pages
    cdef bint is_retired             # of a scheduler that is gone: no slot of it is given out again


cdef class Slot:
    cdef Area area
    cdef size_t offset
    cdef size_t size                 # of the object in it
    cdef bint is_lasting             # no end of a task will free it


cdef inline size_t slot_bytes_for(size_t size) noexcept nogil:
    """Slots have 2**n or 1.5 * 2**n bytes; segments of one object are rounded up by at most an eighth."""
    cdef int power
    cdef size_t whole, step
    if size <= LEAST_SLOT_BYTES:
        return LEAST_SLOT_BYTES
    power = 64 - count_leading_zeros(size - 1)
    whole = <size_t>1 << power
    if size <= AREA_BYTES:
        return whole // 4 * 3 if size <= whole // 4 * 3 else whole
    step = whole >> 4
    return (size + step - 1) & ~(step - 1)


cdef inline size_t aligned(size_t offset) noexcept nogil:
    return (offset + BUFFER_ALIGNMENT - 1) & ~<size_t>(BUFFER_ALIGNMENT - 1)


cdef size_t packed_bytes(size_t stream_bytes, buffers) except 0:
    """How large a pickle and its buffers are as one packed object."""
    cdef size_t size = PACKED_HEADER_BYTES + 16 * <size_t>len(buffers) + stream_bytes
    for buffer in buffers:
        size = aligned(size) + <size_t>buffer.nbytes
    return size


cdef int write_packed(char *start, const unsigned char[:] stream, buffers) except -1:
    """Write them as one packed object, as layout.pxi draws it, into so many bytes."""
    cdef uint64_t *header = <uint64_t *>start
    cdef size_t count = len(buffers)
    cdef size_t offset = PACKED_HEADER_BYTES + 16 * count
    cdef size_t i
    header[0], header[1] = stream.shape[0], count
    copy_bytes(start + offset, stream)
    offset += stream.shape[0]
    for i in range(count):
        offset = aligned(offset)
        header[2 + 2 * i], header[3 + 2 * i] = offset, <uint64_t>buffers[i].nbytes
        copy_bytes(start + offset, buffers[i])
        offset += header[3 + 2 * i]
    return 0


cdef bint is_same(const char *ours, const unsigned char[:] data):
    cdef size_t size = data.shape[0]
    cdef const unsigned char *start
    cdef bint same
    if size == 0:
        return True
    start = &data[0]
    if size < UNLOCKED_COPY_BYTES:
        return memcmp(ours, start, size) == 0
    with nogil:
        same = memcmp(ours, start, size) == 0
    return same


cdef class Store:
    """The objects of one maker, whose ids begin with its `tag` (24 bits).

    `most_bytes` is how full /dev/shm may become by all that is in it; `on_files(path, error)` is called once, when the
    first file is used.
    """
    cdef str epoch, folder
    cdef readonly uint64_t tag
    cdef uint64_t next_object, next_segment
    cdef dict slots                  # object -> Slot
    cdef dict free_slots             # slot bytes -> [Slot]
    cdef dict areas                  # segment -> Area
    cdef object on_files
    cdef bint warned
    cdef object told                 # what `on_files` is still to be called with
    cdef object making               # held by the thread that makes an object
    cdef readonly uint64_t used_bytes    # in slots that hold an object
    cdef readonly uint64_t lasting_bytes # of these, in slots whose objects no end of a task will free
    cdef readonly uint64_t kept_bytes    # of all segments
    cdef public uint64_t most_bytes

    def __init__(self, str epoch not None, uint64_t tag, str folder not None, on_files=None, uint64_t most_bytes=0):
        if not 0 < tag < 1 << 24:
            raise ValueError(f"a store's tag has 24 bits, not {tag}")
        self.epoch, self.tag, self.folder, self.on_files = epoch, tag, folder, on_files
        self.next_object = self.next_segment = 1
        self.making = _thread.RLock()
        self.slots, self.free_slots, self.areas = {}, {}, {}
        self.most_bytes = most_bytes

    def __len__(self):
        """Objects that are there."""
        return len(self.slots)

    def __contains__(self, uint64_t object):
        return object in self.slots

    # making

    cdef Slot take(self, size_t size, bint grows=False):
        """A slot with room for so many bytes. OSError if there is none to be had.

        One that `grows` may be without pages: `allocate` comes before each write.
        """
        cdef size_t slot_bytes = slot_bytes_for(size)
        cdef list free = self.free_slots.get(slot_bytes)
        cdef Slot slot
        while not free:
            self.make_area(slot_bytes, grows)
            free = self.free_slots.get(slot_bytes)
        slot = free.pop()
        if not grows and slot.area.allocated < slot.area.memory.size:
            try:
                self.allocate_area(slot.area, slot.area.memory.size)
            except OSError:
                self.free_slots.setdefault(slot_bytes, []).append(slot)
                raise
        slot.size = size
        unpoison(slot.area.memory.start + slot.offset, size)
        slot.area.used += 1
        self.used_bytes += slot_bytes
        return slot

    cdef int allocate_area(self, Area area, size_t end) except -1:
        """Have pages up to there. OSError if there is no room for them."""
        if end > area.allocated:
            end = min(area.memory.size, max(end, area.allocated + min(area.allocated, <size_t>GROWTH_BYTES)))
            area.memory.allocate(area.allocated, end - area.allocated)
            area.allocated = end
        return 0

    def allocate(self, uint64_t object, size_t end):
        """The kernel has written an object that was reserved up to `end`. OSError if there is no room for that.

        In a segment that is shared that counts once the object is whole, since all before it gets pages with it.
        """
        cdef Slot slot = self.slots[object]
        if end == slot.size or slot.area.slot_bytes > AREA_BYTES:
            self.allocate_area(slot.area, slot.offset + end)

    cdef int make_area(self, size_t slot_bytes, bint grows=False) except -1:
        cdef Area area = Area.__new__(Area)
        cdef Slot slot
        cdef size_t offset = 0
        cdef size_t size = slot_bytes
        cdef list slots = []
        if slot_bytes <= AREA_BYTES:
            size = max(slot_bytes * SLOTS_PER_AREA, <size_t>LEAST_AREA_BYTES) // slot_bytes * slot_bytes
        try:
            self.make_segment(area, size, grows)
        except OSError:
            if size == slot_bytes:
                raise
            size = slot_bytes          # if not for eight, then for one
            self.make_segment(area, size, grows)
        area.allocated = 0 if grows else size
        poison(area.memory.start, size)
        area.slot_bytes = slot_bytes
        area.idle_since_ns = now_ns()
        self.areas[area.segment] = area
        self.kept_bytes += size
        while offset + slot_bytes <= size:
            slot = Slot.__new__(Slot)
            slot.area, slot.offset = area, offset
            slots.append(slot)
            offset += slot_bytes
        slots.reverse()
        if slot_bytes in self.free_slots:
            slots = self.free_slots[slot_bytes] + slots
        self.free_slots[slot_bytes] = slots
        return 0

    cdef int make_segment(self, Area area, size_t size, bint grows) except -1:
        if self.kept_bytes - self.used_bytes > POOL_BYTES:
            self.trim(now_ns(), True)
        if not self.is_full(size):
            try:
                self.create(area, size, self.next_segment, grows)
                return 0
            except OSError:
                pass                   # no room; or there is no /dev/shm that this process may use
        self.trim(now_ns(), True)      # what lies idle may be all that was missing
        try:
            if self.is_full(size):
                raise OSError(_errno.ENOSPC, f"/dev/shm may hold {self.most_bytes} bytes here")
            self.create(area, size, self.next_segment, grows)
        except OSError as error:
            self.create(area, size, self.next_segment | <uint64_t>1 << SEGMENT_FILE_BIT, grows)
            if not self.warned:
                self.warned = True
                self.told = area.memory.name, error
        return 0

    cdef int create(self, Area area, size_t size, uint64_t number, bint grows) except -1:
        cdef str epoch = self.epoch
        area.segment = number | self.tag << 32
        area.memory = Segment.create(area_name(epoch, self.folder, area.segment), size, grows)
        self.next_segment += 1
        if epoch is not self.epoch:      # others got on meanwhile
            self.rename(area)
        return 0

    cdef bint is_full(self, size_t more) except -1:
        """Whether so much more is over the limit for /dev/shm."""
        if self.most_bytes == 0:
            return False
        try:
            room = _os.statvfs("/dev/shm")
        except OSError:
            return False               # the thread that makes a segment there will see
        return (room.f_blocks - room.f_bfree) * room.f_frsize + more > self.most_bytes

    cdef bint is_pressed(self) except -1:
        """Whether /dev/shm is so full that others may soon want what lies idle here."""
        try:
            room = _os.statvfs("/dev/shm")
        except OSError:
            return False
        most = self.most_bytes if self.most_bytes else room.f_blocks * room.f_frsize
        return (room.f_blocks - room.f_bfree) * room.f_frsize > most // 4 * 3

    cdef tuple note(self, Slot slot, uint64_t object, uint32_t flags):
        if object == 0:
            object = self.tag << TAG_SHIFT | self.next_object
            self.next_object += 1
        self.slots[object] = slot
        return object, slot.area.segment, slot.offset, slot.size, flags

    cdef int tell_of_files(self) except -1:
        """Say that files are used, if that is still to be said: this may run others' code."""
        cdef tuple told = self.told
        self.told = None
        if told is not None and self.on_files is not None:
            self.on_files(*told)
        return 0

    def put(self, const unsigned char[:] data, uint32_t flags=0, bint is_lasting=False):
        """Keep one buffer: its place (object, segment, offset, size, flags). OSError if there is no room."""
        self.making.acquire()
        try:
            place = self.make(data, flags, is_lasting)
        finally:
            self.making.release()
        if self.told is not None:
            self.tell_of_files()
        return place

    def put_packed(self, const unsigned char[:] stream, buffers not None, uint32_t flags=0):
        """Keep a pickle and its buffers as one object: its place. OSError if there is no room."""
        self.making.acquire()
        try:
            place = self.make_packed(stream, buffers, flags)
        finally:
            self.making.release()
        if self.told is not None:
            self.tell_of_files()
        return place

    cdef tuple make(self, const unsigned char[:] data, uint32_t flags, bint is_lasting):
        cdef Slot slot = self.take(data.shape[0])
        cdef Segment memory = None
        slot.is_lasting = is_lasting
        if is_lasting:
            self.lasting_bytes += slot.area.slot_bytes
        while memory is not slot.area.memory:     # which may be replaced while others run
            memory = slot.area.memory
            copy_bytes(memory.start + slot.offset, data)
        return self.note(slot, 0, flags)

    cdef tuple make_packed(self, const unsigned char[:] stream, buffers, uint32_t flags):
        cdef Segment memory = None
        cdef Slot slot = self.take(packed_bytes(stream.shape[0], buffers))
        try:
            while memory is not slot.area.memory:     # which may be replaced while others run
                memory = slot.area.memory
                write_packed(memory.start + slot.offset, stream, buffers)
        except BaseException:
            self.free(self.note(slot, 0, 0)[0])    # a buffer that is none: its slot is another's
            raise
        return self.note(slot, 0, flags | PLACE_PACKED)

    def reserve(self, uint64_t object, size_t size):
        """Room for an object that is filled by and by (`fill`), under an id of somebody else's or, if it is 0, of this
        store's: its place. OSError if there is no room."""
        if object in self.slots:
            raise ValueError(f"object {object:#x} is here already")
        place = self.note(self.take(size, True), object, 0)
        if self.told is not None:
            self.tell_of_files()
        return place

    def open(self, uint64_t object):
        """The bytes of an object that was reserved, to be written: what was not allocated before, by the kernel only."""
        cdef Slot slot = self.slots[object]
        return memoryview(slot.area.memory)[slot.offset:slot.offset + slot.size]

    def fill(self, uint64_t object, size_t offset, const unsigned char[:] data):
        """Write a part of an object that was reserved. OSError if there is no room for it."""
        cdef Slot slot = self.slots[object]
        cdef size_t size = data.shape[0]
        if offset > slot.size or size > slot.size - offset:
            raise ValueError(f"object {object:#x} has {slot.size} bytes: {size} at {offset} do not lie in it")
        self.allocate_area(slot.area, slot.offset + offset + size)
        copy_bytes(slot.area.memory.start + slot.offset + offset, data)

    # what is there

    def is_equal(self, uint64_t object, const unsigned char[:] data):
        """Whether this object is a buffer of just these bytes."""
        cdef Slot slot = self.slots.get(object)
        return (slot is not None and slot.size == <size_t>data.shape[0]
                and is_same(slot.area.memory.start + slot.offset, data))

    def is_packed_equal(self, uint64_t object, const unsigned char[:] stream, buffers not None):
        """Whether this object was packed of just these parts."""
        cdef Slot slot = self.slots.get(object)
        cdef uint64_t *header
        cdef char *start
        cdef size_t count = len(buffers)
        cdef size_t i
        if slot is None:
            return False
        start = slot.area.memory.start + slot.offset
        header = <uint64_t *>start
        if header[0] != <size_t>stream.shape[0] or header[1] != count:
            return False
        for i in range(count):
            if header[3 + 2 * i] != <uint64_t>buffers[i].nbytes:
                return False
        if not is_same(start + PACKED_HEADER_BYTES + 16 * count, stream):
            return False
        for i in range(count):
            if not is_same(start + header[2 + 2 * i], buffers[i]):
                return False
        return True

    def place_of(self, uint64_t object):
        """(object, segment, offset, size, 0); KeyError if it is not here."""
        cdef Slot slot = self.slots[object]
        return object, slot.area.segment, slot.offset, slot.size, 0

    def bytes_of(self, uint64_t object):
        """What this object takes, room to spare included; KeyError if it is not here."""
        cdef Slot slot = self.slots[object]
        return slot.area.slot_bytes

    # the end of objects

    def free(self, uint64_t object):
        """Nobody holds this object any more. False if it was gone already."""
        cdef Slot slot = self.slots.pop(object, None)
        cdef Area area
        if slot is None:
            return False
        area = slot.area
        poison(area.memory.start + slot.offset, area.slot_bytes)
        area.used -= 1
        self.used_bytes -= area.slot_bytes
        if slot.is_lasting:
            slot.is_lasting = False
            self.lasting_bytes -= area.slot_bytes
        if not area.is_retired:
            (<list>self.free_slots.setdefault(area.slot_bytes, [])).append(slot)
            if area.used == 0:
                area.idle_since_ns = now_ns()
        elif area.used == 0 and area.segment in self.areas:
            self.remove(area)
        return True

    def trim(self, uint64_t now, bint everything=False):
        """Give back segments that nobody has used for a while, or all that are idle: asked to, or too many of them.

        How many bytes that was.
        """
        cdef Area area
        cdef uint64_t given_back = 0
        cdef list idle = [area for area in self.areas.values() if area.used == 0]
        cdef uint64_t most_ns = POOL_NS
        if idle and not everything:
            everything = self.kept_bytes - self.used_bytes > POOL_BYTES
            most_ns = PRESSED_NS if self.is_pressed() else POOL_NS
        if not everything:
            idle = [area for area in idle if now > area.idle_since_ns + most_ns]
        for area in idle:
            if area.used == 0 and area.segment in self.areas:    # removing one lets other threads run
                given_back += area.memory.size
                self.remove(area)
        return given_back

    cdef remove(self, Area area):
        cdef Slot slot
        cdef list free = [slot for slot in self.free_slots.get(area.slot_bytes, ()) if slot.area is not area]
        if free:
            self.free_slots[area.slot_bytes] = free
        else:
            self.free_slots.pop(area.slot_bytes, None)
        del self.areas[area.segment]
        self.kept_bytes -= area.memory.size
        Segment.unlink(area.memory.name)

    # another scheduler

    def begin_epoch(self, str epoch not None, str folder not None, uint64_t most_bytes=0):
        """There is another scheduler, and names are others: what is here stays, under its new name.

        A process may still have a view of a slot, and the store cannot tell which one: so no slot is given out again.
        """
        cdef Area area
        self.epoch, self.folder, self.most_bytes = epoch, folder, most_bytes
        for area in self.retire():
            self.rename(area)

    cdef list retire(self):
        """No slot that there is now is given out again. The segments in which something is still held."""
        cdef Area area
        self.free_slots.clear()
        for area in list(self.areas.values()):
            area.is_retired = True
            if area.used == 0:
                self.remove(area)
        return list(self.areas.values())

    cdef int rename(self, Area area) except -1:
        """Give the segment the name that it has in this epoch. If the old one is gone already, make it anew."""
        cdef str name = area_name(self.epoch, self.folder, area.segment)
        cdef Segment memory
        if not area.memory.rename(name):
            unpoison(area.memory.start, area.memory.size)
            try:
                memory = Segment.create(f"{name}-copy", area.memory.size)
            except OSError:
                self.lose(area)                   # no room: a task that names one of them misses it
                return 0
            memcpy(memory.start, area.memory.start, area.memory.size)
            memory.rename(name)                   # a finder of it there finds all of it
            Segment.unlink(area.memory.name)
            area.memory = memory
            area.allocated = memory.size
        return 0

    cdef int lose(self, Area area) except -1:
        """What lies in this segment is not to be had by others any more."""
        cdef Slot slot
        for object, slot in list(self.slots.items()):
            if slot.area is area:
                self.free(object)
        return 0

    @property
    def idle_bytes(self):
        """Kept for objects to come."""
        return self.kept_bytes - self.used_bytes

    def close(self):
        """Remove all names. What others have mapped they keep."""
        cdef Area area
        for area in self.areas.values():
            Segment.unlink(area.memory.name)
        self.areas.clear()
        self.slots.clear()
        self.free_slots.clear()
        self.used_bytes = self.lasting_bytes = self.kept_bytes = 0


def address_of(const unsigned char[:] data):
    """Where these bytes lie, which tells arrays apart as long as they live."""
    return <size_t>&data[0] if data.shape[0] else 0
