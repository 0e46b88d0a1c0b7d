"""/metrics: the last reports as Prometheus has them, by its conventions for names and units.

prometheus_client writes the text (its escaping, its histograms); what is written is made anew from the history for each
scrape, so nothing is counted here. The text is that of Prometheus, not of OpenMetrics, in which a gauge `scaler_tasks`
and a counter `scaler_tasks_total` are one family and must not be.

Rule 1: every count is the scheduler's own and exact. A restart of the scheduler is a counter that begins anew, which
        Prometheus knows how to read.
Rule 2: the number of series is bounded: the MOST_FUNCTIONS functions that took the most time and `other`; workers one
        by one only when asked for (/metrics?workers=1).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

from scaler.monitor.histogram import added, least_in
from scaler.monitor.page.history import History
from scaler.monitor.report import WORKER_RUNS, Functions, Hosts, Summary, Workers

MOST_FUNCTIONS = 50
OTHER = "other"
ENDED = ("succeeded", "failed", "cancelled")
OPEN = ("waiting", "ready", "held_back", "placed", "lent", "doomed")
# Where Prometheus's buckets end: every second power of two, from a microsecond to over an hour. Ours end there too, so
# that none has to be cut.
BOUNDS_NS = tuple(1 << exponent for exponent in range(10, 43, 2))


class Collector:
    """Of one history, for one scrape."""

    def __init__(self, history: History, per_worker: bool = False) -> None:
        self._history, self._per_worker = history, per_worker

    def collect(self) -> Iterator[Metric]:
        summary = self._history.summary
        if summary is None:
            return
        yield from _of_summary(summary)
        functions = self._history.find(Functions)
        if functions is not None:
            yield from _of_functions(functions)
        hosts, workers = self._history.find(Hosts), self._history.find(Workers)
        if hosts is not None:
            yield from _of_hosts(hosts)
        if workers is not None:
            yield from self._of_workers(workers, hosts)

    def _of_workers(self, rows: Workers, hosts: Hosts | None) -> Iterator[Metric]:
        running = sum(1 for state in rows.state if state & WORKER_RUNS)
        yield _gauge("scaler_workers_running", "Workers that run a task", {"": running})
        yield _gauge("scaler_workers_rss_bytes", "Resident memory of all workers", {"": sum(rows.rss_bytes)})
        if not self._per_worker:
            return
        names = dict(zip(hosts.number, hosts.name, strict=True)) if hosts is not None else {}
        labels = [[name, names.get(host, str(host))] for name, host in zip(rows.name, rows.host, strict=True)]
        cpu = GaugeMetricFamily("scaler_worker_cpu_share", "Share of one core", labels=["worker", "host"])
        rss = GaugeMetricFamily("scaler_worker_rss_bytes", "Resident memory of a worker", labels=["worker", "host"])
        held = GaugeMetricFamily("scaler_worker_tasks", "Tasks that a worker has", labels=["worker", "host"])
        done = CounterMetricFamily(
            "scaler_worker_tasks_total", "Calls that a worker has answered", labels=["worker", "host", "state"]
        )
        for i, label in enumerate(labels):
            cpu.add_metric(label, rows.cpu_share[i])
            rss.add_metric(label, rows.rss_bytes[i])
            held.add_metric(label, rows.held[i])
            done.add_metric([*label, "succeeded"], rows.succeeded[i])
            done.add_metric([*label, "failed"], rows.failed[i])
        yield from (cpu, rss, held, done)


def registry_of(history: History, per_worker: bool = False) -> CollectorRegistry:
    """What `prometheus_client.generate_latest` takes."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector(history, per_worker))
    return registry


