"""Retrying: what a worker calls when a call is to be made again after certain exceptions of its own.

Not here: tasks whose worker died (native/core/core.pyx), which options there are (client.options).
"""

import pickle
from collections.abc import Callable
from typing import Any


class Retrying:
    """Calls `function`, and up to `retries` times again while it raises one of `errors`.

    Each time with the arguments as they came, whatever the call before has done to them; all in the same worker. What
    the last one raises is raised.
    """

    __slots__ = ("__weakref__", "_errors", "_function", "_retries")

    def __init__(self, function: Callable[..., Any], errors: tuple[type[Exception], ...], retries: int) -> None:
        self._function, self._errors, self._retries = function, errors, retries

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        as_they_came = pickle.dumps((args, kwargs), 5)
        for _ in range(self._retries):
            try:
                return self._function(*args, **kwargs)
            except self._errors:
                args, kwargs = pickle.loads(as_they_came)
        return self._function(*args, **kwargs)

    def __reduce__(self) -> Any:
        return Retrying, (self._function, self._errors, self._retries)

    def __repr__(self) -> str:
        return str(getattr(self._function, "__qualname__", None) or repr(self._function))  # what errors call it
