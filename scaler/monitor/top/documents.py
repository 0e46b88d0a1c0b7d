"""What is no screen: all tables as one JSON document, or as text.

Rule 1: a document is one line, and holds numbers as the scheduler has counted them; where a float is no number, null.
"""

import json
import math
from array import array
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from scaler.monitor.events import Event
from scaler.monitor.histogram import least_in, quantile_ns
from scaler.monitor.report import Events, Functions, Histograms, Table, Tally
from scaler.monitor.top.facts import task_id
from scaler.monitor.top.header import header
from scaler.monitor.top.latest import Latest
from scaler.monitor.top.line import Line, text_of
from scaler.monitor.top.settings import Settings
from scaler.monitor.top.table import Filter, fitting, heading, natural, nothing, order, row_line
from scaler.monitor.top.views import VIEWS
from scaler.monitor.top.views.tasks import outcome

MOST_EVENTS = 1000  # in one document
WIDEST = 160
_ONCE = ("workers", "functions", "clients", "failures", "hosts")


def document(latest: Latest) -> str:
    """All tables of one round as JSON, in one line."""
    newest = max(latest.reports.values(), key=lambda report: report.number)
    made: dict[str, Any] = {
        "epoch": newest.epoch,
        "number": newest.number,
        "wall_ns": newest.wall_ns,
        "clock_ns": newest.clock_ns,
        "ended_per_second": latest.ended_rate[-1] if latest.ended_rate else None,
    }
    for topic, report in latest.reports.items():
        made[topic] = _events(latest) if isinstance(report.body, Events) else _plain(report.body)
        if isinstance(report.body, Functions):
            _add_quantiles(made[topic], report.body)
    return json.dumps(_without_nan(made), ensure_ascii=True, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Tally):
        return value.as_dict()
    if isinstance(value, Table):
        return list(_rows(value))
    if is_dataclass(value):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, array):
        return list(value)
    return value


def _rows(table: Table) -> Iterator[dict[str, Any]]:
    columns: dict[str, Any] = {}
    for each in fields(table):
        column = getattr(table, each.name)
        columns[each.name] = _buckets(column) if isinstance(column, Histograms) else column
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        if "task" in row:  # a number of 64 bits is none in JavaScript
            row["task"] = task_id(row["task"]) if row["task"] else None
        yield row


def _buckets(histograms: Histograms) -> list[list[list[int]]]:
    """Of each row: least value in ns, and how many."""
    return [[[least_in(bucket), count] for bucket, count in histograms[row].items()] for row in range(len(histograms))]


def _add_quantiles(rows: list[dict[str, Any]], functions: Functions) -> None:
    for at, row in enumerate(rows):
        for name, table in (("duration", functions.durations), ("queued", functions.queued)):
            row[f"{name}_p50_ns"], row[f"{name}_p99_ns"] = (quantile_ns(table[at], each) for each in (0.5, 0.99))


def _events(latest: Latest) -> dict[str, Any]:
    newest: list[Event] = list(latest.events)[-MOST_EVENTS:]
    tasks = [{**each._asdict(), "task": task_id(each.task), "outcome": outcome(each)} for each in newest]
    return {"written": latest.events_written, "lost": latest.events_lost, "newest": tasks}


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return value


def screen_text(latest: Latest, address: str, settings: Settings, cells: int | None) -> str:
    """Header and tables, all rows of them. `cells` is how wide it may be; None: as wide as it is, if need be."""
    lines: list[Line | str] = list(header(latest, address, cells or WIDEST, 99, []))
    for view in VIEWS:
        rows = view.rows_of(latest) if view.name in _ONCE else None
        if rows is None:
            continue
        choice = settings.choices[view.name]
        indexes = order(view, rows, choice, Filter(), hide_idle=False)
        columns = natural(view, rows, indexes) if cells is None else fitting(view, cells)
        lines += ["", f"{view.name}: {len(indexes)}"]
        if indexes:
            lines += [heading(view, columns, choice), *(row_line(columns, rows, row) for row in indexes)]
        else:
            lines.append(nothing(view, 0, Filter(), hide_idle=False))
    texts = (line if isinstance(line, str) else text_of(line) for line in lines)
    return "\n".join(text.rstrip() for text in texts) + "\n"
