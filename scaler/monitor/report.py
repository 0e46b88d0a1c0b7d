"""Reports: what a scheduler says about itself, as values. protocol/monitor.capnp says what each field means.

A table is in columns, since a cluster may have thousands of workers: a column of numbers is an `array`, a column of
texts a list of str. The names are those of the schema, in snake case; the codec goes by them, so a field that one has
and the other lacks is an error when the codec is loaded.

Not here: bytes (codec), what follows from reports over time (each viewer).
"""

import dataclasses
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

TOPICS = ("summary", "workers", "functions", "clients", "hosts", "failures", "events")


def column(typecode: str) -> Any:
    """A column of numbers: an array of this typecode."""
    return field(default_factory=lambda: array(typecode), metadata={"typecode": typecode})


def texts() -> Any:
    """A column of texts."""
    return field(default_factory=list, metadata={"texts": True})


@dataclass(slots=True)
class Table:
    """Columns of equal length."""

    def __len__(self) -> int:
        for each in dataclasses.fields(self):
            value: Any = getattr(self, each.name)
            return len(value)
        return 0

    def rows(self) -> Iterator[dict[str, Any]]:
        """The table by rows, for those who show few of them."""
        names = [each.name for each in dataclasses.fields(self)]
        for values in zip(*(getattr(self, name) for name in names), strict=True):
            yield dict(zip(names, values, strict=True))


@dataclass(slots=True)
class Tally(Table):
    """Counts by name."""

    names: list[str] = texts()
    counts: "array[int]" = column("Q")

    def as_dict(self) -> dict[str, int]:
        return dict(zip(self.names, self.counts, strict=True))

    @classmethod
    def of(cls, counts: dict[str, int]) -> "Tally":
        return cls(list(counts), array("Q", counts.values()))


@dataclass(slots=True)
class Histograms:
    """A histogram per row: row i has the buckets from ends[i - 1] (0 for the first) up to ends[i]."""

    ends: "array[int]" = column("I")
    buckets: "array[int]" = column("H")
    counts: "array[int]" = column("Q")

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> dict[int, int]:
        """The row's counts by bucket; `histogram` says which values a bucket has."""
        begin, end = self.ends[row - 1] if row else 0, self.ends[row]
        return dict(zip(self.buckets[begin:end], self.counts[begin:end], strict=True))


@dataclass(slots=True)
class Counts:
    """Calls by where they stand: the first is the sum of the nine after it, and the last six are besides."""

    submitted: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    waiting: int = 0
    ready: int = 0
    held_back: int = 0
    placed: int = 0
    lent: int = 0
    doomed: int = 0
    stopping: int = 0
    unread: int = 0
    kept: int = 0
    in_place: int = 0
    retried: int = 0
    stopped: int = 0

    @property
    def unassigned(self) -> int:
        """On no worker, and open."""
        return self.waiting + self.ready + self.held_back

    @property
    def assigned(self) -> int:
        """On a worker, or in a task, and open."""
        return self.placed + self.lent + self.doomed

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed + self.cancelled


@dataclass(slots=True)
class Recorder:
    """Where the flight recorder's ring is, for viewers of the scheduler's host."""

    segment: str = ""
    room: int = 0
    written: int = 0


@dataclass(slots=True)
class Summary:
    topic: ClassVar[str] = "summary"
    scheduler_version: str = ""
    python_version: str = ""
    address: str = ""
    monitor_address: str = ""
    host_name: str = ""
    pid: int = 0
    started_ns: int = 0
    counts: Counts = field(default_factory=Counts)
    workers: int = 0
    idle_workers: int = 0
    clients: int = 0
    hosts: int = 0
    functions: int = 0
    cpu_share: float = 0.0
    rss_bytes: int = 0
    lag_ns: int = 0
    queued_bytes: int = 0
    objects: int = 0
    object_bytes: int = 0
    kept_result_bytes: int = 0
    shared_memory_total_bytes: int = 0
    shared_memory_free_bytes: int = 0
    messages: Tally = field(default_factory=Tally)
    refusals: Tally = field(default_factory=Tally)
    restarts: Tally = field(default_factory=Tally)
    warnings: list[str] = field(default_factory=list)
    recorder: Recorder = field(default_factory=Recorder)


# Bits of Workers.state and of Clients.state.
WORKER_RUNS, WORKER_WAITS, WORKER_ASIDE, WORKER_STOPPING, WORKER_FULL, WORKER_SUSPENDED = 1, 2, 4, 8, 16, 32
CLIENT_NESTED, CLIENT_DOES_NOT_READ, CLIENT_OVER_QUOTA, CLIENT_GONE = 1, 2, 4, 8


