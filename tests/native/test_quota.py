"""What is kept for one client: every kind has its share, and nothing that peers say makes it more."""

import os
from typing import cast

import pytest

from scaler._native import (
    FLAG_INPUTS,
    FLAG_OBJECTS,
    KIND_CANCEL,
    KIND_CLEAR,
    KIND_FORGET,
    KIND_FUNCTION,
    KIND_TASK,
    PLACE_NEW,
    STATUS_OK,
    STATUS_REFUSED,
    Pump,
    RunOutlet,
    SchedulerCore,
    Segment,
    Store,
    join_places,
    pack_inputs,
    pack_supply,
)
from scaler.colocation.names import new_epoch, object_folder, sweep
from tests.native.model import digest_of
from tests.native.object_peers import FOLDER, LIFE, NEW_AND_HELD
from tests.native.object_peers import FakeClient as ObjectClient
from tests.native.test_core import FakeWorker, read_all
from tests.native.test_edges import GraphClient, GraphWorker, run_all
from tests.native.test_nested_core import NestedClient
from tests.sim.wire import Rings

BITS = 7
QUOTA = 400_000
TASKS_SHARE = QUOTA // 4


@pytest.fixture
def core():
    made = SchedulerCore(1, LIFE, FOLDER)
    made.client_queue_bytes = QUOTA
    return made


# a client of this host, through its rings


class LocalClient:
    """Writes into its rings, and the pump reads as much as it will."""

    def __init__(self, core):
        self.core = core
        self.pump = Pump(core, Segment.private(4096), os.eventfd(0, os.EFD_NONBLOCK))
        self.rings = Rings(1 << 18, 1 << 16)
        self.peer = self.pump.add(self.rings.memory, False, -1, client_bits=BITS)
        self.rings.up.write(KIND_FUNCTION, 0, digest_of(b"f") + b"f", function=1)
        self.number = 0

    def fill(self):
        """Submit as much as the ring has room for: the ids."""
        said = []
        while self.rings.tasks.write(KIND_TASK, BITS << 40 | self.number + 1, bytes(3000), function=1) is not None:
            self.number += 1
            said.append(BITS << 40 | self.number)
        return said

    def say(self, kind, task):
        assert self.rings.up.write(kind, task) is not None
        self.run()

    def run(self):
        for _ in range(20):
            self.pump.run(True)
        self.core.check()

    @property
    def kept_bytes(self):
        return self.core.kept_bytes(self.peer.index)


@pytest.fixture
def local(core):
    made = LocalClient(core)
    yield made
    os.close(made.pump.eventfd)


@pytest.mark.parametrize("kind", [KIND_CANCEL, KIND_CLEAR])
def test_what_a_control_record_refers_to_lets_no_more_tasks_in_than_the_quota_does(local, kind):
    local.fill()
    local.run()
    for _ in range(10):
        local.fill()
        local.say(kind, BITS << 40 | 0xFFFFFF if kind == KIND_CANCEL else BITS << 40 | 1)
        assert TASKS_SHARE // 2 < local.kept_bytes < TASKS_SHARE + 5000


def test_what_was_cancelled_while_it_waited_for_room_is_not_run(core, local):
    said = local.fill()
    local.run()
    said += local.fill()
    waiting = said[core.counts()["rows"] :]
    assert len(waiting) > 20
    for task in waiting[1::2]:
        local.say(KIND_CANCEL, task)
    assert sorted(run_through(core, local)) == sorted(set(said) - set(waiting[1::2]))


def test_what_was_cleared_while_it_waited_for_room_is_not_run_and_what_was_said_later_is(core, local):
    said = local.fill()
    local.run()
    said += local.fill()
    waiting = said[core.counts()["rows"] :]
    local.say(KIND_CLEAR, waiting[10])
    later = local.fill()
    done = run_through(core, local)
    assert set(done) == set(waiting[10:]) | set(later)
    assert len(done) == len(set(done))


