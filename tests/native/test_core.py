"""The scheduler's decisions, with rings in private memory instead of processes: events in, records out."""

import os
import random
from hashlib import blake2b

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scaler._native import STATUS_OK, STATUS_STOPPED, Ring, RingOutlet, SchedulerCore, Segment, TaskOptions
from scaler.colocation.doorbell import new_doorbell
from tests.effort import rounds

TASK, RESULT, FUNCTION, FORGET = 1, 2, 3, 12
REFUSED, NO_WORKER = 3, 5  # statuses
DIGEST = blake2b(b"function", digest_size=16).digest()
MS = 1_000_000


def ring_pair(capacity=65536):
    memory = Segment.private(4096 + capacity)
    return Ring(memory, 0, capacity), Ring(memory, 0, capacity)


class FakeClient:
    """A client's rings, and what its future would have been told."""

    def __init__(self, core, bits, capacity=65536):
        self.submits_in, self.submits_out = ring_pair(65536)
        results, self.results = ring_pair(capacity)
        control, self.control = ring_pair()
        self.core, self.bits, self.next = core, bits, 1
        self.index = core.on_client_joined(bits, RingOutlet(results), RingOutlet(control))
        core.on_function(self.index, 0, DIGEST, 0, b"function")
        self.answers = []

    def submit(self, payload=b"args", function=0, options=None):
        task = (self.bits << 40) | self.next
        self.next += 1
        more = {} if options is None else {"options": options}
        assert self.submits_out.write(TASK, task, payload, function=function, **more) is not None
        self.core.feed_client(self.index, self.submits_in)
        return task

    def drain(self):
        while (record := self.results.read()) is not None:
            self.answers.append((record.task, record.status, record.payload))
        self.core.deliver(self.index)
        while (record := self.results.read()) is not None:
            self.answers.append((record.task, record.status, record.payload))


class FakeWorker:
    def __init__(self, core, capacity=65536, control_bytes=65536):
        tasks, self.tasks = ring_pair(capacity)
        control, self.control = ring_pair(control_bytes)
        self.results_out, self.results_in = ring_pair()
        self.core = core
        self.index = core.on_worker_joined(RingOutlet(tasks), RingOutlet(control))
        self.running = None

    def begin(self):
        if self.running is None:
            self.running = self.tasks.read(claim=True)
        return self.running

    def finish(self, now=0, duration_ns=0):
        assert self.running is not None
        ran, self.running = self.running, None
        self.results_out.write(
            RESULT,
            ran.task,
            ran.payload.upper(),
            function=ran.function,
            attempt=ran.attempt,
            items=ran.items,
            duration_ns=duration_ns,
        )
        self.core.feed_worker(self.index, self.results_in, now)


def test_a_worker_that_somebody_is_about_to_kill_is_given_nothing_more():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    tasks = [client.submit() for _ in range(3)]
    core.step(0)
    assert worker.begin().task == tasks[0]
    core.take_back_all(worker.index)
    core.on_worker_ends(worker.index)
    core.on_worker_ends(worker.index)
    worker.finish()
    core.step(0)
    assert worker.tasks.read() is None
    core.on_worker_left(worker.index, 0)
    core.on_worker_ends(worker.index)
    other = FakeWorker(core)
    core.step(0)
    assert [other.tasks.read().task for _ in range(2)] == tasks[1:]


def test_a_worker_that_leaves_gives_back_what_it_has_not_begun():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    first = client.submit()
    core.step(0)
    worker.begin()
    worker.finish(duration_ns=1)  # so that some are placed behind each other
    tasks = [client.submit() for _ in range(3)]
    core.step(0)
    assert worker.begin().task == tasks[0]
    core.on_worker_leaves(worker.index, 0)
    other = FakeWorker(core)
    core.step(0)
    for task in tasks[1:]:
        assert other.begin().task == task
        other.finish()
    worker.finish()
    assert worker.tasks.read(claim=True) is None
    core.on_worker_left(worker.index, 0)
    client.drain()
    assert sorted(task for task, _, _ in client.answers) == [first, *tasks]
    core.check()


