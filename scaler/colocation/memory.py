"""ObjectMemory: how much shared memory objects may take on a host, and in which folder they lie beyond that.

Decided once per host, by the owner of the listener there, and told to each process that hands in its rings.

Rule 1: /dev/shm may be half as large as the machine's memory and far larger than this container's, and what lies in it
        counts to the container: so the limit is taken from the tighter of the two, lest the kernel kill a process.
Not here: which process stores what (native/shm/store.pyx).
"""

import os
from pathlib import Path
from typing import NamedTuple

from scaler.colocation.names import object_folder

_SHM = "/dev/shm"
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_PART_OF_SHM, _PART_OF_LIMIT = 0.95, 0.5


class ObjectMemory(NamedTuple):
    """`most_bytes`: how full /dev/shm may become before objects lie in files in `folder`."""

    folder: str
    most_bytes: int


def object_memory(folder: str | None, most_bytes: int) -> ObjectMemory:
    """As told; or the temporary folder, if it is None, and as much as host and container allow, if it is 0."""
    return ObjectMemory(os.path.abspath(folder or object_folder()), most_bytes or _default_bytes())


def _default_bytes() -> int:
    try:
        room = os.statvfs(_SHM)
    except OSError:
        return 0  # nothing will lie there
    most = int(room.f_blocks * room.f_frsize * _PART_OF_SHM)
    limit = _container_limit_bytes()
    return most if limit is None else min(most, int(limit * _PART_OF_LIMIT))


def _container_limit_bytes() -> int | None:
    """The memory limit of this process's control group; None if it has none."""
    for path in _LIMITS:
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 1 << 60:  # what version 1 says without a limit is near 2**63
            return int(text)
    return None
