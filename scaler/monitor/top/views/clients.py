"""Clients: whose tasks there are and where they stand, and what is kept for each."""

from collections.abc import Hashable

from scaler.monitor.report import CLIENT_DOES_NOT_READ, CLIENT_GONE, CLIENT_NESTED, CLIENT_OVER_QUOTA, Clients
from scaler.monitor.top.facts import facts, title
from scaler.monitor.top.latest import Latest
from scaler.monitor.top.line import Line, Style, plain
from scaler.monitor.top.table import Column, View
from scaler.monitor.top.units import count, duration, share, size

_STATES = (
    (CLIENT_GONE, "gone", Style.WARNING),
    (CLIENT_DOES_NOT_READ, "does not read", Style.BAD),
    (CLIENT_OVER_QUOTA, "over quota", Style.WARNING),
    (CLIENT_NESTED, "of tasks", Style.PLAIN),
)


class ClientRows:
    def __init__(self, latest: Latest, clients: Clients) -> None:
        self.clients = clients
        self.clock_ns = latest.clock_ns()

    def __len__(self) -> int:
        return len(self.clients)

    @classmethod
    def of(cls, latest: Latest) -> "ClientRows | None":
        return cls(latest, latest.clients) if latest.clients is not None else None

    def state(self, row: int) -> tuple[str, Style]:
        bits = self.clients.state[row]
        for bit, word, style in _STATES:
            if bits & bit:
                return word, style
        return "connected", Style.PLAIN

    def open_calls(self, row: int) -> int:
        clients = self.clients
        return int(clients.waiting[row] + clients.ready[row] + clients.placed[row])


def _details(latest: Latest, identity: Hashable) -> list[Line]:
    rows = ClientRows.of(latest)
    clients = rows.clients if rows else Clients()
    row = next((row for row, bits in enumerate(clients.bits) if bits == identity), None)
    if rows is None or row is None:
        return [title("client"), plain("it has gone")]
    quota = clients.quota_bytes[row]
    kept = clients.kept_bytes[row]
    return [
        title(f"client {clients.name[row]}"),
        *facts(
            [
                ("state", rows.state(row)[0]),
                ("process", f"{clients.pid[row]} on {clients.host_name[row]}" if clients.pid[row] else ""),
                ("submitted", str(clients.submitted[row])),
                ("succeeded", str(clients.succeeded[row])),
                ("failed", str(clients.failed[row])),
                ("canceled", str(clients.cancelled[row])),
                ("waiting", f"{clients.waiting[row]} for results of other tasks"),
                ("ready", f"{clients.ready[row]} to be placed on a worker"),
                ("on workers", str(clients.placed[row])),
                ("unread", f"{clients.unread[row]} results"),
                ("kept", f"{size(kept)} of {size(quota)}, {share(kept / quota)}" if quota else size(kept)),
                ("objects", f"{clients.objects[row]}, {size(clients.object_bytes[row])}"),
                ("joined", f"{duration((rows.clock_ns - clients.joined_ns[row]) / 1e9)} ago"
                 if clients.joined_ns[row] else ""),
                ("heard", f"{duration((rows.clock_ns - clients.heard_ns[row]) / 1e9)} ago"
                 if clients.heard_ns[row] else ""),
                ("ids of tasks", f"begin with {clients.bits[row]:06x}"),
            ]
        ),
    ]  # fmt: skip


CLIENTS = View(
    name="clients",
    about="A row for each client; one for the tasks that a worker's tasks have made.",
    topics=("clients",),
    columns=(
        Column("client", "its identity", 14, lambda rows, row: rows.clients.name[row],
               key="n", is_text=True, is_name=True, grows=True),
        Column("state", "connected, of tasks (those that a worker's tasks make), does not read (its results), over "
               "quota (it waits until less is kept for it), gone (its tasks are not)",
               13, lambda rows, row: rows.state(row)[0], style=lambda rows, row: rows.state(row)[1], is_text=True,
               rank=3),
        Column("submitted", "calls", 9, lambda rows, row: rows.clients.submitted[row], count, key="w"),
        Column("open", "calls that have not ended", 7, lambda rows, row: rows.open_calls(row), count, key="d"),
        Column("running", "calls that are on workers", 7, lambda rows, row: rows.clients.placed[row], count, key="c"),
        Column("succeeded", "calls that returned", 9, lambda rows, row: rows.clients.succeeded[row], count),
        Column("failed", "calls that failed", 7, lambda rows, row: rows.clients.failed[row], count, key="f",
               style=lambda rows, row: Style.BAD if rows.clients.failed[row] else Style.PLAIN),
        Column("canceled", "calls that were cancelled", 8, lambda rows, row: rows.clients.cancelled[row], count,
               rank=2, key="l"),
        Column("waiting", "for results of other tasks", 7, lambda rows, row: rows.clients.waiting[row], count,
               rank=4, key="s"),
        Column("unread", "results for which it has no room yet", 6,
               lambda rows, row: rows.clients.unread[row], count, rank=4),
        Column("kept", "what is kept of its quota", 6, lambda rows, row: rows.clients.kept_bytes[row], size,
               rank=4, key="m"),
        Column("objects", "bytes of the objects that it has made", 7,
               lambda rows, row: rows.clients.object_bytes[row], size, rank=5, key="M"),
        Column("host", "its host", 10, lambda rows, row: rows.clients.host_name[row], is_text=True, rank=5),
        Column("pid", "its process", 7, lambda rows, row: rows.clients.pid[row], rank=6),
    ),
    rows_of=ClientRows.of,
    identity=lambda rows, row: rows.clients.bits[row],
    is_idle=lambda rows, row: not rows.open_calls(row),
    details=_details,
    searched=("client", "state", "host"),
)  # fmt: skip
