"""Pickles that carry what other processes cannot import: functions and classes of `__main__` or made in functions.

cloudpickle does most of it. What it leaves by name though the other side has no such module (functions with a cache,
NewType, singletons), what it cannot pickle though its parts can be (dispatching functions, cached properties), and what
it makes something else of (open files, memoryviews, the slots of a class) has a rule of its own here.

Rule 1: a class that a process has made itself stays as it is there, however often it comes back with results: only a
        class that came from elsewhere is given the attributes that came with it.
Rule 2: what has a type comes out with that type, or is refused with a sentence.
Not here: when this is needed (payload), why something cannot be pickled (untravelling), exceptions (failures).
"""

import ast
import copyreg
import functools
import io
import pickle
import sys
import types
import typing
import weakref
from collections import ChainMap
from collections.abc import Callable
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as parts

from scaler.values import by_name, mains
from scaler.values.mains import MAIN_NAMES

_Cached: Any = type(functools.cache(len))
_dispatching: Any = functools.singledispatch(lambda _: None)
_DISPATCHING = _dispatching.__code__  # that of all functions that dispatch
_made: "weakref.WeakSet[type]" = weakref.WeakSet()  # classes that came to this process by value
_own: "weakref.WeakSet[type]" = weakref.WeakSet()  # those that it has made itself and sent


def dumps(
    value: Any,
    buffer_callback: Callable[[pickle.PickleBuffer], bool] | None = None,
    reduce_error: Callable[[BaseException], Any] | None = None,
    with_annotated: bool = True,
) -> bytes:
    """The pickle of anything that can be pickled. `reduce_error(exception)` may say how an exception is.

    `with_annotated`: what annotations that are texts name is taken along.
    """
    file = io.BytesIO()
    pickler = ByValue(file, protocol=5, buffer_callback=buffer_callback)
    pickler.reduce_error, pickler.with_annotated = reduce_error, with_annotated
    pickler.dump(value)
    return file.getvalue()


def is_found_by_name(thing: Any) -> bool:
    """Whether other processes can be expected to find this where its name says."""
    module = sys.modules.get(getattr(thing, "__module__", None) or "")
    if module is None or module.__name__ in MAIN_NAMES or parts._is_registered_pickle_by_value(module):
        return False
    return by_name.find_in(module, getattr(thing, "__qualname__", None) or thing.__name__) is thing


def name_in_main(thing: Any) -> str | None:
    """Under which name pickle would say that this is in `__main__`; None if it would not."""
    kind: Any = type(thing)
    if kind in (types.FunctionType, _Cached, typing.NewType) or issubclass(kind, type):
        name = thing.__qualname__
    else:
        name = thing.__reduce_ex__(5) if kind.__reduce__ is not object.__reduce__ else None
    return name if isinstance(name, str) and "<" not in name else None


