"""Stopper: sends the signals that stop what workers run, and kills those that go on.

Rule 1: before a worker is killed, all that it has not begun is taken back. So whatever else it may come to between the
        last look at it and the signal, it cannot be at anybody else's task.
Not here: who is asked when (stops), what the worker does about it (native/process/worker.pyx).
"""

import logging
import os
import pickle
import signal
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from scaler._native import KIND_RESULT, STATUS_RAISED, STATUS_STOPPED, RecordRun, RunningTask
from scaler.exceptions import TaskTimeoutError
from scaler.stopping import STOP_SIGNAL
from scaler.stopping.stops import Ask, Kill, Stop, Stops

_log = logging.getLogger(__name__)
GRACE_S = 2.0
MOST_GRACE_S = 1e9  # what is longer, or no number, is not what a worker says
LOOK_S = 0.05  # how often for tasks that have run too long
Worker = TypeVar("Worker", bound=Hashable)


@dataclass
class _Process:
    """A worker's process, and what it runs."""

    running: RunningTask
    pid: int
    pidfd: int  # -1: of a process that is not to be seen here
    name: str
    grace_s: float


class Stopper(Generic[Worker]):
    """For the workers whose rings end here.

    `take_back(worker)` takes back what it has not begun; `on_kill(pid)` is told before a process is killed.
    """

    def __init__(self, take_back: Callable[[Worker], object], on_kill: Callable[[int], object]) -> None:
        self._take_back, self._on_kill = take_back, on_kill
        self._processes: dict[Worker, _Process] = {}
        self._stops: Stops[Worker] = Stops(self._is_running)
        self._next_look_s = 0.0

    def add(self, worker: Worker, running: RunningTask, pid: int, request: dict[str, Any]) -> None:
        """A worker has handed in its rings, with what it said then."""
        try:
            pidfd = os.pidfd_open(pid)
        except (OSError, OverflowError):
            pidfd = -1  # dead already, or of another pid namespace
        grace_s = request.get("grace_s")
        if not isinstance(grace_s, int | float) or not 0 <= grace_s <= MOST_GRACE_S:
            grace_s = GRACE_S
        self._processes[worker] = _Process(running, pid, pidfd, str(request.get("name", "")), grace_s)

    def remove(self, worker: Worker) -> RecordRun | None:
        """The worker has gone. The answer to be given in its place, if it was still at what it was to stop."""
        process = self._processes.get(worker)
        if process is None:
            return None
        stop = self._stops.on_left(worker)
        del self._processes[worker]
        if process.pidfd >= 0:
            os.close(process.pidfd)
        return None if stop is None else _answer(stop, process)

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
        self._do(self._stops.on_tick(time.monotonic()))

    def attend(self, now_s: float) -> None:
        """All that is due, for who calls this often."""
        if now_s >= self._next_look_s:
            self._next_look_s = now_s + LOOK_S
            self.look_for_overdue()
        due_s = self.next_due_s
        if due_s is not None and now_s >= due_s:
            self.tick()

    @property
    def next_due_s(self) -> float | None:
        """When tick has something to do."""
        return self._stops.next_due_s

    def close(self) -> None:
        for process in self._processes.values():
            if process.pidfd >= 0:
                os.close(process.pidfd)
        self._processes.clear()

    def _is_running(self, stop: Stop[Worker]) -> bool:
        return self._processes[stop.worker].running.is_it(stop.task, stop.attempt, stop.since_ns)

    def _do(self, commands: list[Ask[Worker]] | list[Ask[Worker] | Kill[Worker]]) -> None:
        for command in commands:
            process = self._processes[command.stop.worker]
            if isinstance(command, Ask):
                process.running.ask_to_stop(command.stop.task, command.stop.attempt, command.stop.since_ns)
                _send(process, STOP_SIGNAL)
            else:
                self._kill(command.stop, process)

    def _kill(self, stop: Stop[Worker], process: _Process) -> None:
        self._take_back(stop.worker)
        if not self._is_running(stop):
            self._stops.on_spared(stop)
            return
        why = "that ran longer than it may" if stop.is_overdue else "that nobody wants any more"
        _log.warning(
            "worker %s (process %d) goes on with task %#x, %s, %g s after it was asked to stop: it is killed",
            process.name, process.pid, stop.task, why, process.grace_s,
        )  # fmt: skip
        self._on_kill(process.pid)
        if not _send(process, signal.SIGKILL):
            _log.error("worker %s (process %d) cannot be reached by signals from here", process.name, process.pid)


def _send(process: _Process, number: signal.Signals) -> bool:
    """False if the process is not to be reached."""
    if process.pidfd < 0:
        return False
    try:
        signal.pidfd_send_signal(process.pidfd, number)
    except ProcessLookupError:
        pass  # it has just ended
    return True


def _answer(stop: Stop[Any], process: _Process) -> RecordRun:
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
