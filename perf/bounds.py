"""What one peer can take: bytes that the scheduler keeps per byte that it was sent, and the longest single event.

Each input is played to a scheduler's remote side (sessions, core, store) in a process of its own, without a socket: the
frames go in one by one, and after each the loop's turns are taken until nothing is left to do. An event is one message
or one turn, and takes what its thread takes, without what others do on the machine meanwhile. Kept is what the process
and its segments have grown by when all is done, beyond what a small input of the same kind leaves. A peer's unread
answers are thrown away, as a socket would. Where a bound of its own holds, since few bytes name what is large, the
figure is all that is kept when there are as many as there may be.

A peer of this host writes into its rings as fast as they are read, and an event is one run of the pump; or it joins and
leaves beside many others.
"""

import gc
import multiprocessing
import os
import secrets
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from hashlib import blake2b
from multiprocessing.connection import Connection
from typing import Any

from perf.command import Rows, main
from perf.report import Figure
from scaler._native import (
    CHILDREN_BYTES,
    HEADERS_OFFSET,
    KIND_CANCEL,
    KIND_FUNCTION,
    KIND_TASK,
    MOST_INPUTS,
    PAGE,
    RING_HEADER_BYTES,
    Children,
    Mappings,
    Pump,
    Ring,
    RingOutlet,
    SchedulerCore,
    Segment,
    Store,
    lay_out_peer,
    pack_inputs,
    pack_supply,
    peer_segment_bytes,
)
from scaler.colocation.names import new_epoch, object_folder, sweep
from scaler.protocol import frames
from scaler.protocol.codec import encode
from scaler.protocol.frames import UNNUMBERED, Body, Chunk, Frame, Function, Functions, Hello, Role, Tasks
from scaler.session.remote_peers import RemotePeers
from scaler.session.session_at_scheduler import HostObjects

BITS = 6
RING_BYTES, CONTROL_BYTES = 1 << 18, 1 << 16
FIRST = BITS << 40
COUNT = 250_000
LARGE = 30_000  # of an input that is handed in
MANY_PEERS = 5000
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


def handed_in(tasks: int) -> Bodies:
    """Tasks that all wait for the same inputs, as many as a task may have, and then these."""
    yield inputs_named(tasks)
    for number in range(1, MOST_INPUTS + 1):
        yield Tasks(
            tasks=array("Q", [FIRST + number]).tobytes(), functions=bytes(4), flags=b"\x20",
            ends=array("I", [16 + LARGE]).tobytes(), payload=pack_supply(0) + bytes(LARGE),
        )  # fmt: skip


def inputs_named(tasks: int) -> Tasks:
    head = pack_inputs(list(range(FIRST + 1, FIRST + MOST_INPUTS + 1)), 0, 0, False)
    numbers = range(FIRST + MOST_INPUTS + 1, FIRST + MOST_INPUTS + 1 + tasks)
    return Tasks(
        tasks=array("Q", numbers).tobytes(), functions=array("I", [1] * tasks).tobytes(), flags=b"\x20" * tasks,
        ends=array("I", range(len(head), len(head) * (tasks + 1), len(head))).tobytes(), payload=head * tasks,
    )  # fmt: skip


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

COUNTED: dict[str, tuple[Role, Callable[[int], Bodies], int, float]] = {  # and how many MB may be kept of it
    "60 tasks of the same 400 inputs of 30 kB": (Role.CLIENT, handed_in, 60, 2200.0),  # a client's quota
    "objects of 2 GB offered, as many as a session may": (
        Role.CLIENT, lambda n: (frames.Offer(FIRST | i, 2 << 30) for i in range(1, n + 1)), 2000, 40.0
    ),
}  # fmt: skip


