"""Tasks: those that ended last, the newest first. What runs just now stands in the table of workers."""

from collections.abc import Hashable

from scaler.monitor.events import OUTCOMES, Event
from scaler.monitor.report import Events
from scaler.monitor.top.facts import facts, moment, task_id, title
from scaler.monitor.top.latest import Latest
from scaler.monitor.top.line import Line, Style
from scaler.monitor.top.table import Column, View
from scaler.monitor.top.units import duration

_LOW_BITS = 0xFFFF


class TaskRows:
    def __init__(self, latest: Latest) -> None:
        self.events = list(reversed(latest.events))
        self.functions = latest.function_names()
        self.workers = {number & _LOW_BITS: name for number, name in latest.worker_names().items()}
        self.clock_ns = latest.clock_ns()

    def __len__(self) -> int:
        return len(self.events)

    @classmethod
    def of(cls, latest: Latest) -> "TaskRows | None":
        return cls(latest) if Events.topic in latest.reports else None

    def function(self, row: int) -> str:
        number = self.events[row].function
        return self.functions.get(number, f"function {number}") if number else ""

    def worker(self, row: int) -> str:
        number = self.events[row].worker
        return self.workers.get(number, f"worker {number}") if number else ""

    def age_s(self, row: int) -> float:
        return (self.clock_ns - self.events[row].end_ns) / 1e9

    def style(self, row: int) -> Style:
        return Style.GOOD if self.events[row].outcome == 0 else Style.BAD


def outcome(event: Event) -> str:
    return OUTCOMES[event.outcome] if event.outcome < len(OUTCOMES) else f"outcome {event.outcome}"


def _details(latest: Latest, identity: Hashable) -> list[Line]:
    rows = TaskRows(latest)
    row = next((row for row, event in enumerate(rows.events) if event.task == identity), None)
    name = task_id(identity) if isinstance(identity, int) else "?"
    if row is None:
        return [title(f"task {name}")]
    event = rows.events[row]
    return [
        title(f"task {name}"),
        *facts(
            [
                ("function", rows.function(row)),
                ("worker", rows.worker(row)),
                ("ended", f"{moment(latest.wall_of_ns(event.end_ns))}, {duration(rows.age_s(row))} ago"),
                ("outcome", outcome(event)),
                ("took", duration(event.duration_s) + (f" for {event.calls} calls" if event.calls > 1 else "")),
                ("waited", f"{duration(event.queued_s)} for a worker, once it could run"),
            ]
        ),
    ]


TASKS = View(
    name="tasks",
    about="The tasks that ended last, the newest first; a chunk of a map is one row. Enter asks where a task stands.",
    topics=("events", "functions", "workers"),
    columns=(
        Column("task", "its id", 16, lambda rows, row: task_id(rows.events[row].task), is_text=True, key="d"),
        Column("function", "whose call it was", 14, lambda rows, row: rows.function(row), key="n", is_text=True,
               is_name=True, grows=True),
        Column("outcome", "succeeded, failed, cancelled, lost (with its worker), stopped (at its time limit), refused",
               9, lambda rows, row: outcome(rows.events[row]), is_text=True, key="f",
               style=lambda rows, row: rows.style(row)),
        Column("took", "how long it ran", 6, lambda rows, row: rows.events[row].duration_s, duration, key="c"),
        Column("waited", "how long it waited for a worker, once it could run", 6,
               lambda rows, row: rows.events[row].queued_s, duration, key="l"),
        Column("worker", "that ran it", 12, lambda rows, row: rows.worker(row), key="w", is_text=True, rank=2),
        Column("ago", "when it ended", 6, lambda rows, row: rows.age_s(row), duration, key="s"),
        Column("calls", "in it: 1, or of a chunk; 255 means at least so many", 5,
               lambda rows, row: rows.events[row].calls, rank=3, key="m"),
    ),
    rows_of=TaskRows.of,
    identity=lambda rows, row: rows.events[row].task,
    is_idle=lambda rows, row: rows.events[row].outcome == 0,
    details=_details,
    task_of=lambda rows, row: rows.events[row].task,
    searched=("task", "function", "outcome", "worker"),
)  # fmt: skip
