"""Mapping: how a map is cut into chunks, and how its results come back into order.

A chunk is some milliseconds of work by the durations measured so far, at least four per worker of what is left, and
grows at most fourfold from one round to the next: so a million quick calls and ten slow ones are both cut right
without a knob. No more chunks are under way than keep every worker busy, so a huge iterable is read as it is worked
off.

Not here: how a chunk is packed and run (native/chunk.pyx).
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
    progress = MapProgress(rings, under_way)
    open_chunks = 0
    results: list[Any] = []
    try:
        while True:
            while open_chunks < sizes.most_open and calls.has_more():
                size = sizes.next_size(calls.left)
                try:
                    chunk = rings.submit_chunk(function, calls.buffer, calls.at, size, progress, begin, options)
                except InputEnded as ended:
                    raise ended.error or CancelledError("an argument is a future that was cancelled") from None
                under_way.append(chunk)
                calls.at += chunk.items
                open_chunks += 1
            if not under_way:
                return results
            for chunk in progress.wait():
                open_chunks -= 1
                sizes.on_ended(chunk.items, chunk.profile[0])
            while under_way and under_way[0].is_over:
                results += read(under_way.popleft())
            sizes.workers = max(1, rings.count_workers())
    finally:
        for chunk in under_way:
            chunk.cancel()
