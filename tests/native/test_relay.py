"""The relay's own end of its peers' rings: what it collects, and whether it may sleep after that."""

import gc
import os
import struct

import pytest

from scaler._native import (
    FLAG_OBJECTS,
    HEADERS_OFFSET,
    KIND_CANCEL,
    KIND_FORGET,
    KIND_FREED,
    KIND_FUNCTION,
    KIND_RELEASE,
    KIND_RESULT,
    KIND_TASK,
    MOST_RECORD_BYTES,
    NEWS_WORDS,
    PAGE,
    PLACE_NEW,
    RECORD_HEADER_BYTES,
    RecordBatch,
    RecordCopy,
    RecordRun,
    Relay,
    RelayPeer,
    Segment,
    join_places,
    runs_to_task_columns,
)
from scaler.colocation.doorbell import new_doorbell
from tests.processes import in_child
from tests.sim.wire import CONTROL_BYTES, Rings

NEWS = 64  # in the bell page
SLOTS = NEWS_WORDS * 64
STATE = 128  # in a worker's page; then what it runs
RING_BYTES = 262144


class Host:
    """A relay and one peer of it."""

    def __init__(self, is_client):
        self.bell = Segment.private(PAGE)
        self.doorbell = new_doorbell()
        self.relay = Relay(self.bell, -1, is_client)
        self.rings = Rings(RING_BYTES)
        self.peer = self.relay.add(self.rings.memory, self.doorbell)

    def submit(self, count):
        for number in range(1, count + 1):
            assert self.rings.tasks.write(KIND_TASK, number) is not None
        self.tell()

    def tell(self):
        memoryview(self.bell)[NEWS] = 1

    def close(self):
        os.close(self.doorbell)


@pytest.fixture(params=[True], ids=["client"])
def host(request):
    made = Host(request.param)
    yield made
    made.close()


def test_what_is_left_of_a_burst_is_not_slept_over(host):
    host.submit(3000)
    runs = 0
    while not runs or not host.relay.armed:
        host.relay.run()
        runs += 1
    assert len(host.peer.collected) == 3000


def test_what_was_said_while_it_was_holding_is_not_slept_over(host):
    host.relay.hold(True)
    host.submit(10)
    host.relay.run()
    assert host.relay.armed
    assert len(host.peer.collected) == 0
    host.relay.hold(False)
    assert not host.relay.armed
    while not host.relay.armed:
        host.relay.run()
    assert len(host.peer.collected) == 10


@pytest.mark.parametrize("host", [True, False], ids=["client", "worker"], indirect=True)
@pytest.mark.parametrize("nonsense", ["length", "kind"])
def test_a_peer_that_writes_nonsense_is_named_once(host, nonsense):
    ring, place = (host.rings.tasks, 0) if host.relay.is_client else (host.rings.results, 1)
    ring.write(KIND_TASK if host.relay.is_client else KIND_RESULT, 1)
    assert ring.write(KIND_CANCEL if nonsense == "kind" else KIND_TASK) is not None
    if nonsense == "length":
        struct.pack_into("<I", memoryview(host.rings.memory).cast("B"), PAGE + place * RING_BYTES + 56, 3)
    host.tell()
    for look_everywhere in (False, True):
        host.relay.run(look_everywhere)
        assert host.relay.broken == [host.peer]
        assert len(host.peer.collected) == 1


@pytest.mark.parametrize("host", [False], ids=["worker"], indirect=True)
@pytest.mark.parametrize(
    "nonsense", [{"kind": KIND_TASK}, {"kind": KIND_FORGET}, {"flags": 64}, {"status": 100}], ids=str
)
def test_what_the_scheduler_would_not_take_from_a_worker_breaks_that_worker(host, nonsense):
    said = {"kind": KIND_RESULT, "task": 1, **nonsense}
    assert host.rings.results.write(said.pop("kind"), said.pop("task"), b"a", **said) is not None
    host.relay.run(True)
    assert host.relay.broken == [host.peer]
    assert len(host.peer.collected) == len(host.relay.asides) == 0


