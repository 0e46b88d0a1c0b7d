"""Tables: what each view shows of the history, but for the task stream and the task log.

Rule 1: a function per view, from the history and the browser's arguments to values and columns. Each takes a few
        milliseconds for a thousand workers, and is called only for a view that somebody has open.
Rule 2: counts are the scheduler's, never sums of events.
Not here: stream_view, task_log.
"""

from typing import Any

import numpy as np

from scaler.monitor.histogram import least_in, quantile_ns
from scaler.monitor.page.alarms import alarms
from scaler.monitor.page.arguments import Arguments
from scaler.monitor.page.figures import COUNTED, OPEN
from scaler.monitor.page.history import History
from scaler.monitor.page.message import Columns, View, block, clean
from scaler.monitor.page.task_log import recent_of
from scaler.monitor.page.worker_history import COLUMNS as WORKER_FIGURES
from scaler.monitor.report import WORKER_RUNS, Clients, Counts, Failures, Functions, Hosts, Tally, Workers

DAY_S = 86400.0
OVERVIEW = (
    *(f"{name}_rate" for name in COUNTED),
    *OPEN,
    *("busy_share", "workers", "running", "worker_rss", "worker_cpu", "host_memory_used", "host_memory_total"),
    *("scheduler_cpu", "scheduler_rss", "scheduler_lag_s", "object_bytes", "queued_bytes", "shared_memory_used"),
)
_BESIDES = ("stopping", "unread", "kept", "in_place", "retried", "stopped")


def counts_of(counts: Counts) -> dict[str, int]:
    names = ("submitted", "succeeded", "failed", "cancelled", *OPEN, *_BESIDES)
    return {name: int(getattr(counts, name)) for name in names}


def overview(history: History, arguments: Arguments) -> View:
    span_s = arguments.number("span", 600, 30, 7 * DAY_S)
    end_s = history.now_ns / 1e9
    excerpt = history.series.excerpt(OVERVIEW, end_s - span_s, end_s)
    tables: dict[str, Columns] = {"series": {"time": excerpt.times, **excerpt.columns}, "functions": _busiest(history)}
    data: dict[str, Any] = {"alarms": alarms(history), "restarts": [each.first_ns / 1e9 for each in history.epochs][1:]}
    return View(data, tables)


def _busiest(history: History, most: int = 8) -> Columns:
    rows = history.find(Functions)
    if rows is None:
        return {"name": [], "share": np.zeros(0), "ended": np.zeros(0)}
    time = np.asarray(rows.duration_ns, np.float64)
    order = np.argsort(-time, kind="stable")[:most]
    return {
        "name": [rows.name[i] for i in order],
        "share": time[order] / max(1.0, time.sum()),
        "ended": np.asarray(rows.succeeded, np.float64)[order] + np.asarray(rows.failed, np.float64)[order],
    }


def _names(history: History, table: type[Functions] | type[Hosts]) -> dict[int, str]:
    rows = history.find(table)
    return dict(zip(rows.number, rows.name, strict=True)) if rows is not None else {}


def _ages(history: History, topic: str, clock_ns: Any) -> Any:
    """Seconds from each of these moments of the scheduler's clock to its last report; NaN where there was none."""
    moments = np.asarray(clock_ns, np.float64)
    ages = (history.latest[topic].clock_ns - moments) / 1e9
    return np.where(moments > 0, np.maximum(ages, 0), np.nan)


