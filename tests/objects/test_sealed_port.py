"""Sealed transfers between a dialer and a port over real sockets: whoever is in between reads nothing, and whatever is
changed on the way ends that transfer only, which then begins anew."""

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from scaler.address import Endpoint
from scaler.objects.arrival import Arrival
from scaler.objects.dialer import Giver, ObjectDialer
from scaler.objects.port import ObjectPort
from scaler.objects.sealed import MOST_RECORD_BYTES, Seal, connect_sealed
from scaler.objects.stream import FETCH, Refusal, ask, token_for
from tests.processes import wait_until

HOST = "127.0.0.1"
SIZE = 3_000_000
NUMBER = 7
TAG_BYTES, OPENING_BYTES, REPLY_BYTES = 16, 44, 40
Change = Callable[[list[bytes]], list[bytes]]


@pytest.fixture
def port() -> Iterator[ObjectPort]:
    made = ObjectPort(HOST, is_sealed=True, admits=True)
    made.admit(NUMBER)
    yield made
    made.close()


def key_of(port: ObjectPort) -> bytes:
    key = port.key_for(NUMBER)
    assert key is not None
    return key


def dialer_to(port: ObjectPort, number: int = 0) -> ObjectDialer:
    """Of the host that was admitted, whose connections go to another port of this host if one is given."""
    return ObjectDialer(Endpoint(HOST, number or port.port), lambda what: what(), Seal(NUMBER, key_of(port)))


class Done:
    """What a transfer's end says."""

    def __init__(self) -> None:
        self.event, self.ok = threading.Event(), False

    def __call__(self, ok: bool) -> None:
        self.ok = ok
        self.event.set()

    def wait(self) -> bool:
        assert self.event.wait(30)
        return self.ok


class Meddler:
    """Passes connections on to a port, record by record, and changes what comes by on the first of them.

    `change` gets the records of 16 KiB and more of one direction, three at a time.
    """

    def __init__(self, port: int, change: Change) -> None:
        self.target, self.change = port, change
        self.listener = socket.create_server((HOST, 0))
        self.port: int = self.listener.getsockname()[1]
        self.connections = 0
        self.seen = bytearray()
        self.ends: list[socket.socket] = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            there = socket.create_connection((HOST, self.target))
            self.ends += [here, there]
            self.connections += 1
            change = self.change if self.connections == 1 else None
            for one, other, first in ((here, there, OPENING_BYTES), (there, here, REPLY_BYTES)):
                threading.Thread(target=self.forward, args=(one, other, first, change), daemon=True).start()

    def forward(self, one: socket.socket, other: socket.socket, first: int, change: Change | None) -> None:
        held: list[bytes] = []
        with suppress(OSError):
            data = one.recv(first, socket.MSG_WAITALL)
            while data:
                self.seen += data
                other.sendall(data)
                head = one.recv(4, socket.MSG_WAITALL)
                if len(head) < 4:
                    break
                data = head + one.recv(int.from_bytes(head, "little") + TAG_BYTES, socket.MSG_WAITALL)
                if change is not None and len(data) > 16384:
                    held.append(data)
                    data = b"".join(change(held)) if len(held) == 3 else b""
                    if data:
                        change = None
                    while not data:
                        head = one.recv(4, socket.MSG_WAITALL)
                        held.append(head + one.recv(int.from_bytes(head, "little") + TAG_BYTES, socket.MSG_WAITALL))
                        if len(held) == 3:
                            data = b"".join(change(held)) if change is not None else b""
                            change = None
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        for each in (self.listener, *self.ends):
            each.close()


def room(size: int = SIZE) -> Arrival:
    return Arrival(1, size, memoryview(bytearray(size)))


def bytes_of(arrival: Arrival) -> bytes:
    assert arrival._view is not None
    return bytes(arrival._view)


@pytest.mark.parametrize("size", [1, 300_000, MOST_RECORD_BYTES, SIZE])
def test_an_object_is_fetched_and_brought(port: ObjectPort, size: int) -> None:
    dialer, data = dialer_to(port), os.urandom(size)
    fetched, brought = room(size), room(size)
    for _ in range(2):  # over the same connection
        done = Done()
        dialer.fetch(fetched, [dialer.giver(port.serve(7, memoryview(data)))], done)
        assert done.wait()
    assert bytes_of(fetched) == data
    port.expect(token_for(b"k" * 16, 8), brought)
    done = Done()
    dialer.bring(memoryview(data), token_for(b"k" * 16, 8), done)
    assert done.wait()
    assert bytes_of(brought) == data
    assert (dialer.unopened, port.refused) == (0, 0)
    dialer.close()


def flipped(record: bytes, at: int) -> bytes:
    changed = bytearray(record)
    changed[at] ^= 1
    return bytes(changed)


CHANGES: dict[str, Change] = {
    "a bit": lambda r: [flipped(r[0], 1000), *r[1:]],
    "a bit of a tag": lambda r: [r[0], flipped(r[1], len(r[1]) - 1), r[2]],
    "a bit of a length": lambda r: [r[0], flipped(r[1], 0), r[2]],
    "two swapped": lambda r: [r[0], r[2], r[1]],
    "one left out": lambda r: [r[0], r[2]],
    "one repeated": lambda r: [r[0], r[0], *r[1:]],
    "one cut short": lambda r: [r[0], r[1][:5000], r[2]],
    "one put in": lambda r: [r[0], struct.pack("<I", 1000) + os.urandom(1000 + TAG_BYTES), *r[1:]],
}


