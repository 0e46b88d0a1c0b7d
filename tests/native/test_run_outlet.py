"""What stands for a remote worker: what waits for its objects, what left first, which task a death is charged to."""

import pytest

from scaler._native import STATUS_WORKER_DIED, SchedulerCore
from tests.native.model import Model, ModelClient, RemoteWorker

MS = 1_000_000


@pytest.fixture
def model():
    made = Model(SchedulerCore(epoch=9))
    made.clients.append(ModelClient(made, 5, 65536))
    return made


def add_worker(model):
    made = RemoteWorker(model, 1000)
    model.workers.append(made)
    model.settle()
    return made


def teach(model):
    """The function is known to be quick, so that a worker is given many of its tasks."""
    worker = add_worker(model)
    for _ in range(8):
        model.clients[0].submit(1, 1, "none")
        model.settle()
        worker.claim()
        worker.finish(1000, False)
    return worker


def statuses(model):
    client = model.clients[0]
    client.drain()
    return {number & 0xFFFF: status for number, (status, _) in client.read.items()}


def test_a_task_that_waits_for_its_objects_is_cancelled_at_once(model):
    client, worker = model.clients[0], add_worker(model)
    task = client.submit(1, 8, "new")
    model.settle()
    assert [record.task for record in worker.set_aside] == [task]
    model.core.on_cancel(client.index, task, 0)
    model.on_unwanted(task)
    model.settle()
    assert worker.asks == []
    assert worker.set_aside == []
    assert worker.outlet.leaves(task, 9 << 32 | 1) is None
    model.check()
    assert model.core.counts()["rows"] == 0
    assert len(model.core.objects) == 0


def test_a_task_that_has_left_must_be_asked_for_though_its_objects_made_it_wait(model):
    client, worker = model.clients[0], teach(model)
    task = client.submit(1, 8, "new")
    client.submit(1, 8, "none")
    model.core.step(0)  # the second is still in the run
    worker.set_aside = [record for _, record in worker.large]
    worker.large.clear()
    worker.objects_come()
    model.core.on_cancel(client.index, task, 0)
    assert [asked for _, asked, _ in worker.asks] == [task]
    assert len(worker.outlet.run) == 1


def test_what_a_relay_says_was_claimed_is_charged_and_nothing_else(model):
    client, worker = model.clients[0], teach(model)
    large = client.submit(1, 8, "new")
    small = client.submit(1, 8, "none")
    for _ in range(4):
        model.settle()
        assert worker.claim()[1] == small  # the other waits for its objects, though it was placed first
        model.on_worker_died(worker)
        worker = add_worker(model)
    assert statuses(model)[small & 0xFFFF] == STATUS_WORKER_DIED
    model.settle()
    assert worker.claim()[1] == large
    worker.finish(1000, False)
    assert statuses(model)[large & 0xFFFF] == 0


def test_a_worker_that_dies_idle_costs_its_tasks_nothing(model):
    client, worker = model.clients[0], add_worker(model)
    task = client.submit(1, 8, "none")
    for _ in range(10):
        model.settle()
        model.on_worker_died(worker)
        worker = add_worker(model)
    worker.claim()
    worker.finish(1000, False)
    assert statuses(model)[task & 0xFFFF] == 0


def test_with_a_host_what_left_first_is_charged_and_what_never_left_is_not(model):
    client, worker = model.clients[0], teach(model)
    large = client.submit(1, 8, "new")
    small = client.submit(1, 8, "none")
    for _ in range(4):
        model.settle()
        assert len(worker.set_aside) == 1
        model.on_worker_died(worker, with_its_host=True)
        worker = add_worker(model)
    assert statuses(model)[small & 0xFFFF] == STATUS_WORKER_DIED
    for _ in range(10):  # nothing has left now
        model.settle()
        model.on_worker_died(worker, with_its_host=True)
        worker = add_worker(model)
    worker.claim()
    worker.finish(1000, False)
    assert statuses(model)[large & 0xFFFF] == 0
