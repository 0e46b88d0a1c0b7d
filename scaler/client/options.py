"""CallOptions: how a client's calls are to be run, beside the function's own keywords.

Values are checked here, once, with errors that say what may be given; the record has them in a few bits
(native/records/task_options.pyx).

Not here: the view of a client that uses them (client.view), what is done about them (core, worker, supervisor).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, Self

from scaler._native import DEFAULT_RETRIES, MOST_PRIORITY, MOST_RETRIES, TaskOptions
from scaler.client.set_up import SetUp
from scaler.values import mains, payload
from scaler.values.named import check_travels
from scaler.values.resources import request_text
from scaler.values.retrying import Retrying

MOST_AT_ONCE = 10_000
MOST_TIMEOUT_S = 4_000_000.0  # some 46 days: milliseconds have 32 bits


@dataclass(frozen=True)
class CallOptions:
    """Options of calls; checked when made. TypeError or ValueError says what is wrong with which."""

    retries: int = DEFAULT_RETRIES
    timeout: float | None = None
    priority: int = 0
    retry_on: type[Exception] | tuple[type[Exception], ...] = ()
    worker_init: Callable[[], object] | None = None
    concurrency: int = 1
    resources: Mapping[str, Any] | None = None

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
        _check_number("concurrency", self.concurrency, 1, MOST_AT_ONCE)
        if self.concurrency > 1 and not self.retries:
            raise ValueError(
                "calls that run at the same time are run again if one of them ends their worker: concurrency wants "
                "retries of 1 or more"
            )
        if self.worker_init is not None and not callable(self.worker_init):
            raise TypeError(f"worker_init is something to call in each worker, not {self.worker_init!r}")
        request_text(self.resources)

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """After which exceptions of its own a call is made again."""
        return self.retry_on if isinstance(self.retry_on, tuple) else (self.retry_on,)

    @property
    def wraps(self) -> bool:
        """Whether anything else is called in place of functions."""
        return bool(self.retry_on) or self.worker_init is not None or self.concurrency > 1

    def check_single(self) -> None:
        """TypeError if these are options of maps only."""
        if self.concurrency > 1:
            raise TypeError(
                "concurrency is for maps (map, map_each, starmap, imap, imap_unordered): single calls do not run "
                "at the same time in a worker"
            )

    @cached_property
    def _set_up(self) -> SetUp | None:
        """The same program means the same by the same bytes, whichever view of its client they came through."""
        if self.worker_init is None:
            return None
        return SetUp(blake2b(mains.program() + payload.dumps(self.worker_init)).digest(), self.worker_init)

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """What is to be called in place of this function."""
        if self._set_up is not None:
            function = self._set_up.wrap(function)
        if not self.retry_on or not self.retries:
            return function
        check_travels(function)
        return Retrying(function, self.errors, self.retries)

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
    def request(self) -> bytes:
        """What calls ask for, as it travels; nothing if that is nothing."""
        return request_text(self.resources)

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
