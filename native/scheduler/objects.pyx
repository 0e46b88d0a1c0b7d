# ObjectTable: which objects there are, and which peers hold them. The directory of the scheduler's core.
#
# An object is held by the tasks that name it until they have ended, so also while a worker reads it; by its maker while
# that may name it again (PLACE_HELD); by a worker that kept a view beyond its task; by a client that was given it as a
# result. Each of them gives it back once, and when nobody holds it, it is freed: its maker, and whoever keeps its
# bytes, are told, and may use the memory again.
#
# Objects are larger than what fits a record, so here a Python object for each costs little compared to its bytes.
#
# Rule 1: a peer may name only what it made itself, in a segment of its own store or of the scheduler's, and give back
#         only what it holds. Anything else is counted nowhere. So nobody's segment is removed for what another says.
# Rule 2: what is left in the store of a worker that has gone stays readable until nobody holds it; then its segment's
#         name goes on `unlink`.
# Rule 3: the rest of the core calls nothing here but the functions `..._record`. They take the interpreter's lock for
#         what they do and return in any case: an exception that left them would end the caller's event half-way, as
#         nothing above them can pass one on. The only one that there can be is MemoryError, since all of this is about
#         numbers and small tuples. A caller that wants something held is told when that failed, then holds none of it, and
#         goes on with the task as one that is refused. One that lets go is not told: what there was no memory for is let
#         go of with the next flush (`owed`).
# Not here: memory (store, loan), rows (table), how anybody is told (core).

cdef enum:
    PLACES_GOOD = 0
    PLACES_MISSING = 1
    PLACES_WRONG = 2
    MOST_OWED = 256

cdef class StoredObject:
    cdef Place place
    cdef uint64_t at               # bit per host that has it, or soon will (`host_bit`)
    cdef uint32_t holders
    cdef bint is_held_by_maker


cdef inline uint64_t host_bit(uint32_t host) noexcept nogil:
    """Of a host by its number. Beyond 64 hosts several share a bit: what one of them has counts for all, until one goes."""
    return <uint64_t>1 << (host if host < 64 else host % 63 + 1)


