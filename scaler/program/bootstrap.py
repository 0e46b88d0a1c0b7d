"""Bootstrap: the first file of each process that is started here, run as `python bootstrap.py MODULE DESCRIPTOR`.

A file of the user's named random.py or queue.py harms nobody as long as it lies in a folder that is not searched, or as
long as nobody imports the module of the library that has its name. `python -m` puts the working folder in front of the
standard library, and so may PYTHONPATH; then a process of ours, which imports much of that library, would not start
beside such a file. So our own modules are looked for in the standard library first, then where this package lies, then
wherever Python would look.

Rule 1: before that order stands nothing is imported but `sys` and `os`, which the interpreter itself has loaded.
Rule 2: the order is for modules of ours. `Creator.import_path` is the user's, as Python made it: a worker takes that,
        or the path of the program that started it, before user code is loaded.
Rule 3: the working folder of scaler_cluster stands behind the standard library: the user has put it nowhere, and the
        programs whose tasks run there may lie elsewhere. With -P it is not searched.
Not `python -P`: every Python that a task starts by multiprocessing would inherit the flag, which the user has not set.
Not here: the settings (creator), how the process is started (spawn).
"""

import os
import sys

_LIBRARY = os.path.dirname(os.__file__)
_OTHER_PARTS = ("lib-dynload", f"python{sys.version_info.major}{sys.version_info.minor}.zip")


def is_library(entry: str) -> bool:
    """Whether this entry of sys.path is a part of the standard library."""
    return entry == _LIBRARY or os.path.basename(entry) in _OTHER_PARTS


def own_order(path: list[str], own: str) -> list[str]:
    """The standard library, our `own` folder, and the rest as it was."""
    library = [entry for entry in path if is_library(entry)]
    return [*library, own, *(entry for entry in path if not is_library(entry))]


def place_behind_library(path: list[str]) -> int:
    """Where in the path the standard library ends."""
    return max((place + 1 for place, entry in enumerate(path) if is_library(entry)), default=0)


def home() -> str:
    """The folder in which the package `scaler` lies."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main() -> int:
    if not sys.flags.safe_path:
        del sys.path[0]  # the folder of this file
    path = list(sys.path)
    sys.path[:] = own_order(path, home())
    from importlib import import_module

    from scaler.program.creator import Creator

    if len(sys.argv) != 3 or not sys.argv[2].isdigit():
        raise SystemExit(f"{sys.argv[0]} is started by scaler itself; start a cluster with scaler_cluster")
    del sys.argv[0]
    creator = Creator(int(sys.argv[1]), path, place_behind_library(path))
    status: int = import_module(sys.argv[0]).main(creator)
    return status


if __name__ == "__main__":
    sys.exit(main())
