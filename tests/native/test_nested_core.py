"""What the core does for tasks that wait for tasks: events in, records out."""

import pytest

from scaler._native import SchedulerCore, TaskOptions
from tests.native.test_core import MS, NO_WORKER, TASK, FakeClient, FakeWorker

RUN_HERE = 14


class NestedClient(FakeClient):
    """The client of the tasks that run in `worker`."""

    def __init__(self, core, bits, worker, capacity=65536):
        real_join = core.on_client_joined
        self.worker_tag = core.worker_tag(worker.index)

        class Core:
            def __getattr__(_, name):
                return getattr(core, name)

            def on_client_joined(_, *args):
                return real_join(*args, self.worker_tag)

        super().__init__(Core(), bits, capacity)
        self.core = core

    def submit_for(self, root, depth=0, priority=0):
        """What a task of `root` (a client) submits."""
        task = (self.bits << 40) | self.next
        self.next += 1
        options, detail = TaskOptions(priority=priority), root.bits << 8 | depth
        assert self.submits_out.write(TASK, task, b"child", function=0, options=options, detail=detail) is not None
        self.core.feed_client(self.index, self.submits_in)
        return task

    def asked_to_run(self):
        tasks = []
        while (record := self.control.read()) is not None:
            if record[0] == RUN_HERE:
                tasks.append(record[1])
        return tasks


@pytest.fixture
def core():
    return SchedulerCore()


@pytest.fixture
def parent_at_work(core):
    """(client, worker, nested client, the parent's task), the parent begun."""
    client, worker = FakeClient(core, 5), FakeWorker(core)
    task = client.submit(b"parent")
    core.step(0)
    worker.begin()
    return client, worker, NestedClient(core, 77, worker), task


def test_a_child_that_nobody_has_begun_is_for_who_waits_for_it(core, parent_at_work):
    client, worker, nested, parent = parent_at_work
    child = nested.submit(b"child")
    core.step(0)
    core.on_wait(nested.index, child, 0)
    assert nested.asked_to_run() == [child]
    core.on_return(nested.index, child, True, 0)
    assert core.counts()["rows"] == 1
    worker.finish()
    client.drain()
    assert client.answers == [(parent, 0, b"PARENT")]
    assert core.counts()["rows"] == 0


def test_a_child_that_waits_behind_another_worker_s_task_is_taken_back_for_who_waits(core, parent_at_work):
    _, worker, nested, _ = parent_at_work
    other = FakeWorker(core)
    child = nested.submit(b"child")
    core.step(0)
    core.on_wait(nested.index, child, 0)
    assert nested.asked_to_run() == [child]
    assert other.begin() is None
    assert worker.tasks.read(claim=True) is None


def test_a_child_that_runs_elsewhere_is_waited_for(core, parent_at_work):
    _, _, nested, _ = parent_at_work
    other = FakeWorker(core)
    child = nested.submit(b"child")
    core.step(0)
    assert other.begin().task == child
    core.on_wait(nested.index, child, 0)
    assert nested.asked_to_run() == []
    other.finish()
    nested.drain()
    assert nested.answers == [(child, 0, b"CHILD")]


def test_a_child_whose_worker_dies_is_for_who_waits_when_it_asks_again(core, parent_at_work):
    _, _, nested, _ = parent_at_work
    other = FakeWorker(core)
    child = nested.submit(b"child")
    core.step(0)
    other.begin()
    core.on_wait(nested.index, child, 0)
    core.on_worker_left(other.index, 0)
    core.on_wait(nested.index, child, 0)
    assert nested.asked_to_run() == [child]


def test_nothing_is_placed_behind_a_task_that_waits(core, parent_at_work):
    client, worker, nested, _ = parent_at_work
    other = FakeWorker(core)
    child = nested.submit(b"child")
    core.step(0)
    other.begin()
    core.on_wait(nested.index, child, 0)
    waiting = [client.submit(b"later") for _ in range(3)]
    core.step(0)
    assert worker.tasks.read(claim=True) is None
    other.finish()
    for _ in waiting:
        core.step(0)
        if other.begin() is not None:
            other.finish()
    assert core.counts()["ready"] == 0
    worker.finish()
    core.step(0)
    client.submit(b"after")
    client.submit(b"after")
    core.step(0)
    assert worker.begin() is not None
    assert core.counts()["ready"] == 0


def test_what_is_given_back_is_run_elsewhere(core, parent_at_work):
    _, _, nested, _ = parent_at_work
    child = nested.submit(b"child")
    core.on_wait(nested.index, child, 0)
    assert nested.asked_to_run() == [child]
    other = FakeWorker(core)
    core.on_return(nested.index, child, False, 0)
    core.step(0)
    assert other.begin().task == child


