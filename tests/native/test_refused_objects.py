"""Objects that come with what is refused, or with what is no task: their maker may free each, and hears it once.

Every way in which the core turns something down that may bring objects is tried here with a new object, which its maker
held beyond the record or not.
"""

from hashlib import blake2b

import pytest

from scaler._native import (
    FLAG_INPUTS,
    FLAG_OBJECTS,
    KIND_RESULT,
    KIND_TASK,
    STATUS_MISSING,
    STATUS_OK,
    STATUS_REFUSED,
    SchedulerCore,
    join_places,
    pack_give_up,
    pack_inputs,
    pack_supply,
)
from tests.native.object_peers import NEW_AND_HELD, FakeClient, FakeWorker, is_empty


@pytest.fixture
def core():
    return SchedulerCore()


@pytest.fixture
def client(core):
    return FakeClient(core, 5)


@pytest.fixture
def worker(core):
    return FakeWorker(core)


def say(client, task, places, rest=b"", flags=FLAG_OBJECTS, kind=KIND_TASK, function=0):
    client.submits_out.write(kind, task, join_places(places, rest), function=function, flags=flags)
    client.core.feed_client(client.index, client.submits_in)
    client.core.step(0)
    client.core.check()


def own(client, number):
    return client.tag << 40 | number


MISSING = 5 << 40 | 9999  # an object that nobody has brought
BOTH = FLAG_OBJECTS | FLAG_INPUTS
CARRYING = blake2b(b"carrying", digest_size=16).digest()
WAYS = {
    "a task of another client": lambda client, place: say(client, 6 << 40 | 1, [place]),
    "an id that is in use": lambda client, place: say(client, own(client, 1), [place]),
    "a record that is no task": lambda client, place: say(client, own(client, 2), [place], kind=KIND_RESULT),
    "a function that was never announced": lambda client, place: say(client, own(client, 2), [place], function=77),
    "an object that is missing": lambda client, place: say(client, own(client, 2), [(MISSING, 1, 0, 9, 0), place]),
    "an object that is missing behind it": lambda client, place: say(
        client, own(client, 2), [place, (MISSING, 1, 0, 9, 0)]
    ),
    "inputs that make no sense": lambda client, place: say(
        client, own(client, 2), [place], pack_inputs([own(client, 3)], 0, 0, False), BOTH
    ),
    "inputs that are cut off": lambda client, place: say(client, own(client, 2), [place], b"short", BOTH),
    "inputs that are gone, and an object that is missing": lambda client, place: say(
        client, own(client, 3), [place, (MISSING, 1, 0, 9, 0)], pack_inputs([own(client, 2)], 0, 0, False), BOTH
    ),
    "inputs that were cancelled": lambda client, place: say(
        client, own(client, 3), [place], pack_inputs([own(client, 2)], 1, 0, False), BOTH
    ),
    "inputs of another client's task": lambda client, place: say(
        client, 6 << 40 | 3, [place], pack_inputs([], 0, 0, False), BOTH
    ),
    "a result that nobody waits for": lambda client, place: say(
        client, own(client, 2), [place], pack_supply(STATUS_OK), BOTH
    ),
    "a result of another client's task": lambda client, place: say(
        client, 6 << 40 | 2, [place], pack_supply(STATUS_OK), BOTH
    ),
    "a result of two objects": lambda client, place: say(
        client, own(client, 2), [place, (MISSING, 1, 0, 9, 0)], pack_supply(STATUS_OK), BOTH
    ),
    "a result that ended as none can": lambda client, place: say(
        client, own(client, 2), [place], pack_supply(999), BOTH
    ),
    "the end of waiting": lambda client, place: say(client, own(client, 2), [place], pack_give_up(), BOTH),
    "the end of waiting for what is here": lambda client, place: say(
        client, own(client, 1), [place], pack_give_up(), BOTH
    ),
    "a function without its digest's bytes": lambda client, place: client.core.on_function(
        client.index, 9, b"d" * 16, FLAG_OBJECTS, join_places([place, (MISSING, 1, 0, 9, 0)], b"code")
    ),
    "a function that is known": lambda client, place: client.core.on_function(
        client.index, 9, CARRYING, FLAG_OBJECTS, join_places([place], b"code")
    ),
    "a function under a number that is taken": lambda client, place: client.core.on_function(
        client.index, 0, b"e" * 16, FLAG_OBJECTS, join_places([place], b"code")
    ),
    "a function that there is no room for": lambda client, place: (
        setattr(client.core, "client_queue_bytes", 1),
        client.core.on_function(
            client.index, 9, b"e" * 16, FLAG_OBJECTS, join_places([place], bytes(1 << 20))
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("is_held", [False, True], ids=["not held", "held"])
@pytest.mark.parametrize("way", WAYS)
def test_what_comes_with_something_refused_goes_back_to_its_maker_once(core, client, worker, way, is_held):
    client.submit(client.place())  # task 1 stays open, with an object of its own
    carried = client.place()
    core.on_function(client.index, 1, CARRYING, FLAG_OBJECTS, join_places([carried], b"code"))
    before = len(core.objects)
    place = client.place(NEW_AND_HELD) if is_held else client.place()
    WAYS[way](client, place)
    core.step(0)
    if is_held:
        assert len(core.objects) in (before, before + 1)  # the maker holds what was taken up
        client.release(place[0])
    assert client.freed() == [place[0]]
    assert len(core.objects) == before
    assert core.counts()["rows"] == 1
    client.leave()
    worker.leave()
    core.step(0)
    assert is_empty(core)


def test_a_task_with_a_missing_object_waits_for_no_input_any_more(core, client, worker):
    """It names an input that has ended, for which it would wait until that is handed in."""
    gone = client.submit()
    worker.work()
    assert [answer[:2] for answer in client.answers()] == [(gone, STATUS_OK)]
    refused, waiting = own(client, 2), own(client, 3)
    say(client, refused, [(MISSING, 1, 0, 9, 0)], pack_inputs([gone], 0, 0, False), BOTH)
    assert [answer[:2] for answer in client.answers()] == [(refused, STATUS_MISSING)]
    assert core.edges.nodes == 0
    place = client.place()
    say(client, waiting, [place], pack_inputs([gone], 0, 0, False) + b"do", BOTH)
    assert core.counts()["rows"] == 1
    client.submits_out.write(KIND_TASK, gone, pack_supply(STATUS_OK) + b"value", flags=FLAG_INPUTS)
    core.feed_client(client.index, client.submits_in)
    assert worker.work() == [(*place[:4], place[4])]
    assert [answer[:2] for answer in client.answers()] == [(waiting, STATUS_OK)]
    assert client.freed() == [place[0]]
    assert is_empty(core)
    assert core.edges.nodes == core.edges.blobs == 0


def test_a_supplied_object_that_is_held_stays_until_its_maker_lets_go(core, client, worker):
    gone = client.submit()
    worker.work()
    say(client, own(client, 2), [client.place()], pack_inputs([gone], 0, 0, False) + b"do", BOTH)
    supplied = client.place(NEW_AND_HELD)
    say(client, gone, [supplied], pack_supply(STATUS_OK), BOTH)
    assert len(worker.work()) == 2
    assert core.objects.holders_of(supplied[0]) == 1
    client.release(supplied[0])
    client.answers()
    assert sorted(client.freed()) == [5 << 40 | 1, supplied[0]]
    assert is_empty(core)


def test_what_is_supplied_under_a_status_that_there_is_not_ends_those_that_wait(core, client, worker):
    gone = client.submit()
    worker.work()
    client.answers()
    waiting = own(client, 2)
    say(client, waiting, [], pack_inputs([gone], 0, 0, False) + b"do", BOTH)
    client.submits_out.write(KIND_TASK, gone, pack_supply(77) + b"value", flags=FLAG_INPUTS)
    core.feed_client(client.index, client.submits_in)
    assert [answer[:2] for answer in client.answers()] == [(waiting, STATUS_REFUSED)]
    assert is_empty(core)
