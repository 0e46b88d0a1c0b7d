"""Why something cannot be pickled: the way from what was to be pickled to what cannot be, in a sentence.

"cannot pickle '_thread.lock' object" says nothing about where that lock is. So when pickling has failed, parts are
tried by themselves, from the outside in: the globals, closure variables, defaults and attributes of functions, the
attributes of classes and objects, the items of containers.

Rule 1: the exception keeps its type, and nothing that happens here takes its place.
Rule 2: a part is tried once, and of many items only a few by themselves: these are halved until one is left.
"""

import functools
import pickle
import types
from collections.abc import Callable, Iterator
from typing import Any

from cloudpickle import cloudpickle as parts

from scaler.values.by_value import ByValue, is_found_by_name
from scaler.values.mains import MAIN_NAMES

MOST_DEEP = 16
_FEW = 8  # items are tried one by one
_OWN_TYPES = (TypeError, ValueError, AttributeError, RuntimeError, NotImplementedError, pickle.PicklingError)
Part = tuple[str, Any]  # "uses global 'x'", and what that is


class Nowhere:
    """A file that keeps nothing."""

    def write(self, data: Any) -> int:
        return len(data)


def explained(error: Exception, value: Any) -> Exception:
    """The error to raise for the one that pickling `value` raised: of its type, and with the way to its cause."""
    try:
        way, last = _follow(value, error)
    except Exception:
        return error
    if not way:
        return error
    message = str(last)
    text = f"{_what(value)} {', which '.join(way)}"
    if "cannot be pickled" not in message:
        text += ", which cannot be pickled"
    if not message.startswith("cannot pickle "):
        text += f": {message}"
    if type(error) in _OWN_TYPES:
        return type(error)(text)
    error.add_note(text)
    return error


def _follow(value: Any, error: Exception) -> tuple[list[str], Exception]:
    """The relations from the whole to what cannot be pickled, and what was raised for that."""
    way: list[str] = []
    seen = {id(value)}
    while len(way) < MOST_DEEP:
        found = _first_failing([part for part in _parts_of(value) if id(part[1]) not in seen])
        if found is None:
            break
        (relation, value), error = found
        seen.add(id(value))
        way.append(f"{relation} ({_what(value)})")
    return way, error


def _first_failing(among: list[Part]) -> tuple[Part, Exception] | None:
    while len(among) > _FEW:
        half = len(among) // 2
        among = among[:half] if _failure([part[1] for part in among[:half]]) is not None else among[half:]
    for part in among:
        error = _failure(part[1])
        if error is not None:
            return part, error
    return None


def _failure(value: Any) -> Exception | None:
    try:
        ByValue(Nowhere(), protocol=5, buffer_callback=lambda _: False).dump(value)
    except Exception as error:
        return error.with_traceback(None)
    return None


def _what(value: Any) -> str:
    """What it is, for people."""
    if isinstance(value, types.FunctionType):
        return f"function '{value.__qualname__}'"
    if isinstance(value, type):
        return f"class '{value.__qualname__}'"
    kind = type(value)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", *MAIN_NAMES):
        name = f"{kind.__module__}.{name}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _parts_of(value: Any) -> Iterator[Part]:
    for kind, read in _READERS:
        if isinstance(value, kind):
            yield from read(value)
            return
    yield from _parts_of_object(value)


def _parts_of_function(function: types.FunctionType) -> Iterator[Part]:
    if is_found_by_name(function):
        return
    for name in parts._extract_code_globals(function.__code__):
        if name in function.__globals__:
            yield f"uses global '{name}'", function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"uses closure variable '{name}'", cell.cell_contents
        except ValueError:  # empty
            continue
    defaults = function.__defaults__ or ()
    code = function.__code__
    names = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
    for name, default in [*zip(names, defaults, strict=False), *(function.__kwdefaults__ or {}).items()]:
        yield f"has the default of '{name}'", default
    for name, attribute in {**function.__annotations__, **vars(function)}.items():
        yield f"has attribute '{name}'", attribute


def _parts_of_class(cls: type) -> Iterator[Part]:
    if is_found_by_name(cls):
        return
    for base in cls.__bases__:
        yield "has the base", base
    for name, attribute in parts._class_getstate(cls)[0].items():
        yield f"has attribute '{name}'", attribute


def _parts_of_method(method: types.MethodType) -> Iterator[Part]:
    yield "is a method of its object", method.__self__
    yield "runs its function", method.__func__


def _parts_of_partial(partial: functools.partial[Any]) -> Iterator[Part]:
    yield "calls its function", partial.func
    for n, argument in enumerate(partial.args):
        yield f"has argument {n}", argument
    for name, argument in partial.keywords.items():
        yield f"has argument '{name}'", argument


def _parts_of_dict(items: dict[Any, Any]) -> Iterator[Part]:
    for key, item in items.items():
        yield "has a key", key
        yield f"has item {key!r:.60}", item


def _parts_of_list(items: Any) -> Iterator[Part]:
    for n, item in enumerate(items):
        yield f"has item {n}", item


def _parts_of_object(thing: Any) -> Iterator[Part]:
    wrapped = getattr(thing, "__wrapped__", None)  # a function with a cache
    if wrapped is not None:
        yield "wraps its function", wrapped
    if isinstance(thing, classmethod | staticmethod):
        yield "wraps its function", thing.__func__
    if isinstance(thing, property):
        for name in ("fget", "fset", "fdel"):
            yield f"has attribute '{name}'", getattr(thing, name)
    yield "is an object of its class", type(thing)
    try:
        reduced = thing.__reduce_ex__(5)
    except Exception:
        reduced = ()
    if not isinstance(reduced, tuple) or len(reduced) < 2:
        attributes = getattr(thing, "__dict__", None)
        if isinstance(attributes, dict):
            yield from ((f"has attribute '{name}'", attribute) for name, attribute in attributes.items())
        return
    state = reduced[2] if len(reduced) > 2 else None
    for attributes in state if isinstance(state, tuple) else (state,):
        if isinstance(attributes, dict):
            yield from ((f"has attribute '{name}'", attribute) for name, attribute in attributes.items())
        elif attributes is not None:
            yield "has state", attributes
    yield from _parts_of_list(reduced[1])


_READERS: list[tuple[Any, Callable[[Any], Iterator[Part]]]] = [
    (types.FunctionType, _parts_of_function),
    (type, _parts_of_class),
    (types.MethodType, _parts_of_method),
    (functools.partial, _parts_of_partial),
    (dict, _parts_of_dict),
    ((list, tuple, set, frozenset), _parts_of_list),
]