def test_a_lent_child_can_be_cancelled_and_goes_with_its_client(core, parent_at_work):
    _, _, nested, _ = parent_at_work
    first, second = nested.submit(), nested.submit()
    for child in (first, second):
        core.on_wait(nested.index, child, 0)
    core.on_cancel(nested.index, first, 0)
    core.on_return(nested.index, first, True, 0)
    assert core.counts()["rows"] == 2
    core.on_client_left(nested.index, 0)
    assert core.counts()["rows"] == 1


def test_children_go_before_what_their_root_has_submitted_itself(core, parent_at_work):
    client, _, nested, _ = parent_at_work
    for _ in range(20):
        client.submit(b"plain")
    child = nested.submit_for(client)
    other = FakeWorker(core)
    core.step(0)
    assert other.begin().task == child


def test_waiting_for_what_is_another_s_or_unknown_means_nothing(core, parent_at_work):
    _, _, nested, parent = parent_at_work
    core.on_wait(nested.index, parent, 0)
    core.on_wait(nested.index, (77 << 40) | 999, 0)
    core.on_return(nested.index, parent, True, 0)
    core.on_return(nested.index, (77 << 40) | 999, True, 0)
    assert nested.asked_to_run() == []
    assert core.counts()["rows"] == 1


def test_a_client_s_own_quota_does_not_stop_children(core, parent_at_work):
    _, _, nested, _ = parent_at_work
    core.most_waiting = 0
    child = nested.submit(b"child")
    nested.drain()
    assert nested.answers == []
    core.on_wait(nested.index, child, 0)
    assert nested.asked_to_run() == [child]


def test_children_may_be_heard_of_in_any_order(core, parent_at_work):
    """Some go by the ring, some are taken from among the children, some are never heard of at all."""
    _, _, nested, _ = parent_at_work
    other = FakeWorker(core)
    numbers = [5000, 4096, 4095, 1, 2000 * 4096, 12_345]
    for number in numbers:
        nested.next = number
        nested.submit(b"child")
        core.step(0)
    for _ in numbers:
        assert other.begin() is not None
        other.finish()
        core.step(0)
    nested.drain()
    assert sorted(task & (1 << 40) - 1 for task, status, _ in nested.answers if status == 0) == sorted(numbers)
    assert core.counts()["rows"] == 1


@pytest.mark.parametrize("how", ["is taken back for who waits", "is cancelled"])
def test_a_worker_that_has_nothing_left_is_not_taken_for_one_that_waits(core, how):
    client, worker = FakeClient(core, 5), FakeWorker(core)
    nested = NestedClient(core, 77, worker)
    child = nested.submit_for(client) if how == "is taken back for who waits" else client.submit(b"task")
    core.step(0)  # the worker has it, and has not begun it
    waited_for = child if how == "is taken back for who waits" else nested.submit_for(client)
    core.on_wait(nested.index, waited_for, 0)
    if how == "is cancelled":
        core.on_cancel(client.index, child, 0)
    core.check()
    other = client.submit(b"another")
    core.step(0)
    while (begun := worker.tasks.read(claim=True)) is not None and begun[1] != other:
        pass
    assert begun is not None


def test_a_wait_from_a_worker_without_a_task_does_not_count_as_load(core):
    """A thread that its task has left behind waits for what it has submitted."""
    client, worker = FakeClient(core, 5), FakeWorker(core)
    nested = NestedClient(core, 77, worker)

    def most_given_at_once() -> int:
        for _ in range(64):
            client.submit(b"task")
        most = 0
        while True:
            core.step(0)
            given = list(iter(lambda: worker.tasks.read(claim=True), None))
            if not given:
                return most
            most = max(most, len(given))
            for worker.running in given:
                worker.finish()

    before = max(most_given_at_once() for _ in range(5))  # until it is known how short they are
    child = nested.submit(b"child")
    core.on_wait(nested.index, child, 0)
    core.on_return(nested.index, child, True, 0)
    assert most_given_at_once() == before > 8


def order_of(core, worker, count):
    """What this worker is given, one by one."""
    begun = []
    for _ in range(count):
        core.step(0)
        begun.append(worker.begin().task)
        worker.finish(0, 50 * MS)
    return begun


@pytest.fixture
def two_parents_at_work(core):
    """(client, nested clients of two workers that run tasks of it, a free worker)"""
    client, workers = FakeClient(core, 5), [FakeWorker(core), FakeWorker(core)]
    client.submit()
    core.step(0)
    begun = next(worker for worker in workers if worker.begin())
    begun.finish(0, 50 * MS)  # so each is a turn
    for _ in workers:
        client.submit(b"parent")
    core.step(0)
    assert all(worker.begin() for worker in workers)
    return client, [NestedClient(core, bits, worker) for bits, worker in zip((77, 78), workers, strict=True)]