@pytest.mark.parametrize("may_be_retried", [True, False])
def test_a_worker_that_is_killed_while_it_leaves_is_nothing_that_its_task_is_charged_for(may_be_retried):
    core = SchedulerCore()
    client = FakeClient(core, 5)
    task = client.submit(options=None if may_be_retried else TaskOptions(retries=0))
    for _ in range(20):  # far more often than a task may kill its worker
        worker = FakeWorker(core)
        core.step(0)
        if worker.begin() is None:
            break
        core.on_worker_leaves(worker.index, 0)
        core.on_worker_left(worker.index, 0)
    core.check()
    client.drain()
    assert [answered for answered, _, _ in client.answers] == ([] if may_be_retried else [task])
    if may_be_retried:
        worker = FakeWorker(core)
        core.step(0)
        worker.begin()
        worker.finish()
        client.drain()
        assert client.answers == [(task, STATUS_OK, b"ARGS")]


def test_a_task_goes_to_a_worker_and_its_result_to_its_client():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    task = client.submit(b"hello")
    core.step(0)
    assert worker.control.read()[:3] == (FUNCTION, 0, DIGEST + b"function")
    assert worker.begin()[1:3] == (task, b"hello")
    worker.finish()
    client.drain()
    assert client.answers == [(task, 0, b"HELLO")]
    assert core.counts()["rows"] == 0


def test_a_cancelled_task_is_never_placed():
    core = SchedulerCore()
    client = FakeClient(core, 5)
    task = client.submit()
    core.on_cancel(client.index, task, 0)
    worker = FakeWorker(core)
    core.step(0)
    assert worker.begin() is None
    assert core.counts()["rows"] == 0


def test_what_was_stopped_says_nothing_about_how_long_such_tasks_take():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    for status in (STATUS_STOPPED, STATUS_OK):
        task = client.submit()
        core.step(0)
        attempt = worker.begin().attempt
        core.on_cancel(client.index, task, 0)
        worker.running = None
        worker.results_out.write(RESULT, task, b"", status=status, attempt=attempt)  # at once
        core.feed_worker(worker.index, worker.results_in, 0)
        for _ in range(4):
            client.submit()
        core.step(0)
        placed = 0
        while worker.begin() is not None:
            worker.running, placed = None, placed + 1
        assert placed == (1 if status == STATUS_STOPPED else 2)  # it gets more ahead only of what is known to be quick
        core.on_worker_left(worker.index, 0)
        core.on_clear(client.index, 0)
        worker = FakeWorker(core)


@pytest.mark.parametrize("number", [0, 1, 2**32 - 1, 2**32, 2**40 - 2, 2**40 - 1])
@pytest.mark.parametrize("how", ["leaves", "clears", "cancels"])
def test_tasks_of_any_number_end_with_what_their_client_says(number, how):
    core = SchedulerCore()
    client = FakeClient(core, 5)
    client.next = number
    task = client.submit(b"x")
    assert core.counts()["rows"] == 1
    if how == "leaves":
        core.on_client_left(client.index, 0)
    elif how == "clears":
        core.on_clear(client.index, 0)
    else:
        core.on_cancel(client.index, task, 0)
    assert core.counts()["rows"] == 0
    worker = FakeWorker(core)
    core.step(0)
    assert worker.begin() is None


def test_clients_that_do_not_read_their_results_hold_up_nobody_else():
    core = SchedulerCore()
    worker = FakeWorker(core)
    full = [FakeClient(core, bits, capacity=1024) for bits in range(1, 21)]
    for client in full:
        for _ in range(40):
            client.submit(b"x" * 60)
    for _ in range(40 * len(full)):
        core.step(0)
        if worker.begin() is not None:
            worker.finish(0, 50 * MS)  # or all would be placed before any is answered
    assert core.counts()["ready"] > 0
    assert worker.begin() is None
    other = FakeClient(core, 99)
    task = other.submit(b"hello")
    core.step(0)
    assert worker.begin().task == task
    worker.finish()
    for _ in range(40 * len(full)):
        for client in (*full, other):
            client.drain()
        core.step(0)
        if worker.begin() is not None:
            worker.finish()
    assert [len(client.answers) for client in full] == [40] * len(full)
    assert core.counts()["rows"] == 0


def test_a_task_in_a_ring_is_withdrawn_when_cancelled_and_a_running_ones_result_is_dropped():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    task = client.submit()
    core.step(0)
    core.on_cancel(client.index, task, 0)
    assert worker.begin() is None
    task = client.submit()
    core.step(0)
    worker.begin()
    core.on_cancel(client.index, task, 0)
    worker.finish()
    client.drain()
    assert client.answers == []
    assert core.counts()["dropped"] == 1
    assert core.counts()["rows"] == 0