def test_a_function_whose_object_a_waiting_task_may_bring_waits_with_it(core, local):
    said = local.fill()
    local.run()
    said += local.fill()
    place = (BITS << 40 | 1, BITS << 32 | 1, 0, 1000, PLACE_NEW)
    local.rings.up.write(KIND_FUNCTION, 0, digest_of(b"g") + join_places([place]), function=2, flags=1)
    local.run()
    assert core.counts()["functions"] == 1
    run_through(core, local)
    assert core.counts()["functions"] == 2


def run_through(core, local):
    """Have all that is there run: the tasks in the order in which they have run."""
    worker, done = FakeWorker(core), []
    for _ in range(2000):
        local.run()
        core.step(0)
        record = worker.begin()
        if record is None:
            break
        done.append(record[1])
        worker.running = record._replace(payload=b"")
        worker.finish()
        while local.rings.results.read() is not None:
            pass
    assert core.counts()["rows"] == 0
    return done


def test_one_task_that_is_more_than_the_share_is_taken_alone(core):
    core.client_queue_bytes = 65536
    client, worker = GraphClient(core, 5), GraphWorker(core)
    tasks = [client.bits << 40 | number for number in (1, 2, 3)]
    for task in tasks:
        assert client.submits_out.write(KIND_TASK, task, bytes(7000)) is not None
    for task in tasks:
        core.feed_client(client.index, client.submits_in)
        core.check()
        core.step(0)
        assert core.counts()["rows"] <= 2
        assert worker.begin().task == task
        worker.answer()
        client.drain()


# results


def test_results_that_are_kept_do_not_hold_up_those_that_they_are_kept_for(core):
    """Else neither would ever become less. Rows that have nothing but a result count as results."""
    client, worker = GraphClient(core, 5), GraphWorker(core)
    kept = []
    for _ in range(600):
        kept.append(client.node(promised=1, inner=True))
        if len(kept) % 50 == 0:
            run_all(core, client, worker)
    assert core.counts()["rows"] == 600
    assert TASKS_SHARE < 600 * 200
    last = client.node(kept[:300])
    second = client.node(kept[300:])
    run_all(core, client, worker)
    assert {task: status for task, status, _ in client.answers} == {last: STATUS_OK, second: STATUS_OK}
    assert core.counts()["rows"] == 0
    assert core.kept_bytes(client.index) < 3000


def test_all_that_is_kept_is_never_more_than_the_quota(core):
    """Tasks, their results, and inputs, each as many as there can be."""
    client, worker = GraphClient(core, 5), FakeWorker(core)
    gone = [client.bits << 40 | number for number in range(1, 6)]
    client.next, most = 6, 0
    for number in range(3000):
        if number % 3:
            client.node(promised=1, inner=True, rest=bytes(2000))
        else:
            client.node(gone[:3], expected=0, rest=bytes(2000))
            client.supply(gone[number % 3], bytes(7000))
        core.step(0)
        record = worker.begin()
        if record is not None:
            worker.running = record._replace(payload=bytes(4000))
            worker.finish()
        while client.results.read() is not None:
            pass
        if number % 50 == 0:
            core.check()
        most = max(most, core.kept_bytes(client.index))
    assert QUOTA // 2 < most <= QUOTA


# objects


