"""Bodies of frames of every kind, with every field drawn, and frames of them that are damaged or not.

Rule 1: the kinds and their fields are taken from the protocol itself, so one that is added is drawn from then on.
Not here: to whom they are said (frames, relays).
"""

import random
import struct
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from typing import Any, cast, get_args

from scaler._native import join_places
from scaler.protocol.codec import encode
from scaler.protocol.frames import (
    UNNUMBERED,
    Alarm,
    Answer,
    Body,
    Cancel,
    Chunk,
    Clear,
    Fetched,
    Forget,
    Frame,
    Freed,
    Functions,
    Hello,
    Joined,
    Left,
    Offer,
    Output,
    Question,
    Release,
    Results,
    Returned,
    Role,
    RunHere,
    Serves,
    Taken,
    Tasks,
    Wait,
    Withdraw,
    Withdrawn,
    Workers,
)

KINDS: tuple[type[Any], ...] = get_args(Body)
SAID_BY_CLIENT = (Tasks, Tasks, Tasks, Functions, Functions, Forget, Cancel, Wait, Returned, Release, Clear, Chunk,
                  Offer, Fetched, Serves, Question)  # fmt: skip
SAID_BY_CLUSTER = (Results, Results, Results, Withdrawn, Release, Joined, Joined, Left, Chunk, Offer, Fetched, Serves,
                   Answer, Output, Alarm)  # fmt: skip
SAID_BY_SCHEDULER = (Tasks, Tasks, Results, Results, Functions, Forget, Cancel, RunHere, Withdraw, Freed, Taken, Chunk,
                     Offer, Fetched, Workers, Question, Answer, Output)  # fmt: skip
WIDTHS = {
    "peers": "I", "tasks": "Q", "attempts": "Q", "functions": "I", "flags": "B", "statuses": "H", "items": "I",
    "details": "I", "durations_ns": "Q", "cpu_us": "I", "memory_peak_kib": "I", "options": "I", "limits_ms": "I",
    "numbers": "I", "objects": "Q", "names": "Q", "took": "B", "peer_cpu_permille": "I", "peer_rss_bytes": "Q",
}  # fmt: skip
ODD = (0, 1, 2, 3, 2**16, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1)
VOUCHER = b"the worker is in"
TEXTS = (
    "", "a", "gone", "x" * 300, "\udc80", "\n\x1b[31m", "[" * 2000, "{}", '{"code": "9", "pid": [], "output": 5}',
    '{"worker": "\\ud800", "peak_bytes": 1e999}', "127.0.0.1:1", "tcp://127.0.0.1:1", "a" * 80 + ":80", "x:99999",
)  # fmt: skip


