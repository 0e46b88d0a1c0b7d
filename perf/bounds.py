"""What one peer can take: bytes that the scheduler keeps per byte that it was sent, and the longest single event.

Each input is played to a scheduler's remote side (sessions, core, store) in a process of its own, without a socket: the
frames go in one by one, and after each the loop's turns are taken until nothing is left to do. An event is one message
or one turn. Kept is what the process and its segments have grown by when all is done, beyond what a small input of the
same kind leaves. A peer's unread answers are thrown away, as a socket would.

Not here: what comes through rings of this host.
"""

import gc
import multiprocessing
import os
import secrets
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from hashlib import blake2b
from multiprocessing.connection import Connection

from perf.command import Rows, main
from perf.processes import rss_bytes
from perf.report import Figure
from scaler._native import Mappings, SchedulerCore, Store, pack_inputs
from scaler.link.names import new_life, object_folder, sweep
from scaler.protocol import frames
from scaler.protocol.codec import encode
from scaler.protocol.frames import UNNUMBERED, Body, Chunk, Frame, Function, Functions, Hello, Role, Tasks
from scaler.scheduler.remote_peers import RemotePeers
from scaler.scheduler.remote_session import HostObjects

BITS = 6
FIRST = BITS << 40
COUNT = 250_000
MOST_TIMES, MOST_SPARSE_TIMES, MOST_MS = 8.0, 4.0, 20.0
SMALL = 1000
Bodies = Iterator[Body]


def ids(count: int, gap: int = 1) -> bytes:
    return array("Q", range(FIRST + gap, FIRST + gap * (count + 1), gap)).tobytes()


def tasks(count: int, gap: int = 1) -> Tasks:
    return Tasks(tasks=ids(count, gap), functions=array("I", [1] * count).tobytes())


def many_tasks(count: int) -> Bodies:
    for at in range(0, count, 10_000):
        n = min(10_000, count - at)
        numbers = array("Q", range(FIRST + at + 1, FIRST + at + n + 1)).tobytes()
        ends = array("I", range(100, 100 * (n + 1), 100)).tobytes()
        yield Tasks(tasks=numbers, functions=array("I", [1] * n).tobytes(), ends=ends, payload=bytes(100 * n))


def waiting_tasks(count: int) -> Bodies:
    header = pack_inputs([FIRST | 1], 0, 0, False)
    for at in range(0, count, 5_000):
        n = min(5_000, count - at)
        numbers = array("Q", range(FIRST + at + 2, FIRST + at + n + 2)).tobytes()
        size = len(header) + 200
        yield Tasks(
            tasks=numbers, functions=array("I", [1] * n).tobytes(), flags=b"\x20" * n,
            ends=array("I", range(size, size * (n + 1), size)).tobytes(), payload=(header + bytes(200)) * n,
        )  # fmt: skip


def functions(count: int) -> Bodies:
    for at in range(0, count, 100):
        codes = [b"%d" % number + bytes(2000) for number in range(at, min(count, at + 100))]
        yield Functions.of([Function(0, 2 + at + i, digest(code), 0, code) for i, code in enumerate(codes)])


def digest(code: bytes) -> bytes:
    return blake2b(code, digest_size=16).digest()


INPUTS: dict[str, tuple[Role, Callable[[int], Bodies], int]] = {
    "cancels in one frame": (Role.CLIENT, lambda n: iter([frames.Cancel(tasks=ids(n))]), COUNT),
    "waits in one frame": (Role.CLIENT, lambda n: iter([frames.Wait(tasks=ids(n))]), COUNT),
    "returns in one frame": (Role.CLIENT, lambda n: iter([frames.Returned(tasks=ids(n), took=b"\1" * n)]), COUNT),
    "releases in one frame": (Role.CLIENT, lambda n: iter([frames.Release(objects=ids(n))]), COUNT),
    "withdrawals in one frame": (Role.CLUSTER, lambda n: iter([frames.Withdrawn(tasks=ids(n), took=bytes(n))]), COUNT),
    "results of nobody in one frame": (Role.CLUSTER, lambda n: iter([frames.Results(tasks=ids(n))]), COUNT),
    "tasks of 100 bytes": (Role.CLIENT, many_tasks, 200_000),
    "tasks of 100 bytes, cleared": (Role.CLIENT, lambda n: iter([*many_tasks(n), frames.Clear()]), 200_000),
    "tasks that wait for one": (Role.CLIENT, waiting_tasks, 100_000),
    "functions of 2 kB": (Role.CLIENT, functions, 10_000),
    "objects of 1 GB announced, 8 kB sent of each": (
        Role.CLIENT, lambda n: (Chunk(FIRST | i, 0, 1 << 30, bytes(8192)) for i in range(1, n + 1)), 500
    ),
}  # fmt: skip


