"""Mains: what becomes of a program's `__main__` in the workers.

A worker's own `__main__` is an empty module. What comes by value from a program's `__main__` becomes an attribute of
another one, one for each program, which is `sys.modules["__main__"]` while that program's functions and arguments are
there (native/worker/mains.pyx). So a task can pickle an instance of a class of the script, resolve its annotations,
look at `__main__.X`, and give the script's functions to a pool of processes. None of these modules has a file, so that
nothing ever runs the script a second time: neither a worker nor a process that multiprocessing spawns in a task.

A process that multiprocessing spawns in a task has one program only: functions that come to it one after the other
share the globals of its `__main__`, as if the script had been imported.

Rule 1: nothing here changes the `__main__` of a program that is no worker.
Not here: how something is pickled by value (by_value), how it comes to spawned processes (spawned).
"""

import os
import secrets
import sys
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from scaler._native import begin_mains, visit_main

MAIN_NAMES = ("__main__", "__mp_main__")  # what multiprocessing calls the script in processes that it spawns
MOST_MODULES = 64  # that stay although nothing of their programs is here any more

_home = secrets.token_bytes(8)  # this program
# program -> its `__main__` here, as long as something holds it: functions and arguments that came from it do
_modules: "weakref.WeakValueDictionary[bytes, types.ModuleType]" = weakref.WeakValueDictionary()
_recent: "OrderedDict[bytes, types.ModuleType]" = OrderedDict()  # these stay, the one used last at the end
_on_first: list[Callable[[], None]] = []
_is_worker = False
_is_spawned = False  # multiprocessing has spawned this process in a task


def serve(on_first: Callable[[], None] = lambda: None) -> None:
    """This process is a worker. `on_first` is called when the first thing arrives."""
    global _is_worker
    _is_worker = True
    _on_first.append(on_first)
    begin_mains(types.ModuleType("__main__"))


def program() -> bytes:
    """Which program's `__main__` this process has just now."""
    if _is_worker or _is_spawned:
        main = sys.modules.get("__main__")
        for name, module in list(_modules.items()):
            if module is main:
                return name
    return _home


def find_module(of: bytes, name: str) -> types.ModuleType | None:
    """The `__main__` of a program, as far as it is here."""
    return _modules.get(of) if _is_worker or _is_spawned else sys.modules.get(name)


def arrive(of: bytes, things: dict[str, Any]) -> None:
    """These came by value from the `__main__` of this program."""
    if _is_worker:
        module = _module_of(of)
        for name, value in things.items():
            visit_main(module, name, value)
        if _on_first:
            _on_first.pop()()
    elif _is_spawned:
        _module_of(of).__dict__.update(things)


def globals_in(of: bytes, given: dict[str, Any]) -> dict[str, Any]:
    """Those that a function of this program gets: in a spawned process it shares them with all others."""
    return _module_of(of).__dict__ if _is_spawned else given


def are_globals_shared() -> bool:
    return _is_spawned


def _module_of(of: bytes) -> types.ModuleType:
    module = _modules.get(of)
    if module is None:
        module = _modules[of] = types.ModuleType("__main__")
    _recent[of] = module
    _recent.move_to_end(of)
    while len(_recent) > MOST_MODULES and not _is_spawned:  # there, functions hold its names, not the module
        _recent.popitem(last=False)
    return module


def begin_spawned(of: bytes) -> bool:
    """In a process that a task has spawned: its `__main__` is that of the task. False if it has one already."""
    global _is_spawned
    if _is_worker or _is_spawned:
        return False
    _is_spawned = True
    main = sys.modules["__main__"] = _module_of(of)
    main.__dict__.setdefault("__builtins__", __builtins__)
    return True


def _begin_program() -> None:
    """In a forked copy of a program: what it defines from here on is its own."""
    global _home
    _home = secrets.token_bytes(8)


os.register_at_fork(after_in_child=_begin_program)
