"""A scheduler to which remote peers say anything: every kind of frame, by clients and clusters, before and after hello.

Some peers are hostile: their frames are drawn. They say hello or do not, are cut off, and come back with their session
or with another's. Beside them stand an honest client and an honest cluster.

Held: the core's checks; nothing raises out of `on_message`, `flush` or `on_tick`; what the honest client submits is
answered; and when all have left, no table has anything left in it and the scheduler's store is empty.
"""

import random
from collections.abc import Callable
from typing import cast

from scaler._native import SchedulerCore
from scaler.colocation.handshake import CONTROL_RING_BYTES
from scaler.protocol.codec import decode
from scaler.protocol.frames import Results, Role, Tasks, Welcome
from tests.fuzz.bodies import SAID_BY_CLIENT, SAID_BY_CLUSTER, Drawn
from tests.fuzz.run import play
from tests.sim.wire import Link, RemoteClient, RemoteCluster, World

EVENTS = 300  # of an episode
CHECK_EVERY = 5
MOST_STRANGERS = 3


class Stranger:
    """A connection over which anything is said."""

    def __init__(self, world: World, drawn: Drawn, name: bytes) -> None:
        self.world, self.drawn, self.routing_id = world, drawn, name
        self.number = 0
        self.down: list[bytes] = []
        self.session = b""
        self.bits = 5
        self.role = drawn.chance.choice((Role.CLIENT, Role.CLUSTER))
        self.is_greeted, self.is_hostile = False, True
        world.links[name] = cast(Link, self)  # it has what the world's side needs: `down`

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def say(self, parts: list[bytes]) -> None:
        self.world.remote.on_message(self.routing_id, parts, self.world.now_s)

    def hear(self) -> None:
        """Learn what was given out: attempts, and the name of its session."""
        heard, self.down[:] = list(self.down), []
        for data in heard:
            body = decode(data).body
            if isinstance(body, Welcome):
                self.session = body.session
            elif isinstance(body, Tasks | Results):
                self.drawn.attempts += list(memoryview(body.attempts).cast("Q"))


