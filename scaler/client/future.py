"""ScalerFuture: a concurrent.futures.Future that costs next to nothing until somebody waits for it.

The state lives in native/client/future.pyx; the standard class stands behind it, so that isinstance, `wait`,
`as_completed` and asyncio take it for what it is.

asyncio copies the outcome into a future of its own, which refuses some exceptions (StopIteration, on Python 3.11): a
coroutine that awaits such a future would wait for ever. So asyncio is given a view of the future that raises what a
coroutine would raise in its place. `result()` raises what the task has raised, as it does in `concurrent.futures`.
"""

import concurrent.futures
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from scaler._native import PendingFuture, QuickCallback
from scaler.program.notebook import as_html
from scaler.values.reference import slots

T = TypeVar("T")


@dataclass(frozen=True)
class ProfileResult:
    """What a task took: wall and CPU time in seconds, the worker's memory high-water mark in bytes."""

    duration_s: float
    memory_peak: int
    cpu_time_s: float


class ScalerFuture(PendingFuture, concurrent.futures.Future[T]):
    """The result of one task, once it is there. Made by Client.submit."""

    def __init__(self) -> None:
        raise TypeError("a ScalerFuture is made by Client.submit")

    if TYPE_CHECKING:

        def result(self, timeout: float | None = None) -> T:
            """What the call returned; raises what it raised."""

    def _words(self) -> str:
        """Where it stands, as far as its client has looked."""
        if not self.is_over:
            return "pending"
        if self.cancelled():
            return "cancelled"
        error = self._exception
        return "done" if error is None else f"raised {type(error).__name__}"

    def __repr__(self) -> str:
        return f"<ScalerFuture {self.task_id:016x}: {self._words()}>"

    def _repr_html_(self) -> str:
        return as_html("ScalerFuture", {"task": f"{self.task_id:016x}", "state": self._words()})

    def __await__(self) -> Generator[Any, None, T]:
        import asyncio  # who awaits has it already

        return asyncio.wrap_future(self).__await__()

    def add_done_callback(self, fn: Callable[[Any], object]) -> None:
        """Call fn(future) once it is done: in a thread that the client has for this, or here and now if it is done.

        A callback may take its time, wait for other tasks, and submit. What it raises is logged.
        """
        if getattr(fn, "__module__", None) == "asyncio.futures":
            fn = QuickCallback(fn, _ForAsyncio)
        super().add_done_callback(fn)

    def __reduce__(self) -> Any:
        if slots.packing is None:
            raise TypeError(
                "a future cannot be pickled: among the arguments of a task it stands for its result, elsewhere, as in "
                "what a task returns, pass its result() itself"
            )
        return slots.packing.reduce_future(self)

    def profiling_info(self) -> ProfileResult:
        """What the task took; ValueError while it is not done."""
        if not self.done():
            raise ValueError(f"task {self.task_id:#x} is not done yet")
        duration_ns, cpu_us, memory_peak_kib = self.profile
        return ProfileResult(duration_ns / 1e9, memory_peak_kib * 1024, cpu_us / 1e6)


class _ForAsyncio:
    """A future that is done, as asyncio copies it."""

    def __init__(self, future: ScalerFuture[Any]) -> None:
        self._future = future

    def done(self) -> bool:
        return True

    def cancelled(self) -> bool:
        return self._future.cancelled()

    def exception(self) -> BaseException | None:
        try:
            error = self._future.exception()
        except BaseException as raised:  # by what unpickles it: in the event loop that would reach nobody
            return raised
        if isinstance(error, StopIteration):
            replacement = RuntimeError(f"task {self._future.task_id:#x} raised {type(error).__name__}: {error}")
            replacement.__cause__ = error
            return replacement
        return error

    def result(self) -> Any:
        return self._future.result()
