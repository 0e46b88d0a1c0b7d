"""A ring whose reader or writer is killed with SIGKILL, at any moment, by real processes.

The other side is a process that goes on. Each test kills many times after a random time; what must hold is exact, so
that the time only decides how much has happened.
"""

import os
import random
import signal
import time
from collections.abc import Callable

import pytest

from scaler._native import KIND_TASK, Ring, Segment

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # the child is one function

CAPACITY = 4096
KILLS = 40
LONGEST_LIFE_S = 0.02


@pytest.fixture
def memory():
    """A ring, and behind it a log of one byte per number."""
    name = f"scaler-test-kill-{os.getpid()}"
    made = Segment.create(name, 8192 + (1 << 22))
    Segment.unlink(name)
    return made


class Log:
    """What a process says of numbers, seen by all, in memory that outlives it."""

    def __init__(self, memory: Segment) -> None:
        self.bytes = memoryview(memory).cast("B")[8192:]

    def marks(self, value: int) -> set[int]:
        return {number for number, byte in enumerate(self.bytes) if byte == value}


def run_and_kill(work: Callable[[], None], life_s: float, meanwhile: Callable[[], None]) -> None:
    """`work` in a process of its own, killed after `life_s`; `meanwhile` again and again in this one."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    end = time.monotonic() + life_s
    try:
        while time.monotonic() < end:
            meanwhile()
    finally:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the process ended by itself"


def lives(seed: int) -> list[float]:
    chance = random.Random(seed)
    return [chance.random() * LONGEST_LIFE_S for _ in range(KILLS)]


def payload_of(life: int, number: int) -> bytes:
    return life.to_bytes(4, "little") + number.to_bytes(8, "little") * (number % 50)


def test_writers_are_killed_and_the_next_one_goes_on_where_the_last_record_ended(memory):
    consumer = Ring(memory, 0, CAPACITY)
    records: list[tuple[int, int]] = []

    def read_all():
        while (record := consumer.read()) is not None:
            life = int.from_bytes(record.payload[:4], "little")
            assert record[2] == payload_of(life, record[1])
            records.append((life, record[1]))
        assert not consumer.broken

    for life, life_s in enumerate(lives(1)):

        def write(life=life):
            producer, number = Ring(memory, 0, CAPACITY), 0
            while True:
                if producer.write(KIND_TASK, number, payload_of(life, number)) is not None:
                    number += 1

        run_and_kill(write, life_s, read_all)
    read_all()

    for life in range(KILLS):
        numbers = [number for of, number in records if of == life]
        assert numbers == list(range(len(numbers)))
    assert [life for life, _ in records] == sorted(life for life, _ in records)
    assert len(records) > KILLS


def test_readers_are_killed_and_the_writer_learns_exactly_what_they_have_not_begun(memory):
    log, producer = Log(memory), Ring(memory, 0, CAPACITY)
    positions: dict[int, int] = {}  # of what was written and not known to be read
    ends = {"read": 0, "taken back": 0, "begun": 0}
    next_number = 0

    def write():
        nonlocal next_number
        position = producer.write(KIND_TASK, next_number, b"x" * (next_number % 60))
        if position is not None:
            positions[next_number] = position
            next_number += 1

    def read():
        consumer = Ring(memory, 0, CAPACITY)
        while True:
            record = consumer.read(claim=True)
            if record is not None:
                log.bytes[record[1]] += 1

    for life_s in lives(2):
        run_and_kill(read, life_s, write)
        _, tail = producer.positions
        unread = {number: at for number, at in positions.items() if at >= tail}
        claimed = [number for number, at in unread.items() if not producer.take_back(at)]
        assert claimed in ([], [min(unread, default=0)])  # only the one at the tail can have been begun
        assert all(not log.bytes[number] for number in unread if number not in claimed)
        passed = sorted(positions.keys() - unread.keys())
        assert all(log.bytes[number] for number in passed[:-1])  # the last one may not have been noted any more
        ends["read"] += len(passed)
        ends["begun"] += len(claimed)
        ends["taken back"] += len(unread) - len(claimed)
        positions.clear()

    assert max(log.bytes[:next_number]) == 1, "a record was read twice"
    assert ends["read"] > 0
    assert ends["taken back"] > 0
    assert sum(ends.values()) == next_number


def test_withdrawing_races_a_reader_that_is_killed_and_no_record_goes_both_ways(memory):
    log, producer, chance = Log(memory), Ring(memory, 0, CAPACITY), random.Random(3)
    open_records: list[tuple[int, int]] = []
    withdrawn: set[int] = set()
    next_number = 0

    def write_and_withdraw():
        nonlocal next_number
        for _ in range(8):
            position = producer.write(KIND_TASK, next_number, b"y" * chance.randrange(60))
            if position is None:
                break
            open_records.append((next_number, position))
            next_number += 1
        while open_records and chance.random() < 0.9:
            number, position = open_records.pop(chance.randrange(len(open_records)))
            if producer.take_back(position):
                withdrawn.add(number)
        if not open_records:  # the ring is empty: the reader is just where the next ones will be
            for _ in range(200):
                position = producer.write(KIND_TASK, next_number)
                if position is not None:
                    if producer.take_back(position):
                        withdrawn.add(next_number)
                    next_number += 1

    def read():
        consumer = Ring(memory, 0, CAPACITY)
        while True:
            record = consumer.read(claim=True)
            if record is not None:
                log.bytes[record[1]] += 1

    for life_s in lives(4):
        run_and_kill(read, life_s, write_and_withdraw)
    while not log.marks(1):  # on a busy machine none may have had its turn between a write and its withdrawal
        run_and_kill(read, 0.5, write_and_withdraw)

    # Everybody is gone: what is left in the ring is taken back, or was begun by one of the dead.
    withdrawn |= {number for number, position in open_records if producer.take_back(position)}
    read_once, read_more = log.marks(1), {number for number in range(next_number) if log.bytes[number] > 1}
    assert not read_more
    assert not withdrawn & read_once
    lost = set(range(next_number)) - withdrawn - read_once
    assert len(lost) <= KILLS, "each reader can have been killed between claiming and noting once"
    assert withdrawn
    assert read_once
