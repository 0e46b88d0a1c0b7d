"""What only the wire has: connections that break, strangers on the port, hosts that go."""

import contextlib
import gc
import os
import signal
import socket
import time
from dataclasses import replace
from urllib.parse import urlsplit

import psutil
import pytest
import zmq

from scaler import Client
from scaler._native import Segment
from scaler.colocation.names import bell_name, new_epoch, segment_name
from scaler.exceptions import DisconnectedError, WorkerDiedError
from scaler.objects.relay_transport import open_transport
from scaler.session import client_relay
from tests.e2e import calls
from tests.elsewhere import RemoteCluster
from tests.processes import tree, wait_until
from tests.proxy import Proxy


@pytest.fixture(scope="module")
def remote():
    # Without keys: they are found by the address, and some of these tests go through a proxy with another one.
    with RemoteCluster(2, insecure=True) as made:
        yield made


def test_nothing_is_lost_or_doubled_when_a_clients_connection_breaks(remote, tmp_path):
    with Proxy(remote.get_address()) as proxy, Client(proxy.address) as client:
        log = tmp_path / "log"
        futures, cuts = [], 0
        for number in range(4000):
            futures.append(client.submit(calls.note, str(log), number))
            if number % 500 == 250:
                cuts += proxy.cut()
                time.sleep(0.05)
        large = client.submit(len, b"x" * 5_000_000)
        cuts += proxy.cut()
        assert [future.result(30) for future in futures] == list(range(4000))
        assert large.result(30) == 5_000_000
        assert cuts >= 5
        assert sorted(map(int, log.read_text().split())) == list(range(4000))


def test_nothing_is_lost_or_doubled_when_a_hosts_connection_breaks(tmp_path):
    proxies = []

    def way(address):
        proxies.append(Proxy(address))
        return proxies[0].address

    with RemoteCluster(2, way=way, insecure=True) as cluster, Client(cluster.get_address()) as client:
        log, cuts = tmp_path / "log", 0
        futures = [client.submit(calls.note, str(log), number) for number in range(6000)]
        for _ in range(6):
            time.sleep(0.05)
            cuts += proxies[0].cut()
        assert [future.result(30) for future in futures] == list(range(6000))
        assert len(client.submit(calls.big, 5_000_000).result(30)) == 5_000_000
        assert cuts >= 3
        assert sorted(map(int, log.read_text().split())) == list(range(6000))
    proxies[0].close()


def test_bytes_of_strangers_are_dropped_and_the_others_go_on(remote):
    where = urlsplit(remote.get_address())
    with Client(remote.get_address()) as client:
        for _ in range(20):
            with socket.create_connection((where.hostname, where.port)) as plain:
                plain.sendall(os.urandom(200))
        context = zmq.Context()
        dealer = context.socket(zmq.DEALER)
        dealer.setsockopt(zmq.LINGER, 500)
        dealer.connect(remote.get_address())
        for size in (0, 1, 8, 16, 100, 5000):
            dealer.send(os.urandom(size))
            dealer.send_multipart([b"", os.urandom(size), b""])
        assert dealer.poll(5000)
        dealer.close()
        context.term()
        assert client.submit(calls.add_one, 1).result(10) == 2
    assert remote.scheduler.poll() is None


def test_a_scheduler_that_is_killed_is_noticed(tmp_path):
    with RemoteCluster(1) as cluster:
        client = Client(cluster.get_address(), timeout_seconds=1)
        future = client.submit(calls.sleep_for, 30)
        scheduler = psutil.Process(cluster.scheduler.pid)
        scheduler.kill()
        with pytest.raises(DisconnectedError, match="has gone"):
            future.result(20)
        client.disconnect()


def test_a_killed_worker_of_another_host_is_replaced_and_its_task_fails_alone(remote):
    with Client(remote.get_address()) as client:
        first = client.submit(calls.process_id).result(10)
        os.kill(first, signal.SIGKILL)
        pids = {client.submit(calls.process_id).result(20) for _ in range(50)}
        assert first not in pids
        with pytest.raises(Exception, match="died"):
            client.submit(calls.die).result(30)


def test_the_death_of_a_worker_elsewhere_is_charged_to_the_task_that_it_ran():
    with RemoteCluster(1) as cluster, Client(cluster.get_address()) as client:
        assert client.submit(len, b"x").result(30) == 1
        kept = client.send_object(b"x" * 3_000_000)
        large = [client.submit(len, kept) for _ in range(3)]  # placed first, but they wait for their object
        deadly = client.submit(calls.die)
        large += [client.submit(len, b"y" * 3_000_000) for _ in range(3)]
        with pytest.raises(WorkerDiedError):
            deadly.result(60)
        assert [future.result(60) for future in large] == [3_000_000] * 6


