"""FlightRecorder: a viewer's look into the ring of events that a scheduler of this host writes.

The ring is mapped read-only and followed by number, so the scheduler neither knows of its viewers nor waits for any.
What it has written over before it was read is lost to the viewer, which counts it (`lost`).

Rule 1: what is read may be written over meanwhile. So `written` is read again after the copy (SYNC POINT record in
        native/scheduler/recorder.pyx), and of the copy only what cannot have been touched is given out.
Rule 2: the ring grows while it is new: its size is read each time.
Not here: what stands in an event (events), how one hears of a recorder's name (report.Recorder).
"""

import mmap
import os

from scaler.exceptions import ScalerError
from scaler.monitor.events import EVENT_BYTES

HEADER_BYTES = 4096
MAGIC, VERSION = 0x53435243, 1
SLACK = 64  # RECORDER_SLACK in native/scheduler/recorder.pyx
_ROOM, _WRITTEN = 2, 3  # words of 8 bytes


class RecorderError(ScalerError, OSError):
    """There is no recorder of this name on this host, or it cannot be read; the message says why."""


class FlightRecorder:
    """`segment` as `Summary.recorder` has it; `epoch` of the scheduler that is meant, if it is known."""

    def __init__(self, segment: str, epoch: int | None = None) -> None:
        path = segment if segment.startswith("/") else f"/dev/shm/{segment}"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise RecorderError(
                f"the scheduler's recorder {path} cannot be read here ({error.strerror}): it is on another host, or of "
                "another user, or has gone"
            ) from None
        try:
            self._map = mmap.mmap(descriptor, os.fstat(descriptor).st_size, prot=mmap.PROT_READ)
        except (OSError, ValueError) as error:
            raise RecorderError(f"{path} cannot be mapped: {error}") from None
        finally:
            os.close(descriptor)
        self._bytes = memoryview(self._map)
        self._words = self._bytes[: len(self._bytes) & ~7].cast("Q")
        self.epoch = self._words[1]
        self.next = 0
        """The number of the event that `read` begins with."""
        self.lost = 0
        if int.from_bytes(self._bytes[:4], "little") != MAGIC or int.from_bytes(self._bytes[4:8], "little") != VERSION:
            self.close()
            raise RecorderError(f"{path} is no recorder of this version of scaler")
        if epoch is not None and self.epoch != epoch:
            self.close()
            raise RecorderError(f"{path} is the recorder of another scheduler")

    @property
    def written(self) -> int:
        """How many events have ever been written."""
        return int(self._words[_WRITTEN])

    def read(self, most: int = 65536) -> tuple[int, bytes]:
        """(number of the first one, events from there on), the oldest that were not read, at most so many."""
        end = self.written
        room = int(self._words[_ROOM])
        if not room or room & (room - 1) or HEADER_BYTES + room * EVENT_BYTES > len(self._bytes):
            raise RecorderError("the recorder's ring has a size that it cannot have")
        self._skip_to(end + SLACK - room)
        first = self.next
        end = min(end, first + most)
        data = self._copy(first, end, room)
        # SYNC POINT record
        self._skip_to(min(self.written + SLACK - room, end))
        good = data[(self.next - first) * EVENT_BYTES :]
        first, self.next = self.next, max(end, self.next)
        return first, good

    def _skip_to(self, number: int) -> None:
        """What is below may be written over by now."""
        if number > self.next:
            self.lost += number - self.next
            self.next = number

    def _copy(self, first: int, end: int, room: int) -> bytes:
        parts = []
        while first < end:
            at = first % room
            count = min(end - first, room - at)
            start = HEADER_BYTES + at * EVENT_BYTES
            parts.append(bytes(self._bytes[start : start + count * EVENT_BYTES]))
            first += count
        return b"".join(parts)

    def close(self) -> None:
        """Idempotent."""
        self._words.release()
        self._bytes.release()
        self._map.close()
