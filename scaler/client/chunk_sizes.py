"""ChunkSizes: how many calls of a map go into one record.

A chunk is some milliseconds of work by the durations measured so far, at least four per worker of what is left unless
these would be very short, and grows at most fourfold from one round to the next: so a million quick calls and ten slow
ones are both cut right without a knob.

How long a call takes is remembered with the function (`Pace`), from one map to the next: a program that maps the same
function over a few dozen items again and again, as optimizers and samplers do, gets its chunks right at once. Only the
duration is remembered, never a size, since the next map has another number of items.

Rule 1: where a chunk takes far longer than was remembered, the map begins to learn anew, with one call. A chunk cannot
        be cut once it runs, so until that one ends its calls wait for each other.
Not here: when a chunk is sent (mapping).
"""

from typing import Protocol

CHUNK_NS = 2_000_000
LEAST_CHUNK_NS = 100_000  # of work, below which a record of its own costs more than it gains
OVERRUN = 4
GROWTH = 4
CHUNKS_PER_WORKER = 4
MOST_CALLS = 1 << 20


class Pace:
    """How long a call of one function takes, as far as is known; 0 if nobody has called it."""

    __slots__ = ("mean_ns",)

    def __init__(self) -> None:
        self.mean_ns = 0.0


class Sizes(Protocol):
    """How many calls the next chunk gets."""

    def on_ended(self, items: int, duration_ns: int) -> None:
        """A chunk of `items` calls took this long in its worker."""

    def next_size(self, left: int | None) -> int:
        """For `left` calls still to be sent, or None if nobody knows how many there are."""


class ChunkSizes:
    """Sizes by what is measured, and remembered. No clock, no I/O."""

    def __init__(self, workers: int, pace: Pace | None = None) -> None:
        self.workers = max(1, workers)
        self._pace = Pace() if pace is None else pace
        self._limit = MOST_CALLS if self._pace.mean_ns else 1

    def on_ended(self, items: int, duration_ns: int) -> None:
        pace, mean_ns = self._pace, duration_ns / items
        if duration_ns > CHUNK_NS and duration_ns > OVERRUN * items * pace.mean_ns:
            pace.mean_ns, self._limit = mean_ns, 1
        else:
            pace.mean_ns = mean_ns if pace.mean_ns == 0 else (pace.mean_ns + mean_ns) / 2
        if items >= self._limit:
            self._limit *= GROWTH

    def next_size(self, left: int | None) -> int:
        size, mean_ns = self._limit, self._pace.mean_ns
        if mean_ns:
            size = min(size, int(CHUNK_NS / mean_ns))
        if left is not None:
            share = left // (CHUNKS_PER_WORKER * self.workers)
            size = min(size, left, max(share, int(LEAST_CHUNK_NS / mean_ns)) if mean_ns else share)
        return max(1, size)


class AtOnceSizes:
    """For calls that wait at the same time, those of a chunk: as many as may, or, where there are few, each worker's
    share. How long they take says nothing of how many there may be."""

    def __init__(self, most: int) -> None:
        self.workers, self._most = 1, most
        self._has_begun = False

    def on_ended(self, items: int, duration_ns: int) -> None:
        """It makes no difference."""

    def next_size(self, left: int | None) -> int:
        if not self._has_begun and left is not None:
            self._has_begun, self._most = True, max(1, min(self._most, -(-left // self.workers)))
        return self._most


class FixedSizes:
    """Sizes as the caller wants them."""

    def __init__(self, size: int) -> None:
        self.size = size

    def on_ended(self, items: int, duration_ns: int) -> None:
        """It makes no difference."""

    def next_size(self, left: int | None) -> int:
        return self.size
