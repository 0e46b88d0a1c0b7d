"""History: all that the page knows, made from a scheduler's reports. Reports in, what is shown out; no I/O.

It has the last report of each topic, figures over time, the last tasks one by one and all of them in cells. Whether the
reports come from a socket or from a recording makes no difference here. When another scheduler takes over (another
epoch) all of it stays: the figures get a gap, the lanes of workers go on by name.

Rule 1: memory is bounded, however long it runs and however many names come by.
Rule 2: `now_ns` is the time of the newest report by the scheduler's wall clock, since two hosts' clocks differ.
Not here: what a view shows of it (tables, stream_view), sockets (listener, feed).
"""

from collections import deque
from typing import NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt

from scaler.monitor.page.figures import FIGURES, Figures
from scaler.monitor.page.naming import Naming
from scaler.monitor.page.pyramid import MOST_LANES, Pyramid
from scaler.monitor.page.series import Series
from scaler.monitor.page.task_store import EVENT, ROW, Rows, TaskStore
from scaler.monitor.page.worker_history import WorkerHistory
from scaler.monitor.report import Body, Events, Failures, Functions, Report, Stack, Summary, Task, Workers
from scaler.monitor.trace import Recorded

MOST_FUNCTIONS = 4096
MOST_ANSWERS = 64
MOST_EPOCHS = 100
MOST_FAILED, MOST_TEXT = 1000, 16_000
MOST_COUNTS = 40_000  # of events over time: half a day
_B = TypeVar("_B", bound=Body)


class Epoch(NamedTuple):
    """A scheduler that was seen."""

    epoch: int
    first_ns: int


class Failure(NamedTuple):
    """One task's."""

    exception: str
    message: str
    place: str
    traceback: str


