"""Who holds an object, and who hears when nobody does: through the core, with rings in private memory."""

import os
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scaler._native import (
    FLAG_OBJECTS,
    HEADERS_OFFSET,
    KIND_RELEASE,
    KIND_TASK,
    PAGE,
    PLACE_NEW,
    PLACE_SHARED,
    RING_TASKS,
    RINGS,
    STATUS_MISSING,
    STATUS_OK,
    STATUS_REFUSED,
    Pump,
    Ring,
    SchedulerCore,
    Segment,
    join_places,
    lay_out_peer,
    peer_segment_bytes,
)
from scaler.colocation.doorbell import new_doorbell
from tests.effort import rounds
from tests.native.model import digest_of
from tests.native.object_peers import FOLDER, LIFE, NEW_AND_HELD, FakeClient, FakeWorker, Maker, is_empty, read_all


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


# who holds


def test_a_tasks_object_is_held_until_the_task_has_ended(core, client, worker):
    place = client.place()
    client.submit(place)
    assert core.objects.holders_of(place[0]) == 1
    assert core.objects.bytes == 1000
    assert worker.begin() == [place]
    assert (core.objects.holders_of(place[0]), client.freed()) == (1, [])
    worker.finish()
    assert client.freed() == [place[0]]
    assert client.freed() == worker.freed() == []
    assert is_empty(core)


def test_its_maker_may_name_it_again_until_he_says_otherwise_and_the_places_are_completed(core, client, worker):
    place = client.place(NEW_AND_HELD)
    client.submit(place)
    assert worker.work() == [place]
    assert (core.objects.holders_of(place[0]), client.freed()) == (1, [])
    for _ in range(3):
        client.submit((place[0], 0, 0, 0, PLACE_SHARED))
        client.submit((place[0], 0, 0, 0, 0), (place[0], 1, 2, 3, 0))
        assert core.objects.holders_of(place[0]) == 4
        assert worker.work() == [(*place[:4], PLACE_SHARED)]
        assert worker.work() == [(*place[:4], 0)] * 2
    task = client.submit((place[0], 0, 0, 0, 0))
    client.release(place[0])
    assert core.objects.holders_of(place[0]) == 1
    core.on_cancel(client.index, task, 0)
    core.step(0)
    assert client.freed() == [place[0]]
    assert is_empty(core)
    task = client.submit((place[0], 0, 0, 0, 0))
    assert client.answers()[-1] == (task, STATUS_MISSING, [])


def test_a_worker_keeps_what_it_still_looks_at_and_gives_it_back_later(core, client, worker):
    places = [client.place() for _ in range(4)]
    client.submit(*places)
    worker.work(kept=0b1010)
    assert sorted(client.freed()) == [places[0][0], places[2][0]]
    worker.release(places[1][0])
    assert client.freed() == [places[1][0]]
    worker.release(places[1][0], 12345)
    worker.release(places[3][0])
    assert client.freed() == [places[3][0]]
    assert is_empty(core)


def test_the_last_bit_stands_for_all_objects_after_it_too(core, client, worker):
    places = [client.place() for _ in range(40)]
    client.submit(*places)
    worker.work(kept=1 << 31 | 1)
    kept = [places[0][0], *(place[0] for place in places[31:])]
    assert sorted(client.freed()) == [place[0] for place in places[1:31]]
    worker.release(*kept)
    assert sorted(client.freed()) == kept
    assert is_empty(core)


def test_all_that_keep_it_are_counted_each_as_often_as_it_does(core, client, worker):
    workers = [worker, FakeWorker(core)]
    place = client.place(NEW_AND_HELD)
    client.submit(place)
    keepers = []
    for _ in range(5):
        keeper = next(each for each in workers if each.begin() is not None)
        keeper.finish(kept=1)
        keepers.append(keeper)
        client.submit((place[0], 0, 0, 0, 0))
    core.on_clear(client.index, 0)
    client.release(place[0])
    assert core.objects.holders_of(place[0]) == 5
    for left, keeper in zip((4, 3, 2, 1, 0), keepers, strict=True):
        keeper.release(place[0])
        assert core.objects.holders_of(place[0]) == left
    assert client.freed() == [place[0]]


