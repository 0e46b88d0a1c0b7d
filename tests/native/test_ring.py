"""The ring by itself: order, wrap, full, withdraw, and a reader that believes nothing."""

import os
import signal
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler._native import RING_HEADER_BYTES, RecordCopy, Ring, Segment
from tests.effort import rounds

TASK = 1
HEADER_BYTES = 56


def both_ends(capacity=1024):
    memory = Segment.private(4096 + capacity)
    return memory, Ring(memory, 0, capacity), Ring(memory, 0, capacity)


def test_a_record_is_read_as_it_was_written():
    _, producer, consumer = both_ends()
    producer.write(TASK, 7, b"payload", function=3, flags=4, status=5, attempt=6, items=8, detail=9)
    assert consumer.read() == RecordCopy(
        TASK, 7, b"payload", function=3, flags=4, status=5, attempt=6, items=8, detail=9
    )
    assert consumer.read() is None


def test_a_full_ring_refuses_until_the_reader_has_moved_on():
    _, producer, consumer = both_ends()
    written = 0
    while producer.write(TASK, written, b"x" * 60) is not None:
        written += 1
    assert written == 1024 // 120
    assert consumer.read().task == 0
    assert producer.write(TASK, written, b"x" * 60) is None or written == 1024 // 120
    while consumer.read() is not None:
        pass
    assert producer.write(TASK, written, b"x" * 60) is not None


@given(st.integers(0, 127), st.lists(st.integers(0, 72), min_size=1, max_size=60))
@settings(max_examples=rounds(200))
def test_no_record_is_lost_or_changed_at_any_wrap(start, sizes):
    _, producer, consumer = both_ends()
    producer.start_at(start * 8 + (1 << 40))
    consumer.start_at(start * 8 + (1 << 40))
    expected = []
    for number, size in enumerate(sizes):
        payload = bytes([number % 251]) * size
        while producer.write(TASK, number, payload) is None:
            task, data = expected.pop(0)
            assert consumer.read()[1:3] == (task, data)
        expected.append((number, payload))
    for task, data in expected:
        assert consumer.read()[1:3] == (task, data)
    assert consumer.read() is None


def test_a_withdrawn_record_is_never_claimed():
    _, producer, consumer = both_ends()
    first = producer.write(TASK, 1)
    second = producer.write(TASK, 2)
    assert producer.take_back(first)
    assert not producer.take_back(first)
    assert consumer.read(claim=True).task == 2
    assert not producer.take_back(second)


def test_a_record_that_its_reader_wrote_over_is_not_taken_back():
    memory, producer, _ = both_ends()
    first = producer.write(TASK, 1)
    memoryview(memory)[RING_HEADER_BYTES : RING_HEADER_BYTES + HEADER_BYTES] = bytes(HEADER_BYTES)
    assert not producer.take_back(first)
    assert producer.broken


@pytest.mark.parametrize(("head", "tail"), [(1, 0), (0, 1), (9, 9), (0, 8), (1032, 0), (8, 2**64 - 1024), (0, 2**63)])
def test_a_ring_whose_positions_make_no_sense_is_not_taken_up(head, tail):
    memory, _, _ = both_ends()
    struct.pack_into("<Q", memoryview(memory), 0, head)
    struct.pack_into("<Q", memoryview(memory), 64, tail)
    with pytest.raises(ValueError, match=f"no records between {tail} and {head}"):
        Ring(memory, 0, 1024)


@pytest.mark.parametrize("length", [0, 8, 55, 57 + 1024, 0xFFFFFFFF])
def test_a_wrong_length_breaks_the_ring_and_not_the_reader(length):
    memory, producer, consumer = both_ends()
    producer.write(TASK, 1, b"abc")
    struct.pack_into("<IB", memoryview(memory).cast("B"), RING_HEADER_BYTES, length, TASK)
    assert consumer.read() is None
    assert consumer.broken


def test_a_killed_writer_leaves_only_whole_records():
    name = f"scaler-test-{os.getpid()}"
    memory = Segment.create(name, 4096 + 65536)
    try:
        consumer = Ring(memory, 0, 65536)
        child = os.fork()
        if child == 0:
            producer = Ring(Segment.open(name), 0, 65536)
            number = 0
            while True:
                if producer.write(TASK, number, number.to_bytes(8, "little") * (number % 40)) is not None:
                    number += 1
        expected = 0
        end = time.monotonic() + 1
        killed = False
        while True:
            record = consumer.read(claim=True)
            if record is None:
                assert not consumer.broken
                if killed:
                    break
                continue
            assert record.task == expected
            assert record.payload == expected.to_bytes(8, "little") * (expected % 40)
            expected += 1
            if not killed and time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                killed = True
        assert expected > 1000
    finally:
        Segment.unlink(name)


def test_no_room_is_a_clean_error():
    free = os.statvfs("/dev/shm")
    with pytest.raises(OSError):
        Segment.create(f"scaler-test-big-{os.getpid()}", free.f_blocks * free.f_frsize * 2)
    assert not os.path.exists(f"/dev/shm/scaler-test-big-{os.getpid()}")
