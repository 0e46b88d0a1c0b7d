"""RayEngine: Ray runs jobs as its tasks, one CPU each.

Rule 1: Ray itself tries no job again (`max_retries=0`): what has died is this package's to count.
Not here: what a job does (run).
"""

import contextlib
import time
from concurrent.futures import Future
from typing import Any

from scaler.engines.engine import Done, Engine, Handle, JobCancelled, JobLost, SlotCount, find_library
from scaler.engines.run import run_job


class _Task(Handle):
    def __init__(self, ray: Any, reference: Any) -> None:
        self._ray, self._reference = ray, reference

    def take_back(self) -> bool:
        return False  # Ray does not say whether it has begun

    def stop(self) -> None:
        with contextlib.suppress(Exception):
            self._ray.cancel(self._reference, force=False)


class RayEngine(Engine):
    """`address` as ray.init takes it: none finds a Ray of this machine, or starts one."""

    name = "ray"

    def __init__(self, address: str | None = None, slots: int | None = None) -> None:
        self._ray = ray = find_library("ray", "pip install ray")
        about: dict[str, Any] = {"address": address} if address else {"include_dashboard": False}
        if not address and slots:
            about["num_cpus"] = slots
        try:
            ray.init(log_to_driver=False, logging_level="WARNING", **about)
        except ValueError:  # one that is there already takes no number of CPUs
            ray.init(address="auto", log_to_driver=False, logging_level="WARNING")
        self._run = ray.remote(max_retries=0, num_cpus=1)(run_job)
        self._slots = SlotCount("Ray", lambda: int(ray.cluster_resources().get("CPU", 0)), slots)

    def capacity(self) -> int:
        return self._slots.now(time.monotonic())

    def trouble(self) -> str:
        return self._slots.trouble(time.monotonic())

    def submit(self, payload: bytes, done: Done) -> Handle:
        reference = self._run.remote(payload)
        reference.future().add_done_callback(lambda ended: done(self._outcome_of(ended)))
        return _Task(self._ray, reference)

    def _outcome_of(self, future: "Future[Any]") -> "bytes | BaseException":
        errors = self._ray.exceptions
        died = tuple(
            getattr(errors, name)
            for name in ("WorkerCrashedError", "NodeDiedError", "OutOfMemoryError", "LocalRayletDiedError")
            if hasattr(errors, name)
        )
        try:
            return future.result()  # type: ignore[no-any-return]
        except errors.TaskCancelledError as error:
            return JobCancelled(str(error))
        except died as error:
            return JobLost(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
        except BaseException as error:
            return getattr(error, "cause", None) or error

    def close(self) -> None:
        self._ray.shutdown()
