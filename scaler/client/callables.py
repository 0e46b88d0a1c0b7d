"""Callables: whether one carries state from call to call, and what it is made of that may be another the next time.

**What is kept.** A worker that kept every callable it has unpickled would hand to a call what the last one left in it:
a counter of a bound method, a dict in a partial, a list as a default, a `nonlocal` name. Kept is only what cannot carry
anything: what is found by its name in a module that can be imported, and functions that travel by value if all they
use are constants, modules, and such functions themselves. All else is made anew for each call (`FreshFunction`).

**What is noticed.** A function that travels by value is pickled again if something it uses was bound anew: a global, a
cell of its closure, defaults, code, attributes, those of functions and classes that travel along, and so on. Values
that change in place are compared by their pickles as long as these are small (MOST_STATE_BYTES); that costs about a
microsecond a submit. Larger ones are what they were at the function's first submit, and so are those of which the
pickles cannot tell: pickling them each time would cost more than all the rest of a submit. That a name was bound to
another value is seen all the same: large containers of plain values are held until a later submit finds others in their
place, since CPython soon gives the address of what has gone to something else.

**Caches.** A function with a cache (`functools.cache`, `lru_cache`) is kept if the function inside it is, and the cache
with it: that is what it is for. So calls on one worker share the values that it gives, as calls in one program do: a
list that one of them changes is changed for the others.

Rule 1: in doubt a callable is made anew: that costs a worker some microseconds, and never a wrong result.
Not here: comparing (native/client/watch.pyx), what travels by name (scaler.values.by_name).
"""

import dis
import functools
import pickle
import types
import weakref
from typing import Any

from scaler._native import Found, Watch, WatchedClass, WatchedFunction, WatchedPart, class_items
from scaler.client.serializer import SerializedCall
from scaler.values.by_name import LRU_CACHE, is_found, travels_by_name
from scaler.values.calls import Steps
from scaler.values.pieces import Anew, Filled, PieceRunner, Placed
from scaler.values.retrying import Retrying

MOST_STATE_BYTES = 4096
_MOST_ITEMS = 1000  # of a container whose pickle is small
_MOST_CODES = 10_000  # that are remembered

_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range)
_MORE_ATOMS = {  # of modules that need not be there
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "re": {"Pattern"},
    "uuid": {"UUID"},
}
_OF_A_CLASS = ("__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__qualname__")
_REACHES_ALL = {"globals", "exec", "eval", "vars", "locals", "setattr", "delattr", "__import__"}  # if they are builtins
_REACHES_ATTRIBUTES = {"__dict__", "__globals__", "__kwdefaults__", "__closure__", "__setattr__", "__delattr__"}
_NOTHING = Found.nothing()


class Examined:
    """What has been found out about one: whether it may be kept, and what to look at before it is submitted again."""

    __slots__ = ("is_by_name", "is_kept", "watch")

    def __init__(self, is_kept: bool, watch: Watch | None, is_by_name: bool = False) -> None:
        self.is_kept, self.watch, self.is_by_name = is_kept, watch, is_by_name


def examine(function: Any) -> Examined:
    """Look at all that is sent of it."""
    if travels_by_name(function):
        return Examined(True, None, True)
    look = _Look()
    look.at(function)
    if look.sets_attributes and look.meets_functions:
        look.is_kept = False
    has_state = look.has_changing_arguments and type(function) is functools.partial
    has_state = has_state and look.is_small_state((function.args, function.keywords))
    if not look.parts and not has_state:
        return Examined(look.is_kept, None)
    watch = Watch(tuple(look.parts), has_state)
    watch.note_states(function)
    return Examined(look.is_kept, watch)