def test_an_unknown_function_gets_one_task_per_worker():
    core = SchedulerCore()
    client, first, second = FakeClient(core, 5), FakeWorker(core), FakeWorker(core)
    for _ in range(10):
        client.submit()
    core.step(0)
    assert core.counts()["ready"] == 8
    assert first.begin()
    assert second.begin()
    assert first.tasks.read() is None


class LargeClient(FakeClient):
    """It announces functions that are larger than the rings of some workers."""

    def announce(self, function, size):
        code = bytes([function]) * size
        self.core.on_function(self.index, function, blake2b(code, digest_size=16).digest(), 0, code)

    def submit_urgently(self, function, payload=b"args"):
        task = (self.bits << 40) | self.next
        self.next += 1
        options = TaskOptions(priority=5)
        assert self.submits_out.write(TASK, task, payload, function=function, options=options) is not None
        self.core.feed_client(self.index, self.submits_in)
        return task


@pytest.mark.parametrize(("function_bytes", "payload_bytes"), [(5000, 4), (8, 5000)])
def test_a_task_that_fits_no_worker_is_answered_with_that_and_holds_up_nobody(function_bytes, payload_bytes):
    core = SchedulerCore()
    large, other = LargeClient(core, 6), FakeClient(core, 5)
    workers = [FakeWorker(core, 4096, 4096) for _ in range(3)]
    large.announce(1, function_bytes)
    impossible = [large.submit_urgently(1, bytes(payload_bytes)) for _ in range(2)]
    tasks = [other.submit() for _ in range(20)]
    for _ in range(20):
        core.step(0)
        for worker in workers:
            if worker.begin():
                worker.finish()
    other.drain()
    large.drain()
    assert {task for task, _, _ in other.answers} == set(tasks)
    assert [(task, status) for task, status, _ in large.answers] == [(task, REFUSED) for task in impossible]
    assert b"larger than the rings of the workers" in large.answers[0][2]
    assert core.counts()["rows"] == 0


def test_a_task_that_fits_some_workers_goes_to_one_of_these_and_others_to_those_that_are_free():
    core = SchedulerCore()
    large, other = LargeClient(core, 6), FakeClient(core, 5)
    small, wide = FakeWorker(core, 4096, 4096), FakeWorker(core)
    large.announce(1, 5000)
    first, second = large.submit_urgently(1), large.submit_urgently(1)
    core.step(0)
    assert wide.begin().task == first
    quick = other.submit()
    core.step(0)
    core.step(0)  # the second is passed over as long as nobody whom it fits is free
    assert small.begin().task == quick
    wide.finish()
    core.step(0)
    assert wide.begin().task == second


