"""Stopper: sends the signals that stop what workers run, and kills those that go on.

Rule 1: before a worker is killed, all that it has not begun is taken back. So whatever else it may come to between the
        last look at it and the signal, it cannot be at anybody else's task.
Rule 2: where a worker takes no signals from here, its supervisor is asked to send them. Once that is asked to kill, the
        worker is given nothing more: it must not have come to another task by then.
Not here: which worker is asked when (stops), what the worker does about it (native/worker/interrupts.pyx).
"""

import logging
import pickle
import signal
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from scaler._native import KIND_RESULT, STATUS_RAISED, STATUS_STOPPED, RecordRun, RunningTask
from scaler.cancellation import STOP_SIGNAL
from scaler.cancellation.stops import AGAIN_S, Ask, Kill, Stop, Stops
from scaler.exceptions import TaskTimeoutError
from scaler.program.processes import Process

_log = logging.getLogger(__name__)
GRACE_S = 2.0
MOST_GRACE_S = 1e9  # what is longer, or no number, is not what a worker says
LOOK_S = 0.05  # how often for tasks that have run too long
Worker = TypeVar("Worker", bound=Hashable)


@dataclass
class _Worker:
    """A worker's process, and what it runs."""

    running: RunningTask
    process: Process
    name: str
    grace_s: float


class Stopper(Generic[Worker]):
    """For the workers whose rings end here.

    `take_back(worker)` takes back what it has not begun; `on_kill(process, why)` is told before a process is killed.
    `ask(worker, process, signal)` has a signal sent by somebody else, if the process takes none from here.
    """

    def __init__(
        self,
        take_back: Callable[[Worker], object],
        on_kill: Callable[[Process, str], object],
        ask: Callable[[Worker, Process, int], object],
    ) -> None:
        self._take_back, self._on_kill, self._ask = take_back, on_kill, ask
        self._processes: dict[Worker, _Worker] = {}
        self._asked: dict[Worker, float] = {}  # to be killed by somebody else -> when to say so again
        self._stops: Stops[Worker] = Stops(self._is_running)
        self._next_look_s = 0.0

    def add(self, worker: Worker, running: RunningTask, process: Process, request: dict[str, Any]) -> None:
        """A worker has handed in its rings, with what it said then."""
        grace_s = request.get("grace_s")
        if not isinstance(grace_s, int | float) or not 0 <= grace_s <= MOST_GRACE_S:
            grace_s = GRACE_S
        self._processes[worker] = _Worker(running, process, str(request.get("name", "")), grace_s)

    def find_final(self, worker: Worker) -> tuple[int, int] | None:
        """The worker is about to be removed. (task, attempt) that it was at, if that may not be tried again."""
        gone = self._processes.get(worker)
        return None if gone is None else gone.running.find_final()

    def find_piece_node(self, worker: Worker) -> int | None:
        """The worker is about to be removed. Which node it was at of a piece of a graph, if it ran one."""
        gone = self._processes.get(worker)
        return None if gone is None else gone.running.find_piece_node()

    def remove(self, worker: Worker) -> RecordRun | None:
        """The worker has gone. The answer to be given in its place, if it was still at what it was to stop."""
        gone = self._processes.get(worker)
        if gone is None:
            return None
        stop = self._stops.on_left(worker)
        del self._processes[worker]
        self._asked.pop(worker, None)
        gone.process.close()
        return None if stop is None else _answer(stop, gone)

    def stop(self, worker: Worker, task: int, attempt: int) -> None:
        """Nobody wants the result of this attempt: have it end, if it runs."""
        process = self._processes.get(worker)
        if process is not None:
            self._do(self._stops.on_wanted(worker, task, attempt, process.grace_s, time.monotonic()))

    def look_for_overdue(self) -> None:
        """Stop what has run longer than it may."""
        now_ns = time.monotonic_ns()
        for worker, process in self._processes.items():
            overdue = process.running.find_overdue(now_ns)
            if overdue is not None:
                task, attempt, since_ns, limit_ns = overdue
                self._do(
                    self._stops.on_wanted(
                        worker, task, attempt, process.grace_s, now_ns / 1e9, since_ns=since_ns, limit_ns=limit_ns
                    )
                )

    def tick(self) -> None:
        """Ask again, or kill."""
        now_s = time.monotonic()
        self._do(self._stops.on_tick(now_s))
        for worker, due_s in self._asked.items():
            if due_s <= now_s:
                self._have_killed(worker)

    def attend(self, now_s: float) -> None:
        """All that is due, for code that calls this often."""
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + LOOK_S
            self.look_for_overdue()
        due_s = self.next_due_s
        if due_s is not None and now_s >= due_s:
            self.tick()

    @property
    def next_due_s(self) -> float | None:
        """When tick has something to do."""
        due = [*self._asked.values(), *filter(None, [self._stops.next_due_s])]
        return min(due) if due else None

    def close(self) -> None:
        for worker in self._processes.values():
            worker.process.close()
        self._processes.clear()
        self._asked.clear()

    def _is_running(self, stop: Stop[Worker]) -> bool:
        return self._processes[stop.worker].running.is_it(stop.task, stop.attempt, stop.since_ns)

    def _do(self, commands: list[Ask[Worker]] | list[Ask[Worker] | Kill[Worker]]) -> None:
        for command in commands:
            process = self._processes[command.stop.worker]
            if isinstance(command, Ask):
                process.running.ask_to_stop(command.stop.task, command.stop.attempt, command.stop.since_ns)
                if not process.process.signal(STOP_SIGNAL):
                    self._ask(command.stop.worker, process.process, STOP_SIGNAL)
            else:
                self._kill(command.stop, process)

    def _kill(self, stop: Stop[Worker], process: _Worker) -> None:
        self._take_back(stop.worker)
        if not self._is_running(stop):
            self._stops.on_spared(stop)
            return
        said = _why_killed(stop, process)
        _log.warning("%s", said)
        self._on_kill(process.process, said)
        if not process.process.signal(signal.SIGKILL):
            self._have_killed(stop.worker)

    def _have_killed(self, worker: Worker) -> None:
        """Have somebody else kill it; again and again, since one that does not listen just now hears nothing."""
        self._asked[worker] = time.monotonic() + AGAIN_S
        self._ask(worker, self._processes[worker].process, signal.SIGKILL)


