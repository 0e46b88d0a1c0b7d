"""ObjectDialer: fetches objects from other hosts, and brings them some, in threads of its own.

Only a host that is not the scheduler's dials: it can reach that one, which need not be so the other way round.

Rule 1: what breaks off goes on where it was: over a fresh connection, then from the next endpoint that has it. One
        that says no is not asked again.
Rule 2: at most MOST_THREADS threads, with one connection per endpoint each; a thread that has had nothing to do for
        IDLE_S ends.
Rule 3: where the scheduler's host cannot be reached at all, it is not tried again for DOWN_S: objects go another way.
Rule 4: whatever a transfer brings about, its owner hears that it has failed, and the thread goes on with the next.
Rule 5: with a `Seal` every connection is sealed, and a place of which it has no key is passed over: what a scheduler
        with keys makes known is never said in clear, wherever it sends this host.
Not here: the other end (port), what a sealed connection is (sealed).
"""

import logging
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from scaler.address import Endpoint
from scaler.objects.arrival import Arrival
from scaler.objects.sealed import Seal, Sealed, SealError, connect_sealed
from scaler.objects.stream import (
    BRING,
    FETCH,
    Connection,
    Refusal,
    StreamError,
    ask,
    prepare,
    read_answer,
    receive,
    send,
)
from scaler.program.sparing_log import SparingLog
from scaler.program.threads import await_ends, new_thread

_log = logging.getLogger(__name__)
_sparing = SparingLog(_log)
MOST_THREADS = 4
IDLE_S = 5.0
CONNECT_S = 3.0
DOWN_S = 30.0
TRIES = 3
PAUSE_S = 0.05
END_S = 2.0
Job = Callable[["_Connections"], bool]


class Giver(NamedTuple):
    """Where an object can be had: what to show there, and the key of a sealed connection to there."""

    place: Endpoint
    token: bytes
    key: bytes = b""


