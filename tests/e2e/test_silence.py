"""Processes that are stopped, held up or cut off, and those that only look so: who is given up, and who is not."""

import os
import signal
import socket
import time
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from scaler import Client
from scaler.exceptions import DisconnectedError
from scaler.session import client_relay
from tests.e2e import calls
from tests.e2e.test_endings import wait_until
from tests.elsewhere import RemoteCluster
from tests.proxy import Proxy

TIMEOUT_S = 3.0  # of schedulers here, for hosts and clients without a sign of life


@contextmanager
def two_hosts():
    """A scheduler elsewhere, and two hosts with a worker each behind proxies."""
    proxies = []

    def way(address):
        proxies.append(Proxy(address))
        return proxies[-1].address

    with ExitStack() as stack:
        options: dict[str, Any] = {
            "insecure": True,
            "worker_timeout_seconds": TIMEOUT_S,
            "client_timeout_seconds": TIMEOUT_S,
        }
        cluster = stack.enter_context(RemoteCluster(1, way=way, **options))
        stack.callback(lambda: [proxy.close() for proxy in proxies])
        cluster.add_workers(1)
        client = stack.enter_context(Client(cluster.get_address(), timeout_seconds=20))
        wait_until(lambda: client._rings.count_workers() == 2)
        yield cluster, client, proxies


@contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def marks(log):
    return sorted(map(int, log.read_text().split())) if log.exists() else []


def test_tasks_of_a_host_that_is_cut_off_run_elsewhere_and_what_it_says_later_does_not_count(tmp_path):
    with two_hosts() as (_, client, proxies):
        log = tmp_path / "log"
        futures = [client.submit(calls.note_slowly, str(log), number, 0.01) for number in range(200)]
        wait_until(lambda: marks(log))
        proxies[0].hold()
        answers = [future.result(60) for future in futures]
        assert answers == list(range(200))
        assert set(marks(log)) == set(range(200))
        proxies[0].release()
        wait_until(lambda: client._rings.count_workers() == 2, 30)  # the host is back
        assert client.map(calls.add_one, [(x,) for x in range(100)]) == list(range(1, 101))
        assert client._rings.strays == 0


def test_a_host_that_is_held_up_for_a_while_goes_on_and_nothing_is_run_twice(tmp_path):
    with two_hosts() as (_, client, proxies):
        log = tmp_path / "log"
        futures = [client.submit(calls.note_slowly, str(log), number, 0.01) for number in range(100)]
        wait_until(lambda: marks(log))
        proxies[0].hold()
        time.sleep(0.5)
        proxies[0].release()
        assert [future.result(60) for future in futures] == list(range(100))
        assert marks(log) == list(range(100))


def test_tasks_of_a_host_whose_supervisor_is_killed_run_elsewhere(tmp_path):
    with two_hosts() as (cluster, client, _):
        log = tmp_path / "log"
        futures = [client.submit(calls.note_slowly, str(log), number, 0.01) for number in range(200)]
        wait_until(lambda: marks(log))
        os.kill(cluster.cluster.child.pid, signal.SIGKILL)
        assert [future.result(60) for future in futures] == list(range(200))


def test_a_supervisor_that_was_stopped_for_too_long_comes_back_and_its_tasks_ran_elsewhere(tmp_path):
    with two_hosts() as (cluster, client, _):
        log = tmp_path / "log"
        futures = [client.submit(calls.note_slowly, str(log), number, 0.01) for number in range(200)]
        wait_until(lambda: marks(log))
        with stopped(cluster.cluster.child.pid):
            assert [future.result(60) for future in futures] == list(range(200))
        wait_until(lambda: client._rings.count_workers() == 2, 30)
        assert client.map(calls.add_one, [(x,) for x in range(100)]) == list(range(1, 101))
        assert client._rings.strays == 0


