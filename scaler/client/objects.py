"""ClientObjects: what a client's tasks carry that is too large for a record, and what it has sent to be used again.

A large buffer inside the arguments (an array, mostly) becomes an object in the client's store. It stays known by its
address as long as the array lives: the next task that is given the same array compares it with what was stored, and
names the old object if nothing has changed. So an array passed to a thousand tasks is written once, and one that is
filled anew before each submit is written anew each time. What `send_object` stores is known by its content.

Rule 1: nothing counts as equal unless its bytes have been compared.
Rule 2: from the placing of objects until the record that names them is written, one thread at a time: the record that
        brings an object must be the first to name it. If the record comes to nothing, so does what was made for it. The
        handler of a signal may submit in the midst of that: the handler's record is written before the interrupted one,
        and names nothing that the interrupted one brings (it brings copies of its own). A result that is handed in for
        a dependant that came too late names nothing but what is made for that result, so it waits for no record: the
        record in progress may be that of a submit whose thread waits for this very dependant, in the handler of a
        signal. All that both need is the store, which lets one of them in at a time, and no other code meanwhile.
Rule 3: the client holds what it may name again, and says so when it does not hold it any more: the array has gone, the
        last reference has gone, or more is held than should be.
Not here: what one record carries (parcel), the store itself (native/shm/store.pyx), when an object is freed
(native/scheduler/objects.pyx).
"""

import errno
import threading
import time
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from scaler._native import (
    FLAG_INPUTS,
    FLAG_OBJECTS,
    PLACE_BYTES,
    PLACE_HELD,
    PLACE_NEW,
    PLACE_PACKED,
    PLACE_SHARED,
    PLACE_STREAM,
    STATUS_OK,
    STATUS_RAISED,
    ClientRings,
    Mappings,
    PendingFuture,
    Store,
    address_of,
    join_places,
    pack_supply,
    stream_offset,
)
from scaler.client.large_arguments import LargeArguments
from scaler.client.parcel import Packed, Parcel, RecordInProgress, WithInputs
from scaler.client.serializer import Serializer
from scaler.exceptions import MissingObjects
from scaler.objects.naming import Place
from scaler.values import payload
from scaler.values.reference import IN_OBJECT, ObjectReference, slots

MOST_PLACES = 64  # of one record's own buffers; with more, they become one object
MOST_HELD = 1024
MOST_HELD_BYTES = 1 << 30  # of arrays that may be passed again; the last one is held whatever its size
MOST_UNDER_WAY_BYTES = 1 << 30  # in objects that only tasks hold
ROOM_S = 1.0  # how long to try again for room that others may just be giving up
_SAMPLES, _SAMPLE_BYTES = 16, 4096


