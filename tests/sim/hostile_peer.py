"""A remote peer that says whatever a test likes, in frames that are well formed and rightly numbered."""

from collections.abc import Iterator
from hashlib import blake2b

from scaler.protocol import frames
from scaler.protocol.codec import decode, encode
from scaler.protocol.frames import UNNUMBERED, Body, Frame, Function
from tests.sim.wire import Link, World


def as_u32(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "little") for number in numbers)


def as_u64(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, "little") for number in numbers)


def tasks_of(*rows: tuple[int, int, int, bytes] | tuple[int, int, int, bytes, int]) -> frames.Tasks:
    """Of rows of task, function, flags, payload, and for a chunk how many calls it has."""
    ends, payload = [], b""
    for row in rows:
        payload += row[3]
        ends.append(len(payload))
    return frames.Tasks(
        tasks=as_u64(*(row[0] for row in rows)), functions=as_u32(*(row[1] for row in rows)),
        flags=bytes(row[2] for row in rows), items=as_u32(*(row[4] if len(row) > 4 else 0 for row in rows)),
        ends=as_u32(*ends) if payload else b"", payload=payload,
    )  # fmt: skip


def functions_of(number: int, code: bytes, flags: int = 0) -> frames.Functions:
    return frames.Functions.of([Function(0, number, blake2b(code, digest_size=16).digest(), flags, code)])


class HostilePeer:
    """Takes the place of the relay that stands behind this link, once that has said hello."""

    def __init__(self, world: World, link: Link) -> None:
        self.world, self.link = world, link
        link.is_hostile = True
        while link.up or not link.is_greeted:
            link.carry_up()
            link.carry_down()
            link.speak()
        self.number = link.side.talk.ledger.sent
        self._heard: list[Body] = []

    @property
    def is_there(self) -> bool:
        """Its session has not been ended."""
        return self.link.routing_id in self.world.remote._links

    def say(self, body: Body) -> None:
        if type(body) not in UNNUMBERED:
            self.number += 1
        data = encode(Frame(body, 0 if type(body) in UNNUMBERED else self.number, 0))
        self.world.remote.on_message(self.link.routing_id, [bytes(data)], self.world.now_s)
        self.world.tick()
        self.world.remote.flush(self.world.now_s)
        self.world.core.check()

    def hear(self) -> Iterator[Body]:
        while self.link.down:
            yield decode(self.link.down.popleft()).body

    def tasks_given(self) -> list[tuple[int, int]]:
        """(task, attempt) of those that it was given, in their order."""
        given = []
        for body in self.hear():
            if isinstance(body, frames.Tasks):
                columns = memoryview(body.tasks).cast("Q"), memoryview(body.attempts).cast("Q")
                given += list(zip(*columns, strict=True))
        return given

    def answers(self) -> list[tuple[int, int, bytes]]:
        """(task, status, payload) of the results that it was given."""
        given = []
        for body in self.hear():
            if isinstance(body, frames.Results):
                tasks = memoryview(body.tasks).cast("Q").tolist()
                statuses = memoryview(body.statuses).cast("H").tolist() or [0] * len(tasks)
                ends = memoryview(body.ends).cast("I").tolist() or [0] * len(tasks)
                starts = [0, *ends]
                given += [
                    (task, status, body.payload[start:end])
                    for task, status, start, end in zip(tasks, statuses, starts, ends, strict=False)
                ]
        return given
