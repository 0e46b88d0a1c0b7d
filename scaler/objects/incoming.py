"""IncomingObjects: what comes to a session for the store here, by connections of its own or in chunks.

Rule 1: chunks of one object come in order and without holes; anything else is an error that ends the session.
Rule 2: an object that has come belongs to the receiver's store, under the id that the sender gave it or under one of
        the store's own. The code that takes it from here frees it in the end.
Rule 3: an object for which there is no room is taken all the same, and is then not there: a task that needs it is told.
Not here: frames and their numbers (session.conversation), which tasks need an object and for how long (the core),
connections (port, dialer), the sending side (outgoing).
"""

import logging
from functools import partial

from scaler._native import PLACE_NEW, Store, join_places, split_places
from scaler.objects.arrival import Arrival
from scaler.objects.transport import Transport
from scaler.program.sparing_log import SparingLog
from scaler.protocol.frames import Chunk, FrameError, Offer

SMALL_BYTES = 1 << 20  # of what shares segments with others (store)
# Objects of one session that have come, or are coming, and that no record has named yet. The sender keeps below it: of
# what it has begun to send, all is less than outgoing.MOST_AHEAD behind the oldest that has not arrived, and what has
# arrived waits for others of its own record, of which a record has room for 817.
MOST_INCOMPLETE = 2048
# Parts of small objects of one session that wait here for the rest. If there are more, the object of which most has
# come gets its place before it is whole: to refuse it would end sessions of peers whose other transfers have failed.
MOST_PARTS_BYTES = 64 << 20
PART_BYTES = 64  # what one takes besides its bytes
_sparing = SparingLog(logging.getLogger(__name__))


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
        self.transport: Transport | None = None

    def add(self, chunk: Chunk) -> None:
        """Put a chunk where it belongs. FrameError if it does not follow the one before."""
        arrival = self._open.get(chunk.object)
        if arrival is None:
            if chunk.offset:
                raise FrameError(f"object {chunk.object:#x}: a chunk at {chunk.offset}, but none came before")
            arrival = self._new_arrival(chunk.object, chunk.total_bytes, False)
        elif not chunk.offset and not arrival.is_stopped:  # it was offered, and comes in chunks after all
            if not arrival.stop():  # two threads would write into its room
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
        """Memory is taken as it is filled, not at the word of the sender, which says how large an object will be."""
        try:
            self._store.fill(arrival.here, chunk.offset, chunk.data)
        except OSError as error:
            _sparing.warning(self._client_bits, "no room for an object of %d bytes: %s", chunk.total_bytes, error)
            self._store.free(arrival.here)
            arrival.here = 0

    def expect(self, offer: Offer) -> Arrival:
        """Make room for an object that comes by a transport. FrameError if there is one of that id already."""
        if offer.object in self._open:
            raise FrameError(f"object {offer.object:#x} is offered, but it is coming already")
        arrival = self._open[offer.object] = self._new_arrival(offer.object, offer.total_bytes, True)
        return arrival

    def on_come(self, object_id: int) -> None:
        """An object that was expected is here, or there is no room for it: `until_named` says whose it is now."""
        if not self._until_named:
            self._open.pop(object_id, None)

    def _new_arrival(self, object_id: int, total: int, by_transport: bool) -> Arrival:
        if len(self._open) >= MOST_INCOMPLETE:
            raise FrameError(f"object {object_id:#x}: {len(self._open)} others have not been named yet")
        if not object_id or self._client_bits not in (None, object_id >> 40):
            raise FrameError(f"object {object_id:#x} is not this peer's")
        if not by_transport and total <= SMALL_BYTES:
            arrival = Arrival(0, total, None)
            arrival.parts = []
            arrival.stop()
            return arrival
        here = self._reserve(object_id, total)
        view = self._store.open(here) if here and by_transport else None
        arrival = Arrival(here, total, view, partial(self._store.allocate, here) if here else None)
        if not by_transport:
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
            if self.transport is not None:
                self.transport.forget_expected(object_id)
        return join_places(found, stream)

    def forget(self, object_id: int) -> None:
        """Nobody wants this object any more, be it here or on its way."""
        arrival = self._open.pop(object_id, None)
        if self.transport is not None:
            self.transport.forget_expected(object_id)
        if arrival is None:
            self._store.free(object_id)
        else:
            self._take_parts(object_id, arrival)
            arrival.close(lambda: self._store.free(arrival.here))

    def close(self) -> None:
        """Nobody will take what is left."""
        for object_id in list(self._open):
            self.forget(object_id)