def test_a_worker_without_room_for_the_head_of_the_turn_is_given_nothing_else_until_it_has():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core, 4096)
    for _ in range(16):
        client.submit()
        core.step(0)
        worker.begin()
        worker.finish(0, MS // 20)  # so many fit the credit that they fill the ring
    client.drain()
    for _ in range(400):
        client.submit()
    core.step(0)
    held = core.counts()["rows"] - core.counts()["ready"]
    other = FakeClient(core, 6)
    large = other.submit(bytes(1500))
    begun = []
    for _ in range(held + 110):
        if running := worker.begin():
            begun.append(running.task)
            worker.finish(0, MS // 20)
        core.on_worker_room(worker.index)
        core.step(0)
    assert large in begun
    assert begun.index(large) <= held + 101  # what was placed, and the other client's turn when it came


def test_two_clients_take_turns():
    core = SchedulerCore()
    many, few, worker = FakeClient(core, 5), FakeClient(core, 6), FakeWorker(core)
    for _ in range(100):
        many.submit()
    wanted = [few.submit() for _ in range(3)]
    order = []
    core.step(0)
    while running := worker.begin():
        order.append(running.task)
        worker.finish()
        core.step(0)
    assert max(order.index(task) for task in wanted) < 12


def test_what_waits_behind_a_slow_task_is_taken_back():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    for _ in range(60):
        client.submit()
        core.step(0)
        while worker.begin():
            worker.finish()
            core.step(0)
    slow = client.submit()
    others = {client.submit() for _ in range(5)}
    core.step(0)
    assert worker.begin().task == slow
    idle = FakeWorker(core)
    core.on_tick(100 * MS)
    core.step(100 * MS)
    seen = set()
    while running := idle.begin():
        seen.add(running.task)
        idle.finish()
        core.step(100 * MS)
    assert seen == others


def test_a_dead_workers_tasks_go_elsewhere_until_it_is_plain_that_they_kill():
    core = SchedulerCore()
    client = FakeClient(core, 5)
    task = client.submit()
    for _ in range(4):
        worker = FakeWorker(core)
        core.step(0)
        assert worker.begin().task == task
        core.on_worker_left(worker.index, 0)
    client.drain()
    assert [(a[0], a[1]) for a in client.answers] == [(task, 2)]
    assert core.counts()["rows"] == 0


def test_a_full_result_ring_holds_up_only_its_own_client():
    core = SchedulerCore()
    slow, quick, worker = FakeClient(core, 5, capacity=1024), FakeClient(core, 6), FakeWorker(core)
    tasks = [slow.submit(b"x" * 60) for _ in range(40)]
    others = [quick.submit(b"x" * 60) for _ in range(40)]
    core.step(0)
    while worker.begin():
        worker.finish()
        core.step(0)
    quick.drain()
    assert sorted(a[0] for a in quick.answers) == others
    for _ in range(100):
        slow.drain()
        core.step(0)
        while worker.begin():
            worker.finish()
            core.step(0)
    slow.drain()
    assert sorted(a[0] for a in slow.answers) == tasks
    assert core.counts()["rows"] == 0


def test_tasks_beyond_what_may_wait_are_turned_away_once_every_worker_is_full():
    core = SchedulerCore()
    core.most_waiting = 2
    client, worker = FakeClient(core, 5), FakeWorker(core)
    placed, *waiting = [client.submit() for _ in range(3)]  # of a function nobody has timed: one per worker
    client.drain()
    assert not client.answers
    away = [client.submit() for _ in range(2)]
    client.drain()
    assert [(task, status) for task, status, _ in client.answers] == [(task, NO_WORKER) for task in away]
    assert worker.begin().task == placed
    worker.finish()  # quick: there is room for more now
    core.step(0)
    late = client.submit()
    client.answers.clear()
    while worker.begin():
        worker.finish()
        core.step(0)
    client.drain()
    assert [(task, status) for task, status, _ in client.answers] == [(task, 0) for task in (placed, *waiting, late)]
    assert (core.counts()["rows"], core.counts()["turned_away"]) == (0, 2)


def test_with_none_allowed_to_wait_a_task_runs_if_a_worker_is_idle_and_is_turned_away_if_there_is_none():
    core = SchedulerCore()
    core.most_waiting = 0
    client = FakeClient(core, 5)
    away = client.submit()
    worker = FakeWorker(core)
    task = client.submit()
    assert worker.begin().task == task
    worker.finish()
    client.drain()
    assert [(answer[0], answer[1]) for answer in client.answers] == [(away, NO_WORKER), (task, 0)]


def test_whoever_waits_for_room_in_its_own_result_ring_is_not_turned_away():
    core = SchedulerCore()
    core.most_waiting = 0
    client, worker = FakeClient(core, 5, capacity=1024), FakeWorker(core)
    tasks = []
    while not core.counts()["ready"]:
        tasks.append(client.submit(b"x" * 60))
        core.step(0)
        if worker.begin():
            worker.finish()
    assert core.counts()["turned_away"] == 0
    for _ in range(100):
        client.drain()
        core.step(0)
        while worker.begin():
            worker.finish()
            core.step(0)
    assert [(answer[0], answer[1]) for answer in client.answers] == [(task, 0) for task in tasks]


def test_a_strangers_task_id_and_an_unknown_function_are_refused():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    client.submits_out.write(TASK, (6 << 40) | 1, b"")
    client.submits_out.write(TASK, (5 << 40) | 1, b"", function=77)
    core.feed_client(client.index, client.submits_in)
    core.step(0)
    assert worker.begin() is None
    client.drain()
    assert [(a[0], a[1]) for a in client.answers] == [((5 << 40) | 1, 3)]
    assert core.counts()["refused"] == 2
    with pytest.raises(ValueError, match="in use"):
        core.on_client_joined(5, RingOutlet(ring_pair()[0]), RingOutlet(ring_pair()[0]))


def test_a_function_is_believed_only_if_its_digest_is_that_of_its_bytes():
    core = SchedulerCore()
    first, second, worker = FakeClient(core, 5), FakeClient(core, 6), FakeWorker(core)
    wanted = blake2b(b"wanted", digest_size=16).digest()
    core.on_function(first.index, 1, wanted, 0, b"other")
    assert core.counts()["refused"] == 1
    core.on_function(second.index, 1, wanted, 0, b"wanted")
    first.submit(function=1)
    second.submit(function=1)
    core.step(0)
    assert worker.control.read().payload == wanted + b"wanted"
    first.drain()
    assert [status for _, status, _ in first.answers] == [REFUSED]


def test_functions_may_have_any_numbers():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    numbers = [1 << 23, 1 << 31, (1 << 32) - 1, 0, 1 << 22]
    for number in numbers:
        core.on_function(client.index, number, DIGEST, 0, b"function")
    tasks = [client.submit(function=number) for number in numbers]
    for task in tasks:
        core.step(0)
        assert worker.begin().task == task
        worker.finish()
    client.drain()
    assert core.counts()["refused"] == 0


def read_all(ring):
    found = []
    while (record := ring.read()) is not None:
        found.append((record.kind, record.function))
    return found


def test_a_function_is_forgotten_with_its_last_user_and_announced_anew_under_another_number():
    core = SchedulerCore()
    first, second, worker = FakeClient(core, 5), FakeClient(core, 6), FakeWorker(core)
    first.submit()
    core.step(0)
    core.on_forget(first.index, 0)
    core.on_client_left(second.index, 0)
    assert core.counts()["functions"] == 1  # a task names it
    assert worker.begin()
    worker.finish()
    core.step(0)
    assert core.counts()["functions"] == 0
    assert read_all(worker.control) == [(FUNCTION, 1), (FORGET, 1)]
    first.submit()
    first.drain()
    assert [status for _, status, _ in first.answers] == [0, REFUSED]
    core.on_function(first.index, 1, DIGEST, 0, b"function")
    first.submit(function=1)
    core.step(0)
    assert read_all(worker.control) == [(FUNCTION, 2)]
    assert worker.begin().function == 2


def test_of_two_clients_with_one_function_one_leaves_and_the_other_goes_on():
    core = SchedulerCore()
    first, second, worker = FakeClient(core, 5), FakeClient(core, 6), FakeWorker(core)
    core.on_client_left(first.index, 0)
    task = second.submit()
    core.step(0)
    assert read_all(worker.control) == [(FUNCTION, 1)]
    assert worker.begin().task == task
    core.on_client_left(second.index, 0)
    core.step(0)
    assert core.counts()["functions"] == 1
    worker.finish()
    core.step(0)
    assert core.counts()["functions"] == 0
    assert read_all(worker.control) == [(FORGET, 1)]


def test_a_worker_without_room_in_its_control_ring_is_told_later_to_forget():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core, control_bytes=1024)
    for number in range(1, 200):
        code = b"function %d" % number
        core.on_function(client.index, number, blake2b(code, digest_size=16).digest(), 0, code)
        client.submit(function=number)
        core.step(0)
        assert read_all(worker.control)[-1][0] == FUNCTION
        assert worker.begin()
        worker.finish()
    for number in range(200):
        core.on_forget(client.index, number)
    heard = []
    for _ in range(50):
        core.step(0)
        heard += read_all(worker.control)
    assert heard == [(FORGET, number) for number in range(2, 201)]  # of 1 it was never told
    assert core.counts()["functions"] == 0


def test_a_worker_that_comes_in_anothers_place_is_not_told_to_forget_what_that_one_knew():
    core = SchedulerCore()
    client, old = FakeClient(core, 5), FakeWorker(core)
    client.submit()
    core.step(0)
    assert old.begin()
    old.finish()
    core.on_worker_left(old.index, 0)
    new = FakeWorker(core)
    assert new.index == old.index
    core.on_forget(client.index, 0)
    core.step(0)
    assert read_all(new.control) == []


def test_a_number_stands_for_one_function_and_what_is_unknown_cannot_be_forgotten():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    core.on_function(client.index, 0, blake2b(b"other", digest_size=16).digest(), 0, b"other")
    core.on_function(client.index, 0, DIGEST, 0, b"function")  # the same again
    core.on_forget(client.index, 77)
    assert (core.counts()["refused"], core.counts()["functions"]) == (2, 1)
    client.submit()
    core.step(0)
    assert worker.control.read().payload == DIGEST + b"function"
    worker.begin()
    worker.finish()
    core.on_forget(client.index, 0)
    core.on_forget(client.index, 0)
    assert (core.counts()["refused"], core.counts()["functions"]) == (3, 0)


def test_millions_of_functions_one_after_the_other():
    core = SchedulerCore()
    client = FakeClient(core, 5)
    for number in range(1, 10_000_000, 3000):
        core.on_function(client.index, number, DIGEST, 0, b"function")
        if number > 1:
            core.on_forget(client.index, number - 3000)
    assert (core.counts()["refused"], core.counts()["functions"]) == (0, 1)


def test_a_refusal_waits_for_room_like_any_answer():
    core = SchedulerCore()
    client = FakeClient(core, 5, capacity=1024)
    tasks = [client.submit(function=77) for _ in range(100)]
    for _ in range(100):
        client.drain()
    assert [(task, status) for task, status, _ in client.answers] == [(task, REFUSED) for task in tasks]
    assert core.counts()["rows"] == 0


def test_clear_finds_tasks_whose_ids_lie_far_apart():
    core = SchedulerCore()
    client = FakeClient(core, 5)
    tasks = []
    for _ in range(1000):
        tasks.append(client.submit())
        client.next += 1024 * 4096
    core.on_clear(client.index, 0, tasks[-1])
    assert core.counts()["rows"] == 1
    worker = FakeWorker(core)
    core.step(0)
    assert worker.begin().task == tasks[-1]
    core.on_client_left(client.index, 0)
    worker.finish()
    assert core.counts()["rows"] == 0


def test_workers_that_leave_together_are_not_given_each_others_tasks():
    core = SchedulerCore()
    client, workers = FakeClient(core, 5), [FakeWorker(core) for _ in range(3)]
    tasks = [client.submit() for _ in range(2)]
    core.step(0)
    core.on_workers_left([worker.index for worker in workers[:2]], 0)
    core.step(0)
    assert [worker.tasks.read() is not None for worker in workers[:2]].count(True) <= 2
    seen = []
    while running := workers[2].begin():
        seen.append(running.task)
        workers[2].finish()
        core.step(0)
    assert sorted(seen) == tasks


class CoreMachine(RuleBasedStateMachine):
    """Clients and workers come, work, cancel and go; each accepted task is answered exactly once or was cancelled."""

    def __init__(self):
        super().__init__()
        self.core = SchedulerCore(epoch=9)
        self.clients, self.workers = [], []
        self.open, self.cancelled = {}, set()
        self.bits = 0
        self.now = 0

    @initialize(most_waiting=st.sampled_from([-1, -1, 0, 1, 5]))
    def limit_waiting(self, most_waiting):
        self.core.most_waiting = most_waiting

    @precondition(lambda self: len(self.clients) < 3)
    @rule(small=st.booleans())
    def client_joins(self, small):
        self.bits += 1
        client = FakeClient(self.core, self.bits, capacity=1024 if small else 65536)
        self.clients.append(client)
        self.open[client] = set()

    @precondition(lambda self: len(self.workers) < 4)
    @rule()
    def worker_joins(self):
        self.workers.append(FakeWorker(self.core, capacity=1024))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), n=st.integers(1, 8), size=st.integers(0, 72))
    def submit(self, data, n, size):
        client = data.draw(st.sampled_from(self.clients))
        for _ in range(n):
            self.open[client].add(client.submit(b"x" * size))
        self.core.step(self.now)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), finish=st.booleans(), ms=st.integers(0, 50))
    def work(self, data, finish, ms):
        worker = data.draw(st.sampled_from(self.workers))
        self.now += ms * MS
        if worker.begin() and finish:
            worker.finish(self.now)
        self.core.step(self.now)

    @precondition(lambda self: any(self.open.values()))
    @rule(data=st.data())
    def cancel(self, data):
        client = data.draw(st.sampled_from([c for c in self.clients if self.open[c]]))
        task = data.draw(st.sampled_from(sorted(self.open[client])))
        self.drain(client)
        self.core.on_cancel(client.index, task, self.now)
        self.open[client].discard(task)
        self.cancelled.add(task)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def read(self, data):
        self.drain(data.draw(st.sampled_from(self.clients)))
        self.core.step(self.now)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def worker_dies(self, data):
        worker = data.draw(st.sampled_from(self.workers))
        self.workers.remove(worker)
        self.core.on_worker_left(worker.index, self.now)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def client_leaves(self, data):
        client = data.draw(st.sampled_from(self.clients))
        self.clients.remove(client)
        del self.open[client]
        self.core.on_client_left(client.index, self.now)

    @rule()
    def tick(self):
        self.core.on_tick(self.now)

    def drain(self, client):
        client.drain()
        for task, _, _ in client.answers:
            if task not in self.cancelled:
                assert task in self.open[client]
                self.open[client].discard(task)
        client.answers.clear()

    @invariant()
    def counts_agree(self):
        self.core.check()
        assert self.core.counts()["workers"] == len(self.workers)

    def teardown(self):
        if not self.workers:
            self.workers.append(FakeWorker(self.core))
        for _ in range(10_000):
            if not self.core.counts()["rows"]:
                break
            self.core.on_tick(self.now)
            for worker in self.workers:
                while worker.begin():
                    worker.finish(self.now)
            for client in self.clients:
                self.drain(client)
            self.core.step(self.now)
        for client in self.clients:
            self.drain(client)
            assert not self.open[client]
        assert self.core.counts()["rows"] == 0
        assert self.core.counts()["ready"] == 0