class _Look:
    """A walk over a callable and what it uses, as far as that travels by value."""

    def __init__(self) -> None:
        self.parts: list[WatchedPart] = []
        self.is_kept = True
        self.has_changing_arguments = False
        self.sets_attributes = self.meets_functions = False
        self._depth = 0  # of functions, whose values these are
        self._seen: set[int] = set()

    def at(self, thing: Any) -> None:
        kind = type(thing)
        if kind is types.FunctionType and self._depth and not self.meets_functions:
            self.meets_functions = not is_found(thing)
        if kind in _ATOMS or id(thing) in self._seen or _is_atom(kind):
            return
        if isinstance(thing, types.FunctionType):
            if not is_found(thing):
                self._seen.add(id(thing))
                self._function(thing)
        elif isinstance(thing, type):
            if not is_found(thing):
                self._seen.add(id(thing))
                self.is_kept = False  # its attributes are anybody's to set
                self._class(thing)
        elif kind in (tuple, frozenset):
            for item in thing:
                self.at(item)
        elif kind is functools.partial:
            self._partial(thing)
        elif kind is LRU_CACHE and not is_found(thing):
            self.at(thing.__wrapped__)  # a cache makes no difference to what a call gives
        elif kind is Steps:
            for function, _ in thing.steps:
                self.at(function)
        elif kind is PieceRunner:
            for function in thing.functions:
                self.at(function)
        elif kind is Anew:
            return  # each call makes its own
        elif kind in (Retrying, Placed, Filled):
            self.at(thing.function)
        elif kind is SerializedCall:
            self.at(thing.serializer)
            self.at(thing.function)
        elif kind in (staticmethod, classmethod):
            self.at(thing.__func__)
        elif kind is property:
            for function in (thing.fget, thing.fset, thing.fdel):
                self.at(function)
        elif not travels_by_name(thing):
            self.is_kept = False
            self._seen.add(id(thing))
            if not isinstance(thing, types.ModuleType):
                self.at(kind)

    def found(self, thing: Any) -> Any:
        """What stands for a value in a watch."""
        self.at(thing)
        kind = type(thing)
        if kind in _ATOMS or _is_atom(kind):
            return thing
        try:
            reference = weakref.ref(thing)
        except TypeError:
            reference = None
        if isinstance(thing, types.FunctionType | type | types.ModuleType | LRU_CACHE) or travels_by_name(thing):
            return Found(thing, reference)
        has_state = self.is_small_state(thing)
        return thing if not has_state and reference is None and _is_plain(thing) else Found(thing, reference, has_state)

    def is_small_state(self, thing: Any) -> bool:
        """Whether what changes in place can be compared before each submit."""
        is_long = isinstance(thing, _CONTAINERS) and len(thing) > _MOST_ITEMS
        if is_long or type(thing).__module__.startswith("scaler."):
            return False
        room = _Room()
        try:
            pickle.Pickler(room, 5, buffer_callback=room.take).dump(thing)
        except Exception:
            return False
        return True

    def _function(self, function: types.FunctionType) -> None:
        facts = _facts_of(function.__code__)
        names: list[Any] = []
        own = function.__globals__
        self._depth += 1
        self.sets_attributes = self.sets_attributes or facts.sets_attributes
        for name in facts.names:
            if name in own:
                names += (name, self.found(own[name]))
            else:
                names += (name, _NOTHING)
                if name in _REACHES_ALL:
                    self.is_kept = False
        cells = [self._cell(cell) for cell in function.__closure__ or ()]
        if facts.binds_outside:
            self.is_kept = False
        defaults = [self.found(value) for value in function.__defaults__ or ()]
        keywords = [part for item in (function.__kwdefaults__ or {}).items() for part in (item[0], self.found(item[1]))]
        attributes = [part for item in function.__dict__.items() for part in (item[0], self.found(item[1]))]
        self._depth -= 1
        used = (tuple(names), tuple(cells), tuple(defaults), tuple(keywords), tuple(attributes))
        self.parts.append(WatchedFunction(function, weakref.ref(function), *used))

    def _cell(self, cell: Any) -> Any:
        try:
            return self.found(cell.cell_contents)
        except ValueError:
            return _NOTHING

    def _class(self, cls: type) -> None:
        items = class_items(cls)
        for at in range(1, len(items), 2):
            name, value = items[at - 1], items[at]
            if name in _OF_A_CLASS or type(value) in _SLOT_TYPES:
                items[at] = Found(value)
            else:
                items[at] = self.found(value)
        self.parts.append(WatchedClass(cls, weakref.ref(cls), tuple(items)))
        for base in cls.__bases__:
            self.at(base)

    def _partial(self, made: "functools.partial[Any]") -> None:
        before, self.is_kept = self.is_kept, True
        self._depth += 1
        for value in (*made.args, *made.keywords.values()):
            self.at(value)
        self._depth -= 1
        if not self.is_kept or made.__dict__:
            self.is_kept = False
            self.has_changing_arguments = True
        self.is_kept = self.is_kept and before
        self.at(made.func)


_CONTAINERS = (list, dict, set, frozenset, tuple, bytearray)
_SLOT_TYPES = (types.GetSetDescriptorType, types.MemberDescriptorType)


class _Room:
    """A file for pickles that are to be small: what is too much is refused before all of it is made."""

    def __init__(self) -> None:
        self._left = MOST_STATE_BYTES

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._left -= size
        if self._left < 0:
            raise OverflowError("its pickle is not small")
        return size

    def take(self, buffer: pickle.PickleBuffer) -> None:
        self.write(buffer.raw())


def _is_plain(thing: Any) -> bool:
    """Whether this is a container in which, however deep, is nothing but constants: it leads back to no function."""
    if type(thing) not in _CONTAINERS:
        return False
    left, seen = [thing], {id(thing)}
    while left:
        container = left.pop()
        if type(container) is bytearray:
            continue
        for item in (*container, *container.values()) if type(container) is dict else container:
            kind = type(item)
            if kind in _CONTAINERS:
                if id(item) not in seen:
                    seen.add(id(item))
                    left.append(item)
            elif kind not in _ATOMS and not _is_atom(kind):
                return False
    return True


def _is_atom(kind: type) -> bool:
    return kind.__name__ in _MORE_ATOMS.get(kind.__module__, ())


class _Facts:
    """What a code object does with names that are not its own, and those within it do."""

    __slots__ = ("binds_outside", "code", "names", "sets_attributes")

    def __init__(self, code: types.CodeType) -> None:
        self.code = code  # so that its id stays its own
        self.names: dict[str, None] = {}
        self.binds_outside = self.sets_attributes = False
        self._read(code, set(code.co_freevars))

    def _read(self, code: types.CodeType, outside: set[str]) -> None:
        for instruction in dis.get_instructions(code):
            name = instruction.opname
            if name in ("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL"):
                self.names[instruction.argval] = None
                self.binds_outside = self.binds_outside or name != "LOAD_GLOBAL"
            elif name in ("STORE_DEREF", "DELETE_DEREF"):
                self.binds_outside = self.binds_outside or instruction.argval in outside
            elif name in ("STORE_ATTR", "DELETE_ATTR"):
                self.sets_attributes = True
        self.sets_attributes = self.sets_attributes or not _REACHES_ATTRIBUTES.isdisjoint(code.co_names)
        for value in code.co_consts:
            if isinstance(value, types.CodeType):
                self._read(value, outside & set(value.co_freevars))


_facts: dict[int, _Facts] = {}


def _facts_of(code: types.CodeType) -> _Facts:
    facts = _facts.get(id(code))
    if facts is None:
        if len(_facts) >= _MOST_CODES:
            _facts.clear()
        facts = _facts[id(code)] = _Facts(code)
    return facts
