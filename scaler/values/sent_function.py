"""SentFunction: what a function travels as, and what a worker makes of it.

Most are a pickle and nothing else. Before the pickle of a function that needs more stand a kind, the size of the head,
and the head, pickled: whose it is, where its modules are found, and which of them were loaded anew.

    kind (1 byte: KEPT or FRESH) | bytes of the head (4) | head | pickle

The client decides the kind, once. KEPT is what cannot carry anything from one call to the next: the worker unpickles it
once. FRESH is all else: it is unpickled for each call, as arguments are. Large buffers that it carries are mapped anew,
not copied.

Rule 1: nothing that travels by value is one for two clients: whose it is stands in the head, so that its bytes differ.
Rule 2: a worker finds modules where the client does, behind its own standard library, and never loses a place.
Not here: what carries state (scaler.client.callables), how it is sent (scaler.client.functions).
"""

import importlib
import os
import pickle
import struct
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from scaler._native import FreshFunction, count_visits, from_main, note_reload
from scaler.values.at_once import AtOnce
from scaler.values.calls import Steps
from scaler.values.reference import loads
from scaler.values.retrying import Retrying

KEPT, FRESH = 1, 2
_HEAD = struct.Struct("<BI")
_loaded: dict[tuple[bytes, str], int] = {}  # (whose, module) -> how often that client had loaded it anew
_failed: dict[tuple[bytes, str], tuple[int, Exception]] = {}  # the same, and what loading it anew raised here
_reloading = threading.local()
MOST_PASSED_ON = 64  # reloads of others

Reloads = tuple[tuple[bytes, str, int], ...]  # (whose, module, how often that client has loaded it anew)

Parts = tuple[Any, Any, Any]  # a pickle, the buffers it left out, the objects of its references


def pack(kind: int, owner: bytes, places: tuple[str, ...], reloads: Reloads) -> bytes:
    """What stands before the pickle."""
    head = pickle.dumps((owner, places, reloads), 5)
    return _HEAD.pack(kind, len(head)) + head


def load(parts: Parts, again: Callable[[], Parts] | None = None) -> Any:
    """The callable. `again` gives the parts anew; None if it carries nothing but the pickle."""
    data, buffers, references = parts
    kind, start = _get_ready(data)
    if not start:
        return loads(data, buffers, references)
    view = memoryview(data)
    count = count_visits()
    if kind == KEPT:
        return from_main(loads(view[start:], buffers, references), count)
    if again is None:
        stream = bytes(view[start:])
        make: Callable[[], Any] = partial(pickle.loads, stream)
    else:
        make = partial(_load_again, again, start)
    first = loads(view[start:], buffers, references)
    name = name_of(first)
    if type(first) in (AtOnce, Retrying, Steps):
        first, make = _can_be_retried(first, make), partial(_make_retried, make)
    return FreshFunction(from_main(first, count), make, name)


def load_bare(parts: Parts) -> Any:
    """The object itself, for a process that does not call it but sends it on."""
    data, buffers, references = parts
    _, start = _get_ready(data)
    return loads(memoryview(data)[start:] if start else data, buffers, references)


def _get_ready(data: Any) -> tuple[int, int]:
    """Have the modules here that the head names. Which kind it is, and where its pickle begins; 0, 0 without a head."""
    view = memoryview(data)
    if view[0] == pickle.PROTO[0]:
        return 0, 0
    kind, size = _HEAD.unpack_from(view)
    start = _HEAD.size + size
    _, places, reloads = pickle.loads(view[_HEAD.size : start])
    find_modules(places)
    load_anew(reloads)
    return int(kind), start


def _load_again(again: Callable[[], Parts], start: int) -> Any:
    data, buffers, references = again()
    return loads(memoryview(data)[start:], buffers, references)


def _make_retried(make: Callable[[], Any]) -> Any:
    return _can_be_retried(make(), make)


def _can_be_retried(made: Any, make: Callable[[], Any]) -> Any:
    """The same, but what it calls again has no more of the state of the call before."""
    if type(made) is Retrying:
        made.again = lambda: make().function
    elif type(made) is AtOnce and type(made.function) is Retrying:
        made.function.again = lambda: make().function.function
    elif type(made) is Steps:
        for at, (function, _) in enumerate(made.steps):
            if type(function) is Retrying:
                function.again = partial(_function_of_step, make, at)
    return made


def _function_of_step(make: Callable[[], Any], at: int) -> Any:
    return make().steps[at][0].function


def find_modules(places: tuple[str, ...]) -> None:
    """Search these for modules, too, each before what follows it among the client's and is searched here.

    An empty one stands for the places of installed packages.
    """
    missing = [place for place in places if place and place not in sys.path]
    for place in reversed(missing):
        later = [_index_of(one) for one in places[places.index(place) + 1 :]]
        sys.path.insert(min(later, default=len(sys.path)), place)
    if missing:
        importlib.invalidate_caches()


def _index_of(place: str) -> int:
    """Where in sys.path this is, or the first place of installed packages; behind everything if it is nowhere."""
    for at, path in enumerate(sys.path):
        if path == place if place else os.path.basename(path) in ("site-packages", "dist-packages"):
            return at
    return len(sys.path)


def load_anew(reloads: Reloads) -> None:
    """Load modules anew that a client has loaded anew, each time that it has. What that raises it raises again."""
    for owner, name, count in reloads:
        key = owner, name
        if _loaded.get(key, 0) >= count:
            continue
        tried, error = _failed.get(key, (0, None))
        if error is not None and tried >= count:
            raise error.with_traceback(None)
        module = sys.modules.get(name)
        if module is not None:
            importlib.invalidate_caches()
            was_reloading, _reloading.now = is_reloading(), True
            try:
                importlib.reload(module)
            except Exception as raised:
                _failed[key] = count, raised
                raise
            finally:
                _reloading.now = was_reloading
        _failed.pop(key, None)
        _loaded.pop(key, None)
        _loaded[key] = count  # at the end: what a task sends has them loaded anew in the same order
        note_reload()


def is_reloading() -> bool:
    """Whether this thread loads a module anew because a client has."""
    return getattr(_reloading, "now", False)


def passed_on() -> Reloads:
    """What tasks here have had loaded anew, which is to be said with what they send."""
    return tuple((owner, name, count) for (owner, name), count in list(_loaded.items())[-MOST_PASSED_ON:])


def name_of(function: Any) -> str:
    """What errors call it."""
    while type(function) is partial:
        function = function.func
    try:
        name = function.__qualname__
    except Exception:  # most have one, and an object that has none may have a say in that
        name = None
    return name if type(name) is str else type(function).__qualname__
