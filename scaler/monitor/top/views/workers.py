"""Workers: a row for each, with what its host's supervisor (the agent) and its host say of themselves."""

import math
from collections.abc import Hashable

from scaler.monitor.report import (
    WORKER_ASIDE,
    WORKER_FULL,
    WORKER_RUNS,
    WORKER_STOPPING,
    WORKER_SUSPENDED,
    WORKER_WAITS,
    Hosts,
    Workers,
)
from scaler.monitor.top.facts import facts, task_id, title
from scaler.monitor.top.latest import Latest
from scaler.monitor.top.line import Line, Style, plain
from scaler.monitor.top.table import Column, View
from scaler.monitor.top.units import count, duration, nanoseconds, share, size

# The first of them that a worker's state has is what is shown of it.
_STATES = (
    (WORKER_STOPPING, "stopping", Style.BAD),
    (WORKER_FULL, "full", Style.WARNING),
    (WORKER_SUSPENDED, "suspended", Style.WARNING),
    (WORKER_ASIDE, "earlier", Style.WARNING),
    (WORKER_WAITS, "waits", Style.WARNING),
    (WORKER_RUNS, "runs", Style.GOOD),
)
_IDLE = "idle"


class WorkerRows:
    """Workers beside their hosts and functions."""

    def __init__(self, latest: Latest, workers: Workers) -> None:
        self.workers = workers
        self.hosts = latest.hosts if latest.hosts is not None else Hosts()
        self.host_rows = {number: row for row, number in enumerate(self.hosts.number)}
        self.functions = latest.function_names()
        self.busy = latest.worker_busy
        self.clock_ns = latest.clock_ns()

    def __len__(self) -> int:
        return len(self.workers)

    @classmethod
    def of(cls, latest: Latest) -> "WorkerRows | None":
        return cls(latest, latest.workers) if latest.workers is not None else None

    def host_value(self, row: int, column: str) -> float:
        """Of the worker's host; -1 as long as nothing is known of that."""
        host_row = self.host_rows.get(self.workers.host[row])
        if host_row is None:
            return -1
        value: float = getattr(self.hosts, column)[host_row]
        return -1 if math.isnan(value) else value

    def host_name(self, row: int) -> str:
        host_row = self.host_rows.get(self.workers.host[row])
        return self.hosts.name[host_row] if host_row is not None else ""

    def state(self, row: int) -> tuple[str, Style]:
        bits = self.workers.state[row]
        for bit, word, style in _STATES:
            if bits & bit:
                return word, style
        return _IDLE, Style.FAINT

    def queued(self, row: int) -> int:
        held: int = self.workers.held[row]
        return max(0, held - bool(self.workers.state[row] & WORKER_RUNS))

    def suspended(self, row: int) -> int:
        return int(bool(self.workers.state[row] & (WORKER_WAITS | WORKER_SUSPENDED)))

    def function(self, row: int) -> str:
        number = self.workers.function[row]
        return self.functions.get(number, f"function {number}") if number else ""

    def busy_share(self, row: int) -> float:
        return self.busy.get(self.workers.number[row], -1.0)


def _or_dash(text: str, value: float) -> str:
    return text if value >= 0 else "-"


def _share(value: float) -> str:
    return _or_dash(share(value), value)


def _size(value: float) -> str:
    return _or_dash(size(max(0, value)), value)


def _lag(value: float) -> str:
    return _or_dash(nanoseconds(value), value)


def _cpu(rows: WorkerRows, row: int) -> float:
    value = rows.workers.cpu_share[row]
    return -1.0 if math.isnan(value) else value


