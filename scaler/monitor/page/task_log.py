"""The task log: the last tasks, newest first, by function, worker, outcome and duration; and one task with all that is
known of it.

What each task was called with is known to nobody but its client and its worker, so "again" is how to write the call,
not the call itself.

Rule 1: a filter looks at every task that is kept, and the answer says how many match and how many of them are shown.
"""

from typing import Any

import numpy as np

from scaler.monitor.events import OUTCOMES
from scaler.monitor.page.arguments import Arguments
from scaler.monitor.page.history import History
from scaler.monitor.page.message import Columns, View, block, clean
from scaler.monitor.page.task_store import Rows
from scaler.monitor.report import Report, Stack, Task, task_topic

MOST_ROWS = 500
RECENT_ROWS = 50
MOST_TASKS_ASKED = 32


def tasks(history: History, arguments: Arguments) -> View:
    """The log."""
    by_function, by_worker = arguments.filter("function"), arguments.filter("worker")
    functions = np.array([by_function(name) for name in history.functions.names], bool)
    lanes = np.array([by_worker(name) for name in history.workers.names], bool)
    outcome, task = arguments.text("outcome"), arguments.task("task")
    least_ns = arguments.number("least_s", 0, 0, 1e9) * 1e9
    most = arguments.whole("most", MOST_ROWS, 1, 100_000)
    found: list[Rows] = []
    matched = wanted = 0
    for part in history.tasks.parts():
        mask = np.ones(len(part), bool)
        if not functions.all():
            mask &= functions[part["function"]]
        if not lanes.all():
            mask &= lanes[part["lane"]]
        if outcome == "bad":
            mask &= part["outcome"] != 0
        elif outcome in OUTCOMES:
            mask &= part["outcome"] == OUTCOMES.index(outcome)
        if least_ns:
            mask &= part["end_ns"] - part["start_ns"] >= least_ns
        if task:
            mask &= part["task"] == task
        where = np.flatnonzero(mask)
        matched += len(where)
        take = where[::-1][: most - wanted]
        wanted += len(take)
        found.append(part[take])
    rows = np.concatenate(found)
    data = {"matched": matched, "kept": len(history.tasks), "shown": len(rows), "outcomes": list(OUTCOMES)}
    return View(data, {"rows": _columns(history, rows)})


def recent_of(history: History, lane: int = -1, function: int = -1) -> Columns:
    """The last tasks of a lane or of a function."""
    found: list[Rows] = []
    wanted = RECENT_ROWS
    for part in history.tasks.parts():
        mask = part["lane"] == lane if lane >= 0 else part["function"] == function
        take = np.flatnonzero(mask)[::-1][:wanted]
        wanted -= len(take)
        found.append(part[take])
    return _columns(history, np.concatenate(found))


def _columns(history: History, rows: Rows) -> Columns:
    functions, workers = history.functions.names, history.workers.names
    return {
        "end": rows["end_ns"] / 1e9,
        "outcome": rows["outcome"],
        "function": [functions[i] for i in rows["function"]],
        "worker": [workers[i] for i in rows["lane"]],
        "duration_s": (rows["end_ns"] - rows["start_ns"]) / 1e9,
        "queued_s": rows["queued_s"].astype(np.float64),
        "calls": rows["calls"],
        "task": np.ascontiguousarray(rows["task"]),
    }


def asked_topics(arguments: Arguments) -> list[str]:
    """What to subscribe to while somebody looks at this task."""
    task = arguments.task("task")
    if not task:
        return []
    return [task_topic("task", task), *([task_topic("stack", task)] if arguments.text("stack") else [])]


def task(history: History, arguments: Arguments) -> View:
    """One task: its last event, where it stands, its stack, its failure's traceback, and how to call it again."""
    number = arguments.task("task")
    if not number:
        return View({"problem": "a task's id has up to 16 hexadecimal digits"}, {})
    data: dict[str, Any] = {"task": f"{number:016x}"}
    events = history.tasks.find(number)
    name = history.functions.names[int(events["function"][0])] if len(events) else ""
    stands, stack = (history.answers.get(task_topic(kind, number)) for kind in ("task", "stack"))
    if stands is not None and isinstance(stands.body, Task):
        name = stands.body.function_name or name
        data["stands"] = _stands(history, stands, stands.body)
    if stack is not None and isinstance(stack.body, Stack):
        data["stack"] = {"text": block(stack.body.text), "problem": clean(stack.body.problem)}
    failure = history.failed.get(number)
    if failure is not None:
        data["failure"] = {name: block(text) for name, text in failure._asdict().items()}
    data["function"] = clean(name)
    data["again"] = again(name)
    return View(data, {"events": _columns(history, events)})


def _stands(history: History, report: Report, body: Task) -> dict[str, Any]:
    facts = {
        clean(name).removesuffix("_ns").removesuffix("_ms").replace("_", " "): fact(name, int(value), report.clock_ns)
        for name, value in body.facts.as_dict().items()
    }
    return {
        "state": clean(body.state),
        "sentence": block(body.sentence),
        "facts": facts,
        "worker": clean(body.worker_name),
        "inputs": [f"{each:016x}" for each in body.inputs[:100]],
        "age_s": (history.now_ns - report.wall_ns) / 1e9,
    }


def fact(name: str, value: int, clock_ns: int) -> str:
    """A fact of an explanation in words: its name says what it is."""
    if name.endswith("since_ns"):
        return f"{max(0, clock_ns - value) / 1e9:,.3g} s ago" if value else "not yet"
    if name.endswith("_ns"):
        return f"{value / 1e9:,.3g} s"
    if name.endswith("_ms"):
        return f"{value / 1e3:,.3g} s" if value else "none"
    if value > 1 << 40:  # a task's id has its client in its high bits
        return f"{value:016x}"
    return f"{value:,}"


def again(name: str) -> str:
    """How to submit another call of the function of this name."""
    module, _, function = name.rpartition(".")
    parts = name.split(".")
    if not function or not all(part.isidentifier() for part in parts):
        return f"# {clean(name) or 'this function'} has no name that can be imported\nfuture = client.submit(...)"
    if module == "__main__":
        return f"# in the script itself, where {function} is defined\nfuture = client.submit({function}, ...)"
    return (
        f"from {module} import {function}\n\nfuture = client.submit({function}, ...)"
        if module
        else (f"future = client.submit({function}, ...)")
    )