def test_what_tasks_submit_takes_turns_as_their_root_s_and_goes_before_its_own(core, two_parents_at_work):
    client, nested = two_parents_at_work
    other = FakeClient(core, 6)
    own = client.submit()
    children = [one.submit_for(client) for one in nested for _ in range(2)]
    others = [other.submit() for _ in range(5)]
    worker = FakeWorker(core)
    begun = order_of(core, worker, 10)
    assert [task in others for task in begun] == [False, True] * 5
    assert begun[::2] == [children[0], children[2], children[1], children[3], own]


def test_the_deeper_goes_first(core, two_parents_at_work):
    client, nested = two_parents_at_work
    tasks = [nested[number & 1].submit_for(client, depth) for number, depth in enumerate((0, 2, 1, 9, 200))]
    assert order_of(core, FakeWorker(core), 5) == [tasks[4], tasks[3], tasks[1], tasks[2], tasks[0]]


def test_what_tasks_submit_has_their_priority(core, two_parents_at_work):
    client, nested = two_parents_at_work
    other = FakeClient(core, 6)
    low, high = nested[0].submit_for(client, priority=-2), nested[1].submit_for(client, priority=3)
    middle = [other.submit() for _ in range(2)]
    assert order_of(core, FakeWorker(core), 4) == [high, *middle, low]


def test_a_worker_is_told_whose_a_task_is_that_another_has_submitted(core, two_parents_at_work):
    client, nested = two_parents_at_work
    client.submit()
    nested[0].submit_for(client)
    worker = FakeWorker(core)
    core.step(0)
    assert worker.begin().detail == client.bits
    worker.finish()
    core.step(0)
    assert worker.begin().detail == 0  # its id says so


def test_what_a_client_that_left_had_its_tasks_submit_has_turns_of_its_own(core, two_parents_at_work):
    """Nobody need have waited for it. Who comes in the client's place has nothing to do with it."""
    client, nested = two_parents_at_work
    left = [nested[0].submit_for(client) for _ in range(3)]
    core.on_client_left(client.index, 0)
    other = FakeClient(core, 6)
    others = [other.submit() for _ in range(3)]
    late = nested[0].submit_for(client)
    begun = order_of(core, FakeWorker(core), 7)
    assert begun == [left[0], others[0], left[1], others[1], left[2], others[2], late]


def test_a_worker_s_client_that_does_not_read_holds_up_only_its_own(core, two_parents_at_work):
    client, nested = two_parents_at_work
    worker = FakeWorker(core)
    full = NestedClient(core, 79, worker, capacity=1024)
    waiting = [full.submit_for(client) for _ in range(40)]
    theirs = [nested[0].submit_for(client) for _ in range(40)]
    begun = []
    for _ in range(80):
        core.step(0)
        if running := worker.begin():
            begun.append(running.task)
            worker.finish(0, 50 * MS)  # so it is given one at a time
    nested[0].drain()
    assert {task for task, _, _ in nested[0].answers} == set(theirs)
    assert not set(waiting) <= set(begun)
    for _ in range(80):
        full.drain()
        core.step(0)
        if worker.begin():
            worker.finish(0, 50 * MS)
    assert {task for task, _, _ in full.answers} == set(waiting)


def test_more_kinds_of_children_than_a_worker_has_room_to_tell_apart_all_run(core, two_parents_at_work):
    client, nested = two_parents_at_work
    roots = [client, *(FakeClient(core, bits) for bits in range(100, 140))]
    tasks = [nested[0].submit_for(root, depth) for root in roots for depth in (0, 3)]
    worker = FakeWorker(core)
    assert set(order_of(core, worker, len(tasks))) == set(tasks)
    for root in roots[1:]:
        core.on_client_left(root.index, 0)
    nested[0].drain()
    assert len(nested[0].answers) == len(tasks)


def test_children_for_which_no_worker_will_come_are_answered_as_others_are(core, parent_at_work):
    client, worker, nested, _ = parent_at_work
    core.on_worker_left(worker.index, 0, [(worker.running.task, worker.running.attempt)])
    children = [nested.submit_for(client, depth) for depth in (0, 1, 1)]
    own = client.submit(b"own")
    assert core.fail_waiting(b"no worker can start", 2)
    core.check()
    assert not core.fail_waiting(b"no worker can start", 10)
    core.step(0)
    core.check()
    nested.drain()
    client.drain()
    assert {(task, status) for task, status, _ in nested.answers} == {(child, NO_WORKER) for child in children}
    assert (own, NO_WORKER) in {(task, status) for task, status, _ in client.answers}
    assert core.counts()["rows"] == 0
