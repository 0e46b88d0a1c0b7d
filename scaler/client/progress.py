"""Progress: bars for calls that are under way, in a terminal or a notebook (tqdm.auto, the extra `progress`).

A bar is drawn by the clock, from counts, and never by a call that ends: a million quick calls cost no more drawing than
ten slow ones. Of futures the counts are found by looking at those that are open, of a map they are the map's own.

Rule 1: what goes wrong while a bar is drawn is never the end of the calls.
Not here: what a call is doing that takes so long (Client.explain, monitor.top).
"""

import concurrent.futures
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import length_hint
from typing import Any, TypeVar, overload

from scaler._native import PendingFuture
from scaler.program.threads import new_thread

INTERVAL_S = 0.2
MOST_LOOKED_AT = 20_000  # open futures, each time
MOST_FUNCTIONS = 4  # whose counts stand beside a bar
_F = TypeVar("_F", bound="concurrent.futures.Future[Any]")


@overload
def progress(futures: Mapping[Any, _F], **options: Any) -> dict[Any, _F]: ...
@overload
def progress(futures: Iterable[_F], **options: Any) -> list[_F]: ...
def progress(futures: Any, **options: Any) -> Any:
    """Show how far these calls are, and come back once all are done, with the futures as a list.

    Takes what `submit` and `get(graph, keys, block=False)` give: futures in any iterable, which may be a generator that
    submits as it is read, or in a dict, which comes back as one. How many have failed stands beside the bar, and how
    far each function is where there are several; nothing is raised for failures. `options` are those of tqdm, such as
    `file`, `desc` or `leave`.
    """
    is_mapping = isinstance(futures, Mapping)
    items: Iterable[Any] = futures.values() if is_mapping else futures
    hint = length_hint(items, -1)
    with _Board(options, None if hint < 0 else hint) as board:
        seen = []
        for future in items:
            seen.append(future)
            board.add(future)
        board.finish()
    return dict(zip(futures, seen, strict=True)) if is_mapping else seen


@contextlib.contextmanager
def shown_map(name: str, total: int | None, counts: Callable[[], tuple[int, int]]) -> Iterator[None]:
    """A bar for what goes on inside, from (ended, failed) calls, by a thread of its own."""
    bar = _new_bar(name, total, {})
    is_over = threading.Event()

    def draw() -> None:
        while not is_over.wait(INTERVAL_S):
            _draw(bar, *counts())

    thread = new_thread("scaler-progress", draw)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        _draw(bar, *counts())
        _close(bar)


@dataclass
class _Count:
    """Of the calls of one function."""

    total: int = 0
    ended: int = 0


class _Board:
    """The bar of one call of `progress`."""

    def __init__(self, options: dict[str, Any], hint: int | None) -> None:
        self._hint = hint
        self._bar = _new_bar("tasks", hint, options)
        self._open: deque[Any] = deque()
        self._total = self._ended = self._failed = 0
        self._by_function: dict[str, _Count] = {}
        self._draw_at = 0.0

    def add(self, future: Any) -> None:
        self._open.append(future)
        self._total += 1
        self._count_of(future).total += 1
        if time.monotonic() >= self._draw_at:
            self._draw()

    def _look(self) -> None:
        """Count those that have ended since, among the first that are open."""
        if self._open:
            self._open[0].done()  # has its client look what has come
        for _ in range(min(MOST_LOOKED_AT, len(self._open))):
            future = self._open.popleft()
            if not _is_over(future):
                self._open.append(future)
                continue
            self._ended += 1
            self._count_of(future).ended += 1
            self._failed += _has_failed(future)

    def _count_of(self, future: Any) -> "_Count":
        name = future.function_name if isinstance(future, PendingFuture) else ""
        return self._by_function.setdefault(name, _Count())

    def _words(self) -> str:
        """How far each function is, where there are several: of those that have most to do."""
        if len(self._by_function) < 2:
            return ""
        most = sorted(self._by_function.items(), key=lambda one: one[1].ended - one[1].total)[:MOST_FUNCTIONS]
        return ", ".join(
            f"{_printable(name.rpartition('.')[2]) or 'others'} {count.ended}/{count.total}" for name, count in most
        )

    def _draw(self) -> None:
        self._look()
        if self._hint is None:
            self._bar.total = self._total
        _draw(self._bar, self._ended, self._failed, self._words())
        self._draw_at = time.monotonic() + INTERVAL_S

    def finish(self) -> None:
        """Until all are done."""
        self._hint = None
        self._draw()
        while self._open:
            concurrent.futures.wait([self._open[-1]], max(0.0, self._draw_at - time.monotonic()))
            self._look()
            if time.monotonic() >= self._draw_at or not self._open:
                self._draw()

    def __enter__(self) -> "_Board":
        return self

    def __exit__(self, *_: object) -> None:
        _close(self._bar)


def _is_over(future: Any) -> bool:
    """Done, as far as its client has looked; futures of others are asked as anybody asks them."""
    return bool(future.is_over if isinstance(future, PendingFuture) else future.done())


def _has_failed(future: Any) -> bool:
    return not future.cancelled() and future.exception() is not None


def _tqdm() -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError("a progress bar needs tqdm: `pip install scaler[progress]`") from None
    return tqdm


def _new_bar(name: str, total: int | None, options: dict[str, Any]) -> Any:
    """`delay`: it is first drawn where a failure to draw is no matter."""
    return _tqdm()(
        **{"desc": _printable(name), "total": total, "unit": "call", "mininterval": 0, "delay": 1e-9, **options}
    )


def _printable(name: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in name[:80])


def _draw(bar: Any, ended: int, failed: int, words: str = "") -> None:
    with contextlib.suppress(OSError, ValueError):  # where it is drawn has gone
        if failed or words:
            said = [f"failed={failed}"] if failed else []
            bar.set_postfix_str(", ".join([*said, words] if words else said), refresh=False)
        bar.n = ended
        bar.refresh()


def _close(bar: Any) -> None:
    with contextlib.suppress(OSError, ValueError):
        bar.close()
