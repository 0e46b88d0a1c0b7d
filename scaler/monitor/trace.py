"""Traces: what the recorder noted, as a file that ui.perfetto.dev opens: tasks as slices on a lane for each worker.

`scaler_top --trace FILE` writes one, and the page of `scaler_ui` has them to download: of what a running scheduler's
recorder has, or of what a recording has.

The file is Perfetto's protobuf, written by a small encoder of our own (native/monitor/trace.pyx does the slices), or
with the suffix .json the older format of Chrome, which takes three times the room. On top of the lanes is a counter of
tasks that could run and had not begun.

Rule 1: an event is in the trace once. What the recorder had lost before it could be read is said, and not made up.
Not here: the layout of the slices (native), events and their ring (events, flight_recorder).
"""

import json
import logging
import os
import time
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from scaler._native import TraceLanes
from scaler.monitor.events import EVENT_BYTES, OUTCOMES, read_events
from scaler.monitor.flight_recorder import FlightRecorder, RecorderError
from scaler.monitor.recording import Recording
from scaler.monitor.report import Events, Functions, Report, Summary, Workers
from scaler.monitor.subscriber import Subscriber

PIECE_EVENTS = 1 << 16
COUNTER_POINTS = 2_000
COUNTED = 20_000  # events by which the counter of a longer trace is made
EARLIER_NS = 10_000_000_000
MOST_S = 1e9  # that an event may last
CLOCK = 64  # of a sequence: steps since its last packet
MONOTONIC = 3
PROCESS_TRACK, QUEUE_TRACK = 1, 2
FIRST_LANE = 1000  # tracks of workers
_COUNTER_SEQUENCE = 1
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Recorded:
    """Events, oldest first, and what their numbers mean. `lost`: how many there were before, or between."""

    events: bytes = b""
    functions: dict[int, str] = field(default_factory=dict)
    workers: dict[int, str] = field(default_factory=dict)  # by the low 16 bits of their numbers
    lost: int = 0


# where events come from


def read_source(source: str, timeout_s: float = 5.0, keys: str | None = None) -> Recorded:
    """What there is to be seen of events at a monitor address, or in a recording."""
    return from_scheduler(source, timeout_s, keys) if "://" in source else from_recording(source)


def from_scheduler(address: str, timeout_s: float = 5.0, keys: str | None = None) -> Recorded:
    """What the recorder of a running scheduler has: from its ring on this host, else as much as it says in a second."""
    found = Recorded()
    with Subscriber(address, ("summary", "functions", "workers", "events"), keys) as viewer:
        until_s = time.monotonic() + timeout_s
        missing = {"summary", "functions", "workers", "events"}
        first = viewer.read_first(timeout_s)
        reports = [first]
        while missing - {report.topic for report in reports} and time.monotonic() < until_s:
            report = viewer.read(max(0.0, until_s - time.monotonic()))
            if report is not None:
                reports.append(report)
    for report in reports:
        _take(found, report)
        if isinstance(report.body, Summary) and report.body.recorder.segment:
            try:
                events, lost = _read_ring(report.body.recorder.segment, report.epoch)
            except RecorderError as error:
                _log.warning("%s: only what the scheduler publishes is in the trace", error)
                continue
            found.events, found.lost = events, lost
            break
    for report in reports:
        if not isinstance(report.body, Events):
            _take(found, report)
    return found


def _read_ring(segment: str, epoch: int) -> tuple[bytes, int]:
    ring = FlightRecorder(segment, epoch)
    try:
        parts = []
        end = ring.written
        while ring.next < end:
            _, data = ring.read()
            parts.append(data)
        return b"".join(parts), ring.lost
    finally:
        ring.close()


def from_recording(path: str) -> Recorded:
    """What a recording has seen of events."""
    found = Recorded()
    for report in Recording(path):
        _take(found, report)
    return found


def _take(found: Recorded, report: Report) -> None:
    body = report.body
    if isinstance(body, Functions):
        found.functions.update(zip(body.number, body.name, strict=True))
    elif isinstance(body, Workers):
        found.workers.update(zip((number & 0xFFFF for number in body.number), body.name, strict=True))
    elif isinstance(body, Events):
        found.events += body.data
        found.lost = body.lost


# to a file


def encode_for(recorded: Recorded, name: str) -> tuple[Iterator[bytes], "Counted"]:
    """As a file of this name has it: by its suffix."""
    return encode_json(recorded) if name.endswith(".json") else encode(recorded)


def write(recorded: Recorded, path: str | os.PathLike[str]) -> int:
    """Write the trace. How many slices it has."""
    pieces, count = encode_for(recorded, str(path))
    with open(path, "wb") as file:
        for piece in pieces:
            file.write(piece)
    return count()


def encode(recorded: Recorded) -> tuple[Iterator[bytes], "Counted"]:
    """The pieces of a Perfetto trace, and how many slices it has once they have been taken."""
    start_ns = _start_ns(recorded.events)
    names = recorded.functions

    def begin(worker: int) -> bytes:
        name = recorded.workers.get(worker) or f"worker {worker}"
        track = _packet(
            _message(60, _number(1, FIRST_LANE + worker) + _message(2, name.encode()) + _number(5, PROCESS_TRACK))
        )
        return track + _sequence(worker + 2, FIRST_LANE + worker, start_ns)

    def name(function: int, is_bad: int) -> bytes:
        text = names.get(function) or (f"function {function}" if function else "(no function)")
        return (text + " [not succeeded]" if is_bad else text).encode("utf-8", "replace")

    lanes = TraceLanes(start_ns, begin, name)

    def pieces() -> Iterator[bytes]:
        process = _number(1, os.getpid() & 0x7FFFFFFF) + _message(6, b"scaler")
        yield _packet(_message(60, _number(1, PROCESS_TRACK) + _message(3, process)))
        for at in range(0, len(recorded.events), PIECE_EVENTS * EVENT_BYTES):
            yield lanes.encode(memoryview(recorded.events)[at : at + PIECE_EVENTS * EVENT_BYTES])
        yield _counter(recorded.events, start_ns)

    return pieces(), Counted(lambda: lanes.slices)


