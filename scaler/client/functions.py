"""FunctionNumbers: which number of this client stands for which callable.

A callable is pickled and announced once. Functions, classes, builtins and partials are known again by identity (`is`,
held weakly), never by `==`: two bound methods may be equal and still differ. Anything else is pickled each time and
known again by its bytes. A function's state (its closure, its defaults, arrays in a partial) is captured at its first
submit. Objects that a function carries stay as long as the scheduler knows the function.
"""

import functools
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

from scaler._native import FLAG_OBJECTS
from scaler.client.objects import Packed, Parcel

_BY_IDENTITY = (types.FunctionType, types.BuiltinFunctionType, type, functools.partial)


class FunctionNumbers:
    """`announce(number, digest, payload, flags)` sends a function that the scheduler has not had from this client.

    `begin()` gives the parcel that one is packed with; its payload may have `most_bytes`.
    """

    def __init__(
        self, begin: Callable[[], Parcel], announce: Callable[[int, bytes, bytes, int], None], most_bytes: int
    ) -> None:
        self._begin, self._announce, self._most_bytes = begin, announce, most_bytes
        self._by_id: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._by_digest: dict[bytes, int] = {}
        self._lock = threading.Lock()

    def number_of(self, function: Callable[..., Any]) -> int:
        """The number to submit under; announces the function if it is new. TypeError if it cannot be called."""
        known = self._by_id.get(id(function))
        if known is not None and known[0]() is function:
            return known[1]
        if not callable(function):
            raise TypeError(f"the first argument must be callable, not {type(function).__name__}: {function!r}")
        parcel = self._begin()
        data = parcel.dumps(function)
        digest = parcel.digest(data)
        with self._lock:
            number = self._by_digest.get(digest)
            if number is None:
                number = len(self._by_digest) + 1
                self._send(number, digest, parcel.finish(data, self._most_bytes, may_hold=False))
                self._by_digest[digest] = number
        if isinstance(function, _BY_IDENTITY):
            key = id(function)
            self._by_id[key] = (weakref.ref(function, lambda _: self._by_id.pop(key, None)), number)
        return number

    def _send(self, number: int, digest: bytes, packed: bytes | Packed) -> None:
        if isinstance(packed, bytes):
            self._announce(number, digest, packed, 0)
            return
        try:
            self._announce(number, digest, packed.payload, FLAG_OBJECTS)
            packed.is_written = True
        finally:
            packed.end()
