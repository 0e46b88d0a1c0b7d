"""NamedFunction: a function that workers know by its name, so that no code travels and any language can call it.

`module:qualname` is what a Python worker imports. A name without a colon is one that a program in another language
serves (docs/cpp.md).

Not here: what its arguments and results look like (neutral), how a worker calls it (scaler.worker.named).
"""

import importlib
from hashlib import sha256
from typing import Any

from scaler._native import DIGEST_BYTES, MOST_FUNCTION_NAME_BYTES, MOST_RESOURCE_NAME_BYTES, MOST_RESOURCES

_TAG = b"f:"  # so that a function is never taken for a resource that somebody has called the same


class NamedFunction:
    """To be submitted like a function; its arguments and its result are what JSON has.

    `name` is `module:qualname`, which the worker imports, or what a worker in another language serves. Called here, it
    calls the function that is imported under this name.
    """

    __slots__ = ("__weakref__", "name")

    def __init__(self, name: str) -> None:
        check_name(name)
        tag_of(name)
        self.name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return find_function(self.name)(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamedFunction) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"NamedFunction({self.name!r})"

    def __reduce__(self) -> Any:
        return NamedFunction, (self.name,)


class IsNamed(TypeError):
    """A named function where its number was asked for as if it were one that is pickled."""

    def __init__(self, function: NamedFunction) -> None:
        super().__init__(f"{function!r} is called by `submit` only: its arguments are not pickled as others are")
        self.function = function


def check_travels(function: object) -> None:
    """TypeError for a named function, where something else is to be called in its place, which would be pickled."""
    if type(function) is NamedFunction:
        raise TypeError(
            f"{function!r} is called by its name, and no code goes with it: retry_on, worker_init, an executor's "
            "initializer, a serializer and concurrency are for functions that are sent"
        )


def check_name(name: str) -> None:
    """TypeError or ValueError says what a name may be."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a function is a text, not {type(name).__name__}")
    if not 0 < len(name.encode()) <= MOST_FUNCTION_NAME_BYTES or not name.isprintable():
        raise ValueError(
            f"the name of a function has 1 to {MOST_FUNCTION_NAME_BYTES} bytes, all of them printable: {name!r}"
        )


def tag_of(name: str) -> bytes:
    """What workers that serve it have, and its calls ask for; nothing for what any worker imports.

    ValueError for a name that no worker could have.
    """
    if ":" in name:
        return b""
    tag = _TAG + name.encode()
    if len(tag) > MOST_RESOURCE_NAME_BYTES or any(sign in name for sign in "=@"):
        raise ValueError(
            f"a name without a colon has at most {MOST_RESOURCE_NAME_BYTES - len(_TAG)} bytes, and no = or @: {name!r}"
        )
    return tag


def with_tag(name: str, request: bytes) -> bytes:
    """What calls of it ask for that ask for this besides."""
    lines = [line for line in (*request.split(b"\n"), tag_of(name)) if line]
    if len(lines) > MOST_RESOURCES:
        raise ValueError(
            f"a call of {name!r} asks for at most {MOST_RESOURCES - 1} resources, since its name is one more"
        )
    lines.sort(key=lambda line: line.partition(b"=")[0])  # by the name, without the amount
    return b"\n".join(lines)


def digest_of(name: str) -> bytes:
    """By which the scheduler knows it."""
    return sha256(name.encode()).digest()[:DIGEST_BYTES]


def find_function(name: str) -> Any:
    """What is imported under this name; ImportError, AttributeError or LookupError says why nothing is."""
    module, colon, path = name.partition(":")
    if not colon or not path:
        raise LookupError(
            f"this worker runs Python and has no function {name!r}: a name that Python serves is written "
            "module:function, and any other needs a worker that serves it"
        )
    found = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found
