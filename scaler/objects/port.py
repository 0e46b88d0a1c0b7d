"""ObjectPort: where other hosts fetch objects that lie here, and bring those that are wanted here.

A thread per connection, since what it does is wait for the network with the bytes in place; the owner's loop does
nothing but say what is served and what is expected.

Rule 1: nothing is given or taken without the token of just that object. A connection without one is hung up on; it is
        counted, and logged now and then.
Rule 2: at most MOST_CONNECTIONS at a time; one that asks nothing for IDLE_S is closed, a fresh one after FIRST_S, and
        one that has begun to ask and has not ended after FIRST_S.
Rule 3: whatever a connection brings about ends that one. The thread that accepts goes on until the port is closed.
Not here: the bytes on the wire (stream), the other end (dialer).
"""

import logging
import secrets
import socket
import threading
import time

from scaler.objects.arrival import Arrival
from scaler.objects.sealed import KEY_BYTES, Sealed, accept_sealed, key_between
from scaler.objects.stream import (
    FETCH,
    NO,
    STALL_S,
    YES,
    Connection,
    HungUp,
    Request,
    StreamError,
    answer,
    prepare,
    read_request,
    receive,
    send,
    token_for,
)
from scaler.program.threads import await_ends, new_thread

_log = logging.getLogger(__name__)
MOST_CONNECTIONS = 64
FIRST_S, IDLE_S = 5.0, 60.0
PATIENCE_S = 3.0  # with what is brought before its offer has come
WARNING_S = 1.0
PAUSE_S = 0.1
END_S = 2.0


