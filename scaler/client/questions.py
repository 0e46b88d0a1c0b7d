"""What a client asks of its tasks that only a worker's host can say: `Client.stack`, and whether all output has come.

The scheduler answers by the client's control ring, which whichever thread reads it hands over; the thread that has
asked looks for that.

Not here: who answers (scaler.scheduler.questions).
"""

import itertools
import threading
import time
from typing import Any

from scaler._native import KIND_ANSWER, KIND_OUTPUT, KIND_QUESTION, ClientRings
from scaler.client.future import ScalerFuture
from scaler.exceptions import NoStackError
from scaler.program.stack_dump import NOT_BEGUN
from scaler.protocol.questions import UNKNOWN_TASK, AnswerParts, What, pack_question

LOOK_S = 0.002
PATIENCE_S = 10.0
SUBMITTED_S = 0.5  # for a task that has just been submitted to begin


class Questions:
    """One client's, from any of its threads."""

    def __init__(self, rings: ClientRings) -> None:
        self._rings = rings
        self._numbers = itertools.count(1)
        self._open: dict[int, AnswerParts] = {}
        self._lock = threading.Lock()
        rings.connection.heard[KIND_ANSWER] = self._on_answer
        rings.connection.heard[KIND_OUTPUT] = lambda text: (
            None
        )  # of a client that has not asked for it, nobody says any

    def _on_answer(self, payload: bytes) -> None:
        for parts in list(self._open.values()):
            parts.add(payload)

    def stack(self, future: ScalerFuture[Any]) -> str:
        """What this task's code does. NoStackError, which says why, if there is no stack."""
        until_s = time.monotonic() + SUBMITTED_S
        while True:
            if future.done():
                raise NoStackError(f"task {future.task_id:#x} has no stack: it has ended")
            parts = self._ask(What.STACK, future.task_id, PATIENCE_S)
            if not parts.is_whole:
                raise NoStackError(
                    f"task {future.task_id:#x} has no stack: the scheduler has not answered for {PATIENCE_S:g} s"
                )
            if not parts.problem:
                return parts.text
            if future.done():
                continue
            if not parts.problem.endswith((UNKNOWN_TASK, NOT_BEGUN)) or time.monotonic() > until_s:
                raise NoStackError(parts.problem)
            time.sleep(LOOK_S)

    def flush_output(self, timeout_s: float) -> str:
        """Have all come here that tasks have written so far, or as much as comes in time; why not all, if it is not."""
        if not self._rings.connection.is_connected or self._rings.lost is not None:
            return "the scheduler has gone"
        parts = self._ask(What.OUTPUT, self._rings.bits, timeout_s)
        return parts.problem if parts.is_whole else f"it has not come within {timeout_s:g} s"

    def _ask(self, what: What, task: int, timeout_s: float) -> AnswerParts:
        """The answer, if it has come whole in time."""
        until_s = time.monotonic() + timeout_s
        parts = AnswerParts(next(self._numbers) & 0xFFFFFFFF)
        with self._lock:
            self._open[parts.number] = parts
        try:
            self._rings.control(KIND_QUESTION, task, pack_question(parts.number, what))
            while not parts.is_whole and time.monotonic() < until_s:
                self._rings.check_open()
                time.sleep(LOOK_S)
                self._rings.tend()
        finally:
            with self._lock:
                del self._open[parts.number]
        return parts