cdef class ObjectTable:
    cdef dict objects             # id -> StoredObject
    cdef dict kept                # a peer's tag -> {id: how often}: beyond the records that named them
    cdef readonly dict freed      # a store's tag -> [ids]: nobody holds them any more
    cdef bint has_freed           # something new in `freed`
    cdef dict left                # segment -> objects in it, of stores whose makers have gone
    cdef readonly list unlink     # names of segments in which nothing is left
    cdef readonly list gone       # every id that was freed, while there are other hosts
    cdef dict made_bytes          # a maker's tag -> bytes of its objects that there are
    cdef dict made                # a maker's tag -> {id: StoredObject} of its objects that there are
    cdef public uint64_t most_made    # that a client may have made (quota)
    cdef set elsewhere            # tags of clients that are not here: what they make lies in the scheduler's store
    cdef set host_numbers         # of other hosts, which may have copies; the scheduler's is 0
    cdef readonly uint32_t hosts  # how many these are
    cdef readonly uint64_t bytes
    cdef uint64_t[MOST_OWED] owed # that somebody has let go of when there was no memory even for that
    cdef uint32_t owed_count
    cdef str epoch, folder

    def __init__(self, str epoch not None, str folder not None):
        self.epoch, self.folder = epoch, folder
        self.objects, self.kept, self.freed, self.left = {}, {}, {}, {}
        self.unlink, self.gone = [], []
        self.made_bytes = {}
        self.made, self.elsewhere, self.most_made = {}, set(), 1 << 63
        self.host_numbers = set()

    def __len__(self):
        return len(self.objects)

    # what the core calls for one record

    cdef int take_record(self, char *payload, size_t size, uint64_t tag, bint by_maker) noexcept nogil:
        """`take`; PLACES_WRONG also if there is no memory to note it with."""
        with gil:
            try:
                return self.take(payload, size, tag, by_maker)
            except MemoryError:
                return PLACES_WRONG

    cdef bint hold_record(self, const char *payload, size_t size) noexcept nogil:
        """One more holds all that this payload names. False if there is no memory to note it with: it holds none."""
        cdef int64_t count = places_in(payload, size)
        cdef int64_t held = 0
        with gil:
            try:
                while held < count:
                    self.hold(place_at(payload, held).object)
                    held += 1
            except MemoryError:
                while held > 0:
                    held -= 1
                    self.let_go(place_at(payload, held).object)
                return False
        return True

    cdef void drop_record(self, const char *payload, size_t size) noexcept nogil:
        with gil:
            self.drop(payload, size)

    cdef void refuse_record(self, char *payload, size_t size, uint64_t tag) noexcept nogil:
        with gil:
            self.take_and_drop(payload, size, tag)

    cdef void discard_record(self, const char *payload, size_t size, uint64_t tag) noexcept nogil:
        with gil:
            self.discard(payload, size, tag)

    cdef bint keep_record(self, const char *payload, size_t size, uint32_t which, uint64_t tag) noexcept nogil:
        """`keep`. False if there is no memory to note it with: it keeps none, and what held the objects so far must not let go
        of them."""
        cdef int64_t kept = 0
        with gil:
            try:
                self.keep(payload, size, which, tag, &kept)
            except MemoryError:
                self.unkeep(payload, kept, which, tag)
                return False
        return True

    cdef void unkeep_record(self, const char *payload, size_t size, uint64_t tag) noexcept nogil:
        """What was kept of this record just now is not kept after all."""
        with gil:
            self.unkeep(payload, places_in(payload, size), <uint32_t>-1, tag)

    # holding

    cdef int take(self, char *payload, size_t size, uint64_t tag, bint by_maker) except -1:
        """A record of the peer with this tag names objects: it holds them from now on, those that are new included.

        The places are completed from the table. `by_maker`: the peer may only name what it made, and may hold it beyond.
        PLACES_MISSING or PLACES_WRONG if one of them cannot be named: then the record holds none. What its maker holds he
        still does, what else the record brought he hears the end of, as if it had been used.
        """
        cdef int64_t count = places_in(payload, size)
        cdef int64_t i
        cdef int answer
        if count < 0:
            return PLACES_WRONG
        for i in range(count):
            answer = self.take_one(place_at(payload, i), tag, by_maker)
            if answer != PLACES_GOOD:
                self.take_rest(payload, i, count, tag, by_maker)
                return answer
        return PLACES_GOOD

    cdef int take_rest(self, char *payload, int64_t wrong, int64_t count, uint64_t tag, bint by_maker) except -1:
        """The place `wrong` cannot be named: see to what the record brings besides, and let go of all."""
        cdef list taken = [place_at(payload, i).object for i in range(wrong)]
        cdef set useless = set()
        cdef Place *place
        cdef int64_t i
        for i in range(wrong, count):
            place = place_at(payload, i)
            if i > wrong and self.take_one(place, tag, by_maker) == PLACES_GOOD:
                taken.append(place.object)
            elif place.flags & PLACE_NEW and maker_of(place.object) == tag and place.object not in self.objects:
                useless.add(place.object)
        for object in taken:
            self.let_go(object)
        for object in useless.difference(taken):
            self.tell(tag, object)
        return 0

    cdef int take_and_drop(self, char *payload, size_t size, uint64_t tag) except -1:
        """A record of no use names objects: none is held by it, and nothing that its maker holds is lost."""
        if self.take(payload, size, tag, True) == PLACES_GOOD:
            self.drop(payload, size)
        return 0

    cdef int take_one(self, Place *place, uint64_t tag, bint by_maker):
        cdef StoredObject known = self.objects.get(place.object)
        if maker_of(place.object) != tag:
            return PLACES_MISSING
        if known is None:
            if not place.flags & PLACE_NEW:
                return PLACES_MISSING
            if (place.segment == 0 or (place.object << 24) == 0 or not 0 < place.size <= MOST_OBJECT_BYTES
                    or not self.may_lie_in(place.segment, tag) or by_maker and self.made_by(tag) >= self.most_made):
                return PLACES_WRONG
            known = StoredObject.__new__(StoredObject)
            known.place = place[0]
            known.at = host_bit(0)
            if by_maker and place.flags & PLACE_HELD:
                known.is_held_by_maker = True
                known.holders = 1
            self.objects[place.object] = known
            self.made.setdefault(tag, {})[place.object] = known
            self.bytes += place.size
            self.made_bytes[tag] = self.made_bytes.get(tag, 0) + place.size
        elif place.flags & PLACE_NEW or not by_maker:
            return PLACES_WRONG
        else:
            place.segment, place.offset, place.size = known.place.segment, known.place.offset, known.place.size
        known.holders += 1
        return PLACES_GOOD

    cdef inline bint may_lie_in(self, uint64_t segment, uint64_t tag) noexcept:
        """Whether what the peer with this tag has made may lie there: what came over a wire does in the scheduler's."""
        return keeper_of(segment) == (MOST_TAG if tag in self.elsewhere else tag)

    cdef inline uint64_t made_by(self, uint64_t tag):
        """How many objects there are that the peer with this tag has made."""
        cdef dict made = self.made.get(tag)
        return 0 if made is None else len(made)

    cdef int hold(self, uint64_t object) except -1:
        """One more holds it, who will let go of it once."""
        cdef StoredObject known = self.objects.get(object)
        if known is not None:
            known.holders += 1
        return 0

    cdef int complete(self, Place *place) except -1:
        """Write where the object lies, if it is there."""
        cdef StoredObject known = self.objects.get(place.object)
        if known is not None:
            place.segment, place.offset, place.size = known.place.segment, known.place.offset, known.place.size
        return 0

    cdef int drop(self, const char *payload, size_t size) except -1:
        """The record that named these holds them no more."""
        cdef int64_t i
        for i in range(places_in(payload, size)):
            self.let_go_sometime(place_at(payload, i).object)
        return 0

    cdef int let_go_sometime(self, uint64_t object) except -1:
        """`let_go`, with the next flush if there is no memory for it now."""
        try:
            self.let_go(object)
        except MemoryError:
            if self.owed_count == MOST_OWED:
                raise
            self.owed[self.owed_count] = object
            self.owed_count += 1
            self.has_freed = True
        return 0

    cdef int pay(self) except -1:
        """Let go of what could not be let go of then."""
        while self.owed_count:
            self.let_go(self.owed[self.owed_count - 1])
            self.owed_count -= 1
        return 0

    cdef int discard(self, const char *payload, size_t size, uint64_t tag) except -1:
        """A result came too late, or made no sense: what its sender made for it is of no use to anybody."""
        cdef set useless = set()
        cdef int64_t i
        cdef Place *place
        for i in range(places_in(payload, size)):
            place = place_at(payload, i)
            if place.flags & PLACE_NEW and maker_of(place.object) == tag and place.object not in self.objects:
                useless.add(place.object)
        for object in useless:
            self.tell(tag, object)
        return 0

    cdef int keep(self, const char *payload, size_t size, uint32_t which, uint64_t tag, int64_t *done) except -1:
        """The peer keeps those of the record's objects whose bits are set (the last bit stands for all after it too).

        `done` says how many of its places have been seen to.
        """
        cdef int64_t i
        for i in range(places_in(payload, size)):
            if which >> min(i, 31) & 1:
                self.keep_one(place_at(payload, i).object, tag)
            done[0] += 1
        return 0

    cdef int unkeep(self, const char *payload, int64_t count, uint32_t which, uint64_t tag) except -1:
        """The same back, of the first `count` places."""
        cdef int64_t i
        for i in range(count):
            if which >> min(i, 31) & 1:
                self.release(tag, <const char *>&place_at(payload, i).object, 8)
        return 0

    cdef int keep_one(self, uint64_t object, uint64_t tag) except -1:
        cdef StoredObject known = self.objects.get(object)
        cdef dict kept = self.kept.get(tag)
        if known is None:
            return 0
        if kept is None:
            kept = self.kept[tag] = {}
        kept[object] = kept.get(object, 0) + 1
        known.holders += 1                            # last: what is above may find no memory
        return 0

    cdef int release(self, uint64_t tag, const char *ids, size_t size) except -1:
        """A peer holds these no more, each once: as a process that kept them, or as their maker."""
        cdef uint64_t object
        cdef size_t i
        cdef dict kept = self.kept.get(tag)
        cdef StoredObject known
        for i in range(size // 8):
            memcpy(&object, ids + 8 * i, 8)
            if kept is not None and object in kept:
                if kept[object] == 1:
                    del kept[object]
                else:
                    kept[object] -= 1
                self.let_go(object)
                continue
            known = self.objects.get(object)
            if known is not None and known.is_held_by_maker and maker_of(object) == tag:
                known.is_held_by_maker = False
                self.let_go(object)
        if kept is not None and not kept:
            del self.kept[tag]
        return 0

    cdef int let_go(self, uint64_t object) except -1:
        cdef StoredObject known = self.objects.get(object)
        if known is None:
            return 0
        if known.holders == 1:
            self.free(known)                          # first: it may find no memory
        known.holders -= 1
        return 0

    cdef int free(self, StoredObject known) except -1:
        cdef uint64_t object = known.place.object
        cdef uint64_t segment = known.place.segment
        cdef dict made = self.made[maker_of(object)]
        del self.objects[object], made[object]
        self.made_bytes[maker_of(object)] -= known.place.size
        if not made:
            del self.made[maker_of(object)], self.made_bytes[maker_of(object)]
        self.bytes -= known.place.size
        if self.hosts:
            self.gone.append(object)
        if segment in self.left:
            self.left[segment] -= 1
            if self.left[segment] == 0:
                del self.left[segment]
                self.unlink.append(area_name(self.epoch, self.folder, segment))
            return 0
        self.tell(maker_of(object), object)
        if keeper_of(segment) != maker_of(object):
            self.tell(keeper_of(segment), object)
        return 0

    cdef int tell(self, uint64_t tag, uint64_t object) except -1:
        cdef list ids = self.freed.get(tag)
        if ids is None:
            ids = self.freed[tag] = []
        ids.append(object)
        self.has_freed = True
        return 0

    def on_left(self, uint64_t tag):
        """A peer has gone: it keeps nothing, and its store is left to us. Its segments in which something is still held.

        All its other segments are to be removed by the caller.
        """
        cdef StoredObject known
        kept = self.kept.pop(tag, None)
        if kept is not None:
            for object, times in kept.items():
                for _ in range(times):
                    self.let_go(object)
        for known in list(self.made.get(tag, {}).values()):
            if known.is_held_by_maker:
                known.is_held_by_maker = False
                self.let_go(known.place.object)
        names = []
        for known in self.made.get(tag, {}).values():
            if keeper_of(known.place.segment) == tag:
                if known.place.segment not in self.left:
                    self.left[known.place.segment] = 0
                    names.append(area_name(self.epoch, self.folder, known.place.segment))
                self.left[known.place.segment] += 1
        self.freed.pop(tag, None)
        self.elsewhere.discard(tag)
        return names

    # where copies are

    def add_host(self):
        """Another host: its number."""
        cdef uint32_t number = 1
        while number in self.host_numbers:
            number += 1
        self.host_numbers.add(number)
        self.hosts += 1
        return number

    def remove_host(self, uint32_t number):
        """It has gone, and what it had."""
        cdef StoredObject known
        self.host_numbers.remove(number)
        self.hosts -= 1
        for known in self.objects.values():
            known.at &= ~host_bit(number)

    def note_at(self, uint64_t object, uint32_t host):
        """This host has the object too, or will before any record that names it. False if nobody holds it."""
        cdef StoredObject known = self.objects.get(object)
        if known is None:
            return False
        known.at |= host_bit(host)
        return True

    cdef uint64_t missing_bytes(self, const char *payload, size_t size, uint32_t host) except? 0:
        """How many bytes of the objects that this payload names are not on this host."""
        cdef StoredObject known
        cdef uint64_t missing = 0
        cdef int64_t i
        for i in range(places_in(payload, size)):
            known = self.objects.get(place_at(payload, i).object)
            if known is not None and not known.at & host_bit(host):
                missing += known.place.size
        return missing

    # what the shell drains

    def take_freed(self, uint64_t tag):
        """The ids that the store with this tag may free."""
        return self.freed.pop(tag, [])

    def take_gone(self):
        """The ids that were freed since this was last asked, for hosts that have copies."""
        gone, self.gone = self.gone, []
        return gone

    def holders_of(self, uint64_t object):
        """How many hold it; 0 if it is not there. For tests and monitoring."""
        cdef StoredObject known = self.objects.get(object)
        return 0 if known is None else known.holders

    def place_of(self, uint64_t object):
        """(object, segment, offset, size, flags), None if it is not there."""
        cdef StoredObject known = self.objects.get(object)
        if known is None:
            return None
        return known.place.object, known.place.segment, known.place.offset, known.place.size, known.place.flags
