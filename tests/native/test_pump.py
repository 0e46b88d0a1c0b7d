"""The pump with real rings and no processes: what it takes, whom it wakes, and whom it wants to be shut out."""

import os
import random
import struct
from hashlib import blake2b

import pytest

from scaler._native import (
    KIND_CANCEL,
    KIND_FUNCTION,
    KIND_RESULT,
    KIND_TASK,
    PAGE,
    RECORD_HEADER_BYTES,
    Pump,
    SchedulerCore,
    Segment,
)
from tests.sim.wire import CONTROL_BYTES, Rings

SLEEPING = 64  # in a peer's page and in the bell page
NEWS = 64  # in the bell page
RAISED, REFUSED = 1, 3  # statuses


class Scheduler:
    """A pump, which the test lets run."""

    def __init__(self):
        self.bell = Segment.private(PAGE)
        self.eventfds = [os.eventfd(0, os.EFD_NONBLOCK)]
        self.core = SchedulerCore()
        self.pump = Pump(self.core, self.bell, self.eventfds[0])

    def run(self, look_everywhere=False):
        while self.pump.run(look_everywhere):
            pass

    def close(self):
        for descriptor in self.eventfds:
            os.close(descriptor)


class Peer:
    """A client's or a worker's ends of its rings."""

    def __init__(self, scheduler, bits=0, ring_bytes=65536, control_bytes=CONTROL_BYTES):
        self.scheduler, self.bits, self.next = scheduler, bits, 1
        self.rings = Rings(ring_bytes, control_bytes)
        self.eventfd = os.eventfd(0, os.EFD_NONBLOCK)
        scheduler.eventfds.append(self.eventfd)
        self.peer = scheduler.pump.add(self.rings.memory, not bits, self.eventfd, client_bits=bits)

    def tell(self):
        """Say that there is news."""
        word = memoryview(self.scheduler.bell).cast("B")[NEWS : NEWS + 8].cast("Q")
        word[0] |= 1 << self.peer.slot

    def sleep(self):
        memoryview(self.rings.memory)[SLEEPING] = 1

    def is_woken(self):
        try:
            return os.eventfd_read(self.eventfd) > 0
        except BlockingIOError:
            return False

    # a client's

    def announce(self, number, code=b"function"):
        digest = blake2b(code, digest_size=16).digest()
        assert self.rings.up.write(KIND_FUNCTION, 0, digest + code, function=number) is not None

    def submit(self, payload=b"", function=1):
        task, self.next = self.bits << 40 | self.next, self.next + 1
        assert self.rings.tasks.write(KIND_TASK, task, payload, function=function) is not None
        return task

    def answers(self):
        found = []
        while (record := self.rings.results.read()) is not None:
            found.append((record[1], record[5]))
        return found

    # a worker's

    def work(self):
        """Answer all there is with what it was asked; the tasks."""
        tasks = []
        while (record := self.rings.tasks.read(claim=True)) is not None:
            tasks.append(record[1])
            written = self.rings.results.write(KIND_RESULT, record[1], record[2], attempt=record[6], items=record[7])
            assert written is not None
        if tasks:
            self.tell()
        return tasks


@pytest.fixture
def scheduler():
    made = Scheduler()
    yield made
    made.close()


def test_many_control_records_behind_an_unknown_function_are_taken_one_after_the_other(scheduler):
    client, worker = Peer(scheduler, 5, control_bytes=1 << 24), Peer(scheduler)
    task = client.submit(function=2)
    for _ in range(200_000):
        assert client.rings.up.write(KIND_CANCEL, 5 << 40 | 77) is not None
    client.announce(2)
    cancelled = client.submit(function=2)
    assert client.rings.up.write(KIND_CANCEL, cancelled) is not None
    client.tell()
    scheduler.run()
    assert worker.work() == [task]
    scheduler.run()
    assert client.answers() == [(task, 0)]
    assert scheduler.core.counts()["rows"] == 0


def test_a_task_of_a_function_that_is_never_announced_is_refused_though_something_is_cancelled(scheduler):
    client = Peer(scheduler, 5)
    task = client.submit()
    assert client.rings.up.write(KIND_CANCEL, 5 << 40 | 77) is not None
    client.tell()
    scheduler.run()
    assert client.answers() == [(task, REFUSED)]
