"""Retrying: what a worker calls when a call is to be made again after certain exceptions of its own.

The arguments are pickled before the first call, since that may change them: as everything that travels is, so that
values of the program's `__main__` can be. Some can be unpickled and not pickled (a lock that `__reduce__` has made
anew): such a call is made once.

Not here: tasks whose worker died (native/scheduler/core.pyx), which options there are (client.options).
"""

import pickle
from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import Any

from scaler.values import payload


class Retrying:
    """Calls `function`, and up to `retries` times again while it (or the coroutine it returns) raises one of `errors`.

    Each time with the arguments as they came, whatever the call before has done to them; all in the same worker. What
    the last one raises is raised. `again()` gives the function anew, if it carries state (scaler.values.sent_function).
    """

    __slots__ = ("__weakref__", "_errors", "_retries", "again", "function")

    def __init__(self, function: Callable[..., Any], errors: tuple[type[Exception], ...], retries: int) -> None:
        self.function, self._errors, self._retries = function, errors, retries
        self.again: Callable[[], Callable[..., Any]] = lambda: function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        as_they_came = _pickled(args, kwargs)
        function = self.function
        for left in reversed(range(self._retries)):
            try:
                value = function(*args, **kwargs)
                return self._await(value, as_they_came, left) if type(value) is CoroutineType else value
            except self._errors as error:
                args, kwargs = _unpickled(as_they_came, error)
                function = self.again()
        return function(*args, **kwargs)

    async def _await(self, coroutine: Coroutine[Any, Any, Any], as_they_came: "bytes | Exception", left: int) -> Any:
        """What it returns in the end; after this one it may be made `left` + 1 times."""
        for _ in range(left + 1):
            try:
                return await coroutine
            except self._errors as error:
                args, kwargs = _unpickled(as_they_came, error)
            coroutine = self.again()(*args, **kwargs)
        return await coroutine

    def __reduce__(self) -> Any:
        return Retrying, (self.function, self._errors, self._retries)

    def __repr__(self) -> str:
        return str(getattr(self.function, "__qualname__", None) or repr(self.function))  # what errors call it


def _pickled(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes | Exception:
    """The arguments, or why they cannot be pickled."""
    try:
        return payload.dumps((args, kwargs))
    except Exception as error:
        return error


def _unpickled(as_they_came: bytes | Exception, error: Exception) -> Any:
    """The arguments again; `error` itself if there is no way to have them."""
    if isinstance(as_they_came, bytes):
        return pickle.loads(as_they_came)
    error.add_note(f"it was not tried again, since its arguments cannot be pickled in the worker: {as_they_came}")
    raise error