class Counted:
    """How many there are, asked when it is known."""

    def __init__(self, count: object) -> None:
        self._count = count

    def __call__(self) -> int:
        return int(self._count())  # type: ignore[operator]


def _start_ns(events: bytes) -> int:
    """Before anything began: what was read together is laid out before what has ended first (EARLIER_NS)."""
    first = read_events(events[: PIECE_EVENTS * EVENT_BYTES])
    lasted = ((each.end_ns, each.duration_s + each.queued_s) for each in first)
    begins = (end_ns - int(seconds * 1e9) for end_ns, seconds in lasted if 0 <= seconds < MOST_S)
    return max(0, min(begins, default=0) - EARLIER_NS)


def _sequence(sequence: int, track: int, start_ns: int) -> bytes:
    """How a sequence begins: what it has by default, and what time its steps are counted from."""
    clocks = _message(1, _number(1, CLOCK) + _number(2, start_ns) + _number(3, 1))
    clocks += _message(1, _number(1, MONOTONIC) + _number(2, start_ns)) + _number(2, MONOTONIC)
    defaults = _number(58, CLOCK) + _message(11, _number(11, track))
    annotation = _message(
        12, _message(3, _number(1, 1) + _message(2, b"queued_us")) + _message(2, _number(1, 1) + _message(2, b"queued"))
    )
    about = _number(10, sequence) + _number(13, 1)
    return (
        _packet(about + _message(59, defaults))
        + _packet(_number(10, sequence) + _message(6, clocks))
        + _packet(_number(10, sequence) + _number(13, 2) + annotation)
    )


def _counter(events: bytes, start_ns: int) -> bytes:
    """How many tasks could run and had not begun, at COUNTER_POINTS moments at most."""
    steps = _queue_steps(events)
    if not steps:
        return b""
    out = [
        _packet(_message(60, _number(1, QUEUE_TRACK) + _message(2, b"tasks that could run") + _number(5, PROCESS_TRACK)
                         + _message(8, b""))),
        _sequence(_COUNTER_SEQUENCE, QUEUE_TRACK, start_ns),
    ]  # fmt: skip
    last = start_ns
    for at, value in steps:
        event = _number(9, 4) + _number(30, value)
        out.append(
            _packet(
                _number(8, max(0, at - last)) + _number(10, _COUNTER_SEQUENCE) + _number(13, 2) + _message(11, event)
            )
        )
        last = max(last, at)
    return b"".join(out)


def _queue_steps(events: bytes) -> list[tuple[int, int]]:
    """(time, tasks that could run) at moments that are evenly spread."""
    count = len(events) // EVENT_BYTES
    stride = max(1, count // COUNTED)  # a sample of many: the counter is scaled up
    if not count:
        return []
    changes: list[int] = []
    values = array("b")
    for event in read_events(
        b"".join(events[at * EVENT_BYTES : (at + 1) * EVENT_BYTES] for at in range(0, count, stride))
    ):
        if not event.worker or not 0 <= event.queued_s < 1e9 or not 0 <= event.duration_s < 1e9:
            continue
        begin = event.end_ns - int(event.duration_s * 1e9)
        changes.extend((max(0, begin - int(event.queued_s * 1e9)), max(0, begin)))
        values.extend((1, -1))
    order = sorted(range(len(changes)), key=changes.__getitem__)
    every, now, steps = max(1, len(order) // COUNTER_POINTS), 0, []
    for number, at in enumerate(order):
        now += values[at]
        if number % every == 0:
            steps.append((changes[at], max(0, now) * stride))
    return steps


# the protobuf's few shapes


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _message(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _packet(body: bytes) -> bytes:
    return _message(1, body)


# JSON


def encode_json(recorded: Recorded) -> tuple[Iterator[bytes], Counted]:
    """The same in Chrome's format."""
    slices = 0

    def pieces() -> Iterator[bytes]:
        nonlocal slices
        yield b'{"displayTimeUnit":"ms","traceEvents":[\n'
        yield _line({"ph": "M", "pid": 1, "tid": 0, "name": "process_name", "args": {"name": "scaler"}})
        seen: set[int] = set()
        for event in read_events(recorded.events):
            if not event.worker or not 0 <= event.duration_s < 1e9:
                continue
            if event.worker not in seen:
                seen.add(event.worker)
                name = recorded.workers.get(event.worker) or f"worker {event.worker}"
                yield _line({"ph": "M", "pid": 1, "tid": event.worker, "name": "thread_name", "args": {"name": name}})
            slices += 1
            yield _line({
                "ph": "X", "pid": 1, "tid": event.worker, "cat": OUTCOMES[min(event.outcome, len(OUTCOMES) - 1)],
                "name": recorded.functions.get(event.function) or f"function {event.function}",
                "ts": (event.end_ns - event.duration_s * 1e9) / 1e3, "dur": event.duration_s * 1e6,
                "args": {"task": f"{event.task:#x}", "calls": event.calls, "queued_us": round(event.queued_s * 1e6)},
            })  # fmt: skip
        yield b'{"ph":"M","pid":1,"tid":0,"name":"process_labels","args":{}}\n]}\n'

    return pieces(), Counted(lambda: slices)


def _line(event: Mapping[str, object]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode() + b",\n"


# by hand
