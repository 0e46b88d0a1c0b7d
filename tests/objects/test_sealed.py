"""Sealed connections over real sockets, with somebody in between: what is changed, repeated or cut does not open."""

import contextlib
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from scaler.objects import sealed
from scaler.objects.sealed import (
    MOST_RECORD_BYTES,
    Seal,
    Sealed,
    SealError,
    connect_sealed,
    key_between,
    reply_to,
)
from scaler.objects.stream import HungUp, StreamError

KEY = bytes(range(32))
OPENING_BYTES, REPLY_BYTES, LENGTH_BYTES = 44, 40, 4
Change = Callable[[list[bytes]], list[bytes]]


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    yield here, there
    here.close()
    there.close()


def accept_sealed(connection: socket.socket, key_of: Callable[[int], bytes | None]) -> Sealed:
    """The end that listens, with a socket that blocks."""
    _, reply, records = reply_to(connection.recv(OPENING_BYTES, socket.MSG_WAITALL), key_of)
    connection.sendall(reply)
    return Sealed(connection, records)


def meet(here: socket.socket, there: socket.socket, *, key: bytes = KEY, other: bytes | None = KEY) -> list[Sealed]:
    """Both ends; the one that connects is first."""
    ends: list[Sealed] = []
    thread = threading.Thread(target=lambda: ends.append(accept_sealed(there, lambda number: other)))
    thread.start()
    mine = connect_sealed(here, Seal(1, key))
    thread.join()
    return [mine, *ends]


def read(end: Sealed, count: int) -> bytes:
    data = bytearray(count)
    got = end.recv_into(memoryview(data), 0, socket.MSG_WAITALL)
    return bytes(data[:got])


@pytest.mark.parametrize("has_aes", [True, False])
def test_what_is_sent_arrives(
    sockets: tuple[socket.socket, socket.socket], has_aes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "_has_fast_aes", has_aes)
    first, second = meet(*sockets)
    draw = random.Random(3)
    pieces = [draw.randbytes(size) for size in (1, 32, 24, MOST_RECORD_BYTES, MOST_RECORD_BYTES + 1, 3_000_000, 5)]
    for sender, receiver in ((first, second), (second, first)):
        thread = threading.Thread(target=lambda sender=sender: [sender.sendall(piece) for piece in pieces])
        thread.start()
        assert [read(receiver, len(piece)) for piece in pieces] == pieces
        thread.join()


def test_a_record_may_be_read_in_parts(sockets: tuple[socket.socket, socket.socket]) -> None:
    first, second = meet(*sockets)
    first.sendall(b"abcdefgh")
    assert second.recv(3) == b"abc"
    assert read(second, 2) == b"de"
    first.sendall(b"ij")
    assert read(second, 5) == b"fghij"
    first.close()
    assert second.recv(1) == b""


def test_nothing_of_it_is_in_clear(sockets: tuple[socket.socket, socket.socket]) -> None:
    first, _ = meet(*sockets)
    first.sendall(b"a secret that is long enough")
    assert b"secret" not in sockets[1].recv(1000)


@pytest.mark.parametrize("other", [bytes(32), None])
def test_who_has_another_key_or_none_gets_nothing(
    sockets: tuple[socket.socket, socket.socket], other: bytes | None
) -> None:
    here, there = sockets
    errors: list[BaseException] = []

    def listen() -> None:
        try:
            accept_sealed(there, lambda number: other).recv(1)
        except OSError as error:
            errors.append(error)
        there.close()

    thread = threading.Thread(target=listen)
    thread.start()
    with contextlib.suppress(OSError):
        connect_sealed(here, Seal(1, KEY)).sendall(b"hello")
    thread.join()
    assert isinstance(errors[0], SealError if other else StreamError)


