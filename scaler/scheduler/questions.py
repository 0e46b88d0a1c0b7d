"""Questions: what clients and viewers want to know of a task that only its worker's host can say, and is not said yet.

A task's stack is asked of the supervisor of the worker that runs it: directly if that is here, else of its relay.
A client or viewer that asks hears a sentence where there is no stack, after ANSWER_S at the latest.

Rule 1: only a task that runs by now is asked about: the holder of the worker's rings looks before and after.
Rule 2: at most MOST_OPEN questions are open at a time; a client that asks more hears that.
Not here: how a worker answers (scaler.program.stack_dump), what clients say and hear (scaler.protocol.questions).
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from scaler._native import SchedulerCore, whereabouts
from scaler.protocol.questions import UNKNOWN_TASK

ANSWER_S = 3.0
MOST_OPEN = 256
Answer = Callable[[str, str], object]
_NOT_RUNNING = {
    "READY": "it does not run yet: it waits for a worker",
    "WAITING": "it does not run yet: it waits for the results of other tasks",
    "HELD_BACK": "it was sent again after a restart of the scheduler, and it is not known yet whether a worker has it",
    "DOOMED": "it does not run any more: its worker has died",
    "ANSWERED": "it has ended: its result waits for its client to read",
    "KEPT": "it has ended: its result is kept for other tasks",
}


@dataclass(eq=False)
class _Open:
    task: int
    answers: list[Answer]
    timer: asyncio.TimerHandle


class Questions:
    """`ask_worker(worker, number, task, attempt)` has a worker asked: a sentence if it cannot be, else nothing, and
    `on_answer(number, text, problem)` follows. An `attempt` of 0 is any. `ask_clusters(client, new_number)` asks each
    cluster, with a number for each, to say all that this client's tasks have written.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        core: SchedulerCore,
        ask_worker: Callable[[int, int, int, int], str],
        ask_clusters: Callable[[int, Callable[[], int]], object],
    ) -> None:
        self._loop, self._core = loop, core
        self._ask_worker, self._ask_clusters = ask_worker, ask_clusters
        self._open: dict[int, _Open] = {}
        self._by_task: dict[int, int] = {}
        self._number = secrets.randbits(31)  # a relay may answer one of another scheduler's

    def ask_stack(self, task: int, answer: Answer) -> None:
        """Have `answer(text, problem)` called once: with what the task's code does, or why that is not known."""
        if (known := self._by_task.get(task)) is not None and len(self._open[known].answers) < MOST_OPEN:
            self._open[known].answers.append(answer)
            return
        problem = self._ask(task, answer)
        if problem:
            answer("", f"task {task:#x} has no stack: {problem}")

    def _ask(self, task: int, answer: Answer) -> str:
        found = whereabouts(self._core, task)
        if found is None:
            return UNKNOWN_TASK
        state, worker, attempt = found
        if state in _NOT_RUNNING:
            return _NOT_RUNNING[state]
        if worker is None:
            return "it runs in place in the task that waits for it, on another host: that one's stack shows it"
        if len(self._open) >= MOST_OPEN:
            return f"{MOST_OPEN} others are asked about at the moment"
        number = self._begin(task, answer)
        self._by_task[task] = number
        problem = self._ask_worker(worker, number, task, attempt)
        if problem:
            self._open.pop(number).timer.cancel()
            del self._by_task[task]
        return problem

    def _begin(self, task: int, answer: Answer) -> int:
        self._number = self._number % 0xFFFFFFFF + 1
        timer = self._loop.call_later(ANSWER_S, self._on_late, self._number)
        self._open[self._number] = _Open(task, [answer], timer)
        return self._number

    def ask_output(self, client: int, answer: Answer) -> None:
        """Have `answer(text, problem)` called once all clusters have said what this client's tasks have written."""
        waits_for = 1  # for those that are asked to be known
        missing = ""

        def on_one(text: str, problem: str) -> None:
            nonlocal waits_for, missing
            waits_for, missing = waits_for - 1, missing or problem
            if not waits_for:
                answer("" if missing else "all of it", missing)

        def new_number() -> int:
            nonlocal waits_for
            waits_for += 1
            return self._begin(0, on_one)

        if len(self._open) < MOST_OPEN:
            self._ask_clusters(client, new_number)
        on_one("", "")

    def on_answer(self, number: int, text: str, problem: str) -> None:
        """What a worker's host says; nothing if nobody waits for it any more."""
        question = self._open.pop(number, None)
        if question is None:
            return
        question.timer.cancel()
        self._by_task.pop(question.task, None)
        if problem or not text:
            text, problem = "", problem or "its worker says nothing"
            if question.task:
                problem = f"task {question.task:#x} has no stack: {problem}"
        for answer in question.answers:
            answer(text, problem)

    def _on_late(self, number: int) -> None:
        self.on_answer(number, "", f"the cluster that was asked has not answered within {ANSWER_S:g} s")

    def close(self) -> None:
        for question in self._open.values():
            question.timer.cancel()
        self._open.clear()
        self._by_task.clear()
