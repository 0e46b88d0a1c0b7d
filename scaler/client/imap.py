"""Imap: a map whose results are read one by one, over iterables that need not end.

What was sent and has not been read is bounded (`READ_AHEAD_CHUNKS` per worker, or the caller's number of calls), so
memory stays flat however long the iterable is, and however slowly somebody reads. The reader itself sends, so this
needs no thread.

Rule 1: results of calls before one that fails, or before the item at which the iterable raises, come first.
Rule 2: when the reader stops, so does the map: as the iterator goes, what is under way is cancelled. Therefore the
        generator in it has begun already when it is given out, since one that has not would run no `finally`.
Rule 3: a result is not kept once it is given out, but for plain values, which go with their chunk: their list is all
        that has to be stepped through then, by C code.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain
from typing import Any

from scaler.client.mapping import MapRun
from scaler.values.payload import Failed, Outcomes

READ_AHEAD_CHUNKS = 16


def start_imap(
    run: MapRun, load: Callable[..., list[Any]], most_calls: int | None, failed: Callable[[Failed], Any]
) -> Iterator[Any]:
    """The results, as `run` has them. Of a call that has failed comes what `failed` makes of it, or it raises."""
    chunks = _read(run, load, most_calls, failed)
    next(chunks)
    return chain.from_iterable(chunks)


def read_later(run: MapRun, load: Callable[..., list[Any]]) -> Iterator[Any]:
    """The results of a run whose calls were all sent. If nobody reads any, they are done all the same."""
    chunks = _read(run, load, None, raise_failure)
    yield from chain.from_iterable(chunks)


def _read(
    run: MapRun, load: Callable[..., list[Any]], most_calls: int | None, failed: Callable[[Failed], Any]
) -> Generator[Iterable[Any], None, None]:
    try:
        run.send_more(READ_AHEAD_CHUNKS, most_calls)
        yield ()  # to start_imap
        while True:
            chunk = run.take()
            if chunk is not None:
                if most_calls is None:  # else there is room for more only when these have been read
                    run.send_more(READ_AHEAD_CHUNKS)
                outcomes = chunk.read_with(load)
                del chunk
                if type(outcomes) is not Outcomes:
                    yield outcomes
                    del outcomes
                    continue
                yield _each(run, outcomes, failed)
                del outcomes
                if run.is_cancelled:
                    return
                continue
            run.send_more(READ_AHEAD_CHUNKS, most_calls)
            if not run.is_over:
                run.wait()
            elif run.error is not None:
                raise run.error
            else:
                return
    finally:
        run.cancel()


def _each(run: MapRun, outcomes: Outcomes, failed: Callable[[Failed], Any]) -> Iterator[Any]:
    outcomes.reverse()
    while outcomes:
        if type(outcomes[-1]) is not Failed:
            yield outcomes.pop()
            continue
        try:
            outcome = failed(outcomes.pop())
        except BaseException:
            run.cancel()
            raise
        yield outcome


def raise_failure(failed: Failed) -> Any:
    """For a reader that wants results only."""
    raise failed.error


def give_failure(failed: Failed) -> Any:
    """For a reader that wants exceptions among the results."""
    return failed.error