def workers(history: History, arguments: Arguments) -> View:
    rows = history.find(Workers)
    if rows is None:
        return View({}, {"rows": {"name": []}})
    functions, hosts = _names(history, Functions), _names(history, Hosts)
    is_running = np.asarray(rows.state) & WORKER_RUNS > 0
    free = dict(_free_memory(history))
    return View(
        {},
        {
            "rows": {
                "name": rows.name,
                "host": [hosts.get(number, f"host {number}") for number in rows.host],
                "state": rows.state,
                "function": [functions.get(number, f"function {number}") if number else "" for number in rows.function],
                "since_s": np.where(is_running, _ages(history, "workers", rows.since_ns), np.nan),
                "cpu_share": rows.cpu_share,
                "rss_bytes": rows.rss_bytes,
                "host_free_bytes": np.array([free.get(number, np.nan) for number in rows.host]),
                "free": rows.free,
                "held": rows.held,
                "load_s": np.asarray(rows.load_ns) / 1e9,
                "sent": rows.sent,
                "succeeded": rows.succeeded,
                "failed": rows.failed,
                "in_place": rows.in_place,
                "busy_s": np.asarray(rows.busy_ns) / 1e9,
                "task": rows.task,
                "pid": rows.pid,
                "joined_s": _ages(history, "workers", rows.joined_ns),
            }
        },
    )


def _free_memory(history: History) -> list[tuple[int, int]]:
    rows = history.find(Hosts)
    return list(zip(rows.number, rows.memory_free_bytes, strict=True)) if rows is not None else []


def worker(history: History, arguments: Arguments) -> View:
    """One worker, by its name."""
    name = arguments.text("name")
    rows, lane = history.find(Workers), history.workers.find(name)
    if lane is None:
        return View({"problem": f"no worker has been called {clean(name)!r} since this page began to look"}, {})
    times, figures = history.worker_history.of(lane)
    everyone = workers(history, arguments).tables["rows"]
    row: dict[str, Any] | None = None
    if rows is not None and name in rows.name:
        i = rows.name.index(name)
        row = {column: _plain(values[i]) for column, values in everyone.items()}
        row["task"] = f"{rows.task[i]:016x}" if rows.task[i] else ""
        row["number"] = rows.number[i]
    recent = recent_of(history, lane=lane)
    return View(
        {"name": clean(name), "row": row, "failures": _failures_of(history, rows, name)},
        {"recent": recent, "history": {"time": times, **{each: figures[each] for each in WORKER_FIGURES}}},
    )


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, str):
        return clean(value)
    number = float(value)
    return None if number != number else number


def _failures_of(history: History, rows: Workers | None, name: str) -> list[dict[str, Any]]:
    groups = history.find(Failures)
    if groups is None or rows is None or name not in rows.name:
        return []
    number = rows.number[rows.name.index(name)]
    return [
        {"exception": clean(row["exception"]), "message": clean(row["message"]), "place": clean(row["place"])}
        for row in groups.rows()
        if row["worker"] == number
    ][:20]


def failures(history: History, arguments: Arguments) -> View:
    rows = history.find(Failures)
    if rows is None:
        return View({}, {"rows": {"exception": []}})
    functions = _names(history, Functions)
    by_number = _names_of_workers(history)
    return View(
        {},
        {
            "rows": {
                "exception": rows.exception,
                "place": rows.place,
                "function": [functions.get(number, f"function {number}") for number in rows.function],
                "count": rows.count,
                "first_s": _ages(history, "failures", rows.first_ns),
                "last_s": _ages(history, "failures", rows.last_ns),
                "message": rows.message,
                "task": rows.task,
                "worker": [by_number.get(number, f"worker {number}" if number else "") for number in rows.worker],
            }
        },
    )


def _names_of_workers(history: History) -> dict[int, str]:
    rows = history.find(Workers)
    return dict(zip(rows.number, rows.name, strict=True)) if rows is not None else {}


def failure(history: History, arguments: Arguments) -> View:
    """One group's traceback, by exception, place and function."""
    rows = history.find(Failures)
    wanted = arguments.text("exception"), arguments.text("place")
    for row in rows.rows() if rows is not None else ():
        if (row["exception"][: len(wanted[0])], row["place"][: len(wanted[1])]) == wanted:
            return View({"traceback": block(row["traceback"]), "message": block(row["message"])}, {})
    return View({"traceback": "", "message": ""}, {})


