"""Objects on the wire: in chunks, from a store here into a store there.

Rule 1: chunks of one object come in order and without holes; anything else is an error that ends the session.
Rule 2: what has come belongs to the receiver's store, under the id that the sender gave it or under one of the store's
        own; whoever takes it from here frees it in the end.
Rule 3: an object for which there is no room is taken all the same, and is then not there: whoever needs it is told.
Not here: frames and their numbers (link.conversation), who needs an object and for how long.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable

from scaler._native import PLACE_NEW, Loan, Store, join_places, split_places
from scaler.protocol.frames import CHUNK_BYTES, Chunk, FrameError

LARGEST_OBJECT_BYTES = 1 << 40
MOST_INCOMPLETE = 1024  # objects of one session that have not come whole
Place = tuple[int, int, int, int, int]  # object, segment, offset, size, flags
_log = logging.getLogger(__name__)


class OutgoingObjects:
    """A queue of objects that are sent chunk by chunk, and of what is to be done between them."""

    def __init__(self) -> None:
        self._queue: deque[tuple[int, memoryview] | Callable[[], None]] = deque()
        self._offset = 0

    def __bool__(self) -> bool:
        return bool(self._queue)

    def add(self, loan: Loan) -> None:
        """Send this object. OSError or ValueError if its bytes are not to be had."""
        self._queue.append((loan.object, memoryview(loan.open(False))))

    def after(self, what: Callable[[], None]) -> None:
        """Call this once all that is queued now has been sent."""
        if self._queue:
            self._queue.append(what)
        else:
            what()

    def send_next(self, post: Callable[[Chunk], None]) -> None:
        """Post one chunk, or do what comes next."""
        first = self._queue[0]
        if not isinstance(first, tuple):
            self._queue.popleft()
            first()
            return
        object_id, view = first
        data = bytes(view[self._offset : self._offset + CHUNK_BYTES])
        post(Chunk(object_id, self._offset, view.nbytes, data))
        self._offset += len(data)
        if self._offset == view.nbytes:
            self._queue.popleft()
            self._offset = 0

    def close(self) -> None:
        self._queue.clear()


class IncomingObjects:
    """Objects that are coming, and those that have come, until a record has named them.

    `renames`: the store gives them ids of its own. Without `until_named` they are the store's business once they are
    whole. `client_bits`: ids must begin with these.
    """

    def __init__(
        self, store: Store, *, renames: bool = False, until_named: bool = True, client_bits: int | None = None
    ) -> None:
        self._store, self._renames, self._until_named, self._client_bits = store, renames, until_named, client_bits
        self._open: dict[int, tuple[int, int, int]] = {}  # object -> (its id here, 0 if it has no room; have; total)

    def add(self, chunk: Chunk) -> None:
        """Put a chunk where it belongs. FrameError if it does not follow the one before."""
        here, have, total = self._open.get(chunk.object, (-1, 0, chunk.total_bytes))
        if chunk.offset != have or total != chunk.total_bytes or total > LARGEST_OBJECT_BYTES:
            raise FrameError(f"object {chunk.object:#x}: a chunk at {chunk.offset} came after {have} bytes of {total}")
        if here < 0:
            if len(self._open) >= MOST_INCOMPLETE:
                raise FrameError(f"object {chunk.object:#x}: {len(self._open)} others have not been named yet")
            if not chunk.object or self._client_bits not in (None, chunk.object >> 40):
                raise FrameError(f"object {chunk.object:#x} is not this peer's")
            here = self._reserve(chunk)
        if here:
            self._store.fill(here, have, chunk.data)
        have += len(chunk.data)
        self._open[chunk.object] = here, have, total
        if have == total and not self._until_named:
            del self._open[chunk.object]

    def _reserve(self, chunk: Chunk) -> int:
        try:
            return self._store.reserve(0 if self._renames else chunk.object, chunk.total_bytes)[0]
        except (OSError, MemoryError) as error:
            _log.warning("no room for an object of %d bytes: %s", chunk.total_bytes, error)
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
                here, have, total = self._open.get(object_id, (0, -1, -1))
                if have != size or total != size:
                    raise FrameError(f"object {object_id:#x} of {size} bytes is named, but has not come")
                if here:
                    _, segment, offset, _, _ = self._store.place_of(here)
            found.append((here or object_id, segment, offset, size, flags))
        for object_id in came:  # all is well: they are the record's from here on
            self._open.pop(object_id, None)
        return join_places(found, stream)

    def close(self) -> None:
        """Nobody will take what is left."""
        for here, _, _ in self._open.values():
            if here:
                self._store.free(here)
        self._open.clear()


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
