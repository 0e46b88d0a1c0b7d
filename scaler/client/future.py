"""ScalerFuture: a concurrent.futures.Future that costs next to nothing until somebody waits for it.

The state lives in native/process/future.pyx; the standard class stands behind it, so that isinstance, `wait`,
`as_completed` and asyncio take it for what it is.
"""

import asyncio
import concurrent.futures
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from scaler._native import PendingFuture
from scaler.reference import slots

T = TypeVar("T")


@dataclass(frozen=True)
class ProfileResult:
    """What a task took: wall and CPU time in seconds, the worker's memory high-water mark in bytes."""

    duration_s: float
    memory_peak: int
    cpu_time_s: float


class ScalerFuture(PendingFuture, concurrent.futures.Future[Any]):
    """The result of one task, once it is there. Made by Client.submit."""

    def __init__(self) -> None:
        raise TypeError("a ScalerFuture is made by Client.submit")

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.wrap_future(self).__await__()

    def __reduce__(self) -> Any:
        if slots.packing is None:
            raise TypeError("a future cannot be pickled; as an argument of a task it stands for its result")
        return slots.packing.reduce_future(self)

    def profiling_info(self) -> ProfileResult:
        """What the task took; ValueError while it is not done."""
        if not self.done():
            raise ValueError(f"task {self.task_id:#x} is not done yet")
        duration_ns, cpu_us, memory_peak_kib = self.profile
        return ProfileResult(duration_ns / 1e9, memory_peak_kib * 1024, cpu_us / 1e6)
