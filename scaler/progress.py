"""process_map: a map with a line that says how far it is, as tqdm has it, and with tqdm's own bar where that is given.

Not here: maps without it (Client.map_each, Client.imap).
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from operator import length_hint
from typing import Any, TextIO, TypeVar

from scaler.client.client import Client
from scaler.integrations.own_workers import OwnWorkers

T = TypeVar("T")
LINE_S = 0.1  # between two states of the line


def process_map(
    fn: Callable[..., T],
    *iterables: Iterable[Any],
    client: Client | None = None,
    max_workers: int | None = None,
    chunksize: int | None = None,
    total: int | None = None,
    desc: str = "",
    file: TextIO | None = None,
    tqdm_class: Callable[..., Any] | None = None,
) -> list[T]:
    """[fn(x, y, ...) for x, y, ... in zip(*iterables)], while a line in `file` (stderr) says how far that is.

    Through this client, or workers that are started for it, `max_workers` of them. The line is written to a terminal
    only, unless a file is given; `tqdm_class` makes a bar in its place, as tqdm does: tqdm_class(results, total=...).
    """
    if total is None:
        hints = [length_hint(iterable, -1) for iterable in iterables]
        total = min((hint for hint in hints if hint >= 0), default=None)
    with ExitStack() as stack:
        if client is None:
            own = OwnWorkers(max_workers)
            stack.callback(own.end)
            client = own.client
        results = client.imap(fn, *iterables, chunksize=chunksize)
        if tqdm_class is not None:
            return list(tqdm_class(results, total=total, desc=desc or None))
        out = sys.stderr if file is None else file
        return list(results if file is None and not out.isatty() else with_line(results, total, desc, out))


def with_line(results: Iterable[T], total: int | None, desc: str, out: TextIO) -> Iterator[T]:
    """These, while a line says how many have come."""
    start = shown = time.monotonic()
    n = 0
    for n, result in enumerate(results, 1):
        yield result
        now = time.monotonic()
        if now - shown >= LINE_S:
            shown = now
            out.write("\r" + describe(n, total, desc, now - start))
            out.flush()
    out.write("\r" + describe(n, total, desc, time.monotonic() - start) + "\n")
    out.flush()


def describe(n: int, total: int | None, desc: str, seconds: float) -> str:
    """The line."""
    rate = n / seconds if seconds else 0.0
    head = f"{desc}: " if desc else ""
    if not total:
        return f"{head}{n:,} in {seconds:.1f} s, {rate:,.0f}/s"
    left = f", {(total - n) / rate:.0f} s left" if rate and n < total else ""
    return f"{head}{100 * n // total:3d}% {n:,}/{total:,} in {seconds:.1f} s, {rate:,.0f}/s{left}"