@pytest.mark.parametrize("host", [False], ids=["worker"], indirect=True)
def test_so_does_a_result_that_is_larger_than_a_record_may_be(host):
    half = bytes(MOST_RECORD_BYTES - RECORD_HEADER_BYTES)
    for _ in range(2):
        assert host.rings.results.write(KIND_RESULT, 1, half) is not None
    struct.pack_into("<I", memoryview(host.rings.memory).cast("B"), PAGE + RING_BYTES, 2 * MOST_RECORD_BYTES)
    host.relay.run(True)
    assert host.relay.broken == [host.peer]
    assert len(host.peer.collected) == 0


@pytest.mark.parametrize("host", [True], ids=["client"], indirect=True)
def test_a_client_has_no_results_to_say(host):
    assert host.rings.tasks.write(KIND_RESULT, 1, b"a") is not None
    host.relay.run(True)
    assert host.relay.broken == [host.peer]


@pytest.mark.parametrize("host", [False], ids=["worker"], indirect=True)
@pytest.mark.parametrize("length", [0, 7, 57, 1 << 20, (1 << 32) - 1])
def test_a_worker_that_writes_into_its_tasks_holds_up_no_withdrawal(host, length):
    for number in range(1, 4):
        assert host.peer.tasks.write(KIND_TASK, number, attempt=10 + number) is not None
    struct.pack_into("<I", memoryview(host.rings.memory).cast("B"), PAGE, length)
    assert not host.relay.withdraw(0, 9, 1)


@pytest.mark.parametrize("host", [False], ids=["worker"], indirect=True)
def test_a_worker_cannot_cancel(host):
    assert host.rings.up.write(KIND_CANCEL, (1 << 64) - 1) is not None
    host.tell()
    host.relay.run()
    assert [record.kind for _, record in host.relay.asides] == [KIND_CANCEL]


CLAIM = 8  # in a record
CLAIMED = 1


@pytest.mark.parametrize("host", [False], ids=["worker"], indirect=True)
def test_of_a_worker_that_has_gone_the_relay_says_what_it_had_claimed(host):
    for number in range(1, 4):
        assert host.peer.tasks.write(KIND_TASK, number, attempt=10 + number) is not None
    view = memoryview(host.rings.memory).cast("B")
    view[PAGE + CLAIM] |= CLAIMED
    host.relay.remove(host.peer)
    assert host.peer.claimed == [(1, 11)]


@pytest.mark.parametrize("host", [False], ids=["worker"], indirect=True)
@pytest.mark.parametrize("holding", [False, True])
def test_what_a_worker_has_answered_before_it_went_is_said_once_and_in_order(host, holding):
    said: list[int] = []
    own_tag = (1 << 24) - 2  # of worker 0
    for number in range(1, 2001):
        large = number % 500 == 0
        payload, flags = (
            (join_places([(own_tag << 40 | number, 0, 0, 10, PLACE_NEW)]), FLAG_OBJECTS) if large else (b"a", 0)
        )
        assert host.rings.results.write(KIND_RESULT, number, payload, flags=flags) is not None
        if number == 100:
            host.relay.run(True)
            host.relay.hold(holding)
    rest = host.relay.remove(host.peer)
    for _, aside in host.relay.asides:
        said += [aside.task] if isinstance(aside, RecordCopy) else aside.tasks()
    assert said + rest.tasks() == list(range(1, 2001))


@pytest.mark.parametrize("host", [False], ids=["worker"], indirect=True)
@pytest.mark.parametrize("length", [0, 1, 7, 57, 1 << 20, (1 << 32) - 1])
@pytest.mark.parametrize("tail", [0, 8, 56, 1 << 40, (1 << 64) - 1])
def test_nothing_that_a_dead_worker_has_left_in_its_ring_is_believed(host, length, tail):
    for number in range(1, 4):
        assert host.peer.tasks.write(KIND_TASK, number) is not None
    view = memoryview(host.rings.memory).cast("B")
    struct.pack_into("<I", view, PAGE, length)
    view[PAGE + CLAIM] |= CLAIMED
    struct.pack_into("<Q", view, HEADERS_OFFSET + 64, tail)
    host.relay.remove(host.peer)
    assert len(host.peer.claimed) <= 3


