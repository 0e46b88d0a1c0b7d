"""Spawned: what processes get that multiprocessing starts in a task.

A forked process has what its parent has. A spawned one begins with nothing, and no script can be run again for it to
have what is in `__main__`. So once a process has been spawned here, multiprocessing's pickler, which would send the
name of a function or class of `__main__`, sends it by value.

Rule 1: what has been sent is there once, however often it is sent, and is itself where it comes back: it has a tag.
Not here: which `__main__` a process has (mains).
"""

import os
import pickle
import secrets
import sys
import weakref
from typing import Any

from scaler.values import mains
from scaler.values.by_name import find_in

_SPAWNERS = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver")  # loaded by the first such start
_tags: "weakref.WeakKeyDictionary[Any, tuple[str, bytes]]" = weakref.WeakKeyDictionary()
_by_tag: "weakref.WeakValueDictionary[str, Any]" = weakref.WeakValueDictionary()
_kept: list[Any] = []  # what came to this process with a tag


def teach_multiprocessing() -> None:
    """Have its pickler do so, from now on and in what is spawned here."""
    from multiprocessing.reduction import ForkingPickler

    pickler: Any = ForkingPickler
    if "reducer_override" not in vars(pickler):
        pickler.reducer_override = _reduce


def _reduce(_: Any, thing: Any) -> Any:
    if getattr(thing, "__module__", None) not in mains.MAIN_NAMES or not any(name in sys.modules for name in _SPAWNERS):
        return NotImplemented
    from scaler.values.by_value import dumps, name_in_main

    name = name_in_main(thing)
    if name is None:
        return NotImplemented
    tagged = _tags.get(thing)
    if tagged is None:
        tagged = _tags[thing] = f"{os.getpid()}-{secrets.token_hex(8)}", dumps(thing)
        _by_tag[tagged[0]] = thing
    return _load, (mains.program(), name, *tagged)


def _load(of: bytes, name: str, tag: str, data: bytes) -> Any:
    thing = _by_tag.get(tag)
    if thing is None:
        if mains.begin_spawned(of):
            teach_multiprocessing()
        # A forked process has what its parent had under this name, whose globals it has, too.
        thing = None if mains.are_globals_shared() else find_in(sys.modules["__main__"], name)
        if thing is None:
            thing = pickle.loads(data)
            _kept.append(thing)
        _tags[thing] = tag, data
        _by_tag[tag] = thing
    return thing
