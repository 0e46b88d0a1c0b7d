"""TaskStore: the last tasks that ended, one by one, in columns, for the task log and for a stream that is zoomed in.

A ring of numpy rows: 36 bytes a task, and whoever asks for the tasks of a time or with a property gets a mask over all
of them, which takes a few milliseconds for a million.

Rule 1: times are wall-clock times in ns, so that tasks of two schedulers stand in one order.
Not here: sums over time, which reach back further (pyramid).
"""

import numpy as np
import numpy.typing as npt

ROOM = 1 << 20
EVENT = np.dtype(
    [
        ("task", "<u8"),
        ("end_ns", "<u8"),
        ("duration_s", "<f4"),
        ("queued_s", "<f4"),
        ("function", "<u4"),
        ("worker", "<u2"),
        ("outcome", "u1"),
        ("calls", "u1"),
    ]
)  # as scaler.monitor.events has it
ROW = np.dtype(
    [
        ("task", "u8"),
        ("end_ns", "i8"),
        ("start_ns", "i8"),
        ("queued_s", "f4"),
        ("function", "u2"),
        ("lane", "u2"),
        ("outcome", "u1"),
        ("calls", "u1"),
    ]
)
Rows = np.ndarray[tuple[int], np.dtype[np.void]]


class TaskStore:
    """Numbers of functions and lanes are the page's own (naming)."""

    def __init__(self, room: int = ROOM) -> None:
        self._rows: Rows = np.zeros(room, ROW)
        self._room = room
        self.added = 0
        """Ever; the last `room` of them are there."""

    def add(self, rows: Rows) -> None:
        rows = rows[-self._room :]
        begin = self.added % self._room
        first = min(len(rows), self._room - begin)
        self._rows[begin : begin + first] = rows[:first]
        self._rows[: len(rows) - first] = rows[first:]
        self.added += len(rows)

    def __len__(self) -> int:
        return min(self.added, self._room)

    def parts(self) -> list[Rows]:
        """All that is there, the newest part first; within a part in the order of their coming."""
        begin = self.added % self._room
        if self.added <= self._room:
            return [self._rows[: self.added]]
        return [self._rows[:begin], self._rows[begin:]]

    def between(self, begin_ns: int, end_ns: int, lanes: npt.NDArray[np.bool_]) -> Rows:
        """Those that ran at some time from `begin_ns` to `end_ns` on a lane for which `lanes` says True."""
        found = []
        for part in self.parts():
            mask = (part["end_ns"] >= begin_ns) & (part["start_ns"] < end_ns)
            found.append(part[mask][lanes[part["lane"][mask]]])
        return np.concatenate(found[::-1])

    def find(self, task: int) -> Rows:
        """The events of this task, newest first."""
        return np.concatenate([part[part["task"] == task][::-1] for part in self.parts()])
