"""How much work there is, in seconds, and who has nothing to do."""

import pytest

from scaler._native import SchedulerCore, demand_of, idle_times_ns
from tests.native.test_core import MS, FakeClient, FakeWorker

SECOND = 1000 * MS


def test_nothing_is_no_work():
    core = SchedulerCore()
    assert demand_of(core) == (0, 0, 0)
    FakeWorker(core)
    assert demand_of(core) == (0, 0, 1)


def test_calls_count_as_long_as_such_calls_have_taken():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    client.submit()
    core.step(0)
    worker.begin()
    worker.finish(now=3 * SECOND, duration_ns=3 * SECOND)
    assert demand_of(core)[:2] == (0, 0)
    for _ in range(10):
        client.submit()
    core.step(3 * SECOND)
    tasks, ns, workers = demand_of(core)
    assert (tasks, workers) == (10, 1)
    assert ns == pytest.approx(30 * SECOND)


def test_of_what_no_worker_has_answered_each_call_counts_as_a_second():
    core = SchedulerCore()
    client = FakeClient(core, 5)
    for _ in range(7):
        client.submit()
    assert demand_of(core) == (7, 7 * SECOND, 0)


def test_what_was_cancelled_is_no_work():
    core = SchedulerCore()
    client = FakeClient(core, 5)
    tasks = [client.submit() for _ in range(7)]
    for task in tasks[2:]:
        core.on_cancel(client.index, task, 0)
    assert demand_of(core)[:2] == (2, 2 * SECOND)


def test_a_worker_that_leaves_does_not_stay_and_is_not_idle():
    core = SchedulerCore()
    workers = [FakeWorker(core) for _ in range(3)]
    core.on_worker_leaves(workers[1].index, 0)
    assert demand_of(core)[2] == 2
    assert idle_times_ns(core, [worker.index for worker in workers], 5 * SECOND) == [5 * SECOND, 0, 5 * SECOND]


def test_a_worker_is_idle_from_its_last_result_on():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5), FakeWorker(core)
    client.submit()
    core.step(SECOND)
    worker.begin()
    assert idle_times_ns(core, [worker.index], 2 * SECOND) == [0]
    worker.finish(now=3 * SECOND, duration_ns=2 * SECOND)
    assert idle_times_ns(core, [worker.index], 7 * SECOND) == [4 * SECOND]
