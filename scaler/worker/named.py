"""NamedCall: what a named function is in a worker. It is imported at its first call, and called with what JSON has.

Whatever is raised is said in JSON, too, with the exception's pickle beside it for those who read pickles. What is no
Exception (the task is stopped, the worker is to end) is raised on, as by any other function.

Not here: the payloads (scaler.values.neutral).
"""

import traceback
from collections.abc import Callable
from types import CoroutineType
from typing import Any

from scaler.values import neutral, payload
from scaler.values.named import check_name, find_function


class NamedCall:
    """`name` is what errors call it; UnicodeDecodeError or ValueError if these bytes are no name."""

    def __init__(self, name: bytes) -> None:
        self.name = self.__qualname__ = name.decode()
        check_name(self.name)
        self._function: Callable[..., Any] | None = None

    def call(self, arguments: Any, finish: Callable[[Any], Any]) -> tuple[bool, bytes]:
        """Whether it has returned, and the bytes of its result, or of what it raised. `finish` awaits coroutines."""
        try:
            function = self._function
            if function is None:
                function = self._function = find_function(self.name)
            args, kwargs = neutral.loads_arguments(arguments)
            value = function(*args, **kwargs)
            if type(value) is CoroutineType:
                value = finish(value)
            return True, neutral.dumps(value)
        except Exception as error:
            return False, describe(error)


def describe(error: Exception) -> bytes:
    """The neutral payload that carries an exception. Raises nothing, whatever the exception's code does."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except Exception:
        message = "<str() of it failed>"
    text = payload.shortened("".join(traceback.format_exception(error)))
    return neutral.dumps_failure(
        neutral.Failure(name, payload.shortened(message), text, payload.describe(error, False, text))
    )
