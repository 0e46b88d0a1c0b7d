"""Connections that say nothing, at a real socket of ZeroMQ's: the oldest go, and nothing else is touched."""

import gc
import os
import socket
import threading
from collections.abc import Iterator

import pytest
import zmq

from scaler.address import Address
from scaler.scheduler import gate as gate_module
from scaler.scheduler.gate import Gate
from scaler.scheduler.listening import limit, listen
from tests.processes import wait_until

MOST = 20
HOST = "127.0.0.1"
Socket = zmq.Socket[bytes]


class Listener:
    """A socket with a gate."""

    def __init__(self) -> None:
        self.context: zmq.Context[Socket] = zmq.Context()
        self.router = self.context.socket(zmq.ROUTER)
        limit(self.router)
        self.gate = Gate(self.context, has_keys=False)
        self.address = listen(self.router, Address.parse(f"tcp://{HOST}:0")).address
        self.gate.stand_at(self.router, self.address)
        self.gate.start()

    def close(self) -> None:
        self.router.disable_monitor()
        self.router.close(0)
        self.gate.close()
        self.context.term()


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    monkeypatch.setattr(gate_module, "MOST_UNPROVED", MOST)
    made = Listener()
    yield made
    made.close()


def connect(listener: Listener) -> socket.socket:
    connection = socket.create_connection((HOST, listener.address.port))
    connection.settimeout(30)
    return connection


def is_open(connection: socket.socket) -> bool:
    """It has been greeted, and not been hung up on."""
    connection.settimeout(0.3)
    try:
        while connection.recv(1000):
            pass
        return False
    except TimeoutError:
        return True
    except OSError:
        return False


def dealer_of(listener: Listener) -> "zmq.Socket[bytes]":
    dealer = zmq.Context.instance().socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 0)
    dealer.setsockopt(zmq.RECONNECT_IVL, -1)
    dealer.connect(str(listener.address))
    return dealer


def test_of_those_that_say_nothing_the_oldest_go_and_who_speaks_gets_in_and_stays(listener: Listener) -> None:
    first = dealer_of(listener)
    first.send(b"one")
    assert listener.router.recv_multipart()[1] == b"one"
    silent = [connect(listener) for _ in range(3 * MOST)]
    wait_until(lambda: listener.gate.hung_up >= 2 * MOST - 1)
    assert not any(is_open(connection) for connection in silent[: 2 * MOST - 2])
    last = dealer_of(listener)
    last.send(b"two")
    assert listener.router.recv_multipart()[1] == b"two"
    first.send(b"three")
    assert listener.router.recv_multipart()[1] == b"three"
    assert is_open(silent[-1])
    assert listener.gate.hung_up <= 2 * MOST + 2
    for dealer in (first, last):
        dealer.close(0)
    for connection in silent:
        connection.close()


def test_those_that_speak_are_as_many_as_they_like(listener: Listener) -> None:
    dealers = []
    for _ in range(6):  # half as many at a time as may be silent
        dealers += [dealer_of(listener) for _ in range(MOST // 2)]
        for dealer in dealers[-MOST // 2 :]:
            dealer.send(b"hello")
        for _ in range(MOST // 2):
            assert listener.router.recv_multipart()[1] == b"hello"
    assert listener.gate.hung_up == 0
    for dealer in dealers:
        dealer.close(0)


def test_a_number_that_is_somebody_elses_by_now_is_left_alone(listener: Listener) -> None:
    ours, theirs = socket.socketpair()
    with socket.create_server((HOST, 0)) as other, socket.create_connection(other.getsockname()) as there:
        here, _ = other.accept()
        reader, writer = os.pipe()
        for descriptor in (ours.fileno(), here.fileno(), reader, 999_999):
            listener.gate._judge(descriptor, listener.address.port)
        there.sendall(b"x")
        assert here.recv(1) == b"x"
        ours.sendall(b"y")
        assert theirs.recv(1) == b"y"
        os.write(writer, b"z")
        assert os.read(reader, 1) == b"z"
        here.close()
        os.close(reader)
        os.close(writer)
    ours.close()
    theirs.close()
    assert listener.gate.hung_up == 0


def test_it_leaves_no_descriptor_and_no_thread() -> None:
    def round() -> None:
        made = Listener()
        connection = connect(made)
        wait_until(lambda: len(made.gate._unproved) == 1)
        connection.close()
        wait_until(lambda: not made.gate._unproved)
        made.close()

    round()
    gc.collect()
    before, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(3):
        round()
    gc.collect()
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == (before, threads)