def _why_killed(stop: Stop[Any], process: _Worker) -> str:
    """What people are told of a task that did not stop, and of how it did not."""
    name = process.running.name
    task = f"{name} (task {stop.task:#x})" if name else f"task {stop.task:#x}"
    why = "which ran longer than it may" if stop.is_overdue else "which nobody wants any more"
    if process.running.has_raised:
        how = "TaskCancelled was raised in it, and it has caught that and goes on: an `except BaseException`, perhaps"
    else:
        how = "it has not come back to Python since: it computes in C code, or has taken SIGURG for itself"
    return (
        f"worker {process.name} (process {process.process.number}) is killed, since it goes on with {task}, {why}, "
        f"{process.grace_s:g} s after it was asked to stop; {how}"
    )


def _answer(stop: Stop[Any], process: _Worker) -> RecordRun:
    """What the worker would have said of the attempt it was killed for."""
    status, payload = STATUS_STOPPED, b""
    if stop.is_overdue:
        error = TaskTimeoutError(
            f"{process.running.name} ran longer than its limit of {stop.limit_ns / 1e9:g} s on worker {process.name}, "
            f"which was killed since it went on for {process.grace_s:g} s after it was asked to stop"
        )
        status, payload = STATUS_RAISED, pickle.dumps((error, f"{type(error).__name__}: {error}\n"), 5)
    run = RecordRun()
    run.write(
        KIND_RESULT, stop.task, payload, status=status, attempt=stop.attempt, duration_ns=stop.limit_ns
    )  # fmt: skip
    return run
