"""Where this code runs: in a worker, what a task may know of it; elsewhere nothing.

A worker notes itself here when it starts, so that a client that comes along with a task can use the worker's own link.

An engine that is not ours runs tasks in any thread of processes that are no workers (scaler.engines.run): there each
thread has a Here of its own while it runs tasks, and threads that these start have that of one of them.

Rule 1: a process that a task has forked is no worker, and has no client that comes along with a task.
Not here: what is done with it (client.current_client).
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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
    supply: str = ""  # what it has for tasks that ask for resources, as it travels
    has: dict[str, Any] = field(default_factory=dict)  # the same, for its tasks

    def go_over(self, local_address: str, epoch: str) -> None:
        """Another scheduler of this host has the rings: clients of tasks to come hand in their rings there."""
        self.local_address, self.epoch = local_address, epoch

    @property
    def scheduler_epoch(self) -> str:
        """Of the scheduler whose task runs here: it differs after every start of that."""
        return f"{self.loop.epoch:016x}"


here: Here | None = None  # set once, by the worker
was_left = False  # this process was forked by a task of the worker that it once was


class _Thread(threading.local):
    here: Here | None = None


_thread = _Thread()
_guests: list[Here] = []  # of all threads that run tasks just now


def find() -> Here | None:
    """The worker that runs tasks in this thread, or else in this process."""
    return _thread.here or here or (_guests[-1] if _guests else None)


@contextmanager
def being(one: Here) -> Iterator[None]:
    """This thread runs tasks of that one."""
    before, _thread.here = _thread.here, one
    _guests.append(one)
    try:
        yield
    finally:
        _guests.remove(one)
        _thread.here = before


def leave() -> None:
    """In a forked child: the worker is the parent."""
    global here, was_left
    here, was_left = None, True
    _guests.clear()
