"""as_completed: futures in the order in which they end.

What `concurrent.futures.as_completed` does, and takes. Futures that are all of one client need neither a lock nor a
thread that tells of them (native/client/completions.pyx); any others go the standard way.
"""

import concurrent.futures
import time
from collections.abc import Generator, Iterable, Iterator
from typing import Any, TypeVar

from scaler._native import Completions, PendingFuture

F = TypeVar("F", bound="concurrent.futures.Future[Any]")


def as_completed(fs: Iterable[F], timeout: float | None = None) -> Generator[F, None, None]:
    """Each of these futures once, as soon as it is done, cancelled ones included; those that are done already first.

    TimeoutError from the iterator if not all are done so many seconds after the first was asked for.
    """
    futures: dict[Any, None] = dict.fromkeys(fs)
    rings = next((future.rings for future in futures if isinstance(future, PendingFuture)), None)
    if rings is None or not all(isinstance(future, PendingFuture) and future.is_of(rings) for future in futures):
        strangers: Iterator[Any] = concurrent.futures.as_completed(futures, timeout)
        yield from strangers
        return
    deadline = None if timeout is None else time.monotonic() + timeout
    total = len(futures)
    completions = Completions(rings)
    try:
        completions.watch(futures)
        futures.clear()
        left = total
        while left:
            try:
                ended: Any = completions.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                if deadline is None or time.monotonic() < deadline:
                    raise  # by others' code that came in between
                raise TimeoutError(f"{left} (of {total}) futures unfinished") from None
            left -= len(ended)
            ended.reverse()
            while ended:
                yield ended.pop()
    finally:
        completions.let_go()
