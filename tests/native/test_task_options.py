"""What a submit asks for, from its record into the row and on to the worker's record."""

import random
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler._native import (
    DEFAULT_RETRIES,
    MOST_PRIORITY,
    MOST_RETRIES,
    Ring,
    RingOutlet,
    SchedulerCore,
    Segment,
    TaskOptions,
)
from tests.native.test_core import FakeClient, FakeWorker

TASK = 1
RING_HEADER_BYTES = 128
WORKER_DIED = 2

OPTIONS = st.builds(
    TaskOptions,
    retries=st.integers(0, MOST_RETRIES),
    priority=st.integers(-MOST_PRIORITY, MOST_PRIORITY),
    limit_ms=st.integers(0, 2**32 - 1),
)


class Peer(FakeClient):
    def submit(self, payload=b"args", function=0, options=None):
        task = (self.bits << 40) | self.next
        self.next += 1
        assert self.submits_out.write(TASK, task, payload, options=options) is not None
        self.core.feed_client(self.index, self.submits_in)
        return task


def values(options):
    return options.retries, options.priority, options.limit_ms


def test_by_default_nothing_is_asked_for():
    assert values(TaskOptions()) == (DEFAULT_RETRIES, 0, 0)


@pytest.mark.parametrize("wrong", [{"retries": MOST_RETRIES + 1}, {"priority": 16}, {"priority": -16}])
def test_values_that_a_record_cannot_hold_are_refused(wrong):
    with pytest.raises(ValueError, match="retries at priority"):
        TaskOptions(**wrong)


@given(OPTIONS)
def test_the_worker_is_told_what_the_client_has_asked_for(options):
    core = SchedulerCore()
    client = Peer(core, 5)
    memory = Segment.private(4096 + 65536)
    core.on_worker_joined(RingOutlet(Ring(memory, 0, 65536)), RingOutlet(Ring(Segment.private(8192), 0, 4096)))
    client.submit(options=options)
    core.step(0)
    word, limit_ms = struct.unpack_from("<2I", memoryview(memory), RING_HEADER_BYTES + 48)
    assert (word & 255) - 1 == options.retries or (word & 255 == 0 and options.retries == DEFAULT_RETRIES)
    assert word >> 8 & 255 == options.priority & 255
    assert word >> 16 == 0
    assert limit_ms == options.limit_ms


def test_what_has_more_priority_runs_first_and_within_it_clients_take_turns():
    core = SchedulerCore()
    clients = [Peer(core, bits) for bits in (5, 6)]
    worker = FakeWorker(core)
    clients[0].submit()
    core.step(0)
    assert worker.begin()
    worker.finish(duration_ns=100 * 10**6)  # known to be slow: quick ones, and the first of a kind, share a turn
    priorities = [-15, -1, 0, 1, 15] * 20
    random.Random(1).shuffle(priorities)
    wanted = {}
    for i, priority in enumerate(priorities):
        client = clients[i % 2]
        wanted[client.submit(options=TaskOptions(priority=priority))] = priority, client.bits
    ran = []
    while running := worker.begin() or core.step(0) or worker.begin():
        ran.append(running.task)
        worker.finish(duration_ns=100 * 10**6)
    assert [wanted[task][0] for task in ran] == sorted(priorities, reverse=True)
    for level in set(priorities):
        turns = [wanted[task][1] for task in ran if wanted[task][0] == level]
        both = 2 * min(turns.count(5), turns.count(6))
        assert all(a != b for a, b in pairwise(turns[:both])), (level, turns)


@pytest.mark.parametrize("retries", [0, 1, 3, 7])
def test_a_task_survives_as_many_deaths_as_it_may(retries):
    core = SchedulerCore()
    client = Peer(core, 5)
    task = client.submit(options=TaskOptions(retries=retries))
    for _ in range(retries + 1):
        client.drain()
        assert client.answers == []
        worker = FakeWorker(core)
        core.step(0)
        assert worker.begin().task == task
        core.on_worker_left(worker.index, 0)
    client.drain()
    assert [answer[:2] for answer in client.answers] == [(task, WORKER_DIED)]


def test_a_worker_is_told_how_many_have_died_before_it():
    core = SchedulerCore()
    client = Peer(core, 5)
    client.submit(options=TaskOptions(retries=7, priority=-2))
    for deaths in range(3):
        memory = Segment.private(4096 + 65536)
        worker = core.on_worker_joined(
            RingOutlet(Ring(memory, 0, 65536)), RingOutlet(Ring(Segment.private(8192), 0, 4096))
        )
        core.step(0)
        (word,) = struct.unpack_from("<I", memoryview(memory), RING_HEADER_BYTES + 48)
        assert (word & 255, word >> 8 & 255, word >> 20) == (8, 254, deaths)
        assert Ring(memory, 0, 65536).read(claim=True) is not None
        core.on_worker_left(worker, 0)