CoreMachine.TestCase.settings = settings(max_examples=rounds(60), stateful_step_count=40)
TestCoreMachine = CoreMachine.TestCase


def test_a_peer_is_woken_though_another_left_before_the_flush_and_a_third_took_its_place():
    core = SchedulerCore()
    bell = new_doorbell()
    page = Segment.private(4096)
    memoryview(page)[64:68] = b"\1\0\0\0"  # it sleeps
    sleeper = FakeClient(core, 5)
    core.on_client_left(sleeper.index, 0)
    ring, sleeper.results = ring_pair()
    sleeper.index = core.on_client_joined(5, RingOutlet(ring, page, 64, bell), RingOutlet(ring_pair()[0]))
    core.on_function(sleeper.index, 0, DIGEST, 0, b"function")
    leaver, workers = FakeClient(core, 6), [FakeWorker(core), FakeWorker(core)]
    sleeper.submit()
    leaver.submit()
    core.step(0)
    for worker in sorted(workers, key=lambda worker: worker.begin().task):
        worker.finish()  # the answers are written, the sleeper's first, and nobody has been told
    with pytest.raises(BlockingIOError):
        os.read(bell, 1)
    core.on_client_left(leaver.index, 0)
    assert FakeClient(core, 7).index == leaver.index
    core.step(0)
    assert os.read(bell, 9) == b"\0"
    os.close(bell)