class ByValue(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    reduce_error: Callable[[BaseException], Any] | None = None
    with_annotated = True

    def reducer_override(self, thing: Any) -> Any:
        kind: Any = type(thing)
        if kind is types.FunctionType:
            return self._reduce_function(thing)
        if issubclass(kind, type):
            reduced = parts._class_reduce(thing)
            if reduced is NotImplemented and thing.__module__ == "__mp_main__":
                reduced = parts._dynamic_class_reduce(thing)
            if reduced is not NotImplemented and len(reduced) == 6:
                return _with_own_setter(thing, self.with_annotated, *reduced)
            return reduced
        if self.reduce_error is not None and isinstance(thing, BaseException):
            return self.reduce_error(thing)
        if kind in _reducers or kind in parts.Pickler._dispatch_table:
            return NotImplemented
        if kind.__reduce__ is object.__reduce__ and kind.__reduce_ex__ is object.__reduce_ex__:
            if hasattr(kind, "__getattr__") and not hasattr(kind, "__setstate__"):
                return _reduce_delegating(thing)
        elif getattr(thing, "__module__", None) in MAIN_NAMES and kind not in copyreg.dispatch_table:
            reduced = thing.__reduce_ex__(5)
            return _reduce_singleton(thing, reduced) if isinstance(reduced, str) else reduced
        return NotImplemented

    def _reduce_function(self, thing: types.FunctionType) -> Any:
        if not is_found_by_name(thing):
            reduced = None
            if thing.__code__ is _DISPATCHING:
                reduced = _reduce_dispatching(thing)
            elif "raw_function" in thing.__dict__:
                reduced = _reduce_validating(thing)
            if reduced is not None:
                return reduced
        if thing.__module__ == "__mp_main__":
            reduced = self._dynamic_function_reduce(thing)
        else:
            reduced = self._function_reduce(thing)
        if reduced is NotImplemented or thing.__module__ not in MAIN_NAMES:
            return reduced
        _, args, (attributes, state), *_ = reduced
        of, shown = mains.program(), _shown(thing)
        if self.with_annotated:
            state["__globals__"].update(_annotated(thing))
        if "__main__" in thing.__code__.co_names:
            there = vars(sys.modules["__main__"])
            names = [name for name in thing.__code__.co_names if name in there and not name.startswith("__")]
            shown |= {name: there[name] for name in names}
        return _make_function, (of, *args), (of, shown, (attributes, state)), None, None, _set_function


# what is an attribute of `__main__`


def _shown(thing: Any) -> dict[str, Any]:
    """What of this is to be an attribute of `__main__` where it arrives: itself, or the class that it is in."""
    name = thing.__qualname__
    root = name.partition(".")[0]
    main = sys.modules["__main__"]
    if thing.__module__ not in MAIN_NAMES or by_name.find_in(main, name) is not thing:
        return {}
    return {root: getattr(main, root)}


def _annotated(thing: Any) -> dict[str, Any]:
    """The types that annotations name which are texts: to make types of them takes the names."""
    there = vars(sys.modules["__main__"])
    texts = [text for text in getattr(thing, "__annotations__", {}).values() if isinstance(text, str)]
    names = {name for text in texts for name in _names_in(text) if name in there and _is_of_types(there[name])}
    return {name: there[name] for name in sorted(names)}


def _names_in(text: str) -> set[str]:
    """The names that an annotation uses, also within its own texts, but not in those of a Literal."""
    try:
        left: list[ast.AST] = [ast.parse(text.strip(), mode="eval")]
    except (SyntaxError, ValueError):
        return set()
    found: set[str] = set()
    while left:
        node = left.pop()
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= _names_in(node.value)
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).rpartition(".")[2] == "Literal":
            left.append(node.value)
        else:
            left += ast.iter_child_nodes(node)
    return found


def _is_of_types(value: Any) -> bool:
    """Whether it is a class, a type variable, an alias or such, or a module that has them and is found by its name."""
    if isinstance(value, types.ModuleType):
        return sys.modules.get(value.__name__) is value
    if isinstance(value, type) or typing.get_origin(value) is not None:
        return True
    return type(value).__module__ in ("typing", "typing_extensions")


def _make_function(of: bytes, code: Any, given: dict[str, Any], *more: Any) -> Any:
    return parts._make_function(code, mains.globals_in(of, given), *more)


def _set_function(function: Any, about: Any) -> None:
    of, shown, (attributes, state) = about
    if mains.are_globals_shared():
        there = function.__globals__
        state["__globals__"] = {name: value for name, value in state["__globals__"].items() if name not in there}
    parts._function_setstate(function, (attributes, state))
    if shown:
        mains.arrive(of, shown)


def _set_shown(thing: Any, about: Any) -> None:
    """`set_state(thing, state)`, if there is one, and it is there to be seen."""
    of, shown, set_state, state = about
    if set_state is not None:
        set_state(thing, state)
    if shown:
        mains.arrive(of, shown)


def _with_shown(thing: Any, make: Any, args: Any, state: Any = None, set_state: Any = None) -> Any:
    """How to carry something that may be an attribute of `__main__`."""
    about = mains.program(), _shown(thing), set_state, state
    return make, args, about, None, None, _set_shown


# classes


