"""Visit: what is said over one connection at a port for objects, from its first byte on. No thread, and nothing blocks.

A visit is a generator: where it would have to wait it yields what for (READ, WRITE, or WAIT for somebody to say that it
may go on), and whichever thread of the port is free goes on with it. So a peer that reads slowly holds some memory, and
no thread.

Rule 1: first comes the proof: a sealed record that opens, or where nothing is sealed the token of an object that is
        there. Before that a visit holds no more than a few hundred bytes, and has FIRST_S for all of it.
Rule 2: a visit says by `limit_s` within what time it has to get on, anew whenever bytes were moved.
Rule 3: it moves TURN_BYTES at most before others have their turn.
Not here: who may come and how many (visitors), threads (port), the layout of what is said (stream, sealed).
"""

import socket
from collections.abc import Generator, Hashable
from typing import Protocol

from scaler.objects.arrival import Arrival
from scaler.objects.sealed import (
    LENGTH,
    MAGIC,
    MOST_RECORD_BYTES,
    OPENING_BYTES,
    TAG_BYTES,
    Records,
    length_in,
    reply_to,
)
from scaler.objects.stream import (
    FETCH,
    NO,
    PIECE_BYTES,
    REQUEST_BYTES,
    STALL_S,
    YES,
    HungUp,
    Refusal,
    Request,
    StreamError,
    pack_answer,
    read_request,
)

READ, WRITE, WAIT = 1, 4, 0  # EPOLLIN, EPOLLOUT, nothing
FIRST_S, IDLE_S = 5.0, 60.0
PATIENCE_S = 3.0  # with what is brought before its offer has come
AGAIN_S = 0.02  # until another connection that brings the same has been broken off
TURN_BYTES = 4 << 20
LARGE_BYTES = 4096  # a record beyond that is part of an object
Steps = Generator[int, None, None]


class Owner(Protocol):
    """What a visit asks its port. Called by whichever thread goes on with the visit."""

    is_sealed: bool

    def key_for(self, number: int) -> bytes | None:
        """The key of the host of this number, if that may connect."""
        ...

    def on_proved(self, visit: "Visit", peer: Hashable) -> None:
        """The visit is this peer's."""
        ...

    def find_served(self, token: bytes) -> memoryview | None: ...

    def find_expected(self, token: bytes, visit: "Visit") -> Arrival | None:
        """What may be brought with this token. If there is nothing yet, the visit is gone on with when there is."""
        ...


