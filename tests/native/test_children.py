"""Children: tasks that their parent may take back, and the scheduler may take away, from any place."""

import os
import time

import pytest

from scaler._native import CHILDREN_BYTES, Children, Segment, lay_out_peer, peer_segment_bytes

RING, CONTROL = 4096, 4096


def segment(children_bytes=CHILDREN_BYTES, name=None):
    size = peer_segment_bytes(RING, CONTROL, children_bytes)
    memory = Segment.private(size) if name is None else Segment.create(name, size)
    lay_out_peer(memory, bytes(16), RING, CONTROL, children_bytes)
    return memory


@pytest.fixture
def sides():
    memory = segment()
    return Children(memory), Children(memory)


def test_the_oldest_is_taken_away_first(sides):
    parent, scheduler = sides
    for number in range(1, 6):
        assert parent.put(number, b"%d" % number)
    assert parent.take_task(1)
    assert scheduler.steal() == (2, b"2")
    assert parent.put(6, b"6")
    assert [scheduler.steal()[0] for _ in range(4)] == [3, 4, 5, 6]
    assert scheduler.steal() is None


def test_what_one_side_has_the_other_cannot_have(sides):
    parent, scheduler = sides
    parent.put(1, b"")
    assert scheduler.steal() == (1, b"")
    assert not parent.take_task(1)
    parent.put(2, b"")
    assert parent.take_task(2)
    assert not parent.take_task(2)
    assert scheduler.steal() is None


def test_there_is_room_for_so_many_and_again_when_they_have_gone(sides):
    parent, scheduler = sides
    count = 0
    while parent.put(count + 1, b"x"):
        count += 1
    assert count == 256
    assert scheduler.steal() == (1, b"x")
    assert parent.put(1000, b"y")
    assert not parent.put(1001, b"y")
    assert parent.take_task(100)
    assert parent.put(1001, b"z")


def test_a_payload_that_is_too_large_is_not_taken(sides):
    parent, _ = sides
    assert not parent.put(1, bytes(457))
    assert parent.put(1, bytes(456))


def test_a_segment_without_a_place_for_children_is_refused():
    for children_bytes in (0, 4096):
        with pytest.raises(ValueError, match="no place for children"):
            Children(segment(children_bytes))


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_each_child_is_had_by_exactly_one_of_two_processes():
    name = f"scaler-test-children-{os.getpid()}"
    memory = segment(name=name)
    Segment.unlink(name)
    log = Segment.create(name + "-log", 1 << 20)
    Segment.unlink(name + "-log")
    marks = memoryview(log).cast("B")
    parent = Children(memory)
    thief = os.fork()
    if thief == 0:
        scheduler, view = Children(memory), memoryview(log).cast("B")
        try:
            while not view[0]:
                stolen = scheduler.steal()
                if stolen is not None:
                    view[stolen[0]] += 1
        finally:
            os._exit(0)
    number, taken_back = 0, 0
    end = time.monotonic() + 1.0
    try:
        while time.monotonic() < end and number < (1 << 20) - 10:
            mine = []
            for _ in range(3):
                number += 1
                if parent.put(number, b"%d" % number):
                    mine.append(number)
                else:
                    marks[number] += 1
            for task in reversed(mine):
                if parent.take_task(task):
                    marks[task] += 1
                    taken_back += 1
    finally:
        marks[0] = 1
        os.waitpid(thief, 0)
    while (stolen := parent.steal()) is not None:
        marks[stolen[0]] += 1
    assert set(marks[1 : number + 1]) == {1}
    assert 0 < taken_back < number
    marks.release()
