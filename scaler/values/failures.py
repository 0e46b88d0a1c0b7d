"""Failures: exceptions on their way from the task that raised them to the program that asked.

An exception comes as it was, made anew from its arguments and attributes: its `__init__` is not run a second time,
since one that formats its message would do so twice, and one that takes other arguments could not be called.

What cannot be carried, or not be read where it arrives, comes as a stand-in: a RemoteError that has its type's name,
its message and those of its attributes that can be carried. It is also of the nearest class of the exception that can
be found here, its own class first, so `except MyError` catches it.

Not here: which exceptions scaler itself raises (exceptions), what becomes of the traceback (payload).
"""

import functools
import pickle
import types
from collections.abc import Callable
from typing import Any

from scaler.exceptions import RemoteError

_EVERYWHERE = ("builtins", "scaler.exceptions")  # modules whose classes need no stand-in
Dumps = Callable[..., bytes]


class Carried:
    """An exception in a pickle of its own, and what stands for it where that cannot be read."""

    __slots__ = ("data", "stand_in")

    def __init__(self, data: bytes | None, stand_in: tuple[str, bytes, tuple[bytes, ...]]) -> None:
        self.data, self.stand_in = data, stand_in

    def __reduce__(self) -> Any:
        return Carried, (self.data, self.stand_in)

    def open(self) -> BaseException:
        """The exception, or its stand-in."""
        if self.data is not None:
            try:
                error = pickle.loads(self.data)
                if isinstance(error, BaseException):
                    return error
            except Exception:
                pass
        return make_stand_in(*self.stand_in)


def carry(error: BaseException, message: str, dumps: Dumps) -> Any:
    """What to pickle in an exception's place. `dumps(value, reduce_error=...)` pickles anything, or raises."""
    kind = type(error)
    data: bytes | None = None
    try:
        tried = dumps(error, reduce_error=reduce_error)
        if type(pickle.loads(tried)) is kind:
            data = tried
    except BaseException:
        pass
    if data is not None and kind.__module__ in _EVERYWHERE and _is_plain(error):
        return error
    attributes: dict[str, Any] = {}
    if data is None:
        for name, value in _attributes_of(error).items():
            if _dumps_or_none(value, dumps) is not None:
                attributes[name] = value
    bases = [_dumps_or_none(base, dumps) for base in kind.__mro__[: kind.__mro__.index(BaseException)]]
    stand_in = (
        f"{kind.__module__}.{kind.__qualname__}: {message}",
        _dumps_or_none(attributes, dumps) or pickle.dumps({}),
        tuple(base for base in bases if base is not None),
    )
    return Carried(data, stand_in)


def _is_plain(error: BaseException) -> bool:
    """Whether its arguments and attributes are nothing but what can be read everywhere."""
    reduced = error.__reduce__()
    return isinstance(reduced, tuple) and all(_is_of_atoms(part) for part in reduced[1:])


def _is_of_atoms(value: Any, depth: int = 4) -> bool:
    if type(value) in (tuple, list):
        return depth > 0 and all(_is_of_atoms(item, depth - 1) for item in value)
    if type(value) is dict:
        return depth > 0 and all(_is_of_atoms(item, depth - 1) for item in (*value, *value.values()))
    return value is None or type(value) in (bool, int, float, complex, str, bytes)


def _dumps_or_none(value: Any, dumps: Dumps) -> bytes | None:
    try:
        data = dumps(value)
        pickle.loads(data)
    except BaseException:
        return None
    return data


def _attributes_of(error: BaseException) -> dict[str, Any]:
    return {**_slots_of(error), **error.__dict__}


def _slots_of(error: BaseException) -> dict[str, Any]:
    found = {}
    for cls in type(error).__mro__:
        names = cls.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name.startswith("__") and not name.endswith("__"):
                name = f"_{cls.__name__.lstrip('_')}{name}"
            if name not in ("__dict__", "__weakref__") and hasattr(error, name):
                found[name] = getattr(error, name)
    return found


# made anew


def reduce_error(error: BaseException) -> Any:
    """How to pickle an exception so that its `__init__` is not run again; NotImplemented if it has its own way."""
    kind: Any = type(error)
    if isinstance(kind.__init__, types.WrapperDescriptorType) and isinstance(kind.__new__, types.BuiltinMethodType):
        return NotImplemented
    if isinstance(kind.__reduce__, types.FunctionType) or isinstance(kind.__reduce_ex__, types.FunctionType):
        return NotImplemented
    reduced = error.__reduce__()
    if not isinstance(reduced, tuple) or reduced[0] is not kind:
        return NotImplemented
    state = reduced[2] if len(reduced) > 2 else None
    return _make_error, (kind, *reduced[1]), (state, _slots_of(error)), None, None, _set_error


def _make_error(kind: type[BaseException], *args: Any) -> BaseException:
    base: Any = next(cls for cls in kind.__mro__ if not _is_made_in_python(cls))
    error: BaseException = base.__new__(kind, *args)
    base.__init__(error, *args)
    return error


def _is_made_in_python(cls: type) -> bool:
    return bool(cls.__flags__ & 1 << 9)  # it is on the heap


def _set_error(error: BaseException, state: Any) -> None:
    attributes, slots = state
    if attributes is not None and hasattr(type(error), "__setstate__"):
        error.__setstate__(attributes)
    for name, value in slots.items():
        setattr(error, name, value)


# stand-ins


def make_stand_in(text: str, attributes: bytes, bases: tuple[bytes, ...]) -> RemoteError:
    """Of the first of these classes that can be read here and that a class can be made of."""
    for data in bases:
        try:
            error = _fill(_class_of(pickle.loads(data)), text, attributes, bases)
        except Exception:
            continue
        return error
    return _fill(_StandIn, text, attributes, bases)


class _StandIn(RemoteError):
    _made_of: tuple[str, bytes, tuple[bytes, ...]] = ("", b"", ())

    def __str__(self) -> str:
        return self._made_of[0]

    def __reduce__(self) -> Any:
        return make_stand_in, self._made_of


_StandIn.__name__ = _StandIn.__qualname__ = RemoteError.__name__
_StandIn.__module__ = RemoteError.__module__


@functools.lru_cache(maxsize=64)
def _class_of(base: type[BaseException]) -> type[_StandIn]:
    if issubclass(RemoteError, base):
        return _StandIn
    names = {"__module__": RemoteError.__module__, "__qualname__": RemoteError.__qualname__}
    return type(RemoteError.__name__, (_StandIn, base), names)


def _fill(kind: type[_StandIn], text: str, attributes: bytes, bases: tuple[bytes, ...]) -> _StandIn:
    error = _make_error(kind, *([text, [RemoteError(text)]] if issubclass(kind, BaseExceptionGroup) else [text]))
    assert isinstance(error, _StandIn)
    error.args = (text,)
    try:
        given = pickle.loads(attributes)
    except Exception:
        given = {}
    for name, value in given.items():
        try:
            setattr(error, name, value)
        except Exception:  # a property
            continue
    error._made_of = text, attributes, bases
    return error
