"""The import environment: where functions find modules, besides their names, and which modules were reloaded.

A worker imports what the client can import, from the same places: those of the client's sys.path that are neither
Python's own nor those of installed packages, which may differ from host to host. They go with each function, since a
program may add to sys.path at any time. A place that another host does not have is harmless there.

After `importlib.reload(module)` people expect their new code to run, in workers too, so these reload it once as well
(values.sent_function). Python asks the finders of sys.meta_path for a module that is to be reloaded, so one of them,
which finds nothing, hears of it. A worker that reloads a module for a client does not count that as a reload of its
own: what its tasks send names that client's, or workers would have each other reload for ever.

Not here: when a function is sent again because of that (native/client/watch.pyx).
"""

import os
import site
import sys
import sysconfig
from typing import Any

from scaler._native import note_reload
from scaler.values.sent_function import Reloads, is_reloading, passed_on

INSTALLED = ""  # stands in a list of places for those of installed packages

_reloads: dict[str, int] = {}


class ReloadListener:
    """Finds no modules; hears which are reloaded."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        if target is not None and not is_reloading() and name.partition(".")[0] not in sys.stdlib_module_names:
            count = _reloads.pop(name, 0)
            _reloads[name] = count + 1  # at the end: workers reload in the same order
            note_reload()


def begin_worker() -> None:
    """This process becomes a worker. It may be a copy of a program that has loaded modules anew: it has not."""
    _reloads.clear()


def list_reloads(owner: bytes) -> Reloads:
    """(whose, module, how often it was reloaded), the last at the end; first those that others had reloaded here."""
    return passed_on() + tuple((owner, name, count) for name, count in _reloads.items())


def list_places() -> tuple[str, ...]:
    """Where modules of the user's are found, in order; INSTALLED stands for where installed packages are."""
    places: list[str] = []
    for path in list(sys.path):
        if not isinstance(path, str):
            continue
        kind = _kind_of(path)
        if kind is INSTALLED and INSTALLED not in places:
            places.append(INSTALLED)
        elif kind is None:
            place = _absolute(path)
            if place and place not in places:
                places.append(place)
    return tuple(places) if places != [INSTALLED] else ()


def _absolute(path: str) -> str:
    """As it is found from any folder; empty if it is none, as what some import hooks put into sys.path."""
    try:
        place = os.path.abspath(path)
    except OSError:  # the working folder was removed
        return ""
    return place if os.path.isabs(path) or os.path.exists(place) else ""


def _kind_of(path: str) -> str | None:
    """INSTALLED, "python", or None for the user's own."""
    if path in _INSTALLED:
        return INSTALLED
    if path in _PYTHON or path.startswith(_INSIDE):
        return "python"
    return None


def _paths(*names: str) -> set[str]:
    return {path for name in names if (path := sysconfig.get_path(name))}


_INSTALLED = {*_paths("purelib", "platlib"), *site.getsitepackages(), site.getusersitepackages()}
_PYTHON = {
    *_paths("stdlib", "platstdlib"),
    os.path.join(
        sys.base_prefix, sys.platlibdir, f"python{sys.version_info.major}{sys.version_info.minor}.zip"
    ),
}  # fmt: skip
_INSIDE = tuple(f"{path}{os.sep}" for path in _paths("stdlib", "platstdlib"))

if not any(isinstance(finder, ReloadListener) for finder in sys.meta_path):
    sys.meta_path.insert(0, ReloadListener())
