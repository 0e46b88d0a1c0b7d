"""A scheduler, relays, clients and workers in one process, joined by links that lose all that is under way when cut.

No socket, no thread, no clock: the test says who does something next. Clients and workers hold their ends of real
rings, so what is tried is all that stands between them: relays, sessions, frames, the core.

Rule 1: whoever behaves is understood. Each frame goes through its receiver's own checks, each record that comes out of
        a ring through those of its reader; if one is refused that nobody has damaged or lost, the test fails. A link
        whose peer is to say what makes no sense is marked as `is_hostile`.
"""

import secrets
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from itertools import chain
from typing import Any, cast

from scaler._native import (
    FLAG_INPUTS,
    FLAG_OBJECTS,
    FLAG_RESENT,
    HEADERS_OFFSET,
    KIND_CANCEL,
    KIND_FORGET,
    KIND_FREED,
    KIND_FUNCTION,
    KIND_RELEASE,
    KIND_RESULT,
    KIND_TASK,
    PAGE,
    PLACE_HELD,
    PLACE_NEW,
    RECORD_HEADER_BYTES,
    RING_HEADER_BYTES,
    Mappings,
    RecordCopy,
    RecordRun,
    Relay,
    RelayPeer,
    Ring,
    SchedulerCore,
    Segment,
    Store,
    find_record_error,
    join_places,
    lay_out_peer,
    peer_segment_bytes,
    split_places,
)
from scaler.address import Endpoint
from scaler.colocation.names import new_epoch, object_folder, sweep
from scaler.objects.arrival import Arrival
from scaler.objects.dialer import Giver, ObjectDialer
from scaler.objects.port import ObjectPort
from scaler.objects.relay_transport import RelayTransport
from scaler.objects.stream import token_for
from scaler.protocol.codec import decode, encode
from scaler.protocol.frames import Frame, Hello, Role, Welcome
from scaler.session.client_at_relay import ClientAtRelay
from scaler.session.client_relay import RELAY_TAG
from scaler.session.cluster_at_relay import ClusterAtRelay
from scaler.session.cluster_end import store_tag, worker_tag
from scaler.session.ledger import NumberError
from scaler.session.remote_peers import RemotePeers
from scaler.session.session_at_relay import SessionAtRelay
from scaler.session.session_at_scheduler import HostObjects

CONTROL_BYTES = 4096
FIRST_LARGE = 100


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


class Host:
    """One peer's machine: its objects, and those of the relay there."""

    def __init__(self) -> None:
        self.epoch = new_epoch()
        self.relay_store = self.store(RELAY_TAG)
        self.mappings = Mappings(self.epoch, object_folder())

    def store(self, tag: int) -> Store:
        return Store(self.epoch, tag, object_folder())

    def read(self, payload: bytes) -> bytes:
        """What the one object of a payload holds, and then the rest of the payload."""
        (place,), rest = split_places(payload)
        return bytes(self.mappings.lend_at(place, False).open(False)) + rest

    def read_task(self, payload: bytes, flags: int) -> bytes:
        """What a task is to work on: its object, or its own bytes, or the result that it waited for."""
        if not flags & FLAG_INPUTS:
            return self.read(payload) if flags & FLAG_OBJECTS else payload
        data, rest = b"", payload
        if flags & FLAG_OBJECTS:
            data, rest = self.read(payload)[: split_places(payload)[0][0][3]], split_places(payload)[1]
        count, section_bytes = struct.unpack_from("<II", rest)
        if count and section_bytes:
            (size,) = struct.unpack_from("<I", rest, 8)
            data += rest[16 : 16 + size]
        return data + rest[8 + section_bytes :]


def hear_freed(ids: bytes, store: Store) -> None:
    for number in memoryview(ids).cast("Q"):
        assert store.free(number), "told twice"