def functions(history: History, arguments: Arguments) -> View:
    rows = history.find(Functions)
    if rows is None:
        return View({}, {"rows": {"name": []}})
    durations = [rows.durations[i] for i in range(len(rows))]
    queued = [rows.queued[i] for i in range(len(rows))]
    time = np.asarray(rows.duration_ns, np.float64)
    ended = np.asarray(rows.succeeded, np.float64) + np.asarray(rows.failed)

    def quantiles(histograms: list[dict[int, int]], share: float) -> Any:
        return np.array([quantile_ns(each, share) / 1e9 if each else np.nan for each in histograms])

    return View(
        {},
        {
            "rows": {
                "name": rows.name,
                "submitted": rows.submitted,
                "succeeded": rows.succeeded,
                "failed": rows.failed,
                "cancelled": rows.cancelled,
                "placed": rows.placed,
                "share": time / max(1.0, time.sum()),
                "mean_s": np.divide(time / 1e9, ended, out=np.full(len(rows), np.nan), where=ended > 0),
                "p50_s": quantiles(durations, 0.5),
                "p99_s": quantiles(durations, 0.99),
                "queue_p50_s": quantiles(queued, 0.5),
                "queue_p99_s": quantiles(queued, 0.99),
                "last_s": _ages(history, "functions", rows.last_ns),
                "is_gone": rows.is_gone,
            }
        },
    )


def function(history: History, arguments: Arguments) -> View:
    """One function's histograms, by its name."""
    rows, name = history.find(Functions), arguments.text("name")
    if rows is None or name not in rows.name:
        return View({"problem": f"the scheduler knows no function {clean(name)!r} just now"}, {})
    i = rows.name.index(name)
    tables: dict[str, Columns] = {}
    for table, counts in (("durations", rows.durations[i]), ("queued", rows.queued[i])):
        buckets = sorted(counts)
        tables[table] = {
            "from_s": np.array([least_in(bucket) / 1e9 for bucket in buckets]),
            "to_s": np.array([least_in(bucket + 1) / 1e9 for bucket in buckets]),
            "count": np.array([counts[bucket] for bucket in buckets], np.float64),
        }
    here = history.functions.find(name)
    tables["recent"] = recent_of(history, function=-1 if here is None else here)
    return View({"name": clean(name)}, tables)


def progress(history: History, arguments: Arguments) -> View:
    """How far each function's calls have come: a graph's progress, function by function."""
    rows = history.find(Functions)
    if rows is None:
        return View({}, {"rows": {"name": []}})
    submitted = np.asarray(rows.submitted, np.float64)
    done = [np.asarray(getattr(rows, name), np.float64) for name in ("succeeded", "failed", "cancelled", "placed")]
    waiting = np.maximum(0, submitted - sum(done))
    names = ("succeeded", "failed", "cancelled", "placed")
    return View(
        {},
        {
            "rows": {
                "name": rows.name,
                "submitted": submitted,
                **dict(zip(names, done, strict=True)),
                "waiting": waiting,
                "is_gone": rows.is_gone,
            }
        },
    )


def objects(history: History, arguments: Arguments) -> View:
    span_s = arguments.number("span", 600, 30, 7 * DAY_S)
    end_s = history.now_ns / 1e9
    names = ("object_bytes", "kept_result_bytes", "queued_bytes", "shared_memory_used", "worker_rss")
    excerpt = history.series.excerpt(names, end_s - span_s, end_s)
    summary, by_client, by_host = history.summary, history.find(Clients), history.find(Hosts)
    data: dict[str, Any] = {}
    if summary is not None:
        data = {
            name: int(getattr(summary, name))
            for name in (
                *("objects", "object_bytes", "kept_result_bytes", "queued_bytes"),
                *("shared_memory_total_bytes", "shared_memory_free_bytes"),
            )
        }
    tables: dict[str, Columns] = {}
    if by_client is not None:
        tables["clients"] = {
            "name": by_client.name,
            "objects": by_client.objects,
            "object_bytes": by_client.object_bytes,
            "kept_bytes": by_client.kept_bytes,
            "quota_bytes": by_client.quota_bytes,
        }
    if by_host is not None:
        tables["hosts"] = {
            "name": by_host.name,
            "objects": by_host.objects,
            "object_bytes": by_host.object_bytes,
            "shared_memory_total_bytes": by_host.shared_memory_total_bytes,
            "shared_memory_free_bytes": by_host.shared_memory_free_bytes,
        }
    tables["series"] = {"time": excerpt.times, **excerpt.columns}
    return View(data, tables)