@dataclass(slots=True)
class Workers(Table):
    topic: ClassVar[str] = "workers"
    number: "array[int]" = column("I")
    host: "array[int]" = column("I")
    pid: "array[int]" = column("I")
    name: list[str] = texts()
    state: "array[int]" = column("B")
    task: "array[int]" = column("Q")
    function: "array[int]" = column("I")
    since_ns: "array[int]" = column("Q")
    held: "array[int]" = column("I")
    free: "array[int]" = column("I")
    load_ns: "array[int]" = column("Q")
    sent: "array[int]" = column("Q")
    succeeded: "array[int]" = column("Q")
    failed: "array[int]" = column("Q")
    in_place: "array[int]" = column("Q")
    busy_ns: "array[int]" = column("Q")
    cpu_share: "array[float]" = column("f")
    rss_bytes: "array[int]" = column("Q")
    joined_ns: "array[int]" = column("Q")


@dataclass(slots=True)
class Hosts(Table):
    topic: ClassVar[str] = "hosts"
    number: "array[int]" = column("I")
    name: list[str] = texts()
    cluster: list[str] = texts()
    cores: "array[int]" = column("I")
    workers: "array[int]" = column("I")
    agent_pid: "array[int]" = column("I")
    agent_cpu_share: "array[float]" = column("f")
    agent_rss_bytes: "array[int]" = column("Q")
    memory_total_bytes: "array[int]" = column("Q")
    memory_free_bytes: "array[int]" = column("Q")
    shared_memory_total_bytes: "array[int]" = column("Q")
    shared_memory_free_bytes: "array[int]" = column("Q")
    objects: "array[int]" = column("Q")
    object_bytes: "array[int]" = column("Q")
    lag_ns: "array[int]" = column("Q")
    heard_ns: "array[int]" = column("Q")


@dataclass(slots=True)
class Functions(Table):
    topic: ClassVar[str] = "functions"
    number: "array[int]" = column("I")
    name: list[str] = texts()
    submitted: "array[int]" = column("Q")
    succeeded: "array[int]" = column("Q")
    failed: "array[int]" = column("Q")
    cancelled: "array[int]" = column("Q")
    placed: "array[int]" = column("Q")
    duration_ns: "array[int]" = column("Q")
    queued_ns: "array[int]" = column("Q")
    last_ns: "array[int]" = column("Q")
    durations: Histograms = field(default_factory=Histograms)
    queued: Histograms = field(default_factory=Histograms)
    is_gone: "array[int]" = column("B")


@dataclass(slots=True)
class Clients(Table):
    topic: ClassVar[str] = "clients"
    bits: "array[int]" = column("I")
    name: list[str] = texts()
    host_name: list[str] = texts()
    pid: "array[int]" = column("I")
    state: "array[int]" = column("B")
    submitted: "array[int]" = column("Q")
    succeeded: "array[int]" = column("Q")
    failed: "array[int]" = column("Q")
    cancelled: "array[int]" = column("Q")
    waiting: "array[int]" = column("Q")
    ready: "array[int]" = column("Q")
    placed: "array[int]" = column("Q")
    unread: "array[int]" = column("Q")
    kept_bytes: "array[int]" = column("Q")
    quota_bytes: "array[int]" = column("Q")
    objects: "array[int]" = column("Q")
    object_bytes: "array[int]" = column("Q")
    joined_ns: "array[int]" = column("Q")
    heard_ns: "array[int]" = column("Q")


@dataclass(slots=True)
class Failures(Table):
    topic: ClassVar[str] = "failures"
    exception: list[str] = texts()
    message: list[str] = texts()
    place: list[str] = texts()
    function: "array[int]" = column("I")
    count: "array[int]" = column("Q")
    first_ns: "array[int]" = column("Q")
    last_ns: "array[int]" = column("Q")
    task: "array[int]" = column("Q")
    worker: "array[int]" = column("I")
    traceback: list[str] = texts()


@dataclass(slots=True)
class Events:
    """A run of events as the recorder wrote them: `events` reads them."""

    topic: ClassVar[str] = "events"
    first: int = 0
    lost: int = 0
    data: bytes = b""


@dataclass(slots=True)
class Task:
    """Where a task stands: the answer to the topic task/<id>."""

    topic: ClassVar[str] = "task"
    task: int = 0
    state: str = ""
    sentence: str = ""
    facts: Tally = field(default_factory=Tally)
    function: int = 0
    function_name: str = ""
    worker: int = 0
    worker_name: str = ""
    inputs: "array[int]" = column("Q")


@dataclass(slots=True)
class Stack:
    """What a task's code does just now: the answer to the topic stack/<id>."""

    topic: ClassVar[str] = "stack"
    task: int = 0
    text: str = ""
    problem: str = ""


Body = Summary | Workers | Functions | Clients | Hosts | Failures | Events | Task | Stack


@dataclass(slots=True)
class Report:
    """One of a scheduler's reports."""

    epoch: int
    number: int
    wall_ns: int
    clock_ns: int
    body: Body

    @property
    def topic(self) -> str:
        """What a viewer subscribes to in order to get it."""
        if isinstance(self.body, Task | Stack):
            return task_topic(self.body.topic, self.body.task)
        return self.body.topic


def task_topic(kind: str, task: int) -> str:
    """The topic that asks about one task: kind is "task" or "stack"."""
    return f"{kind}/{task:016x}"
