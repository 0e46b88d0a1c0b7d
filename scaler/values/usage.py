"""Usage: what is known of peers besides their tasks: names, hosts, and what their processes take. For those who look.

A supervisor samples its own host (scaler.cluster.usage_sampler) and says every few seconds what it has seen: on the
scheduler's host through the socket by which it has joined, as JSON in pieces that fit a packet, elsewhere as a frame.
Both become a HostUsage here, and the numbers of each worker go to the core.

Rule 1: what comes in is believed in nothing: a number that cannot be is 0, a text is cut (`usage_from`).
Not here: how it is found out (scaler.cluster.usage_sampler), how it is shown (scaler.scheduler.reporter).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MOST_IN_PIECE = 400  # workers in one packet
MOST_REASONS = 100
MOST_REASON = 100  # characters
_MOST = (1 << 63) - 1


@dataclass(slots=True)
class KnownWorker:
    """`host`: its number in the core's table of hosts; 0 is the scheduler's."""

    name: str
    host: int


@dataclass(slots=True)
class KnownClient:
    """`heard_ns`: when something last came from it; 0 if it shares memory with the scheduler and is there."""

    name: str
    host_name: str
    pid: int
    heard_ns: int = 0


@dataclass(slots=True)
class KnownHost:
    """A host as one of its clusters has said hello; its number is that of its workers' hosts."""

    number: int
    name: str
    cluster: str = ""
    agent_pid: int = 0
    heard_ns: int = 0
    lag_ns: int = 0


@dataclass(slots=True)
class ProcessUsage:
    """`process`: what its supervisor calls it, its key here or the relay's number elsewhere."""

    process: str
    pid: int = 0
    cpu_share: float = 0.0
    rss_bytes: int = 0
    in_place: int = 0


@dataclass(slots=True)
class HostUsage:
    """What a supervisor says. The workers may be some of them, when it says it in pieces."""

    cores: int = 0
    agent_pid: int = 0
    agent_cpu_share: float = 0.0
    agent_rss_bytes: int = 0
    memory_total_bytes: int = 0
    memory_free_bytes: int = 0
    shared_memory_total_bytes: int = 0
    shared_memory_free_bytes: int = 0
    restarts: dict[str, int] = field(default_factory=dict)
    """Workers that have ended and were replaced since the supervisor began, by reason."""
    workers: list[ProcessUsage] = field(default_factory=list)


_NUMBERS = (
    "cores", "agent_pid", "agent_rss_bytes", "memory_total_bytes", "memory_free_bytes", "shared_memory_total_bytes",
    "shared_memory_free_bytes",
)  # fmt: skip


def pieces_of(usage: HostUsage) -> Iterator[dict[str, Any]]:
    """As JSON has it, in pieces of at most so many workers; one at least."""
    about = {name: getattr(usage, name) for name in (*_NUMBERS, "agent_cpu_share", "restarts")}
    for at in range(0, max(len(usage.workers), 1), MOST_IN_PIECE):
        rows = [
            [one.process, one.pid, round(one.cpu_share, 4), one.rss_bytes, one.in_place]
            for one in usage.workers[at : at + MOST_IN_PIECE]
        ]
        yield {**about, "workers": rows}


def usage_from(said: Any) -> HostUsage | None:
    """What such a piece says; None if it is none."""
    if not isinstance(said, dict) or not isinstance(said.get("workers"), list):
        return None
    usage = HostUsage()
    for name in _NUMBERS:
        setattr(usage, name, _number(said.get(name)))
    usage.agent_cpu_share = _share(said.get("agent_cpu_share"))
    usage.restarts = restarts_from(said.get("restarts"))
    for row in said["workers"][:MOST_IN_PIECE]:
        if isinstance(row, list) and len(row) == 5 and isinstance(row[0], str):
            usage.workers.append(
                ProcessUsage(row[0], _number(row[1]), _share(row[2]), _number(row[3]), _number(row[4]))
            )
    return usage


def restarts_from(said: Any) -> dict[str, int]:
    """Counts by reason, as far as they are that."""
    if not isinstance(said, dict):
        return {}
    rows = list(said.items())[:MOST_REASONS]
    return {str(reason)[:MOST_REASON]: _number(count) for reason, count in rows}


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST else 0


def _share(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e6 else 0.0