class Visit:
    """`steps` is the generator. `socket` does not block."""

    def __init__(self, owner: Owner, connection: socket.socket, address: str) -> None:
        self.socket, self.address = connection, address
        self.peer: Hashable = None
        self.is_idle = False
        self.limit_s: float | None = FIRST_S  # that is to begin now
        self.is_late = False  # what it waited for by its limit has not come
        self.may_be_late = False  # it is gone on with then, and not hung up on
        self._owner = owner
        self._turn_bytes = 0
        self._way: _Plain | _InRecords = _Plain(self)
        self.steps: Steps = self._serve()

    def begin(self, limit_s: float, *, may_be_late: bool = False) -> None:
        """From here on it has so long to get on."""
        self.limit_s, self.may_be_late, self.is_late = limit_s, may_be_late, False

    def on_moved(self, count: int) -> Generator[int, None, None]:
        """So many bytes of an object have been moved."""
        self.begin(STALL_S)
        self._turn_bytes += count
        if self._turn_bytes >= TURN_BYTES:
            self._turn_bytes = 0
            yield WRITE  # which a socket nearly always can: it has its turn after the others

    def _serve(self) -> Steps:
        if self._owner.is_sealed:
            yield from self._open_seal()
        while (request := (yield from self._read_request())) is not None:
            self.begin(STALL_S)
            if not (yield from (self._give if request.what == FETCH else self._take)(request)):
                yield from self._way.send(pack_answer(NO))
                # Mostly a transfer that is not wanted any more, of which a user has nothing to do: no warning.
                raise Refusal("it has no token for that, or that is not wanted any more")
            self._way.let_go()
            self.is_idle = True
            self.begin(IDLE_S)

    def _open_seal(self) -> Steps:
        opening = bytearray(OPENING_BYTES)
        view = memoryview(opening)
        yield from self.receive(view[: len(MAGIC)])
        if opening[: len(MAGIC)] == MAGIC:  # what begins otherwise may be shorter, and would be waited for in vain
            yield from self.receive(view[len(MAGIC) :])
        number, reply, records = reply_to(bytes(opening), self._owner.key_for)
        yield from self.send(memoryview(reply))
        self._way = _InRecords(self, records, number)

    def _read_request(self) -> Generator[int, None, Request | None]:
        """None if the other side has hung up."""
        data = bytearray(REQUEST_BYTES)
        if self.is_idle:
            yield READ
            self.is_idle = False
            self.begin(FIRST_S)
        if not (yield from self._way.receive(memoryview(data), may_end=True)):
            return None
        return read_request(bytes(data))

    def on_opened(self, number: int) -> None:
        """A record has opened: the other end has the key of this number."""
        if self.peer is None:
            self._owner.on_proved(self, number)

    def _on_known(self) -> None:
        """It has the token of something. Where nothing is sealed that is all the proof that there is."""
        if self.peer is None:
            self._owner.on_proved(self, self.address)

    def _give(self, request: Request) -> Generator[int, None, bool]:
        view = self._owner.find_served(request.token)
        if view is None or request.offset > view.nbytes:
            return False
        self._on_known()
        yield from self._way.send(pack_answer(YES, request.offset, view.nbytes))
        yield from self._way.give(view, request.offset)
        return True

    def _take(self, request: Request) -> Generator[int, None, bool]:
        arrival = self._owner.find_expected(request.token, self)
        if arrival is None:  # that it comes is said over another connection, which may be slower
            self.begin(PATIENCE_S, may_be_late=True)
            while arrival is None and not self.is_late:
                yield WAIT
                arrival = self._owner.find_expected(request.token, self)
            if arrival is None:
                return False
            self.begin(STALL_S)
        self._on_known()
        if arrival.is_whole or not arrival.here:  # nothing is missing, or there is no room for it anyway
            yield from self._way.send(pack_answer(YES, arrival.total, arrival.total) * 2)
            return True
        view = arrival.begin(self.socket, wait_s=0)
        waited_s = 0.0
        while view is None and not arrival.is_stopped and waited_s < PATIENCE_S:
            waited_s += AGAIN_S
            self.begin(AGAIN_S, may_be_late=True)
            yield WAIT
            view = arrival.begin(self.socket, wait_s=0)
        if view is None:
            return False
        self.begin(STALL_S)
        try:
            yield from self._way.send(pack_answer(YES, arrival.have, arrival.total))
            yield from self._way.take(view, arrival)
        finally:
            del view
            arrival.end()
        yield from self._way.send(pack_answer(YES, arrival.total, arrival.total))
        return True

    # the socket

    def receive(self, view: memoryview, *, may_end: bool = False) -> Generator[int, None, bool]:
        """Fill the view; False if the other side has hung up before its first byte, and that may be."""
        done = 0
        while done < view.nbytes:
            try:
                count = self.socket.recv_into(view[done:])
            except BlockingIOError:
                yield READ
                continue
            if not count:
                if may_end and not done:
                    return False
                raise HungUp(f"the other side hung up after {done} of {view.nbytes} bytes")
            done += count
        return True

    def send(self, view: memoryview) -> Steps:
        done = 0
        while done < view.nbytes:
            try:
                done += self.socket.send(view[done:])
            except BlockingIOError:
                yield WRITE


