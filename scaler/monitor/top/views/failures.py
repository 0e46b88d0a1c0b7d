"""Failures: failed calls by exception and the line that raised it, with the traceback of the last one."""

from collections.abc import Hashable

from scaler.monitor.report import Failures
from scaler.monitor.top.facts import facts, moment, paragraph, section, task_id, title
from scaler.monitor.top.latest import Latest
from scaler.monitor.top.line import Line, Style, plain
from scaler.monitor.top.table import Column, View
from scaler.monitor.top.units import count, duration


class FailureRows:
    def __init__(self, latest: Latest, failures: Failures) -> None:
        self.failures = failures
        self.functions = latest.function_names()
        self.clock_ns = latest.clock_ns()

    def __len__(self) -> int:
        return len(self.failures)

    @classmethod
    def of(cls, latest: Latest) -> "FailureRows | None":
        return cls(latest, latest.failures) if latest.failures is not None else None

    def function(self, row: int) -> str:
        number = self.failures.function[row]
        return self.functions.get(number, f"function {number}") if number else ""

    def identity(self, row: int) -> Hashable:
        failures = self.failures
        return failures.exception[row], failures.place[row], failures.function[row]

    def age_s(self, row: int) -> float:
        return (self.clock_ns - self.failures.last_ns[row]) / 1e9


def _details(latest: Latest, identity: Hashable) -> list[Line]:
    rows = FailureRows.of(latest)
    row = next((row for row in range(len(rows)) if rows.identity(row) == identity), None) if rows else None
    if rows is None or row is None:
        return [title("failure"), plain("others have failed since, and no more than 256 kinds are kept")]
    failures = rows.failures
    worker = failures.worker[row]
    return [
        title(failures.exception[row]),
        *facts(
            [
                ("calls", str(failures.count[row])),
                ("function", rows.function(row)),
                ("raised at", failures.place[row]),
                ("first", moment(latest.wall_of_ns(failures.first_ns[row]))),
                ("last", f"{moment(latest.wall_of_ns(failures.last_ns[row]))}, {duration(rows.age_s(row))} ago"),
                ("its task", task_id(failures.task[row])),
                ("its worker", latest.worker_names().get(worker, f"worker {worker}") if worker else ""),
            ]
        ),
        *section("message of the last one", paragraph(failures.message[row], Style.BAD)),
        *section("traceback of the last one", paragraph(failures.traceback[row])),
    ]


FAILURES = View(
    name="failures",
    about="A row for each exception and line that raised it; the 256 that failed last. Enter shows the traceback.",
    topics=("failures", "functions", "workers"),
    columns=(
        Column("exception", "its type", 18, lambda rows, row: rows.failures.exception[row], key="n",
               is_text=True, style=lambda rows, row: Style.BAD),
        Column("count", "calls that failed so", 8, lambda rows, row: rows.failures.count[row], count, key="w"),
        Column("last", "how long ago the last one was", 6, lambda rows, row: rows.age_s(row), duration, key="l"),
        Column("function", "whose calls", 12, lambda rows, row: rows.function(row), key="f", is_text=True, rank=2),
        Column("message", "of the last one", 14, lambda rows, row: rows.failures.message[row], key="m",
               is_text=True, grows=True, rank=3),
        Column("raised at", "file, line and function", 26, lambda rows, row: rows.failures.place[row], key="c",
               is_text=True, rank=4),
    ),
    rows_of=FailureRows.of,
    identity=lambda rows, row: rows.identity(row),
    is_idle=lambda rows, row: rows.age_s(row) > 60,
    details=_details,
    sort="count",
    searched=("exception", "function", "message", "raised at"),
)  # fmt: skip
