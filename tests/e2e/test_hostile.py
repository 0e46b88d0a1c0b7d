"""Strangers with a seed: what they say to real processes ends their own session and touches no other's work."""

import contextlib
import json
import os
import random
import socket
import struct
import sys
import threading
import time
from dataclasses import asdict
from functools import partial

import psutil
import pytest
import zmq

from scaler import Client, Cluster, SchedulerClusterCombo
from scaler._native import HEADERS_OFFSET, KIND_TASK, PAGE, RING_HEADER_BYTES
from scaler.cluster.spawn import Child
from scaler.colocation.handshake import handshake, pack_address
from scaler.config.table import ClusterConfig
from scaler.config.values import make_config
from scaler.exceptions import ScalerError
from scaler.protocol import frames
from scaler.protocol.codec import decode, encode
from scaler.protocol.frames import UNNUMBERED, Frame, FrameError, Hello, Role, Welcome
from scaler.session.dealer import Dealer, greet, new_hello
from tests.e2e import calls
from tests.e2e.stoppable import marks, write_over_rings
from tests.elsewhere import RemoteCluster
from tests.processes import wait_until
from tests.restartable import Restartable
from tests.sim.test_hostile import nonsense

RING_BYTES = 65536


@pytest.fixture(scope="module", params=["rings", "wire"])
def cluster(request):
    with SchedulerClusterCombo(2) if request.param == "rings" else RemoteCluster(2, protected=True) as made:
        yield made


@pytest.fixture
def chance(request):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # shown when the test fails
    return random.Random(seed)


@contextlib.contextmanager
def honest_work(address):
    """A client whose tasks are open meanwhile, and must all be answered rightly."""
    with Client(address, timeout_seconds=30) as client:
        small = [client.submit(calls.add_one, x) for x in range(2000)]
        large = [client.submit(calls.echo, bytes([x]) * 100_000) for x in range(10)]
        yield client
        small += [client.submit(calls.add_one, x) for x in range(2000, 3000)]
        assert [future.result(60) for future in small] == list(range(1, 3001))
        assert [future.result(60) for future in large] == [bytes([x]) * 100_000 for x in range(10)]


def say_nonsense(chance, send, count, but=()):
    """Bodies of all kinds under good numbers, some damaged, cut short, said twice or in another order."""
    number = 0
    for _ in range(count):
        body = nonsense(chance)
        if isinstance(body, but):
            continue
        is_numbered = type(body) not in UNNUMBERED
        try:
            data = bytearray(encode(Frame(body, number + 1 if is_numbered else 0, 0)))
        except Exception:
            continue  # a value that no frame can carry
        number += is_numbered
        what = chance.random()
        if what < 0.03:
            data[chance.randrange(len(data))] = chance.randrange(256)
        elif what < 0.04:
            del data[chance.randrange(len(data)) :]
        elif what < 0.05:
            data += chance.randbytes(chance.choice((1, 8, 100_000)))
        send(bytes(data))
        if chance.random() < 0.05:
            send(bytes(data))


def hello_of(role, bits):
    return new_hello(role, os.urandom(16), client_bits=bits)


def test_a_schedulers_socket_takes_any_frames(cluster, chance):
    address = cluster.get_address()
    with honest_work(address):
        for turn in range(60):
            role = chance.choice((Role.CLIENT, Role.CLUSTER))
            bits = 0 if role == Role.CLUSTER else chance.randrange(1, 1 << 20)
            dealer, _ = greet(address, partial(hello_of, role, bits), 20)
            say_nonsense(chance, dealer.send, 20)
            if turn % 2:
                dealer.wait(0.1)
            dealer.close(200)


def test_a_schedulers_socket_takes_any_hello(cluster, chance):
    address = cluster.get_address()
    with honest_work(address):
        for _ in range(40):
            dealer = Dealer(address)
            noise = chance.randbytes
            role, (major, minor) = chance.choice((0, 1, 2, 255)), chance.choice((sys.version_info[:2], (3, 8), (0, 0)))
            hello = Hello(
                role, major, minor,
                noise(chance.choice((0, 1, 16, 64, 65))), chance.choice((0, 5, 2**24 - 1, 2**32 - 1)),
                session=noise(chance.choice((0, 16, 17))), received=chance.choice((0, 1, 2**63)),
                host_name=chance.choice(("", "x" * 5000, "\0\n")), worker_names=("a",) * chance.choice((0, 3, 1000)),
            )  # fmt: skip
            try:
                dealer.send(encode(Frame(hello)))
            except Exception:
                pass  # a value that no frame can carry
            dealer.send(encode(Frame(frames.Goodbye("x"), 1)))
            dealer.close(200)


