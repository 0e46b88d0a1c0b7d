"""Hosts: how much each has left, and when it was last heard of."""

import math
from collections.abc import Hashable

from scaler.monitor.report import Hosts
from scaler.monitor.top.facts import facts, title
from scaler.monitor.top.latest import Latest
from scaler.monitor.top.line import Line, Style, plain
from scaler.monitor.top.table import Column, View
from scaler.monitor.top.units import count, duration, nanoseconds, share, size

SILENT_S = 10


class HostRows:
    def __init__(self, latest: Latest, hosts: Hosts) -> None:
        self.hosts = hosts
        self.clock_ns = latest.clock_ns()

    def __len__(self) -> int:
        return len(self.hosts)

    @classmethod
    def of(cls, latest: Latest) -> "HostRows | None":
        return cls(latest, latest.hosts) if latest.hosts is not None else None

    def agent_cpu(self, row: int) -> float:
        value = self.hosts.agent_cpu_share[row]
        return 0.0 if math.isnan(value) else value

    def silent_s(self, row: int) -> float:
        heard_ns = self.hosts.heard_ns[row]
        return (self.clock_ns - heard_ns) / 1e9 if heard_ns else 0.0

    def silent_style(self, row: int) -> Style:
        return Style.BAD if self.silent_s(row) > SILENT_S else Style.PLAIN


def _of(free: int, total: int) -> str:
    return f"{size(free)} of {size(total)} free" if total else ""


def _details(latest: Latest, identity: Hashable) -> list[Line]:
    rows = HostRows.of(latest)
    hosts = rows.hosts if rows else Hosts()
    row = next((row for row, number in enumerate(hosts.number) if number == identity), None)
    if rows is None or row is None:
        return [title(f"host {identity}"), plain("it has gone")]
    return [
        title(f"host {hosts.name[row]}"),
        *facts(
            [
                ("clusters", hosts.cluster[row]),
                ("cores", str(hosts.cores[row])),
                ("workers", str(hosts.workers[row])),
                ("agent", f"process {hosts.agent_pid[row]}, {share(rows.agent_cpu(row))} of a core, "
                 f"{size(hosts.agent_rss_bytes[row])}" if hosts.agent_pid[row] else ""),
                ("memory", _of(hosts.memory_free_bytes[row], hosts.memory_total_bytes[row])),
                ("/dev/shm", _of(hosts.shared_memory_free_bytes[row], hosts.shared_memory_total_bytes[row])),
                ("objects", f"{hosts.objects[row]}, {size(hosts.object_bytes[row])}"),
                ("lag", nanoseconds(hosts.lag_ns[row])),
                ("heard", f"{duration(rows.silent_s(row))} ago"),
            ]
        ),
    ]  # fmt: skip


HOSTS = View(
    name="hosts",
    about="A row for each host that has workers or the scheduler.",
    topics=("hosts",),
    columns=(
        Column("host", "its name", 12, lambda rows, row: rows.hosts.name[row], key="n", is_text=True, is_name=True,
               grows=True),
        Column("workers", "how many it has", 7, lambda rows, row: rows.hosts.workers[row], count, key="w"),
        Column("cores", "how many it has", 5, lambda rows, row: rows.hosts.cores[row], count, rank=3, key="c"),
        Column("a.cpu", "processor time of its agent, of one core", 5, lambda rows, row: rows.agent_cpu(row), share,
               key="C"),
        Column("a.rss", "memory of its agent", 5, lambda rows, row: rows.hosts.agent_rss_bytes[row], size, key="M"),
        Column("mfree", "memory that is available", 5, lambda rows, row: rows.hosts.memory_free_bytes[row], size,
               key="F"),
        Column("memory", "in all", 6, lambda rows, row: rows.hosts.memory_total_bytes[row], size, rank=2, key="m"),
        Column("shmfree", "room in /dev/shm", 7, lambda rows, row: rows.hosts.shared_memory_free_bytes[row], size,
               key="f"),
        Column("objects", "objects that are there", 7, lambda rows, row: rows.hosts.objects[row], count, rank=3,
               key="d"),
        Column("bytes", "of these objects", 6, lambda rows, row: rows.hosts.object_bytes[row], size, rank=3, key="s"),
        Column("lag", "how late its last heartbeat came; 0 on the scheduler's host", 5,
               lambda rows, row: rows.hosts.lag_ns[row], nanoseconds, key="l"),
        Column("heard", "how long ago something last came from it", 6, lambda rows, row: rows.silent_s(row), duration,
               style=lambda rows, row: rows.silent_style(row)),
        Column("clusters", "names of its clusters", 12, lambda rows, row: rows.hosts.cluster[row], is_text=True,
               rank=4),
    ),
    rows_of=HostRows.of,
    identity=lambda rows, row: rows.hosts.number[row],
    is_idle=lambda rows, row: not rows.hosts.workers[row],
    details=_details,
    searched=("host", "clusters"),
)  # fmt: skip
