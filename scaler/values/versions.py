"""Versions: which libraries differ between the worker that could not read something and the program that sent it.

A pickle names things by the modules they stand in. Where these are of another version, what is raised says that
something has no attribute of some name, and not why. So a worker that could not read a task says which libraries had to
do with that and which versions it has, and the program that is told so names those that it has in another version.

Rule 1: it is looked only after something has failed, and each library once: looking takes milliseconds.
Rule 2: what has the same version on both sides, or none, is not mentioned: a guess is no help.
Not here: versions of Python and of the protocol, which are compared at the hello (session.remote_peers).
"""

import functools
import importlib.metadata
import importlib.util
import re
import sys
import traceback

MOST_LIBRARIES = 16
NOT_INSTALLED = ""
_NAMED = re.compile(r"(?:module|named|from|attribute) '([A-Za-z_]\w*)")
_NEVER = frozenset(sys.stdlib_module_names) | {"scaler", "__main__", "__mp_main__"}


def libraries_of(error: BaseException) -> dict[str, str]:
    """The libraries that had to do with this exception, and their versions here."""
    names = [str(getattr(error, "name", None) or "").partition(".")[0], *_NAMED.findall(str(error))]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        names.append(str(frame.f_globals.get("__name__", "")).partition(".")[0])
    found: dict[str, str] = {}
    for name in [*names, "cloudpickle"]:
        version = find_version(name) if name and name not in _NEVER else None
        if version is not None and len(found) < MOST_LIBRARIES:
            found[name] = version
    return found


@functools.lru_cache(1000)
def find_version(name: str) -> str | None:
    """The version of the library that this module is of, or NOT_INSTALLED; None if it is there and has none."""
    try:
        return importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        pass
    version = getattr(sys.modules.get(name), "__version__", None)
    if isinstance(version, str):
        return version
    try:
        if importlib.util.find_spec(name) is None:
            return NOT_INSTALLED
    except (ImportError, ValueError):
        return None
    for library in importlib.metadata.packages_distributions().get(name, ()):
        return importlib.metadata.version(library)
    return None


def describe_differences(theirs: dict[str, str]) -> str:
    """A sentence about those that differ from what is here; nothing if none does."""
    parts = []
    for name, version in theirs.items():
        here = find_version(name)
        if here and version == NOT_INSTALLED:
            parts.append(f"{name} is {here} here and is not installed there")
        elif here and here != version:
            parts.append(f"{name} is {version} there and {here} here")
    return f" ({'; '.join(parts)}: install the same version on both sides)" if parts else ""
