"""Stops: which attempts are to be stopped, and when patience ends. Events in, commands out; no clock, no signal.

An attempt is asked to stop, again and again (the first time it may have been in the midst of an import, where it must
not be interrupted), and if it has not ended after the grace period its worker is killed. Time limits end the same way.

Rule 1: nothing is asked of a worker, and none is killed, but while it runs just that attempt.
Not here: how one sees what a worker runs (native/worker/stopping.pyx), signals (stopper).
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

AGAIN_S = 0.05
Worker = TypeVar("Worker", bound=Hashable)


@dataclass(eq=False)
class Stop(Generic[Worker]):
    """One attempt that is to end."""

    worker: Worker
    task: int
    attempt: int
    since_ns: int  # it is overdue: only the call that began then is to end; 0: nobody wants its result
    limit_ns: int
    kill_s: float
    next_s: float
    is_killed: bool = False

    @property
    def is_overdue(self) -> bool:
        return self.since_ns != 0


@dataclass(frozen=True)
class Ask(Generic[Worker]):
    """Command: write into the worker's page what is to stop, and send the signal."""

    stop: Stop[Worker]


@dataclass(frozen=True)
class Kill(Generic[Worker]):
    """Command: take back what the worker has not begun, and kill it if it still runs this."""

    stop: Stop[Worker]


class Stops(Generic[Worker]):
    """`is_running(stop)` looks whether the worker is still at it."""

    def __init__(self, is_running: Callable[[Stop[Worker]], bool]) -> None:
        self._is_running = is_running
        self._of: dict[Worker, Stop[Worker]] = {}  # a worker runs one attempt at a time

    def on_wanted(
        self,
        worker: Worker,
        task: int,
        attempt: int,
        grace_s: float,
        now_s: float,
        since_ns: int = 0,
        limit_ns: int = 0,
    ) -> list[Ask[Worker]]:
        """This attempt is to end."""
        known = self._of.get(worker)
        is_known = known is not None and (known.task, known.attempt) == (task, attempt)
        if known is not None and is_known and (known.is_killed or known.since_ns in (0, since_ns)):
            return []
        stop = Stop(worker, task, attempt, since_ns, limit_ns, now_s + grace_s, now_s + AGAIN_S)
        if not self._is_running(stop):
            return []
        self._of[worker] = stop
        return [Ask(stop)]

    def on_tick(self, now_s: float) -> list[Ask[Worker] | Kill[Worker]]:
        """What has ended is forgotten; the others are asked again, or killed."""
        commands: list[Ask[Worker] | Kill[Worker]] = []
        for stop in list(self._of.values()):
            if stop.is_killed or stop.next_s > now_s:
                continue
            if not self._is_running(stop):
                del self._of[stop.worker]
            elif now_s < stop.kill_s:
                stop.next_s = min(now_s + AGAIN_S, stop.kill_s)
                commands.append(Ask(stop))
            else:
                stop.is_killed = True
                commands.append(Kill(stop))
        return commands

    def on_spared(self, stop: Stop[Worker]) -> None:
        """It had ended just before it was to be killed."""
        if self._of.get(stop.worker) is stop:
            del self._of[stop.worker]

    def on_left(self, worker: Worker) -> Stop[Worker] | None:
        """The worker has gone: what it was to stop, if it was still at that."""
        stop = self._of.pop(worker, None)
        if stop is None:
            return None
        # A worker that was killed for one call of a chunk may have come to the next one just then.
        was_at = replace(stop, since_ns=0) if stop.is_killed else stop
        return stop if self._is_running(was_at) else None

    @property
    def next_due_s(self) -> float | None:
        """When on_tick next has something to do."""
        due = [stop.next_s for stop in self._of.values() if not stop.is_killed]
        return min(due) if due else None