class Port:
    """As ObjectPort, without a socket: who comes here is a Dialer of this process."""

    seal = b""  # connections are not sealed

    def __init__(self, number: int) -> None:
        self.key, self.port = secrets.token_bytes(16), number
        self.served: dict[bytes, list[memoryview]] = {}
        self.expected: dict[bytes, Arrival] = {}

    def serve(self, object_id: int, view: memoryview, *, is_result: bool = False) -> bytes:
        token = token_for(self.key, object_id, is_result=is_result)
        self.served.setdefault(token, []).append(view)
        return token

    def withdraw(self, object_id: int, *, is_result: bool = False) -> None:
        token = token_for(self.key, object_id, is_result=is_result)
        if self.served[token].pop() and not self.served[token]:
            del self.served[token]

    def expect(self, token: bytes, arrival: Arrival) -> None:
        self.expected[token] = arrival

    def forget(self, token: bytes) -> None:
        del self.expected[token]

    def admit(self, number: int) -> None:
        pass

    def dismiss(self, number: int) -> None:
        pass

    def key_for(self, number: int) -> bytes | None:
        return None

    def close(self) -> None:
        pass


class Dialer:
    """As ObjectDialer, without a thread: the test says what comes to what end."""

    def __init__(self, ports: dict[int, Port]) -> None:
        self.home, self.is_usable, self.ports = ("home", 0), True, ports
        self.jobs: list[tuple[Callable[[], bool], Callable[[bool], None]]] = []

    def giver(self, token: bytes) -> Giver:
        return Giver(cast(Endpoint, self.home), token)

    def fetch(self, arrival: Arrival, givers: list[Giver], done: Callable[[bool], None]) -> None:
        def job() -> bool:
            for (_, number), token, _ in givers:
                views = self.ports[number].served.get(token) if number in self.ports else None
                room = arrival.begin(socket.socket())
                if views and room is not None:
                    room[:] = views[0]
                    arrival.note(arrival.total)
                arrival.end()
                if arrival.is_whole:
                    return True
            return False

        self.jobs.append((job, done))

    def bring(self, view: memoryview, token: bytes, done: Callable[[bool], None]) -> None:
        def job() -> bool:
            arrival = self.ports[0].expected.get(token)
            if arrival is None or not arrival.here:
                return arrival is not None
            if not arrival.is_whole:
                room = arrival.begin(socket.socket())
                if room is None:
                    return False
                room[:] = view
                arrival.note(arrival.total)
                arrival.end()
            return True

        self.jobs.append((job, done))

    def step(self, works: bool, number: int = 0) -> None:
        """One of the transfers comes to an end."""
        if self.jobs:
            job, done = self.jobs.pop(number % len(self.jobs))
            done(works and job())

    def close(self) -> None:
        self.jobs.clear()


class Link:
    """One peer's connection to the scheduler, and the session that goes on over the next one."""

    def __init__(self, world: "World", hello: Hello) -> None:
        self.world, self.hello = world, hello
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        self.welcome: Welcome | None = None
        self.side: SessionAtRelay
        self.dialer: Dialer | None = None
        self.connect()

    def carry_objects(self, port: Port | None, store: Store) -> None:
        """Large objects go over connections of their own, from here on."""
        self.dialer = Dialer(self.world.ports)
        if port is not None:
            self.world.ports[port.port] = port
        self.side.use(RelayTransport(cast(ObjectDialer, self.dialer), store, cast(ObjectPort, port), "cluster"))

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

    is_over = False  # ended for good: only a link that may give up is
    is_hostile = False  # says what it likes; else what it says is not refused

    def speak(self) -> None:
        """The relay's turn: take what its peers say, and hand the frames to the network."""
        self.side.relay.run(True)
        self.side.attend(self.world.now_s)
        if self.dialer is not None and self.world.transfers_end:
            self.dialer.step(True)
        if self.is_greeted:
            self.side.collect()
            self.up.extend(self.side.talk.outbox)
            self.side.talk.outbox.clear()

    def carry_up(self) -> None:
        """One message reaches the scheduler."""
        if self.up:
            self.world.remote.on_message(self.routing_id, [self.up.popleft()], self.world.now_s)
            self.world.core.step(0)
            self.world.flush()

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


