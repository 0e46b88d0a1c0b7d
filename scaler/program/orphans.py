"""Orphans: processes that became children of this one because their own parents have ended.

That happens to process 1 of a container, and to no other: a process that a task has started and that has lost its
worker, for instance. When such a process ends, it stays in the kernel's table until its new parent asks for its exit
code, and a full table lets nobody start anything. So a program of ours that is process 1 asks.

Rule 1: the exit codes of its own children are left to the code that waits for them. The kernel tells of one child at a
        time; while that is one of its own, the others wait for AGAIN_S.
"""

import os
import signal
from asyncio import AbstractEventLoop
from collections.abc import Callable, Container

AGAIN_S = 0.05


def adopt_orphans(loop: AbstractEventLoop, own: Callable[[], Container[int]] = lambda: ()) -> None:
    """If this is process 1, see to the ends of all its children but those whose numbers are in `own()`."""
    if os.getpid() == 1:
        _Orphans(loop, own).look()


class _Orphans:
    def __init__(self, loop: AbstractEventLoop, own: Callable[[], Container[int]]) -> None:
        self._loop, self._own = loop, own
        self._is_due = False
        signal.signal(signal.SIGCHLD, self._on_signal)  # uvloop keeps it from its own way

    def _on_signal(self, number: int, frame: object) -> None:
        """Not now: this may be in the midst of starting a child whose number nobody knows yet."""
        self._loop.call_soon_threadsafe(self.look)

    def look(self) -> None:
        """Fetch the exit codes that nobody else will."""
        own = self._own()
        while (pid := _find_ended()) and pid not in own:
            os.waitpid(pid, os.WNOHANG)
        if pid and not self._is_due:
            self._is_due = True
            self._loop.call_later(AGAIN_S, self._look_again)

    def _look_again(self) -> None:
        self._is_due = False
        self.look()


def _find_ended() -> int:
    """A child that has ended and whose exit code nobody has fetched; 0 if there is none."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return 0 if found is None else found.si_pid