def one(task, attempt=1):
    run = RecordRun()
    run.write(KIND_TASK, task, attempt=attempt)
    return run


def heard(ring):
    """What is in the consumer's end of a ring."""
    found = []
    while (record := ring.read()) is not None:
        found.append(record)
    return found


@pytest.mark.parametrize("host", [False], ids=["worker"], indirect=True)
def test_a_full_control_ring_holds_up_its_own_worker_only_and_in_order(host):
    other = Rings(RING_BYTES)
    doorbell = new_doorbell()
    second = host.relay.add(other.memory, doorbell)
    payload = bytes(400)
    count = 200  # more than a control ring has room for
    for number in range(count):
        host.relay.tell(0, KIND_FUNCTION, payload, function=number)
    host.relay.tell(second.slot, KIND_FUNCTION, payload, function=7)
    host.relay.deliver_one(0, one(1))
    host.relay.deliver_one(second.slot, one(2))
    assert [record.task for record in heard(other.tasks)] == [2]
    assert [record.function for record in heard(other.down)] == [7]
    functions, tasks = [], []
    while not tasks:
        tasks = heard(host.rings.tasks)
        found = heard(host.rings.down)
        assert found
        functions += [record.function for record in found]
        host.relay.run(True)
    assert functions == list(range(count)), "the task overtook a function"
    assert [record.task for record in tasks] == [1]
    os.close(doorbell)