class _Plain:
    """What is said goes as it is."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def receive(self, view: memoryview, *, may_end: bool = False) -> Generator[int, None, bool]:
        return (yield from self._visit.receive(view, may_end=may_end))

    def send(self, data: bytes) -> Steps:
        yield from self._visit.send(memoryview(data))

    def give(self, view: memoryview, offset: int) -> Steps:
        visit = self._visit
        while offset < view.nbytes:
            try:
                count = visit.socket.send(view[offset : offset + PIECE_BYTES])
            except BlockingIOError:
                yield WRITE
                continue
            offset += count
            yield from visit.on_moved(count)

    def take(self, view: memoryview, arrival: Arrival) -> Steps:
        visit = self._visit
        while arrival.have < view.nbytes:
            try:
                count = visit.socket.recv_into(view[arrival.have : arrival.have + PIECE_BYTES])
            except BlockingIOError:
                yield READ
                continue
            if not count:
                raise HungUp(f"the other side hung up after {arrival.have} of {view.nbytes} bytes")
            arrival.note(arrival.have + count)
            yield from visit.on_moved(count)

    def let_go(self) -> None:
        """Nothing is under way any more."""


class _InRecords:
    """What is said goes in sealed records, to the host of this number."""

    def __init__(self, visit: Visit, records: Records, number: int) -> None:
        self._visit, self._records, self._number = visit, records, number
        self._in: bytearray | None = None  # of records that are part of an object
        self._out: bytearray | None = None
        self._rest = memoryview(b"")  # of a record of which less was wanted

    def receive(self, view: memoryview, *, may_end: bool = False) -> Generator[int, None, bool]:
        """Fill the view, with whole records opened in their place where they fit."""
        done = 0
        while done < view.nbytes:
            if self._rest:
                count = min(self._rest.nbytes, view.nbytes - done)
                view[done : done + count] = self._rest[:count]
                self._rest = self._rest[count:]
                done += count
                continue
            head = bytearray(LENGTH.size)
            if not (yield from self._visit.receive(memoryview(head), may_end=may_end and not done)):
                return False
            length = length_in(head)
            if length <= view.nbytes - done:
                yield from self._open(view[done : done + length])
                done += length
            else:
                self._rest = memoryview(bytearray(length))
                yield from self._open(self._rest)
        return True

    def _open(self, place: memoryview) -> Steps:
        size = place.nbytes + TAG_BYTES
        if self._visit.peer is None and size > LARGE_BYTES:
            raise StreamError("it begins with a record that is no request")
        if size <= LARGE_BYTES:
            room = memoryview(bytearray(size))
        else:
            self._in = self._in or bytearray(MOST_RECORD_BYTES + TAG_BYTES)
            room = memoryview(self._in)[:size]
        yield from self._visit.receive(room)
        self._records.open(room, place)
        self._visit.on_opened(self._number)

    def send(self, data: bytes) -> Steps:
        out = bytearray(LENGTH.size + len(data) + TAG_BYTES)
        self._records.seal(memoryview(data), memoryview(out))
        yield from self._visit.send(memoryview(out))

    def give(self, view: memoryview, offset: int) -> Steps:
        self._out = self._out or bytearray(LENGTH.size + MOST_RECORD_BYTES + TAG_BYTES)
        out = memoryview(self._out)
        while offset < view.nbytes:
            piece = view[offset : offset + MOST_RECORD_BYTES]
            end = self._records.seal(piece, out)
            sent = 0
            while sent < end:
                try:
                    count = self._visit.socket.send(out[sent:end])
                except BlockingIOError:
                    yield WRITE
                    continue
                sent += count
                yield from self._visit.on_moved(count)
            offset += piece.nbytes

    def take(self, view: memoryview, arrival: Arrival) -> Steps:
        while arrival.have < view.nbytes:
            end = min(arrival.have + MOST_RECORD_BYTES, view.nbytes)
            arrival.make_room(end)
            yield from self.receive(view[arrival.have : end])
            count = end - arrival.have
            arrival.note(end)
            yield from self._visit.on_moved(count)

    def let_go(self) -> None:
        self._in = self._out = None
