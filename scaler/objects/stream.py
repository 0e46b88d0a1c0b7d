"""How an object's bytes go from host to host: over TCP connections of their own, from shared memory into such.

The side that connects asks for one object after the other, or brings some. A request names the object by a token that
only the two hosts of the transfer know, and says from which byte on, so a transfer that broke goes on where it was.

    request, 32 bytes                    answer, 24 bytes
    0   "SCOB"                           0   "SCOB"
    4   version (2)                      4   version (2)
    6   1 fetch, 2 bring (2)             6   1 yes, 2 no (2)
    8   offset (8): fetch from there     8   offset (8): the bytes follow, or are to follow, from there on
    16  token (16)                       16  size of the object (8)

After a yes to a fetch the answerer sends the bytes from `offset` to the end; after one to a bring the asker does, and
then gets a second answer whose offset is the size. After a no the answerer hangs up.

Rule 1: bytes are received into their place and sent from theirs, without a copy in between, by calls that run without
        the interpreter's lock. A side that moves nothing for STALL_S has gone. Sockets of the side that connects block,
        those of the side that listens do not (visit).
Not here: the side that listens (port, visit), the side that connects (dialer), what a sealed connection is (sealed),
which object is needed where (the sessions).
"""

import socket
import struct
from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple, Protocol

from scaler.protocol.bounds import TOKEN_BYTES

MAGIC = b"SCOB"
VERSION = 1
FETCH, BRING = 1, 2
YES, NO = 1, 2
RESULT_PERSON = b"result"
PIECE_BYTES = 4 << 20  # so that it is known how far a transfer got
STALL_S = 10.0
_REQUEST = struct.Struct("<4sHHQ16s")
_ANSWER = struct.Struct("<4sHHQQ")
REQUEST_BYTES = _REQUEST.size


class StreamError(OSError):
    """The other side broke off, or says what makes no sense."""


class HungUp(StreamError):
    """It broke off, as processes do that end."""


class Refusal(OSError):
    """The other side says no: asking again is of no use."""


class Connection(Protocol):
    """What is said over: a socket, or a sealed one."""

    def sendall(self, data: bytes | memoryview, /) -> None: ...

    def recv(self, most_bytes: int, /) -> bytes: ...

    def recv_into(self, view: memoryview, size: int, flags: int, /) -> int: ...

    def setblocking(self, is_blocking: bool, /) -> None: ...

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None: ...

    def shutdown(self, how: int, /) -> None: ...

    def close(self) -> None: ...


class Request(NamedTuple):
    what: int
    offset: int
    token: bytes


def token_for(key: bytes, object_id: int, *, is_result: bool = False) -> bytes:
    """What proves that a transfer of this object is meant to be, towards or from the host that has this key.

    `is_result`: the id is that under which a worker of that host has made it, which may be another's elsewhere.
    """
    person = RESULT_PERSON if is_result else b""
    return blake2b(object_id.to_bytes(8, "little"), key=key, digest_size=TOKEN_BYTES, person=person).digest()


def prepare(connection: Connection, stall_s: float = STALL_S) -> None:
    """Let the connection block, but not for ever."""
    connection.setblocking(True)
    limit = struct.pack("ll", int(stall_s), int(stall_s % 1 * 1e6))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def ask(connection: Connection, what: int, offset: int, token: bytes) -> tuple[int, int]:
    """Send a request: (offset, size) of the answer. Refusal if that is a no."""
    connection.sendall(_REQUEST.pack(MAGIC, VERSION, what, offset, token))
    return read_answer(connection)


def read_answer(connection: Connection) -> tuple[int, int]:
    magic, version, verdict, offset, size = _ANSWER.unpack(_read(connection, _ANSWER.size))
    if (magic, version) != (MAGIC, VERSION) or verdict not in (YES, NO):
        raise StreamError("what listens there serves no objects of this version")
    if verdict == NO:
        raise Refusal("the other side does not have it, or not for this asker")
    return offset, size


def read_request(data: bytes) -> Request:
    """What this request asks for."""
    magic, version, what, offset, token = _REQUEST.unpack(data)
    if (magic, version) != (MAGIC, VERSION) or what not in (FETCH, BRING):
        raise StreamError("a request that makes no sense")
    return Request(what, offset, token)


def pack_answer(verdict: int, offset: int = 0, size: int = 0) -> bytes:
    return _ANSWER.pack(MAGIC, VERSION, verdict, offset, size)


def send(connection: Connection, view: memoryview, offset: int) -> None:
    """Send what is in the view from the offset on."""
    while offset < view.nbytes:
        end = min(offset + PIECE_BYTES, view.nbytes)
        connection.sendall(view[offset:end])
        offset = end


def receive(
    connection: Connection,
    view: memoryview,
    offset: int,
    note: Callable[[int], None],
    make_room: Callable[[int], None] | None = None,
) -> None:
    """Fill the view from the offset on; `note` is told how far it has come. OSError if the other side breaks off.

    `make_room` is told before how far it will come, where it is not the kernel that writes.
    """
    while offset < view.nbytes:
        end = min(offset + PIECE_BYTES, view.nbytes)
        if make_room is not None:
            make_room(end)
        count = connection.recv_into(view[offset:end], 0, socket.MSG_WAITALL)
        if not count:
            raise HungUp(f"the other side hung up after {offset} of {view.nbytes} bytes")
        offset += count
        note(offset)


def _read(connection: Connection, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise StreamError("the other side hung up")
        data += part
    return data