def _details(latest: Latest, identity: Hashable) -> list[Line]:
    rows = WorkerRows.of(latest)
    row = next((row for row, number in enumerate(rows.workers.number) if number == identity), None) if rows else None
    if rows is None or row is None:
        return [title(f"worker {identity}"), plain("it has gone")]
    workers = rows.workers
    seconds = max(0, rows.clock_ns - workers.joined_ns[row]) / 1e9
    function = rows.function(row)
    since = duration((rows.clock_ns - workers.since_ns[row]) / 1e9)
    return [
        title(f"worker {workers.name[row]}"),
        *facts(
            [
                ("state", rows.state(row)[0]),
                ("runs", f"{function} for {since}" if workers.task[row] else "nothing"),
                ("task", task_id(workers.task[row]) if workers.task[row] else ""),
                ("queued", f"{rows.queued(row)}, expected to take {nanoseconds(workers.load_ns[row])}"),
                ("free slots", str(workers.free[row])),
                ("sent", str(workers.sent[row])),
                ("succeeded", str(workers.succeeded[row])),
                ("failed", str(workers.failed[row])),
                ("in place", str(workers.in_place[row])),
                ("busy", f"{share(workers.busy_ns[row] / 1e9 / seconds)} since it joined" if seconds else ""),
                ("cpu", _share(_cpu(rows, row))),
                ("rss", size(workers.rss_bytes[row])),
                ("process", f"{workers.pid[row]} on {rows.host_name(row) or 'a host that is not known yet'}"),
                ("joined", f"{duration(seconds)} ago"),
                ("number", str(workers.number[row])),
            ]
        ),
    ]


WORKERS = View(
    name="workers",
    about="A row for each worker. The agent is the supervisor of the worker's host.",
    topics=("workers", "hosts", "functions"),
    columns=(
        Column("name", "its name", 12, lambda rows, row: rows.workers.name[row], key="n", is_text=True, is_name=True,
               grows=True),
        Column(
            "state",
            "runs, waits (its task waits for another task), full (its rings have no room), stopping, suspended, "
            "earlier (still runs what an earlier scheduler gave it), idle",
            7, lambda rows, row: rows.state(row)[0], style=lambda rows, row: rows.state(row)[1], is_text=True, rank=2,
        ),
        Column("a.cpu", "the agent's processor time, of one core", 5,
               lambda rows, row: rows.host_value(row, "agent_cpu_share"), _share, key="C"),
        Column("a.rss", "the agent's memory", 5,
               lambda rows, row: rows.host_value(row, "agent_rss_bytes"), _size, key="M"),
        Column("cpu", "the worker's processor time, of one core", 5, _cpu, _share, key="c"),
        Column("rss", "the worker's memory", 5, lambda rows, row: rows.workers.rss_bytes[row], size, key="m"),
        Column("mfree", "memory that is available on its host", 5,
               lambda rows, row: rows.host_value(row, "memory_free_bytes"), _size, key="F"),
        Column("slots", "tasks that it may still be given", 5,
               lambda rows, row: rows.workers.free[row], count, key="f"),
        Column("sent", "calls that it was ever given", 7, lambda rows, row: rows.workers.sent[row], count, key="w"),
        Column("queued", "tasks that it has besides the one that it runs", 6,
               lambda rows, row: rows.queued(row), count, key="d"),
        Column("susp", "1 if its task waits for another task, or it is suspended", 4,
               lambda rows, row: rows.suspended(row), key="s"),
        Column("lag", "how late its host's last heartbeat came; 0 on the scheduler's host", 5,
               lambda rows, row: rows.host_value(row, "lag_ns"), _lag, key="l"),
        Column("busy", "share of the time that it was at tasks which it has answered since the last report", 5,
               lambda rows, row: rows.busy_share(row), _share, rank=3),
        Column("runs", "the function that it runs", 14, lambda rows, row: rows.function(row),
               is_text=True, grows=True, rank=4),
        Column("host", "its host", 10, lambda rows, row: rows.host_name(row), is_text=True, rank=5),
    ),
    rows_of=WorkerRows.of,
    identity=lambda rows, row: rows.workers.number[row],
    is_idle=lambda rows, row: not rows.workers.held[row] and not rows.workers.state[row],
    details=_details,
    task_of=lambda rows, row: rows.workers.task[row],
    task_runs=True,
    searched=("name", "state", "runs", "host"),
)  # fmt: skip