def test_a_client_holds_what_a_result_brought_and_the_worker_hears_of_its_end(core, client, worker):
    task = client.submit()
    worker.begin()
    place = worker.place()
    worker.finish(place)
    assert core.objects.holders_of(place[0]) == 1
    assert client.answers() == [(task, STATUS_OK, [place])]
    client.release(place[0])
    assert worker.freed() == [place[0]]
    assert client.freed() == []
    client.release(place[0])
    assert worker.freed() == []
    assert is_empty(core)


def test_a_result_that_waits_for_room_is_held_by_its_task_and_then_by_the_client(core, worker):
    client = FakeClient(core, 5, capacity=1024)
    tasks = [client.submit() for _ in range(20)]
    places, answers = [], []
    for _ in range(100):
        if worker.begin() is not None:
            places.append(worker.place())
            worker.finish(places[-1])
        else:
            answers += client.answers()
        assert [core.objects.holders_of(place[0]) for place in places] == [1] * len(places)
    assert [task for task, _, _ in answers] == tasks
    client.release(*(place[0] for place in places))
    assert sorted(worker.freed()) == [place[0] for place in places]
    assert is_empty(core)


def test_what_waits_for_room_is_let_go_when_its_client_cancels_or_leaves(core, worker):
    client = FakeClient(core, 5, capacity=1024)
    tasks = [client.submit() for _ in range(40)]
    places = []
    while worker.begin() is not None:
        places.append(worker.place())
        worker.finish(places[-1])
    assert core.counts()["rows"] > 1
    core.on_cancel(client.index, tasks[len(places) - 1], 0)
    core.step(0)
    assert worker.freed() == [places[-1][0]]
    client.leave()
    assert sorted(worker.freed()) == [place[0] for place in places[:-1]]
    assert is_empty(core)


def test_many_ids_are_told_though_the_control_ring_is_small(core, client, worker):
    places = [client.place() for _ in range(100)]
    for at in range(0, 100, 20):
        client.submit(*places[at : at + 20])
    for _ in range(5):
        worker.work()
    told = []
    while more := client.freed():
        told += more
        core.step(0)
    assert sorted(told) == [place[0] for place in places]


def test_nothing_is_said_to_be_free_before_the_result_that_has_set_it_free(core, worker):
    """Else its client could not send the task again if this scheduler died now."""
    client = FakeClient(core, 6, capacity=1024)
    places = [client.place() for _ in range(40)]
    for place in places:
        client.submit(place)
    results = []
    while worker.begin() is not None:
        worker.finish(payload=b"small")
    said = client.freed()
    for _ in range(40):
        results += list(read_all(client.results))
        answered = {record[1] & 0xFFFF for record in results}
        assert {object_id & 0xFFFF for object_id in said} <= answered
        core.deliver(client.index)
        core.step(0)
        said += client.freed()
    assert sorted(said) == [place[0] for place in places]
    assert is_empty(core)


# what is refused


