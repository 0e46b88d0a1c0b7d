"""OwnCalls: what is still to come of the calls of one executor or pool, among all calls of its client.

Rule 1: what has ended goes when the list has doubled, so adding costs next to nothing, and results are let go.
"""

import weakref
from collections.abc import Iterable
from concurrent.futures import CancelledError

from scaler._native import PendingFuture
from scaler.client.mapping import MapRun

LEAST = 1024


class OwnCalls:
    """Futures of calls and of chunks, and maps that are sent as they are read."""

    def __init__(self) -> None:
        self._futures: list[PendingFuture] = []
        self._most = LEAST
        self._runs: weakref.WeakSet[MapRun] = weakref.WeakSet()

    def add(self, future: PendingFuture) -> None:
        """A call that was submitted."""
        futures = self._futures
        futures.append(future)
        if len(futures) > self._most:
            self._futures = [one for one in futures if not one.is_over]
            self._most = max(LEAST, 2 * len(self._futures))

    def add_all(self, futures: Iterable[PendingFuture]) -> None:
        """The chunks of a map that was sent."""
        for future in list(futures):
            self.add(future)

    def add_run(self, run: MapRun) -> None:
        """A map that goes on as long as somebody reads it."""
        self._runs.add(run)

    def find_open(self) -> list[PendingFuture]:
        """What has not ended, as far as anybody has looked."""
        runs = [chunk for run in list(self._runs) for chunk in list(run.sent)]
        return [future for future in [*self._futures, *runs] if not future.done()]

    def cancel(self) -> None:
        """Nobody wants what has not ended."""
        for future in self.find_open():
            future.cancel()

    def wait(self) -> None:
        """Until all have ended."""
        while still_open := self.find_open():
            for future in still_open:
                try:
                    future.exception()
                except CancelledError:
                    pass
