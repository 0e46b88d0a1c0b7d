"""What a worker runs, as it is seen from the other end of its rings."""

import random
import struct

import pytest

from scaler._native import HEADERS_OFFSET, KIND_TASK, PAGE, RECORD_HEADER_BYTES, Ring, RunningTask
from tests.effort import seeds
from tests.processes import in_child
from tests.sim.wire import Rings

STATE, TASK, ATTEMPT, SINCE, LIMIT = 128, 136, 144, 152, 160  # in the worker's page
RING_BYTES = 8192


class Worker:
    def __init__(self):
        rings = Rings(RING_BYTES)
        self.memory = rings.memory
        self.producer = rings.tasks
        self.consumer = Ring(rings.memory, HEADERS_OFFSET, RING_BYTES, PAGE)
        self.running = RunningTask(rings.memory, self.producer)

    def give(self, task, attempt=1, size=0):
        position = self.producer.write(KIND_TASK, task, bytes(size), attempt=attempt)
        assert position is not None
        return position

    def claim(self, position):
        """As a worker does; it moves on only when the result is there."""
        at = PAGE + position % RING_BYTES
        (word,) = struct.unpack_from("<I", memoryview(self.memory), at + 8)
        assert word & 3 == 0
        struct.pack_into("<I", memoryview(self.memory), at + 8, word | 1)

    def pass_to(self, position):
        struct.pack_into("<Q", memoryview(self.memory), HEADERS_OFFSET + 64, position)

    def note(self, **fields):
        places = {"task": TASK, "attempt": ATTEMPT, "since": SINCE, "limit": LIMIT}
        for name, value in fields.items():
            struct.pack_into("<Q", memoryview(self.memory), places[name], value)

    def set_running(self, yes):
        struct.pack_into("<I", memoryview(self.memory), STATE, int(yes))


@pytest.fixture
def worker():
    return Worker()


def test_an_attempt_is_in_progress_from_its_claim_until_its_result_is_there(worker):
    first, second = worker.give(7), worker.give(8)
    assert not worker.running.is_it(7, 1)
    worker.claim(first)
    assert worker.running.is_it(7, 1)
    assert not worker.running.is_it(7, 2)
    assert not worker.running.is_it(8, 1)
    worker.pass_to(second)
    assert not worker.running.is_it(7, 1)
    assert not worker.running.is_it(8, 1)
    worker.claim(second)
    assert worker.running.is_it(8, 1)


def test_with_a_time_it_is_only_the_call_that_began_then(worker):
    worker.claim(worker.give(7))
    worker.note(since=99)
    assert worker.running.is_it(7, 1, 99)
    assert not worker.running.is_it(7, 1, 98)


def test_what_was_taken_back_before_it_is_passed_over(worker):
    taken = worker.give(6)
    assert worker.producer.take_back(taken)
    worker.claim(worker.give(7))
    assert worker.running.is_it(7, 1)


def test_it_is_found_behind_the_end_of_the_ring(worker):
    size = 900
    position = worker.give(1, size=size)
    while (following := worker.give(2, size=size)) % RING_BYTES:
        worker.pass_to(following)
        position = following
    assert following > position + size + 100  # there is padding before it
    worker.claim(following)
    assert not worker.running.is_it(2, 1)  # not before the one at the tail is done with
    worker.pass_to(position + (RECORD_HEADER_BYTES + size + 7) // 8 * 8)
    assert worker.running.is_it(2, 1)


def test_all_but_what_runs_is_taken_back(worker):
    worker.claim(worker.give(7))
    worker.give(8, 5)
    worker.give(9, 6)
    assert worker.running.take_back_all() == [(8, 5), (9, 6)]
    assert worker.running.take_back_all() == []
    assert worker.running.is_it(7, 1)
    assert worker.consumer.read(claim=True) is None


def test_who_runs_longer_than_it_may_is_overdue(worker):
    worker.note(task=7, attempt=1, since=1000, limit=500)
    assert worker.running.find_overdue(2000) is None  # it runs nothing
    worker.set_running(True)
    assert worker.running.find_overdue(1500) is None
    assert worker.running.find_overdue(1501) == (7, 1, 1000, 500)
    worker.note(limit=0)
    assert worker.running.find_overdue(1 << 60) is None


# workers that write into their rings what makes no sense


def look(worker):
    """What is found there from outside, in every way there is."""
    found = worker.running.is_it(7, 1), worker.running.find_overdue(1 << 60), worker.running.take_back_all()
    return *found, worker.producer.claimed(), worker.producer.broken


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("length", [0, 1, 7, 8, 55, 61, 1 << 16, 1 << 31, (1 << 32) - 8, (1 << 32) - 1])
def test_a_length_that_cannot_be_ends_the_look_and_breaks_the_ring(worker, at, length):
    positions = [worker.give(7), worker.give(8)]
    worker.claim(positions[0])
    worker.give(9)
    struct.pack_into("<I", memoryview(worker.memory), PAGE + positions[at], length)
    is_it, _, taken, claimed, is_broken = in_child(lambda: look(worker))
    assert is_broken
    assert is_it == (at == 1 or length == 61)
    assert taken == ([(8, 1)] if length == 61 and at == 1 else [])
    assert claimed == ([(7, 1)] if at == 1 or length == 61 else [])


@pytest.mark.parametrize("tail", [1, 4, 65, 1 << 16, 1 << 63, (1 << 64) - 8, (1 << 64) - 1])
def test_so_does_a_position_that_cannot_be(worker, tail):
    worker.claim(worker.give(7))
    worker.give(8)
    worker.pass_to(tail)
    assert in_child(lambda: look(worker)) == (False, None, [], [], True)


def test_so_does_a_claim_that_cannot_be(worker):
    position = worker.give(7)
    struct.pack_into("<I", memoryview(worker.memory), PAGE + position + 8, 0x12345678)
    assert not worker.running.is_it(7, 1)
    assert worker.producer.broken


def test_no_record_is_seen_that_reaches_beyond_the_ring(worker):
    while worker.give(1, size=900) < RING_BYTES:
        worker.pass_to(worker.producer.positions[0])
    worker.pass_to(RING_BYTES - 8)
    memory = memoryview(worker.memory)
    struct.pack_into("<IB", memory, PAGE + RING_BYTES - 8, RECORD_HEADER_BYTES, KIND_TASK)
    claim = (RING_BYTES - 8 >> 3) << 2
    struct.pack_into("<IIQQ", memory, PAGE + RING_BYTES, claim | 1, 0, 7, 1)  # the next ring has the rest of it
    assert in_child(lambda: look(worker)) == (False, None, [], [], True)


@pytest.mark.parametrize("seed", seeds(20))
def test_any_bytes_in_a_ring_are_looked_at_in_an_instant(seed):
    chance = random.Random(seed)

    def scribble_and_look():
        for _ in range(200):
            worker = Worker()
            for number in range(chance.randrange(1, 40)):
                worker.give(number, size=chance.randrange(100))
            for _ in range(chance.randrange(1, 5)):
                at, size = chance.randrange(RING_BYTES // 4), chance.choice((1, 4, 8, 100, RING_BYTES // 2))
                noise = chance.choice((bytes(size), b"\xff" * size, chance.randbytes(size)))
                memoryview(worker.memory)[PAGE + at : PAGE + at + size] = noise
            if chance.random() < 0.3:
                worker.pass_to(chance.choice((chance.getrandbits(64), chance.randrange(RING_BYTES))))
            look(worker)
        return True

    assert in_child(scribble_and_look)
