"""The header: the scheduler, its calls and their rate, in as many lines as the terminal has room for.

Rule 1: the most important first, since the last lines and the right ends are what a small terminal does not show.
"""

from scaler.monitor.report import Summary
from scaler.monitor.top.facts import moment
from scaler.monitor.top.latest import Latest
from scaler.monitor.top.line import EMPTY, Line, Style, cut_line, joined, labelled, line_width, plain
from scaler.monitor.top.text import clean
from scaler.monitor.top.units import duration, exact, nanoseconds, rate, share, size, sparkline

SPARK_CELLS = 24
LEAST_SPARK_CELLS = 8
UNKNOWN = -1.0
RESTART_SHOWN_S = 60


def header(latest: Latest, address: str, cells: int, most_lines: int, notes: list[Line]) -> list[Line]:
    """`notes` are what this viewer has to say (paused, no report): they come first and are never left out."""
    summary = latest.summary
    lines = list(notes)
    if summary is None:
        return lines[:most_lines] or [plain(f"waiting for {clean(address)}", Style.FAINT)]
    lines += [plain(clean(text), Style.WARNING) for text in _warnings(latest, summary)[:1]]
    made = [
        _calls(summary),
        _rates(latest, summary, cells),
        _process(latest, summary, address),
        _inventory(summary),
        _messages(latest, summary),
    ]
    lines += [line for line in made if line]
    return [cut_line(line, cells) for line in lines[:most_lines]]


def _warnings(latest: Latest, summary: Summary) -> list[str]:
    found = []
    since_s = (latest.wall_ns() - latest.restarted_wall_ns) / 1e9
    if latest.restarts and since_s < RESTART_SHOWN_S:
        found.append(f"the scheduler was started anew at {moment(latest.restarted_wall_ns)}: its counts began again")
    if summary.warnings:
        more = f" (and {len(summary.warnings) - 1} more: view scheduler, Enter)" if len(summary.warnings) > 1 else ""
        found.append(f"warning: {summary.warnings[0]}{more}")
    return found


def _calls(summary: Summary) -> Line:
    counts = summary.counts
    return joined(
        [
            labelled("unassigned", exact(counts.unassigned)),
            labelled("running", exact(counts.assigned)),
            labelled("success", exact(counts.succeeded), Style.GOOD),
            labelled("failed", exact(counts.failed), Style.BAD if counts.failed else Style.PLAIN),
            labelled("canceled", exact(counts.cancelled)),
            labelled("in place", exact(counts.in_place)) if counts.in_place else EMPTY,
            labelled("retried", exact(counts.retried)) if counts.retried else EMPTY,
        ]
    )


def _rates(latest: Latest, summary: Summary, cells: int) -> Line:
    """Each with its history, as long as there is room for that."""
    busy = summary.workers - summary.idle_workers
    now = latest.ended_rate[-1] if latest.ended_rate else UNKNOWN
    failed = latest.failed_rate[-1] if latest.failed_rate else UNKNOWN
    parts = [
        (labelled("ended", rate(now)), list(latest.ended_rate)),
        (labelled("failed", rate(failed), Style.BAD if failed > 0 else Style.PLAIN), list(latest.failed_rate)),
        (labelled("busy workers", f"{busy} of {summary.workers}"), list(latest.busy_share)),
    ]
    left = cells - sum(line_width(text) + 2 for text, _ in parts)
    made: list[Line] = []
    for text, history in parts:
        spark = min(SPARK_CELLS, left - 1)
        if spark >= LEAST_SPARK_CELLS:
            text = (*text, (" " + sparkline(history, spark), Style.GOOD))
            left -= spark + 1
        made.append(text)
    return joined(made)


def _process(latest: Latest, summary: Summary, address: str) -> Line:
    up_s = (latest.wall_ns() - summary.started_ns) / 1e9
    return joined(
        [
            ((clean(summary.address or address), Style.STRONG),),
            labelled("cpu", share(summary.cpu_share)),
            labelled("rss", size(summary.rss_bytes)),
            labelled("lag", nanoseconds(summary.lag_ns)),
            labelled("up", duration(up_s)) if summary.started_ns else EMPTY,
            labelled("pid", f"{summary.pid} on {clean(summary.host_name)}"),
            labelled("scaler", clean(summary.scheduler_version)),
        ]
    )


def _inventory(summary: Summary) -> Line:
    return joined(
        [
            labelled("workers", f"{summary.workers}"),
            labelled("clients", f"{summary.clients}"),
            labelled("hosts", f"{summary.hosts}"),
            labelled("functions", f"{summary.functions}"),
            labelled("queued", size(summary.queued_bytes)),
            labelled("objects", f"{summary.objects}, {size(summary.object_bytes)}"),
            labelled(
                "shm free", f"{size(summary.shared_memory_free_bytes)} of {size(summary.shared_memory_total_bytes)}"
            ),
            labelled("restarts", exact(sum(summary.restarts.counts))) if summary.restarts.counts else EMPTY,
        ]
    )


def _messages(latest: Latest, summary: Summary) -> Line:
    """The kinds of which there are most; the view of the scheduler has all."""
    most = sorted(summary.messages.as_dict().items(), key=lambda pair: -pair[1])
    return joined(
        labelled(clean(name), f"{exact(number)} {rate(latest.message_rates.get(name, UNKNOWN))}")
        for name, number in most
    )
