"""DaskEngine: Dask runs jobs as its tasks, one thread of a worker each.

Rule 1: a future is kept as long as its job runs: Dask forgets what nobody has.
Not here: what a job does (run).
"""

import contextlib
import logging
import time
from functools import partial
from typing import Any

from scaler.engines.engine import Done, Engine, Handle, JobCancelled, JobInterrupted, JobLost, SlotCount, find_library
from scaler.engines.run import run_job


class _Task(Handle):
    def __init__(self, future: Any) -> None:
        self._future = future

    def take_back(self) -> bool:
        return False  # a client does not know whether it has begun

    def stop(self) -> None:
        with contextlib.suppress(Exception):
            self._future.cancel()


class DaskEngine(Engine):
    """`address` is a Dask scheduler's; without one a cluster of processes is started on this machine."""

    name = "dask"

    def __init__(self, address: str | None = None, slots: int | None = None) -> None:
        distributed = find_library("distributed", "pip install distributed")
        self._killed = distributed.scheduler.KilledWorker
        self._cluster: Any = None
        logging.getLogger("distributed").setLevel(logging.WARNING)  # it says much of what is no trouble
        if address is None:
            find_library("dask", "pip install dask").config.set({"distributed.scheduler.allowed-failures": 0})
            self._cluster = distributed.LocalCluster(
                n_workers=slots, threads_per_worker=1, processes=True, dashboard_address=None
            )
        self._client = distributed.Client(self._cluster or address, set_as_default=False)
        self._slots = SlotCount("Dask", lambda: sum(self._client.nthreads().values()), slots)

    def capacity(self) -> int:
        return self._slots.now(time.monotonic())

    def trouble(self) -> str:
        return self._slots.trouble(time.monotonic())

    def submit(self, payload: bytes, done: Done) -> Handle:
        future = self._client.submit(run_job, payload, pure=False, retries=0)
        future.add_done_callback(partial(self._on_ended, done))
        return _Task(future)

    def _on_ended(self, done: Done, future: Any) -> None:
        """In a thread of Dask's. It would run a job again whose result goes with its worker: so that is given up."""
        try:
            outcome = self._outcome_of(future)
        except BaseException as error:
            outcome = error
        future.release()
        done(outcome)

    def _outcome_of(self, future: Any) -> "bytes | BaseException":
        if future.status == "finished":
            return future.result()  # type: ignore[no-any-return]
        if future.status == "cancelled":
            return JobCancelled("Dask has cancelled it")
        if future.status == "lost":
            return JobInterrupted("Dask has lost it")
        error: BaseException = future.exception()
        if isinstance(error, self._killed):
            return JobLost(f"{type(error).__name__}: {error}")
        return error

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._client.close(timeout=2)
        if self._cluster is not None:
            self._cluster.close(timeout=5)
