"""Latest: what was said last about each thing, and what follows from the reports before: rates and their history.

Rates are differences of exact counts by the scheduler's own clock, so neither a lost report nor a slow viewer makes
them wrong. Another epoch is another scheduler: its counts begin again, and so does all of this but the history, which
people want to see go on.

Rule 1: nothing of one epoch is subtracted from something of another.
Not here: how it is shown.
"""

import copy
from collections import deque
from collections.abc import Iterable
from typing import TypeVar

from scaler.monitor.events import EVENT_BYTES, Event, read_events
from scaler.monitor.report import (
    Body,
    Clients,
    Events,
    Failures,
    Functions,
    Hosts,
    Report,
    Stack,
    Summary,
    Tally,
    Task,
    Workers,
)

HISTORY = 240  # reports
MOST_EVENTS = 2000
MOST_ANSWERS = 16
_B = TypeVar("_B", bound=Body)


class Latest:
    def __init__(self) -> None:
        self.epoch = 0
        self.restarts = 0
        """How often another epoch came than before."""
        self.restarted_wall_ns = 0
        self.first: Report | None = None
        """The first summary of this epoch that was seen."""
        self.ended_rate: deque[float] = deque(maxlen=HISTORY)
        """Calls a second, of each report: ended in any way, then failed ones."""
        self.failed_rate: deque[float] = deque(maxlen=HISTORY)
        self.busy_share: deque[float] = deque(maxlen=HISTORY)
        """Of the workers, those with something to do."""
        self._begin()

    def _begin(self) -> None:
        self.reports: dict[str, Report] = {}
        self.message_rates: dict[str, float] = {}
        self.function_rates: dict[int, tuple[float, float]] = {}
        """Of a function's number: calls a second, and workers that they keep busy."""
        self.worker_busy: dict[int, float] = {}
        """Of a worker's number: which share of the time it was at tasks that it has answered since."""
        self.events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self.events_written = 0
        self.events_lost = 0
        self.answers: dict[str, Report] = {}
        """Of topics that ask about one task."""

    def on_report(self, report: Report) -> None:
        if report.epoch != self.epoch:
            self._on_epoch(report)
        body, before = report.body, self.reports.get(report.body.topic)
        if isinstance(body, Task | Stack):
            self._on_answer(report)
            return
        seconds = (report.clock_ns - before.clock_ns) / 1e9 if before else 0.0
        if before is not None and seconds > 0:
            if isinstance(body, Summary) and isinstance(before.body, Summary):
                self._on_summary(body, before.body, seconds)
            elif isinstance(body, Functions) and isinstance(before.body, Functions):
                self._on_functions(body, before.body, seconds)
            elif isinstance(body, Workers) and isinstance(before.body, Workers):
                self._on_workers(body, before.body, seconds)
        if isinstance(body, Events):
            self._on_events(body)
        if isinstance(body, Summary) and self.first is None:
            self.first = report
        self.reports[body.topic] = report

    def _on_epoch(self, report: Report) -> None:
        if self.epoch:
            self.restarts += 1
            self.restarted_wall_ns = report.wall_ns
        self.epoch, self.first = report.epoch, None
        self._begin()

    def _on_answer(self, report: Report) -> None:
        self.answers.pop(report.topic, None)
        self.answers[report.topic] = report
        while len(self.answers) > MOST_ANSWERS:
            del self.answers[next(iter(self.answers))]

    def _on_summary(self, now: Summary, before: Summary, seconds: float) -> None:
        self.ended_rate.append(_grown(now.counts.ended, before.counts.ended) / seconds)
        self.failed_rate.append(_grown(now.counts.failed, before.counts.failed) / seconds)
        self.busy_share.append((now.workers - now.idle_workers) / now.workers if now.workers else 0.0)
        self.message_rates = _tally_rates(now.messages, before.messages, seconds)

    def _on_functions(self, now: Functions, before: Functions, seconds: float) -> None:
        ended_before = dict(zip(before.number, zip(_ended(before), before.duration_ns, strict=True), strict=True))
        self.function_rates = {}
        for number, ended, duration_ns in zip(now.number, _ended(now), now.duration_ns, strict=True):
            ended_then, duration_then_ns = ended_before.get(number, (0, 0))
            rate = _grown(ended, ended_then) / seconds
            self.function_rates[number] = rate, _grown(duration_ns, duration_then_ns) / 1e9 / seconds

    def _on_workers(self, now: Workers, before: Workers, seconds: float) -> None:
        busy_then_ns = dict(zip(before.number, before.busy_ns, strict=True))
        self.worker_busy = {
            number: min(1.0, _grown(busy_ns, busy_then_ns.get(number, busy_ns)) / 1e9 / seconds)
            for number, busy_ns in zip(now.number, now.busy_ns, strict=True)
        }

    def _on_events(self, events: Events) -> None:
        count = len(events.data) // EVENT_BYTES
        seen = max(0, self.events_written - events.first)
        skipped = min(count, max(seen, count - MOST_EVENTS))
        self.events.extend(read_events(memoryview(events.data)[skipped * EVENT_BYTES : count * EVENT_BYTES]))
        self.events_written, self.events_lost = max(self.events_written, events.first + count), events.lost

    def held(self) -> "Latest":
        """What is known now, for one who goes on looking at it while more comes in. No report is ever changed."""
        held = copy.copy(self)
        for name in ("ended_rate", "failed_rate", "busy_share", "events", "reports", "answers"):
            setattr(held, name, getattr(self, name).copy())
        return held

    def body(self, kind: type[_B]) -> _B | None:
        """What was said last of this kind in this epoch."""
        report = self.reports.get(kind.topic)
        return report.body if report is not None and isinstance(report.body, kind) else None

    @property
    def summary(self) -> Summary | None:
        return self.body(Summary)

    @property
    def workers(self) -> Workers | None:
        return self.body(Workers)

    @property
    def functions(self) -> Functions | None:
        return self.body(Functions)

    @property
    def clients(self) -> Clients | None:
        return self.body(Clients)

    @property
    def hosts(self) -> Hosts | None:
        return self.body(Hosts)

    @property
    def failures(self) -> Failures | None:
        return self.body(Failures)

    def answer(self, topic: str) -> Task | Stack | None:
        report = self.answers.get(topic)
        return report.body if report is not None and isinstance(report.body, Task | Stack) else None

    def clock_ns(self) -> int:
        """Of the newest report, by the scheduler's clock."""
        return max((report.clock_ns for report in self.reports.values()), default=0)

    def wall_ns(self) -> int:
        """Of the newest report."""
        return max((report.wall_ns for report in self.reports.values()), default=0)

    def wall_of_ns(self, clock_ns: int) -> int:
        """When something was, since 1970, of which the scheduler's clock is known."""
        return self.wall_ns() - (self.clock_ns() - clock_ns)

    def function_names(self) -> dict[int, str]:
        return _by_number(self.functions)

    def host_names(self) -> dict[int, str]:
        return _by_number(self.hosts)

    def worker_names(self) -> dict[int, str]:
        return _by_number(self.workers)


def _by_number(table: Functions | Hosts | Workers | None) -> dict[int, str]:
    return dict(zip(table.number, table.name, strict=True)) if table is not None else {}


def _ended(functions: Functions) -> Iterable[int]:
    return map(sum, zip(functions.succeeded, functions.failed, functions.cancelled, strict=True))


def _grown(now: int, before: int) -> int:
    return max(0, now - before)


def _tally_rates(now: Tally, before: Tally, seconds: float) -> dict[str, float]:
    then = before.as_dict()
    return {name: _grown(count, then.get(name, 0)) / seconds for name, count in now.as_dict().items()}