class ClientObjects:
    """`make_room()` waits a moment for tasks to end; false if there are none whose end could make room.

    `tend()` says what is held no more and hears what was freed, without waiting: called before anything is stored, so
    that the memory of what has just gone is the next to be used, while the caches still have it.
    """

    def __init__(
        self,
        store: Store,
        mappings: Mappings,
        make_room: Callable[[], bool],
        tend: Callable[[], object],
        rings: ClientRings | None = None,
        serializer: Serializer | type[Serializer] | None = None,
    ) -> None:
        self.rings, self.serializer = rings, serializer
        self._store, self._mappings, self._make_room, self._tend = store, mappings, make_room, tend
        self._lock = threading.RLock()
        self._held: OrderedDict[int, _Held] = OrderedDict()  # buffers by object, the one used last at the end
        self._held_bytes = 0  # of these
        self._referenced_bytes = 0  # of what references stand for
        self._by_address: dict[tuple[int, int], int] = {}
        self._records: list[RecordInProgress] = []  # in progress; more than one while a signal's handler submits
        self._handed_in: list[RecordInProgress] = []  # in progress, of results that are handed in
        self._references: weakref.WeakValueDictionary[int, Hold] = weakref.WeakValueDictionary()
        self._by_content: dict[tuple[int, int], int] = {}
        self.large = LargeArguments()
        self._unsaid: set[int] = set()  # references that no record has named yet

    # what another scheduler is told of

    def is_held(self, object_id: int) -> bool:
        """Whether it may be named again by tasks to come."""
        return object_id in self._held or object_id in self._references

    def is_made(self, object_id: int) -> bool:
        """Whether it was made for a record in progress."""
        return any(object_id in record.made for record in [*self._records, *self._handed_in])

    def on_fork(self) -> None:
        """In a forked child: a lock that is held is held by a thread of the parent."""
        self._lock = threading.RLock()

    # what tasks carry

    def note_large(self, value: Any, data: bytes, buffers: list[memoryview]) -> None:
        """A call's arguments have been pickled: if they are large, look whether they are so again and again."""
        size = sum_bytes(data, buffers)
        if size >= self.large.large_bytes:
            self.large.note(value, size)

    def begin(self) -> Parcel:
        """What the next record is packed with."""
        return Parcel(self)

    def dumps(self, value: Any, most_bytes: int) -> bytes | Packed | WithInputs:
        """Pickle the arguments of one call, into a record of at most so many bytes."""
        parcel = Parcel(self)
        return parcel.finish(parcel.dumps(value), most_bytes)

    def dumps_node(
        self, args: Any, most_bytes: int, ids: list[int], promised: int, inner: bool
    ) -> bytes | Packed | WithInputs:
        """The same for a task of a graph, whose first inputs are the tasks with these ids."""
        parcel = Parcel(self)
        parcel.ids, parcel.promised, parcel.is_inner = ids, promised, inner
        return parcel.finish(parcel.dumps(args), most_bytes)

    def pack_result(self, future: PendingFuture, most_bytes: int) -> bytes | Packed:
        """The result of a future that is done, for the scheduler to give to tasks that came too late for it."""
        status, buffers = STATUS_OK, payload.Buffers()
        try:
            value = future.result()
            data = payload.dumps(value if self.serializer is None else self.serializer.serialize(value), buffers)
        except Exception as error:
            status, data = STATUS_RAISED, payload.describe(error, False)
            buffers.clear()
        head = pack_supply(status)
        if not buffers and len(head) + len(data) <= most_bytes:
            return head + data
        record = RecordInProgress()
        self._handed_in.append(record)
        try:
            size = sum_bytes(data, buffers)
            place = self._room_for(lambda: self._store.put_packed(data, buffers, PLACE_NEW), size, is_handed_in=True)
            record.made.append(place[0])
            return Packed(join_places([place], head), self, record, Parcel(self), FLAG_OBJECTS | FLAG_INPUTS)
        except OSError as error:  # nowhere to put it: the tasks that need it are to hear that
            self.end_record(record, False)
            return pack_supply(STATUS_RAISED) + payload.describe(error, False)
        except BaseException:
            self.end_record(record, False)
            raise

    def _begin_record(self) -> RecordInProgress:
        record = RecordInProgress()
        self._lock.acquire()
        self._records.append(record)
        return record

    def pack(self, parcel: Parcel, head: bytes, data: bytes, most_bytes: int, may_hold: bool) -> Packed:
        """Place what the parcel has collected. The lock is held from here until `Packed.end` is called."""
        record = self._begin_record()
        try:
            self._hold_less(MOST_HELD, MOST_HELD_BYTES)
            buffers: list[memoryview] = parcel.buffers
            if len(buffers) > MOST_PLACES:
                size = sum_bytes(data, buffers)
                places = [self._room_for(lambda: self._store.put_packed(data, buffers, PLACE_NEW), size)]
                record.made.append(places[0][0])
                data = b""
            else:
                places = [self._place_buffer(buffer, record, may_hold) for buffer in buffers]
            count = len(places) + len(parcel.references)
            if stream_offset(count + 1) > most_bytes:
                raise ValueError(
                    f"one task names {count} objects, but only {most_bytes // PLACE_BYTES - 1} fit its record: "
                    "send them as one object, or to several tasks"
                )
            if data and _record_bytes(count, data) > most_bytes:
                places.append(self._put(data, record, PLACE_NEW | PLACE_STREAM, is_lasting=not may_hold))
                data = b""
            places += [self._place_of_reference(object_id, record) for object_id in parcel.references]
            flags = FLAG_OBJECTS | FLAG_INPUTS if head else FLAG_OBJECTS
            return Packed(join_places(places, head + data), self, record, parcel, flags)
        except BaseException:
            self.end_record(record, False)
            raise

    def end_record(self, record: RecordInProgress, is_written: bool) -> None:
        """This record is written, or never will be: then no other process has heard of what was made for it."""
        if not is_written:
            for object_id in record.made:
                self._forget(object_id)
                self._store.free(object_id)
            self._unsaid.update(object_id for object_id in record.said if object_id in self._references)
        if record in self._handed_in:
            self._handed_in.remove(record)
            return
        self._records.remove(record)
        self._lock.release()

    def _is_placed(self, object_id: int) -> bool:
        return any(object_id in record.placed for record in self._records)

    def _place_buffer(self, buffer: memoryview, record: RecordInProgress, may_hold: bool) -> Place:
        if not may_hold:
            return self._put(buffer, record, PLACE_NEW, is_lasting=True)
        address = address_of(buffer), buffer.nbytes
        known = self._by_address.get(address)
        held = self._held.get(known) if known is not None else None
        owner = held.owner() if held is not None else None  # as long as we have it, nobody lets go of the object
        if known is not None and owner is not None:
            if any(known in other.made for other in self._records[:-1]):
                return self._put(buffer, record, PLACE_NEW)
            try:
                if self._store.is_equal(known, buffer):
                    place = self._store.place_of(known)
                    self._held.move_to_end(known)
                    record.placed.add(known)
                    return place
            except KeyError:
                pass  # it has just been freed, since the scheduler's host had no room for it
            if not self._is_placed(known):
                self._let_go(known)
        place = self._put(buffer, record, PLACE_NEW | PLACE_HELD)
        try:
            reference = weakref.ref(buffer.obj, partial(_on_owner_gone, weakref.ref(self), place[0]))
        except TypeError:  # nothing says when this owner goes, so its memory may be another's the next time
            return (*place[:4], PLACE_NEW)
        held = self._held[place[0]] = _Held(address, reference, self._store.bytes_of(place[0]))
        self._held_bytes += held.slot_bytes
        self._by_address[address] = place[0]
        record.placed.add(place[0])
        return place

    def _hold_less(self, most: int, most_bytes: int) -> None:
        """Let go of what was passed longest ago, but not of what the record in progress names.

        Nor of the last one, unless none may be held.
        """
        if len(self._held) <= most and self._held_bytes <= most_bytes:
            return
        for object_id in list(self._held)[: -1 if most else None]:
            if len(self._held) <= most and self._held_bytes <= most_bytes:
                break
            if not self._is_placed(object_id):
                self._let_go(object_id)

    def _put(self, data: Any, record: RecordInProgress, flags: int, is_lasting: bool = False) -> Place:
        place = self._room_for(lambda: self._store.put(data, flags, is_lasting), len(data))
        record.made.append(place[0])
        return place

    def _room_for(self, put: Callable[[], Place], size: int, is_handed_in: bool = False) -> Place:
        """Store something, once there is room: what is under way makes room when its tasks are done.

        A result that is handed in does not wait for what is under way to be less: that may be tasks which wait for it.
        """
        self._tend()
        while not is_handed_in and 0 < self._under_way_bytes > MOST_UNDER_WAY_BYTES - size and self._make_room():
            pass
        deadline = time.monotonic() + ROOM_S
        while True:
            try:
                return put()
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                if self._lock.acquire(blocking=not is_handed_in):
                    try:
                        self._hold_less(0, 0)
                    finally:
                        self._lock.release()
                if self._make_room():
                    deadline = time.monotonic() + ROOM_S
                elif time.monotonic() > deadline:
                    raise OSError(errno.ENOSPC, f"no room for an argument of {size} bytes: {error.strerror}") from None

    @property
    def _under_way_bytes(self) -> int:
        """In objects that only tasks hold."""
        return self._store.used_bytes - self._store.lasting_bytes - self._held_bytes - self._referenced_bytes

    def _let_go(self, object_id: int) -> None:
        """Hold this buffer no more."""
        if self._forget(object_id):
            self._mappings.give_back(object_id)

    def _forget(self, object_id: int) -> bool:
        """Name this buffer no more. False if it was not to be named again anyway."""
        held = self._held.pop(object_id, None)
        if held is None:
            return False
        self._held_bytes -= held.slot_bytes
        if self._by_address.get(held.address) == object_id:
            del self._by_address[held.address]
        return True

    # references

    def send(self, value: Any, name: bytes | None) -> ObjectReference:
        """Store an object for tasks to come; one of the same content that is still there is not stored again."""
        buffers = payload.Buffers(0)
        before, slots.packing = slots.packing, IN_OBJECT  # a task may just be packed, whose argument sends this
        try:
            data = payload.dumps(value, buffers)
        finally:
            slots.packing = before
        size = sum_bytes(data, buffers)
        content = size, _fingerprint(data, *buffers)
        with self._lock:
            object_id = self._by_content.get(content)
            hold = self._references.get(object_id) if object_id is not None else None
            if object_id is None or hold is None or not self._store.is_packed_equal(object_id, data, buffers):
                place = self._room_for(lambda: self._store.put_packed(data, buffers), size)
                object_id = place[0]
                slot_bytes = self._store.bytes_of(object_id)
                hold = self._references[object_id] = Hold(weakref.ref(self), object_id, content, slot_bytes)
                self._by_content[content] = object_id
                self._unsaid.add(object_id)
                self._referenced_bytes += slot_bytes
        return ObjectReference(b"" if name is None else name, object_id, size, hold)

    def hold_of(self, reference: ObjectReference) -> "Hold":
        """What keeps the reference's object. MissingObjects if this client does not have it."""
        hold = self._references.get(reference.object_id)
        if hold is None:
            raise MissingObjects(
                f"object {reference.object_id:#x} ({reference.name!r}) is not there: it was cleared, its last "
                "reference has gone, or another client sent it"
            )
        return hold

    def _place_of_reference(self, object_id: int, record: RecordInProgress) -> Place:
        flags = PLACE_PACKED | PLACE_SHARED
        try:
            place = self._store.place_of(object_id)
        except KeyError:
            raise MissingObjects(f"object {object_id:#x} is gone: the scheduler's host had no room for it") from None
        if any(object_id in other.said for other in self._records[:-1]):
            data = memoryview(self._mappings.lend_at(place, False).open(False))
            return self._put(data, record, PLACE_NEW | flags)
        if object_id in self._unsaid:
            self._unsaid.remove(object_id)
            record.said.append(object_id)
            flags |= PLACE_NEW | PLACE_HELD
        return (*place[:4], flags)

    def on_unreferenced(self, object_id: int, content: tuple[int, int], slot_bytes: int) -> None:
        """The last reference has gone. Called whenever the collector likes, so no lock is taken here."""
        if self._by_content.get(content) == object_id:
            self._by_content.pop(content, None)
        self._referenced_bytes -= slot_bytes
        if object_id in self._unsaid:
            self._unsaid.discard(object_id)
            self._store.free(object_id)
        else:
            self._mappings.give_back(object_id)

    def clear(self) -> None:
        """Hold nothing any more: references made so far are worthless from now on."""
        with self._lock:
            for object_id in list(self._held):
                if not self._is_placed(object_id):
                    self._let_go(object_id)
            for hold in list(self._references.values()):
                hold.end()
            self._references.clear()