class Played:
    """A scheduler's remote side, and one peer that says what it is given."""

    def __init__(self, role: Role) -> None:
        self.life = new_life()
        self.core = SchedulerCore(1, self.life, object_folder())
        store = Store(self.life, self.core.own_tag, object_folder())
        self.core.edges.store = store
        self.remote = RemotePeers(
            self.core, self.life, "door", HostObjects(store, Mappings(self.life, object_folder())), queue_size=1000,
            client_timeout_s=60, worker_timeout_s=60, heartbeat_s=2, ping_timeout_s=30, send=lambda *_: True,
            on_change=lambda: None, on_shutdown=lambda: "",
        )  # fmt: skip
        self.sent = self.number = 0
        self.worst_s = 0.0
        here = sys.version_info
        self.say(Hello(int(role), here[0], here[1], secrets.token_bytes(16), BITS if role == Role.CLIENT else 0))
        if role == Role.CLIENT:
            self.say(Functions.of([Function(0, 1, digest(b"f"), 0, b"f")]))

    def say(self, body: Body) -> None:
        self.number += type(body) not in UNNUMBERED
        data = encode(Frame(body, 0 if type(body) in UNNUMBERED else self.number))
        self.sent += len(data)
        self.timed(lambda: self.remote.on_message(b"peer", [data], 0.0))
        self.timed(self.turn)
        while self.remote.can_go_on or self.core.go_on(0):
            self.timed(self.turn)

    def turn(self) -> None:
        self.core.step(0)
        self.remote.flush(0.0)

    def timed(self, what: Callable[[], object]) -> None:
        start_s = time.perf_counter()
        what()
        self.worst_s = max(self.worst_s, time.perf_counter() - start_s)

    def kept_bytes(self) -> int:
        gc.collect()
        names = [name for name in os.listdir("/dev/shm") if name.startswith(f"scaler-{self.life}-")]
        return rss_bytes(os.getpid()) + sum(os.stat(f"/dev/shm/{name}").st_blocks * 512 for name in names)


def _play(answer: Connection, what: str) -> None:
    role, make, count = INPUTS[what]
    small = Played(role)
    for body in make(min(count, SMALL)):
        small.say(body)
    played = Played(role)
    before, sent = played.kept_bytes(), played.sent
    for body in make(count):
        played.say(body)
    answer.send((max(0, played.kept_bytes() - before) / (played.sent - sent), 1000 * played.worst_s))
    sweep(small.life)
    sweep(played.life)


def wire(links: tuple[str, ...]) -> list[Figure]:
    """bytes kept per byte sent by a peer elsewhere, and its worst single event"""
    figures = []
    for what in INPUTS:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.get_context("spawn").Process(target=_play, args=(theirs, what))
        child.start()
        theirs.close()
        kept, worst_ms = ours.recv()
        child.join()
        figures.append(Figure(f"{what}: kept", kept, "x", target=MOST_TIMES, at_most=True))
        figures.append(Figure(f"{what}: worst event", worst_ms, "ms", target=MOST_MS, at_most=True))
    return figures


SPARSE = (20_000, 4096)


def _play_ids(answer: Connection, gap: int) -> None:
    warm = Played(Role.CLIENT)
    warm.say(tasks(SMALL, gap))
    played = Played(Role.CLIENT)
    before = played.kept_bytes()
    played.say(tasks(SPARSE[0], gap))
    answer.send((played.kept_bytes() - before, 1000 * played.worst_s))
    sweep(warm.life)
    sweep(played.life)


def sparse(links: tuple[str, ...]) -> list[Figure]:
    """the same for tasks whose ids are far apart, against ids in a row"""
    grown = []
    for gap in (1, SPARSE[1]):
        ours, theirs = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.get_context("spawn").Process(target=_play_ids, args=(theirs, gap))
        child.start()
        theirs.close()
        grown.append(ours.recv())
        child.join()
    (dense, _), (far, worst_ms) = grown
    return [
        Figure("ids 4,096 apart: kept, against ids in a row", far / dense, "x", target=MOST_SPARSE_TIMES, at_most=True),
        Figure("ids 4,096 apart: worst event", worst_ms, "ms", target=MOST_MS, at_most=True),
    ]


ROWS: Rows = {"wire": wire, "sparse": sparse}

if __name__ == "__main__":
    main("perf.bounds", ROWS)
