"""Imap: a map whose results are read one by one, over iterables that need not end.

What was sent and has not been read is bounded (`READ_AHEAD_CHUNKS` per worker, or the caller's number of calls), so
memory stays flat however long the iterable is, and however slowly somebody reads. The reader itself sends, so this
needs no thread.

Rule 1: results of calls before one that fails, or before the item at which the iterable raises, come first.
Rule 2: when the reader stops, so does the map: as the iterator goes, what is under way is cancelled. Therefore it is a
        generator that has begun already when it is given out, since one that has not would run no `finally`.
"""

from collections.abc import Callable, Iterator
from typing import Any

from scaler.client.mapping import MapRun
from scaler.values.payload import Failed, MixedOutcomes

READ_AHEAD_CHUNKS = 16


def start_imap(
    run: MapRun, load: Callable[..., list[Any]], most_calls: int | None, failed: Callable[[Failed], Any]
) -> Iterator[Any]:
    """The results, as `run` has them. Of a call that has failed comes what `failed` makes of it, or it raises."""
    results = _read(run, load, most_calls, failed)
    next(results)
    return results


def _read(
    run: MapRun, load: Callable[..., list[Any]], most_calls: int | None, failed: Callable[[Failed], Any]
) -> Iterator[Any]:
    try:
        run.send_more(READ_AHEAD_CHUNKS, most_calls)
        yield None  # to start_imap
        while True:
            chunk = run.take()
            if chunk is not None:
                if most_calls is None:  # else there is room for more only when these have been read
                    run.send_more(READ_AHEAD_CHUNKS)
                outcomes = chunk.read_with(load)
                del chunk
                if type(outcomes) is MixedOutcomes:
                    for outcome in outcomes:
                        yield failed(outcome) if type(outcome) is Failed else outcome
                else:
                    yield from outcomes
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


def raise_failure(failed: Failed) -> Any:
    """For a reader that wants results only."""
    raise failed.error


def give_failure(failed: Failed) -> Any:
    """For a reader that wants exceptions among the results."""
    return failed.error