class ListeningPeers(RemotePeers):
    """Notes whose frames were refused, and why."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.refused: list[tuple[bytes, Exception]] = []

    def _drop(self, routing_id: bytes, link: Any, error: Exception, now_s: float) -> None:
        self.refused.append((routing_id, error))
        super()._drop(routing_id, link, error, now_s)


def read(ring: Ring, **how: bool) -> RecordCopy | None:
    """A record, which is one that its reader takes."""
    record = ring.read(**how)
    if record is not None and record.kind in (KIND_TASK, KIND_RESULT, KIND_FUNCTION):
        error = find_record_error(record.kind, record.flags, record.status, record.payload)
        assert error is None, f"a record that its reader refuses: {error}"
    return record


class World:
    """The scheduler's side; `peers` holds the links of all clients and clusters."""

    link_class: type[Link] = Link

    def __init__(self, timeout_s: float = 60.0, heartbeat_s: float = 2.0) -> None:
        self.timeout_s, self.heartbeat_s = timeout_s, heartbeat_s
        self.ports: dict[int, Port] = {}  # the scheduler's, then those of the clusters
        self.links: dict[bytes, Link] = {}
        self.now_s = 0.0
        self.transfers_end = True  # whenever a relay has its turn; else when the test says so
        self.lives: list[str] = []  # of schedulers
        self.start()

    def start(self) -> None:
        """A scheduler, at the place of any before, which has been killed: with it go its memory and all connections."""
        self.links.clear()
        self.epoch = new_epoch()
        self.lives.append(self.epoch)
        self.core = SchedulerCore(len(self.lives), self.epoch, object_folder())
        self.ports[0] = Port(0)
        self.store = Store(self.epoch, self.core.own_tag, object_folder())
        self.objects = HostObjects(self.store, Mappings(self.epoch, object_folder()))
        self.objects.port = cast(ObjectPort, self.ports[0])
        self.remote = ListeningPeers(
            self.core, self.epoch, "door", self.objects, queue_size=1000, client_timeout_s=self.timeout_s,
            worker_timeout_s=self.timeout_s, heartbeat_s=self.heartbeat_s, ping_timeout_s=self.timeout_s / 2,
            send=self._send, on_change=lambda: None, on_shutdown=lambda: "not here",
        )  # fmt: skip

    def flush(self) -> None:
        self.remote.flush(self.now_s)
        refused, self.remote.refused[:] = list(self.remote.refused), []
        for routing_id, error in refused:
            link = self.links.get(routing_id)
            if link is not None and not link.is_hostile and not isinstance(error, NumberError):
                raise AssertionError(f"the scheduler refuses what a relay says: {error!r}") from error

    def _send(self, routing_id: bytes, data: bytes) -> bool:
        if routing_id in self.links:
            self.links[routing_id].down.append(data)
        return routing_id in self.links

    def tick(self) -> None:
        """A fiftieth of a second goes by: acknowledgements. Whatever has happened, the core agrees with itself."""
        self.core.check()
        self.now_s += 0.02
        for number in self.core.take_freed():
            assert self.store.free(number)
        self.core.step(0)
        self.remote.on_tick(self.now_s)
        self.flush()
        for link in list(self.links.values()):
            if link.is_greeted:
                link.side.talk.acknowledge()

    def left_over(self, *peers: "RemoteClient | RemoteCluster") -> list[int]:
        """How many objects each store has, when all must be gone; removes what the stores keep to be used again."""
        stores = [self.store, *(store for peer in peers for store in peer.stores)]
        counts = [len(self.core.objects), *map(len, stores)]
        for epoch in chain(self.lives, *(peer.lives for peer in peers)):
            sweep(epoch)
        return counts


def hello(role: Role, bits: int = 0) -> Hello:
    return Hello(
        int(role), sys.version_info.major, sys.version_info.minor, secrets.token_bytes(16), bits, host_name="elsewhere"
    )


@dataclass
class Submitted:
    """A task as its client has it, until it is answered."""

    function: int
    payload: bytes = b""
    header: bytes = b""  # what it has to do with other tasks
    leader: int = 0  # on whose result it works
    follower: int = 0  # which works on its result
    is_cancelled: bool = False