def test_a_place_that_cannot_be_named_refuses_the_task_and_all_it_brought_goes_back_once(core, client, worker):
    other = FakeClient(core, 6)
    theirs = other.place(NEW_AND_HELD)
    other.submit(theirs)
    known = client.place(NEW_AND_HELD)
    client.submit(known)
    for _ in range(2):
        worker.work()
    cases = [
        ((*theirs[:4], 0), STATUS_MISSING),
        ((*other.place()[:4], PLACE_NEW), STATUS_MISSING),
        ((client.place()[0], 0, 0, 0, 0), STATUS_MISSING),
        ((0, 0, 0, 0, 0), STATUS_MISSING),
        ((2**64 - 1,) * 4 + (2**32 - 1,), STATUS_MISSING),
        ((*known[:4], PLACE_NEW), STATUS_REFUSED),
        ((client.place()[0], 0, 0, 1000, PLACE_NEW), STATUS_REFUSED),
        ((client.tag << 40, client.tag << 32 | 1, 0, 1000, PLACE_NEW), STATUS_REFUSED),
        ((client.place()[0], *theirs[1:4], PLACE_NEW), STATUS_REFUSED),
    ]
    assert client.freed() == []
    client.answers()
    for wrong, status in cases:
        brought = [client.place() for _ in range(3)]
        task = client.submit(brought[0], (known[0], 0, 0, 0, 0), wrong, *brought[1:])
        assert client.answers() == [(task, status, [])]
        told = Counter(client.freed())
        is_own = wrong[0] >> 40 == client.tag and wrong[4] & PLACE_NEW and wrong[0] != known[0]
        assert told == Counter([place[0] for place in brought] + [wrong[0]] * bool(is_own))
        assert core.objects.holders_of(known[0]) == 1
    assert worker.begin() is None
    assert (len(core.objects), other.freed()) == (2, [])
    assert core.counts()["rows"] == 0


def test_an_object_cannot_be_new_twice_in_one_record(core, client, worker):
    place, other = client.place(), client.place()
    task = client.submit(place, other, place)
    assert client.answers() == [(task, STATUS_REFUSED, [])]
    assert sorted(client.freed()) == [place[0], other[0]]
    assert is_empty(core)


def test_a_maker_who_was_refused_may_go_on_naming_what_he_holds(core, client, worker):
    held = client.place(NEW_AND_HELD)
    client.submit(held, (12345, 0, 0, 0, 0))
    assert client.answers()[0][1] == STATUS_MISSING
    client.submit((held[0], 0, 0, 0, 0))
    assert worker.work() == [(*held[:4], 0)]
    client.release(held[0])
    assert client.freed() == [held[0]]
    assert is_empty(core)


@pytest.mark.parametrize("payload", [b"", b"1234567", b"\1\0\0\0\0\0\0\0", b"\xff" * 60, b"\2" + bytes(86)])
def test_a_payload_that_is_too_short_for_its_count_is_refused(core, client, worker, payload):
    task = client.submit(payload=payload)
    assert client.answers() == [(task, STATUS_REFUSED, [])]
    client.submit()
    worker.begin()
    worker.finish(payload=payload)
    assert [status for _, status, _ in client.answers()] == [STATUS_REFUSED]
    assert is_empty(core)


def test_what_a_task_of_an_unknown_function_brought_goes_back(core, client):
    place = client.place()
    task = client.submit(place, function=77)
    assert client.answers() == [(task, STATUS_REFUSED, [])]
    assert client.freed() == [place[0]]
    assert is_empty(core)


def test_a_result_may_bring_one_object_of_the_workers_own_and_all_it_brought_else_goes_back_once(core, client, worker):
    held = client.place(NEW_AND_HELD)
    client.submit(held)
    worker.work()
    client.answers()
    cases = [
        lambda: [(*held[:4], 0)],
        lambda: [(*held[:4], PLACE_NEW)],
        lambda: [(*worker.place()[:4], 0)],
        lambda: [(worker.place()[0], 0, 0, 1000, PLACE_NEW)],
        lambda: [(worker.place()[0], *held[1:4], PLACE_NEW)],
        lambda: [worker.place(), (*held[:4], 0)],
        lambda: [(*held[:4], 0), worker.place()],
        lambda: [worker.place()] * 2,
        lambda: [worker.place(), worker.place()],
    ]
    for case in cases:
        task = client.submit()
        worker.begin()
        places = case()
        worker.finish(*places)
        assert client.answers() == [(task, STATUS_REFUSED, [])]
        own = {place[0] for place in places if place[0] >> 40 == worker.tag and place[4] & PLACE_NEW}
        assert Counter(worker.freed()) == Counter(own)
        assert core.objects.holders_of(held[0]) == 1
    task = client.submit()
    worker.begin()
    worker.finish(payload=join_places([]))
    assert client.answers() == [(task, STATUS_REFUSED, [])]
    client.release(held[0])
    assert client.freed() == [held[0]]
    assert is_empty(core)


