"""Mapping: a map's chunks, how they are sent, and how their results come back.

No more chunks are under way than keep every worker busy, so a huge iterable is read as it is worked off.

A chunk whose worker died comes back at once, and its calls are sent one by one. So the call that has killed the worker
fails alone, after as many tries as it may have, the try in the chunk included. Where nothing may be run again, nothing
is sent in chunks.

Not here: how many calls make a chunk (chunk_sizes), how it is packed and run (native/records/chunk.pyx), results that
are read as they come (imap).
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from itertools import islice
from operator import length_hint
from typing import Any

from scaler._native import MapProgress, PendingFuture, TaskOptions, TaskSender
from scaler.client.chunk_sizes import CHUNKS_PER_WORKER, GROWTH, AtOnceSizes, ChunkSizes, FixedSizes, Sizes
from scaler.client.parcel import InputEnded, Parcel
from scaler.values.payload import Failed, Outcomes

READ_AHEAD = 8192
READ_NS = 2_000_000
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_IN_MEMORY: tuple[type, ...] = (list, tuple, range, dict, set, frozenset, deque, *_VIEWS)
_ARRAYS = ("numpy", "pandas")


class Calls:
    """The argument tuples of a map, read ahead by about READ_NS and at most READ_AHEAD.

    How many that are is found out from one upwards: nothing is sent while a slow generator is waited for. What is in
    memory anyway (`is_quick`) is read by the thousand from the start. `hint` is how many there are, if that is known;
    with `check` each must be a tuple or a list; `wrap` makes of each what is sent in its place. Sent in chunks of
    `multiple`, they are read by so many as soon as that is quick enough. `are_bare` calls have one argument each, and
    are that instead of a tuple of it.

    An iterable that raises has `error` from then on, and no more items: those before it are sent.
    """

    def __init__(
        self,
        iterable: Iterable[Any],
        clock_ns: Callable[[], int] = time.monotonic_ns,
        *,
        hint: int | None = None,
        is_quick: bool = False,
        check: bool = True,
        wrap: Callable[[Any], Any] | None = None,
        are_bare: bool = False,
    ) -> None:
        self.are_bare = are_bare
        self._iterator: Iterator[Any] = iter(iterable)
        self._unread = hint
        self._clock_ns = clock_ns
        self._read_ahead = READ_AHEAD if is_quick else 1
        self.multiple = 1
        self._check, self._wrap = check, wrap
        self.buffer: list[Any] = []
        self.at = 0
        self.error: Exception | None = None

    @staticmethod
    def tuples(iterable: Iterable[Any], wrap: Callable[[Any], Any] | None = None) -> "Calls":
        """Each item is the arguments of a call."""
        hint = length_hint(iterable, -1)
        return Calls(iterable, hint=None if hint < 0 else hint, is_quick=_is_in_memory(iterable), wrap=wrap)

    @staticmethod
    def zipped(iterables: tuple[Iterable[Any], ...], wrap: Callable[[Any], Any] | None = None) -> "Calls":
        """One argument from each, until the shortest ends."""
        hints = [length_hint(iterable, -1) for iterable in iterables]
        known = [hint for hint in hints if hint >= 0]
        is_quick = all(_is_in_memory(iterable) for iterable in iterables)
        are_bare = len(iterables) == 1 and wrap is None
        rows: Iterable[Any] = iterables[0] if are_bare else zip(*iterables)  # noqa: B905
        return Calls(rows, hint=min(known, default=None), is_quick=is_quick, check=False, wrap=wrap, are_bare=are_bare)

    def has_more(self, most: int = sys.maxsize) -> bool:
        """Read on if need be, at most so many. TypeError at an item that is no tuple or list of arguments."""
        if self.at < len(self.buffer):
            return True
        if self.error is not None:
            return False
        start_ns = self._clock_ns()
        self.buffer, self.at = [], 0
        try:
            self.buffer.extend(islice(self._iterator, self._next_ahead(most)))  # keeps those before one that fails
        except Exception as error:
            self.error = error
        if self._clock_ns() - start_ns > READ_NS:
            self._read_ahead = max(1, self._read_ahead // GROWTH)
        else:
            self._read_ahead = min(max(READ_AHEAD, self.multiple), self._read_ahead * GROWTH)
        if self._check:
            for item in self.buffer:
                if type(item) is not tuple and not isinstance(item, tuple | list):
                    raise TypeError(
                        f"map takes tuples or lists of arguments, not {type(item).__name__}: {item!r}; "
                        "map_each(fn, items) calls fn(item) for each"
                    )
        if self._unread is not None:
            self._unread = max(0, self._unread - len(self.buffer))
        if self._wrap is not None:
            self.buffer = [self._wrap(item) for item in self.buffer]
        return bool(self.buffer)

    def _next_ahead(self, most: int) -> int:
        ahead = min(self._read_ahead, most)
        return ahead - ahead % self.multiple if ahead > self.multiple else ahead

    @property
    def left(self) -> int | None:
        """How many calls have not been sent; None if nobody knows."""
        return None if self._unread is None else self._unread + len(self.buffer) - self.at


def _is_in_memory(iterable: Iterable[Any]) -> bool:
    kind = type(iterable)
    return kind in _IN_MEMORY or kind.__module__.partition(".")[0] in _ARRAYS


class MapRun:
    """The chunks of one map: `send_more`, `wait`, and `take` those that have ended, in input order or as they end."""

    def __init__(
        self,
        sender: TaskSender,
        function: int,
        calls: Calls,
        begin: Callable[[], Parcel],
        options: TaskOptions,
        sizes: Sizes,
        timeout_s: float | None = None,
        is_ordered: bool = True,
    ) -> None:
        self._sender, self._function, self._calls, self._begin, self._options = sender, function, calls, begin, options
        self._sizes = sizes if options.retries else FixedSizes(1)
        if isinstance(self._sizes, FixedSizes):
            calls.multiple = self._sizes.size
        self.set_timeout(timeout_s)
        self._is_ordered = is_ordered
        self._sent: dict[PendingFuture, tuple[list[Any], int]] = {}  # of chunks that are open: where their calls stand
        self._anew: dict[
            PendingFuture, list[PendingFuture]
        ] = {}  # of chunks whose worker died: their calls, one by one
        self._untaken: deque[PendingFuture] = deque()  # all of them in order, or those that have ended
        self._untaken_calls = 0
        self._progress = MapProgress(sender.rings, self._sent)
        self._most_open = 0  # chunks; 0: by the number of workers
        self.is_cancelled = False
        self.ended_calls = self.failed_calls = 0
        """For who shows how far it is. A call that has failed without ending the map is noted by who reads it."""

    def send_more(self, most_chunks: int | None = None, most_calls: int | None = None) -> None:
        """Send as many chunks as may be under way.

        No more than `most_chunks` per worker, and `most_calls` in all, will have been sent and not been taken then, so
        that what comes back before somebody takes it stays bounded.
        """
        workers = max(1, self._sender.rings.count_workers())
        if isinstance(self._sizes, ChunkSizes | AtOnceSizes):
            self._sizes.workers = workers
        most_open = self._most_open or CHUNKS_PER_WORKER * workers + 2
        room = sys.maxsize
        while len(self._sent) < most_open:
            if most_chunks is not None and len(self._untaken) >= most_chunks * workers:
                return
            if most_calls is not None:
                room = most_calls - self._untaken_calls
            if room <= 0 or not self._calls.has_more(room):
                return
            calls = self._calls
            chunk = self._send(calls.buffer, calls.at, min(self._sizes.next_size(calls.left), room), self._options)
            calls.at += chunk.items
            self._untaken_calls += chunk.items
            if self._is_ordered:
                self._untaken.append(chunk)

    def send_all(self) -> None:
        """Send all calls now, however many there are."""
        self._most_open = sys.maxsize
        while self._calls.error is None and self._calls.has_more():
            self.send_more()

    def _send(self, buffer: list[Any], at: int, most: int, how: TaskOptions) -> PendingFuture:
        try:
            chunk = self._sender.submit_chunk(
                self._function, buffer, at, most, self._progress, self._begin, how, self._calls.are_bare
            )
        except InputEnded as ended:
            raise ended.error or CancelledError("an argument is a future that was cancelled") from None
        self._sent[chunk] = buffer, at
        return chunk

    @property
    def sent(self) -> Iterable[PendingFuture]:
        """The chunks that are under way, as far as anybody has looked."""
        return self._sent

    def set_timeout(self, timeout_s: float | None) -> None:
        """From now on."""
        self._timeout_s = timeout_s
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s

    def wait(self) -> None:
        """Until a chunk has ended. TimeoutError if that is not before the map's time is over."""
        left_s = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        try:
            ended = self._progress.wait(left_s)
        except TimeoutError:
            if self._deadline is None or time.monotonic() < self._deadline:
                raise  # by others' code that came in between
            raise TimeoutError(f"the map was not done within {self._timeout_s} s") from None
        for chunk in ended:
            self._on_ended(chunk, *self._sent.pop(chunk))

    def _on_ended(self, chunk: PendingFuture, buffer: list[Any], at: int) -> None:
        if not chunk.has_lost_worker:
            self._sizes.on_ended(chunk.items, chunk.profile[0])
        elif chunk.items > 1 and not getattr(chunk.exception(), "is_final", False):
            once_less = one_retry_less(self._options)
            singles = self._anew[chunk] = []
            for i in range(at, at + chunk.items):
                singles.append(self._send(buffer, i, 1, once_less))
            return
        self.ended_calls += chunk.items
        if not self._is_ordered:
            self._untaken.append(chunk)

    @property
    def total_calls(self) -> int | None:
        """How many there are to be, if that is known."""
        return self._calls.left

    @property
    def is_over(self) -> bool:
        """Whether all that was sent has been taken."""
        return not self._untaken and not self._sent

    @property
    def error(self) -> Exception | None:
        """What the iterable has raised: nothing more will be sent."""
        return self._calls.error

    def take(self) -> PendingFuture | None:
        """A chunk that has ended, the next in its order; None if there is none yet."""
        while self._untaken:
            chunk = self._untaken[0]
            if chunk in self._sent or not chunk.is_over:
                return None
            self._untaken.popleft()
            singles = self._anew.pop(chunk, None)
            if singles is None:
                self._untaken_calls -= chunk.items
                return chunk
            self._untaken.extendleft(reversed(singles))
        return None

    def cancel(self) -> None:
        """What has not ended is not wanted."""
        self.is_cancelled = True
        for chunk in list(self._sent):
            chunk.cancel()


def run_map(run: MapRun, read: Callable[[PendingFuture], list[Any]]) -> list[Any]:
    """All results in input order. The first failure in input order is raised; what has not started is cancelled."""
    results: list[Any] = []
    try:
        while True:
            run.send_more()
            while (chunk := run.take()) is not None:
                results += read(chunk)
            if run.error is not None:
                raise run.error
            if run.is_over:
                return results
            run.wait()
    finally:
        run.cancel()


def with_exceptions(outcomes: list[Any]) -> list[Any]:
    """These, with the exceptions themselves in place of what says that a call has failed."""
    if type(outcomes) is not Outcomes:
        return outcomes
    return [item.error if type(item) is Failed else item for item in outcomes]


def count_failed(outcomes: list[Any]) -> int:
    """How many of these are of calls that have failed."""
    return sum(type(item) is Failed for item in outcomes) if type(outcomes) is Outcomes else 0


def one_retry_less(options: TaskOptions) -> TaskOptions:
    """The options of a call whose chunk has died: that may have been the call's own doing, so it counts as a try."""
    return TaskOptions(retries=options.retries - 1, priority=options.priority, limit_ms=options.limit_ms)