class RemoteClient:
    """Submits, cancels, and keeps the answers; says what is open to the next scheduler."""

    def __init__(self, world: World, bits: int, ring_bytes: int = 8192) -> None:
        self.world, self.bits, self.number, self.ring_bytes = world, bits, 0, ring_bytes
        self.answers: list[tuple[int, bytes]] = []
        self.statuses: dict[int, int] = {}
        self.open: dict[int, Submitted] = {}
        self.functions: dict[int, int] = {}  # which -> the number it is announced under
        self.names: dict[int, int] = {}  # number -> which, of all that were ever announced
        self.last_number = 0
        self.unsaid: deque[tuple[Any, ...]] = deque()  # how records are to be made that found no room
        self.lives: list[str] = []
        self.connect()

    def connect(self) -> None:
        """New rings and a new relay: a session."""
        self.rings = Rings(self.ring_bytes)
        self.host = Host()
        self.lives.append(self.host.epoch)
        self.store = self.host.store(self.bits)
        self.stores = (self.store, self.host.relay_store)
        relay = Relay(Segment.private(4096), -1, True)
        self.link = self.world.link_class(self.world, hello(Role.CLIENT, self.bits))
        peer = relay.add(self.rings.memory, -1)
        self.link.side = ClientAtRelay(relay, self.host.relay_store, self.host.mappings, self.bits, peer, "client", 1)
        self.held: tuple[int, int, int, int, int] | None = None  # an object that it may name again
        self.unreleased: list[int] = []

    def submit(self, function: int, payload: bytes, hold: bool = False) -> int | None:
        """The task's id, None while a ring is full. With `hold` the payload stays, to be submitted again.

        Functions from FIRST_LARGE on carry an object.
        """
        if not self._is_announced(function):
            return None
        task = self.bits << 40 | self.number + 1
        if not self._send_task(task, self.functions[function], payload, hold=hold):
            return None
        self.number += 1
        self.open[task] = Submitted(self.functions[function], payload)
        return task

    def submit_pair(self, function: int, payload: bytes) -> tuple[int, int] | None:
        """A task, and one that works on its result, which may be said later. None while a ring is full."""
        if not self._is_announced(function):
            return None
        number, header = self.functions[function], struct.pack("<IIIHH", 0, 0, 1, 0, 0)
        first, second = self.bits << 40 | self.number + 1, self.bits << 40 | self.number + 2
        if not self._send_task(first, number, payload, header):
            return None
        self.number += 2
        behind = struct.pack("<IIIHHQ", 1, 1, 0, 0, 0, first)
        self.open[first] = Submitted(number, payload, header, follower=second)
        self.open[second] = Submitted(number, b"", behind, leader=first)
        self._say_or_keep(second, number, b"", behind)
        return first, second

    def submit_held(self) -> int | None:
        """A task of the object that was submitted last to be held."""
        assert self.held is not None
        task, function = self.bits << 40 | self.number + 1, next(iter(self.functions.values()))
        if not self._write(task, function, join_places([self.held]), FLAG_OBJECTS):
            return None
        self.number += 1
        return task

    def _is_announced(self, function: int) -> bool:
        """Whether it is, by now. False while a ring is full."""
        if not self._say_unsaid():
            return False
        if function not in self.functions:
            number = self.last_number + 1
            if not self._announce(function, number):
                return False
            self.last_number = self.functions[function] = number
            self.names[number] = function
        return True

    def _announce(self, function: int, number: int) -> bool:
        code, flags, place = b"code %d" % function, 0, None
        digest = blake2b(code, digest_size=16).digest()
        if function >= FIRST_LARGE:
            place = self.store.put(code * 20_000, PLACE_NEW)
            code, flags = join_places([place]), FLAG_OBJECTS
        is_written = self.rings.up.write(KIND_FUNCTION, 0, digest + code, function=number, flags=flags) is not None
        if place is not None and not is_written:
            self.store.free(place[0])
        return is_written

    def _send_task(
        self, task: int, number: int, payload: bytes, header: bytes = b"", *, flags: int = 0, hold: bool = False
    ) -> bool:
        place = None
        if hold or len(header) + len(payload) > self.rings.most_inline:
            place = self.store.put(payload, PLACE_NEW | PLACE_HELD if hold else PLACE_NEW)
            payload, flags = join_places([place], header), flags | FLAG_OBJECTS
        else:
            payload = header + payload
        is_written = self._write(task, number, payload, flags | FLAG_INPUTS if header else flags)
        if place is not None and not is_written:
            self.store.free(place[0])
        elif hold and place is not None:
            self.release_held()
            self.held = (*place[:4], 0)
        return is_written

    def _write(self, task: int, number: int, payload: bytes, flags: int) -> bool:
        return self.rings.tasks.write(KIND_TASK, task, payload, function=number, flags=flags) is not None

    def _say_or_keep(self, task: int, number: int, payload: bytes, header: bytes, flags: int = 0) -> None:
        self.unsaid.append((partial(self._send_task, flags=flags), task, number, payload, header))
        self._say_unsaid()

    def _say_unsaid(self) -> bool:
        while self.unsaid:
            say, *arguments = self.unsaid[0]
            if not say(*arguments):
                return False
            self.unsaid.popleft()
        return True

    def forget(self, function: int) -> bool:
        """No more of this function's tasks. False while the ring is full."""
        if not self._say_unsaid() or not self._forget(self.functions[function]):
            return False
        del self.functions[function]
        return True

    def _forget(self, number: int) -> bool:
        return self.rings.tasks.write(KIND_FORGET, 0, function=number) is not None

    def release_held(self) -> None:
        if self.held is not None:
            self.unreleased.append(self.held[0])
            self.held = None

    def cancel(self, task: int) -> bool:
        if not self._say_unsaid() or self.rings.up.write(KIND_CANCEL, task) is None:
            return False
        if task in self.open:
            self.open[task].is_cancelled = True
        return True

    def step(self) -> None:
        """Take one answer."""
        self._say_unsaid()
        if self.unreleased and self._say_released(self.unreleased[:1]):
            del self.unreleased[0]
        while (said := read(self.rings.down)) is not None:
            if said.kind == KIND_FREED:
                hear_freed(said.payload, self.store)
        record = read(self.rings.results)
        if record is not None:
            self._take(record)

    def _take(self, record: RecordCopy) -> None:
        task, payload = record.task, record.payload
        if record.flags & FLAG_OBJECTS:
            self.unreleased.append(split_places(payload)[0][0][0])
            payload = self.host.read(payload)
        self.answers.append((task, payload))
        self.statuses[task] = record.status
        self.open.pop(task, None)

    def _say_released(self, ids: list[int]) -> bool:
        data = b"".join(number.to_bytes(8, "little") for number in ids)
        return self.rings.tasks.write(KIND_RELEASE, 0, data) is not None

    # another scheduler

    def come_back(self) -> None:
        """Read what had come, and say everything that is open anew."""
        while (record := read(self.rings.results)) is not None:
            self._take(record)
        self.connect()
        self.unsaid.clear()
        for task, one in list(self.open.items()):
            if one.is_cancelled and one.follower not in self.open:
                del self.open[task]
        needed = {one.function for one in self.open.values()}.union(self.functions.values())
        for number in sorted(needed):
            self.unsaid.append((self._announce, self.names[number], number))
        answers = dict(self.answers)
        for task, one in sorted(self.open.items()):
            header = one.header
            if one.follower and one.follower not in self.open:
                header = b""
            elif one.is_cancelled:
                header = struct.pack("<IIIHH", 0, 0, 1, 1, 0)  # an inner one
            elif one.leader in answers:
                header = struct.pack("<IIIHHQ", 1, 1, 0, 8, 0, one.leader)  # it will be handed in
            self._say_or_keep(task, one.function, one.payload, header, FLAG_RESENT)
            if one.leader in answers:
                supply = struct.pack("<IIIHH", 0, 0, 0, 2, self.statuses[one.leader])
                self._say_or_keep(one.leader, 0, answers[one.leader], supply)
        for number in needed.difference(self.functions.values()):
            self.unsaid.append((self._forget, number))
        self._say_unsaid()


