"""ObjectPort: where other hosts fetch objects that lie here, and bring those that are wanted here.

Connections do not block, and a few threads share them: whichever is free goes on with the one that has news. A thread
per connection would be simpler, but then whoever opens a connection takes a thread, and a limit on threads would let
those that say nothing keep out the others. The owner's loop does nothing but say what is served and what is expected.

Rule 1: nothing is given or taken without the token of just that object and, where connections are sealed, the key of a
        host. A connection without one is hung up on; it is counted, and logged now and then.
Rule 2: there are at most so many connections as `visitors` says, a part of what this process may open. Where it can
        open no more, one that has proved nothing goes; if there is none, the port waits PAUSE_S. It never spins.
Rule 3: whatever a connection brings about ends that one. The threads go on until the port is closed.
Rule 4: one thread at a time goes on with a connection (`_Held.lock`). A thread that holds one connection takes the lock
        of another only if it is free.
Not here: what is said over a connection (visit), which connection has to go (visitors), the other end (dialer).
"""

import errno
import logging
import os
import resource
import secrets
import select
import socket
import threading
import time
from collections.abc import Hashable
from contextlib import suppress

from scaler.objects.arrival import Arrival
from scaler.objects.sealed import KEY_BYTES, key_between
from scaler.objects.stream import HungUp, Refusal, StreamError, token_for
from scaler.objects.visit import READ, WAIT, WRITE, Visit
from scaler.objects.visitors import Visitors, address_of
from scaler.program.threads import await_ends, new_thread

_log = logging.getLogger(__name__)
MOST_THREADS = 4
MOST_UNPROVED = 256  # connections that have proved nothing; less where few descriptors can be had
MOST_OF_PEER = 32
LEAST_SHARE = 4  # of the descriptors that this process may have, one in so many is the port's at most
BACKLOG = 1024
MOST_ACCEPTED = 64  # in a row
WARNING_S = 1.0
PAUSE_S = 0.1
END_S = 2.0
_ONCE = select.EPOLLONESHOT
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class _Held(Visit):
    """A visit, and the lock of the thread that goes on with it."""

    def __init__(self, port: "ObjectPort", connection: socket.socket, address: str) -> None:
        super().__init__(port, connection, address)
        self.lock = threading.Lock()
        self.is_over = False


