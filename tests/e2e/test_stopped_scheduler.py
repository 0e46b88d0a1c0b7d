"""A scheduler that is stopped (SIGSTOP) keeps no supervisor from its workers, nor from a signal."""

import os
import secrets
import signal
import socket
import sys
from dataclasses import asdict

import pytest
import zmq

from scaler import Client, Cluster
from scaler.cluster.spawn import Child
from scaler.colocation.handshake import pack_address
from scaler.config.table import ClusterConfig
from scaler.config.values import make_config
from scaler.program.descriptors import has_packet
from scaler.protocol.codec import encode
from scaler.protocol.frames import Frame, Welcome
from tests.e2e import calls
from tests.processes import wait_until
from tests.restartable import Restartable

ENDED_S = 15  # far less than it waits for an answer, and generous otherwise


def test_a_supervisor_that_is_to_stop_does_not_wait_for_a_scheduler_s_listener():
    """The scheduler has greeted it, and is stopped before it opens."""
    local_address = f"scaler-test-{secrets.token_hex(8)}"
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    supervisor = Child(Cluster.module)
    config = make_config(ClusterConfig, {"address": f"tcp://127.0.0.1:{port}", "num_of_workers": 1})
    quiet = {"logging_level": "CRITICAL", "logging_paths": ["/dev/stderr"]}
    supervisor.tell({**asdict(config), **quiet, "address": str(config.address), "sys_path": sys.path})
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(pack_address(local_address))
        listener.listen()
        routing_id, *_ = router.recv_multipart()
        welcome = Welcome(1, bytes(16), local_address=local_address, heartbeat_ms=200)
        router.send_multipart([routing_id, encode(Frame(welcome))])
        connection, _ = listener.accept()
        with connection:
            assert has_packet(connection, 20)
            supervisor.signal(signal.SIGTERM)
            assert supervisor.process.wait(ENDED_S) == 0
    supervisor.end()
    router.close(0)
    context.term()


@pytest.mark.parametrize("link", ["rings", "wire"])
def test_a_worker_that_dies_while_the_scheduler_is_stopped_is_replaced(link):
    stage = Restartable(link)
    try:
        with Client(stage.address, timeout_seconds=40) as client:
            assert client.submit(calls.add_one, 1).result(40) == 2
            wait_until(lambda: len(stage.workers()) == 2)
            before = stage.workers()
            stage.process.send_signal(signal.SIGSTOP)
            os.kill(min(before), signal.SIGKILL)
            wait_until(lambda: len(stage.workers()) == 2 and stage.workers() != before)
            stage.process.send_signal(signal.SIGCONT)
            assert client.submit(calls.add_one, 1).result(40) == 2
    finally:
        stage.process.send_signal(signal.SIGCONT)
        stage.close()


def test_a_cluster_ends_while_its_scheduler_is_stopped():
    stage = Restartable("rings")
    try:
        assert stage.cluster.child is not None
        supervisor, workers = stage.cluster.child, stage.workers()
        stage.process.send_signal(signal.SIGSTOP)
        supervisor.signal(signal.SIGTERM)
        assert supervisor.process.wait(ENDED_S) == 0
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in workers))
    finally:
        stage.process.send_signal(signal.SIGCONT)
        stage.close()