def test_only_those_who_hold_it_can_give_it_back(core, client, worker):
    other = FakeClient(core, 6)
    place = client.place()
    client.submit(place)
    for who in (client, other, worker):
        who.release(place[0], place[0], 0, 2**64 - 1)
    assert core.objects.holders_of(place[0]) == 1
    worker.work()
    assert client.freed() == [place[0]]


# who comes and goes


def test_when_a_client_leaves_what_it_made_goes_once_no_worker_reads_it(core, client, worker):
    running, waiting, held = (client.place(flags) for flags in (PLACE_NEW, PLACE_NEW, NEW_AND_HELD))
    client.submit(running, held)
    worker.begin()
    client.submit(waiting)
    assert client.leave() == [client.segment_name()]
    assert core.objects.place_of(waiting[0]) is None
    assert [core.objects.holders_of(place[0]) for place in (running, held)] == [1, 1]
    worker.finish(worker.place(), kept=1)
    assert core.objects.holders_of(running[0]) == 1
    assert core.objects.place_of(held[0]) is None
    assert core.unlink == []
    assert len(worker.freed()) == 1  # its result, which nobody wants
    worker.release(running[0])
    assert core.unlink == [client.segment_name()]
    assert is_empty(core)


def test_a_client_that_leaves_gives_back_the_results_it_held(core, client, worker):
    places = [worker.place() for _ in range(3)]
    for place in places:
        client.submit()
        worker.begin()
        worker.finish(place)
    assert len(client.answers()) == 3
    client.release(places[1][0])
    assert client.leave() == []
    assert sorted(worker.freed()) == [place[0] for place in places]
    assert is_empty(core)


def test_when_a_worker_leaves_its_results_stay_as_long_as_clients_hold_them(core, client, worker):
    places = [worker.place(), worker.place()]
    for place in places:
        client.submit()
        worker.begin()
        worker.finish(place)
    client.answers()
    assert worker.leave() == [worker.segment_name()]
    client.release(places[0][0])
    assert core.unlink == []
    client.release(places[1][0])
    assert core.unlink == [worker.segment_name()]
    assert client.freed() == []
    assert is_empty(core)


@pytest.mark.parametrize("is_client", [True, False])
def test_what_somebody_says_of_the_segment_of_one_who_has_left_does_not_remove_it(core, client, worker, is_client):
    place = worker.place()
    client.submit()
    worker.begin()
    worker.finish(place)
    client.answers()
    assert worker.leave() == [worker.segment_name()]
    other = FakeWorker(core)
    if is_client:
        client.submit((client.place()[0], *place[1:]))
    else:
        client.submit()
        other.begin()
        other.finish((other.place()[0], *place[1:]))
    ((_, status, _),) = client.answers()
    assert status == STATUS_REFUSED
    assert core.unlink == []
    client.release(place[0])
    assert core.unlink == [worker.segment_name()]
    assert is_empty(core)


def test_a_worker_that_leaves_gives_back_what_it_kept_and_its_tasks_objects_go_elsewhere(core, client, worker):
    kept, lost = client.place(), client.place()
    client.submit(kept)
    worker.work(kept=1)
    client.submit(lost)
    worker.begin()
    assert worker.leave() == []
    assert client.freed() == [kept[0]]
    other = FakeWorker(core)
    assert other.begin() == [lost]
    other.finish()
    assert client.freed() == [lost[0]]
    assert is_empty(core)


def test_objects_of_a_task_that_kills_its_workers_are_let_go_with_it(core, client):
    place = client.place()
    client.submit(place)
    for _ in range(4):
        worker = FakeWorker(core)
        assert worker.begin() == [place]
        worker.leave()
    assert len(client.answers()) == 1
    assert client.freed() == [place[0]]
    assert is_empty(core)