# on the scheduler's host


@pytest.fixture(scope="module")
def combo():
    with SchedulerClusterCombo(2) as made:
        yield made


def find_listener(address):
    """The address of the scheduler's listener for its host, and its epoch."""
    dealer, welcome = greet(address, lambda: new_hello(Role.CLUSTER, os.urandom(16)), 20)
    dealer.leave()
    return welcome.local_address, f"{welcome.epoch:016x}"


def test_a_listener_takes_any_packets(combo, chance):
    address = combo.get_address()
    local_address, _ = find_listener(address)
    with honest_work(address):
        for _ in range(100):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as local_peer:
                local_peer.connect(pack_address(local_address))
                words = [None, 0, -1, 2**70, "", "worker", "client", "cluster", [], {}, ["x"] * 10, "ab" * 16, 1e999]
                keys = ("role", "segment", "nonce", "layout", "python", "name", "bits", "ring_bytes")
                request = {key: chance.choice(words) for key in keys if chance.random() < 0.9}
                packets = (json.dumps(request).encode(), chance.randbytes(chance.randrange(1, 2000)), b"[" * 30_000)
                descriptors = [sys.stderr.fileno()] * chance.choice((0, 1, 1, 1, 2, 4))
                try:
                    socket.send_fds(local_peer, [chance.choice(packets)], descriptors)
                    if chance.random() < 0.5:
                        local_peer.send(chance.randbytes(10))
                except OSError:
                    pass  # it has hung up already
                if chance.random() < 0.5:
                    local_peer.settimeout(5)
                    try:
                        local_peer.recv(65536)
                    except OSError:
                        pass


