"""Mapping: how a map is cut into chunks, and how its results come back into order.

A chunk is some milliseconds of work by the durations measured so far, at least four per worker of what is left, and
grows at most fourfold from one round to the next: so a million quick calls and ten slow ones are both cut right
without a knob. No more chunks are under way than keep every worker busy, so a huge iterable is read as it is worked
off.

A chunk whose worker died comes back at once, and its calls are sent one by one: so whichever it was fails alone, after
as many tries as it may have, the one in the chunk included. Where nothing may be run again, nothing is sent in chunks.

Not here: how a chunk is packed and run (native/records/chunk.pyx).
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from itertools import islice
from operator import length_hint
from typing import Any

from scaler._native import ClientRings, MapProgress, PendingFuture, TaskOptions
from scaler.client.objects import InputEnded, Parcel

CHUNK_NS = 2_000_000
GROWTH = 4
CHUNKS_PER_WORKER = 4
READ_AHEAD = 8192
READ_NS = 2_000_000


class ChunkSizes:
    """How many calls the next chunk gets. No clock, no I/O."""

    def __init__(self, workers: int) -> None:
        self.workers = max(1, workers)
        self._limit = 1
        self._mean_ns = 0.0

    def on_ended(self, items: int, duration_ns: int) -> None:
        """A chunk of `items` calls took this long in its worker."""
        mean_ns = duration_ns / items
        self._mean_ns = mean_ns if self._mean_ns == 0 else (self._mean_ns + mean_ns) / 2
        if items >= self._limit:
            self._limit *= GROWTH

    def next_size(self, left: int | None) -> int:
        """For `left` calls still to be sent, or None if nobody knows how many there are."""
        size = self._limit
        if self._mean_ns:
            size = min(size, int(CHUNK_NS / self._mean_ns))
        if left is not None:
            size = min(size, left // (CHUNKS_PER_WORKER * self.workers))
        return max(1, size)

    @property
    def most_open(self) -> int:
        """How many chunks may be under way."""
        return CHUNKS_PER_WORKER * self.workers + 2


class Calls:
    """The argument tuples of a map, read ahead by about READ_NS and at most READ_AHEAD.

    How many that are is felt for from one upwards: nothing is sent while a slow generator is waited for.
    """

    def __init__(self, iterable: Iterable[Any], clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._iterator: Iterator[Any] = iter(iterable)
        self._unread: int | None = length_hint(iterable, -1)
        if self._unread < 0:
            self._unread = None
        self._clock_ns = clock_ns
        self._read_ahead = 1
        self.buffer: list[Any] = []
        self.at = 0

    def has_more(self) -> bool:
        """Read on if need be. TypeError at an item that is no tuple or list of arguments."""
        if self.at < len(self.buffer):
            return True
        start_ns = self._clock_ns()
        self.buffer, self.at = list(islice(self._iterator, self._read_ahead)), 0
        if self._clock_ns() - start_ns > READ_NS:
            self._read_ahead = max(1, self._read_ahead // GROWTH)
        else:
            self._read_ahead = min(READ_AHEAD, self._read_ahead * GROWTH)
        for item in self.buffer:
            if type(item) is not tuple and not isinstance(item, tuple | list):
                raise TypeError(f"map takes tuples or lists of arguments, not {type(item).__name__}: {item!r}")
        if self._unread is not None:
            self._unread = max(0, self._unread - len(self.buffer))
        return bool(self.buffer)

    @property
    def left(self) -> int | None:
        """How many calls have not been sent; None if nobody knows."""
        return None if self._unread is None else self._unread + len(self.buffer) - self.at


def run_map(
    rings: ClientRings,
    function: int,
    iterable: Iterable[Any],
    begin: Callable[[], Parcel],
    read: Callable[[PendingFuture], list[Any]],
    options: TaskOptions,
) -> list[Any]:
    """All results in input order. The first failure in input order is raised; what has not started is cancelled."""
    sizes = ChunkSizes(rings.count_workers())
    calls = Calls(iterable)
    under_way: deque[PendingFuture] = deque()
    sent: dict[PendingFuture, tuple[list[Any], int]] = {}  # of chunks that are open: where their calls stand
    anew: dict[PendingFuture, list[PendingFuture]] = {}  # of chunks whose worker died: their calls, one by one
    progress = MapProgress(rings, sent)
    results: list[Any] = []

    def send(buffer: list[Any], at: int, most: int, how: TaskOptions) -> PendingFuture:
        try:
            chunk = rings.submit_chunk(function, buffer, at, most, progress, begin, how)
        except InputEnded as ended:
            raise ended.error or CancelledError("an argument is a future that was cancelled") from None
        sent[chunk] = buffer, at
        return chunk

    try:
        while True:
            while len(sent) < sizes.most_open and calls.has_more():
                size = sizes.next_size(calls.left) if options.retries else 1
                chunk = send(calls.buffer, calls.at, size, options)
                under_way.append(chunk)
                calls.at += chunk.items
            if not under_way:
                return results
            for chunk in progress.wait():
                buffer, at = sent.pop(chunk)
                if not chunk.has_lost_worker:
                    sizes.on_ended(chunk.items, chunk.profile[0])
                elif chunk.items > 1 and not getattr(chunk.exception(), "is_final", False):
                    once_less = one_retry_less(options)
                    singles = anew[chunk] = []
                    for i in range(at, at + chunk.items):
                        singles.append(send(buffer, i, 1, once_less))
            while under_way and under_way[0].is_over and under_way[0] not in sent:
                chunk = under_way.popleft()
                if chunk in anew:
                    under_way.extendleft(reversed(anew.pop(chunk)))
                else:
                    results += read(chunk)
            sizes.workers = max(1, rings.count_workers())
    finally:
        for chunk in [*under_way, *(single for singles in anew.values() for single in singles)]:
            chunk.cancel()


def one_retry_less(options: TaskOptions) -> TaskOptions:
    """For calls whose chunk has died, which may have been one's own doing."""
    return TaskOptions(retries=options.retries - 1, priority=options.priority, limit_ms=options.limit_ms)
