"""SetUp: what is to run once in each worker before certain calls, at the client.

It travels with each function that needs it, as bytes that nobody unpickles where it has run (scaler.worker.setup).

Rule 1: a function is wrapped once, so that the client knows it again by identity and pickles it once.
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

from scaler.values import payload
from scaler.values.named import check_travels
from scaler.worker.setup import call_set_up

MOST_WRAPPED = 128  # functions; of these the one used last stays the longest
P = ParamSpec("P")
T = TypeVar("T")


class SetUp:
    """`initializer(*arguments)` once for each `key`, which nobody has who does not mean the same."""

    def __init__(self, key: bytes, initializer: Callable[..., object], arguments: tuple[Any, ...] = ()) -> None:
        self._travels = key, payload.dumps((initializer, arguments))
        self._wrapped: OrderedDict[int, tuple[Callable[..., Any], Callable[..., Any]]] = OrderedDict()

    def wrap(self, function: Callable[P, T]) -> Callable[P, T]:
        """What is to be called in place of this function: the same each time. TypeError if it does not travel."""
        check_travels(function)
        known = self._wrapped.get(id(function))
        if known is None:
            known = self._wrapped[id(function)] = function, partial(call_set_up, *self._travels, function)
            if len(self._wrapped) > MOST_WRAPPED:
                self._wrapped.popitem(last=False)
        else:
            self._wrapped.move_to_end(id(function))
        return known[1]
