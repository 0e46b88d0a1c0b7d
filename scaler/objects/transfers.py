"""Objects on their way from a store here into a store there: which are under way, and what waits for them.

A large one is offered: it goes over a connection of its own (Carrier). A small one, and whatever can't go that way, is
cut into chunks that go between the session's other frames.

Rule 1: chunks of one object come in order and without holes; anything else is an error that ends the session.
Rule 2: what has come belongs to the receiver's store, under the id that the sender gave it or under one of the store's
        own; whoever takes it from here frees it in the end.
Rule 3: an object for which there is no room is taken all the same, and is then not there: whoever needs it is told.
Not here: frames and their numbers (session.conversation), who needs an object and for how long, connections (port,
dialer).
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from scaler._native import PLACE_NEW, Store, join_places, split_places
from scaler.objects.arrival import Arrival
from scaler.program.sparing_log import SparingLog
from scaler.protocol.bounds import CHUNK_BYTES
from scaler.protocol.frames import Chunk, FrameError, Offer

LEAST_OFFERED_BYTES = 256 << 10  # what is smaller costs less in chunks than the two frames and the wake-ups
SMALL_BYTES = 1 << 20  # of what shares segments with others (store)
# Objects of one session that have come, or are coming, and that no record has named yet. Who sends keeps below it: of
# what it has begun to send, all is less than MOST_AHEAD behind the oldest that has not arrived, and what has arrived
# waits for others of its own record, of which a record has room for 817.
MOST_INCOMPLETE = 2048
MOST_AHEAD = 1024
# Parts of small objects of one session that wait here for the rest. If there are more, the object of which most has
# come gets its place before it is whole: to refuse it would end sessions of peers whose other transfers have failed.
MOST_PARTS_BYTES = 64 << 20
PART_BYTES = 64  # what one takes besides its bytes
MOST_OFFERED = 512  # at a time, that the other side has not fetched: what it fetches side by side
Place = tuple[int, int, int, int, int]  # object, segment, offset, size, flags
_sparing = SparingLog(logging.getLogger(__name__))


class Carrier(Protocol):
    """Another way for objects than chunks: connections of their own, if they can be had."""

    @property
    def is_usable(self) -> bool: ...

    def offer(self, object_id: int, view: memoryview, done: Callable[[bool], None]) -> Offer:
        """The other side is to have this: what to tell it. `done` is called, later, with whether it has."""
        ...

    def expect(self, offer: Offer, arrival: Arrival, done: Callable[[bool], None]) -> None:
        """The other side has this. `done` is called, later, with whether it came, by whoever fetches it himself."""
        ...

    def on_fetched(self, object_id: int, is_there: bool) -> None:
        """The other side has fetched what was offered, or cannot."""
        ...

    def forget_offered(self, object_id: int) -> None:
        """The other side need not have it any more."""
        ...

    def forget_expected(self, object_id: int) -> None:
        """It is not wanted here any more, or a record has named it."""
        ...

    def close(self) -> None: ...


@dataclass(eq=False)
class _Transfer:
    """An object on its way to the other side."""

    object: int
    number: int  # counts up
    view: memoryview
    is_offered: bool = False  # and the other side has not answered
    is_over: bool = False
    offset: int = 0  # so much of it went in chunks


@dataclass(eq=False)
class _Plan:
    """What is to be done once some objects have arrived: these, or all that were added before it."""

    what: Callable[[], None]
    brings: Iterable[int]  # objects that nobody may name before this
    missing: int = 0  # objects, and plans that bring some
    before: int = 0  # the number of the first transfer that it need not wait for
    is_done: bool = False
    followers: "list[_Plan]" = field(default_factory=list)


class OutgoingObjects:
    """Objects on their way, by a carrier or chunk by chunk, and what is to be done when they have arrived.

    What needs just its own objects waits for no others, so that a small one overtakes a large one. But none is begun
    that is far behind the oldest that is still under way (MOST_AHEAD): else many small ones, each of a record that
    waits for a large one too, would be more than the other side takes.
    """

    def __init__(self) -> None:
        self._open: dict[int, _Transfer] = {}
        self._in_order: deque[_Transfer] = deque()  # as they were added; those that are over go when they are first
        self._chunked: deque[_Transfer] = deque()
        self._plans: deque[_Plan] = deque()
        self._waiting: dict[int, list[_Plan]] = {}  # object -> plans that wait for it by name
        self._bringers: dict[int, _Plan] = {}  # object -> the plan that brings it
        self._number = 0
        self._offered = 0  # how many are, and have not been fetched
        self._unoffered: deque[tuple[_Transfer, Callable[[Callable[[bool], None]], None]]] = deque()

    @property
    def has_chunks(self) -> bool:
        """Something is to be sent in chunks, and may be."""
        return bool(self._chunked) and self._may_begin(self._chunked[0])

    def _find_oldest(self) -> _Transfer | None:
        """The oldest that is still under way."""
        while self._in_order and self._in_order[0].is_over:
            self._in_order.popleft()
        return self._in_order[0] if self._in_order else None

    def _may_begin(self, transfer: _Transfer) -> bool:
        """What was begun stays so; the oldest always may."""
        oldest = self._find_oldest()
        return oldest is None or transfer.number < oldest.number + MOST_AHEAD

    def add(self, object_id: int, view: memoryview, offer: Callable[[Callable[[bool], None]], None] | None) -> None:
        """Send this object: `offer(done)` offers it; without that it goes in chunks."""
        self._number += 1
        transfer = self._open[object_id] = _Transfer(object_id, self._number, view)
        self._in_order.append(transfer)
        if offer is None:
            self._chunked.append(transfer)
        else:
            self._unoffered.append((transfer, offer))
            self._offer_more()

    def _offer_more(self) -> None:
        while self._unoffered and self._offered < MOST_OFFERED and self._may_begin(self._unoffered[0][0]):
            transfer, offer = self._unoffered.popleft()
            if not transfer.is_over:
                self._offered += 1
                transfer.is_offered = True
                offer(partial(self._on_carried, transfer))

    def _on_carried(self, transfer: _Transfer, ok: bool) -> None:
        if transfer.is_over:
            return
        self._offered -= 1
        transfer.is_offered = False
        if ok:
            self._finish(transfer)
        else:
            self._chunked.appendleft(transfer)  # before those that may not be begun until this one has arrived
            self._offer_more()

    def after(self, what: Callable[[], None], objects: Iterable[int] | None = None, brings: Iterable[int] = ()) -> None:
        """Call this once these objects have arrived, or all that were added before and all that waits for them.

        What names an object that another `brings` comes after that one.
        """
        plan = _Plan(what, brings)
        if objects is None:
            plan.before = self._number + 1
        else:
            for object_id in set(objects):
                if object_id in self._open:
                    self._waiting.setdefault(object_id, []).append(plan)
                    plan.missing += 1
                bringer = self._bringers.get(object_id)
                if bringer is not None:
                    bringer.followers.append(plan)
                    plan.missing += 1
            if not plan.missing:
                what()
                return
        for object_id in brings:
            self._bringers[object_id] = plan
        self._plans.append(plan)
        self._run_plans()

    def send_next(self, post: Callable[[Chunk], None]) -> None:
        """Post one chunk."""
        transfer = self._chunked[0]
        view, offset = transfer.view, transfer.offset
        data = bytes(view[offset : offset + CHUNK_BYTES])
        post(Chunk(transfer.object, offset, view.nbytes, data))
        transfer.offset += len(data)
        if transfer.offset == view.nbytes:
            self._chunked.popleft()
            self._finish(transfer)

    def drop(self, object_id: int) -> None:
        """Nobody wants this object any more: no more of it is sent, and what waits for it need not."""
        transfer = self._open.get(object_id)
        if transfer is not None:
            if transfer in self._chunked:
                self._chunked.remove(transfer)
            self._finish(transfer)

    def _finish(self, transfer: _Transfer) -> None:
        transfer.is_over = True
        del self._open[transfer.object]
        if transfer.is_offered:  # and was dropped before it was fetched
            self._offered -= 1
        for plan in self._waiting.pop(transfer.object, ()):
            self._lack_less(plan)
        self._run_plans()
        self._offer_more()

    def _lack_less(self, plan: _Plan) -> None:
        plan.missing -= 1
        if not plan.missing:
            self._do(plan)

    def _do(self, plan: _Plan) -> None:
        plan.is_done = True
        for object_id in plan.brings:
            self._bringers.pop(object_id, None)
        plan.what()
        for follower in plan.followers:
            self._lack_less(follower)

    def _run_plans(self) -> None:
        """Do what waits for all before it, as far as that is done."""
        while self._plans:
            plan = self._plans[0]
            if not plan.is_done:
                oldest = self._find_oldest()
                if plan.missing or (oldest is not None and oldest.number < plan.before):
                    return
            self._plans.popleft()
            if not plan.is_done:
                self._do(plan)

    def close(self) -> None:
        for transfer in self._open.values():
            transfer.is_over = True
        self._open.clear()
        self._in_order.clear()
        self._chunked.clear()
        self._unoffered.clear()
        self._plans.clear()
        self._waiting.clear()
        self._bringers.clear()


class IncomingObjects:
    """Objects that are coming, and those that have come, until a record has named them.

    `renames`: the store gives them ids of its own. Without `until_named` they are the store's business once they are
    whole. `client_bits`: ids must begin with these.
    """

    def __init__(
        self, store: Store, *, renames: bool = False, until_named: bool = True, client_bits: int | None = None
    ) -> None:
        self._store, self._renames, self._until_named, self._client_bits = store, renames, until_named, client_bits
        self._open: dict[int, Arrival] = {}
        self._in_parts: dict[int, Arrival] = {}  # of those, the ones that have no place yet
        self._parts_bytes = 0
        self.carrier: Carrier | None = None

    def add(self, chunk: Chunk) -> None:
        """Put a chunk where it belongs. FrameError if it does not follow the one before."""
        arrival = self._open.get(chunk.object)
        if arrival is None:
            if chunk.offset:
                raise FrameError(f"object {chunk.object:#x}: a chunk at {chunk.offset}, but none came before")
            arrival = self._new_arrival(chunk.object, chunk.total_bytes, False)
        elif not chunk.offset and not arrival.is_stopped:  # it was offered, and comes in chunks after all
            if not arrival.stop():  # its room would have two who write there
                raise FrameError(f"object {chunk.object:#x} comes in chunks, but its transfer before that does not end")
            arrival.have = 0
        if not arrival.is_stopped or chunk.offset != arrival.have or arrival.total != chunk.total_bytes:
            raise FrameError(
                f"object {chunk.object:#x}: chunk at {chunk.offset} came after {arrival.have} of {arrival.total} bytes"
            )
        arrival.have += len(chunk.data)
        if arrival.parts is not None:
            arrival.parts.append(chunk.data)
            self._in_parts[chunk.object] = arrival
            self._parts_bytes += len(chunk.data) + PART_BYTES
            if arrival.is_whole:
                self._put_together(chunk.object, arrival)
            while self._parts_bytes > MOST_PARTS_BYTES:
                self._put_together(*max(self._in_parts.items(), key=lambda one: one[1].have))
        elif arrival.here:
            self._fill(arrival, chunk)
        self._open[chunk.object] = arrival
        if arrival.is_whole and not self._until_named:
            del self._open[chunk.object]

    def _put_together(self, object_id: int, arrival: Arrival) -> None:
        """A small object shares its segment with others, so it gets its place there when all of it has come, or when
        too much waits for that.
        """
        parts = self._take_parts(object_id, arrival)
        arrival.here = self._reserve(object_id, arrival.total)
        if arrival.here:
            self._fill(arrival, Chunk(object_id, 0, arrival.total, parts[0] if len(parts) == 1 else b"".join(parts)))

    def _take_parts(self, object_id: int, arrival: Arrival) -> list[bytes]:
        parts, arrival.parts = arrival.parts or [], None
        self._in_parts.pop(object_id, None)
        self._parts_bytes -= sum(map(len, parts)) + PART_BYTES * len(parts)
        return parts

    def _fill(self, arrival: Arrival, chunk: Chunk) -> None:
        """Memory is taken as it is filled, not at the word of whoever says how large an object will be."""
        try:
            self._store.fill(arrival.here, chunk.offset, chunk.data)
        except OSError as error:
            _sparing.warning(self._client_bits, "no room for an object of %d bytes: %s", chunk.total_bytes, error)
            self._store.free(arrival.here)
            arrival.here = 0

    def expect(self, offer: Offer) -> Arrival:
        """Make room for an object that comes by a carrier. FrameError if there is one of that id already."""
        if offer.object in self._open:
            raise FrameError(f"object {offer.object:#x} is offered, but it is coming already")
        arrival = self._open[offer.object] = self._new_arrival(offer.object, offer.total_bytes, True)
        return arrival

    def on_come(self, object_id: int) -> None:
        """An object that was expected is here, or there is no room for it: `until_named` says who has it now."""
        if not self._until_named:
            self._open.pop(object_id, None)

    def _new_arrival(self, object_id: int, total: int, is_carried: bool) -> Arrival:
        if len(self._open) >= MOST_INCOMPLETE:
            raise FrameError(f"object {object_id:#x}: {len(self._open)} others have not been named yet")
        if not object_id or self._client_bits not in (None, object_id >> 40):
            raise FrameError(f"object {object_id:#x} is not this peer's")
        if not is_carried and total <= SMALL_BYTES:
            arrival = Arrival(0, total, None)
            arrival.parts = []
            arrival.stop()
            return arrival
        here = self._reserve(object_id, total)
        view = self._store.open(here) if here and is_carried else None
        arrival = Arrival(here, total, view, partial(self._store.allocate, here) if here else None)
        if not is_carried:
            arrival.stop()
        return arrival

    def _reserve(self, object_id: int, total: int) -> int:
        try:
            return self._store.reserve(0 if self._renames else object_id, total)[0]
        except (OSError, MemoryError) as error:
            _sparing.warning(self._client_bits, "no room for an object of %d bytes: %s", total, error)
            return 0
        except ValueError as error:
            raise FrameError(str(error)) from None

    def take(self, payload: bytes) -> bytes:
        """The payload with the places of the objects that came for it. FrameError if one of them has not.

        An object for which there was no room has no place: segment 0.
        """
        places, stream = split_places(payload)
        found = []
        came = []
        for object_id, segment, offset, size, flags in places:
            here = object_id
            if flags & PLACE_NEW:
                came.append(object_id)
                arrival = self._open.get(object_id)
                if arrival is None or not arrival.is_whole_or_nowhere or arrival.total != size:
                    raise FrameError(f"object {object_id:#x} of {size} bytes is named, but has not come")
                here = arrival.here
                if here:
                    _, segment, offset, _, _ = self._store.place_of(here)
            found.append((here or object_id, segment, offset, size, flags))
        for object_id in came:  # all is well: they are the record's from here on
            self._open.pop(object_id, None)
            if self.carrier is not None:
                self.carrier.forget_expected(object_id)
        return join_places(found, stream)

    def forget(self, object_id: int) -> None:
        """Nobody wants this object any more, be it here or on its way."""
        arrival = self._open.pop(object_id, None)
        if self.carrier is not None:
            self.carrier.forget_expected(object_id)
        if arrival is None:
            self._store.free(object_id)
        else:
            self._take_parts(object_id, arrival)
            arrival.close(lambda: self._store.free(arrival.here))

    def close(self) -> None:
        """Nobody will take what is left."""
        for object_id in list(self._open):
            self.forget(object_id)


def new_objects(payload: bytes) -> Iterable[Place]:
    """The places of objects that this payload brings with it."""
    return (place for place in split_places(payload)[0] if place[4] & PLACE_NEW)


def pack_ids(ids: Iterable[int]) -> bytes:
    """Object ids as a record of rings carries them: 8 bytes each."""
    return b"".join(one.to_bytes(8, "little") for one in ids)


def unpack_ids(payload: bytes) -> list[int]:
    """The ids of a record that `pack_ids` or the core has packed."""
    ids: list[int] = memoryview(payload).cast("Q").tolist()
    return ids
