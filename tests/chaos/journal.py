"""Journal: which task ran when, in which process, and whether it came to its end; written by the tasks themselves.

A sparse file that all workers map: a place of fixed size per task, so that a task costs a few stores and a process that
is killed at any moment leaves what it has written.

Not here: what the runs mean (report).
"""

import mmap
import os
import struct
import time
from dataclasses import dataclass

MOST_TASKS = 4_000_000
MOST_RUNS = 5  # the first try and three more, and one that should not be
_RUN = struct.Struct("<QQQ")  # process, start, end: ns on the clock that all processes share
_COUNT = struct.Struct("<Q")
_PLACE_BYTES = _COUNT.size + MOST_RUNS * _RUN.size
_open: dict[str, "Journal"] = {}


@dataclass(frozen=True)
class Run:
    """One run of a task. `end_ns` is 0 if it did not come to its end."""

    task: int
    pid: int
    start_ns: int
    end_ns: int


class Journal:
    """`path` is made if it is not there."""

    def __init__(self, path: str) -> None:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(file, MOST_TASKS * _PLACE_BYTES)
        self._memory = mmap.mmap(file, MOST_TASKS * _PLACE_BYTES)
        os.close(file)

    def begin(self, task: int) -> int:
        """A run of the task begins here and now; how many there were before."""
        place = task * _PLACE_BYTES
        (count,) = _COUNT.unpack_from(self._memory, place)
        if count < MOST_RUNS:
            run = place + _COUNT.size + count * _RUN.size
            _RUN.pack_into(self._memory, run, os.getpid(), time.monotonic_ns(), 0)
        _COUNT.pack_into(self._memory, place, count + 1)
        return int(count)

    def end(self, task: int, run: int) -> None:
        """This run has come to its end."""
        if run < MOST_RUNS:
            end = task * _PLACE_BYTES + _COUNT.size + run * _RUN.size + 16
            _COUNT.pack_into(self._memory, end, time.monotonic_ns())

    def runs(self, task: int) -> list[Run]:
        """The runs of a task, in the order in which they began."""
        place = task * _PLACE_BYTES
        count = min(MOST_RUNS, *_COUNT.unpack_from(self._memory, place))
        starts = range(place + _COUNT.size, place + _COUNT.size + count * _RUN.size, _RUN.size)
        return [Run(task, *_RUN.unpack_from(self._memory, start)) for start in starts]

    def close(self) -> None:
        self._memory.close()


def journal_at(path: str) -> Journal:
    """The one that this process has open."""
    if path not in _open:
        _open[path] = Journal(path)
    return _open[path]
