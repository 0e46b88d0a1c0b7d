"""ExecutorEngine: any `concurrent.futures.Executor` as an engine: a pool of processes, loky, mpi4py.futures, Parsl.

Rule 1: a pool that has broken, since one of its processes has died, is made anew. All its jobs are lost with it.
Rule 2: the processes are started fresh (spawn), not as copies of this one, which has threads.
Not here: what a job does (run).
"""

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from typing import Any

from scaler.engines.engine import Done, Engine, Handle, JobCancelled, JobLost
from scaler.engines.run import run_job
from scaler.program.threads import new_thread

CLOSE_S = 5.0  # for what its processes do about being terminated


class _Submitted(Handle):
    def __init__(self, future: "Future[Any]") -> None:
        self._future = future

    def take_back(self) -> bool:
        return self._future.cancel()

    def stop(self) -> None:
        self._future.cancel()


class ExecutorEngine(Engine):
    """`make` gives an executor, anew after each that broke. `slots` is how many jobs that runs at a time."""

    shares_fate = True

    def __init__(self, make: Callable[[], Executor], slots: int | None = None, name: str = "") -> None:
        self._make, self._lock, self._is_closed = make, threading.Lock(), False
        self._executor = make()
        self.name = name or type(self._executor).__name__
        self._slots = slots or slots_of(self._executor)

    def capacity(self) -> int:
        return self._slots

    def submit(self, payload: bytes, done: Done) -> Handle:
        try:
            future = self._executor.submit(run_job, payload)
        except (BrokenExecutor, RuntimeError) as error:  # loky's own is no BrokenExecutor in all versions
            if self._is_closed:
                raise
            self._renew(self._executor, error)
            future = self._executor.submit(run_job, payload)
        future.add_done_callback(lambda ended: done(outcome_of(ended)))
        return _Submitted(future)

    def _renew(self, broken: Executor, error: BaseException) -> None:
        with self._lock:
            if self._executor is not broken:
                return
            broken.shutdown(wait=False)
            self._executor = self._make()

    def close(self) -> None:
        self._is_closed = True
        processes = list((getattr(self._executor, "_processes", None) or {}).values())
        _shut_down(self._executor)
        for process in processes:  # what they run would keep them, and the end of this program would wait for it
            with contextlib.suppress(Exception):
                process.terminate()
        ending = new_thread("scaler-executor-ends", self._executor.shutdown, runs_others=True)
        ending.start()
        ending.join(CLOSE_S)
        for process in processes:
            with contextlib.suppress(Exception):
                process.join(1)
            with contextlib.suppress(Exception):
                process.kill()


def _shut_down(executor: Executor) -> None:
    """Have it run nothing more that it has not begun. Not all executors take the same words for that."""
    for words in ({"cancel_futures": True}, {"kill_workers": True}, {}):
        with contextlib.suppress(TypeError):
            executor.shutdown(wait=False, **words)
            return


def outcome_of(future: "Future[Any]") -> "bytes | BaseException":
    """What an engine's `done` is to hear of a future that has ended."""
    try:
        return future.result()  # type: ignore[no-any-return]
    except CancelledError:
        return JobCancelled("the executor has not run it")
    except BrokenExecutor as error:
        return JobLost(f"{type(error).__name__}: {error}")
    except BaseException as error:
        return error


def slots_of(executor: Executor) -> int:
    """How many jobs it runs at a time, if it says so; else one for each core that this process may use."""
    most = getattr(executor, "_max_workers", None)
    return most if isinstance(most, int) and most > 0 else len(os.sched_getaffinity(0))
