"""The scheduler's monitor address over real sockets: what viewers get, and what the odd ones among them cannot do."""

import asyncio
import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest
import zmq

from scaler.address import Address
from scaler.exceptions import AddressInUseError
from scaler.monitor.flight_recorder import FlightRecorder
from scaler.monitor.report import TOPICS, Clients, Functions, Hosts, Stack, Summary, Task, Workers, task_topic
from scaler.monitor.subscriber import Subscriber
from scaler.scheduler.reporter import rss_bytes
from scaler.scheduler.scheduler import SchedulerServer
from scaler.scheduler.selector import PumpSelector
from tests.native.test_core import FakeClient, FakeWorker


class Host:
    """A scheduler in this process, whose loop runs while the test waits for a viewer."""

    def __init__(self, address="tcp://127.0.0.1:0", monitor=None):
        self.server = SchedulerServer(monitor_address=None if monitor is None else Address.parse(monitor))
        selector = PumpSelector(self.server.pump, self.server.after_run)
        self.loop = asyncio.SelectorEventLoop(selector)
        try:
            self.address = self.server.open(self.loop, Address.parse(address), selector.watch)
        except BaseException:
            self.close()
            raise
        self.core = self.server.core

    def run_for(self, seconds):
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def read(self, viewer, is_meant=lambda report: True, timeout_s=10):
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            self.run_for(0.02)
            while (report := viewer.read()) is not None:
                if is_meant(report):
                    return report
        raise AssertionError(f"nothing came: {viewer.last_problem}")

    def close(self):
        self.server.close()
        self.loop.close()


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def host():
    made = Host()
    yield made
    made.close()


def test_every_topic_is_said_once_it_is_subscribed_to(host):
    client, worker = FakeClient(host.core, 5), FakeWorker(host.core)
    client.submit()
    host.core.step(0)
    worker.begin()
    with Subscriber(host.server.monitor_address, TOPICS) as viewer:
        seen = {}
        while set(seen) != set(TOPICS):
            report = host.read(viewer)
            seen[report.topic] = report.body
            assert report.epoch == int(host.server.epoch, 16)
        assert not viewer.problems
    summary, workers, functions = seen["summary"], seen["workers"], seen["functions"]
    clients, hosts = seen["clients"], seen["hosts"]
    assert isinstance(summary, Summary)
    assert (summary.counts.submitted, summary.counts.placed, summary.workers, summary.clients) == (1, 1, 1, 1)
    assert summary.pid == os.getpid()
    assert summary.rss_bytes > 1 << 20
    assert isinstance(workers, Workers)
    assert (list(workers.number), list(workers.held)) == ([1], [1])
    assert isinstance(functions, Functions)
    assert (list(functions.placed), functions.name) == ([1], ["function"])
    assert isinstance(clients, Clients)
    assert (list(clients.bits), list(clients.placed)) == ([5], [1])
    assert isinstance(hosts, Hosts)
    assert (list(hosts.number), list(hosts.workers)) == ([0], [1])


def test_reports_come_again_and_are_numbered(host):
    with Subscriber(host.server.monitor_address) as viewer:
        first = host.read(viewer)
        assert host.read(viewer, lambda report: report.number > first.number).number > first.number


def test_a_question_is_answered_at_once_and_again(host):
    client = FakeClient(host.core, 5)
    task = client.submit()
    with Subscriber(host.server.monitor_address, [task_topic("task", task)]) as viewer:
        for _ in range(2):
            body = host.read(viewer).body
            assert isinstance(body, Task)
            assert (body.task, body.state, body.sentence) == (task, "ready", "waits for a worker: there is none")


def test_the_stack_of_a_task_that_does_not_run_is_a_sentence(host):
    client = FakeClient(host.core, 5)
    task = client.submit()
    with Subscriber(host.server.monitor_address, [task_topic("stack", task)]) as viewer:
        body = host.read(viewer).body
    assert isinstance(body, Stack)
    assert body.text == ""
    assert "does not run yet" in body.problem


def test_without_a_viewer_nothing_is_made(host):
    made = []
    host.server._monitoring._publisher._make = made.append
    host.run_for(0.5)
    assert not made
    with Subscriber(host.server.monitor_address) as viewer:
        host.run_for(1.5)
        assert made
        viewer.subscribe([])
        host.run_for(0.5)
    made.clear()
    host.run_for(1.2)
    assert not made


def test_the_recorder_is_followed_where_the_summary_says_it_is(host):
    client, worker = FakeClient(host.core, 5), FakeWorker(host.core)
    with Subscriber(host.server.monitor_address) as viewer:
        recorder = host.read(viewer).body.recorder
    ring = FlightRecorder(recorder.segment, int(host.server.epoch, 16))
    client.submit()
    host.core.step(0)
    worker.begin()
    worker.finish()
    host.core.step(0)
    assert len(ring.read()[1]) == 32
    ring.close()