def test_what_comes_late_goes_back_to_its_maker_once(core, client, worker):
    task = client.submit()
    worker.begin()
    place = worker.place()
    worker.answer(task, worker.running.attempt + 1, place)
    assert worker.freed() == [place[0]]
    core.on_cancel(client.index, task, 0)
    dropped = worker.place()
    worker.finish(dropped, client.place())
    assert worker.freed() == [dropped[0]]
    late = worker.place()
    worker.answer(task, 1, late, late)
    assert set(worker.freed()) == {late[0]}
    worker.answer(12345, 1, worker.place())
    assert len(worker.freed()) == 1
    assert client.freed() == client.answers() == []
    assert is_empty(core)


def test_a_worker_may_keep_what_a_cancelled_task_named(core, client, worker):
    place = client.place()
    task = client.submit(place)
    worker.begin()
    core.on_cancel(client.index, task, 0)
    worker.finish(kept=1)
    assert (core.objects.holders_of(place[0]), client.freed()) == (1, [])
    worker.release(place[0])
    assert client.freed() == [place[0]]


def test_tags_of_workers_are_nobody_elses(core, client):
    tags = [FakeWorker(core).tag for _ in range(5)]
    assert len({*tags, client.tag, core.own_tag}) == 7
    for tag in tags:
        with pytest.raises(ValueError, match="in use"):
            FakeClient(core, tag)
    low = FakeClient(core, min(tags) - 1)
    assert FakeWorker(core).tag < low.tag


# quota


def test_the_bytes_of_objects_count_as_queued():
    core = SchedulerCore(1, LIFE, FOLDER)
    core.client_queue_bytes = 2_500_000
    bell, memory = Segment.private(4096), Segment.private(peer_segment_bytes(65536, 4096))
    lay_out_peer(memory, b"n" * 16, 65536, 4096)
    eventfd = os.eventfd(0, os.EFD_NONBLOCK)
    pump = Pump(core, bell, eventfd)
    doorbell = new_doorbell()
    peer = pump.add(memory, False, doorbell, client_bits=5)
    core.on_function(peer.index, 0, digest_of(b"function"), 0, b"function")
    assert (RINGS, RING_TASKS) == (4, 0)
    submits, maker = Ring(memory, HEADERS_OFFSET, 65536, PAGE), Maker(5)
    for number in range(1, 6):
        submits.write(KIND_TASK, 5 << 40 | number, join_places([maker.place(size=1_000_000)]), flags=FLAG_OBJECTS)
    pump.run(True)
    assert core.counts()["accepted"] == 3
    worker = FakeWorker(core)
    worker.work()
    for accepted in (4, 5, 5, 5):
        pump.run(True)
        assert core.counts()["accepted"] == accepted
        worker.work()
    submits.write(KIND_RELEASE, 0, bytes(8))
    pump.run(True)
    assert len(core.objects) == 0
    pump.remove(peer)
    os.close(eventfd)
    os.close(doorbell)


