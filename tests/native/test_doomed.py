"""A task whose worker has died once too often, until it is told how."""

import json

import pytest

from scaler._native import SchedulerCore, TaskOptions
from scaler.values.death_facts import pack_facts
from tests.native.test_core import MS, FakeWorker
from tests.native.test_task_options import Peer

WORKER_DIED = 2


@pytest.fixture
def doomed():
    """(core, client, task, the dead worker's tag): the last death it may have has come."""
    core = SchedulerCore()
    client, worker = Peer(core, 5), FakeWorker(core)
    task = client.submit(options=TaskOptions(retries=0))
    core.step(0)
    assert worker.begin().task == task
    tag = core.worker_tag(worker.index)
    core.on_worker_left(worker.index, 0, (), b'{"worker": "w"}', True)
    client.drain()
    assert client.answers == []
    assert core.awaits_death(tag)
    return core, client, task, tag


def told(client):
    client.drain()
    ((task, status, payload),) = client.answers
    return task, status, json.loads(payload)


def test_the_report_is_its_answer(doomed):
    core, client, task, tag = doomed
    core.on_death_told(tag, b'{"code": -11}', 0)
    assert told(client) == (task, WORKER_DIED, {"code": -11, "tries": 1})
    core.on_death_told(tag, b'{"code": 0}', 0)
    core.on_tick(10**12)
    client.drain()
    assert len(client.answers) == 1
    assert core.counts()["rows"] == 0


def test_without_a_report_it_is_told_what_is_known(doomed):
    core, client, task, _ = doomed
    core.on_tick(999 * MS)
    client.drain()
    assert client.answers == []
    core.on_tick(1000 * MS)
    assert told(client) == (task, WORKER_DIED, {"worker": "w", "tries": 1})
    assert core.counts()["rows"] == 0


def test_one_that_is_cancelled_is_told_nothing(doomed):
    core, client, task, tag = doomed
    core.on_cancel(client.index, task, 0)
    assert not core.awaits_death(tag)
    core.on_death_told(tag, b"{}", 0)
    client.drain()
    assert client.answers == []
    assert core.counts()["rows"] == 0


def test_one_whose_client_has_left_is_gone(doomed):
    core, client, _, tag = doomed
    core.on_client_left(client.index, 0)
    core.on_death_told(tag, b"{}", 0)
    core.on_tick(10**12)
    assert core.counts()["rows"] == 0


def test_long_last_words_reach_the_client(doomed):
    core, client, _, tag = doomed
    core.on_death_told(tag, pack_facts({"output": "ö" * 2000}), 0)
    assert told(client)[2]["output"] == "ö" * 2000


def test_what_is_told_is_passed_on_unread_and_nothing_is_told_of_nothing(doomed):
    core, client, task, tag = doomed
    core.on_death_told(tag, b"{}", 0)
    assert told(client) == (task, WORKER_DIED, {"tries": 1})


def test_a_list_of_claimed_tasks_that_makes_no_sense_changes_nothing():
    core = SchedulerCore()
    client, worker = Peer(core, 5), FakeWorker(core)
    task = client.submit(options=TaskOptions(retries=0))
    core.step(0)
    attempt = worker.begin().attempt
    for claimed in ([(task, attempt), (-1, attempt)], [(task, attempt), (task, "x")], [(task, attempt), task]):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            core.on_worker_left(worker.index, 0, claimed)
    assert core.counts()["workers"] == 1
    worker.finish()
    client.drain()
    assert [answer[:2] for answer in client.answers] == [(task, 0)]


def test_a_death_counts_once_however_often_it_is_said_to_have_been_the_task_s():
    core = SchedulerCore()
    client, worker = Peer(core, 5), FakeWorker(core)
    task = client.submit(options=TaskOptions(retries=2))
    core.step(0)
    attempt = worker.tasks.read().attempt
    core.on_worker_left(worker.index, 0, [(task, attempt)] * 256)
    again = FakeWorker(core)
    core.step(0)
    assert again.begin().task == task


def test_a_task_that_may_run_again_waits_for_no_report():
    core = SchedulerCore()
    client, worker, other = Peer(core, 5), FakeWorker(core), FakeWorker(core)
    task = client.submit()
    core.step(0)
    first = worker if worker.begin() else other
    second = other if first is worker else worker
    first.begin()
    core.on_worker_left(first.index, 0, (), b"{}", True)
    core.step(0)
    assert second.begin().task == task


@pytest.mark.parametrize("retries", [0, 3])
def test_one_that_may_not_be_tried_again_after_all_ends_with_this_death(retries):
    core = SchedulerCore()
    client, worker = Peer(core, 5), FakeWorker(core)
    task = client.submit(options=TaskOptions(retries=retries))
    core.step(0)
    attempt = worker.begin().attempt
    assert not core.on_final_run(worker.index, task, attempt + 1)
    assert not core.on_final_run(worker.index, task + 1, attempt)
    assert core.on_final_run(worker.index, task, attempt) == (retries > 0)
    core.on_worker_left(worker.index, 0, (), b'{"code": -9}')
    assert told(client) == (task, WORKER_DIED, {"code": -9, "tries": 1})