def test_the_recorders_memory_goes_with_the_scheduler():
    host = Host()
    memory = host.core.recorder.memory
    assert memory is not None
    path = f"/dev/shm/{memory.name}"
    assert os.path.exists(path)
    host.close()
    assert not os.path.exists(path)


def test_the_usual_address_is_two_ports_on_or_beside_the_path(tmp_path):
    host = Host(f"ipc://{tmp_path}/s")
    assert host.server.monitor_address == f"ipc://{tmp_path}/s.monitor"
    host.close()
    assert not os.listdir(tmp_path)


def test_a_usual_address_that_is_taken_is_a_warning_and_another_is_found(free_port, caplog):
    other = zmq.Context()
    taker = other.socket(zmq.REP)
    taker.bind(f"tcp://127.0.0.1:{free_port + 2}")
    host = Host(f"tcp://127.0.0.1:{free_port}")
    try:
        assert host.server.monitor_address not in ("", f"tcp://127.0.0.1:{free_port + 2}")
        assert "since the usual address cannot be had" in caplog.text
        with Subscriber(host.server.monitor_address) as viewer:
            host.read(viewer)
    finally:
        host.close()
        taker.close(0)
        other.term()


def test_an_address_that_was_asked_for_and_is_taken_is_an_error(free_port):
    other = zmq.Context()
    taker = other.socket(zmq.REP)
    taker.bind(f"tcp://127.0.0.1:{free_port}")
    try:
        with pytest.raises(AddressInUseError, match="it is in use"):
            Host(monitor=f"tcp://127.0.0.1:{free_port}")
    finally:
        taker.close(0)
        other.term()


# odd viewers


def test_odd_subscriptions_are_passed_over_and_others_are_served(host):
    context = zmq.Context()
    odd = context.socket(zmq.XSUB)
    odd.setsockopt(zmq.LINGER, 0)
    odd.connect(host.server.monitor_address)
    for said in (
        b"",
        b"\2",
        b"nonsense",
        b"\1",
        b"\1task/",
        b"\1task/" + b"z" * 16,
        b"\1stack/" + b"0" * 16,
        b"\0summary",
    ):
        odd.send(said)
    for number in range(3000):
        odd.send(b"\1task/%016x" % number)
        odd.send(b"\1%032x" % number)
    host.run_for(0.5)
    publisher = host.server._monitoring._publisher
    assert len(publisher._questions) <= 64
    with Subscriber(host.server.monitor_address) as viewer:
        host.read(viewer)
    odd.close(0)
    context.term()
    host.run_for(0.5)
    assert not publisher._questions


def connect_by_hand(address):
    """A plain TCP connection that has said what a SUB socket says first (ZMTP 3)."""
    port = int(address.rpartition(":")[2])
    raw = socket.create_connection(("127.0.0.1", port), timeout=10)
    raw.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
    ready = b"\x05READY\x0bSocket-Type\0\0\0\x03SUB"
    raw.sendall(bytes([4, len(ready)]) + ready)
    return raw


@pytest.mark.parametrize("size", [300, 1 << 20, 1 << 40])
def test_too_long_a_subscription_ends_its_connection_and_nobody_elses(host, size):
    with Subscriber(host.server.monitor_address) as viewer, connect_by_hand(host.server.monitor_address) as raw:
        host.read(viewer)
        raw.sendall(b"\2" + struct.pack(">Q", size) + b"\1" + b"x" * 299)
        number = host.read(viewer).number
        host.read(viewer, lambda report: report.number > number + 1)
        raw.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            while raw.recv(4096):
                pass


def test_garbage_instead_of_subscriptions_hurts_nobody(host):
    with Subscriber(host.server.monitor_address) as viewer, connect_by_hand(host.server.monitor_address) as raw:
        host.read(viewer)
        raw.sendall(os.urandom(10_000))
        number = host.read(viewer).number
        host.read(viewer, lambda report: report.number > number + 1)


_STOPPED = """
import sys, time
from scaler.monitor.report import TOPICS
from scaler.monitor.subscriber import Subscriber
viewer = Subscriber(sys.argv[1], TOPICS)
viewer.read_first(10)
print("reads", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_viewer_that_does_not_read_any_more_costs_little(host, number):
    for _ in range(1000):
        FakeWorker(host.core, 1024, 1024)
    child = subprocess.Popen(
        [sys.executable, "-c", _STOPPED, host.server.monitor_address], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        waiting = host.loop.run_in_executor(None, child.stdout.readline)
        assert host.loop.run_until_complete(waiting) == "reads\n"
        child.send_signal(number)
        host.run_for(1.5)
        before = rss_bytes()
        host.run_for(4)
        assert rss_bytes() - before <= 1 << 20
        with Subscriber(host.server.monitor_address) as viewer:
            host.read(viewer)
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
