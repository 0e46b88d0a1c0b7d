"""The flight recorder: what the core writes into shared memory, and how a viewer follows it."""

import subprocess
import sys
import time

import pytest

from scaler._native import Recorder, SchedulerCore, Segment
from scaler.colocation.names import new_epoch
from scaler.monitor.events import EVENT_BYTES, read_events
from scaler.monitor.flight_recorder import HEADER_BYTES, SLACK, FlightRecorder, RecorderError
from tests.native.test_core import MS, FakeClient, FakeWorker

FIRST_ROOM = 1 << 11


@pytest.fixture
def name():
    made = f"scaler-{new_epoch()}-recorder"
    yield made
    Segment.unlink(made)


def make(name, room=1 << 13):
    return Recorder(Segment.create(name, HEADER_BYTES + room * EVENT_BYTES, grows=True), 77)


class Busy:
    """A core whose tasks end as fast as it is told."""

    def __init__(self, recorder):
        self.core = SchedulerCore()
        self.core.recorder = recorder
        self.client, self.worker = FakeClient(self.core, 5, 1 << 20), FakeWorker(self.core)
        self.now = 0

    def end(self, count):
        for _ in range(count):
            self.now += 1000
            self.client.submit()
            self.core.step(self.now)
            self.worker.begin()
            self.worker.finish(now=self.now + 500, duration_ns=200)
            self.client.drain()
        self.core.step(self.now)  # by then viewers see it


def test_an_event_says_what_has_ended(name):
    core = SchedulerCore()
    core.recorder = make(name)
    viewer = FlightRecorder(name, 77)
    client, worker = FakeClient(core, 5), FakeWorker(core)
    task = client.submit()
    core.step(0)
    worker.begin()
    worker.finish(now=10 * MS, duration_ns=3 * MS)
    assert viewer.read() == (0, b"")
    core.step(10 * MS)
    first, data = viewer.read()
    (event,) = read_events(data)
    assert first == 0
    assert (event.task, event.end_ns, event.function, event.worker) == (task, 10 * MS, 1, 1)
    assert (event.outcome, event.calls) == (0, 1)
    assert event.duration_s == pytest.approx(0.003)
    assert event.queued_s == pytest.approx(0.007)
    assert viewer.read() == (1, b"")
    viewer.close()


def test_a_cancelled_task_is_an_event_of_its_own(name):
    core = SchedulerCore()
    core.recorder = make(name)
    client = FakeClient(core, 5)
    core.on_cancel(client.index, client.submit(), 7)
    core.step(7)
    viewer = FlightRecorder(name)
    (event,) = read_events(viewer.read()[1])
    assert (event.outcome, event.end_ns) == (2, 7)
    viewer.close()


def test_the_ring_grows_and_nothing_is_lost_meanwhile(name):
    busy = Busy(make(name))
    viewer = FlightRecorder(name)
    assert busy.core.recorder.room == FIRST_ROOM
    seen = []
    for _ in range(6):
        busy.end(FIRST_ROOM // 2)
        seen += read_events(viewer.read()[1])
    assert busy.core.recorder.room == 1 << 13
    assert [event.task & 0xFFFFFFFF for event in seen] == list(range(1, 3 * FIRST_ROOM + 1))
    assert viewer.lost == 0
    viewer.close()


def test_a_viewer_that_is_too_slow_counts_what_it_has_lost(name):
    busy = Busy(make(name, FIRST_ROOM))
    viewer = FlightRecorder(name)
    busy.end(3 * FIRST_ROOM)
    first, data = viewer.read()
    events = list(read_events(data))
    assert first == viewer.lost == 2 * FIRST_ROOM + SLACK
    assert len(events) == FIRST_ROOM - SLACK
    assert events[0].task & 0xFFFFFFFF == first + 1
    busy.end(10)
    assert len(viewer.read()[1]) == 10 * EVENT_BYTES
    viewer.close()


def test_a_viewer_may_read_a_little_at_a_time(name):
    busy = Busy(make(name))
    viewer = FlightRecorder(name)
    busy.end(10)
    assert [viewer.read(4)[0] for _ in range(3)] == [0, 4, 8]
    assert viewer.read(4)[1] == b""
    viewer.close()


def test_the_scheduler_itself_reads_the_newest(name):
    busy = Busy(make(name, FIRST_ROOM))
    busy.end(FIRST_ROOM + 100)
    first, data = busy.core.recorder.read(0, 200)
    assert first == FIRST_ROOM - 100
    assert [event.task & 0xFFFFFFFF for event in read_events(data)] == list(range(first + 1, FIRST_ROOM + 101))


def write_for(name, seconds):
    """In a process of its own."""
    busy = Busy(Recorder(Segment.open(name), 77))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        busy.end(200)


def test_nothing_that_was_written_over_meanwhile_is_given_out(name):
    make(name, FIRST_ROOM)
    code = f"from tests.native.test_recorder import write_for; write_for({name!r}, 1.0)"
    writer = subprocess.Popen([sys.executable, "-c", code])
    viewer = FlightRecorder(name)
    count = 0
    while writer.poll() is None:
        first, data = viewer.read()
        for number, event in enumerate(read_events(data), first):
            assert event.task & 0xFFFFFFFF == number + 1
            assert event.end_ns == 1000 * (number + 1) + 500
            count += 1
        time.sleep(0.01)
    assert writer.returncode == 0
    assert count > 0
    viewer.close()


@pytest.mark.parametrize("data", [b"", b"x" * 100, bytes(5000)])
def test_what_is_no_recorder_is_refused(name, data):
    with open(f"/dev/shm/{name}", "wb") as file:
        file.write(data)
    with pytest.raises(RecorderError):
        FlightRecorder(name)


def test_a_recorder_that_is_not_there_or_of_another_scheduler_is_refused(name):
    with pytest.raises(RecorderError, match="cannot be read here"):
        FlightRecorder(name)
    make(name)
    with pytest.raises(RecorderError, match="another scheduler"):
        FlightRecorder(name, 78)


def test_a_core_without_a_recorder_writes_none():
    busy = Busy(Recorder())
    busy.end(3)
    assert busy.core.recorder.room == 0
    assert busy.core.recorder.read(0, 10) == (0, b"")
