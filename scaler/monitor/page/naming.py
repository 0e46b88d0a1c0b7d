"""Naming: numbers of the page's own for what lasts longer than a scheduler's numbers do.

A scheduler numbers workers and functions anew after each start, and events name a worker by 16 bits of its number. The
page keeps what it has seen over such a restart, so a lane of the task stream belongs to a worker's name, and a colour
to a function's name. `Naming` gives each name a number here, once, and knows which name a number of the scheduler's
stands for just now.

An event may come before the report that names its worker or its function. It is kept under a number here that gets its
name later, and if that name has a number already, two numbers have one name from then on.

Rule 1: there are at most `most` names, each of at most MOST_CHARACTERS. Those that come later share the last number,
        under the name OTHERS: a program that makes a new function per task must not eat the page's memory.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

OTHERS = "(others)"
MOST_CHARACTERS = 1000  # of a name; what is longer is cut
_MASK = 0xFFFF


class Naming:
    """Names and their numbers here. `what` is for those that no report has named: "worker 7"."""

    def __init__(self, what: str, most: int) -> None:
        self._what, self._most = what, most
        self.names: list[str] = []
        self._index: dict[str, int] = {}
        self._nameless: dict[int, int] = {}  # numbers of the scheduler's that no report has named, to numbers here
        self._theirs = np.full(_MASK + 1, -1, np.int32)  # low 16 bits of a number of the scheduler's -> number here

    def begin_epoch(self) -> None:
        """Another scheduler: its numbers mean something else."""
        self._theirs.fill(-1)
        self._nameless.clear()

    def learn(self, numbers: Iterable[int], names: Sequence[str]) -> None:
        """These numbers of the scheduler's have these names."""
        for number, name in zip(numbers, names, strict=True):
            if self._nameless:
                self._name(self._nameless.pop(number & _MASK, -1), name)
            self._theirs[number & _MASK] = self.index_of(name)

    def _name(self, index: int, name: str) -> None:
        """What came under a number alone has had this name all the time."""
        name = name[:MOST_CHARACTERS]
        if index >= 0 and self.names[index] != OTHERS:
            del self._index[self.names[index]]
            self.names[index] = name
            self._index.setdefault(name, index)

    def index_of(self, name: str) -> int:
        """The number that this name has here; a new one if it has none yet."""
        name = name[:MOST_CHARACTERS]
        index = self._index.get(name)
        if index is None:
            if len(self.names) >= self._most - 1 and name != OTHERS:
                return self.index_of(OTHERS)
            index = self._index[name] = len(self.names)
            self.names.append(name)
        return index

    def find(self, name: str) -> int | None:
        """The number of a name that is known."""
        return self._index.get(name[:MOST_CHARACTERS])

    def translate(self, numbers: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        """Numbers of the scheduler's to numbers here."""
        low = numbers & _MASK
        here: npt.NDArray[np.int32] = self._theirs[low]
        if len(here) and here.min() < 0:
            for number in np.unique(low[here < 0]).tolist():
                self._theirs[number] = self._nameless[number] = self.index_of(f"{self._what} {number}")
            here = self._theirs[low]
        return here
