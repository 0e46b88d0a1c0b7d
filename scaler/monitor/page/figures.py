"""Figures: what the page draws over time, and how each follows from the reports.

A rate is the difference of two counts of one scheduler, by the time between the two reports. Across a restart there is
none, since counts begin anew.

Rule 1: pure: reports in, names and values out.
Not here: how long they are kept (series).
"""

from typing import NamedTuple

from scaler.monitor.report import WORKER_RUNS, Hosts, Report, Summary, Workers

# Rates are calls a second; shares are of one core, but for busy_share, which is of all workers.
COUNTED = ("submitted", "succeeded", "failed", "cancelled", "retried")
RATES = tuple(f"{name}_rate" for name in COUNTED)
OPEN = ("waiting", "ready", "held_back", "placed", "lent", "doomed")
FIGURES = (
    *RATES,
    *OPEN,
    *("workers", "clients", "scheduler_cpu", "scheduler_rss", "scheduler_lag_s"),
    *("queued_bytes", "object_bytes", "objects", "kept_result_bytes", "shared_memory_used"),
    *("busy_share", "running", "worker_rss", "worker_cpu"),
    *("host_memory_used", "host_memory_total", "agent_rss"),
)


class Before(NamedTuple):
    """What the next rates are compared with."""

    epoch: int
    clock_ns: int
    counts: dict[str, int]


class Figures:
    """Takes reports in their order and says the figures that follow from each."""

    def __init__(self) -> None:
        self._before: Before | None = None

    def of(self, report: Report) -> dict[str, float]:
        match report.body:
            case Summary() as body:
                return self._of_summary(report, body)
            case Workers() as body:
                return _of_workers(body)
            case Hosts() as body:
                return _of_hosts(body)
        return {}

    def _of_summary(self, report: Report, body: Summary) -> dict[str, float]:
        counts = {name: int(getattr(body.counts, name)) for name in COUNTED}
        before, self._before = self._before, Before(report.epoch, report.clock_ns, counts)
        figures: dict[str, float] = {name: getattr(body.counts, name) for name in OPEN}
        if before is not None and before.epoch == report.epoch and report.clock_ns > before.clock_ns:
            passed_s = (report.clock_ns - before.clock_ns) / 1e9
            for name in COUNTED:
                figures[f"{name}_rate"] = max(0, counts[name] - before.counts[name]) / passed_s
        figures |= {
            "workers": body.workers,
            "clients": body.clients,
            "scheduler_cpu": body.cpu_share,
            "scheduler_rss": body.rss_bytes,
            "scheduler_lag_s": body.lag_ns / 1e9,
            "queued_bytes": body.queued_bytes,
            "object_bytes": body.object_bytes,
            "objects": body.objects,
            "kept_result_bytes": body.kept_result_bytes,
            "shared_memory_used": max(0, body.shared_memory_total_bytes - body.shared_memory_free_bytes),
        }
        return figures


def _of_workers(body: Workers) -> dict[str, float]:
    running = sum(1 for state in body.state if state & WORKER_RUNS)
    figures: dict[str, float] = {
        "running": running,
        "worker_rss": sum(body.rss_bytes),
        "worker_cpu": sum(body.cpu_share),
    }
    if len(body):
        figures["busy_share"] = running / len(body)
    return figures


def _of_hosts(body: Hosts) -> dict[str, float]:
    total = sum(body.memory_total_bytes)
    return {
        "host_memory_total": total,
        "host_memory_used": max(0, total - sum(body.memory_free_bytes)),
        "agent_rss": sum(body.agent_rss_bytes),
    }
