"""A scheduler's pump whose peers write anywhere into their shared memory: rings, page, children, and the page of bells.

Hostile clients and workers follow the rules for a while and then write some bytes, words or lengths anywhere in their
segments, before the next turn of the pump. Whoever is found to be broken is shut out, as the shell does it, and another
comes. Beside them stand an honest client and an honest worker.

Held: the core's checks; what the honest client submits is answered, once; and when all have left every table is empty.
Not here: writing while the pump reads. What it reads twice it would have to see change in between, for which there is
no seed; that it reads each length once is said in ring.
"""

import os
import random
import struct
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from scaler._native import (
    CHILDREN_BYTES,
    HEADERS_OFFSET,
    KIND_CANCEL,
    KIND_FUNCTION,
    KIND_RESULT,
    KIND_TASK,
    PAGE,
    RING_HEADER_BYTES,
    Children,
    Pump,
    Ring,
    SchedulerCore,
    Segment,
    lay_out_peer,
    peer_segment_bytes,
)
from scaler.colocation.doorbell import new_doorbell
from tests.fuzz.run import play

EVENTS = 600  # of an episode
CHECK_EVERY = 20
RING_BYTES, CONTROL_BYTES = 4096, 1024
CODE = b"code"
DIGEST = blake2b(CODE, digest_size=16).digest()
KINDS = (0, 1, 2, 3, 4, 5, 6, 8, 12, 13, 15, 200)
ODD = (0, 1, 7, 8, 55, 56, 57, 64, 4095, 4096, 4097, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
PAGE_FIELDS = (64, *range(72, 192, 4))
NEWS = 64  # in the bell page


class Peer:
    """A client's or worker's ends of its rings, and its memory as bytes."""

    def __init__(self, fuzz: "SegmentsFuzz", bits: int, worker_tag: int = 0) -> None:
        self.bits, self.next = bits, 1
        has_children = bool(worker_tag)
        children_bytes = CHILDREN_BYTES if has_children else 0
        size = peer_segment_bytes(RING_BYTES, CONTROL_BYTES, children_bytes)
        self.memory = Segment.private(size)
        self.used_bytes = size
        lay_out_peer(self.memory, bytes(16), RING_BYTES, CONTROL_BYTES, children_bytes)
        rings, offset = [], PAGE
        for number, capacity in enumerate((RING_BYTES, RING_BYTES, CONTROL_BYTES, CONTROL_BYTES)):
            rings.append(Ring(self.memory, HEADERS_OFFSET + number * RING_HEADER_BYTES, capacity, offset))
            offset += capacity
        self.tasks, self.results, self.up, self.down = rings
        self.children = Children(self.memory) if has_children else None
        self.doorbell = new_doorbell()
        self.peer = fuzz.pump.add(self.memory, not bits, self.doorbell, client_bits=bits, worker_tag=worker_tag)
        if bits:
            self.up.write(KIND_FUNCTION, 0, DIGEST + CODE, function=1)

    def id_of(self, number: int) -> int:
        return self.bits << 40 | number


class SegmentsFuzz:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.bell = Segment.private(PAGE)
        self.eventfd = os.eventfd(0, os.EFD_NONBLOCK)
        self.core = SchedulerCore(1, "fuzz", "/nowhere")
        self.pump = Pump(self.core, self.bell, self.eventfd)
        self.last_bits = 1
        self.client, self.worker = Peer(self, 1), Peer(self, 0)
        self.wanted: set[int] = set()
        self.answers: set[int] = set()  # a hostile worker may answer what it was given, with anything
        self.hostile: list[Peer] = []
        self.events = [self.scribble] * 30 + [self.behave] * 40 + [self.turn] * 30 + [self.come] * 4
        self.events += [self.submit] * 4 + [self.scribble_bells] * 2 + [self.leave]

    # hostile ones

    def come(self) -> None:
        chance = self.chance
        if len(self.hostile) < 4:
            self.last_bits += 1
            is_client = chance.random() < 0.6
            tag = self.worker.peer.tag if is_client and chance.random() < 0.4 else 0
            self.hostile.append(Peer(self, self.last_bits if is_client else 0, tag))

    def leave(self) -> None:
        if self.hostile:
            self.shut_out(self.chance.choice(self.hostile))

    def shut_out(self, peer: Peer) -> None:
        self.hostile.remove(peer)
        self.pump.remove(peer.peer)
        os.close(peer.doorbell)

    def some(self) -> Peer:
        if not self.hostile:
            self.come()
        return self.chance.choice(self.hostile)

    def behave(self) -> None:
        """Say something in a ring, with fields that are drawn."""
        chance, peer = self.chance, self.some()
        is_client = bool(peer.bits)
        if not is_client:
            record = None if peer.tasks.broken else peer.tasks.read(claim=chance.random() < 0.9)
            if record is not None and chance.random() < 0.9:
                self.write(peer.results, KIND_RESULT, record.task, record.attempt)
                return
        usual = (KIND_TASK if is_client else KIND_RESULT, peer.tasks if is_client else peer.results)
        kind, ring = usual if chance.random() < 0.8 else (chance.choice((KIND_CANCEL, *KINDS)), peer.up)
        task = peer.id_of(max(0, peer.next - chance.randrange(5))) if chance.random() < 0.9 else chance.getrandbits(64)
        if kind == KIND_TASK and chance.random() < 0.7:
            task, peer.next = peer.id_of(peer.next), peer.next + 1
        if peer.children is not None and chance.random() < 0.5:
            peer.children.put(task, chance.randbytes(chance.choice((0, 20, 456))))
        else:
            self.write(ring, kind, task, chance.getrandbits(34))
        self.tell(peer)

    def write(self, ring: Ring, kind: int, task: int, attempt: int) -> None:
        chance = self.chance
        flags = 0 if chance.random() < 0.7 else chance.getrandbits(8)
        size = min(ring.capacity // 8 - 56, chance.choice((0, 8, 16, 60, 400)))
        ring.write(kind, task, chance.randbytes(size), function=chance.choice((1, 1, 1, 0, 7)), flags=flags,
                   attempt=attempt, items=chance.choice((0, 1, 5)), status=chance.choice((0, 0, 1, 9)))  # fmt: skip

    def scribble(self) -> None:
        chance, peer = self.chance, self.some()
        view = memoryview(peer.memory).cast("B")
        for _ in range(chance.choice((1, 1, 1, 2, 20))):
            luck = chance.random()
            if luck < 0.35:  # a position, or who waits
                at = HEADERS_OFFSET + chance.randrange(4) * RING_HEADER_BYTES + chance.choice((0, 64, 72))
                (now,) = struct.unpack_from("<Q", view, at)
                new = (
                    now + chance.choice((-4096, -64, -8, -1, 1, 8, 56, 64, 128, 4096))
                    if luck < 0.25
                    else chance.choice(ODD)
                )
                struct.pack_into("<Q", view, at, new & 0xFFFFFFFFFFFFFFFF)
            elif luck < 0.6:  # a length, a kind or a claim, where records are
                at = PAGE + chance.randrange((peer.used_bytes - PAGE) // 8) * 8
                struct.pack_into("<I", view, at, chance.choice(ODD) & 0xFFFFFFFF)
            elif luck < 0.75:
                struct.pack_into("<I", view, chance.choice(PAGE_FIELDS), chance.choice(ODD) & 0xFFFFFFFF)
            elif luck < 0.95:
                view[chance.randrange(peer.used_bytes)] = chance.randrange(256)
            else:
                at = chance.randrange(peer.used_bytes - 64)
                for offset in range(64):  # by bytes: a whole slice is a call that the sanitizer looks at
                    view[at + offset] = chance.randrange(256)
        self.tell(peer)

    def scribble_bells(self) -> None:
        view = memoryview(self.bell).cast("B")
        view[self.chance.randrange(64 + 80)] = self.chance.randrange(256)

    def tell(self, peer: Peer) -> None:
        word = memoryview(self.bell).cast("B")[NEWS : NEWS + 8].cast("Q")
        word[0] |= 1 << peer.peer.slot

    # honest ones

    def submit(self) -> None:
        task = self.client.id_of(self.client.next)
        if self.client.tasks.write(KIND_TASK, task, self.chance.randbytes(20), function=1) is not None:
            self.client.next += 1
            self.wanted.add(task)
            self.tell(self.client)

    def work(self) -> None:
        worker = self.worker
        while worker.down.read() is not None:
            pass
        while (record := worker.tasks.read(claim=True)) is not None:
            worker.results.write(
                KIND_RESULT, record.task, record.payload[:400], attempt=record.attempt, items=record.items
            )
        self.tell(worker)
        while (answer := self.client.results.read()) is not None:
            assert answer.task not in self.answers, f"task {answer.task:#x} was answered twice"
            self.answers.add(answer.task)
        while self.client.down.read() is not None:
            pass
        self.tell(self.client)

    # the shell

    def turn(self) -> None:
        pump = self.pump
        for _ in range(20):
            if not pump.run(self.chance.random() < 0.2):
                break
        if self.chance.random() < 0.3:
            pump.tick()
        pump.controls.clear()
        pump.stops.clear()
        broken: list[Any] = list(pump.broken)
        pump.broken.clear()
        for one in broken:
            assert one is not self.client.peer, "the honest client was found to be broken"
            assert one is not self.worker.peer, "the honest worker was found to be broken"
            for peer in [peer for peer in self.hostile if peer.peer is one]:
                self.shut_out(peer)
        self.work()

    def take_down(self) -> None:
        while self.hostile:
            self.leave()
        for _ in range(50):
            self.turn()
            self.tell(self.client)
            if len(self.answers) == len(self.wanted):
                break
        missing = self.wanted - self.answers
        assert not missing, f"tasks of the honest client were never answered: {missing}"
        self.pump.remove(self.client.peer)
        self.pump.remove(self.worker.peer)
        os.close(self.client.doorbell)
        os.close(self.worker.doorbell)
        os.close(self.eventfd)
        self.core.check()
        core, counts = self.core, self.core.counts()
        left = {name: counts[name] for name in ("rows", "ready", "workers", "functions")}
        left.update(objects=len(core.objects), nodes=core.edges.nodes, blobs=core.edges.blobs)
        assert not any(left.values()), {name: count for name, count in left.items() if count}


def episode(seed: int, events: int, on_event: Callable[[int], None]) -> None:
    play(SegmentsFuzz(seed), events, on_event, CHECK_EVERY)