def _with_own_setter(cls: type, with_annotated: bool, make: Any, args: Any, state: Any, *_: Any) -> Any:
    """cloudpickle's way to carry a class, but with its slots from the beginning, and Rule 1."""
    if cls not in _made:
        _own.add(cls)
    if make is parts._make_skeleton_class:
        args[3]["__qualname__"] = cls.__qualname__
    if "__slots__" in state[0] and make is parts._make_skeleton_class and typing.NamedTuple not in args[2]:
        slots = cls.__dict__["__slots__"]
        args[3]["__slots__"] = slots
        attributes, more = state
        attributes = {
            name: value
            for name, value in attributes.items()
            if name != "__slots__" and type(value) is not types.MemberDescriptorType
        }
        state = attributes, more
    if cls.__module__ not in MAIN_NAMES:
        return _make_class, (make, *args), state, None, None, _set_class
    about = mains.program(), _shown(cls) | (_annotated(cls) if with_annotated else {}), _set_class, state
    return _make_class, (make, *args), about, None, None, _set_shown


def _make_class(make: Callable[..., type], *args: Any) -> type:
    made = make(*args)  # or found, if it was here before
    if made not in _own:
        _made.add(made)
    return made


def _set_class(cls: type, state: Any) -> None:
    if cls not in _own:
        parts._class_setstate(cls, state)


# what is pickled by its name


def _reduce_singleton(thing: Any, name: str) -> Any:
    """How to carry an object whose own `__reduce__` says only where it is found."""
    of, root = mains.program(), name.partition(".")[0]
    shown = {root: getattr(sys.modules["__main__"], root, thing)}
    arguments = of, thing.__module__, name, type(thing)
    return _make_singleton, arguments, (of, shown, _set_singleton, thing.__getstate__()), None, None, _set_shown


def _make_singleton(of: bytes, module: str, name: str, kind: Any) -> Any:
    main = mains.find_module(of, module)
    found = None if main is None else by_name.find_in(main, name)
    if type(found) is kind:
        return found
    made = kind.__new__(kind)
    _new_singletons.append(made)
    return made


_new_singletons: list[Any] = []  # made and not filled yet


def _set_singleton(thing: Any, state: Any) -> None:
    for at, new in enumerate(_new_singletons):
        if new is thing:
            del _new_singletons[at]
            _set_state(thing, state)
            return


def _set_state(thing: Any, state: Any) -> None:
    """As unpickling does it, but without asking the object, which may need its state to answer."""
    setter = getattr(type(thing), "__setstate__", None)
    if setter is not None:
        setter(thing, state)
        return
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    if attributes:
        object.__getattribute__(thing, "__dict__").update(attributes)
    for name, value in (slots or {}).items():
        object.__setattr__(thing, name, value)


def _reduce_delegating(thing: Any) -> Any:
    """An object that looks elsewhere for what it does not have: nobody may ask it for anything before it has its state.

    Unpickling asks for `__setstate__`, which such an object may look for in itself, and so on.
    """
    reduced = thing.__reduce_ex__(5)
    if not isinstance(reduced, tuple) or len(reduced) < 3 or not reduced[2]:
        return reduced
    return (*reduced, *(None,) * (5 - len(reduced)), _set_state)


def _reduce_new_type(thing: Any) -> Any:
    if is_found_by_name(thing):
        return thing.__qualname__
    about = mains.program(), thing.__module__, thing.__qualname__, thing.__supertype__
    return _with_shown(thing, _make_new_type, about)


def _make_new_type(of: bytes, module: str, qualname: str, supertype: Any) -> Any:
    main = mains.find_module(of, module) if module in MAIN_NAMES else sys.modules.get(module)
    found = None if main is None else by_name.find_in(main, qualname)
    if type(found) is typing.NewType and found.__supertype__ == supertype:
        return found
    new_type: Any = typing.NewType
    made = new_type(qualname, supertype)
    made.__module__ = module
    return made


def _reduce_parameter(thing: Any) -> Any:
    """A ParamSpec or TypeVarTuple."""
    if is_found_by_name(thing):
        return thing.__name__
    return _make_parameter, (type(thing), thing.__name__, parts._get_or_create_tracker_id(thing))


def _make_parameter(kind: Any, name: str, tracker: str) -> Any:
    return parts._lookup_class_or_track(tracker, kind(name))


def _reduce_alias(thing: Any) -> Any:
    if is_found_by_name(thing):
        return thing.__name__
    return _make_alias, (type(thing), thing.__name__, thing.__value__, thing.__type_params__)


