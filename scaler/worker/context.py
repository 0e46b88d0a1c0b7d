"""Where this code runs: in a worker, what a task may know of it; elsewhere nothing.

A worker notes itself here when it starts, so that a client that comes along with a task can use the worker's own link.

Rule 1: a process that a task has forked is no worker, and has no client that comes along with a task.
Not here: what is done with it (client.current_client).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Here:
    """The worker that this process is."""

    name: str
    address: str  # the scheduler's, as its cluster was given it
    local_address: str  # where rings are handed in, on this host
    epoch: str  # whose segments those are: the scheduler's, or the relay's of this host
    tag: int  # this worker's
    voucher: bytes  # by which its tasks' client is known to be that
    is_colocated: bool  # with the scheduler
    loop: Any  # the worker's own, which is told what to do after a task
    report: Callable[..., None]  # to the supervisor

    def go_over(self, local_address: str, epoch: str) -> None:
        """Another scheduler of this host has the rings: clients of tasks to come hand in their rings there."""
        self.local_address, self.epoch = local_address, epoch

    @property
    def scheduler_epoch(self) -> str:
        """Of the scheduler whose task runs here: it differs after every start of that."""
        return f"{self.loop.life:016x}"


here: Here | None = None  # set once, by the worker
was_left = False  # this process was forked by a task of the worker that it once was


def leave() -> None:
    """In a forked child: the worker is the parent."""
    global here, was_left
    here, was_left = None, True
