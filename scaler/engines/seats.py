"""Seats: which tasks go into the next job, and when.

A seat is one slot of the engine, and a worker to the scheduler. What the scheduler gives it waits here, where it can be
taken back, until the seat has nothing to run: then all that waits there becomes one job. So a job is as large as the
engine was slow.

A task that has a time limit, may not be tried again, or has had a worker die, has a job of its own: what it does is
then nobody else's harm, and what becomes of it is known. If all jobs are lost with one (`shares_fate`), a task that has
had a worker die runs while nothing else does: or one that kills its process would have all others charged with that.

With a base concurrency, so many jobs run at a time. Those of nested tasks run beyond it and start first, since who
waits for one holds a job: at a base concurrency of 1 it would wait for ever.

Rule 1: of what waits at a seat, nested tasks go first, then what came first.
Not here: what a job looks like (job), the engine (engine), what the scheduler is told (session).
"""

from collections import deque
from dataclasses import dataclass, field

from scaler._native import RecordRun, Store
from scaler.engines.engine import Handle
from scaler.engines.job import JobFunction

MOST_JOB_BYTES = 4 << 20  # of payloads; a job has one task at least


@dataclass(slots=True, eq=False)
class Item:
    """A task that the scheduler has given to a seat."""

    seat: "Seat"
    task: int
    attempt: int
    function: int
    flags: int
    items: int
    detail: int
    options: int
    limit_ms: int
    payload: bytes
    is_wanted: bool = True
    job: "Running | None" = None
    interruptions: int = 0

    @property
    def is_nested(self) -> bool:
        """Another task has submitted it, and may wait for it."""
        return self.detail != 0

    @property
    def deaths(self) -> int:
        """How many workers have died running it."""
        return self.options >> 20 & 0xFF

    @property
    def is_alone(self) -> bool:
        return bool(self.limit_ms or self.deaths) or not self.may_be_tried_again

    @property
    def may_be_tried_again(self) -> bool:
        return self.options & 0xFF != 1


@dataclass(slots=True, eq=False)
class Running:
    """A job that the engine has. `due_s`: when it should have come back, whatever it does."""

    seat: "Seat"
    items: list[Item]
    handle: Handle | None = None
    due_s: float | None = None
    is_over: bool = False
    has_all_objects: bool = False


@dataclass(slots=True, eq=False)
class Seat:
    """One worker, as the scheduler sees it. `number` and `collected` are what a relay's peer has."""

    number: int
    name: str
    waiting: deque[Item] = field(default_factory=deque)
    jobs: list[Running] = field(default_factory=list)
    functions: dict[int, JobFunction] = field(default_factory=dict)
    collected: RecordRun = field(default_factory=RecordRun)
    store: Store | None = None  # of its large results


class Seats:
    """All seats of an engine."""

    def __init__(self, *, most_tasks: int, shares_fate: bool, base_concurrency: int | None) -> None:
        self._most_tasks, self._shares_fate, self._base = most_tasks, shares_fate, base_concurrency
        self.by_number: dict[int, Seat] = {}
        self._open: dict[tuple[int, int], Item] = {}  # by task and attempt, until it is answered or taken back
        self._unnested = 0  # jobs at work whose tasks no other task has submitted
        self._jobs = 0
        self._careful: Running | None = None  # nothing else is to run beside this

    def add(self, seat: Seat) -> None:
        self.by_number[seat.number] = seat

    def remove(self, seat: Seat) -> list[Item]:
        """The seat is a worker no more. What had begun there: its jobs go on, and their answers mean nothing."""
        del self.by_number[seat.number]
        begun = [item for job in seat.jobs for item in job.items if self.is_open(item)]
        for item in [*begun, *seat.waiting]:
            self._open.pop((item.task, item.attempt), None)
        seat.waiting.clear()
        return begun

    def put(self, item: Item) -> None:
        self._open[item.task, item.attempt] = item
        item.seat.waiting.append(item)

    def put_back(self, items: list[Item]) -> None:
        """Their job has not run: they wait again, before all others."""
        for item in items:
            item.job = None
        items[0].seat.waiting.extendleft(reversed(items))

    def find(self, number: int, task: int, attempt: int) -> Item | None:
        """The item of this attempt, if it is here and has not been answered."""
        item = self._open.get((task, attempt))
        return item if item is not None and item.seat.number == number else None

    def is_open(self, item: Item) -> bool:
        """Whether it has not been answered, nor taken back."""
        return self._open.get((item.task, item.attempt)) is item

    def drop(self, item: Item) -> None:
        """It is answered, or was taken back."""
        self._open.pop((item.task, item.attempt), None)
        if item.job is None:
            item.seat.waiting.remove(item)

    def next_job(self) -> Running | None:
        """A job that may be submitted now; it counts from here on. None if there is none."""
        if self._careful is not None:
            return None
        for is_nested in (True, False):
            for seat in self.by_number.values():
                items = self._choose(seat, is_nested)
                if items:
                    return self._begin(seat, items)
        return None

    def _choose(self, seat: Seat, is_nested: bool) -> list[Item]:
        first = next((item for item in seat.waiting if item.is_nested is is_nested), None)
        if first is None or not self._may_begin(seat, first):
            return []
        if first.is_alone:
            return [first]
        chosen, size = [first], len(first.payload)
        for item in seat.waiting:
            if len(chosen) >= self._most_tasks or size > MOST_JOB_BYTES:
                break
            if item is not first and item.is_nested is is_nested and not item.is_alone:
                chosen.append(item)
                size += len(item.payload)
        return chosen

    def _may_begin(self, seat: Seat, item: Item) -> bool:
        if self._shares_fate and item.deaths and self._jobs and not item.is_nested:  # for that somebody waits
            return False
        if self._base is None:
            return not seat.jobs
        return item.is_nested or self._unnested < self._base

    def _begin(self, seat: Seat, items: list[Item]) -> Running:
        job = Running(seat, items)
        for item in items:
            item.job = job
        seat.waiting = deque(item for item in seat.waiting if item.job is None)
        seat.jobs.append(job)
        self._jobs += 1
        self._unnested += not items[0].is_nested
        if self._shares_fate and items[0].deaths and not items[0].is_nested:
            self._careful = job
        return job

    def end(self, job: Running) -> None:
        """The engine has it no more."""
        job.seat.jobs.remove(job)
        self._jobs -= 1
        self._unnested -= not job.items[0].is_nested
        if self._careful is job:
            self._careful = None
