"""Engine: what an adapter of somebody else's engine has to offer.

An engine runs *jobs*: bytes in, bytes out, made and read by `scaler.engines.run.run_job` at the engine's side. A job
carries as many small tasks as are there, since engines are slow per job. An adapter knows nothing of tasks.

`submit` hands in a job and returns at once. Its `done` is called once, in any thread, with what `run_job` has returned
or with an exception. Three of these mean something: JobLost, the process that ran it has died, so it is tried again
and counted as a worker's death; JobInterrupted, the engine has lost it through no fault of its own, so it is tried
again; and JobCancelled, it was taken back and has not run. Any other is the answer to its tasks.

Rule 1: `done` may be called before `submit` has returned, and more than once: later calls mean nothing.
Rule 2: what an adapter imports of its engine it imports when it is made, so that `-h` works without it.
Rule 3: nothing here waits: `submit` and those of handles are called in the thread that serves the scheduler.
Not here: what is in a job (job), which tasks go together (seats).
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from scaler.exceptions import EngineError, ScalerError

LOOK_S = 5.0  # between two looks at how many slots there are
EMPTY_S = 60.0  # without any, before that is said
Done = Callable[["bytes | BaseException"], None]


class JobLost(ScalerError):
    """The process that ran the job has died. The text says what is known of that."""


class JobInterrupted(ScalerError):
    """The engine has lost the job, perhaps while it ran, and whatever that did is not to blame."""


class JobCancelled(ScalerError):
    """The job was taken back, and has not run."""


class Handle(ABC):
    """A job that was submitted."""

    @abstractmethod
    def take_back(self) -> bool:
        """Take it back if it has not begun: True, it never will. False: it has, or nobody knows."""

    @abstractmethod
    def stop(self) -> None:
        """Nobody wants its answer: take it back, or stop it, if the engine can do that. Its `done` is called then."""


class Engine(ABC):
    """One engine, for as long as the program runs."""

    name: str  # what its slots are called after
    shares_fate = False  # when one job's process dies all jobs are lost
    most_tasks = 1000  # in one job
    base_concurrency: int | None = None  # most jobs at a time whose tasks no other task has submitted; None: any number

    @abstractmethod
    def capacity(self) -> int:
        """How many jobs it runs at a time, as of now."""

    @abstractmethod
    def submit(self, payload: bytes, done: Done) -> Handle:
        """Have it run this job. An exception is an answer, as `done` might give it."""

    def trouble(self) -> str:
        """Why it can run nothing just now, as a sentence for people; empty if it can."""
        return ""

    @abstractmethod
    def close(self) -> None:
        """The program ends: give up what still runs, and leave nothing behind."""


class SlotCount:
    """How many jobs an engine runs at a time, where that changes: looked at now and then.

    One without any may have lost its only process a moment ago, so that is trouble only when it lasts: while a cluster
    says that it can run nothing, and there is no other, tasks fail.
    """

    def __init__(self, name: str, count: Callable[[], int], fixed: int | None) -> None:
        self._name, self._count, self._fixed = name, count, fixed
        self._seen, self._look_s = 0, 0.0
        self._empty_s: float | None = None  # since when there are none

    def now(self, now_s: float) -> int:
        if self._fixed:
            return self._fixed
        if now_s >= self._look_s:
            self._look_s = now_s + LOOK_S
            self._seen = self._count()
            if self._seen:
                self._empty_s = None
            elif self._empty_s is None:
                self._empty_s = now_s
        return self._seen

    def trouble(self, now_s: float) -> str:
        if self.now(now_s) or self._empty_s is None or now_s - self._empty_s < EMPTY_S:
            return ""
        return f"{self._name} has had nothing that could run a job for {now_s - self._empty_s:.0f} s"


def find_library(name: str, install: str) -> Any:
    """The engine's package. EngineError, with what to do, if it is not there."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise EngineError(f"there is no package {name} here: `{install}`") from error
