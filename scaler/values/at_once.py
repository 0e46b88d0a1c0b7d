"""AtOnce: what a worker calls for a map whose calls wait for each other's networks, several at a time.

The calls that are to run at the same time are those of one chunk, so to everybody else they are what a chunk is: one
record, one placement, one cancel. If their worker dies they are sent again one by one, and each of them has a result
of its own. What a worker makes of them: scaler.worker.running.
"""

from collections.abc import Callable, Coroutine
from types import CodeType, CoroutineType
from typing import Any


class AtOnce:
    """Calls `function`. The coroutine of one call may wait while those of others run."""

    __slots__ = ("__weakref__", "function")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        value = self.function(*args, **kwargs)
        return wait_with_others(value) if type(value) is CoroutineType else value

    def __reduce__(self) -> Any:
        return AtOnce, (self.function,)

    def __repr__(self) -> str:
        return str(getattr(self.function, "__qualname__", None) or repr(self.function))  # what errors call it


async def wait_with_others(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """By its code a worker knows it."""
    return await coroutine


CODE: CodeType = wait_with_others.__code__
