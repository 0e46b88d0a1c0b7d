"""A scheduler, relays, clients and workers in one process, joined by links that lose all that is under way when cut.

No socket, no thread, no clock: the test says who does something next. Clients and workers hold their ends of real
rings, so what is tried is all that stands between them: relays, sessions, frames, the core.
"""

import os
import secrets
import sys
from collections import deque
from dataclasses import replace
from hashlib import blake2b

from scaler._native import (
    FLAG_SEGMENT,
    HEADERS_OFFSET,
    KIND_CANCEL,
    KIND_FUNCTION,
    KIND_MAPPED,
    KIND_RESULT,
    KIND_TASK,
    PAGE,
    RECORD_HEADER_BYTES,
    RING_HEADER_BYTES,
    Relay,
    RelayPeer,
    Ring,
    SchedulerCore,
    Segment,
    lay_out_peer,
    peer_segment_bytes,
)
from scaler.link.names import make_segment, new_life, segment_name
from scaler.protocol.codec import decode, encode
from scaler.protocol.frames import Frame, Hello, Role, Welcome
from scaler.relay.client_side import ClientSide
from scaler.relay.cluster_side import ClusterSide
from scaler.relay.relay import RelaySide
from scaler.scheduler.remote_peers import RemotePeers

CONTROL_BYTES = 4096


class Rings:
    """A peer's ends of the rings in a segment of its own."""

    def __init__(self, ring_bytes: int, control_bytes: int = CONTROL_BYTES) -> None:
        self.memory = Segment.private(peer_segment_bytes(ring_bytes, control_bytes))
        lay_out_peer(self.memory, bytes(16), ring_bytes, control_bytes)
        made, offset = [], PAGE
        for i, size in enumerate((ring_bytes, ring_bytes, control_bytes, control_bytes)):
            made.append(Ring(self.memory, HEADERS_OFFSET + i * RING_HEADER_BYTES, size, offset))
            offset += size
        self.tasks, self.results, self.up, self.down = made
        self.most_inline = ring_bytes // 8 - RECORD_HEADER_BYTES


def to_place(life: str, payload: bytes) -> bytes:
    """Put a large payload into a segment, as clients and workers do."""
    segment = make_segment(segment_name(life), len(payload))
    memoryview(segment)[:] = payload
    return len(payload).to_bytes(8, "little") + segment.name.encode()


def from_place(place: bytes) -> bytes:
    return bytes(memoryview(Segment.open(place[8:].decode())))


class Link:
    """One peer's connection to the scheduler, and the session that goes on over the next one."""

    def __init__(self, world: "World", hello: Hello) -> None:
        self.world, self.hello = world, hello
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        self.welcome: Welcome | None = None
        self.side: RelaySide
        self.connect()

    def connect(self) -> None:
        self.routing_id = secrets.token_bytes(5)
        self.world.links[self.routing_id] = self
        self.is_greeted = False
        self.up.append(encode(Frame(self.hello)))

    def cut(self) -> None:
        """Lose all that is under way; say hello again on a new connection."""
        del self.world.links[self.routing_id]
        self.up.clear()
        self.down.clear()
        if self.welcome is not None:  # else nothing has been said but hello
            self.side.talk.outbox.clear()
            self.hello = replace(self.hello, session=self.welcome.session, received=self.side.talk.ledger.received)
        self.connect()

    def speak(self) -> None:
        """The relay's turn: take what its peers say, and hand the frames to the network."""
        self.side.relay.run(True)
        self.side.read_on()
        if self.is_greeted:
            self.side.collect()
            self.up.extend(self.side.talk.outbox)
            self.side.talk.outbox.clear()

    def carry_up(self) -> None:
        """One message reaches the scheduler."""
        if self.up:
            self.world.remote.on_message(self.routing_id, [self.up.popleft()], self.world.now_s)
            self.world.core.step(0)
            self.world.remote.flush()

    def carry_down(self) -> None:
        """One message reaches the peer."""
        if not self.down:
            return
        data = self.down.popleft()
        body = decode(data).body
        if isinstance(body, Welcome):
            if self.welcome is not None:
                assert body.resumed
                self.side.talk.resume(body.received)
            self.welcome, self.is_greeted = body, True
        else:
            self.side.on_frame(data)
            assert self.side.over is None, self.side.over


