"""The scheduler itself: all its counts, one to a row."""

import dataclasses
from collections.abc import Hashable
from typing import NamedTuple

from scaler.monitor.report import Summary
from scaler.monitor.top.facts import facts, paragraph, section, title
from scaler.monitor.top.latest import Latest
from scaler.monitor.top.line import Line
from scaler.monitor.top.table import Column, View
from scaler.monitor.top.units import exact, rate, size

# What each count of calls means; the first is the sum of the nine after it, the last six are besides.
COUNTS = {
    "submitted": "by clients; the sum of those down to `doomed`",
    "succeeded": "returned",
    "failed": "raised an exception, were lost with their worker, or were refused",
    "cancelled": "as soon as they are; their worker may still be at it",
    "waiting": "for results of other tasks",
    "ready": "to be placed on a worker",
    "held_back": "sent again after a restart; a worker may have them",
    "placed": "on a worker, running or next",
    "lent": "to the task that waits for them",
    "doomed": "their worker has died; how is being found out",
    "stopping": "cancelled, and still on a worker",
    "unread": "ended, and there is no room yet to tell the client",
    "kept": "ended, and the result is kept for dependants",
    "in_place": "run in place by the tasks that made them",
    "retried": "runs beyond the first",
    "stopped": "ended by force: a time limit, or a cancel that came late",
}


class Row(NamedTuple):
    kind: str
    name: str
    value: int
    about: str = ""
    is_bytes: bool = False
    rate: float = -1.0


class SchedulerRows:
    def __init__(self, latest: Latest, summary: Summary) -> None:
        counts = dataclasses.asdict(summary.counts)
        self.rows = [Row("calls", name.replace("_", " "), counts[name], about) for name, about in COUNTS.items()]
        self.rows += [
            Row("messages", name, number, rate=latest.message_rates.get(name, -1.0))
            for name, number in summary.messages.as_dict().items()
        ]
        self.rows += [Row("refusals", name, number) for name, number in summary.refusals.as_dict().items()]
        self.rows += [
            Row("restarts", name, number, "workers replaced for this reason")
            for name, number in summary.restarts.as_dict().items()
        ]
        self.rows += [
            Row("memory", "scheduler", summary.rss_bytes, "of its process", True),
            Row("memory", "queued", summary.queued_bytes, "rows and payloads of tasks", True),
            Row("memory", "objects", summary.object_bytes, f"of {summary.objects} objects", True),
            Row("memory", "kept results", summary.kept_result_bytes, "for dependants", True),
            Row("memory", "shm free", summary.shared_memory_free_bytes, "of /dev/shm on its host", True),
            Row("memory", "shm in all", summary.shared_memory_total_bytes, "", True),
            Row("recorder", "events", summary.recorder.written, "ever written"),
        ]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, latest: Latest) -> "SchedulerRows | None":
        return cls(latest, latest.summary) if latest.summary is not None else None

    def value_text(self, row: int) -> str:
        chosen = self.rows[row]
        return size(chosen.value) if chosen.is_bytes else exact(chosen.value)


def _details(latest: Latest, identity: Hashable) -> list[Line]:
    summary = latest.summary
    if summary is None:
        return [title("scheduler")]
    return [
        title(f"scheduler at {summary.address}"),
        *facts(
            [
                ("version", summary.scheduler_version),
                ("Python", summary.python_version),
                ("monitor", summary.monitor_address),
                ("process", f"{summary.pid} on {summary.host_name}"),
                ("recorder", summary.recorder.segment),
            ]
        ),
        *section("what is wrong just now", [line for text in summary.warnings for line in paragraph(text)]),
    ]


SCHEDULER = View(
    name="scheduler",
    about="All counts of the scheduler: calls by where they stand, messages by kind, refusals, restarts, memory.",
    topics=(),
    columns=(
        Column("what", "which of its counts", 10, lambda rows, row: rows.rows[row].kind, is_text=True, key="d"),
        Column("name", "of what", 26, lambda rows, row: rows.rows[row].name, is_text=True, key="n"),
        Column("value", "how many, or how many bytes", 14,
               lambda rows, row: (rows.rows[row].value, rows.value_text(row)), lambda pair: pair[1], key="w"),
        Column("rate", "a second", 9, lambda rows, row: rows.rows[row].rate,
               lambda value: rate(value) if value >= 0 else "", key="c"),
        Column("about", "what that means", 12, lambda rows, row: rows.rows[row].about, is_text=True, grows=True,
               rank=3),
    ),
    rows_of=SchedulerRows.of,
    identity=lambda rows, row: rows.rows[row][:2],
    is_idle=lambda rows, row: not rows.rows[row].value,
    details=_details,
    searched=("what", "name", "about"),
)  # fmt: skip