def test_a_long_random_run_leaves_every_table_empty():
    chance = random.Random(7)
    core = SchedulerCore()
    client = FakeClient(core, 5)
    workers = [FakeWorker(core) for _ in range(4)]
    for _ in range(20_000):
        if chance.random() < 0.5:
            client.submit(b"y" * chance.randrange(60))
        worker = chance.choice(workers)
        if worker.begin():
            worker.finish()
        core.step(0)
        client.drain()
    while core.counts()["rows"]:
        for worker in workers:
            if worker.begin():
                worker.finish()
        core.step(0)
        client.drain()
    assert len({a[0] for a in client.answers}) == len(client.answers) == core.counts()["accepted"]


def test_a_task_that_nobody_has_begun_is_called_back_and_answered():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    running, placed, *ready = [client.submit() for _ in range(4)]
    core.step(0)
    assert worker.begin()
    for task in (running, placed, *ready):
        core.on_recall(client.index, task, 0)
    core.step(0)
    client.drain()
    assert sorted(answer[:2] for answer in client.answers) == [(task, STATUS_STOPPED) for task in (placed, *ready)]
    assert worker.tasks.read(claim=True) is None
    worker.finish()
    client.drain()
    assert client.answers[-1] == (running, STATUS_OK, b"ARGS")
    core.on_recall(client.index, running, 0)
    assert core.counts()["rows"] == 0
    core.check()