def _of_summary(summary: Summary) -> Iterator[Metric]:
    counts = summary.counts
    build = InfoMetricFamily("scaler_build", "The scheduler that is shown")
    build.add_metric([], {"version": summary.scheduler_version, "python": summary.python_version})
    yield build
    yield GaugeMetricFamily("scaler_start_time_seconds", "When the scheduler started", value=summary.started_ns / 1e9)
    yield CounterMetricFamily("scaler_tasks_submitted_total", "Calls ever submitted", value=counts.submitted)
    yield _counter(
        "scaler_tasks_total", "Calls that have ended", "state", {name: getattr(counts, name) for name in ENDED}
    )
    yield _gauge("scaler_tasks", "Calls that are open", {name: getattr(counts, name) for name in OPEN}, "state")
    yield CounterMetricFamily("scaler_tasks_retried_total", "Runs beyond the first", value=counts.retried)
    yield CounterMetricFamily("scaler_tasks_in_place_total", "Calls run in place by tasks", value=counts.in_place)
    yield CounterMetricFamily("scaler_tasks_stopped_total", "Calls ended by force", value=counts.stopped)
    yield _gauge("scaler_results_unread", "Results that clients have not read", {"": counts.unread})
    yield _gauge("scaler_workers", "Workers", {"": summary.workers})
    yield _gauge("scaler_workers_idle", "Workers with nothing to do", {"": summary.idle_workers})
    yield _gauge("scaler_clients", "Clients", {"": summary.clients})
    yield _gauge("scaler_hosts", "Hosts", {"": summary.hosts})
    yield _gauge("scaler_scheduler_cpu_share", "Share of one core", {"": summary.cpu_share})
    yield _gauge("scaler_scheduler_rss_bytes", "Resident memory of the scheduler", {"": summary.rss_bytes})
    yield _gauge("scaler_scheduler_lag_seconds", "Longest pass of its loop", {"": summary.lag_ns / 1e9})
    yield _gauge("scaler_queued_bytes", "Kept for tasks that are open", {"": summary.queued_bytes})
    yield _gauge("scaler_objects", "Objects", {"": summary.objects})
    yield _gauge(
        "scaler_object_bytes",
        "Bytes of objects and of results that are kept",
        {"object": summary.object_bytes, "kept_result": summary.kept_result_bytes},
        "kind",
    )
    yield _counter("scaler_messages_total", "Messages by kind", "kind", summary.messages.as_dict())
    yield _counter("scaler_refusals_total", "What was refused, by reason", "reason", summary.refusals.as_dict())
    yield _counter("scaler_worker_restarts_total", "Workers replaced", "reason", summary.restarts.as_dict())
    yield CounterMetricFamily("scaler_recorder_events_total", "Events recorded", value=summary.recorder.written)


def _of_functions(rows: Functions) -> Iterator[Metric]:
    order = sorted(range(len(rows)), key=lambda i: -rows.duration_ns[i])
    busiest: dict[str, list[int]] = {}
    for place, i in enumerate(order):
        busiest.setdefault(rows.name[i] if place < MOST_FUNCTIONS else OTHER, []).append(i)
    duration = HistogramMetricFamily(
        "scaler_task_duration_seconds", "How long calls ran, of a map's chunk the mean", labels=["function"]
    )
    queued = HistogramMetricFamily(
        "scaler_task_queue_seconds", "From when a call could run until a worker began it", labels=["function"]
    )
    failed = CounterMetricFamily("scaler_function_failures_total", "Calls that have failed", labels=["function"])
    for name, members in busiest.items():
        _add(duration, name, added(rows.durations[i] for i in members), sum(rows.duration_ns[i] for i in members))
        _add(queued, name, added(rows.queued[i] for i in members), sum(rows.queued_ns[i] for i in members))
        failed.add_metric([name], sum(rows.failed[i] for i in members))
    yield from (duration, queued, failed)


def _add(family: HistogramMetricFamily, name: str, counts: Mapping[int, int], sum_ns: int) -> None:
    cumulated = 0
    buckets: list[tuple[str, float]] = []
    rest = sorted(counts.items())
    at = 0
    for bound in BOUNDS_NS:
        while at < len(rest) and least_in(rest[at][0] + 1) <= bound:
            cumulated += rest[at][1]
            at += 1
        buckets.append((repr(bound / 1e9), cumulated))
    buckets.append(("+Inf", sum(counts.values())))
    family.add_metric([name], buckets, sum_ns / 1e9)


def _of_hosts(rows: Hosts) -> Iterator[Metric]:
    kinds: dict[str, tuple[str, Any, float]] = {
        "scaler_host_memory_bytes": ("Memory of a host", rows.memory_total_bytes, 1),
        "scaler_host_memory_free_bytes": ("Memory that is available", rows.memory_free_bytes, 1),
        "scaler_host_shared_memory_bytes": ("/dev/shm of a host", rows.shared_memory_total_bytes, 1),
        "scaler_host_shared_memory_free_bytes": ("What is free of it", rows.shared_memory_free_bytes, 1),
        "scaler_host_object_bytes": ("Bytes of objects on a host", rows.object_bytes, 1),
        "scaler_host_workers": ("Workers of a host", rows.workers, 1),
        "scaler_host_agent_cpu_share": ("Of its supervisor, in cores", rows.agent_cpu_share, 1),
        "scaler_host_agent_rss_bytes": ("Resident memory of its supervisor", rows.agent_rss_bytes, 1),
        "scaler_host_lag_seconds": ("Of its last heartbeat", rows.lag_ns, 1e-9),
    }
    for name, (words, column, unit) in kinds.items():
        family = GaugeMetricFamily(name, words, labels=["host"])
        for host, value in zip(rows.name, column, strict=True):
            family.add_metric([host], value * unit)
        yield family


def _gauge(name: str, words: str, values: Mapping[str, float], label: str = "") -> Metric:
    if not label:
        return GaugeMetricFamily(name, words, value=next(iter(values.values())))
    family = GaugeMetricFamily(name, words, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counter(name: str, words: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, words, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
