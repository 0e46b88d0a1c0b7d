"""The task stream: a window of time over the lanes of workers.

With at most MOST_SINGLE tasks in the window each comes by itself, and can be hovered and opened. With more it is cells,
one for each pixel (pyramid). What runs just now has not ended and so is in neither: it comes beside them, or is added
to the cells.

Rule 1: the answer says how many tasks ended in the window by the scheduler's count, and how many of them came here.
        Under load a scheduler leaves events out, and a picture that kept quiet about it would be a lie.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from scaler.monitor.page.arguments import Arguments
from scaler.monitor.page.history import History
from scaler.monitor.page.message import Columns, View, clean
from scaler.monitor.page.pyramid import Cells
from scaler.monitor.report import WORKER_RUNS, Workers

MOST_SINGLE = 20_000
MOST_COLUMNS, MOST_ROWS = 2000, 512
NOTHING = 255  # the place of no function
Ints = npt.NDArray[np.int64]


def stream(history: History, arguments: Arguments) -> View:
    span_s = arguments.number("span", 60, 1e-5, 86400)
    live_end_s = history.now_ns / 1e9
    end_s = arguments.number("end", live_end_s, 0, 1e11) or live_end_s
    begin_ns, end_ns = int((end_s - span_s) * 1e9), int(end_s * 1e9)
    columns = arguments.whole("columns", 600, 10, MOST_COLUMNS)
    lanes = shown_lanes(history, arguments)
    rows = max(1, min(arguments.whole("rows", 100, 1, MOST_ROWS), max(1, len(lanes))))
    written, seen = history.events_between(begin_ns, end_ns)
    data: dict[str, Any] = {
        "begin": begin_ns / 1e9,
        "end": end_ns / 1e9,
        "now": live_end_s,
        "rows": rows,
        "columns": columns,
        "written": written,
        "seen": seen,
        "functions": [clean(name, 120) for name in history.functions.names[:1024]],
    }
    names = [history.workers.names[lane] for lane in lanes]
    if not len(lanes):
        return View(data, {"lanes": {"name": names}})
    is_shown = np.zeros(len(history.workers.names), bool)
    is_shown[lanes] = True
    tables: dict[str, Columns] = {}
    if seen <= 20 * MOST_SINGLE:
        found = history.tasks.between(begin_ns, end_ns, is_shown)
        if len(found) <= MOST_SINGLE and _are_all_kept(history, begin_ns):
            data["shown"], data["rows"] = len(found), len(lanes)
            tables["tasks"] = {
                "row": _rows_of(history, lanes)[found["lane"]],
                "start": (found["start_ns"] - begin_ns) / 1e9,
                "duration": (found["end_ns"] - found["start_ns"]) / 1e9,
                "function": found["function"].astype(np.int32),
                "outcome": found["outcome"],
                "calls": found["calls"],
                "queued": found["queued_s"].astype(np.float64),
                "task": np.ascontiguousarray(found["task"]),
            }
            tables["running"] = _running(history, lanes, begin_ns)
    if not tables:
        cells = history.pyramid.cells(begin_ns, end_ns, columns, lanes, rows)
        cells = _with_running(cells, history, lanes, begin_ns, end_ns)
        data["palette"], function = _by_palette(cells.function)
        tables["cells"] = {
            "busy": (np.clip(cells.busy, 0, 1) * 255).round().astype(np.uint8).reshape(-1),
            "function": function.reshape(-1),
            "ended": np.minimum(cells.ended, 0xFFFF).astype(np.uint16).reshape(-1),
            "failed": np.minimum(cells.failed, 255).astype(np.uint8).reshape(-1),
        }
    tables["lanes"] = {"name": names}
    return View(data, tables)


def _by_palette(functions: npt.NDArray[np.int32]) -> tuple[list[int], npt.NDArray[np.uint8]]:
    """The functions that have most cells, and for each cell the place of its function among them.

    255 is for none; the rarest share 254 if there are so many.
    """
    numbers, counts = np.unique(functions[functions >= 0], return_counts=True)
    palette = numbers[np.argsort(-counts, kind="stable")][:NOTHING]
    places = np.full(int(numbers.max()) + 2 if len(numbers) else 1, NOTHING - 1, np.uint8)
    places[palette] = np.arange(len(palette))
    places[-1] = NOTHING  # of function -1
    return palette.tolist(), places[functions]


def shown_lanes(history: History, arguments: Arguments) -> Ints:
    """The lanes in their order: by name, those whose workers are there now, or that ran something in the last while."""
    is_wanted = arguments.filter("worker")
    names = history.workers.names
    rows = history.find(Workers)
    there = set(rows.name) if rows is not None and not arguments.text("gone") else set(names)
    chosen = sorted((name, lane) for lane, name in enumerate(names) if name in there and is_wanted(name))
    lanes = np.array([lane for _, lane in chosen], np.int64)
    first = arguments.whole("first", 0, 0, max(0, len(lanes) - 1))
    count = arguments.whole("lanes", len(lanes), 1, max(1, len(lanes)))
    return lanes[first : first + count]


def _are_all_kept(history: History, begin_ns: int) -> bool:
    """Whether the tasks of this time are still there one by one."""
    if history.tasks.added <= len(history.tasks):
        return True
    oldest = history.tasks.parts()[-1]
    return len(oldest) == 0 or int(oldest["end_ns"][0]) <= begin_ns


def _rows_of(history: History, lanes: Ints) -> npt.NDArray[np.int32]:
    rows = np.zeros(len(history.workers.names), np.int32)
    rows[lanes] = np.arange(len(lanes))
    return rows


def _running_now(history: History, lanes: Ints) -> tuple[Ints, Ints, Ints, npt.NDArray[np.uint64]]:
    """Row, beginning and function of what runs just now on these lanes, and its task."""
    body = history.find(Workers)
    nothing = np.zeros(0, np.int64)
    if body is None or not len(body):
        return nothing, nothing, nothing, nothing.astype(np.uint64)
    report = history.latest["workers"]
    here = np.array([history.workers.index_of(name) for name in body.name], np.int64)
    row = np.full(len(history.workers.names), -1, np.int64)
    row[lanes] = np.arange(len(lanes))
    keep = (np.asarray(body.state) & WORKER_RUNS > 0) & (row[here] >= 0) & (np.asarray(body.since_ns) > 0)
    since = np.asarray(body.since_ns).astype(np.int64) + (report.wall_ns - report.clock_ns)
    function = history.functions.translate(np.asarray(body.function)).astype(np.int64)
    return row[here][keep], since[keep], function[keep], np.asarray(body.task)[keep]


def _running(history: History, lanes: Ints, begin_ns: int) -> Columns:
    row, since, function, task = _running_now(history, lanes)
    return {
        "row": row.astype(np.int32),
        "start": (since - begin_ns) / 1e9,
        "function": function.astype(np.int32),
        "task": task.astype(np.uint64),
    }


def _with_running(cells: Cells, history: History, lanes: Ints, begin_ns: int, end_ns: int) -> Cells:
    """The cells, with what has run for longer than a pixel added to those since it began."""
    rows, columns = cells.busy.shape
    pixel_ns = (end_ns - begin_ns) / columns
    row, since, function, _ = _running_now(history, lanes)
    until = min(history.now_ns, end_ns)
    share = rows / len(lanes)
    busy, main = cells.busy.copy(), cells.function.copy()
    for lane_row, start, number in zip(row.tolist(), since.tolist(), function.tolist(), strict=True):
        first, last = max(0, int((start - begin_ns) // pixel_ns) + 1), int((until - begin_ns) // pixel_ns)
        if last > first:
            place = ((lane_row + 1) * rows - 1) // len(lanes)  # as the pyramid deals lanes out over rows
            busy[place, first:last] += share
            idle = main[place, first:last] < 0
            main[place, first:last][idle] = number
    return cells._replace(busy=busy, function=main)