def test_a_client_has_no_more_objects_than_its_share_has_room_for(core):
    core.client_queue_bytes = 4 << 20
    most = core.objects.most_made
    assert most == (1 << 20) // 256  # 1 MiB in any case
    client = ObjectClient(core, 5, 1 << 18)
    for _ in range(most // 100 + 1):
        client.submit(*(client.place(NEW_AND_HELD, size=1) for _ in range(100)))
    assert [status for _, status, _ in client.answers()] == [STATUS_REFUSED]
    assert len(core.objects) == most
    core.on_clear(client.index, 0)
    core.on_client_release(client.index, [client.tag << 40 | 1])
    client.submit(client.place())
    assert client.answers() == []


def test_a_client_of_this_host_names_no_segment_of_the_schedulers_store(core):
    client = ObjectClient(core, 5)
    theirs = (client.tag << 40 | 1, core.own_tag << 32 | 1, 0, 1000, PLACE_NEW)
    client.submit(theirs)
    assert [status for _, status, _ in client.answers()] == [STATUS_REFUSED]
    assert len(core.objects) == 0


def test_what_a_client_elsewhere_has_made_lies_in_the_schedulers_store_and_nowhere_else(core):
    dirty, large = [], []
    results, control = RunOutlet(0, dirty, [], large), RunOutlet(0, [], [], [])
    index = core.on_client_joined(6, results, control)
    core.on_function(index, 1, bytes(16), 1, join_places([(6 << 40 | 1, core.own_tag << 32 | 1, 0, 1000, PLACE_NEW)]))
    core.on_function(index, 2, bytes(15) + b"1", 1, join_places([(6 << 40 | 2, 6 << 32 | 1, 0, 1000, PLACE_NEW)]))
    assert core.counts()["functions"] == len(core.objects) == 1
    core.on_client_left(index, 0)
    core.check()


# inputs that are too large for a record


class CountingStore:
    """A store that notes how much was written into it at a time."""

    def __init__(self, store):
        self.store, self.written, self.freed = store, [], []

    def reserve(self, number, size):
        return self.store.reserve(number, size)

    def place_of(self, number):
        return self.store.place_of(number)

    def fill(self, number, offset, data):
        self.written.append(len(data))
        self.store.fill(number, offset, data)

    def free(self, number):
        self.freed.append(number)
        return self.store.free(number)


@pytest.fixture
def spilling():
    """A core with a store, and tasks of 400 inputs of 30 kB each: 12 MB for each of them."""
    epoch = new_epoch()
    core = SchedulerCore(1, epoch, object_folder())
    core.client_queue_bytes = 1 << 30
    store = CountingStore(Store(epoch, core.own_tag, object_folder()))
    core.edges.store = cast(Store, store)
    client = GraphClient(core, 5)
    inputs = [client.bits << 40 | number for number in range(1, 401)]
    client.next = 401
    tasks = [client.node(inputs, expected=0) for _ in range(3)]
    yield core, client, store, inputs, tasks
    store.store.close()
    sweep(epoch)


def hand_in(core, client, inputs):
    """What each event has written."""
    for number in inputs:
        client.supply(number, b"%03d" % (number & 0xFFF) + bytes(7000))


def test_many_inputs_are_written_in_pieces_and_all_of_them_arrive(spilling):
    core, client, store, inputs, tasks = spilling
    hand_in(core, client, inputs)
    worker, turns = FakeWorker(core), 0
    given = []
    while len(given) < len(tasks):
        before = sum(store.written)
        core.go_on(0)
        core.check()
        assert sum(store.written) - before < (1 << 20) + (1 << 18)
        turns += 1
        core.step(0)
        if worker.running is None and (record := worker.begin()) is not None:
            given.append(record[1])
            worker.running = record._replace(payload=b"")
            worker.finish()
    assert sorted(given) == tasks
    assert max(store.written) <= 1 << 18
    assert sum(store.written) == 3 * 400 * (8 + 7008)
    assert turns > 3
    core.step(0)
    assert len(core.take_freed()) == 3


@pytest.mark.parametrize("end", ["cancelled", "cleared", "left", "no room"])
def test_what_ends_while_its_inputs_are_written_leaves_nothing_behind(spilling, end):
    core, client, store, inputs, tasks = spilling
    hand_in(core, client, inputs)
    core.check()
    assert sum(store.written) > 0
    if end == "cancelled":
        for task in tasks:
            core.on_cancel(client.index, task, 0)
    elif end == "cleared":
        core.on_clear(client.index, 0)
    elif end == "left":
        core.on_client_left(client.index, 0)
    else:
        store.fill = lambda number, offset, data: (_ for _ in ()).throw(OSError("no room"))
    while core.go_on(0):
        core.check()
    core.check()
    for number in core.take_freed():
        store.free(number)
    assert len(store.store) == 0
    assert (core.counts()["rows"], len(core.edges), core.edges.blobs) == (0, 0, 0)


def test_what_is_written_in_many_events_before_others_have_a_turn_is_bounded(spilling):
    core, client, store, inputs, _ = spilling
    hand_in(core, client, inputs)
    before = sum(store.written)
    for _ in range(100):  # of other tasks, each an event that settles what there is to settle
        client.submit()
    assert sum(store.written) == before <= (1 << 20) + (1 << 18)


# a client that waits for itself


def test_a_result_that_is_handed_in_behind_tasks_that_have_no_room_reaches_those_that_wait_for_it(core, local):
    """All that is here waits for it, so nothing but reading on can make room."""
    missing = local.number = 1
    head = pack_inputs([BITS << 40 | missing], 0, 0, False)
    said = []

    def say(task, payload):
        while local.rings.tasks.write(KIND_TASK, BITS << 40 | task, payload, function=1, flags=FLAG_INPUTS) is None:
            before = core.counts()["rows"]
            local.run()
            assert core.counts()["rows"] > before, "the ring is full, and nothing goes on"

    for _ in range(100):
        local.number += 1
        said.append(BITS << 40 | local.number)
        say(local.number, head + bytes(7000))
    say(missing, pack_supply(STATUS_OK) + b"value")
    local.run()
    assert local.kept_bytes > QUOTA
    assert sorted(run_through(core, local)) == said


def test_tasks_that_wait_for_what_is_never_handed_in_are_refused_beyond_what_a_stalled_client_may_have(core):
    core.client_queue_bytes = 1 << 16
    client = GraphClient(core, 5, 1 << 18)
    missing = client.bits << 40 | 1
    client.next = 2
    tasks = []
    for _ in range(8700):
        tasks.append(client.node([missing], expected=0, rest=bytes(7900)))
        client.drain()
    core.check()
    refused = [text for _, status, text in client.answers if status == STATUS_REFUSED]
    assert 100 < len(refused) < 1000
    assert b"--client-queue-bytes" in refused[0]
    assert core.kept_bytes(client.index) < (64 << 20) + (1 << 16)
    client.supply(missing, b"value")
    worker = GraphWorker(core)
    while core.counts()["rows"]:
        run_all(core, client, worker)
    assert sorted(task for task, *_ in client.answers) == tasks


# tasks of tasks


def nested_client(core, capacity=65536):
    worker = FakeWorker(core)
    return NestedClient(core, 77, worker, capacity)


def test_every_task_of_a_task_that_is_refused_is_answered_though_its_ring_is_full_meanwhile(core):
    nested = nested_client(core, 1024)
    for number in range(1, 501):
        task = nested.bits << 40 | number
        while nested.submits_out.write(KIND_TASK, task, bytes(2000), detail=0) is None:
            core.feed_client(nested.index, nested.submits_in)
            nested.drain()
    for _ in range(500):
        core.feed_client(nested.index, nested.submits_in)
        nested.drain()
    core.check()
    refused = [task for task, status, _ in nested.answers if status == STATUS_REFUSED]
    assert len(refused) == 500 - core.counts()["rows"] > 400


def test_a_task_may_submit_more_bytes_of_objects_than_the_quota(core):
    nested = nested_client(core)
    for number in range(1, 6):
        task = nested.bits << 40 | number
        place = (nested.bits << 40 | number, nested.bits << 32 | 1, 4096 * number, QUOTA, PLACE_NEW)
        assert nested.submits_out.write(KIND_TASK, task, join_places([place]), flags=FLAG_OBJECTS) is not None
        core.feed_client(nested.index, nested.submits_in)
    core.check()
    nested.drain()
    assert nested.answers == []
    assert core.counts()["accepted"] == 5


# functions


def announce(core, client, number, size=8000):
    code = b"%08d" % number + bytes(size)
    core.on_function(client.index, number, digest_of(code), 0, code)


def test_a_function_that_was_forgotten_counts_as_long_as_a_task_uses_it(core):
    core.client_queue_bytes = 64 << 20
    client, worker = GraphClient(core, 5, 1 << 20), FakeWorker(core)
    most = 1 + (4 << 20) // 9000
    for number in range(1, 2 * most):
        announce(core, client, number)
        client.submit(function=number)
        core.on_forget(client.index, number)
    core.check()
    assert core.counts()["functions"] <= most
    before = core.kept_bytes(client.index)
    client.drain()
    while core.counts()["rows"]:
        core.step(0)
        read_all(worker.control)
        if worker.begin() is not None:
            worker.finish()
        client.drain()
    core.step(0)
    core.check()
    assert core.counts()["functions"] == 1
    assert core.kept_bytes(client.index) < 10_000 < before
    announce(core, client, 5000)
    assert core.counts()["functions"] == 2


def test_a_function_that_another_client_uses_counts_once_to_each_that_has_announced_it(core):
    one, other, worker = GraphClient(core, 5), GraphClient(core, 6), FakeWorker(core)
    announce(core, one, 1)
    one.submit(function=1)
    before = core.kept_bytes(other.index)
    for number in range(1, 200):
        core.on_function(other.index, number, digest_of(b"%08d" % 1 + bytes(8000)), 0, b"%08d" % 1 + bytes(8000))
        core.on_forget(other.index, number)
        core.check()
    assert 8000 < core.kept_bytes(other.index) - before < 10_000
    core.on_forget(one.index, 1)
    core.check()
    core.step(0)
    worker.begin()
    worker.finish()
    core.check()
    assert core.kept_bytes(other.index) == before
    announce(core, other, 900)
    other.submit(function=900)
    core.on_forget(other.index, 900)
    core.on_client_left(other.index, 0)
    core.check()
    GraphClient(core, 6)
    core.check()


def test_a_client_of_many_functions_waits_for_its_tasks_and_none_is_refused(core, local):
    """Each is announced, used once and forgotten. What makes room for the next announcement stands in another ring."""
    worker, done, refused = FakeWorker(core), [], []
    waiting = [
        record
        for number in range(2, 700)
        for record in (
            (
                local.rings.up,
                KIND_FUNCTION,
                0,
                digest_of(b"%08d" % number + bytes(3000)) + b"%08d" % number + bytes(3000),
                number,
            ),
            (local.rings.tasks, KIND_TASK, BITS << 40 | number, bytes(600), number),
            (local.rings.tasks, KIND_FORGET, 0, b"", number),
        )
    ]
    for _ in range(20_000):
        while waiting and waiting[0][0].write(*waiting[0][1:4], function=waiting[0][4]) is not None:
            waiting.pop(0)
        local.pump.run(True)
        core.step(0)
        read_all(worker.control)
        if (record := worker.begin()) is not None:
            if waiting or len(done) % 7 == 0:
                core.check()
            done.append(record[1])
            worker.finish()
        while (record := local.rings.results.read()) is not None:
            refused += [record[2]] if record[5] == STATUS_REFUSED else []
        if not waiting and len(done) + len(refused) == 698:
            break
    assert refused == []
    assert sorted(done) == [BITS << 40 | number for number in range(2, 700)]
    assert core.counts()["functions"] == 1


def test_a_task_whose_input_found_no_room_is_told_what_bounds_it(core):
    client, worker = GraphClient(core, 5), FakeWorker(core)
    late = client.node(promised=1, inner=True)  # of tasks like these, the one that came first runs last
    for _ in range(60):
        client.node(promised=1, inner=True)
    client.node([late])
    for _ in range(61):
        core.step(0)
        record = worker.begin()
        worker.running = record._replace(payload=bytes(7000))
        worker.finish()
    client.drain()
    assert [status for _, status, _ in client.answers] == [STATUS_REFUSED]
    assert b"--client-queue-bytes" in client.answers[0][2]


def test_a_client_that_waits_for_itself_is_read_on_though_another_clients_inputs_are_still_written(spilling):
    core, client, _store, inputs, _ = spilling
    hand_in(core, client, inputs)
    assert core.go_on(0), "something is still to be written"
    core.client_queue_bytes = QUOTA
    other = GraphClient(core, 6)
    missing, other.next = other.bits << 40 | 1, 2
    before = core.counts()["rows"]
    for _ in range(50):
        other.node([missing], expected=0, rest=bytes(7000))
    assert core.counts()["rows"] - before == 50