@pytest.mark.parametrize("host", [False], ids=["worker"], indirect=True)
def test_a_worker_whose_control_ring_cannot_hold_a_function_is_hung_up_on(host):
    host.relay.tell(0, KIND_FUNCTION, bytes(CONTROL_BYTES // 8))
    host.relay.tell(0, KIND_FORGET, function=1)
    assert host.relay.broken == [host.peer]
    assert heard(host.rings.down) == []


@pytest.mark.parametrize("host", [False], ids=["worker"], indirect=True)
def test_what_may_wait_for_no_room_is_dropped_without_it(host):
    while host.peer.down.write(KIND_FUNCTION) is not None:
        pass
    host.relay.tell(0, KIND_FORGET, function=5, waits=False)
    heard(host.rings.down)
    host.relay.run(True)
    assert heard(host.rings.down) == []


@pytest.mark.parametrize("host", [False], ids=["worker"], indirect=True)
def test_for_another_scheduler_only_what_is_claimed_and_results_stay(host):
    for number in range(1, 4):
        host.relay.deliver_one(0, one(number, 10 + number))
    memoryview(host.rings.memory).cast("B")[PAGE + CLAIM] |= CLAIMED
    assert host.rings.results.write(KIND_RESULT, 9, b"a", attempt=19) is not None
    assert host.rings.results.write(KIND_RELEASE, 0, bytes(8)) is not None
    host.relay.run(True)
    while host.peer.down.write(KIND_FUNCTION) is not None:
        pass
    host.relay.tell(0, KIND_FUNCTION, function=5)
    host.relay.tell(0, KIND_FREED, bytes(8))
    assert host.relay.take_over(77) == [(host.peer, (1, 11))]
    assert [type(said) for _, said in host.relay.asides] == [RecordRun], "the release is not for the next scheduler"
    assert host.relay.take_back_all(0) == [], "what was not claimed has been taken back"
    heard(host.rings.down)
    host.relay.run(True)
    assert [record.kind for record in heard(host.rings.down)] == [KIND_FREED]


def count_peers() -> int:
    gc.collect()
    return sum(isinstance(each, RelayPeer) for each in gc.get_objects())


@pytest.mark.parametrize("host", [False], ids=["worker"], indirect=True)
def test_more_workers_than_there_are_slots_come_and_go_in_turn(host):
    rings = Rings(8192)
    before = count_peers()
    for number in range(1, SLOTS + 100):
        peer = host.relay.add(rings.memory, host.doorbell)
        assert (peer.number, peer.slot) == (number, 1)
        assert rings.results.write(KIND_RESULT, number) is not None
        memoryview(host.bell)[NEWS] |= 1 << peer.slot
        assert host.relay.run() == 1
        assert host.relay.remove(peer).tasks() == [number]
    assert count_peers() - before <= 1, "the last one"


@pytest.mark.parametrize("host", [False], ids=["worker"], indirect=True)
def test_at_a_time_there_are_as_many_workers_as_slots(host):
    rings = Rings(8192)
    peers = [host.peer, *(host.relay.add(rings.memory, host.doorbell) for _ in range(SLOTS - 1))]
    assert {peer.slot for peer in peers} == set(range(SLOTS))
    with pytest.raises(ValueError, match="more than 32256 workers"):
        host.relay.add(rings.memory, host.doorbell)
    host.relay.remove(peers[77])
    another = host.relay.add(rings.memory, host.doorbell)
    assert (another.number, another.slot) == (SLOTS, 77)


@pytest.mark.parametrize("host", [False], ids=["worker"], indirect=True)
def test_what_comes_for_a_worker_that_has_left_is_not_for_who_has_its_slot_now(host):
    gone, other = host.peer, Rings(RING_BYTES)
    assert host.relay.find_peer(gone.number) is gone
    host.relay.remove(gone)
    there = host.relay.add(other.memory, host.doorbell)
    assert there.slot == gone.slot
    assert host.relay.find_peer(gone.number) is None
    batch = RecordBatch()
    columns = runs_to_task_columns([(gone.number, one(1)), (there.number, one(2, 12))])
    assert columns is not None
    batch.put_tasks(columns, peers=2)
    assert host.relay.deliver(batch) == []
    host.relay.deliver_one(gone.number, one(3))
    host.relay.tell(gone.number, KIND_FORGET, function=5)
    assert not host.relay.withdraw(gone.number, 2, 12)
    assert host.relay.take_back_all(gone.number) == []
    assert [record.task for record in heard(other.tasks)] == [2]
    assert heard(other.down) == []


@pytest.mark.parametrize("host", [False], ids=["worker"], indirect=True)
def test_a_bit_that_a_dead_worker_has_left_is_merely_a_look_at_who_has_its_slot_now(host):
    host.tell()
    host.relay.remove(host.peer)
    other = Rings(RING_BYTES)
    there = host.relay.add(other.memory, host.doorbell)
    assert host.relay.run() == 0
    assert host.relay.armed
    assert other.results.write(KIND_RELEASE, 0, bytes(8)) is not None
    host.tell()
    assert host.relay.run() == 1
    assert [number for number, _ in host.relay.asides] == [there.number]


@pytest.mark.parametrize("host", [False], ids=["worker"], indirect=True)
@pytest.mark.parametrize(("verb", "about"), [("take_back_all", (0,)), ("withdraw", (0, 1, 11)), ("take_over", (7,))])
def test_a_worker_whose_tasks_make_no_sense_is_named_when_they_are_looked_at(host, verb, about):
    host.relay.deliver_one(0, one(1, 11))
    host.relay.run(True)
    memoryview(host.rings.memory)[PAGE : PAGE + RING_BYTES] = bytes(RING_BYTES)
    assert in_child(lambda: bool(getattr(host.relay, verb)(*about)) or True)
    getattr(host.relay, verb)(*about)
    host.relay.run()
    assert host.relay.broken == [host.peer]


@pytest.mark.parametrize("host", [False], ids=["worker"], indirect=True)
def test_what_a_worker_ran_that_wrote_over_its_ring_is_what_its_page_says(host):
    host.relay.deliver_one(0, one(1, 11))
    memory = memoryview(host.rings.memory)
    memory[PAGE : PAGE + RING_BYTES] = bytes(RING_BYTES)
    struct.pack_into("<IIQQ", memory, STATE, 1, 0, 1, 11)
    host.relay.remove(host.peer)
    assert host.peer.claimed == [(1, 11)]
