"""Scaling: how many workers, or hosts, there should be for the work there is. Figures in, a step out; no clock.

Work is measured in seconds (native/scheduler/demand.pyx). One more worker is worth its start if each that is there has
more than `backlog_s` of work before it; and more workers than tasks are of no use, however long the tasks are. So of
all clusters together as many can be of use as there are tasks that run or could run, and as many as have `backlog_s`
of work each, whichever is less.

It grows at once, by all that is missing: a wave of work is over before one that grows step by step has begun. It
shrinks when workers have had nothing to do for `idle_s`, those first that have had nothing to do for longest, and only
by as many as are too many. Work that comes in waves with pauses shorter than that finds all workers of the wave before.

Rule 1: what leaves is neither there nor too many. What starts is there already, or each look would start it anew.
Rule 2: while starts fail nothing is added but what `least` asks for: more of the same would fail alike.
Rule 3: several clusters that grow share what is missing, since each sees all of it.
Not here: which member is started, and failed starts that are tried again (roster), how a worker ends (supervisor).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scaler.config.table import ClusterConfig


@dataclass(frozen=True)
class Demand:
    """What a scheduler says of its work and of its workers."""

    tasks: int = 0
    """That run or could run."""
    work_s: float = 0.0
    """In these."""
    workers: int = 0
    """That are there and stay, of all clusters."""
    sharers: int = 1
    """Clusters that grow and shrink, this one included."""


@dataclass(frozen=True)
class Grow:
    """Add so many."""

    count: int
    why: str


@dataclass(frozen=True)
class Shrink:
    """Have these end."""

    members: tuple[int, ...]
    why: str


class Scaling:
    """Between `least` and `most` members, of `size` workers each: 1, or what a host has."""

    def __init__(self, least: int, most: int, *, backlog_s: float, idle_s: float, size: int = 1) -> None:
        self.least, self.most, self.size = least, most, size
        self._backlog_s, self._idle_s = backlog_s, idle_s

    def useful_workers(self, demand: Demand) -> int:
        """How many workers could be of use, of all clusters together."""
        return min(demand.tasks, math.ceil(demand.work_s / self._backlog_s))

    def step(
        self, demand: Demand, there: int, starting: int, idle_s: Mapping[int, float], *, fails: bool = False
    ) -> Grow | Shrink | None:
        """What is to be done: there are so many members, and `starting` of them are not among the scheduler's yet.

        `idle_s` says for how long those members have had nothing to do that have nothing.
        """
        if there < self.least:
            return Grow(self.least - there, f"{there} are there, and at least {self.least} are wanted")
        missing = self.useful_workers(demand) - demand.workers - starting * self.size
        work = f"{demand.tasks} tasks with {demand.work_s:.1f} s of work, {demand.workers} workers"
        if missing > 0:
            mine = math.ceil(missing / max(1, demand.sharers) / self.size)
            count = min(mine, self.most - there)
            return Grow(count, work) if count > 0 and not fails else None
        members = sorted((each for each in idle_s if idle_s[each] >= self._idle_s), key=lambda each: -idle_s[each])
        count = min(len(members), there - self.least, -missing // self.size)
        return Shrink(tuple(members[:count]), f"{work}, idle for {self._idle_s:g} s") if count > 0 else None


def scaling_of(config: ClusterConfig) -> Scaling | None:
    """By these options; None for a cluster that does not grow."""
    if config.max is None:
        return None
    return Scaling(config.least_workers, config.max, backlog_s=config.backlog_seconds, idle_s=config.idle_seconds)
