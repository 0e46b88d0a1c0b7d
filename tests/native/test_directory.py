"""Directories: any numbers are found again, none costs much more than another, and many are ended in pieces."""

import random

import pytest

from scaler._native import SchedulerCore
from tests.native.test_core import FakeClient, FakeWorker
from tests.native.test_nested_core import NestedClient

REFUSED = 3
MANY = 10_000  # more than are ended in one piece


@pytest.fixture
def core():
    made = SchedulerCore()
    yield made
    made.check()


class Client(FakeClient):
    def submit_as(self, number, payload=b"args"):
        self.next = number
        return self.submit(payload)


def distances(kind, count):
    draw = random.Random(kind)
    return {
        "one after the other": range(1, count + 1),
        "a page apart": range(1, 40 * count, 40),
        "4,096 apart": range(4096, 4096 * (count + 1), 4096),
        "downwards": range(4096 * count, 0, -4096),
        "far apart": [1 << bit for bit in range(40)],
        "anywhere": sorted({draw.randrange(1, 1 << 40) for _ in range(count)}),
        "in any order": [draw.randrange(1, 1 << 40) for _ in range(count)],
    }[kind]


KINDS = (
    "one after the other", "a page apart", "4,096 apart", "downwards", "far apart", "anywhere", "in any order",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_tasks_of_any_numbers_are_found_until_they_have_ended(core, kind):
    client, draw = Client(core, 5), random.Random(1)
    tasks = [client.submit_as(number) for number in distances(kind, 1500)]
    client.submit_as(tasks[0] & (1 << 40) - 1)  # there already
    assert core.counts()["refused"] == 1
    draw.shuffle(tasks)
    core.check()
    while tasks:
        assert core.counts()["rows"] == len(tasks)
        core.on_cancel(client.index, tasks.pop(), 0)
        if draw.random() < 0.3:
            tasks.append(client.submit_as(draw.randrange(1, 1 << 40)))
    assert core.counts()["rows"] == 0
    assert core.kept_bytes(client.index) < 1500  # its function


def test_a_task_far_from_all_others_takes_little_more_than_one_beside_them(core):
    dense, sparse = Client(core, 5), Client(core, 6)
    for number in range(2000):
        dense.submit_as(number + 1)
        sparse.submit_as((number + 1) << 20)
    assert core.kept_bytes(sparse.index) <= 4 * core.kept_bytes(dense.index)


def test_a_few_old_tasks_beside_many_that_are_done_cost_nothing(core):
    client = Client(core, 5)
    old = [client.submit_as(number) for number in (1, 70_000, 5_000_000)]
    kept = core.kept_bytes(client.index)
    for number in range(1 << 30, (1 << 30) + 5000):
        core.on_cancel(client.index, client.submit_as(number), 0)
    assert core.kept_bytes(client.index) == kept
    for task in old:
        core.on_cancel(client.index, task, 0)
    assert core.counts()["rows"] == 0


@pytest.mark.parametrize("distance", [1, 100])
def test_many_tasks_are_cleared_in_pieces_while_others_go_on_and_none_is_placed(core, distance):
    client, other, worker = Client(core, 5), Client(core, 6), FakeWorker(core)
    for number in range(MANY):
        client.submit_as(1 + number * distance)
    core.on_clear(client.index, 0)
    assert 0 < core.counts()["rows"] < MANY
    core.check()
    later, others = client.submit_as(1 << 30), other.submit()
    core.step(0)
    assert worker.begin().task == others  # it is not the cleared client's turn
    worker.finish()
    while core.go_on(0):
        assert worker.begin() is None
    core.step(0)
    assert core.counts()["rows"] == 1
    assert worker.begin().task == later
    worker.finish()
    assert core.counts()["rows"] == 0


def test_a_clear_that_comes_while_another_goes_on_takes_what_was_submitted_between(core):
    client = Client(core, 5)
    for _ in range(MANY):
        client.submit()
    core.on_clear(client.index, 0)
    client.submit()
    core.on_clear(client.index, 0)
    while core.go_on(0):
        pass
    assert core.counts()["rows"] == 0


def test_what_a_client_leaves_behind_is_ended_in_pieces(core):
    client, worker = Client(core, 5), FakeWorker(core)
    first = client.submit()
    core.step(0)
    assert worker.begin().task == first
    for number in range(1, MANY):
        core.on_function(client.index, number, number.to_bytes(16, "little"), 1, bytes(8))
        client.submit()
    core.on_client_left(client.index, 0)
    assert 0 < core.counts()["rows"] < MANY
    core.check()
    assert core.has_client(5)
    worker.finish()  # nobody is there to be told
    while core.go_on(0):
        pass
    counts = core.counts()
    assert (counts["rows"], counts["functions"]) == (0, 0)
    assert not core.has_client(5)
    assert Client(core, 5).index == client.index


def test_a_result_for_a_client_that_has_left_goes_nowhere_though_its_task_has_not_been_cleared_yet(core):
    client, worker = Client(core, 5), FakeWorker(core)
    for number in range(MANY):
        client.submit_as(MANY - number)  # the walk begins with the ones that are made first
    core.step(0)
    for number in range(1, MANY):
        client.submit_as(MANY + number)
    assert worker.begin() is not None
    core.on_client_left(client.index, 0)
    worker.finish()
    while core.go_on(0):
        pass
    assert core.counts()["rows"] == 0


def test_functions_take_no_more_than_their_share(core):
    core.client_queue_bytes = 4 << 20
    client = FakeClient(core, 5)
    for number in range(1, 400):
        core.on_function(client.index, number, number.to_bytes(16, "little"), 1, bytes(8000))  # of no objects
    counts = core.counts()
    assert counts["refused"] > 200
    assert core.kept_bytes(client.index) <= 4 << 20
    refused = client.submit(function=399)
    client.drain()
    assert client.answers[0][:2] == (refused, REFUSED)
    assert b"no room" in client.answers[0][2]
    core.on_forget(client.index, 1)
    core.on_function(client.index, 399, (399).to_bytes(16, "little"), 1, bytes(8000))
    assert core.counts()["refused"] == counts["refused"] + 1  # the task's


def test_the_tasks_of_a_task_are_refused_with_a_sentence_when_they_take_too_much(core):
    core.client_queue_bytes = 100_000
    client, worker = FakeClient(core, 5), FakeWorker(core)
    client.submit(b"parent")
    core.step(0)
    worker.begin()
    nested = NestedClient(core, 77, worker)
    for _ in range(100):
        nested.submit(bytes(2000))
    assert core.kept_bytes(nested.index) < 103_000
    nested.drain()
    assert len(nested.answers) > 40
    assert {status for _, status, _ in nested.answers} == {REFUSED}
    assert b"--client-queue-bytes" in nested.answers[0][2]