class ObjectPort:
    """Listens at `host`, at any free port.

    If it `is_sealed`, so are all connections, each with the key of the host that connects. Where `admits`, that is one
    of those that were admitted and not dismissed; else it is any that was given its key, and knows what it may ask for.
    """

    def __init__(self, host: str, *, is_sealed: bool = False, admits: bool = False) -> None:
        self.key = secrets.token_bytes(16)  # of the tokens of what is served here
        self.is_sealed = is_sealed
        self.seal = secrets.token_bytes(KEY_BYTES) if is_sealed else b""  # what keys of connections are made from
        self._admitted: set[int] | None = set() if admits else None
        self._served: dict[bytes, tuple[memoryview, int]] = {}  # token -> (bytes, how often it was said)
        self._expected: dict[bytes, Arrival] = {}
        self._awaiting: dict[bytes, list[_Held]] = {}  # visits that bring what nobody has said that it is expected
        self._lock = threading.Lock()
        share = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // LEAST_SHARE
        self._visitors: Visitors[_Held] = Visitors(
            min(MOST_UNPROVED, max(16, share // 2)), MOST_OF_PEER if is_sealed else share, share
        )
        self._by_descriptor: dict[int, _Held] = {}
        self._is_closed = False
        self._next_warning_s = 0.0
        self._accepts_again_s: float | None = None  # it has had no descriptors
        self.refused = 0
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=BACKLOG)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._epoll = select.epoll()
        self._end = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._end, READ)
        self._epoll.register(self._listener, READ | _ONCE)
        self._threads: list[threading.Thread] = []
        self._free_threads = 0  # that wait for news
        try:
            self._start_thread()
        except BaseException:
            self._listener.close()
            self._epoll.close()
            os.close(self._end)
            raise

    # what the owner says

    def admit(self, number: int) -> None:
        """The host of this number may connect."""
        if self._admitted is not None:
            self._admitted.add(number)

    def dismiss(self, number: int) -> None:
        """It may not any more."""
        if self._admitted is not None:
            self._admitted.discard(number)
        with self._lock:
            visits = self._visitors.of_peer(number)
        for visit in visits:
            _break_off(visit)

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
            for visit in self._awaiting.pop(token, ()):
                self._rouse(visit)

    def forget(self, token: bytes) -> None:
        with self._lock:
            self._expected.pop(token, None)

    def close(self) -> None:
        """Hang up on everybody; idempotent."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            visits = list(self._visitors)
            self._served.clear()
            self._expected.clear()
            threads = list(self._threads)
        os.eventfd_write(self._end, 1)  # which all threads see
        for visit in visits:
            _break_off(visit)
        running = await_ends(threads, END_S)  # one that goes on holds what it looks at
        for visit in visits:
            if visit.lock.acquire(blocking=False):
                self._end_visit(visit)
                visit.lock.release()
        self._listener.close()
        if not running:  # else these numbers would be somebody else's while it uses them
            self._epoll.close()
            os.close(self._end)

    # what a visit asks

    def on_proved(self, visit: Visit, peer: Hashable) -> None:
        assert isinstance(visit, _Held)
        with self._lock:
            goes = self._visitors.prove(visit, peer)
        if goes is visit:
            raise StreamError(f"its host has {MOST_OF_PEER} connections already, and all of them are busy")
        if goes is not None:
            self._hang_up(goes)

    def find_served(self, token: bytes) -> memoryview | None:
        with self._lock:
            return self._served.get(token, (None, 0))[0]

    def find_expected(self, token: bytes, visit: Visit) -> Arrival | None:
        assert isinstance(visit, _Held)
        with self._lock:
            arrival = self._expected.get(token)
            if arrival is None and visit not in self._awaiting.setdefault(token, []):
                self._awaiting[token].append(visit)
            return arrival

    # the threads

    def _start_thread(self) -> None:
        thread = new_thread("scaler-object-port", self._work)
        self._threads.append(thread)
        self._free_threads += 1
        try:
            thread.start()
        except BaseException:
            self._threads.remove(thread)
            self._free_threads -= 1
            raise

    def _work(self) -> None:
        while not self._is_closed:
            with self._lock:
                due_s = self._next_due_s()
            events = self._epoll.poll(None if due_s is None else max(0.0, due_s - time.monotonic()), 1)
            if self._is_closed:
                return
            with self._lock:
                self._free_threads -= 1
            try:
                for descriptor, _ in events:
                    self._on_news(descriptor)
                self._look_at_limits()
            except Exception:
                _log.exception("the port for objects has failed at something, and goes on")
                time.sleep(PAUSE_S)
            with self._lock:
                self._free_threads += 1

    def _next_due_s(self) -> float | None:
        """When something is to be done even if nobody has news."""
        due_s, again_s = self._visitors.next_due_s(), self._accepts_again_s
        return again_s if due_s is None else due_s if again_s is None else min(due_s, again_s)

    def _on_news(self, descriptor: int) -> None:
        if descriptor == self._listener.fileno():
            self._accept()
            return
        with self._lock:
            visit = self._by_descriptor.get(descriptor)
            is_alone = self._free_threads == 0
        if visit is None:
            return
        if is_alone and visit.peer is not None:
            self._start_one_more()
        with visit.lock:
            self._go_on(visit)

    def _start_one_more(self) -> None:
        """While this thread moves bytes another one looks for news."""
        with self._lock:
            if self._is_closed or self._free_threads or len(self._threads) >= MOST_THREADS:
                return
            try:
                self._start_thread()
            except RuntimeError as error:  # those that there are have to do
                self._next_warning_s = time.monotonic() + WARNING_S
                _log.warning("no more threads for objects: %s", error)

    def _accept(self) -> None:
        for _ in range(MOST_ACCEPTED):
            try:
                connection, place = self._listener.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if self._is_closed:
                    return
                if error.errno in _FULL and not self._make_room():
                    self._warn("cannot take a connection for objects: %s", error)
                    with self._lock:
                        self._accepts_again_s = time.monotonic() + PAUSE_S
                    return
                continue
            try:
                self._let_in(connection, address_of(str(place[0])))
            except Exception as error:  # no memory
                connection.close()
                self._warn("cannot serve a connection for objects: %s", error)
        self._epoll.modify(self._listener, READ | _ONCE)

    def _make_room(self) -> bool:
        """Hang up on one that has proved nothing, or has nothing to do."""
        with self._lock:
            visit = self._visitors.find_dispensable()
        return visit is not None and self._hang_up(visit)

    def _let_in(self, connection: socket.socket, address: str) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        visit = _Held(self, connection, address)
        with self._lock:
            goes = visit if self._is_closed else self._visitors.add(visit)
            if goes is not visit:
                self._by_descriptor[connection.fileno()] = visit
        if goes is visit:
            connection.close()
            return
        if goes is not None:
            self._hang_up(goes)
        with visit.lock:
            self._epoll.register(connection, 0)
            self._go_on(visit)

    def _go_on(self, visit: _Held) -> None:
        """By the thread that has its lock."""
        if visit.is_over:
            return
        try:
            interest = next(visit.steps)
        except StopIteration:
            self._end_visit(visit)
            return
        except Refusal as error:
            self._complain(error, logging.INFO)
            self._end_visit(visit)
            return
        except HungUp as error:
            self._complain(error, logging.INFO)  # the side that needs it comes again
            self._end_visit(visit)
            return
        except (StreamError, ValueError) as error:
            self._complain(error)
            self._end_visit(visit)
            return
        except OSError:
            self._end_visit(visit)  # the connection broke: the side that needs it comes again
            return
        except Exception:
            _log.exception("a transfer of an object has failed")
            self._end_visit(visit)
            return
        if visit.limit_s is not None:
            with self._lock:
                self._visitors.wait(visit, visit.limit_s, time.monotonic())
            visit.limit_s = None
        if interest != WAIT:
            self._epoll.modify(visit.socket, interest | _ONCE)

    def _rouse(self, visit: _Held) -> None:
        """Have a thread go on with a visit that waits for this process: a socket can nearly always be written to."""
        with suppress(OSError, ValueError):  # it has just ended
            self._epoll.modify(visit.socket, WRITE | _ONCE)

    def _look_at_limits(self) -> None:
        now_s = time.monotonic()
        with self._lock:
            due = self._visitors.take_due(now_s)
            accepts_again = self._accepts_again_s is not None and self._accepts_again_s <= now_s
            if accepts_again:
                self._accepts_again_s = None
        for visit in due:
            if not visit.lock.acquire(blocking=False):  # it has just got on
                with self._lock:
                    self._visitors.wait(visit, PAUSE_S, now_s)
                continue
            if visit.may_be_late:
                visit.is_late = True
                self._go_on(visit)
            else:
                self._end_visit(visit)
            visit.lock.release()
        if accepts_again:
            self._epoll.modify(self._listener, READ | _ONCE)

    def _hang_up(self, visit: _Held) -> bool:
        """True if that has been done; else the thread that is about it sees it."""
        if visit.lock.acquire(blocking=False):
            self._end_visit(visit)
            visit.lock.release()
            return True
        _break_off(visit)
        return False

    def _end_visit(self, visit: _Held) -> None:
        """By the thread that has its lock."""
        if visit.is_over:
            return
        visit.is_over = True
        visit.steps.close()
        with self._lock:
            self._visitors.remove(visit)
            self._by_descriptor.pop(visit.socket.fileno(), None)
            for token in [token for token, visits in self._awaiting.items() if visit in visits]:
                self._awaiting[token].remove(visit)
                if not self._awaiting[token]:
                    del self._awaiting[token]
        visit.socket.close()  # epoll forgets it with that

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


def _break_off(visit: Visit) -> None:
    """From any thread: whichever is about it, or is next, sees that it is over."""
    with suppress(OSError):
        visit.socket.shutdown(socket.SHUT_RDWR)
