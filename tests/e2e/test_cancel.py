"""What is cancelled stops, however it runs, and nothing else does."""

import os
import random
import signal
import threading
import time
from functools import partial

import psutil
import pytest

from scaler import Client
from tests.conftest import make_cluster
from tests.e2e import calls, stoppable
from tests.e2e.stoppable import PROMPT, STUBBORN, last_for_ever, marks
from tests.processes import wait_until

GRACE_S = 0.3


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_dead(pid):
    return not is_alive(pid)


@pytest.fixture(scope="module", params=["rings", "wire"])
def impatient(request):
    """A cluster that does not wait long."""
    with make_cluster(request.param, stop_grace_seconds=GRACE_S) as made:
        yield made


@pytest.fixture
def hasty(impatient):
    with Client(impatient.get_address(), timeout_seconds=20) as made:
        yield made


def begin(client, folder, way):
    """A task that runs by now, and its process."""
    before = len(marks(folder, f"{way} began"))
    future = client.submit(last_for_ever, str(folder), way)
    wait_until(lambda: len(marks(folder, f"{way} began")) > before)
    return future, marks(folder, f"{way} began")[-1]


@pytest.mark.parametrize("way", PROMPT)
def test_what_runs_is_stopped_and_its_worker_goes_on(client, tmp_path, way):
    futures = [begin(client, tmp_path, way) for _ in range(2)]
    for future, _ in futures:
        assert future.cancel()
        assert future.cancelled()
    wait_until(lambda: len(marks(tmp_path, f"{way} ended")) == 2)
    processes = {client.submit(calls.process_id, i).result(30) for i in range(20)}
    assert processes <= {process for _, process in futures}
    assert len(marks(tmp_path, f"{way} began")) == 2


@pytest.mark.parametrize("way", STUBBORN)
def test_what_does_not_stop_is_killed_and_another_worker_takes_its_place(hasty, tmp_path, way):
    other, its_process = begin(hasty, tmp_path, "sleep")
    future, process = begin(hasty, tmp_path, way)
    behind = [hasty.submit(calls.add_one, i) for i in range(50)]
    assert future.cancel()
    wait_until(lambda: not is_alive(process))
    assert [one.result(30) for one in behind] == list(range(1, 51))
    assert not other.done()
    assert is_alive(its_process)
    assert len(marks(tmp_path, f"{way} began")) == 1  # nobody has run it again
    other.cancel()
    wait_until(lambda: marks(tmp_path, "sleep ended") == [its_process])


def test_many_that_must_be_killed_are_not_held_against_anybody(hasty, tmp_path):
    for number in range(5):  # more often than a task may lose its worker, and a worker may end without a pause
        future, process = begin(hasty, tmp_path, "swallow everything")
        future.cancel()
        wait_until(partial(is_dead, process))
        assert hasty.submit(calls.add_one, number).result(30) == number + 1


def test_what_a_killed_task_has_started_ends_with_it(hasty, tmp_path):
    future = hasty.submit(stoppable.leave_a_process, str(tmp_path))
    wait_until(lambda: marks(tmp_path, "child"))
    [child] = marks(tmp_path, "child")
    assert is_alive(child)
    future.cancel()
    wait_until(lambda: not is_alive(child))


def test_a_thousand_in_a_row_leave_the_workers_as_they_were(client):
    before = {client.submit(calls.process_id, i).result(30) for i in range(50)}
    chance = random.Random(7)
    for _ in range(1000):
        future = client.submit(calls.sleep_for, 60)
        if chance.random() < 0.5:
            time.sleep(
                chance.random() * 0.002
            )  # so that some are cancelled before they begin, some as they do, some later
        assert future.cancel()
    assert client.map(calls.add_one, [(i,) for i in range(1000)]) == list(range(1, 1001))
    after = {client.submit(calls.process_id, i).result(30) for i in range(50)}
    assert after <= before or len(before) == 1


def test_a_storm_hurts_nobody_else(client, tmp_path):
    chance = random.Random(11)
    good, bad = {}, []
    path = str(tmp_path / "ran")
    for number in range(6000):
        if number % 3:
            bad.append(client.submit(calls.sleep_for, chance.choice((0.0001, 0.001, 60))))
        else:
            good[number] = client.submit(calls.note, path, number)
        if len(bad) > 20 and chance.random() < 0.2:
            chance.shuffle(bad)
            for future in bad:
                assert future.cancel() or future.done()
            bad.clear()
    for future in bad:
        future.cancel()
    assert {number: future.result(60) for number, future in good.items()} == {number: number for number in good}
    with open(path) as file:
        ran = [int(line) for line in file]
    assert sorted(ran) == sorted(good)  # each once: nobody was killed


def test_clear_stops_what_runs(client, tmp_path):
    _, process = begin(client, tmp_path, "sleep")
    client.clear()
    wait_until(lambda: marks(tmp_path, "sleep ended") == [process])


def test_the_rest_of_a_map_that_failed_is_stopped(client, tmp_path):
    with pytest.raises(ValueError, match="the first"):
        client.map(stoppable.fail_once_all_run, [(str(tmp_path), i) for i in range(2)])
    wait_until(lambda: marks(tmp_path, "sleep ended"))
    assert client.map(calls.add_one, [(1,)]) == [2]


def test_an_interrupted_map_is_stopped_and_the_client_goes_on(client, tmp_path):
    def interrupt():
        wait_until(lambda: marks(tmp_path, "sleep began"))
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        client.map(last_for_ever, [(str(tmp_path), "sleep")] * 2)
    wait_until(lambda: len(marks(tmp_path, "sleep ended")) == len(marks(tmp_path, "sleep began")))
    assert client.map(calls.add_one, [(1,)]) == [2]


@pytest.mark.parametrize("cluster", ["rings"], indirect=True)
def test_a_late_signal_does_nothing(client):
    process = client.submit(calls.process_id).result(30)
    futures = [client.submit(calls.sleep_for, 0.001) for _ in range(2000)]
    while not all(future.done() for future in futures):
        os.kill(process, signal.SIGURG)
    assert [future.result(1) for future in futures] == [0.001] * 2000
