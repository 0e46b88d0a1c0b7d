"""Scheduler, cluster and clients in different PID namespaces, with one /dev/shm and one network: as in containers.

A process has another number in each namespace that sees it, and none in others. So whatever is done to a process must
be done to the right one, or to none.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import pytest

from scaler import Client
from scaler.exceptions import ProcessorDiedError, TaskTimeoutError
from tests.e2e import calls, stoppable
from tests.namespaces import OWN_NUMBERS, Contained, number_inside, require, start
from tests.processes import wait_until

require()
OPTIONS = ("-n", "1", "--stop-grace-seconds", "0.3")
READY = r"cluster is ready: (\d+) workers"
# Of the scheduler and of the cluster: which are in a namespace of their own.
APART = {"scheduler apart": (True, False), "cluster apart": (False, True), "each by itself": (True, True)}


class WatchedClient(Client):
    """A client, where it is connected to, and what the programs there have logged."""

    address: str
    cluster_log: Callable[[], str]
    scheduler_log: Callable[[], str]


@pytest.fixture(params=APART)
def client(request):
    """Of a scheduler with one worker, both over shared memory."""
    scheduler_apart, cluster_apart = APART[request.param]
    with start("scaler_scheduler", "tcp://127.0.0.1:0", is_contained=scheduler_apart) as scheduler:
        address = scheduler.await_line(r"scheduler listens at (\S+)")
        with start(
            "scaler_cluster", address, "-n", "1", "--stop-grace-seconds", "0.3", is_contained=cluster_apart
        ) as cluster:
            cluster.await_line(READY)
            scheduler.await_line("worker .* joined over shared memory")
            made = WatchedClient(address, timeout_seconds=20)
            made.address, made.cluster_log, made.scheduler_log = address, lambda: cluster.out, lambda: scheduler.out
            with made:
                yield made
            assert [cluster.stop(), scheduler.stop()] == [0, 0]
            assert (scheduler.err, cluster.err) == ("", "")


def test_a_task_that_nobody_wants_is_stopped_and_its_worker_goes_on(client, tmp_path):
    worker = client.submit(os.getpid).result(20)
    running = client.submit(stoppable.last_for_ever, str(tmp_path), "sleep")
    wait_until(lambda: stoppable.marks(tmp_path, "sleep began"))
    running.cancel()
    assert client.submit(os.getpid).result(20) == worker


def test_a_task_that_runs_too_long_is_stopped(client):
    with pytest.raises(TaskTimeoutError):
        client.options(timeout=0.2).submit(time.sleep, 60).result(20)
    assert client.submit(calls.add_one, 1).result(20) == 2


def test_a_task_that_will_not_stop_is_killed_on_purpose_and_takes_no_other_along(client, tmp_path):
    worker = client.submit(os.getpid).result(20)
    running = client.submit(stoppable.last_for_ever, str(tmp_path), "never return")
    wait_until(lambda: stoppable.marks(tmp_path, "never return began"))
    behind = [client.options(retries=0).submit(os.getpid) for _ in range(20)]
    running.cancel()
    replaced = {future.result(20) for future in behind}
    assert worker not in replaced
    wait_until(lambda: "is killed, since it goes on with" in client.scheduler_log())
    assert "ended by signal" not in client.cluster_log()  # which is how an accident is booked


def test_how_a_worker_died_is_known(client):
    with pytest.raises(ProcessorDiedError) as failed:
        client.options(retries=0).submit(os._exit, 3).result(20)
    assert failed.value.exit_code == 3
    with pytest.raises(ProcessorDiedError) as failed:
        client.options(retries=0).submit(calls.die).result(20)
    assert failed.value.signal_name == "SIGKILL"
    wait_until(lambda: "ended by signal 9" in client.cluster_log())
    assert client.submit(calls.add_one, 1).result(20) == 2


@pytest.mark.parametrize("before", [(), OWN_NUMBERS], ids=["here", "apart"])
def test_a_client_that_was_killed_leaves_no_task_running(client, tmp_path, before):
    """A child that it has forked holds its connection open, so that only its process tells of its end."""
    program = (
        "import ctypes, sys, time; from scaler import Client; from tests.e2e import stoppable\n"
        "client = Client(sys.argv[1], timeout_seconds=20)\n"
        "client.submit(stoppable.last_for_ever, sys.argv[2], 'sleep')\n"
        "ctypes.CDLL(None).fork()  # which Python does not notice, so nothing is closed there\n"
        "time.sleep(600)"
    )
    command = [*before, sys.executable, "-c", program, client.address, str(tmp_path)]
    killed = subprocess.Popen(command, start_new_session=True)
    try:
        wait_until(lambda: stoppable.marks(tmp_path, "sleep began"))
        killed.kill()
        killed.wait()
        assert client.submit(calls.add_one, 1).result(20) == 2
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(killed.pid, signal.SIGKILL)


def test_a_stranger_whose_number_is_a_workers_elsewhere_is_left_alone(tmp_path):
    """The next scheduler is told of workers by their supervisor, among processes that have the same numbers there."""
    address = f"ipc://{tmp_path}/scheduler"
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(start("scaler_scheduler", address, is_contained=False))
        first.await_line("scheduler listens")
        cluster = stack.enter_context(Contained("scaler_cluster", address, *OPTIONS))
        cluster.await_line(READY)
        client = stack.enter_context(Client(address, timeout_seconds=30))
        client.submit(stoppable.last_for_ever, str(tmp_path), "never return")
        wait_until(lambda: stoppable.marks(tmp_path, "never return began"))
        (number,) = stoppable.marks(tmp_path, "never return began")
        first.process.kill()
        first.process.wait()
        second = stack.enter_context(Contained("scaler_scheduler", address, strangers=number + 10))
        second.await_line("worker .* joined over shared memory")
        strangers = second.first.children()
        assert number in map(number_inside, strangers)
        client.clear()
        assert client.submit(os.getpid).result(30) != number
        assert [stranger.status() for stranger in strangers] == [psutil.STATUS_SLEEPING] * len(strangers)
        client.disconnect()
        assert cluster.stop() == 0
        second.first.send_signal(signal.SIGTERM)
        second.process.wait(20)
