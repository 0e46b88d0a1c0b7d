"""ScalerExecutor: a `concurrent.futures.Executor` with workers of its own, in place of a ProcessPoolExecutor.

Rule 1: the workers end when the last call is done: in `shutdown`, in a thread if that does not wait or nobody refers
        to the executor any more, or at the program's end.
"""

import atexit
import os
import threading
from collections.abc import Callable
from typing import Any

from scaler.client.executor import ClientExecutor, await_all
from scaler.integrations.own_workers import OwnWorkers
from scaler.program.threads import new_thread

_endings: set[threading.Thread] = set()


class ScalerExecutor(ClientExecutor):
    """Starts `max_workers` processes on this host, by default one for each core that this process may use.

    `initializer(*initargs)` runs once in each of them, before its first call.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._workers = OwnWorkers(max_workers)
        self._ending: threading.Thread | None = None
        super().__init__(self._workers.client, initializer, initargs)
        self._pid = os.getpid()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and end the workers when those that were made are done; with `cancel_futures` those that
        have begun. `wait`: until then."""
        super().shutdown(False, cancel_futures=cancel_futures)
        if self._ending is None:
            rings, options, workers = self._client._rings, self._options, self._workers

            def end() -> None:
                try:
                    await_all(rings, options)
                finally:
                    workers.end()
                    _endings.discard(threading.current_thread())

            self._ending = new_thread("scaler-executor-end", end, runs_others=True)
            _endings.add(self._ending)
            self._ending.start()
        if wait:
            self._ending.join()
            super().shutdown()

    def __del__(self) -> None:
        if hasattr(self, "_pid") and self._pid == os.getpid():
            self.shutdown(wait=False)


def _await_endings() -> None:
    """At the program's end: what was not waited for before."""
    for thread in list(_endings):
        thread.join()


atexit.register(_await_endings)
