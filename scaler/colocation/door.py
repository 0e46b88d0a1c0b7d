"""The door: where a process of the same host hands over its rings.

An abstract AF_UNIX socket, one packet each way. The visitor sends what it is and where its rings lie, with its doorbell
(doorbell) and a descriptor of its process attached; the owner opens the segment by name, compares the nonce, and
answers yes, with its own bell attached, or no, with a sentence and nothing else. Yes means that both have the same
/dev/shm: co-location is found out, not configured.

Rule 1: both sides check that the other runs as the same user.
Rule 2: the visitor removes its segment's name at once, whatever the answer, so that it cannot leak.
Rule 3: a process has died when its descriptor says so. A hang-up only means that every copy of the socket is closed: a
        visitor that has left of its own will, or that has no descriptor of itself.
Rule 4: that descriptor comes with the request, from the process or from its supervisor. Neither the number in the
        request nor the one that the kernel tells is made one of: see scaler.program.processes.
Rule 5: a visitor that has not said what it wants may wait PATIENCE_S for that, and MOST_SILENT may wait at a time: else
        whoever connects and says nothing takes the owner's descriptors, which others need.
Not here: what a visitor is then used for.
"""

import array
import asyncio
import json
import logging
import os
import resource
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scaler._native import LAYOUT_VERSION, Segment, is_doorbell, nonce_of
from scaler.colocation.knock import MOST_PACKET_BYTES, NotCoLocated, Refused, check_user, pack_address
from scaler.colocation.names import is_segment_of
from scaler.program.descriptors import close_all, message_in, receive_packet
from scaler.program.processes import Process, is_process
from scaler.program.sparing_log import SparingLog

_log = logging.getLogger(__name__)
_sparing = SparingLog(_log)
PAUSE_S = 1.0  # of a door that has run out of descriptors
PATIENCE_S = 30.0  # as long as a visitor waits for its answer (colocation.knock)
MOST_SILENT = 512


@dataclass(eq=False)
class Visitor:
    """The owner's side of one connection."""

    connection: socket.socket
    pid: int  # for people to read
    pidfd: int = -1
    request: dict[str, Any] = field(default_factory=dict)
    doorbell: int = -1
    memory: int = -1  # a descriptor of rings that were handed over by somebody else; closed once it is in
    peer: Any = None  # for whoever let it in
    voucher: bytes = b""  # the same: of a worker's rings
    accepted: bool = False

    @property
    def key(self) -> str:
        """What the supervisor of its process calls that; empty if it has none."""
        key = self.request.get("process")
        return key if isinstance(key, str) else ""

    @property
    def process(self) -> Process:
        """With a descriptor of its own."""
        return Process(self.pidfd, self.pid, self.key)


