"""The files of schemas: how one is loaded, and how its names are told from ours.

Not here: what is made of a schema (codec, scaler.monitor.codec).
"""

import contextlib
import os
from collections.abc import Iterator
from importlib.resources import as_file, files
from typing import Any

import capnp

capnp.remove_import_hook()  # which would look for a schema wherever a user's program imports what is not there


def load_schema(name: str) -> Any:
    """The module that pycapnp makes of this file of protocol/, and of those that it imports."""
    with as_file(files("scaler.protocol.schema")) as folder, _in_a_folder():
        return capnp.load(str(folder / name))


def camel_case(name: str) -> str:
    """What a schema calls an attribute of this name."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


@contextlib.contextmanager
def _in_a_folder() -> Iterator[None]:
    """Be in a folder that exists: pycapnp's C++ asks for it, and ends the process if it has been removed."""
    try:
        os.getcwd()
    except OSError:
        here = os.open(".", os.O_PATH | os.O_CLOEXEC)  # no relative path leads anywhere from there: nobody misses it
        os.chdir("/")
        try:
            yield
        finally:
            os.fchdir(here)
            os.close(here)
    else:
        yield
