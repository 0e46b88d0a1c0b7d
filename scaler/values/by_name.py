"""By name: what another process finds where this one found it, and what has to be taken along instead.

Functions and classes of modules that can be imported travel as their names. So do the methods of an object that a
module offers under their own names, as `random.randint` is one of a hidden `Random`: sent by value each worker would
begin with the same numbers, while the module that it has imported has a state of its own.

By value travel what is in `__main__`, what cloudpickle was told to take along (`register_pickle_by_value`), and modules
that were made by hand: `sys.modules` of another process does not have them.

Rule 1: an object that is merely found in a module travels by value, with the state that it has here, as with the
        standard library's pools. Only what the module itself offers as a function is taken for one.
"""

import copyreg
import functools
import importlib
import pickle
import sys
import types
from typing import Any

_METHODS = (types.MethodType, types.BuiltinMethodType)
_DESCRIPTORS = (types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType)
LRU_CACHE: Any = type(functools.lru_cache(len))
_NOT_MADE_BY_HAND = ("_cython_", "cython_runtime")  # where Cython's modules have what they share

_seen: tuple[int, int] = (-1, -1)  # how many modules there were, and how many of these were registered
_by_value: tuple[bytes, ...] = ()


def modules_by_value() -> tuple[bytes, ...]:
    """The names of modules that travel by value, as they stand in a pickle; without `__main__`."""
    global _seen, _by_value
    cloudpickle = sys.modules.get("cloudpickle.cloudpickle")
    registered = () if cloudpickle is None else getattr(cloudpickle, "_PICKLE_BY_VALUE_MODULES", ())
    seen = len(sys.modules), len(registered)
    if seen != _seen:
        try:
            registered = _register_made_by_hand() or registered
        except ImportError:  # a signal's handler has interrupted cloudpickle's import: the next call sees it whole
            return _by_value
        _seen = len(sys.modules), len(registered)
        _by_value = tuple(name.encode("utf-8", "surrogatepass") for name in tuple(registered))
    return _by_value


def _register_made_by_hand() -> Any:
    """Have cloudpickle take these along, too. All that are, if there are any new ones."""
    made = [
        module
        for name, module in list(sys.modules.items())
        if type(module) is types.ModuleType
        and name != "__main__"
        and not name.startswith(_NOT_MADE_BY_HAND)
        and "." not in name
        and getattr(module, "__spec__", None) is None
        and getattr(module, "__loader__", None) is None
        and getattr(module, "__file__", None) is None
        and module.__name__ == name
    ]
    if not made:
        return None
    from cloudpickle.cloudpickle import list_registry_pickle_by_value, register_pickle_by_value

    for module in made:
        register_pickle_by_value(module)
    return list_registry_pickle_by_value()


def travels_by_value(module_name: str) -> bool:
    """Whether what is in this module is taken along."""
    if module_name in ("__main__", "__mp_main__"):
        return True
    names = modules_by_value()
    if not names:
        return False
    parts = module_name.split(".")
    return any(".".join(parts[:n]).encode("utf-8", "surrogatepass") in names for n in range(1, len(parts) + 1))


def is_found(thing: Any) -> bool:
    """Whether this function or class travels as its name."""
    module_name, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if not isinstance(module_name, str) or not isinstance(name, str) or travels_by_value(module_name):
        return False
    return find_in(sys.modules.get(module_name), name) is thing


def find_in(module: types.ModuleType | None, qualname: str) -> Any:
    """What has this name there; None if nothing has."""
    found: Any = module
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


def is_module_found(module: types.ModuleType) -> bool:
    """Whether this module travels as its name."""
    return sys.modules.get(module.__name__) is module and not travels_by_value(module.__name__)


def travels_by_name(thing: Any) -> bool:
    """Whether all that is sent of it is where it is found, so that it carries no state."""
    if isinstance(thing, types.FunctionType | type):
        return is_found(thing)
    if isinstance(thing, types.ModuleType):
        return is_module_found(thing)
    if isinstance(thing, _METHODS):
        owner = thing.__self__
        if owner is None or isinstance(owner, types.ModuleType):
            return is_found(thing)
        return is_found(owner) if isinstance(owner, type) else find_home(thing) is not None
    if isinstance(thing, _DESCRIPTORS):
        return is_found(thing.__objclass__)
    if type(thing) is LRU_CACHE:
        return is_found(thing)
    reduce: Any = copyreg.dispatch_table.get(type(thing))  # universal functions of numpy
    return reduce is not None and getattr(thing, "__name__", None) is not None and isinstance(reduce(thing), str)


def find_home(method: Any) -> tuple[str, str] | None:
    """The module that offers this method of some object as a function of its own, and the name."""
    name, owner = str(getattr(method, "__name__", "")), method.__self__
    if isinstance(owner, type | types.ModuleType):
        return None
    kind = type(owner).__module__
    function = getattr(method, "__func__", None)
    made_in = kind if function is None else getattr(function, "__module__", None)
    for module_name in (kind,) if made_in == kind else (made_in, kind):
        while isinstance(module_name, str) and module_name:
            module = sys.modules.get(module_name)
            there = None if module is None else module.__dict__.get(name)
            if there is not None and isinstance(there, _METHODS) and there.__self__ is owner and there == method:
                return None if travels_by_value(module_name) else (module_name, name)
            module_name = module_name.rpartition(".")[0]
    return None


def find(module_name: str, name: str) -> Any:
    """What a module offers under this name: what such a method becomes in the other process."""
    return getattr(importlib.import_module(module_name), name)


def reduce_method(method: Any) -> Any:
    """How a method is pickled, or a builtin function."""
    home = None if method.__self__ is None else find_home(method)
    return (find, home) if home is not None else method.__reduce_ex__(5)


class _Reducers(dict[type, Any]):
    """As everywhere, but for methods."""

    def __missing__(self, kind: type) -> Any:
        return copyreg.dispatch_table[kind]


def has_no_home(value: Any) -> bool:
    """Whether a value is a method that travels by value, and its object has no other methods in it."""
    if type(value) not in _METHODS or value.__self__ is None or find_home(value) is not None:
        return False
    return b"getattr" not in pickle.dumps(value.__self__, 5, buffer_callback=lambda _: None)


class MethodPickler(pickle.Pickler):
    """Plain pickle, that knows which methods travel by name."""

    dispatch_table = _Reducers(dict.fromkeys(_METHODS, reduce_method))