def _own_bytes() -> int:
    """What this process has resident of its own, without its segments."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon:"))


class Played:
    """A scheduler's remote side, and one peer that says what it is given."""

    def __init__(self, role: Role) -> None:
        self.epoch = new_epoch()
        self.core = SchedulerCore(1, self.epoch, object_folder())
        store = Store(self.epoch, self.core.own_tag, object_folder())
        self.core.edges.store = store
        self.remote = RemotePeers(
            self.core, self.epoch, "door", HostObjects(store, Mappings(self.epoch, object_folder())), queue_size=1000,
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
        start_s = time.thread_time()
        what()
        self.worst_s = max(self.worst_s, time.thread_time() - start_s)

    def kept_bytes(self) -> int:
        gc.collect()
        names = [name for name in os.listdir("/dev/shm") if name.startswith(f"scaler-{self.epoch}-")]
        return _own_bytes() + sum(os.stat(f"/dev/shm/{name}").st_blocks * 512 for name in names)


def _play(answer: Connection, what: str) -> None:
    role, make, count = INPUTS[what] if what in INPUTS else COUNTED[what][:3]
    small = Played(role)
    for body in make(min(count, SMALL) if what in INPUTS else 1):
        small.say(body)
    played = Played(role)
    before, sent = played.kept_bytes(), played.sent
    for body in make(count):
        played.say(body)
    kept = max(0, played.kept_bytes() - before)
    answer.send((kept / (played.sent - sent) if what in INPUTS else kept / 1e6, 1000 * played.worst_s))
    sweep(small.epoch)
    sweep(played.epoch)


def wire(links: tuple[str, ...]) -> list[Figure]:
    """bytes kept per byte sent by a peer elsewhere, and its worst single event"""
    figures = []
    for what in (*INPUTS, *COUNTED):
        kept, worst_ms = _in_child(_play, what)
        if what in INPUTS:
            figures.append(Figure(f"{what}: kept", kept, "x", target=MOST_TIMES, at_most=True))
        else:
            figures.append(Figure(f"{what}: kept", kept, "MB", target=COUNTED[what][3], at_most=True))
        figures.append(Figure(f"{what}: worst event", worst_ms, "ms", target=MOST_MS, at_most=True))
    return figures


def _in_child(play: Callable[..., None], what: object) -> Any:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("spawn").Process(target=play, args=(theirs, what))
    child.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        child.join()


SPARSE = (20_000, 4096)


def _play_ids(answer: Connection, gap: int) -> None:
    warm = Played(Role.CLIENT)
    warm.say(tasks(SMALL, gap))
    played = Played(Role.CLIENT)
    before = played.kept_bytes()
    played.say(tasks(SPARSE[0], gap))
    answer.send((played.kept_bytes() - before, 1000 * played.worst_s))
    sweep(warm.epoch)
    sweep(played.epoch)


def sparse(links: tuple[str, ...]) -> list[Figure]:
    """the same for tasks whose ids are far apart, against ids in a row"""
    (dense, _), (far, worst_ms) = (_in_child(_play_ids, gap) for gap in (1, SPARSE[1]))
    return [
        Figure("ids 4,096 apart: kept, against ids in a row", far / dense, "x", target=MOST_SPARSE_TIMES, at_most=True),
        Figure("ids 4,096 apart: worst event", worst_ms, "ms", target=MOST_MS, at_most=True),
    ]


class LocalPeer:
    """What a peer of this host has in its hands."""

    def __init__(self, pump: Pump, bits: int, worker_tag: int = 0) -> None:
        size = CHILDREN_BYTES if worker_tag else 0
        self.memory = Segment.private(peer_segment_bytes(RING_BYTES, CONTROL_BYTES, size))
        lay_out_peer(self.memory, bytes(16), RING_BYTES, CONTROL_BYTES, size)
        rings, offset = [], PAGE
        for number, capacity in enumerate((RING_BYTES, RING_BYTES, CONTROL_BYTES, CONTROL_BYTES)):
            rings.append(Ring(self.memory, HEADERS_OFFSET + number * RING_HEADER_BYTES, capacity, offset))
            offset += capacity
        self.tasks, _, self.up, _ = rings
        self.children = Children(self.memory) if worker_tag else None
        self.peer = pump.add(self.memory, not bits, -1, client_bits=bits, worker_tag=worker_tag)
        self.number = 0
        if bits:
            self.up.write(KIND_FUNCTION, 0, digest(b"f") + b"f", function=1)

    def next(self) -> int:
        self.number += 1
        return FIRST | self.number


def cancels(peer: LocalPeer) -> None:
    while peer.up.write(KIND_CANCEL, peer.next()) is not None:
        pass


def small_tasks(peer: LocalPeer) -> None:
    while peer.tasks.write(KIND_TASK, peer.next(), b"x", function=1) is not None:
        pass


def children(peer: LocalPeer) -> None:
    assert peer.children is not None
    while peer.children.put(peer.next(), bytes(400)):
        pass


FLOODS = {
    "cancels, the control ring always full": cancels,
    "tasks, the ring always full": small_tasks,
    "tasks of a task, always as many as there is room for": children,
}


def _flood(answer: Connection, what: str) -> None:
    core = SchedulerCore(1, new_epoch(), object_folder())
    pump = Pump(core, Segment.private(PAGE), os.eventfd(0, os.EFD_NONBLOCK))
    workers = [LocalPeer(pump, 0) for _ in range(200)]
    peer = LocalPeer(pump, BITS, workers[0].peer.tag if what.startswith("tasks of") else 0)
    pump.run(True)
    worst_s = 0.0
    for _ in range(300):
        FLOODS[what](peer)
        start_s = time.thread_time()
        pump.run(True)
        worst_s = max(worst_s, time.thread_time() - start_s)
    answer.send(1000 * worst_s)


def _come_and_go(answer: Connection, role: str) -> None:
    """The longest that one of many takes to come or to go."""
    core, worst_s = SchedulerCore(1, new_epoch(), object_folder()), 0.0
    indices: deque[int] = deque()
    for number in range(2 * MANY_PEERS):
        outlets = RingOutlet(Ring(Segment.private(8192), 0, 4096)), RingOutlet(Ring(Segment.private(8192), 0, 4096))
        start_s = time.thread_time()
        if role == "worker":
            indices.append(core.on_worker_joined(*outlets))
        else:
            indices.append(core.on_client_joined(number + 1, *outlets))
        worst_s = max(worst_s, time.thread_time() - start_s)
        if len(indices) > MANY_PEERS:
            start_s = time.thread_time()
            (core.on_worker_left if role == "worker" else core.on_client_left)(indices.popleft(), 0)
            worst_s = max(worst_s, time.thread_time() - start_s)
    answer.send(1000 * worst_s)


def local(links: tuple[str, ...]) -> list[Figure]:
    """the worst single event that a peer of this host brings about"""
    figures = [
        Figure(f"{what}: worst event", _in_child(_flood, what), "ms", target=MOST_MS, at_most=True) for what in FLOODS
    ]
    return figures + [
        Figure(f"one of {MANY_PEERS:,} {role}s comes or goes", _in_child(_come_and_go, role), "ms", target=MOST_MS,
               at_most=True)
        for role in ("worker", "client")
    ]  # fmt: skip


ROWS: Rows = {"wire": wire, "sparse": sparse, "local": local}

if __name__ == "__main__":
    main("perf.bounds", ROWS)
