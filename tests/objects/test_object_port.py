"""Objects from host to host over sockets: what breaks goes on, strangers get nothing, nothing is written too late."""

import contextlib
import gc
import os
import random
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import psutil
import pytest

from scaler.address import Endpoint
from scaler.objects import arrival as arrival_module
from scaler.objects import port as object_port
from scaler.objects import visit
from scaler.objects.arrival import Arrival
from scaler.objects.dialer import MOST_THREADS, Giver, ObjectDialer
from scaler.objects.port import ObjectPort
from scaler.objects.stream import BRING, FETCH, Refusal, ask, prepare, receive, token_for
from tests.processes import wait_until

SIZE = 3_000_000
HOST = "127.0.0.1"


@pytest.fixture
def port():
    made = ObjectPort(HOST)
    yield made
    made.close()


@pytest.fixture
def dialer(port):
    made = ObjectDialer(Endpoint(HOST, port.port), lambda what: what())
    yield made
    made.close()


class Done:
    """What a transfer's end says."""

    def __init__(self):
        self.event, self.ok = threading.Event(), None

    def __call__(self, ok):
        self.ok = ok
        self.event.set()

    def wait(self):
        assert self.event.wait(30)
        return self.ok


class Cutter:
    """Passes connections on to a port, and cuts each of the first `cuts` after so many bytes."""

    def __init__(self, port, cuts, after_bytes):
        self.target, self.cuts, self.after_bytes = port, cuts, after_bytes
        self.listener = socket.create_server((HOST, 0))
        self.place = Endpoint(HOST, self.listener.getsockname()[1])
        self.passed = []  # bytes that each connection has got through, either way
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            there = socket.create_connection((HOST, self.target))
            number = len(self.passed)
            self.passed.append(0)
            for one, other in ((here, there), (there, here)):
                threading.Thread(target=self.forward, args=(number, one, other), daemon=True).start()

    def forward(self, number, one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
                self.passed[number] += len(data)
                if number < self.cuts and self.passed[number] > self.after_bytes:
                    break
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def room(size=SIZE):
    return Arrival(1, size, memoryview(bytearray(size)))


def bytes_of(arrival):
    return bytes(arrival._view)


def test_an_object_is_fetched_into_its_place(port, dialer):
    data, arrival, done = os.urandom(SIZE), room(), Done()
    token = port.serve(7, memoryview(data))
    dialer.fetch(arrival, [dialer.giver(token)], done)
    assert done.wait()
    assert bytes_of(arrival) == data


def test_an_object_is_brought_into_its_place_though_it_is_expected_only_later(port, dialer):
    data, arrival, done = os.urandom(SIZE), room(), Done()
    dialer.bring(memoryview(data), token_for(b"k" * 16, 7), done)
    time.sleep(0.05)
    port.expect(token_for(b"k" * 16, 7), arrival)
    assert done.wait()
    assert arrival.is_whole
    assert bytes_of(arrival) == data


def test_many_at_once_share_a_few_threads(port, dialer):
    items = []
    for number in range(1, 40):
        data, arrival, done = os.urandom(100_000), room(100_000), Done()
        dialer.fetch(arrival, [dialer.giver(port.serve(number, memoryview(data)))], done)
        items.append((data, arrival, done))
    for data, arrival, done in items:
        assert done.wait()
        assert bytes_of(arrival) == data
    assert sum(thread.name == "scaler-object-dialer" for thread in threading.enumerate()) <= 4


@pytest.mark.parametrize("way", ["fetch", "bring"])
def test_what_breaks_goes_on_where_it_was(port, way):
    cutter = Cutter(port.port, 2, 1_000_000)
    dialer = ObjectDialer(cutter.place, lambda what: what())
    data, arrival, done = os.urandom(SIZE), room(), Done()
    if way == "fetch":
        dialer.fetch(arrival, [dialer.giver(port.serve(7, memoryview(data)))], done)
    else:
        port.expect(token_for(b"k" * 16, 7), arrival)
        dialer.bring(memoryview(data), token_for(b"k" * 16, 7), done)
    assert done.wait()
    assert bytes_of(arrival) == data
    assert len(cutter.passed) == 3
    assert cutter.passed[2] < SIZE  # not from the beginning
    dialer.close()
    cutter.close()


def test_what_one_place_cannot_give_is_fetched_from_the_next(port, dialer):
    data, arrival, done = os.urandom(SIZE), room(), Done()
    with socket.create_server((HOST, 0)) as closed:
        nowhere = HOST, closed.getsockname()[1]
    other = ObjectPort(HOST)  # which has never heard of it
    dying = Cutter(port.port, 9, 1_000_000)  # and one that dies in the middle, as often as it is tried
    token = port.serve(7, memoryview(data))
    givers = [Giver(Endpoint(*nowhere), token), Giver(Endpoint(HOST, other.port), token), Giver(dying.place, token)]
    givers.append(dialer.giver(token))
    dialer.fetch(arrival, givers, done)
    assert done.wait()
    assert bytes_of(arrival) == data
    assert dialer.is_usable  # only the scheduler's host counts for that
    other.close()
    dying.close()


@pytest.mark.parametrize("host", ["x" * 64, "a..b", "a\0b", "\ud800"])
def test_a_place_that_cannot_be_one_is_passed_over_and_the_thread_goes_on(port, dialer, host):
    data = os.urandom(SIZE)
    token = port.serve(7, memoryview(data))
    for place in (host, port.port), (HOST, 1 << 20):
        for _ in range(MOST_THREADS + 1):
            arrival, done = room(), Done()
            dialer.fetch(arrival, [Giver(Endpoint(*place), token), dialer.giver(token)], done)
            assert done.wait()
            assert bytes_of(arrival) == data


def test_a_transfer_that_raises_has_failed_and_the_next_ones_go_on(port, dialer, caplog):
    class Wrong(Arrival):
        def begin(self, connection, wait_s=0.0):
            raise RuntimeError("odd")

    data = os.urandom(SIZE)
    token = port.serve(7, memoryview(data))
    for _ in range(MOST_THREADS + 1):
        done = Done()
        dialer.fetch(Wrong(1, SIZE, None), [dialer.giver(token)], done)
        assert done.wait() is False
    assert caplog.text.count("RuntimeError: odd") == MOST_THREADS + 1
    arrival, done = room(), Done()
    dialer.fetch(arrival, [dialer.giver(token)], done)
    assert done.wait()
    assert bytes_of(arrival) == data


def test_where_no_thread_can_be_had_a_transfer_has_failed_and_a_port_has_to_do_with_one(port, dialer, monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    token, done = port.serve(7, memoryview(b"data")), Done()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        dialer.fetch(room(), [dialer.giver(token)], done)
        assert done.wait() is False
        with pytest.raises(RuntimeError):
            ObjectPort(HOST)
        for _ in range(3):
            with socket.create_connection((HOST, port.port)) as connection:
                for _ in range(3):
                    assert ask(connection, FETCH, 0, token) == (0, 4)
                    assert connection.recv(4) == b"data"


def test_a_scheduler_that_cannot_be_reached_is_not_tried_again_at_once():
    with socket.create_server((HOST, 0)) as closed:
        nowhere = Endpoint(HOST, closed.getsockname()[1])
    dialer, done = ObjectDialer(nowhere, lambda what: what()), Done()
    assert dialer.is_usable
    dialer.bring(memoryview(b"x"), bytes(16), done)
    assert done.wait() is False
    assert not dialer.is_usable
    dialer.close()


def test_nobody_gets_or_brings_anything_without_its_token(port, dialer):
    data = b"secret" * 1000
    token = port.serve(7, memoryview(data))
    arrival = room()
    port.expect(token_for(b"k" * 16, 8), arrival)
    for wrong in (bytes(16), os.urandom(16), token_for(port.key, 8), token_for(b"other" * 3 + b"!", 7)):
        with socket.create_connection((HOST, port.port)) as connection, pytest.raises(Refusal):
            ask(connection, FETCH, 0, wrong)
    with socket.create_connection((HOST, port.port)) as connection, pytest.raises(Refusal):
        ask(connection, FETCH, len(data) + 1, token)
    wait_until(lambda: port.refused == 5)
    port.withdraw(7)
    with socket.create_connection((HOST, port.port)) as connection, pytest.raises(Refusal):
        ask(connection, FETCH, 0, token)
    assert arrival.have == 0


def test_what_is_served_twice_is_served_until_it_was_withdrawn_twice(port):
    token = port.serve(7, memoryview(b"data"))
    assert port.serve(7, memoryview(b"data")) == token
    port.withdraw(7)
    with socket.create_connection((HOST, port.port)) as connection:
        assert ask(connection, FETCH, 0, token) == (0, 4)


def test_nonsense_closes_its_connection_and_hurts_nobody(port, dialer, caplog, monkeypatch):
    monkeypatch.setattr(visit, "PATIENCE_S", 0.05)
    chance = random.Random(5)
    data = os.urandom(SIZE)
    token = port.serve(7, memoryview(data))
    for number in range(60):
        with socket.create_connection((HOST, port.port)) as connection:
            connection.settimeout(30)
            noise = bytearray(chance.randbytes(chance.choice((1, 31, 32, 33, 500))))
            if number % 2 and len(noise) >= 32:
                noise[:8] = b"SCOB\1\0" + chance.choice((b"\1\0", b"\2\0", b"\3\0"))
            with suppress(OSError):  # it is hung up on
                connection.sendall(noise)
                if number % 3:
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass
    arrival, done = room(), Done()
    dialer.fetch(arrival, [dialer.giver(token)], done)
    assert done.wait()
    assert bytes_of(arrival) == data
    assert port.refused
    assert "a connection for objects was closed" in caplog.text


def test_somebody_who_says_nothing_is_hung_up_on(port, monkeypatch):
    monkeypatch.setattr(visit, "FIRST_S", 0.1)
    with socket.create_connection((HOST, port.port)) as connection:
        connection.settimeout(30)
        assert connection.recv(1) == b""


def test_somebody_who_asks_byte_by_byte_is_hung_up_on(port, monkeypatch):
    monkeypatch.setattr(visit, "FIRST_S", 0.3)
    token = port.serve(7, memoryview(b"data"))
    with socket.create_connection((HOST, port.port)) as connection, suppress(OSError):
        assert ask(connection, FETCH, 0, token) == (0, 4)
        assert connection.recv(4) == b"data"
        connection.settimeout(0.05)
        for _ in range(31):  # one less than a request has
            connection.sendall(b"S")
            with suppress(TimeoutError):
                assert connection.recv(1) == b""
                break
        else:
            raise AssertionError("it was let ask for a second and a half")
    wait_until(lambda: not len(port._visitors))


def test_of_many_that_say_nothing_the_oldest_goes_and_who_has_something_to_say_gets_in(port):
    token = port.serve(7, memoryview(b"data"))
    with contextlib.ExitStack() as stack:
        served = stack.enter_context(socket.create_connection((HOST, port.port)))
        assert ask(served, FETCH, 0, token) == (0, 4)
        assert served.recv(4) == b"data"
        silent = [
            stack.enter_context(socket.create_connection((HOST, port.port)))
            for _ in range(2 * object_port.MOST_UNPROVED)
        ]
        for connection in silent[: object_port.MOST_UNPROVED]:
            connection.settimeout(30)
            assert connection.recv(1) == b""
        with socket.create_connection((HOST, port.port)) as connection:
            assert ask(connection, FETCH, 0, token) == (0, 4)
        assert ask(served, FETCH, 0, token) == (0, 4)  # who has proved who it is stays
        assert port._visitors.unproved <= object_port.MOST_UNPROVED


def test_one_that_reads_nothing_holds_up_nobody(port, dialer):
    data = os.urandom(30_000_000)
    token = port.serve(7, memoryview(data))
    with contextlib.ExitStack() as stack:
        for _ in range(3 * object_port.MOST_THREADS):
            connection = stack.enter_context(socket.create_connection((HOST, port.port)))
            assert ask(connection, FETCH, 0, token) == (0, len(data))
        arrival, done = room(len(data)), Done()
        dialer.fetch(arrival, [dialer.giver(token)], done)
        assert done.wait()
        assert bytes_of(arrival) == data


def test_where_no_more_descriptors_can_be_had_one_that_says_nothing_goes():
    """In a process of its own, since the limit is that of a process."""
    program = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from scaler.objects.port import ObjectPort
port = ObjectPort("127.0.0.1")
token = port.serve(7, memoryview(b"data"))
print(port.port, token.hex(), flush=True)
taken = []
try:
    while True:
        taken.append(open("/dev/null"))
except OSError:
    for _ in range(3):
        taken.pop().close()
print("full", flush=True)
sys.stdin.read()
for one in taken:
    one.close()
port.close()
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with child, contextlib.ExitStack() as stack:
        assert child.stdout is not None
        assert child.stdin is not None
        number, token = child.stdout.readline().split()
        assert child.stdout.readline() == "full\n"
        for _ in range(20):
            stack.enter_context(socket.create_connection((HOST, int(number))))
        with socket.create_connection((HOST, int(number))) as connection:
            connection.settimeout(30)
            assert ask(connection, FETCH, 0, bytes.fromhex(token)) == (0, 4)
        child.stdin.close()
        assert child.wait(20) == 0


def test_closing_in_the_middle_gives_the_room_back_once_and_only_when_nobody_writes_it(port):
    given_back = []
    arrival = room()
    port.expect(token_for(b"k" * 16, 7), arrival)
    with socket.create_connection((HOST, port.port)) as connection:
        prepare(connection)
        assert ask(connection, BRING, 0, token_for(b"k" * 16, 7)) == (0, SIZE)
        connection.sendall(bytes(1000))
        wait_until(lambda: arrival._connection is not None)
        arrival.close(lambda: given_back.append(arrival._connection))
        wait_until(lambda: given_back)
        assert given_back == [None]
        assert arrival.begin(connection) is None


def test_what_a_thread_goes_on_writing_is_not_said_to_be_stopped(monkeypatch):
    monkeypatch.setattr(arrival_module, "PATIENCE_S", 0.05)
    stuck = room()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        view = stuck.begin(ours)
        assert not stuck.stop()
        assert stuck.is_stopped  # no other thread may begin
        assert stuck.begin(theirs) is None
        del view
        stuck.end()
        assert stuck.stop()
    assert room().stop()


def test_who_comes_again_takes_over_from_a_connection_that_hangs(port):
    data, arrival = os.urandom(SIZE), room()
    token = token_for(b"k" * 16, 7)
    port.expect(token, arrival)
    with socket.create_connection((HOST, port.port)) as hanging, socket.create_connection((HOST, port.port)) as fresh:
        ask(hanging, BRING, 0, token)
        wait_until(lambda: arrival._connection is not None)
        assert ask(fresh, BRING, 0, token) == (0, SIZE)
        fresh.sendall(data)
        wait_until(lambda: arrival.is_whole)
    assert bytes_of(arrival) == data


def test_a_port_and_a_dialer_leave_nothing_behind():
    before, threads = psutil.Process().num_fds(), threading.active_count()
    for _ in range(3):
        port = ObjectPort(HOST)
        dialer = ObjectDialer(Endpoint(HOST, port.port), lambda what: what())
        arrival, done = room(), Done()
        dialer.fetch(arrival, [dialer.giver(port.serve(7, memoryview(bytes(SIZE))))], done)
        done.wait()
        with socket.create_connection((HOST, port.port)) as connection:  # in the middle of something
            ask(connection, FETCH, 0, token_for(port.key, 7))
            receive(connection, memoryview(bytearray(10)), 0, lambda have: None)
            port.close()
        dialer.close()
        port.close()
    gc.collect()
    wait_until(lambda: psutil.Process().num_fds() <= before)
    wait_until(lambda: threading.active_count() <= threads)