def _make_alias(kind: Any, name: str, value: Any, parameters: tuple[Any, ...]) -> Any:
    return kind(name, value, type_params=parameters)


# functions with something around them


def _reduce_method(thing: Any) -> Any:
    """Some methods travel by name; cloudpickle carries the function and the object of any other."""
    home = by_name.find_home(thing)
    return (by_name.find, home) if home is not None else parts._method_reduce(thing)


def _reduce_cached(thing: Any) -> Any:
    """A function with a cache comes with an empty one."""
    if is_found_by_name(thing):
        return thing.__qualname__
    settings = thing.cache_parameters()
    arguments = thing.__wrapped__, settings["maxsize"], settings["typed"]
    attributes = {name: value for name, value in vars(thing).items() if name not in _OF_EVERY_CACHED}
    return _with_shown(thing, _make_cached, arguments, attributes, _set_attributes)


_OF_EVERY_CACHED = {*vars(functools.cache(lambda: None)), "__wrapped__"}


def _make_cached(function: Any, maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def _set_attributes(thing: Any, attributes: dict[str, Any]) -> None:
    vars(thing).update(attributes)


def _reduce_dispatching(thing: Any) -> Any:
    """A function that dispatches by the type of its first argument: it, and those that it calls."""
    default = thing.registry[object]
    attributes = {name: value for name, value in vars(thing).items() if name not in _OF_EVERY_DISPATCHING}
    calls = [(kind, function) for kind, function in thing.registry.items() if kind is not object]
    return _with_shown(thing, _make_dispatching, (default,), (calls, attributes), _set_dispatching)


_OF_EVERY_DISPATCHING = set(vars(_dispatching))


def _make_dispatching(default: Any) -> Any:
    return functools.singledispatch(default)


def _set_dispatching(thing: Any, state: Any) -> None:
    calls, attributes = state
    for kind, function in calls:
        thing.register(kind, function)
    vars(thing).update(attributes)


def _reduce_validating(thing: Any) -> Any:
    """pydantic's `validate_call`, which holds all names of its module, is made anew; None if it is none."""
    for cell in thing.__closure__ or ():
        wrapper = getattr(cell.cell_contents, "__self__", cell.cell_contents)
        kind = type(wrapper)
        if kind.__name__ == "ValidateCallWrapper" and kind.__module__.startswith("pydantic."):
            config = dict(wrapper.config_wrapper.config_dict) or None
            return _with_shown(thing, _make_validating, (thing.raw_function, config, wrapper.validate_return))
    return None


def _make_validating(function: Any, config: Any, validate_return: bool) -> Any:
    from pydantic import validate_call

    return validate_call(config=config, validate_return=validate_return)(function)


def _reduce_cached_property(thing: Any) -> Any:
    return _make_cached_property, (thing.func, thing.attrname)


def _make_cached_property(function: Any, name: str | None) -> Any:
    made = functools.cached_property(function)
    made.attrname = name
    return made


# what would come out as something else


def _refuse_memoryview(thing: memoryview) -> Any:
    raise TypeError("a memoryview cannot be pickled: pass bytes(view), or the object that it looks at")


def _refuse_file(thing: Any) -> Any:
    for name in ("stdout", "stderr"):
        if thing is getattr(sys, name):
            return getattr, (sys, name)
    path = getattr(thing, "name", None)
    what = f"an open file ({path!r})" if isinstance(path, str) else "an open file"
    raise TypeError(f"{what} cannot be pickled: pass its path, and open it where it is read")


_reducers: dict[Any, Callable[[Any], Any]] = {
    types.MethodType: _reduce_method,
    types.BuiltinMethodType: by_name.reduce_method,
    _Cached: _reduce_cached,
    typing.NewType: _reduce_new_type,
    typing.ParamSpec: _reduce_parameter,
    typing.TypeVarTuple: _reduce_parameter,
    functools.cached_property: _reduce_cached_property,
    memoryview: _refuse_memoryview,
    **dict.fromkeys(
        (io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.FileIO), _refuse_file
    ),
}
if hasattr(typing, "TypeAliasType"):
    _reducers[typing.TypeAliasType] = _reduce_alias
ByValue.dispatch_table = ChainMap(_reducers, cloudpickle.Pickler.dispatch_table)
