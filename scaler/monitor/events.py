"""Events: what the flight recorder notes when a task has ended, 32 bytes each (protocol/monitor.capnp, Events).

Not here: the ring that they are written to (native/scheduler), how a viewer follows it (subscriber).
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

LAYOUT = struct.Struct("<QQffIHBB")
EVENT_BYTES = 32
assert LAYOUT.size == EVENT_BYTES

OUTCOMES = ("succeeded", "failed", "cancelled", "lost", "stopped", "refused")


class Event(NamedTuple):
    task: int
    end_ns: int
    duration_s: float
    queued_s: float
    function: int
    worker: int
    """The low 16 bits of its number."""
    outcome: int
    """Index into OUTCOMES."""
    calls: int


def read_events(data: bytes | memoryview) -> Iterator[Event]:
    """The events in these bytes, oldest first."""
    return map(Event._make, LAYOUT.iter_unpack(data))


def write_events(events: Iterable[Event]) -> bytes:
    return b"".join(LAYOUT.pack(*event) for event in events)