@pytest.mark.parametrize("way", ["fetch", "bring"])
@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_ends_that_transfer_only_which_begins_anew(
    port: ObjectPort, name: str, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    meddler = Meddler(port.port, CHANGES[name])
    dialer, other = dialer_to(port, meddler.port), dialer_to(port)
    data, arrival, done = os.urandom(SIZE), room(), Done()
    if way == "fetch":
        dialer.fetch(arrival, [dialer.giver(port.serve(7, memoryview(data)))], done)
    else:
        port.expect(token_for(b"k" * 16, 7), arrival)
        dialer.bring(memoryview(data), token_for(b"k" * 16, 7), done)
    others = [(room(), Done()) for _ in range(4)]
    for one, its_end in others:
        other.fetch(one, [other.giver(port.serve(9, memoryview(data)))], its_end)
    assert done.wait()
    assert bytes_of(arrival) == data
    for one, its_end in others:
        assert its_end.wait()
        assert bytes_of(one) == data
    assert meddler.connections == 2
    if way == "fetch":
        assert dialer.unopened == 1
        assert "was broken off, and begins anew: a record" in caplog.text
    else:
        wait_until(lambda: port.refused == 1)
        assert "a connection for objects was closed (1 in all): a record" in caplog.text
    assert other.unopened == 0
    for each in (meddler, dialer, other):
        each.close()


@pytest.mark.parametrize("way", ["there", "back"])
def test_what_is_sent_back_to_its_sender_is_not_taken(port: ObjectPort, way: str) -> None:
    data = os.urandom(SIZE)
    token = port.serve(7, memoryview(data))
    with socket.create_connection((HOST, port.port)) as plain:
        end = connect_sealed(plain, Seal(NUMBER, key_of(port)))
        assert ask(end, FETCH, 0, token) == (0, SIZE)
        record = plain.recv(4 + MOST_RECORD_BYTES + TAG_BYTES, socket.MSG_WAITALL)
        with suppress(OSError):
            plain.sendall(record)
            while plain.recv(1 << 20):
                pass
    wait_until(lambda: port.refused == 1)


def test_nothing_of_it_is_in_clear(port: ObjectPort) -> None:
    meddler = Meddler(port.port, lambda records: records)
    dialer, data, arrival, done = dialer_to(port, meddler.port), b"a secret" * 100_000, room(800_000), Done()
    token = port.serve(7, memoryview(data))
    dialer.fetch(arrival, [dialer.giver(token)], done)
    assert done.wait()
    assert bytes_of(arrival) == data
    assert len(meddler.seen) > len(data)
    for secret in (data[:8], token, key_of(port), port.key, port.seal, b"SCOB"):
        assert secret not in meddler.seen
    dialer.close()
    meddler.close()


def test_who_has_no_key_of_it_gets_nothing_and_is_counted(port: ObjectPort, caplog: pytest.LogCaptureFixture) -> None:
    token = port.serve(7, memoryview(b"data"))
    with socket.create_connection((HOST, port.port)) as plain, suppress(OSError):  # in clear, as without keys
        ask(plain, FETCH, 0, token)
        raise AssertionError("it was given an answer")
    for seal in (Seal(NUMBER, bytes(32)), Seal(8, key_of(port))):  # another key; the key of another
        with socket.create_connection((HOST, port.port)) as plain, suppress(OSError):
            ask(connect_sealed(plain, seal), FETCH, 0, token)
            raise AssertionError("it was given an answer")
    wait_until(lambda: port.refused == 3)
    assert "a connection for objects was closed (1 in all): it does not ask for sealed objects" in caplog.text


def test_a_key_alone_gives_no_object(port: ObjectPort) -> None:
    port.serve(7, memoryview(b"data"))
    with socket.create_connection((HOST, port.port)) as plain, pytest.raises(Refusal):
        ask(connect_sealed(plain, Seal(NUMBER, key_of(port))), FETCH, 0, bytes(16))


def test_who_was_dismissed_gets_nothing(port: ObjectPort) -> None:
    token, key = port.serve(7, memoryview(b"data")), key_of(port)
    port.dismiss(NUMBER)
    with socket.create_connection((HOST, port.port)) as plain, pytest.raises(OSError, match=r"hung up|reset"):
        ask(connect_sealed(plain, Seal(NUMBER, key)), FETCH, 0, token)


def test_a_place_without_a_key_is_passed_over_and_hears_nothing(port: ObjectPort) -> None:
    dialer, arrival, done = dialer_to(port), room(4), Done()
    token = port.serve(7, memoryview(b"data"))
    with socket.create_server((HOST, 0)) as listener:
        place = Endpoint(HOST, listener.getsockname()[1])
        dialer.fetch(arrival, [Giver(place, token), dialer.giver(token)], done)
        assert done.wait()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert bytes_of(arrival) == b"data"
    dialer.close()


def test_there_are_pages_before_a_record_is_opened_in_them(port: ObjectPort) -> None:
    """A process that writes into shared memory for which there are none is ended by the kernel."""
    asked: list[int] = []

    def allocate(end: int) -> None:
        asked.append(end)
        if end > 5_000_000:
            raise OSError(28, "no room")

    data, done, dialer = bytes(9_000_000), Done(), dialer_to(port)
    memory = memoryview(bytearray(len(data)))
    arrival = Arrival(1, len(data), memory, allocate)
    dialer.fetch(arrival, [dialer.giver(port.serve(7, memoryview(data)))], done)
    assert done.wait() is False
    assert arrival.have <= 5_000_000 < max(asked)
    small = Arrival(1, 300_000, memory[:300_000], asked.append)  # which gets its pages at once (store.allocate)
    asked.clear()
    done = Done()
    dialer.fetch(small, [dialer.giver(port.serve(8, memoryview(bytes(300_000))))], done)
    assert done.wait()
    assert asked[0] == 300_000
    dialer.close()