class ObjectDialer:
    """`home` is the scheduler's port for objects; `call` hands what is to be done to the owner's thread.

    With a `seal`, which is that for the scheduler's port, connections are sealed.
    """

    def __init__(self, home: Endpoint, call: Callable[[Callable[[], None]], None], seal: Seal | None = None) -> None:
        self.home, self._call, self._seal = home, call, seal
        self.unopened = 0  # transfers that were broken off since a record did not open
        self._jobs: queue.SimpleQueue[tuple[Job, Callable[[bool], None]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._busy: set[_Connections] = set()
        self._waiting = 0  # jobs that no thread has taken
        self._is_closed = False
        self._down_until_s = 0.0

    @property
    def is_usable(self) -> bool:
        """The scheduler's host could be reached, as far as is known."""
        return not self._is_closed and time.monotonic() >= self._down_until_s

    def giver(self, token: bytes) -> Giver:
        """The scheduler's port, as one that gives an object for this token."""
        return Giver(self.home, token, b"" if self._seal is None else self._seal.key)

    def fetch(self, arrival: Arrival, givers: list[Giver], done: Callable[[bool], None]) -> None:
        """Get an object from the first of these that can give it."""
        self._add(lambda connections: self._fetch(connections, arrival, givers), done)

    def bring(self, view: memoryview, token: bytes, done: Callable[[bool], None]) -> None:
        """Bring an object to the scheduler's host."""
        self._add(lambda connections: self._bring(connections, view, token), done)

    def _add(self, job: Job, done: Callable[[bool], None]) -> None:
        with self._lock:
            self._waiting += 1
            if self._waiting > len(self._threads) - len(self._busy) and len(self._threads) < MOST_THREADS:
                self._start_thread()
            is_lost = not self._threads
            if is_lost:
                self._waiting -= 1
        if is_lost:
            self._call(lambda: done(False))
        else:
            self._jobs.put((job, done))

    def _start_thread(self) -> None:
        """Start one more; those that there are have to do if that cannot be."""
        thread = new_thread("scaler-object-dialer", self._work, lambda _: self._forget(threading.current_thread()))
        try:
            thread.start()
        except RuntimeError as error:
            _log.warning("no thread for transfers of objects: %s", error)
        else:
            self._threads.add(thread)

    def _forget(self, thread: threading.Thread) -> None:
        with self._lock:
            self._threads.discard(thread)

    def close(self) -> None:
        """Break off what is under way; idempotent. Nobody hears of that any more."""
        with self._lock:
            self._is_closed = True
            threads, busy = list(self._threads), list(self._busy)
        for _ in threads:
            self._jobs.put(None)
        for connections in busy:
            connections.break_off()
        await_ends(threads, END_S)  # one that goes on holds what it looks at, and tells nobody of it any more

    # the threads

    def _work(self) -> None:
        connections = _Connections(lambda: self._is_closed, None if self._seal is None else self._seal.number)
        try:
            while (entry := self._next(connections)) is not None:
                job, done = entry
                ok = False
                try:
                    ok = job(connections)
                except Exception:
                    _log.exception("a transfer of an object has failed")
                    connections.close()  # what of it is under way there nobody knows
                with self._lock:
                    self._busy.discard(connections)
                if not self._is_closed:
                    self._call(lambda done=done, ok=ok: done(ok))  # type: ignore[misc]
                del job, done, entry
        finally:
            connections.close()

    def _next(self, connections: "_Connections") -> tuple[Job, Callable[[bool], None]] | None:
        while True:
            try:
                entry = self._jobs.get(timeout=IDLE_S)
            except queue.Empty:
                entry = None
            with self._lock:
                if self._is_closed or (entry is None and not self._waiting):
                    self._threads.discard(threading.current_thread())
                    return None
                if entry is not None:
                    self._waiting -= 1
                    self._busy.add(connections)
                    return entry

    def _fetch(self, connections: "_Connections", arrival: Arrival, givers: list[Giver]) -> bool:
        for giver in givers:
            place = giver.place
            for _ in range(TRIES):
                if arrival.is_whole:
                    return True
                try:
                    _receive_from(connections.to(giver), arrival, giver.token)
                    self._note_reached(place)
                except Refusal as error:
                    connections.drop(place)
                    _sparing.info(place, "%s does not give an object: %s", place, error)
                    break
                except OSError as error:
                    connections.drop(place)
                    if self._is_closed or not self._may_try_again(connections, place, error):
                        break
        return arrival.is_whole

    def _bring(self, connections: "_Connections", view: memoryview, token: bytes) -> bool:
        home = self.giver(token)
        place = home.place
        for _ in range(TRIES):
            try:
                _send_to(connections.to(home), view, token)
                self._note_reached(place)
                return True
            except Refusal as error:  # what announced it may be late
                connections.drop(place)
                _sparing.info(place, "%s does not take an object: %s", place, error)
            except OSError as error:
                connections.drop(place)
                if self._is_closed or not self._may_try_again(connections, place, error):
                    return False
        return False

    def _may_try_again(self, connections: "_Connections", place: Endpoint, error: OSError) -> bool:
        """Whether it broke on the way; not if the place cannot be reached at all."""
        if isinstance(error, SealError):
            self.unopened += 1
            _sparing.warning(place, "a transfer with %s was broken off, and begins anew: %s", place, error)
        elif connections.was_reached(place):
            _sparing.info(place, "a transfer with %s broke: %s", place, error)
        if connections.was_reached(place):
            time.sleep(PAUSE_S)
            return True
        if place == self.home:
            is_news, self._down_until_s = self.is_usable, time.monotonic() + DOWN_S
            if is_news:  # to this thread: others have tried at the same time
                _log.warning(
                    "port %d of the scheduler's host (%s) cannot be reached: %s. Objects go over the session, which is "
                    "slower", place.port, place.host, error,
                )  # fmt: skip
        return False

    def _note_reached(self, place: Endpoint) -> None:
        if place == self.home:
            self._down_until_s = 0.0


class _Connections:
    """One thread's connections, by place. With a `number` they are sealed, and that is by what this host is known."""

    def __init__(self, is_closed: Callable[[], bool], number: int | None) -> None:
        self._by_place: dict[Endpoint, Connection] = {}
        self._reached: set[Endpoint] = set()
        self._is_closed, self._number = is_closed, number

    def to(self, giver: Giver) -> Connection:
        """OSError if it cannot be reached."""
        place = giver.place
        if self._number is not None and not giver.key:
            raise StreamError(f"there is no key for {place}, so nothing is said there")
        if place not in self._by_place:
            self._reached.discard(place)
            try:
                connection = socket.create_connection(place, timeout=CONNECT_S)
            except (ValueError, OverflowError) as error:  # UnicodeError is one: the look-up of a name that is none
                raise StreamError(f"{place} is nothing to connect to: {error}") from error
            self._by_place[place] = connection
            self._reached.add(place)
            prepare(connection)
            if self._is_closed():
                raise StreamError("the dialer was closed")
            if self._number is not None:
                self._by_place[place] = connect_sealed(connection, Seal(self._number, giver.key))
        return self._by_place[place]

    def was_reached(self, place: Endpoint) -> bool:
        """The last attempt to connect there was successful."""
        return place in self._reached

    def drop(self, place: Endpoint) -> None:
        connection = self._by_place.pop(place, None)
        if connection is not None:
            connection.close()

    def break_off(self) -> None:
        """From any thread: whatever waits there ends."""
        for connection in list(self._by_place.values()):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for place in list(self._by_place):
            self.drop(place)


def _receive_from(connection: Connection, arrival: Arrival, token: bytes) -> None:
    view = arrival.begin(connection)
    if view is None:
        raise Refusal("it is not wanted any more")
    try:
        offset, size = ask(connection, FETCH, arrival.have, token)
        if (offset, size) != (arrival.have, arrival.total):
            raise StreamError(f"{size} bytes from {offset} on were offered, not {arrival.total} from {arrival.have}")
        receive(connection, view, offset, arrival.note, arrival.make_room if isinstance(connection, Sealed) else None)
    finally:
        del view
        arrival.end()


def _send_to(connection: Connection, view: memoryview, token: bytes) -> None:
    offset, size = ask(connection, BRING, 0, token)
    if size != view.nbytes or offset > size:
        raise StreamError(f"{size} bytes from {offset} on were wanted, there are {view.nbytes}")
    send(connection, view, offset)
    if read_answer(connection)[0] != size:
        raise StreamError("it was not taken whole")