class _Held:
    """A buffer that may be passed again: where it lay, and a reference that says when its owner goes."""

    __slots__ = ("address", "owner", "slot_bytes")

    def __init__(self, address: tuple[int, int], owner: "weakref.ref[Any]", slot_bytes: int) -> None:
        self.address, self.owner, self.slot_bytes = address, owner, slot_bytes


class Hold:
    """Held by all references to one object; ends with the last of them."""

    def __init__(
        self, objects: "weakref.ref[ClientObjects]", object_id: int, content: tuple[int, int], slot_bytes: int
    ) -> None:
        self._objects: weakref.ref[ClientObjects] | None = objects
        self._about = object_id, content, slot_bytes

    def end(self) -> None:
        objects = self._objects() if self._objects is not None else None
        self._objects = None
        if objects is not None:
            objects.on_unreferenced(*self._about)

    __del__ = end


def _on_owner_gone(objects: "weakref.ref[ClientObjects]", object_id: int, _: Any) -> None:
    here = objects()
    if here is not None:
        here._let_go(object_id)


def _record_bytes(places: int, data: bytes) -> int:
    return stream_offset(places) + len(data)


def sum_bytes(data: bytes, buffers: list[memoryview]) -> int:
    return len(data) + sum(buffer.nbytes for buffer in buffers)


def _fingerprint(*parts: Any) -> int:
    """A quick look at some of the bytes: what differs here is different, what does not must be compared."""
    checksum = 0
    for part in parts:
        view = memoryview(part)
        size = view.nbytes
        step = max(_SAMPLE_BYTES, size // _SAMPLES)
        for at in range(0, size, step):
            checksum = zlib.crc32(view[at : at + _SAMPLE_BYTES], checksum)
        checksum = zlib.crc32(size.to_bytes(8, "little"), checksum)
    return checksum
