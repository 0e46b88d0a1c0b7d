"""FunctionNumbers: which number of this client stands for which callable.

A callable is pickled and announced once. Functions, classes, builtins and partials are known again by identity (`is`,
held weakly), never by `==`: two bound methods may be equal and still differ. Anything else is pickled each time and
known again by its bytes. A function's state (its closure, its defaults) is captured at its first submit.
"""

import functools
import threading
import types
import weakref
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

_BY_IDENTITY = (types.FunctionType, types.BuiltinFunctionType, type, functools.partial)


class FunctionNumbers:
    """`announce(number, digest, payload)` sends a function that the scheduler has not had from this client."""

    def __init__(self, dumps: Callable[[Any], bytes], announce: Callable[[int, bytes, bytes], None]) -> None:
        self._dumps, self._announce = dumps, announce
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
        data = self._dumps(function)
        digest = blake2b(data, digest_size=16).digest()
        with self._lock:
            number = self._by_digest.get(digest)
            if number is None:
                number = len(self._by_digest) + 1
                self._announce(number, digest, data)
                self._by_digest[digest] = number
        if isinstance(function, _BY_IDENTITY):
            key = id(function)
            self._by_id[key] = (weakref.ref(function, lambda _: self._by_id.pop(key, None)), number)
        return number
