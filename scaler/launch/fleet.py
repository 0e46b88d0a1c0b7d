"""Fleet: which jobs there should be and which there are. Events in, commands out; no batch system, no clock.

A job is one host. It is *queued* until its batch system starts it, then *running*, and *joined* once the scheduler has
heard of its cluster. `least` of them stay as long as the launcher does; the others end by themselves when they are
idle, so the fleet never has to choose which host is to go.

Rule 1: at most `most_queued` wait, in the batch system's queue or for their clusters to join: a queue that does not
        move is not filled further, and hosts that cannot start are found out with a few.
Rule 2: a job that ends before it has joined has failed. After that nothing is launched for a while, which doubles from
        FIRST_PAUSE_S up to MOST_PAUSE_S, and is over when one joins.
Rule 3: after START_FAILURES in a row, with nobody joined, no host can be had (`is_unable`): what waits for one would
        wait for ever. It is tried again all the same.
Not here: how many hosts are of use (cluster.scaling), what a batch system does (batch_system).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from scaler.cluster.scaling import Demand, Grow, Scaling
from scaler.launch.batch_system import JobState

FIRST_PAUSE_S, MOST_PAUSE_S = 5.0, 300.0
START_FAILURES = 3


@dataclass
class Job:
    """One host."""

    name: str
    stays: bool
    state: JobState = JobState.QUEUED
    has_joined: bool = False


@dataclass(frozen=True)
class Launch:
    """Command: start jobs with these names; `stays`: they are not to end by themselves."""

    names: tuple[str, ...]
    stays: bool
    why: str


class Fleet:
    """The jobs of one launcher, by what the batch system calls them. `tag` begins their names."""

    def __init__(self, tag: str, scaling: Scaling, most_queued: int) -> None:
        self.jobs: dict[str, Job] = {}
        self.is_launching = 0  # that were commanded, and of which the batch system has not answered
        self._tag, self._scaling, self._most_queued = tag, scaling, most_queued
        self._next = 1
        self._failures = 0
        self._pause_s = 0.0
        self._not_before_s = 0.0

    @property
    def n_queued(self) -> int:
        """How many have not joined."""
        return sum(not job.has_joined for job in self.jobs.values()) + self.is_launching

    @property
    def is_unable(self) -> bool:
        """Nobody has joined, and it seems that nobody will."""
        return self._failures >= START_FAILURES and not any(job.has_joined for job in self.jobs.values())

    def on_demand(self, demand: Demand, joined: Collection[str], now_s: float) -> Launch | None:
        """What the scheduler says: how much work there is, and the names of the clusters that are there."""
        for job in self.jobs.values():
            if job.name in joined:
                job.has_joined, job.state = True, JobState.RUNNING
                self._failures, self._pause_s, self._not_before_s = 0, 0.0, 0.0
        there = len(self.jobs) + self.is_launching
        starting = there - sum(job.has_joined for job in self.jobs.values())
        staying = sum(job.stays for job in self.jobs.values())
        room = self._most_queued - self.n_queued
        if now_s < self._not_before_s or room <= 0:
            return None
        if not self.is_launching and staying < self._scaling.least:
            count = min(room, self._scaling.least - staying, self._scaling.most - there)
            why = f"{staying} of {self._scaling.least} hosts that stay are there"
            return self._launch(count, True, why) if count > 0 else None
        step = self._scaling.step(demand, there, starting, {})
        return self._launch(min(room, step.count), False, step.why) if isinstance(step, Grow) else None

    def _launch(self, count: int, stays: bool, why: str) -> Launch:
        names = tuple(f"{self._tag}-{number}" for number in range(self._next, self._next + count))
        self._next += count
        self.is_launching += count
        return Launch(names, stays, why)

    def on_launched(self, launch: Launch, jobs: Sequence[str]) -> None:
        """The batch system has taken these, and calls them so."""
        self.is_launching -= len(launch.names)
        for job, name in zip(jobs, launch.names, strict=False):
            self.jobs[job] = Job(name, launch.stays)

    def on_not_launched(self, launch: Launch, now_s: float) -> float:
        """The batch system has not taken them. How long is waited before it is tried again."""
        self.is_launching -= len(launch.names)
        return self._fail(now_s)

    def on_not_taken(self, launch: Launch) -> None:
        """They were not to be launched."""
        self.is_launching -= len(launch.names)
        self._next -= len(launch.names)

    def on_look(self, states: Mapping[str, JobState], now_s: float) -> list[tuple[str, Job]]:
        """The batch system has said which there are. The jobs that have ended; what had not joined has failed."""
        ended = [(job, about) for job, about in self.jobs.items() if job not in states]
        for job, _ in ended:
            del self.jobs[job]
        for job, state in states.items():
            if job in self.jobs:
                self.jobs[job].state = state
        if any(not about.has_joined for _, about in ended):
            self._fail(now_s)
        return ended

    def _fail(self, now_s: float) -> float:
        self._failures += 1
        self._pause_s = min(MOST_PAUSE_S, max(FIRST_PAUSE_S, self._pause_s * 2))
        self._not_before_s = now_s + self._pause_s
        return self._pause_s

    @property
    def pause_s(self) -> float:
        """How long nothing is launched after the last failure; 0 if there was none since somebody has joined."""
        return self._pause_s
