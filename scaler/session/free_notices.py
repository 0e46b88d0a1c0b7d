"""FreeNotices: what a client elsewhere may free, said behind the results that have made it free.

A task's arguments are of no use once its result is on its way. Were they freed before that has arrived, and the
scheduler died in between, the client could not send the task again.
"""

from collections import deque


class FreeNotices:
    """Waits for results by their positions in the run of small ones, and for large ones one by one."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, int, list[int]]] = deque()
        self._begun = 0  # large results
        self._under_way: dict[int, None] = {}  # of these, the oldest first

    def on_large_begun(self) -> int:
        """A large result is on its way. Its number."""
        self._begun += 1
        self._under_way[self._begun] = None
        return self._begun

    def on_large_said(self, number: int) -> None:
        """It has been said."""
        self._under_way.pop(number, None)

    def add(self, ids: list[int], end: int) -> None:
        """Free once all small results up to position `end` have been said, and the large ones that have begun."""
        self._waiting.append((end, self._begun, ids))

    def take(self, left: int) -> list[int]:
        """What may be said to be free by now: all small results up to position `left` have been said."""
        ready: list[int] = []
        oldest = next(iter(self._under_way), self._begun + 1)
        while self._waiting and self._waiting[0][0] <= left and self._waiting[0][1] < oldest:
            ready += self._waiting.popleft()[2]
        return ready