class ObjectPort:
    """Listens at `host`, at any free port.

    If it `is_sealed`, so are all connections, each with the key of the host that connects. Where `admits`, that is one
    of those that were admitted and not dismissed; else it is any that was given its key, and knows what it may ask for.
    """

    def __init__(self, host: str, *, is_sealed: bool = False, admits: bool = False) -> None:
        self.key = secrets.token_bytes(16)  # of the tokens of what is served here
        self.seal = secrets.token_bytes(KEY_BYTES) if is_sealed else b""  # what keys of connections are made from
        self._admitted: set[int] | None = set() if admits else None
        self._served: dict[bytes, tuple[memoryview, int]] = {}  # token -> (bytes, how often it was said)
        self._expected: dict[bytes, Arrival] = {}
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._is_closed = False
        self._next_warning_s = 0.0
        self.refused = 0
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=MOST_CONNECTIONS)
        self.port: int = self._listener.getsockname()[1]
        self._thread = new_thread("scaler-object-port", self._listen)
        self._thread.start()

    # what the owner says

    def admit(self, number: int) -> None:
        """The host of this number may connect."""
        if self._admitted is not None:
            self._admitted.add(number)

    def dismiss(self, number: int) -> None:
        """It may not any more."""
        if self._admitted is not None:
            self._admitted.discard(number)

    def key_for(self, number: int) -> bytes | None:
        """The common key of the host of this number and this one; None if it may not connect, or nothing is sealed."""
        if not self.seal or (self._admitted is not None and number not in self._admitted):
            return None
        return key_between(self.seal, number)

    def serve(self, object_id: int, view: memoryview, *, is_result: bool = False) -> bytes:
        """A host that has the token that this returns may fetch these bytes, until `withdraw` was called as often."""
        token = token_for(self.key, object_id, is_result=is_result)
        with self._lock:
            self._served[token] = view, self._served.get(token, (view, 0))[1] + 1
        return token

    def withdraw(self, object_id: int, *, is_result: bool = False) -> None:
        """One reason less to serve it."""
        token = token_for(self.key, object_id, is_result=is_result)
        with self._lock:
            view, count = self._served.pop(token, (None, 0))
            if view is not None and count > 1:
                self._served[token] = view, count - 1

    def expect(self, token: bytes, arrival: Arrival) -> None:
        """A host that has the token may bring this."""
        with self._lock:
            self._expected[token] = arrival

    def forget(self, token: bytes) -> None:
        with self._lock:
            self._expected.pop(token, None)

    def close(self) -> None:
        """Hang up on everybody; idempotent."""
        with self._lock:
            self._is_closed = True
            connections = dict(self._connections)
            self._served.clear()
            self._expected.clear()
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # which wakes the thread that accepts
        except OSError:
            pass
        self._listener.close()
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        await_ends((self._thread, *connections.values()), END_S)  # one that goes on holds what it looks at

    # the threads

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if self._is_closed:
                    return
                self._warn("cannot take a connection for objects: %s", error)
                time.sleep(PAUSE_S)  # out of descriptors: the others try again
                continue
            try:
                self._let_in(connection)
            except Exception as error:  # no memory, or no more threads
                self._forget(connection)
                self._warn("cannot serve a connection for objects: %s", error)
                time.sleep(PAUSE_S)

    def _let_in(self, connection: socket.socket) -> None:
        thread = new_thread("scaler-objects", lambda: self._attend(connection))
        with self._lock:
            is_welcome = not self._is_closed and len(self._connections) < MOST_CONNECTIONS
            if is_welcome:
                self._connections[connection] = thread
        if is_welcome:
            thread.start()
        else:
            connection.close()

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.pop(connection, None)
        connection.close()

    def _attend(self, accepted: socket.socket) -> None:
        connection: Connection = accepted
        try:
            prepare(connection, FIRST_S)
            if self.seal:
                connection = accept_sealed(accepted, self.key_for)
            while (request := read_request(connection, FIRST_S)) is not None:
                prepare(connection, STALL_S)
                if not (self._give if request.what == FETCH else self._take)(connection, request):
                    answer(connection, NO)
                    # Mostly the latter, of which a user has nothing to do: no warning.
                    self._complain("it has no token for that, or that is not wanted any more", logging.INFO)
                    break
                prepare(connection, IDLE_S)
        except BlockingIOError:
            pass  # it has had nothing to say, or moves no bytes
        except HungUp as error:
            self._complain(error, logging.INFO)  # the side that needs it comes again
        except (StreamError, ValueError) as error:
            self._complain(error)
        except OSError:
            pass  # the connection broke: the side that needs it comes again
        finally:
            self._forget(accepted)

    def _complain(self, error: object, level: int = logging.WARNING) -> None:
        with self._lock:
            self.refused += 1
        self._warn("a connection for objects was closed (%d in all): %s", self.refused, error, level=level)

    def _warn(self, text: str, *about: object, level: int = logging.WARNING) -> None:
        """Log this, unless something was logged just now: a flood of strangers is not to become one of lines."""
        with self._lock:
            now_s = time.monotonic()
            is_due = now_s >= self._next_warning_s and not self._is_closed
            if is_due:
                self._next_warning_s = now_s + WARNING_S
        if is_due:
            _log.log(level, text, *about)

    def _give(self, connection: Connection, request: Request) -> bool:
        with self._lock:
            view, _ = self._served.get(request.token, (None, 0))
        if view is None or request.offset > view.nbytes:
            return False
        answer(connection, YES, request.offset, view.nbytes)
        send(connection, view, request.offset)
        return True

    def _take(self, connection: Connection, request: Request) -> bool:
        deadline = time.monotonic() + PATIENCE_S
        while True:  # that it comes is said over another connection, which may be slower
            with self._lock:
                arrival = self._expected.get(request.token)
                is_closed = self._is_closed
            if arrival is not None:
                return _receive_into(arrival, connection)
            if is_closed or time.monotonic() > deadline:
                return False
            time.sleep(0.005)


def _receive_into(arrival: Arrival, connection: Connection) -> bool:
    """Let the other side bring what is still missing."""
    if arrival.is_whole or not arrival.here:  # nothing is missing, or there is no room for it anyway
        answer(connection, YES, arrival.total, arrival.total)
        answer(connection, YES, arrival.total, arrival.total)
        return True
    view = arrival.begin(connection)
    if view is None:
        return False
    try:
        answer(connection, YES, arrival.have, arrival.total)
        receive(
            connection,
            view,
            arrival.have,
            arrival.note,
            arrival.make_room if isinstance(connection, Sealed) else None,
        )
    finally:
        del view
        arrival.end()
    answer(connection, YES, arrival.total, arrival.total)
    return True
