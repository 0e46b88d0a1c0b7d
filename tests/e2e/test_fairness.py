"""Nobody waits for what does not concern them: long tasks, busy clients, stuck workers.

No times here: a task that must not be waited for runs until the test lets it go, so what waits for it fails by hanging.
"""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from scaler import Client, SchedulerClusterCombo
from tests.e2e import calls
from tests.e2e.test_endings import wait_until


@pytest.fixture
def gate(tmp_path):
    """`gate.path` for calls.wait_for, and `gate.open()`, which happens at the end in any case."""

    class Gate:
        path = str(tmp_path / "open")

        def open(self):
            open(self.path, "w").close()

    made = Gate()
    yield made
    made.open()


def test_one_long_task_among_many_short_ones_holds_none_of_them_up(client, gate):
    assert client.map(calls.add_one, [(i,) for i in range(2000)])  # their duration is known now
    long_one = None
    futures = []
    for i in range(3000):
        if i == 700:
            long_one = client.submit(calls.wait_for, gate.path)
        futures.append(client.submit(calls.add_one, i))
    assert [future.result(20) for future in futures] == list(range(1, 3001))
    assert long_one is not None
    assert not long_one.done()
    gate.open()
    assert long_one.result(20) == gate.path


def test_a_call_that_becomes_slow_holds_up_no_other_of_its_function(client, gate):
    """Its kind has been quick so far, so others were put behind it."""
    open(gate.path + "-now", "w").close()
    quick = gate.path + "-now"
    assert [client.submit(calls.wait_for, quick).result(10) for _ in range(200)] == [quick] * 200
    futures = [client.submit(calls.wait_for, quick) for _ in range(20)]
    slow = client.submit(calls.wait_for, gate.path)
    futures += [client.submit(calls.wait_for, quick) for _ in range(200)]
    assert {future.result(20) for future in futures} == {quick}
    assert not slow.done()


def test_a_result_does_not_wait_for_the_next_task_of_its_worker(gate):
    with SchedulerClusterCombo(1) as combo, Client(combo.get_address()) as client:
        assert client.submit(calls.wait_for, os.curdir).result(10) == os.curdir  # short, as far as anybody knows
        first = client.submit(calls.wait_for, os.curdir)
        second = client.submit(calls.wait_for, gate.path)
        assert first.result(20) == os.curdir
        assert not second.done()


def test_few_tasks_of_one_client_come_back_though_another_has_very_many(cluster, client):
    with Client(cluster.get_address()) as greedy:
        many = [greedy.submit(calls.sleep_for, 0.001) for _ in range(20_000)]  # 10 s of work for two workers
        assert [client.submit(calls.add_one, i).result(20) for i in range(10)] == list(range(1, 11))
        assert sum(future.done() for future in many) < len(many) // 2
        greedy.clear()
    assert client.submit(calls.add_one, 1).result(20) == 2


@pytest.mark.parametrize("seconds", [0.0001, 0.01])
def test_ten_tasks_that_nobody_has_timed_come_back_before_a_flood_of_quick_ones(cluster, client, seconds):
    """They need no worker that has nothing else to do, which there is none of."""
    with Client(cluster.get_address()) as greedy:
        many = [greedy.submit(calls.sleep_for, 0.0005) for _ in range(20_000)]  # 5 s of work for two workers
        assert many[500].result(20) == 0.0005
        ten = [client.submit(calls.sleep_and_count, i, seconds) for i in range(10)]
        assert [future.result(20) for future in ten] == list(range(10))
        assert not all(future.done() for future in many)
        assert sum(future.done() for future in many) < len(many) // 2
        greedy.clear()


def test_a_map_of_one_client_does_not_keep_another_from_its_turn(cluster, client, gate):
    with Client(cluster.get_address()) as greedy:
        many = [greedy.submit(calls.sleep_for, 0.001) for _ in range(20_000)]
        assert client.map(calls.add_one, [(i,) for i in range(100)]) == list(range(1, 101))
        assert sum(future.done() for future in many) < len(many) // 2


def test_a_client_that_does_not_read_its_results_holds_up_nobody(cluster, client):
    """They fill its ring; what it still has queued must not keep the workers busy for it."""
    code = (
        "import time; from scaler import Client; from tests.e2e import calls\n"
        f"with Client({cluster.get_address()!r}) as c:\n"
        "    futures = [c.submit(calls.big, 20_000) for _ in range(2000)]\n"
        "    print('submitted', flush=True); time.sleep(60)"
    )
    stopped = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert stopped.stdout is not None
        assert stopped.stdout.readline() == "submitted\n"
        stopped.send_signal(signal.SIGSTOP)
        assert [client.submit(calls.add_one, i).result(20) for i in range(500)] == list(range(1, 501))
    finally:
        stopped.kill()
        stopped.communicate()
    assert client.submit(calls.add_one, 1).result(20) == 2


def test_tasks_go_round_a_worker_that_is_stopped():
    """It has one task in its hands; what was to come after that goes to the other."""
    with SchedulerClusterCombo(2) as combo, Client(combo.get_address()) as client:
        pids = set()
        while len(pids) < 2:
            pids |= set(client.map(calls.process_id, [(None,)] * 100))
        stuck = client.submit(calls.process_id)
        stopped = psutil.Process(stuck.result(10))
        stopped.suspend()
        try:
            futures = [client.submit(calls.add_one, i) for i in range(2000)]
            wait_until(lambda: sum(future.done() for future in futures) >= 1999, 20)
        finally:
            stopped.resume()
        assert [future.result(20) for future in futures] == list(range(1, 2001))


def test_functions_whose_tasks_were_cancelled_do_not_fill_up_a_worker():
    """A stopped worker is told of one function after the other and gets none of their tasks."""
    with SchedulerClusterCombo(1) as combo, Client(combo.get_address()) as client:
        worker = client.submit(calls.process_id).result(10)
        os.kill(worker, signal.SIGSTOP)
        try:
            for _ in range(40):  # more than fits its control ring
                ballast = os.urandom(4000)
                future = client.submit(lambda ballast=ballast: len(ballast))
                time.sleep(0.005)
                assert future.cancel()
        finally:
            os.kill(worker, signal.SIGCONT)
        ballast = os.urandom(4000)
        assert client.submit(lambda: len(ballast)).result(20) == 4000