class RemoteWorker:
    """Answers each task with its payload turned round."""

    def __init__(self, cluster: "RemoteCluster", ring_bytes: int, control_bytes: int = CONTROL_BYTES) -> None:
        self.rings, self.host = Rings(ring_bytes, control_bytes), cluster.host
        self.peer = cluster.link.side.relay.add(self.rings.memory, -1)
        self.store = self.host.store(worker_tag(self.peer.number))
        self.kept: list[int] = []  # objects it looks at beyond their tasks
        self.functions: dict[int, bytes] = {}
        self.carried: dict[int, list[int]] = {}  # objects of functions that it has looked at, or not yet
        self.ran: list[int] = []
        self.running: tuple[RecordCopy, bytes, bool] | None = (
            None  # claimed, and not answered yet: the record, and its function
        )

    def step(self) -> None:
        """Run one task, if there is one."""
        self.begin()
        self.finish()

    def begin(self) -> None:
        """Take a task, if there is one and none is running."""
        self.hear()
        if self.kept and self.rings.results.write(KIND_RELEASE, 0, self.kept[0].to_bytes(8, "little")) is not None:
            del self.kept[0]
        if self.running is None and (record := read(self.rings.tasks, claim=True, stays=True)) is not None:
            self.running = record, self.functions[record.function], record.function in self.carried

    def hear(self) -> None:
        while (said := read(self.rings.down)) is not None:
            if said.kind == KIND_FREED:
                hear_freed(said.payload, self.store)
            elif said.kind == KIND_FORGET:
                del self.functions[said.function]
                self.kept += self.carried.pop(said.function, [])
            else:
                self.functions[said.function] = said.payload
                if said.flags & FLAG_OBJECTS:
                    self.carried[said.function] = [place[0] for place in split_places(said.payload[16:])[0]]

    def begin_epoch(self) -> None:
        """There is another scheduler: what the one before has announced means nothing any more."""
        self.hear()
        self.functions.clear()
        self.carried.clear()
        self.kept.clear()

    def finish(self) -> None:
        """Answer the task that runs."""
        if self.running is None:
            return
        (record, code, by_transport), self.running = self.running, None
        task, payload, flags = record.task, record.payload, record.flags
        if by_transport:
            assert self.host.read(code[16:]).startswith(b"code ")
        keeps = flags & FLAG_OBJECTS and task % 2
        if keeps:
            self.kept.append(split_places(payload)[0][0][0])
        payload = self.host.read_task(payload, flags)
        self.ran.append(task)
        result, flags = payload[::-1], 0
        if len(result) > self.rings.most_inline:
            result, flags = join_places([self.store.put(result, PLACE_NEW)]), FLAG_OBJECTS
        while self.rings.results.write(
            KIND_RESULT, task, result, function=record.function, flags=flags, attempt=record.attempt,
            items=record.items, detail=int(keeps)
        ) is None:  # fmt: skip
            self.link_speaks()
        self.rings.tasks.step_over()

    def link_speaks(self) -> None:
        raise AssertionError("a result ring is full: let the relay speak more often")