class FramesFuzz:
    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.drawn = Drawn(chance)
        self.world = World()
        self.world.core.most_waiting = chance.choice((-1, -1, 0))
        self.client, self.cluster = (
            RemoteClient(self.world, 9),
            RemoteCluster(self.world, 1, control_bytes=CONTROL_RING_BYTES),
        )
        self.strangers: list[Stranger] = []
        self.names = 0
        self.tokens: list[bytes] = []
        self.sent = 0
        self.wanted: dict[int, bytes] = {}
        self.events = [self.say] * 60 + [self.turn] * 12 + [self.handshake] * 4 + [self.leave] * 2 + [self.submit] * 3
        self.events += [self.comes_again] * 2 + [self.garbage] + [self.time_passes]

    @property
    def core(self) -> SchedulerCore:
        return self.world.core

    def stranger(self) -> Stranger:
        if not self.strangers:
            self.handshake()
        return self.chance.choice(self.strangers)

    def handshake(self) -> None:
        if len(self.strangers) >= MOST_STRANGERS:
            return
        self.names += 1
        self.strangers.append(Stranger(self.world, self.drawn, b"s%d" % self.names))
        if self.chance.random() < 0.9:
            self.greet(self.strangers[-1])

    def greet(self, stranger: Stranger) -> None:
        chance = self.chance
        stranger.bits = chance.choice((5, 6, 7))
        hello = self.drawn.hello(stranger.role, stranger.bits if stranger.role == Role.CLIENT else 0)
        data = self.drawn.frame(hello, stranger.next_number)
        if data is not None:
            stranger.say([data])
            stranger.hear()

    def say(self) -> None:
        stranger = self.stranger()
        is_client = stranger.role == Role.CLIENT
        self.drawn.own = stranger.bits
        body = self.drawn.body(SAID_BY_CLIENT if is_client else SAID_BY_CLUSTER, 1 if is_client else 3)
        data = self.drawn.frame(body, stranger.next_number)
        if data is not None:
            stranger.say([data])
        stranger.hear()
        if self.chance.random() < 0.5 and stranger.routing_id not in self.world.remote._links:
            self.forget(stranger)

    def garbage(self) -> None:
        chance, stranger = self.chance, self.stranger()
        stranger.say([chance.randbytes(chance.randrange(200)) for _ in range(chance.randrange(3))])

    def comes_again(self) -> None:
        """A connection is cut, and another names its session, or that of somebody else."""
        stranger = self.stranger()
        if stranger.session:
            self.tokens.append(stranger.session)
        self.forget(stranger)
        self.handshake()
        if self.tokens and self.strangers:
            again = self.strangers[-1]
            hello = self.drawn.hello(again.role, 5 if again.role == Role.CLIENT else 0)
            object.__setattr__(hello, "session", self.chance.choice(self.tokens))
            object.__setattr__(hello, "received", self.chance.choice((0, 0, 1, 5, 2**63)))
            again.number = stranger.number
            data = self.drawn.frame(hello, again.next_number)
            if data is not None:
                again.say([data])
                again.hear()

    def leave(self) -> None:
        if self.strangers:
            self.forget(self.chance.choice(self.strangers))

    def forget(self, stranger: Stranger) -> None:
        """The connection is no more. Its session may live on for a while."""
        self.strangers.remove(stranger)
        del self.world.links[stranger.routing_id]

    def submit(self) -> None:
        payload = self.chance.randbytes(20)
        task = self.client.submit(0, payload)
        if task is not None:
            self.wanted[task] = payload[::-1]

    def turn(self) -> None:
        """The honest ones, and the scheduler, do something."""
        for peer in (self.client, self.cluster):
            peer.link.speak()
            while peer.link.up or peer.link.down:
                peer.link.carry_up()
                peer.link.carry_down()
        for worker in self.cluster.workers:
            worker.hear()
            worker.running = None
            while (record := worker.rings.tasks.read(claim=True)) is not None:
                payload = record.payload[::-1] if record.task in self.wanted else b"x"
                worker.rings.results.write(
                    2, record.task, payload, function=record.function, attempt=record.attempt, items=record.items
                )
        self.client.step()
        self.tick()

    def tick(self) -> None:
        world = self.world
        world.now_s += 0.02
        for number in world.core.take_freed():
            assert world.store.free(number), "told twice that an object is free"
        world.core.step(int(world.now_s * 1e9))
        world.remote.on_tick(world.now_s)
        world.remote.flush(world.now_s)
        for stranger in self.strangers:
            stranger.hear()

    def time_passes(self) -> None:
        self.world.now_s += self.chance.choice((0.1, 1.5))
        self.world.core.on_tick(int(self.world.now_s * 1e9))
        self.tick()

    def take_down(self) -> None:
        world = self.world
        while self.strangers:
            self.leave()
        for _ in range(3):  # nothing is heard from them for as long as they may be silent
            for _ in range(10):
                self.turn()
            for link in list(world.remote._links.values()):
                if link.routing_id not in (self.client.link.routing_id, self.cluster.link.routing_id):
                    world.remote.on_message(link.routing_id, [b"nonsense"], world.now_s)
            world.now_s += 40
            world.core.on_tick(int(world.now_s * 1e9))
        for _ in range(30):
            self.turn()
            self.client.step()
        answers = dict(self.client.answers)
        statuses = self.client.statuses
        for task, payload in self.wanted.items():
            assert task in answers, f"task {task:#x} of the honest client was never answered"
            assert statuses[task] != 0 or answers[task] == payload, f"task {task:#x} has the answer of another"
        for peer in (self.client, self.cluster):
            world.remote.on_message(peer.link.routing_id, [b"nonsense"], world.now_s)
        for _ in range(3):
            world.now_s += 40
            world.core.on_tick(int(world.now_s * 1e9))
            self.tick()
        core, counts = world.core, world.core.counts()
        left = {
            name: counts[name] for name in ("rows", "workers", "held_back", "kept_results", "running_on", "functions")
        }
        left.update(objects=len(core.objects), nodes=core.edges.nodes, blobs=core.edges.blobs, stored=len(world.store))
        core.check()
        world.left_over(self.client, self.cluster)
        assert not any(left.values()), {name: count for name, count in left.items() if count}


def episode(seed: int, events: int, on_event: Callable[[int], None]) -> None:
    play(FramesFuzz(seed), events, on_event, CHECK_EVERY)