class World:
    """The scheduler's side; `peers` holds the links of all clients and clusters."""

    def __init__(self) -> None:
        self.life = new_life()
        self.core = SchedulerCore()
        self.links: dict[bytes, Link] = {}
        self.now_s = 0.0
        self.remote = RemotePeers(
            self.core, self.life, "door", queue_size=1000, client_timeout_s=60, worker_timeout_s=60, heartbeat_s=2,
            send=self._send, on_change=lambda: None, on_shutdown=lambda: "not here",
        )  # fmt: skip

    def _send(self, routing_id: bytes, data: bytes) -> None:
        if routing_id in self.links:
            self.links[routing_id].down.append(data)

    def tick(self) -> None:
        """A fiftieth of a second goes by: acknowledgements."""
        self.now_s += 0.02
        self.remote.on_tick(self.now_s)
        self.remote.flush()
        for link in list(self.links.values()):
            if link.is_greeted:
                link.side.talk.acknowledge()

    def sweep(self) -> list[str]:
        """Unlink what the core gave up; names of segments that are left."""
        for name in self.core.unlink:
            Segment.unlink(name)
        self.core.unlink.clear()
        return [name for name in os.listdir("/dev/shm") if name.startswith(f"scaler-{self.life}")]


def hello(role: Role, bits: int = 0) -> Hello:
    return Hello(
        int(role), sys.version_info.major, sys.version_info.minor, secrets.token_bytes(16), bits, host_name="elsewhere"
    )


class RemoteClient:
    """Submits, cancels, and keeps the answers."""

    def __init__(self, world: World, bits: int, ring_bytes: int = 8192) -> None:
        self.rings, self.bits, self.number = Rings(ring_bytes), bits, 0
        self.life = world.life
        relay = Relay(Segment.private(4096), -1, True)
        self.link = Link(world, hello(Role.CLIENT, bits))
        peer = relay.add(self.rings.memory, -1)
        self.link.side = ClientSide(relay, world.life, bits, peer, "client", 1)
        self.answers: list[tuple[int, bytes]] = []
        self.functions: set[int] = set()

    def submit(self, function: int, payload: bytes) -> int | None:
        """The task's id, None while a ring is full."""
        if function not in self.functions:
            code = b"code %d" % function
            announced = blake2b(code, digest_size=16).digest() + code
            if self.rings.up.write(KIND_FUNCTION, 0, announced, function=function) is None:
                return None
            self.functions.add(function)
        flags = 0
        if len(payload) > self.rings.most_inline:
            payload, flags = to_place(self.life, payload), FLAG_SEGMENT
        task = self.bits << 40 | self.number + 1
        if self.rings.tasks.write(KIND_TASK, task, payload, function=function, flags=flags) is None:
            if flags:
                Segment.unlink(payload[8:].decode())
            return None
        self.number += 1
        return task

    def cancel(self, task: int) -> bool:
        return self.rings.up.write(KIND_CANCEL, task) is not None

    def step(self) -> None:
        """Take one answer."""
        record = self.rings.results.read()
        if record is not None:
            payload = record[2]
            if record[4] & FLAG_SEGMENT:
                payload = from_place(payload)
                assert self.rings.up.write(KIND_MAPPED, record[1]) is not None
            self.answers.append((record[1], payload))


class RemoteWorker:
    """Answers each task with its payload turned round."""

    def __init__(self, cluster: "RemoteCluster", ring_bytes: int) -> None:
        self.rings, self.life = Rings(ring_bytes), cluster.life
        self.peer = cluster.link.side.relay.add(self.rings.memory, -1)
        self.functions: dict[int, bytes] = {}
        self.ran: list[int] = []

    def step(self) -> None:
        """Run one task, if there is one and room for its result."""
        while (said := self.rings.down.read()) is not None:
            self.functions[said[3]] = said[2]
        record = self.rings.tasks.read(claim=True)
        if record is None:
            return
        _, task, payload, function, flags, _, attempt, items, _ = record
        assert function in self.functions
        if flags & FLAG_SEGMENT:
            name = payload[8:].decode()
            payload = from_place(payload)
            Segment.unlink(name)
        self.ran.append(task)
        result, flags = payload[::-1], 0
        if len(result) > self.rings.most_inline:
            result, flags = to_place(self.life, result), FLAG_SEGMENT
        while self.rings.results.write(
            KIND_RESULT, task, result, function=function, flags=flags, attempt=attempt, items=items
        ) is None:  # fmt: skip
            self.link_speaks()

    def link_speaks(self) -> None:
        raise AssertionError("a result ring is full: let the relay speak more often")


class RemoteCluster:
    """The relay of a host and its workers."""

    def __init__(self, world: World, n_workers: int, ring_bytes: int = 65536) -> None:
        self.life = world.life
        self.broken: list[RelayPeer] = []  # whom it wants to be hung up on
        relay = Relay(Segment.private(4096), -1, False)
        self.link = Link(world, hello(Role.CLUSTER))
        side = self.link.side = ClusterSide(relay, world.life, self.broken.append)
        self.workers = [RemoteWorker(self, ring_bytes) for _ in range(n_workers)]
        for number, worker in enumerate(self.workers):
            side.on_joined(worker.peer, f"worker-{number}", number)