class Drawn:
    """What is drawn for one episode: ids of clients and tags of which some are somebody's."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.tags = [5, 6, 7, 0xFFFFFF, 0xFFFFFE, 0xFFFFFD]
        self.attempts = [1 << 32 | 1]  # that were given to somebody
        self.next = 1
        self.own = 5  # the client whose tasks are named, mostly
        self.peers = 3  # numbers that peers have, from 0 on

    def task(self) -> int:
        chance = self.chance
        luck = chance.random()
        if luck < 0.02:
            return chance.getrandbits(64)
        if luck < 0.5:
            self.next += 1
        client = self.own if luck < 0.95 else chance.choice(self.tags[:3])
        return client << 40 | (self.next if luck < 0.5 else max(0, self.next - chance.randrange(10)))

    def object(self) -> int:
        tag = self.own if self.chance.random() < 0.6 else self.chance.choice(self.tags)
        return tag << 40 | self.chance.randrange(1, 12)

    def places(self) -> bytes:
        chance = self.chance
        made = []
        for _ in range(chance.choice((1, 1, 2))):
            segment = 0 if chance.random() < 0.98 else chance.choice((1, 5 << 32 | 1))
            made.append((self.object(), segment, 0, chance.choice((0, 10, 100, 2**40)), chance.getrandbits(6)))
        packed = join_places(made)
        return packed if chance.random() < 0.95 else struct.pack("<I", chance.choice((0, 9, 2**31))) + packed[4:]

    def inputs(self) -> bytes:
        chance = self.chance
        ids = [self.task() for _ in range(chance.randrange(4))]
        said = len(ids) if chance.random() < 0.95 else chance.choice((400, 401, 2**31))
        about = chance.choice((0, 0, 1, 2, 4, 8, 9)) | chance.choice((0, 0, 1)) << 16
        return struct.pack(f"<IIII{len(ids)}Q", said, chance.randrange(len(ids) + 1), chance.randrange(3), about, *ids)

    def payload(self, flags: int) -> bytes:
        chance = self.chance
        data = self.places() if flags & 1 and chance.random() < 0.95 else b""
        data += self.inputs() if flags & 32 and chance.random() < 0.95 else b""
        size = chance.choice((0, 5, 5, 30, 30, 300, 5000, 40000))
        return data + chance.randbytes(size) if size < 5000 or chance.random() < 0.1 else data

    def number(self, name: str) -> int:
        chance = self.chance
        if name in ("tasks", "task"):
            return self.task()
        if name in ("objects", "object", "names"):
            return self.object() if chance.random() < 0.95 else chance.choice(ODD)
        if name in ("attempts", "attempt"):
            return chance.choice(self.attempts[-8:]) if chance.random() < 0.9 else chance.getrandbits(64)
        if chance.random() < 0.01:
            return chance.choice(ODD)
        if name in ("took", "role"):
            return chance.randrange(2)
        if name in ("peers", "peer"):
            return chance.randrange(self.peers)
        if name == "options":
            return chance.choice((0, 0, 1, 0x0101, 0xFFFF, 0x00FF))
        return chance.choice((0, 0, 1, 2, 3))

    def body(self, likely: tuple[type[Any], ...], peers: int) -> Body:
        """Any body, but more often a likely one, of so many peers: its columns fit each other, mostly."""
        chance = self.chance
        kind = chance.choice(likely if chance.random() < 0.93 else KINDS)
        self.peers = peers if chance.random() < 0.97 else 5
        if is_dataclass(kind):
            values = {each.name: self.value(kind, each.name, each.default) for each in fields(kind)}
            return cast(Body, kind(**values))
        said: dict[str, Any] = {}
        rows = chance.choice((1, 1, 2, 3))
        flags = [chance.getrandbits(8) if chance.random() < 0.1 else chance.choice((0, 1, 32, 33)) for _ in range(rows)]
        parts = [self.payload(each) for each in flags]
        for name, default in kind._field_defaults.items():
            said[name] = self.column(kind, name, default, flags, parts)
            if chance.random() < 0.004 and isinstance(said[name], bytes):
                said[name] = chance.choice((b"", said[name][:-1], said[name] * 2, chance.randbytes(8)))
        return kind(**said)

    def column(self, kind: type[Any], name: str, default: Any, flags: list[int], parts: list[bytes]) -> Any:
        chance = self.chance
        if name == "flags":
            return bytes(flags)
        if name == "payload":
            return b"".join(parts)
        if name == "ends":
            ends, end = [], 0
            for part in parts:
                end += len(part)
                ends.append(end)
            return struct.pack(f"<{len(ends)}I", *ends)
        if name == "digests":
            whole = chance.random() < 0.9
            return b"".join(blake2b(part, digest_size=16).digest() if whole else chance.randbytes(16) for part in parts)
        if name in WIDTHS and isinstance(default, bytes):
            if chance.random() < 0.3 and name not in ("tasks", "objects", "numbers"):
                return b""
            width = struct.calcsize(WIDTHS[name])
            most = (1 << 8 * width) - 1
            return struct.pack(f"<{len(parts)}{WIDTHS[name]}", *(self.number(name) & most for _ in parts))
        return self.value(kind, name, default)

    def value(self, kind: type[Any], name: str, default: Any) -> Any:
        """Of a field that is no column of several rows."""
        chance = self.chance
        if isinstance(default, bool):
            return chance.random() < 0.5
        if name in ("address", "source") and chance.random() < 0.95:
            return "127.0.0.1:1" if name == "address" or chance.random() < 0.3 else ""
        if isinstance(default, str):
            return chance.choice(TEXTS)
        if isinstance(default, int):
            if name in ("offset", "total_bytes"):
                usual = 0 if name == "offset" else 16
                return usual if chance.random() < 0.9 else chance.choice((0, 1, 10, 2**20, 2**40, 2**63))
            return self.number(name)
        if isinstance(default, tuple):
            return chance.choice(((), ("a", "b"))) if "names" in name else ()
        if name in WIDTHS:
            return struct.pack("<Q", self.number(name)) * chance.choice((0, 1, 2))
        if name == "voucher":
            return chance.choice((VOUCHER, VOUCHER, b"", chance.randbytes(16)))
        return chance.randbytes(16 if chance.random() < 0.95 else chance.choice((0, 10, 64, 65)))

    def hello(self, role: Role, bits: int) -> Hello:
        """One that is taken, mostly."""
        chance = self.chance
        version = sys.version_info
        good = Hello(
            int(role), version.major, version.minor, chance.randbytes(16), bits, host_name=chance.choice(TEXTS[:4]),
            is_nested=chance.random() < 0.3, voucher=VOUCHER,
        )  # fmt: skip
        if chance.random() < 0.8:
            return good
        return Hello(**{each.name: self.value(Hello, each.name, each.default) for each in fields(Hello)})

    def frame(self, body: Body, next_number: Callable[[], int]) -> bytes | None:
        """The bytes of a frame with this body, numbered as it should be, mostly. None if no frame can carry it."""
        chance = self.chance
        number = 0 if type(body) in UNNUMBERED else next_number()
        if chance.random() < 0.01:
            number = chance.choice(ODD)
        acknowledged = 0 if chance.random() < 0.99 else chance.choice((1, 5, 2**63))
        try:
            data = bytearray(encode(Frame(body, number, acknowledged)))
        except Exception:  # a value that no frame can carry
            return None
        if chance.random() < 0.02 and data:
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.005:
            del data[chance.randrange(len(data)) :]
        return bytes(data)