def clients(history: History, arguments: Arguments) -> View:
    rows = history.find(Clients)
    if rows is None:
        return View({}, {"rows": {"name": []}})
    columns: dict[str, Any] = {"name": rows.name, "host": rows.host_name, "state": rows.state}
    for name in ("submitted", "succeeded", "failed", "cancelled", "waiting", "ready", "placed", "unread"):
        columns[name] = getattr(rows, name)
    columns |= {
        "kept_bytes": rows.kept_bytes,
        "quota_bytes": rows.quota_bytes,
        "objects": rows.objects,
        "object_bytes": rows.object_bytes,
        "pid": rows.pid,
        "joined_s": _ages(history, "clients", rows.joined_ns),
        "heard_s": _ages(history, "clients", rows.heard_ns),
    }
    return View({}, {"rows": columns})


def hosts(history: History, arguments: Arguments) -> View:
    rows = history.find(Hosts)
    if rows is None:
        return View({}, {"rows": {"name": []}})
    busy: dict[int, list[float]] = {}
    by_worker = history.find(Workers)
    if by_worker is not None:
        for host, state, rss in zip(by_worker.host, by_worker.state, by_worker.rss_bytes, strict=True):
            sums = busy.setdefault(host, [0.0, 0.0])
            sums[0] += bool(state & WORKER_RUNS)
            sums[1] += rss
    return View(
        {},
        {
            "rows": {
                "name": rows.name,
                "cluster": rows.cluster,
                "cores": rows.cores,
                "workers": rows.workers,
                "running": np.array([busy.get(number, (0.0, 0.0))[0] for number in rows.number]),
                "worker_rss_bytes": np.array([busy.get(number, (0.0, 0.0))[1] for number in rows.number]),
                "agent_cpu_share": rows.agent_cpu_share,
                "agent_rss_bytes": rows.agent_rss_bytes,
                "memory_total_bytes": rows.memory_total_bytes,
                "memory_free_bytes": rows.memory_free_bytes,
                "shared_memory_total_bytes": rows.shared_memory_total_bytes,
                "shared_memory_free_bytes": rows.shared_memory_free_bytes,
                "objects": rows.objects,
                "object_bytes": rows.object_bytes,
                "lag_s": np.asarray(rows.lag_ns) / 1e9,
                "heard_s": _ages(history, "hosts", rows.heard_ns),
                "agent_pid": rows.agent_pid,
            }
        },
    )


def settings(history: History, arguments: Arguments) -> View:
    """What the scheduler says of itself, and its tallies."""
    summary = history.summary
    if summary is None:
        return View({}, {})
    about = {
        "Scheduler's address": clean(summary.address),
        "Monitor address": clean(summary.monitor_address),
        "Version of scaler": clean(summary.scheduler_version),
        "Version of Python": clean(summary.python_version),
        "Host": clean(summary.host_name),
        "Process": str(summary.pid),
        "Recorder": f"{summary.recorder.written:,} events written, room for {summary.recorder.room:,}",
    }
    data = {
        "about": about,
        "started": summary.started_ns / 1e9,
        "seen": [{"epoch": f"{each.epoch:016x}", "since": each.first_ns / 1e9} for each in history.epochs],
    }
    tables = {name: _tally(getattr(summary, name)) for name in ("messages", "refusals", "restarts")}
    return View(data, dict(tables))


def _tally(tally: Tally) -> Columns:
    return {"name": tally.names, "count": tally.counts}
