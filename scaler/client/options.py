"""CallOptions: how a client's calls are to be run, beside the function's own keywords.

Values are checked here, once, with errors that say what may be given; the record has them in a few bits
(native/records/task_options.pyx).

Not here: the view of a client that uses them (client.view), what is done about them (core, worker, supervisor).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

from scaler._native import DEFAULT_RETRIES, MOST_PRIORITY, MOST_RETRIES, TaskOptions
from scaler.values.retrying import Retrying

MOST_TIMEOUT_S = 4_000_000.0  # some 46 days: milliseconds have 32 bits


@dataclass(frozen=True)
class CallOptions:
    """Options of calls; checked when made. TypeError or ValueError says what is wrong with which."""

    retries: int = DEFAULT_RETRIES
    timeout: float | None = None
    priority: int = 0
    retry_on: type[Exception] | tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        _check_number("retries", self.retries, 0, MOST_RETRIES)
        _check_number("priority", self.priority, -MOST_PRIORITY, MOST_PRIORITY)
        if self.timeout is not None:
            if isinstance(self.timeout, bool) or not isinstance(self.timeout, int | float):
                raise TypeError(f"timeout is a number of seconds, or None for no limit, not {self.timeout!r}")
            if not 0 < self.timeout <= MOST_TIMEOUT_S:
                raise ValueError(
                    f"timeout is more than 0 and at most {MOST_TIMEOUT_S:,.0f} seconds, or None for no limit, "
                    f"not {self.timeout!r}"
                )

        for kind in self.errors:
            if not isinstance(kind, type) or not issubclass(kind, Exception):
                raise TypeError(f"retry_on is an exception class, or a tuple of such, not {self.retry_on!r}")

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """After which exceptions of its own a call is made again."""
        return self.retry_on if isinstance(self.retry_on, tuple) else (self.retry_on,)

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """What is to be called in place of this function."""
        return Retrying(function, self.errors, self.retries) if self.retry_on and self.retries else function

    def changed(self, **changes: Any) -> Self:
        """The same with these changes. TypeError for a name that is no option."""
        for name in changes:
            if name not in self.__dataclass_fields__:
                known = ", ".join(self.__dataclass_fields__)
                raise TypeError(f"{name!r} is no option of a call: there are {known}")
        return replace(self, **changes)

    @cached_property
    def changes(self) -> dict[str, Any]:
        """What differs from the defaults, by name."""
        defaults = type(self)()
        names = self.__dataclass_fields__
        return {name: getattr(self, name) for name in names if getattr(self, name) != getattr(defaults, name)}

    @cached_property
    def native(self) -> TaskOptions:
        """As a record has them."""
        limit_ms = 0 if self.timeout is None else max(1, math.ceil(self.timeout * 1000))
        return TaskOptions(retries=self.retries, priority=self.priority, limit_ms=limit_ms)


def _check_number(name: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number from {least} to {most}, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} is a whole number from {least} to {most}, not {value}")