class Door:
    """Lets visitors in and says when they have gone.

    `on_join(visitor)` returns what to answer besides `ok`, or raises NotCoLocated or Refused; it finds the visitor's
    doorbell in `visitor.doorbell`. `on_left(visitor)` is called once for each that was let in, and `on_said(visitor,
    message)` for what it has to say later, which is true if that means something. `odd` counts what does not.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: str,
        eventfd: int,
        on_join: Callable[[Visitor], dict[str, Any]],
        on_left: Callable[[Visitor], None],
        on_said: Callable[[Visitor, dict[str, Any]], bool] = lambda visitor, message: False,
    ) -> None:
        self.address = address
        self._loop = loop
        self._eventfd = eventfd
        self._on_join, self._on_left, self._on_said = on_join, on_left, on_said
        self._visitors: set[Visitor] = set()
        self._silent: dict[Visitor, asyncio.TimerHandle] = {}  # in the order in which they came
        self.odd = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._socket.bind(pack_address(address))
        self._socket.listen(512)
        self._open()

    def _open(self) -> None:
        """Hear who knocks.

        By the descriptor's number: of a socket with an abstract address nothing can be printed under `python -bb`, and
        asyncio tries to for each that it does not know yet.
        """
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket.fileno(), self._on_knock)

    def _on_knock(self) -> None:
        for _ in range(64):
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # Out of descriptors: whoever knocks goes on knocking, so look away for a while.
                _log.error("cannot let a local process in: %s", error)
                self._loop.remove_reader(self._socket.fileno())
                self._loop.call_later(PAUSE_S, self._open)
                return
            connection.setblocking(False)
            try:
                visitor = Visitor(connection, check_user(connection))
            except (Refused, OSError) as error:
                _sparing.info(None, "a local process was not let in: %s", error)
                connection.close()
                continue
            self._visitors.add(visitor)
            self._loop.add_reader(connection.fileno(), self._on_packet, visitor)
            self._silent[visitor] = self._loop.call_later(PATIENCE_S, self._lose_patience, visitor)
            if len(self._silent) > MOST_SILENT:
                self._lose_patience(next(iter(self._silent)))

    def _lose_patience(self, visitor: Visitor) -> None:
        """It has not said what it wants, for too long or while too many others wait."""
        _sparing.warning(None, "a local process (%d) was hung up on: it had not said what it wants", visitor.pid)
        self._see_off(visitor)

    def _stop_waiting(self, visitor: Visitor) -> None:
        if (timer := self._silent.pop(visitor, None)) is not None:
            timer.cancel()

    def _on_packet(self, visitor: Visitor) -> None:
        try:
            packet, descriptors = receive_packet(visitor.connection, MOST_PACKET_BYTES, 4)
        except (BlockingIOError, InterruptedError):
            return
        except ValueError as error:
            self._note_odd(visitor, error)
            self.tell(visitor, {"ok": False, "why": str(error)})
            self._see_off(visitor)
            return
        except OSError:
            packet, descriptors = b"", []
        if not packet:
            self._see_off(visitor)
            return
        if visitor.doorbell >= 0 or len(descriptors) not in (1, 2, 3):
            close_all(descriptors)
            if visitor.accepted:
                self._hear(visitor, packet)
            elif visitor.doorbell < 0:
                self.tell(visitor, {"ok": False, "why": "the request carries no doorbell"})
                self._see_off(visitor)
            return
        visitor.doorbell = descriptors[0]
        self._stop_waiting(visitor)
        if len(descriptors) >= 2:
            visitor.pidfd = descriptors[1]
        if len(descriptors) == 3:
            visitor.memory = descriptors[2]
        try:
            self._welcome(visitor, packet)
        finally:
            if visitor.memory >= 0:
                os.close(visitor.memory)

    def _welcome(self, visitor: Visitor, packet: bytes) -> None:
        try:
            visitor.request = _checked(packet)
            if not is_doorbell(visitor.doorbell):
                raise Refused("its doorbell is none that can be rung without waiting")
            if visitor.pidfd >= 0 and not is_process(visitor.pidfd):
                raise Refused("what it says is a descriptor of its process is none")
            if visitor.memory >= 0 or not visitor.pid:  # somebody else's, or one that has no number here
                visitor.pid = int(visitor.request["pid"])
            answer = {"ok": True, **self._on_join(visitor)}
            visitor.accepted = True
        except (Refused, NotCoLocated, ValueError, KeyError, TypeError, OverflowError, MemoryError, OSError) as error:
            _sparing.info(visitor.pid, "a local process (%d) was not let in: %s", visitor.pid, error)
            answer = {"ok": False, "why": str(error), "elsewhere": isinstance(error, NotCoLocated)}
        self.tell(visitor, answer, [self._eventfd] if visitor.accepted else None)
        if not visitor.accepted:
            self._see_off(visitor)
            return
        if visitor.pidfd >= 0:
            self._loop.add_reader(visitor.pidfd, self._see_off, visitor)

    def _hear(self, visitor: Visitor, packet: bytes) -> None:
        """What a visitor has to say later. What means nothing is passed over: it may be of a version to come."""
        try:
            is_known = self._on_said(visitor, message_in(packet))
        except ValueError as error:
            self._note_odd(visitor, error)
        else:
            if not is_known:
                self._note_odd(visitor, "nothing that is known here")

    def _note_odd(self, visitor: Visitor, what: object) -> None:
        self.odd += 1
        _sparing.warning(visitor.pid, "process %d says what means nothing at the door: %s", visitor.pid, what)

    def tell(self, visitor: Visitor, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        """Send a visitor one packet; nothing if it has gone, or does not read: nobody here waits for it."""
        try:
            visitor.connection.sendmsg(
                [json.dumps(message).encode()],
                [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else [],
            )
        except OSError:
            pass  # it has gone, and the hang-up follows; or it does not read, and misses this

    def _see_off(self, visitor: Visitor) -> None:
        """The visitor is gone, or must go."""
        if visitor not in self._visitors:
            return
        self._visitors.discard(visitor)
        self._stop_waiting(visitor)
        self._loop.remove_reader(visitor.connection.fileno())
        visitor.connection.close()
        if visitor.pidfd >= 0:
            self._loop.remove_reader(visitor.pidfd)
            os.close(visitor.pidfd)
        if visitor.accepted:
            self._on_left(visitor)
        if visitor.doorbell >= 0:
            os.close(visitor.doorbell)

    @property
    def visitors(self) -> frozenset[Visitor]:
        return frozenset(self._visitors)

    def dismiss(self, visitor: Visitor) -> None:
        """Hang up on this visitor."""
        self._see_off(visitor)

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        for visitor in list(self._visitors):
            self._see_off(visitor)


def raise_descriptor_limit() -> None:
    """Let this process have as many descriptors as it may: a visitor takes four, and the usual limit is 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def rings_of(visitor: Visitor, life: str) -> Segment:
    """The visitor's segment, by name or by the descriptor that came with it. NotCoLocated if it is not seen here."""
    if visitor.memory < 0:
        return open_rings(visitor.request, life)
    return Segment.map("", visitor.memory, os.fstat(visitor.memory).st_size)


def open_rings(request: dict[str, Any], life: str) -> Segment:
    """The visitor's segment. Refused if it can be none of this life, NotCoLocated if it is not to be seen here."""
    if not is_segment_of(life, request["segment"]):
        raise Refused("what it names is no segment for rings of this scheduler or relay")
    try:
        memory = Segment.open(request["segment"])
        same = nonce_of(memory).hex() == request["nonce"]
    except (OSError, ValueError) as error:
        raise NotCoLocated(f"its shared memory is not to be seen here: {error}") from error
    if not same:
        raise NotCoLocated("its shared memory is not the one to be seen here under that name")
    return memory


def _checked(packet: bytes) -> dict[str, Any]:
    """The request, if it is one; Refused otherwise."""
    try:
        request = message_in(packet)
        ok = (
            isinstance(request["segment"], str)
            and len(bytes.fromhex(request["nonce"])) == 16
            and isinstance(request["role"], str)
        )
    except (ValueError, KeyError, TypeError):
        ok = False
    if not ok:
        raise Refused("the request makes no sense")
    if request.get("layout") != LAYOUT_VERSION:
        raise Refused(f"shared memory is laid out by version {request.get('layout')}, here it is {LAYOUT_VERSION}")
    if request.get("python") != list(sys.version_info[:2]):
        raise Refused(
            f"it runs Python {'.'.join(map(str, request.get('python', ())))}, this side "
            f"{sys.version_info[0]}.{sys.version_info[1]}: pickles must match, use the same minor version"
        )
    return request
