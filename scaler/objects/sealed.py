"""Sealed: a TCP connection for objects whose bytes nobody else can read or change.

Both ends have a key in common, 32 random bytes that came to them through their sessions, which are encrypted already.
There are no certificates, then, and nothing that expires. A connection begins with one message each way, in clear:

    from who connects, 44 bytes          from who listens, 40 bytes
    0   "SCOS"                           0   "SCOS"
    4   version (2)                      4   version (2)
    6   ciphers that it has (2)          6   the cipher that is used (2)
    8   which key it means (4)           8   32 random bytes
    12  32 random bytes

A hash with the common key over both messages gives two keys of this connection, one for each direction. Then there are
records, each sealed by itself (AEAD):

    0   bytes of plain text (4), from 1 to MOST_RECORD_BYTES
    4   as many bytes, encrypted
    .   tag (16), over these and over the length

The nonce is the number of the record in its direction. So what is changed, left out, repeated, put elsewhere or sent
back to where it came from does not open, and neither does what was recorded in another connection, since both ends have
added to its keys. That an end was cut off is for the layer above to see, which knows how many bytes are to come.

Rule 1: what does not open ends the connection. Nothing of it has been given to anybody: a piece is opened whole.
Not here: what is said over it (stream), how the end that listens moves records (visit), how the key comes to both ends
(session).
"""

import os
import socket
import struct
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, NamedTuple

from scaler.objects.stream import HungUp, StreamError

MAGIC, VERSION = b"SCOS", 1
AES_256_GCM, CHACHA20_POLY1305 = 1, 2
KEY_BYTES, RANDOM_BYTES, TAG_BYTES = 32, 32, 16
MOST_RECORD_BYTES = 256 << 10  # the interpreter's lock is held while one is sealed or opened
_OPENING = struct.Struct("<4sHHI32s")
OPENING_BYTES = _OPENING.size
_REPLY = struct.Struct("<4sHH32s")
LENGTH = struct.Struct("<I")
_PERSON = b"scaler objects"


class Seal(NamedTuple):
    """What a host that connects has for one that listens: their common key, and the number by which that finds it."""

    number: int
    key: bytes


class SealError(StreamError):
    """The other end has another key, or somebody in between has changed what it sent."""


class Records:
    """The records of one connection, each direction with its own key and count. No socket."""

    def __init__(self, sending: Any, receiving: Any) -> None:
        self._sending, self._receiving = sending, receiving
        self._sent = self._received = 0

    def seal(self, piece: memoryview, out: memoryview) -> int:
        """Put the next record, of at most MOST_RECORD_BYTES, into `out`: how many bytes it has."""
        head = LENGTH.pack(piece.nbytes)
        end = LENGTH.size + piece.nbytes + TAG_BYTES
        out[: LENGTH.size] = head
        self._sending.encrypt_into(_nonce(self._sent), piece, head, out[LENGTH.size : end])
        self._sent += 1
        return end

    def open(self, sealed: memoryview, place: memoryview) -> None:
        """Open the next record, of which this is all but the length, in a place that it fills. SealError if it does not
        open; what is in the place then is nothing that the other end has sent.
        """
        from cryptography.exceptions import InvalidTag

        try:
            self._receiving.decrypt_into(_nonce(self._received), sealed, LENGTH.pack(place.nbytes), place)
        except InvalidTag:
            raise SealError("a record does not open: another key, or somebody has changed it") from None
        self._received += 1


def length_in(head: bytes | bytearray) -> int:
    """Bytes of plain text of the record that begins so. SealError if there is no such record."""
    (length,) = LENGTH.unpack(head)
    if not 0 < length <= MOST_RECORD_BYTES:
        raise SealError(f"a record of {length} bytes: the other end has another key, or what it sent was changed")
    return int(length)


