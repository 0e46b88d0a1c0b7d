"""worker_value: what is dear to make and is made once in each worker: a model, a connection, a table.

A worker keeps the last MOST_VALUES that were asked for; what goes is made again when it is asked for the next time.
Each client has values of its own, whatever others call theirs, and what its tasks submit finds them, too.

Where no task of a worker runs it is the same with the values of this process. So a function that uses it can be called
anywhere.

Rule 1: threads that ask for the same value at the same time wait for the first, and get what that has made.
Rule 2: what could not be made is not kept: the exception is the caller's, and the next one tries again.
Rule 3: there is no lock that all share: a signal's handler may ask, and may end a task, anywhere in here.
Not here: what is run once in each worker before anything else (setup).
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from inspect import iscoroutine
from typing import Any, ParamSpec, TypeVar

from scaler.worker import context

MOST_VALUES = 128
P = ParamSpec("P")
T = TypeVar("T")
_Key = tuple[int, Hashable]


class _Place:
    """Where a value is, or will be."""

    __slots__ = ("is_made", "lock", "value")

    def __init__(self) -> None:
        self.lock = threading.RLock()  # what makes it may ask for others, or a signal's handler for this one
        self.is_made = False
        self.value: Any = None


_places: "OrderedDict[_Key, _Place]" = OrderedDict()  # the one asked for last at the end


def worker_value(key: Hashable, make: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """What make(*args, **kwargs) has returned in this worker when `key` was first asked for.

    `key` is any hashable value of the caller's choice; each client has keys of its own. The last 128 values that were
    asked for stay, until the worker ends: give large ones few keys. Tasks share the value, and what one changes in it,
    the next finds. Threads that ask at the same time wait for the one that makes it.
    """
    place = _place_of((_caller(), key))
    if not place.is_made:
        with place.lock:
            if not place.is_made:
                made = make(*args, **kwargs)
                if iscoroutine(made):  # which can be awaited once
                    made.close()
                    raise TypeError(f"worker_value keeps what a function returns, and {make!r} returns a coroutine")
                place.value = made
                place.is_made = True
    value: T = place.value
    return value


def _caller() -> int:
    """The client for which the running task runs; 0 where there is none."""
    here = context.find()
    origin = getattr(here.loop, "origin", None) if here is not None else None
    return 0 if origin is None else int(origin.root)


def _place_of(key: _Key) -> _Place:
    place = _places.get(key) or _places.setdefault(key, _Place())
    with suppress(KeyError):  # another thread has just dropped it
        _places.move_to_end(key)
    while len(_places) > MOST_VALUES:
        with suppress(KeyError):
            _places.popitem(last=False)
    return place


def _forget_locks() -> None:
    """In a forked child: locks may be held by threads that it does not have."""
    for place in _places.values():
        place.lock = threading.RLock()


os.register_at_fork(after_in_child=_forget_locks)
