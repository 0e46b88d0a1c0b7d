"""joblib's backend "scaler": `import scaler.joblib`, then `with joblib.parallel_config("scaler"): ...`.

Calls go through the `client` of the configuration; else through the current one: that of the worker where a task runs,
or the only client that is open in this process; else it starts workers of its own, once, and says so.

joblib puts several calls into a batch, as many as take some milliseconds. A batch is the argument of a function that
never changes: as a function it would be another one each time, and pickled, hashed and announced as such. Arrays in it
travel as in any other call: large ones are objects, which are written once however many batches have them.

What a call runs in parallel itself (nested) goes through the client of its worker, and runs in place where no other
worker is idle. Threads of BLAS and OpenMP are limited in workers as joblib does it in its own, for as long as a batch
runs.

Rule 1: workers import this module when they unpickle their first batch, since each brings its backend along.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from joblib.parallel import (
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
    register_parallel_backend,
)

from scaler.client import client as clients
from scaler.client.client import Client
from scaler.client.current_client import current_client
from scaler.integrations.own_workers import OwnWorkers
from scaler.worker import context

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_own: OwnWorkers | None = None
_limiter: tuple[int, Any] | None = None  # how many modules there were, and what finds the thread pools of libraries


class ScalerBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """What joblib calls. `client`: through which; `nesting_level` and `inner_max_num_threads` are joblib's."""

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True
    default_n_jobs = -1
    MIN_IDEAL_BATCH_DURATION = 0.02
    MAX_IDEAL_BATCH_DURATION = 0.2

    def __init__(
        self,
        client: Client | None = None,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        **backend_kwargs: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads, **backend_kwargs)
        self._given = client
        self._client: Client | None = None
        self._environment: dict[str, str] = {}

    def __reduce__(self) -> Any:
        return _restore, (self.nesting_level, self.inner_max_num_threads)

    def _find_client(self) -> Client:
        """With options of its own, by which its calls are known."""
        if self._client is None or not self._client.is_usable:
            self._client = (self._given or _find_client()).options()
        return self._client

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many may run at a time: for -1 as many as there are workers, for -2 one less."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        if n_jobs > 0:
            return n_jobs
        return max(1, count_workers(self._find_client()) + 1 + n_jobs)

    def configure(
        self, n_jobs: int = 1, parallel: Any = None, prefer: Any = None, require: Any = None, **backend_kwargs: Any
    ) -> int:
        """Get ready for calls of one Parallel. With one job joblib runs them itself."""
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._environment = self._prepare_worker_env(n_jobs)
        return n_jobs

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], object] | None = None) -> Any:
        """Have a worker run a batch."""
        future = self._find_client().submit(run_batch, func, self._environment)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    apply_async = submit  # until joblib 1.4

    def retrieve_result_callback(self, out: Any) -> Any:
        """The results of a batch; raises what it has raised."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Nobody wants what is under way any more."""
        if self._client is not None:
            for future in self._client._rings.open_with(self._client._options.native):
                future.cancel()

    def terminate(self) -> None:
        """A Parallel has ended: the next one has other calls. The workers stay."""
        self.reset_batch_stats()

    def get_nested_backend(self) -> tuple[ParallelBackendBase, int | None]:
        """For what a call runs in parallel itself."""
        return ScalerBackend(nesting_level=(self.nesting_level or 0) + 1), None


def run_batch(batch: Callable[[], Any], environment: dict[str, str]) -> Any:
    """Run a batch in a worker, with so many threads for libraries as the environment variables say."""
    before = {name: os.environ.get(name) for name, value in environment.items() if os.environ.get(name) != value}
    os.environ.update(environment)  # for libraries that are still to be loaded
    try:
        n_threads = environment.get("OMP_NUM_THREADS")
        controller = None if n_threads is None else _find_controller()
        if controller is None:
            return batch()
        with controller.limit(limits=int(n_threads or 1)):
            return batch()
    finally:
        for name, earlier in before.items():
            if earlier is None:
                del os.environ[name]
            else:
                os.environ[name] = earlier


def _find_controller() -> Any:
    """threadpoolctl's, which knows what libraries were loaded when it was made; None where it is not installed."""
    global _limiter
    if _limiter is None or _limiter[0] != len(sys.modules):
        try:
            from threadpoolctl import ThreadpoolController
        except ImportError:
            return None
        controller = ThreadpoolController()
        _limiter = len(sys.modules), controller
    return _limiter[1]


def count_workers(client: Client) -> int:
    """How many there are; at least one, since it may not have heard yet."""
    return max(1, client._rings.count_workers())


def _find_client() -> Client:
    global _own
    if context.find() is not None:
        return current_client()
    open_here = [client for client in clients.open_clients() if client.is_usable]
    with _lock:
        if _own is not None and _own.client.is_usable:
            open_here = [client for client in open_here if client is not _own.client]
        if len(open_here) == 1:
            return open_here[0]
        if _own is None or not _own.client.is_usable:
            _own = OwnWorkers()
            _log.warning(
                "joblib's backend 'scaler' has started %d workers of its own, since %s: "
                "parallel_config('scaler', client=client) names a client",
                count_workers(_own.client),
                "several clients are open here" if open_here else "no client is open here",
            )
        return _own.client


def _restore(nesting_level: int | None, inner_max_num_threads: int | None) -> ScalerBackend:
    return ScalerBackend(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)


register_parallel_backend("scaler", ScalerBackend)
