"""OpenTasks: which Symphony task answers which job, whatever order things come in.

| what Symphony does | what is done here |
| --- | --- |
| answers before `send_task_input` has returned the task's id | the answer waits for its id |
| answers twice | the second means nothing |
| answers a task that is not ours | it is dropped, once enough others have come after it |
| ends the session by `on_exception` | all that was sent in it is given back, once; the next session is another one |

Rule 1: each job that was begun is given out exactly once: with its answer, or as one of those that are given back.
Rule 2: ids are those of one session: what comes of one before means nothing.
Not here: sessions and threads (child). The caller holds a lock.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

MOST_EARLY = 4096  # answers that came before their ids, or belong to nobody

_Answer = TypeVar("_Answer")


class OpenTasks(Generic[_Answer]):
    def __init__(self) -> None:
        self.session = 0
        self._jobs: dict[str, int] = {}  # by the id of their Symphony task
        self._sending: dict[int, int] = {}  # jobs whose id is not known yet, and the session in which they are sent
        self._early: OrderedDict[str, _Answer] = OrderedDict()

    def begin(self, job: int) -> int:
        """The job is about to be sent, in the session whose number this returns."""
        self._sending[job] = self.session
        return self.session

    def on_sent(self, job: int, task: str) -> _Answer | None:
        """It has this id. The answer if that has come already, and the job is over with it."""
        session = self._sending.pop(job, None)
        if session is None:
            return None  # it has been given back with its session
        if task in self._early:
            return self._early.pop(task)
        self._jobs[task] = job
        return None

    def on_not_sent(self, job: int) -> bool:
        """Sending it has failed. False if it has been given back meanwhile."""
        return self._sending.pop(job, None) is not None

    def on_answer(self, session: int, task: str, answer: _Answer) -> int | None:
        """Which job this answers; None if it is to wait for its id, or means nothing."""
        if session != self.session:
            return None
        job = self._jobs.pop(task, None)
        if job is None and self._sending:
            self._early[task] = answer
            while len(self._early) > MOST_EARLY:
                self._early.popitem(last=False)
        return job

    def on_session_over(self, session: int) -> list[int] | None:
        """Jobs that this session will not answer any more; None if that was known."""
        if session != self.session:
            return None
        self.session += 1
        given_back = [*self._jobs.values(), *self._sending]
        self._jobs.clear()
        self._sending.clear()
        self._early.clear()
        return given_back

    def __len__(self) -> int:
        return len(self._jobs) + len(self._sending)