def test_a_host_that_is_killed_gives_its_tasks_back_when_another_comes():
    with RemoteCluster(1) as cluster, Client(cluster.get_address()) as client:
        futures = [client.submit(calls.sleep_for, 0.01) for _ in range(50)]
        cluster.add_workers(1)
        assert cluster.cluster.child is not None
        os.kill(cluster.cluster.child.pid, signal.SIGTERM)
        assert [future.result(30) for future in futures] == [0.01] * 50


def test_large_objects_do_not_go_through_the_session():
    with (
        RemoteCluster(1, insecure=True) as cluster,
        Proxy(cluster.get_address()) as proxy,
        Client(proxy.address) as client,
    ):
        for _ in range(3):
            assert client.submit(len, b"x" * 20_000_000).result(30) == 20_000_000
            assert len(client.submit(calls.big, 20_000_000).result(30)) == 20_000_000
        assert proxy.passed_bytes < 1_000_000


def test_where_the_port_for_objects_cannot_be_reached_they_go_through_the_session(monkeypatch, caplog):
    def to_nowhere(address, welcome, store, call, *, listens, is_sealed):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            nowhere = replace(welcome, objects_port=closed.getsockname()[1])
            return open_transport(address, nowhere, store, call, listens=listens, is_sealed=is_sealed)

    monkeypatch.setattr(client_relay, "open_transport", to_nowhere)
    with RemoteCluster(1) as cluster, Client(cluster.get_address()) as client:
        for size in (3_000_000, 20_000_000):
            assert client.submit(len, b"x" * size).result(60) == size
            assert len(client.submit(calls.big, size).result(60)) == size
    assert "cannot be reached" in caplog.text


def test_strangers_at_the_port_for_objects_get_nothing_and_the_others_go_on(remote):
    with Client(remote.get_address()) as client:
        assert len(client.submit(calls.big, 3_000_000).result(30)) == 3_000_000
        scheduler = psutil.Process(remote.scheduler.pid)
        ports = {one.laddr.port for one in scheduler.net_connections() if one.status == psutil.CONN_LISTEN}
        assert len(ports) == 3  # of sessions, of objects, and for those who look
        for port in ports:
            for size in (1, 31, 32, 33, 5000):
                with socket.create_connection(("127.0.0.1", port)) as plain, contextlib.suppress(OSError):
                    plain.sendall(b"SCOB\1\0\1\0" + os.urandom(size) if size % 2 else os.urandom(size))
        assert client.submit(len, b"x" * 3_000_000).result(30) == 3_000_000
    assert remote.scheduler.poll() is None


def test_a_host_that_dies_while_objects_are_on_their_way_to_it_and_from_it(tmp_path):
    with RemoteCluster(1) as cluster, Client(cluster.get_address()) as client:
        futures = [client.submit(calls.big, 30_000_000) for _ in range(6)]
        futures += [client.submit(calls.echo, b"x" * 30_000_000) for _ in range(6)]
        futures[0].result(60)
        assert cluster.cluster.child is not None
        for process in tree(cluster.cluster.child.pid)[::-1]:
            process.kill()
        cluster.add_workers(1)
        assert [len(future.result(120)) for future in futures] == [30_000_000] * 12


def test_one_object_for_several_hosts():
    with RemoteCluster(1) as cluster, Client(cluster.get_address()) as client:
        cluster.add_workers(1)
        cluster.add_workers(1)
        shared = client.send_object(os.urandom(20_000_000))
        wait_until(lambda: client.submit(calls.process_id).result(20) and len(client.map(calls.process_id, [()] * 60)))
        pids = set()
        futures = [client.submit(calls.length_and_process, shared) for _ in range(60)]
        for future in futures:
            length, pid = future.result(60)
            assert length == 20_000_000
            pids.add(pid)
        assert len(pids) == 3


def test_a_clients_relay_leaves_nothing_behind(remote):
    descriptors, lives = [], []
    for _ in range(4):
        with Client(remote.get_address()) as client:
            assert client.submit(len, b"x" * 100_000).result(10) == 100_000
            assert len(client.submit(calls.big, 100_000).result(10)) == 100_000
            lives.append(client._entry.epoch)
        del client
        gc.collect()
        descriptors.append(psutil.Process().num_fds())
    assert descriptors[-1] <= descriptors[0]  # the first client of a process opens some that stay
    assert not [name for name in os.listdir("/dev/shm") if any(epoch in name for epoch in lives)]


def test_relays_sweep_what_killed_owners_have_left_on_their_host():
    def leave_orphans():
        epoch = new_epoch()
        names = [bell_name(epoch), segment_name(epoch)]
        for name in names:
            Segment.create(name, 4096)  # and nobody holds the lock
        return names

    before_workers = leave_orphans()
    with RemoteCluster(1) as cluster:
        assert not any(Segment.exists(name) for name in before_workers)
        before_client = leave_orphans()
        with Client(cluster.get_address()):
            assert not any(Segment.exists(name) for name in before_client)