def test_a_scheduler_that_was_stopped_gives_nobody_up(tmp_path):
    with two_hosts() as (cluster, client, _):
        log = tmp_path / "log"
        futures = [client.submit(calls.note_slowly, str(log), number, 0.005) for number in range(400)]
        wait_until(lambda: marks(log))
        with stopped(cluster.scheduler.pid):
            time.sleep(2 * TIMEOUT_S)
        assert [future.result(60) for future in futures] == list(range(400))
        assert marks(log) == list(range(400))


def test_what_waits_behind_a_stopped_worker_runs_elsewhere_and_it_goes_on_with_what_it_had(client, tmp_path):
    log, started = tmp_path / "log", tmp_path / "pid"
    first = client.submit(calls.note_process_and_sleep, str(started), 0.3)
    wait_until(lambda: started.exists() and started.read_text())
    pid = int(started.read_text())
    with stopped(pid):
        futures = [client.submit(calls.note, str(log), number) for number in range(100)]
        assert [future.result(30) for future in futures] == list(range(100))
        assert not first.done()
    assert first.result(30) == 0.3
    assert marks(log) == list(range(100))


def test_a_task_that_holds_the_interpreter_is_not_a_death():
    with two_hosts() as (_, client, _):
        held = [client.submit(calls.hold_interpreter, round(2 * TIMEOUT_S)) for _ in range(2)]
        pids = [future.result(60) for future in held]
        assert all(psutil.pid_exists(pid) for pid in pids)
        assert client.submit(calls.add_one, 1).result(20) == 2


def test_a_client_whose_interpreter_is_held_is_not_given_up():
    with two_hosts() as (_, client, _):
        future = client.submit(calls.sleep_for, 0.5)
        calls.hold_interpreter(round(2 * TIMEOUT_S))
        assert future.result(20) == 0.5
        assert client.submit(calls.add_one, 1).result(20) == 2


def test_a_transfer_that_takes_longer_than_the_time_out_is_not_a_death(monkeypatch):
    monkeypatch.setattr(client_relay, "open_transport", lambda *_, **__: None)  # all of it goes through the session
    with (
        two_hosts() as (cluster, _, _),
        Proxy(cluster.get_address(), pause_s=0.01) as slow,
        Client(slow.address, timeout_seconds=20) as client,
    ):
        started_s = time.monotonic()
        assert client.submit(len, b"x" * 40_000_000).result(60) == 40_000_000
        assert time.monotonic() - started_s > TIMEOUT_S  # else this tests nothing
        assert len(client.submit(calls.big, 40_000_000).result(60)) == 40_000_000


def test_a_connection_that_nothing_comes_through_any_more_is_an_error_after_the_clients_time_out():
    with two_hosts() as (cluster, _, _), Proxy(cluster.get_address()) as proxy:
        client = Client(proxy.address, timeout_seconds=2)
        future = client.submit(calls.sleep_for, 60)
        proxy.hold()
        with pytest.raises(DisconnectedError, match=r"127\.0\.0\.1"):
            future.result(60)
        client.disconnect()
        proxy.release()


def test_what_forgets_idle_connections_forgets_none_of_ours_while_a_task_takes_long():
    """As firewalls and routers do, which tell nobody; a connection that says nothing shows that they do here."""
    proxies = []

    def way(address):
        proxies.append(Proxy(address, idle_s=TIMEOUT_S))
        return proxies[-1].address

    with ExitStack() as stack:
        options: dict[str, Any] = {"insecure": True, "worker_timeout_seconds": 5, "client_timeout_seconds": 5}
        cluster = stack.enter_context(RemoteCluster(1, way=way, **options))
        stack.callback(lambda: [proxy.close() for proxy in proxies])
        client = stack.enter_context(Client(way(cluster.get_address()), timeout_seconds=20))
        silent = socket.create_connection(("127.0.0.1", urlsplit(proxies[1].address).port))
        stack.callback(silent.close)
        assert client.submit(calls.sleep_for, 2.5 * TIMEOUT_S).result(40) == 2.5 * TIMEOUT_S
        assert [proxy.forgotten for proxy in proxies] == [0, 1]