def through(change: Change) -> tuple[bytes, BaseException | None]:
    """What the end that listens gets of six records if `change` is made to these on the way, and how it ends."""
    (here, middle_one), (middle_two, there) = socket.socketpair(), socket.socketpair()
    got, ended = bytearray(), []

    def listen() -> None:
        try:
            end = accept_sealed(there, lambda number: KEY)
            while data := end.recv(10):
                got.extend(data)
        except OSError as error:
            ended.append(error)

    def pass_on() -> None:
        middle_two.sendall(middle_one.recv(OPENING_BYTES, socket.MSG_WAITALL))
        middle_one.sendall(middle_two.recv(REPLY_BYTES, socket.MSG_WAITALL))
        records = []
        for _ in range(6):
            head = middle_one.recv(LENGTH_BYTES, socket.MSG_WAITALL)
            records.append(head + middle_one.recv(int.from_bytes(head, "little") + 16, socket.MSG_WAITALL))
        for record in change(records):
            middle_two.sendall(record)
        middle_two.shutdown(socket.SHUT_WR)

    threads = [threading.Thread(target=each) for each in (listen, pass_on)]
    for thread in threads:
        thread.start()
    mine = connect_sealed(here, Seal(1, KEY))
    for i in range(6):
        mine.sendall(b"%d" % i * 10)
    for thread in threads:
        thread.join()
    for each in (here, middle_one, middle_two, there):
        each.close()
    return bytes(got), ended[0] if ended else None


WHOLE = b"".join(b"%d" % i * 10 for i in range(6))


def flip(records: list[bytes], which: int, at: int) -> list[bytes]:
    changed = bytearray(records[which])
    changed[at] ^= 1
    return [*records[:which], bytes(changed), *records[which + 1 :]]


def test_what_nobody_has_changed_arrives() -> None:
    assert through(lambda records: records) == (WHOLE, None)


CHANGES: dict[str, tuple[int, Change]] = {
    "swapped": (2, lambda r: [*r[:2], r[3], r[2], *r[4:]]),
    "left out": (2, lambda r: [*r[:2], *r[3:]]),
    "repeated": (3, lambda r: [*r[:3], r[2], *r[3:]]),
    "the first again": (6, lambda r: [*r, r[0]]),
    "a bit of the text": (2, lambda r: flip(r, 2, 7)),
    "a bit of the tag": (2, lambda r: flip(r, 2, len(r[2]) - 1)),
    "the length, less": (2, lambda r: [*r[:2], b"\x09" + r[2][1:], *r[3:]]),
    "the length, none": (2, lambda r: [*r[:2], bytes(4) + r[2][4:], *r[3:]]),
    "the length, too much": (2, lambda r: [*r[:2], b"\xff\xff\xff\xff" + r[2][4:], *r[3:]]),
    "put in": (2, lambda r: [*r[:2], b"\x0a\0\0\0" + os.urandom(26), *r[2:]]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_does_not_open_and_nothing_after_it(name: str) -> None:
    before, change = CHANGES[name]
    got, ended = through(change)
    assert got == WHOLE[: 10 * before]
    assert isinstance(ended, SealError)


def test_a_cut_within_a_record_is_seen() -> None:
    got, ended = through(lambda records: [*records[:3], records[3][:9]])
    assert got == WHOLE[:30]
    assert isinstance(ended, HungUp)


def test_what_is_sent_back_to_where_it_came_from_does_not_open(sockets: tuple[socket.socket, socket.socket]) -> None:
    first, _ = meet(*sockets)
    first.sendall(b"hello")
    sockets[1].sendall(sockets[1].recv(100))
    with pytest.raises(SealError):
        first.recv(5)


def test_what_was_recorded_in_another_connection_does_not_open() -> None:
    (here, there), (again, victim) = socket.socketpair(), socket.socketpair()
    mine, _ = meet(here, there)
    mine.sendall(b"hello")
    recorded = there.recv(100)
    ends: list[Sealed] = []
    thread = threading.Thread(target=lambda: ends.append(accept_sealed(victim, lambda number: KEY)))
    thread.start()
    again.sendall(sealed._OPENING.pack(b"SCOS", 1, 3, 1, bytes(32)))
    again.recv(REPLY_BYTES, socket.MSG_WAITALL)
    thread.join()
    again.sendall(recorded)
    with pytest.raises(SealError):
        ends[0].recv(5)
    for each in (here, there, again, victim):
        each.close()


@pytest.mark.parametrize("opening", [bytes(44), b"SCOS\2\0" + bytes(38), b"SCOS\1\0\0\0" + bytes(36)])
def test_who_speaks_otherwise_is_refused(opening: bytes) -> None:
    with pytest.raises(StreamError):
        reply_to(opening, lambda number: KEY)


def test_hosts_have_keys_of_their_own() -> None:
    assert len({key_between(KEY, 1), key_between(KEY, 2), key_between(bytes(32), 1), KEY}) == 4