class ObjectsMachine(RuleBasedStateMachine):
    """Whoever comes, does and goes: in the end nothing is held, and makers have heard of all they made, once."""

    def __init__(self):
        super().__init__()
        self.core = SchedulerCore(1, LIFE, FOLDER)
        self.clients, self.workers = [], []
        self.heard = Counter()
        self.held = {}  # client -> ids it may name again
        self.results = {}  # client -> ids of results it holds
        self.kept = {}  # worker -> ids it keeps, each as often
        self.bits = 0

    @precondition(lambda self: len(self.clients) < 3)
    @rule(is_small=st.booleans())
    def client_joins(self, is_small):
        self.bits += 1
        client = FakeClient(self.core, self.bits, 1024 if is_small else 65536)
        self.clients.append(client)
        self.held[client], self.results[client] = [], []

    @precondition(lambda self: len(self.workers) < 3)
    @rule()
    def worker_joins(self):
        self.workers.append(FakeWorker(self.core))
        self.kept[self.workers[-1]] = []

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), kinds=st.lists(st.sampled_from("nnnhhrrrru"), max_size=40))
    def submit(self, data, kinds):
        client = data.draw(st.sampled_from(self.clients))
        places = []
        for kind in kinds:
            if kind == "n":
                places.append(client.place())
            elif kind == "h":
                places.append(client.place(NEW_AND_HELD))
                self.held[client].append(places[-1][0])
            elif kind == "r" and self.held[client]:
                places.append((data.draw(st.sampled_from(self.held[client])), 0, 0, 0, 0))
            elif kind == "u":
                places.append((client.tag << 40 | 1 << 39, 0, 0, 0, 0))
        client.submit(*places)

    @precondition(lambda self: self.workers)
    @rule(
        data=st.data(),
        kept=st.sampled_from([0, 0, 1, 5, 1 << 31, 2**32 - 1]),
        finish=st.booleans(),
        n=st.integers(0, 2),
    )
    def work(self, data, kept, finish, n):
        worker = data.draw(st.sampled_from(self.workers))
        named = worker.begin()
        if named is None or not finish:
            return
        self.kept[worker] += [place[0] for i, place in enumerate(named) if kept >> min(i, 31) & 1]
        worker.finish(*(worker.place() for _ in range(n)), kept=kept)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def read(self, data):
        self.read_results(data.draw(st.sampled_from(self.clients)))

    def read_results(self, client):
        for _, _, places in client.answers():
            self.results[client] += [place[0] for place in places]

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def client_releases(self, data):
        client = data.draw(st.sampled_from(self.clients))
        for ids in (self.held[client], self.results[client]):
            if ids:
                client.release(ids.pop(data.draw(st.integers(0, len(ids) - 1))))

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_releases(self, data):
        worker = data.draw(st.sampled_from(self.workers))
        while self.kept[worker]:
            worker.release(self.kept[worker].pop())

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def cancel(self, data):
        client = data.draw(st.sampled_from(self.clients))
        self.core.on_cancel(client.index, client.tag << 40 | data.draw(st.integers(1, client.tasks + 1)), 0)
        self.core.step(0)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def client_leaves(self, data):
        client = data.draw(st.sampled_from(self.clients))
        self.clients.remove(client)
        client.leave()

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_leaves(self, data):
        worker = data.draw(st.sampled_from(self.workers))
        self.workers.remove(worker)
        worker.leave()

    @invariant()
    def what_somebody_holds_is_there_and_what_was_freed_is_not(self):
        for who in (*self.clients, *self.workers):
            self.heard.update(who.freed())
        assert not self.heard or max(self.heard.values()) == 1
        holders = Counter()
        for client in self.clients:
            holders.update(self.held[client])
            holders.update(self.results[client])
        for worker in self.workers:
            holders.update(self.kept[worker])
        for object_id, count in holders.items():
            assert self.core.objects.holders_of(object_id) >= count
            assert object_id not in self.heard

    def teardown(self):
        workers = self.workers or [FakeWorker(self.core)]
        for _ in range(1000):
            for client in self.clients:
                self.read_results(client)
            for worker in workers:
                if worker.begin() is not None:
                    worker.finish()
            if not self.core.counts()["rows"]:
                break
        for client in self.clients:
            self.read_results(client)
            client.release(*self.held[client], *self.results[client])
        for worker in self.workers:
            worker.release(*self.kept[worker])
        for _ in range(100):
            self.core.step(0)
            for who in (*self.clients, *self.workers):
                self.heard.update(who.freed())
        assert is_empty(self.core)
        for who in (*self.clients, *self.workers):
            made = {who.tag << 40 | number for number in range(1, who.made + 1)}
            assert {object_id for object_id in self.heard if object_id >> 40 == who.tag} == made
        assert not self.heard or max(self.heard.values()) == 1


ObjectsMachine.TestCase.settings = settings(max_examples=rounds(100), stateful_step_count=30)
TestObjectsMachine = ObjectsMachine.TestCase
