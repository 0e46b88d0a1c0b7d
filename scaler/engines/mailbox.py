"""Mailbox: what stands in the place of a relay's rings where there are none.

A session's thread (session.relay_thread) waits for a relay's bell and collects what its peers have said. Here what
comes is answers of an engine, from any thread, and `take` is what the session does about each.

Rule 1: what was put in is seen: the bell rings after it was put, and is emptied before it is looked for.
Not here: what the answers mean (session).
"""

import os
from collections import deque
from collections.abc import Callable
from typing import Any


class Mailbox:
    """`take(what)` is called in the session's thread for each thing that was put in."""

    def __init__(self) -> None:
        self.eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.take: Callable[[Any], None] = lambda what: None
        self.asides: list[tuple[int, Any]] = []  # (number, what a peer says before its next batch)
        self.broken: list[Any] = []
        self.inputs_wait = False
        self._came: deque[Any] = deque()
        self.is_closed = False

    def put(self, what: Any) -> None:
        """In any thread."""
        self._came.append(what)
        self.ring()

    def ring(self) -> None:
        if not self.is_closed:
            os.eventfd_write(self.eventfd, 1)

    def quiet(self) -> None:
        try:
            os.eventfd_read(self.eventfd)
        except BlockingIOError:
            pass

    def run(self, look_everywhere: bool = False) -> int:
        count = 0
        while self._came:
            self.take(self._came.popleft())
            count += 1
        return count

    @property
    def armed(self) -> bool:
        """Nothing is left: what comes will ring."""
        return not self._came

    def hold(self, holding: bool) -> None:
        """Results are not held back."""

    def find_peer(self, number: int) -> None:
        """None of its peers writes anything by itself."""

    def close(self) -> None:
        self.is_closed = True
        os.close(self.eventfd)