class History:
    """Everything since scaler_ui was started, or all that is in a recording."""

    def __init__(self) -> None:
        self.latest: dict[str, Report] = {}
        """The last report of each topic."""
        self.answers: dict[str, Report] = {}
        """The last report about a task, by its topic."""
        self.epochs: deque[Epoch] = deque(maxlen=MOST_EPOCHS)
        self.now_ns = 0
        self.rounds = 0
        """How many reports have come."""
        self.series = Series(FIGURES)
        self.workers = Naming("worker", MOST_LANES)
        self.functions = Naming("function", MOST_FUNCTIONS)
        self.worker_history = WorkerHistory()
        self.tasks = TaskStore()
        self.pyramid = Pyramid()
        self.failed: dict[int, Failure] = {}
        """How the last task of each group of failures failed, the last MOST_FAILED of them, by task."""
        self._figures = Figures()
        self._event_counts: deque[tuple[int, int, int]] = deque(maxlen=MOST_COUNTS)  # when, written, seen
        self._written_before, self._written = 0, 0  # by earlier schedulers, and by this one
        self._seen = 0
        self._next_event = 0

    def add(self, report: Report) -> None:
        """Take one report; those of one scheduler come in their order."""
        if not self.epochs or self.epochs[-1].epoch != report.epoch:
            self._begin_epoch(report)
        self.rounds += 1
        self.now_ns = max(self.now_ns, report.wall_ns)
        match report.body:
            case Task() | Stack():
                self._keep_answer(report)
                return
            case Workers() as body:
                self.workers.learn(body.number, body.name)
                lanes = np.fromiter(map(self.workers.index_of, body.name), np.int64, len(body))
                self.worker_history.add(report, body, lanes)
            case Functions() as body:
                self.functions.learn(body.number, body.name)
            case Failures() as body:
                self._keep_failures(body)
            case Events() as body:
                self._add_events(report, body)
                return
        self.latest[report.body.topic] = report
        figures = self._figures.of(report)
        if figures:
            self.series.put(report.wall_ns / 1e9, figures)

    def find(self, kind: type[_B]) -> _B | None:
        """The last report's body of this kind."""
        report = self.latest.get(kind.topic)
        return None if report is None else cast(_B, report.body)

    def wall_ns(self, topic: str, clock_ns: int) -> int:
        """What the wall clock showed when the scheduler's own showed this, by its last report of this topic."""
        report = self.latest[topic]
        return clock_ns + report.wall_ns - report.clock_ns

    def events_between(self, begin_ns: int, end_ns: int) -> tuple[int, int]:
        """How many events the scheduler wrote about then, and how many of them came here."""
        if len(self._event_counts) < 2:
            return self._seen, self._seen
        times, written, seen = np.array(self._event_counts).T
        spans = (np.interp((begin_ns, end_ns), times, counts) for counts in (written, seen))
        (written_0, written_1), (seen_0, seen_1) = spans
        return round(written_1 - written_0), round(seen_1 - seen_0)

    def _begin_epoch(self, report: Report) -> None:
        self.epochs.append(Epoch(report.epoch, report.wall_ns))
        self.workers.begin_epoch()
        self.functions.begin_epoch()
        self.worker_history.begin_epoch()
        self.answers.clear()
        self.latest.clear()
        self._written_before += self._written
        self._written = self._next_event = 0

    def _keep_answer(self, report: Report) -> None:
        self.answers.pop(report.topic, None)
        self.answers[report.topic] = report
        if len(self.answers) > MOST_ANSWERS:
            del self.answers[next(iter(self.answers))]

    def _keep_failures(self, body: Failures) -> None:
        texts = zip(body.exception, body.message, body.place, body.traceback, strict=True)
        for task, failure in zip(body.task, texts, strict=True):
            if task not in self.failed:
                self.failed[task] = Failure(*(text[:MOST_TEXT] for text in failure))
        while len(self.failed) > MOST_FAILED:
            del self.failed[next(iter(self.failed))]

    def _add_events(self, report: Report, body: Events) -> None:
        events = np.frombuffer(body.data, EVENT, len(body.data) // EVENT.itemsize)
        events = events[max(0, self._next_event - body.first) :]  # a report may repeat what the last one had
        self._next_event = max(self._next_event, body.first + len(body.data) // EVENT.itemsize)
        if not self._event_counts:
            self._written_before -= body.first  # what was before this page is nobody's window
            self._event_counts.append((report.wall_ns - 1_000_000_000, 0, 0))
        self._written = self._next_event
        self._seen += len(events)
        self._event_counts.append((report.wall_ns, self._written_before + self._written, self._seen))
        rows = self._rows(report, events)
        self.tasks.add(rows)
        self.pyramid.add(rows)

    def _rows(self, report: Report, events: Rows) -> Rows:
        rows: Rows = np.zeros(len(events), ROW)
        for name in ("task", "queued_s", "outcome", "calls"):
            rows[name] = events[name]
        rows["end_ns"] = events["end_ns"].astype(np.int64) + (report.wall_ns - report.clock_ns)
        duration_s: npt.NDArray[np.float32] = np.nan_to_num(events["duration_s"], nan=0.0, posinf=0.0, neginf=0.0)
        rows["start_ns"] = rows["end_ns"] - (np.clip(duration_s, 0, 1e8).astype(np.float64) * 1e9).astype(np.int64)
        rows["function"] = self.functions.translate(events["function"])
        rows["lane"] = self.workers.translate(events["worker"])
        return rows

    def to_trace(self) -> Recorded:
        """The last tasks that ended, as a trace takes them: by the page's own numbers, which outlast a scheduler."""
        parts = self.tasks.parts()[::-1]
        rows = np.concatenate(parts)
        events = np.zeros(len(rows), EVENT)
        for name in ("task", "end_ns", "queued_s", "function", "outcome", "calls"):
            events[name] = rows[name]
        events["duration_s"] = (rows["end_ns"] - rows["start_ns"]) / 1e9
        events["worker"] = rows["lane"] + 1  # 0 is no worker
        functions, workers = dict(enumerate(self.functions.names)), dict(enumerate(self.workers.names, 1))
        return Recorded(events.tobytes(), functions, workers, self._written_before + self._written - len(rows))

    @property
    def summary(self) -> Summary | None:
        return self.find(Summary)
