"""What functions carry: their objects' holders, through the core, with rings in private memory."""

import pytest

from scaler._native import (
    FLAG_OBJECTS,
    KIND_FORGET,
    KIND_FUNCTION,
    STATUS_REFUSED,
    SchedulerCore,
    join_places,
    split_places,
)
from tests.native.model import digest_of
from tests.native.object_peers import FOLDER, LIFE, FakeClient, FakeWorker, is_empty, read_all


@pytest.fixture
def core():
    made = SchedulerCore(1, LIFE, FOLDER)
    yield made
    assert made.take_freed() in ((), [])


@pytest.fixture
def client(core):
    return FakeClient(core, 5)


@pytest.fixture
def worker(core):
    return FakeWorker(core)


def test_a_functions_objects_stay_as_long_as_it_and_those_of_an_equal_one_go_back(core, client, worker):
    other = FakeClient(core, 6)
    place, same = client.place(), other.place()
    core.on_function(client.index, 1, b"e" * 16, FLAG_OBJECTS, join_places([place], b"f"))
    core.on_function(other.index, 1, b"e" * 16, FLAG_OBJECTS, join_places([same], b"f"))
    core.step(0)
    assert (client.freed(), other.freed()) == ([], [same[0]])
    client.submit(function=1)
    worker.begin()
    announced = [record for record in read_all(worker.control) if record[0] == KIND_FUNCTION]
    assert [split_places(record[2][16:]) for record in announced] == [([place], b"f")]
    worker.finish()
    assert client.leave() == [client.segment_name()]
    assert core.objects.holders_of(place[0]) == 2  # by the function, for the other client, and by the worker
    core.on_forget(other.index, 1)
    core.step(0)
    assert [record[0] for record in read_all(worker.control)] == [KIND_FORGET]
    assert core.objects.holders_of(place[0]) == 1
    assert core.unlink == []
    worker.release(place[0])
    assert core.unlink == [client.segment_name()]
    assert is_empty(core)


def test_a_function_that_carries_objects_is_not_taken_for_one_that_does_not(core, client, worker):
    other = FakeClient(core, 6)
    core.on_function(client.index, 1, digest_of(b"plain"), FLAG_OBJECTS, join_places([client.place()], b"evil"))
    core.on_function(other.index, 1, digest_of(b"plain"), 0, b"plain")
    other.submit(function=1)
    worker.begin()
    announced = [record[2][16:] for record in read_all(worker.control) if record[0] == KIND_FUNCTION]
    assert announced == [b"plain"]


def test_a_worker_that_leaves_gives_back_what_functions_carry_and_the_next_is_told_anew(core, client, worker):
    place = client.place()
    core.on_function(client.index, 1, b"e" * 16, FLAG_OBJECTS, join_places([place], b"f"))
    client.submit(function=1)
    worker.begin()
    assert core.objects.holders_of(place[0]) == 2
    worker.leave()
    assert core.objects.holders_of(place[0]) == 1
    other = FakeWorker(core)
    other.begin()
    other.finish()
    assert core.objects.holders_of(place[0]) == 2
    core.on_forget(client.index, 1)
    core.step(0)
    assert client.freed() == []
    other.release(place[0])
    assert client.freed() == [place[0]]
    assert is_empty(core)


def test_a_function_that_names_what_is_not_there_is_none(core, client, worker):
    for payload in (b"", join_places([client.place(), (12345, 0, 0, 0, 0)]), join_places([client.place(0)])):
        core.on_function(client.index, 1, b"e" * 16, FLAG_OBJECTS, payload)
        task = client.submit(function=1)
        assert client.answers() == [(task, STATUS_REFUSED, [])]
    assert client.freed() == [client.tag << 40 | 1]
    assert is_empty(core)
