"""Objects on the wire: payloads too large for a record, in chunks, from a segment here into a segment there.

Rule 1: chunks of one object come in order and without holes; anything else is an error that ends the session.
Rule 2: a segment that is being received belongs to the receiver; whoever takes it from here unlinks it in the end.
Not here: frames and their numbers (link.conversation), whose payload it is.
"""

from collections import deque
from collections.abc import Callable

from scaler._native import Segment
from scaler.link.names import make_segment, segment_name
from scaler.protocol.frames import CHUNK_BYTES, Chunk, FrameError

LARGEST_OBJECT_BYTES = 1 << 40


class OutgoingObjects:
    """A queue of segments that are sent chunk by chunk."""

    def __init__(self) -> None:
        self._queue: deque[tuple[int, Segment, Callable[[int, int], None]] | Callable[[], None]] = deque()
        self._last_number = 0
        self._offset = 0

    def __bool__(self) -> bool:
        return bool(self._queue)

    def add(self, segment: Segment, on_sent: Callable[[int, int], None]) -> None:
        """Send this segment; after its last chunk on_sent(number, size) posts the record that names it."""
        self._last_number += 1
        self._queue.append((self._last_number, segment, on_sent))

    def after(self, what: Callable[[], None]) -> None:
        """Call this once all that is queued now has been sent."""
        if self._queue:
            self._queue.append(what)
        else:
            what()

    def send_next(self, post: Callable[[Chunk], None]) -> None:
        """Post one chunk."""
        first = self._queue[0]
        if not isinstance(first, tuple):
            self._queue.popleft()
            first()
            return
        number, segment, on_sent = first
        data = bytes(memoryview(segment)[self._offset : self._offset + CHUNK_BYTES])
        post(Chunk(number, self._offset, segment.size, data))
        self._offset += len(data)
        if self._offset == segment.size:
            self._queue.popleft()
            self._offset = 0
            on_sent(number, segment.size)


class IncomingObjects:
    """Objects that have come, or are coming, and that nobody has taken yet."""

    def __init__(self, life: str) -> None:
        self._life = life
        self._open: dict[int, tuple[Segment, int]] = {}

    def add(self, chunk: Chunk) -> None:
        """Put a chunk where it belongs. FrameError if it does not follow the one before."""
        segment, have = self._open.get(chunk.object, (None, 0))
        if chunk.offset != have or chunk.total_bytes > LARGEST_OBJECT_BYTES:
            raise FrameError(f"object {chunk.object}: a chunk at {chunk.offset} came after {have} bytes")
        if segment is None:
            segment = make_segment(segment_name(self._life), chunk.total_bytes)
        elif segment.size != chunk.total_bytes:
            raise FrameError(f"object {chunk.object}: it had {segment.size} bytes, now {chunk.total_bytes}")
        memoryview(segment)[have : have + len(chunk.data)] = chunk.data
        self._open[chunk.object] = (segment, have + len(chunk.data))

    def take(self, name: bytes) -> bytes:
        """The place (size and segment's name) of the object that a record names. FrameError if it is not there."""
        number, size = int.from_bytes(name[:8], "little"), int.from_bytes(name[8:16], "little")
        segment, have = self._open.pop(number, (None, 0))
        if segment is None or have != size or segment.size != size:
            raise FrameError(f"object {number} of {size} bytes is named, but {have} bytes of it have come")
        return size.to_bytes(8, "little") + segment.name.encode("ascii")

    def close(self) -> None:
        """Nobody will take what is left."""
        for segment, _ in self._open.values():
            Segment.unlink(segment.name)
        self._open.clear()


def object_name(number: int, size: int) -> bytes:
    """What a record carries instead of a payload."""
    return number.to_bytes(8, "little") + size.to_bytes(8, "little")


def open_place(place: bytes) -> Segment:
    """The segment that a record of a ring names."""
    return Segment.open(place[8:].decode("ascii"))