class Stopper:
    """What is asked to stop goes on to its end: what comes of it is dropped like any answer to such a task."""

    next_due_s: float | None = None

    def __init__(self) -> None:
        self.asked: list[tuple[RelayPeer, int, int]] = []

    def stop(self, worker: RelayPeer, task: int, attempt: int) -> None:
        self.asked.append((worker, task, attempt))

    def find_final(self, worker: RelayPeer) -> tuple[int, int] | None:
        return None

    def find_piece_node(self, worker: RelayPeer) -> int | None:
        return None

    def remove(self, worker: RelayPeer) -> RecordRun | None:
        return None

    def attend(self, now_s: float) -> None:
        pass


class RemoteCluster:
    """The relay of a host and its workers."""

    def __init__(
        self, world: World, n_workers: int, ring_bytes: int = 65536, control_bytes: int = CONTROL_BYTES
    ) -> None:
        self.world, self.host = world, Host()
        self.lives = [self.host.epoch]
        self.broken: list[RelayPeer] = []  # whom it wants to be hung up on
        self.relay_stores = [self.host.relay_store]
        self.workers: list[RemoteWorker] = []
        self._connect(Relay(Segment.private(4096), -1, False))
        self.workers += [RemoteWorker(self, ring_bytes, control_bytes) for _ in range(n_workers)]
        for number, worker in enumerate(self.workers):
            self.side.on_joined(worker.peer, f"worker-{number}", number)

    def _connect(self, relay: Relay) -> None:
        self.link = self.world.link_class(self.world, hello(Role.CLUSTER))
        self.link.side = self.side = ClusterAtRelay(
            relay, self.host.epoch, object_folder(), self.relay_stores[-1], self.host.mappings, self.broken.append,
            Stopper(),
        )  # fmt: skip

    def go_on(self) -> None:
        """There is another scheduler: a new session with the same workers."""
        before = self.side
        before.talk.close()
        self.relay_stores.append(self.host.store(store_tag(len(self.relay_stores))))
        self._connect(before.relay)
        self.side.take_over(before, int(self.world.epoch, 16))
        for worker in self.workers:
            worker.begin_epoch()

    @property
    def stores(self) -> tuple[Store, ...]:
        return *self.relay_stores, *(worker.store for worker in self.workers)