class Sealed:
    """The end that has connected: used like the blocking socket under it (`sendall`, `recv`, `recv_into`)."""

    def __init__(self, connection: socket.socket, records: Records) -> None:
        self.connection, self._records = connection, records
        self._out = bytearray(LENGTH.size + MOST_RECORD_BYTES + TAG_BYTES)
        self._in = bytearray(MOST_RECORD_BYTES + TAG_BYTES)
        self._rest = b""  # of a record of which less was asked for

    def sendall(self, data: bytes | memoryview) -> None:
        """Send it all, as so many records as it takes."""
        view = memoryview(data).cast("B")
        with memoryview(self._out) as out:
            for begin in range(0, view.nbytes, MOST_RECORD_BYTES):
                end = self._records.seal(view[begin : begin + MOST_RECORD_BYTES], out)
                self.connection.sendall(out[:end])

    def recv(self, most_bytes: int) -> bytes:
        """Some bytes, as socket.recv gives them; none if the other end has hung up between two records."""
        if not self._rest:
            length = self._next_length()
            if not length:
                return b""
            opened = bytearray(length)
            self._open(memoryview(opened))
            self._rest = bytes(opened)
        data, self._rest = self._rest[:most_bytes], self._rest[most_bytes:]
        return data

    def recv_into(self, view: memoryview, _: int = 0, flags: int = 0) -> int:
        """Fill the view; less only if the other end has hung up. Whole records are opened in their place."""
        done = 0
        while done < view.nbytes:
            room = view.nbytes - done
            if self._rest:
                data, self._rest = self._rest[:room], self._rest[room:]
                view[done : done + len(data)] = data
                done += len(data)
                continue
            length = self._next_length()
            if not length:
                break
            if length <= room:
                self._open(view[done : done + length])
                done += length
            else:
                opened = bytearray(length)
                self._open(memoryview(opened))
                self._rest = bytes(opened)
        return done

    def _next_length(self) -> int:
        """Of the record that comes next; 0 if the other end has hung up before it."""
        head = bytearray(LENGTH.size)
        if not _fill(self.connection, memoryview(head), may_end=True):
            return 0
        return length_in(head)

    def _open(self, place: memoryview) -> None:
        """Read the rest of the record and open it in this place."""
        with memoryview(self._in)[: place.nbytes + TAG_BYTES] as sealed:
            _fill(self.connection, sealed)
            self._records.open(sealed, place)

    # What else the stream does with a socket.

    def setblocking(self, is_blocking: bool) -> None:
        self.connection.setblocking(is_blocking)

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        self.connection.setsockopt(level, option, value)

    def shutdown(self, how: int) -> None:
        self.connection.shutdown(how)

    def close(self) -> None:
        self.connection.close()


def connect_sealed(connection: socket.socket, seal: Seal) -> Sealed:
    """The end that has connected."""
    ciphers = AES_256_GCM | CHACHA20_POLY1305 if has_fast_aes() else CHACHA20_POLY1305
    opening = _OPENING.pack(MAGIC, VERSION, ciphers, seal.number, os.urandom(RANDOM_BYTES))
    connection.sendall(opening)
    reply = bytearray(_REPLY.size)
    _fill(connection, memoryview(reply))
    magic, version, cipher, _ = _REPLY.unpack(reply)
    if (magic, version) != (MAGIC, VERSION) or cipher not in (AES_256_GCM, CHACHA20_POLY1305):
        raise StreamError("what listens there serves no sealed objects of this version")
    there, here = _keys(seal.key, opening, bytes(reply))
    return Sealed(connection, Records(_cipher(cipher, there), _cipher(cipher, here)))


def reply_to(opening: bytes, key_of: Callable[[int], bytes | None]) -> tuple[int, bytes, Records]:
    """What the end that listens makes of an opening: which number it names, what to answer, the records that follow.

    `key_of` gives the key of a number. The other end has proved nothing before a record has opened.
    """
    magic, version, ciphers, number, _ = _OPENING.unpack(opening)
    if (magic, version) != (MAGIC, VERSION) or not ciphers & (AES_256_GCM | CHACHA20_POLY1305):
        raise StreamError("it does not ask for sealed objects of this version")
    key = key_of(number)
    if key is None:
        raise StreamError("it means a key that there is not")
    cipher = AES_256_GCM if ciphers & AES_256_GCM and has_fast_aes() else ciphers & CHACHA20_POLY1305 or AES_256_GCM
    reply = _REPLY.pack(MAGIC, VERSION, cipher, os.urandom(RANDOM_BYTES))
    there, here = _keys(key, opening, reply)
    return int(number), reply, Records(_cipher(cipher, here), _cipher(cipher, there))


def key_between(key: bytes, number: int) -> bytes:
    """The key of the host that listens, whose own is `key`, and the host of this number."""
    return blake2b(number.to_bytes(4, "little"), key=key, digest_size=KEY_BYTES, person=_PERSON).digest()


def has_fast_aes() -> bool:
    """Whether this processor has instructions for AES, without which the other cipher is faster."""
    global _has_fast_aes
    if _has_fast_aes is None:
        try:
            with open("/proc/cpuinfo", "rb") as file:
                words = file.read(65536).split()
            _has_fast_aes = b"aes" in words
        except OSError:
            _has_fast_aes = False
    return _has_fast_aes


_has_fast_aes: bool | None = None


def _keys(key: bytes, opening: bytes, reply: bytes) -> tuple[bytes, bytes]:
    """Of what is sent by the end that has connected, and by the other one."""
    both = blake2b(opening + reply, key=key, digest_size=2 * KEY_BYTES, person=_PERSON).digest()
    return both[:KEY_BYTES], both[KEY_BYTES:]


def _cipher(which: int, key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

    return AESGCM(key) if which == AES_256_GCM else ChaCha20Poly1305(key)


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "little")


def _fill(connection: socket.socket, view: memoryview, *, may_end: bool = False) -> bool:
    """Read so many bytes; False if there is none at all and that may be."""
    done = 0
    while done < view.nbytes:
        count = connection.recv_into(view[done:], 0, socket.MSG_WAITALL)
        if not count:
            if may_end and not done:
                return False
            raise HungUp("the other side hung up within a record")
        done += count
    return True
