"""Pool: `multiprocessing.Pool` with workers of ours. `from scaler.pool import Pool`, and all else stays as it is.

Not here: a pool from a client (Client.pool).
"""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

from scaler.client.pool import RUN, ClientPool
from scaler.integrations.own_workers import OwnWorkers


class Pool(ClientPool):
    """Starts `processes` workers on this host, by default one for each core that this process may use.

    `maxtasksperchild` is after how many calls a worker is replaced. `context` has no effect: nothing is forked.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
    ) -> None:
        if processes is not None and processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and (not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        options = {} if maxtasksperchild is None else {"worker_max_tasks": maxtasksperchild}
        self._workers = OwnWorkers(processes, **options)
        super().__init__(self._workers.client, initializer, tuple(initargs))

    def terminate(self) -> None:
        """Take no more calls, stop those that were made, and end the workers."""
        super().terminate()
        self._workers.end()

    def join(self) -> None:
        """Wait until all calls are done and the workers have ended; `close` or `terminate` comes first."""
        super().join()
        self._workers.end()

    def __del__(self) -> None:
        if hasattr(self, "_options"):
            if self._state == RUN:
                warnings.warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, 2, source=self)
            self.terminate()