def scribble(chance, memory, role):
    """Something that makes no sense in some of the rings of a segment."""
    size = len(memory)
    for _ in range(chance.randrange(1, 6)):
        what = chance.random()
        if what < 0.3:  # positions, which stand at the beginning of each ring's header, each on its own cache line
            ring = HEADERS_OFFSET + chance.randrange(4) * RING_HEADER_BYTES
            at = ring + chance.randrange(RING_HEADER_BYTES // 8) * 8
            value = chance.choice((0, 8, 64, 4096, 2**31, 2**32, 2**63, 2**64 - 1, chance.randrange(2**16) * 8))
            memory[at : at + 8] = struct.pack("<Q", value)
        elif what < 0.6:  # records
            at = PAGE + chance.randrange((size - PAGE - 200) // 8) * 8
            memory[at : at + 200] = chance.randbytes(200)
        elif what < 0.8:  # all of a ring
            at = PAGE if role == "client" else PAGE + RING_BYTES
            memory[at : at + RING_BYTES] = chance.randbytes(RING_BYTES)
        else:  # a record that looks like one
            at = PAGE + chance.choice((0, RING_BYTES, 2 * RING_BYTES))
            length = chance.choice((0, 8, 56, 64, 8192, 2**31, 2**32 - 8))
            memory[at : at + 16] = struct.pack("<IIQ", length, chance.choice((KIND_TASK, 0, 255)), 2**64 - 1)
            ring = HEADERS_OFFSET + (0 if role == "client" else 1) * RING_HEADER_BYTES
            memory[ring : ring + 8] = struct.pack("<Q", chance.choice((64, 8192, RING_BYTES, RING_BYTES + 64)))


@pytest.mark.parametrize("role", ["client", "worker"])
def test_a_scheduler_takes_any_bytes_in_the_rings_of_who_was_let_in(combo, chance, role):
    address = combo.get_address()
    local_address, epoch = find_listener(address)
    scheduler = psutil.Process(combo._children[0].pid)
    with honest_work(address):
        for _ in range(30):
            entry = handshake(local_address, epoch, role, RING_BYTES, name="hostile", bits=chance.randrange(1, 1 << 20))
            memory = memoryview(entry.memory)
            for _ in range(3):
                scribble(chance, memory, role)
                bell = memoryview(entry.bell)
                bell[64 + entry.slot // 8] |= 1 << entry.slot % 8
                os.eventfd_write(entry.bell_eventfd, 1)
                time.sleep(0.002)
            memory.release()
            bell.release()
            entry.close()
    assert scheduler.is_running()


# workers whose task writes over the rings


def await_written_over(folder):
    """The process that did it, and goes on."""
    wait_until(lambda: marks(folder, "wrote"))
    return marks(folder, "wrote")[0]


def assert_replaced(client, process):
    """That worker ends, and another takes its place."""
    wait_until(lambda: not psutil.pid_exists(process), 30)
    assert client.map(calls.add_one, [(i,) for i in range(1000)]) == list(range(1, 1001))
    wait_until(lambda: client._rings.count_workers() == 2, 30)


@pytest.mark.parametrize("where", ["zeros", "noise", "positions"])
def test_a_worker_that_wrote_over_its_rings_is_replaced_when_its_task_is_cancelled(cluster, tmp_path, where):
    with Client(cluster.get_address(), timeout_seconds=30) as client:
        future = client.submit(write_over_rings, str(tmp_path), where)
        process = await_written_over(tmp_path)
        if not future.cancel():  # the scheduler had looked at the positions, and the task was run again
            assert where == "positions"
            assert future.result() == where
        assert_replaced(client, process)
        assert len(marks(tmp_path, "wrote")) == 1


def test_positions_that_make_no_sense_are_seen_without_anybody_asking(cluster, tmp_path):
    with Client(cluster.get_address(), timeout_seconds=30) as client:
        future = client.submit(write_over_rings, str(tmp_path), "positions")
        process = await_written_over(tmp_path)
        assert future.result(40) == "positions"
        assert_replaced(client, process)


@pytest.mark.parametrize("where", ["zeros", "noise"])
def test_so_it_is_when_its_task_runs_too_long_and_that_is_run_again(cluster, tmp_path, where):
    with Client(cluster.get_address(), timeout_seconds=30) as client:
        future = client.options(timeout=0.3).submit(write_over_rings, str(tmp_path), where)
        process = await_written_over(tmp_path)
        assert future.result(40) == where
        assert_replaced(client, process)


@pytest.mark.parametrize("link", ["rings", "wire"])
@pytest.mark.parametrize("where", ["zeros", "noise", "positions"])
def test_so_it_is_when_another_scheduler_takes_over(tmp_path, link, where):
    with contextlib.closing(Restartable(link)) as stage, Client(stage.address, timeout_seconds=40) as client:
        future = client.submit(write_over_rings, str(tmp_path), where)
        process = await_written_over(tmp_path)
        stage.restart()
        assert future.result(60) == where
        assert_replaced(client, process)


# schedulers that make no sense


class FalseScheduler:
    """Says hello properly, and then nonsense."""

    def __init__(self, chance):
        self._chance = chance
        self._context = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.setsockopt(zmq.LINGER, 0)
        self.address = f"tcp://127.0.0.1:{self._router.bind_to_random_port('tcp://127.0.0.1')}"
        self.greeted = 0

    def serve(self, seconds, most=10**9):
        """Until so many have been greeted, or for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.greeted < most:
            if self._router.poll(50):
                routing_id, *parts = self._router.recv_multipart()
                try:
                    is_hello = isinstance(decode(parts[0]).body, Hello)
                except FrameError:
                    is_hello = False
                if is_hello:
                    self._answer(routing_id)

    def _answer(self, routing_id):
        welcome = Welcome(1, bytes(range(16)), local_address="nowhere", heartbeat_ms=200)
        self._router.send_multipart([routing_id, encode(Frame(welcome))])
        say_nonsense(self._chance, lambda data: self._router.send_multipart([routing_id, data]), 20, frames.Shutdown)
        self.greeted += 1

    def close(self):
        self._router.close()
        self._context.term()


@pytest.fixture
def false_scheduler(chance):
    made = FalseScheduler(chance)
    yield made
    made.close()


def test_a_supervisor_outlives_any_scheduler(false_scheduler):
    serving = threading.Thread(target=false_scheduler.serve, args=(60, 12))
    serving.start()
    supervisor = Child(Cluster.module)
    config = make_config(ClusterConfig, {"address": false_scheduler.address, "num_of_workers": 1})
    quiet = {"logging_level": "CRITICAL", "logging_paths": ["/dev/stderr"], "death_timeout_seconds": 60.0}
    supervisor.tell({**asdict(config), **quiet, "address": str(config.address), "sys_path": sys.path})
    serving.join()
    assert false_scheduler.greeted == 12  # it comes back after each
    assert supervisor.process.poll() is None
    supervisor.end()


def test_a_client_outlives_any_scheduler(false_scheduler):
    serving = threading.Thread(target=false_scheduler.serve, args=(30, 40))
    serving.start()
    while serving.is_alive():
        try:
            with Client(false_scheduler.address, timeout_seconds=1) as client:
                futures = [client.submit(calls.add_one, x) for x in range(10)]
                for future in futures:
                    future.exception(0.3)
        except (ScalerError, TimeoutError):
            pass
    serving.join()
