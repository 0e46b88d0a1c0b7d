"""LocalListener: where a process of the same host hands its rings to the scheduler or relay that is to read them.

It listens at an abstract AF_UNIX address. The handshake is one packet each way. The request says what the process is
and where its rings lie, and brings its doorbell and a descriptor of the process. The owner of the listener opens the
segment by its name, compares the nonce in it, and answers yes, with its own bell attached, or no, with a sentence and
nothing else. Yes means that both have the same /dev/shm: so it is found out, and never configured, that two processes
share memory.

Rule 1: both sides check that the other runs as the same user.
Rule 2: the process that asks removes its segment's name at once, whatever the answer, so that the segment cannot leak.
Rule 3: a process has died when its descriptor says so. A hang-up only means that every copy of the socket is closed, so
        it counts for a process that leaves of its own will, or that has brought no descriptor of itself.
Rule 4: that descriptor comes with the request, from the process or from its supervisor. None is made of the number in
        the request, nor of the one that the kernel tells: see scaler.program.processes.
Rule 5: a connection on which nothing has been asked may wait PATIENCE_S for that, and MOST_SILENT connections may wait
        at a time. Otherwise a process that connects and says nothing takes descriptors that others need.
Not here: the side that asks (handshake), and what the rings are used for afterwards (local_peers).
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
from scaler.colocation.handshake import MOST_PACKET_BYTES, NotCoLocated, Refused, check_user, pack_address
from scaler.colocation.names import is_segment_of
from scaler.program.descriptors import close_all, message_in, receive_packet
from scaler.program.processes import Process, is_process
from scaler.program.sparing_log import SparingLog

_log = logging.getLogger(__name__)
_sparing = SparingLog(_log)
PAUSE_S = 1.0  # of a listener that has run out of descriptors
PATIENCE_S = 30.0  # as long as a process waits for its answer (colocation.handshake)
MOST_SILENT = 512


@dataclass(eq=False)
class LocalPeer:
    """A process of this host, as the listener has it: its connection and what came with its request."""

    connection: socket.socket
    pid: int  # for people to read
    pidfd: int = -1
    request: dict[str, Any] = field(default_factory=dict)
    doorbell: int = -1
    memory: int = -1  # a descriptor of its rings, if its supervisor handed them over; closed after the handshake
    rings: Any = None  # what their reader has of them: a Peer of the pump, or a RelayPeer
    voucher: bytes = b""  # of a worker's rings
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


class LocalListener:
    """Takes processes in and says when they have gone.

    `on_join(peer)` returns what to answer besides `ok`, or raises NotCoLocated or Refused; the process's doorbell is
    `peer.doorbell`. `on_left(peer)` is called once for each process that was taken in. `on_said(peer, message)` is
    called for each later message, and is true if the message means something; `odd` counts those that do not.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: str,
        eventfd: int,
        on_join: Callable[[LocalPeer], dict[str, Any]],
        on_left: Callable[[LocalPeer], None],
        on_said: Callable[[LocalPeer, dict[str, Any]], bool] = lambda peer, message: False,
    ) -> None:
        self.address = address
        self._loop = loop
        self._eventfd = eventfd
        self._on_join, self._on_left, self._on_said = on_join, on_left, on_said
        self._visitors: set[LocalPeer] = set()
        self._silent: dict[LocalPeer, asyncio.TimerHandle] = {}  # in the order in which they came
        self.odd = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._socket.bind(pack_address(address))
        self._socket.listen(512)
        self._open()

    def _open(self) -> None:
        """Hear of connections.

        By the descriptor's number: of a socket with an abstract address nothing can be printed under `python -bb`, and
        asyncio tries to for each that it does not know yet.
        """
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket.fileno(), self._on_connection)

    def _on_connection(self) -> None:
        for _ in range(64):
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # Out of descriptors: the connections go on waiting, so look away for a while.
                _log.error("cannot let a local process in: %s", error)
                self._loop.remove_reader(self._socket.fileno())
                self._loop.call_later(PAUSE_S, self._open)
                return
            connection.setblocking(False)
            try:
                peer = LocalPeer(connection, check_user(connection))
            except (Refused, OSError) as error:
                _sparing.info(None, "a local process was not let in: %s", error)
                connection.close()
                continue
            self._visitors.add(peer)
            self._loop.add_reader(connection.fileno(), self._on_packet, peer)
            self._silent[peer] = self._loop.call_later(PATIENCE_S, self._lose_patience, peer)
            if len(self._silent) > MOST_SILENT:
                self._lose_patience(next(iter(self._silent)))

    def _lose_patience(self, peer: LocalPeer) -> None:
        """It has not said what it wants, for too long or while too many others wait."""
        _sparing.warning(None, "a local process (%d) was hung up on: it had not said what it wants", peer.pid)
        self._see_off(peer)

    def _stop_waiting(self, peer: LocalPeer) -> None:
        if (timer := self._silent.pop(peer, None)) is not None:
            timer.cancel()

    def _on_packet(self, peer: LocalPeer) -> None:
        try:
            packet, descriptors = receive_packet(peer.connection, MOST_PACKET_BYTES, 4)
        except (BlockingIOError, InterruptedError):
            return
        except ValueError as error:
            self._note_odd(peer, error)
            self.tell(peer, {"ok": False, "why": str(error)})
            self._see_off(peer)
            return
        except OSError:
            packet, descriptors = b"", []
        if not packet:
            self._see_off(peer)
            return
        if peer.doorbell >= 0 or len(descriptors) not in (1, 2, 3):
            close_all(descriptors)
            if peer.accepted:
                self._hear(peer, packet)
            elif peer.doorbell < 0:
                self.tell(peer, {"ok": False, "why": "the request carries no doorbell"})
                self._see_off(peer)
            return
        peer.doorbell = descriptors[0]
        self._stop_waiting(peer)
        if len(descriptors) >= 2:
            peer.pidfd = descriptors[1]
        if len(descriptors) == 3:
            peer.memory = descriptors[2]
        try:
            self._welcome(peer, packet)
        finally:
            if peer.memory >= 0:
                os.close(peer.memory)

    def _welcome(self, peer: LocalPeer, packet: bytes) -> None:
        try:
            peer.request = _checked(packet)
            if not is_doorbell(peer.doorbell):
                raise Refused("its doorbell is none that can be rung without waiting")
            if peer.pidfd >= 0 and not is_process(peer.pidfd):
                raise Refused("what it says is a descriptor of its process is none")
            if peer.memory >= 0 or not peer.pid:  # somebody else's, or one that has no number here
                peer.pid = int(peer.request["pid"])
            answer = {"ok": True, **self._on_join(peer)}
            peer.accepted = True
        except (Refused, NotCoLocated, ValueError, KeyError, TypeError, OverflowError, MemoryError, OSError) as error:
            _sparing.info(peer.pid, "a local process (%d) was not let in: %s", peer.pid, error)
            answer = {"ok": False, "why": str(error), "elsewhere": isinstance(error, NotCoLocated)}
        self.tell(peer, answer, [self._eventfd] if peer.accepted else None)
        if not peer.accepted:
            self._see_off(peer)
            return
        if peer.pidfd >= 0:
            self._loop.add_reader(peer.pidfd, self._see_off, peer)

    def _hear(self, peer: LocalPeer, packet: bytes) -> None:
        """A message after the handshake. One that means nothing is passed over: it may be of a version to come."""
        try:
            is_known = self._on_said(peer, message_in(packet))
        except ValueError as error:
            self._note_odd(peer, error)
        else:
            if not is_known:
                self._note_odd(peer, "nothing that is known here")

    def _note_odd(self, peer: LocalPeer, what: object) -> None:
        self.odd += 1
        _sparing.warning(peer.pid, "process %d says what means nothing to the listener: %s", peer.pid, what)

    def tell(self, peer: LocalPeer, message: dict[str, Any], descriptors: list[int] | None = None) -> None:
        """Send one packet. Nothing happens if the process has gone, or does not read: nobody here waits for it."""
        try:
            peer.connection.sendmsg(
                [json.dumps(message).encode()],
                [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else [],
            )
        except OSError:
            pass  # it has gone, and the hang-up follows; or it does not read, and misses this

    def _see_off(self, peer: LocalPeer) -> None:
        """The process has gone, or must go."""
        if peer not in self._visitors:
            return
        self._visitors.discard(peer)
        self._stop_waiting(peer)
        self._loop.remove_reader(peer.connection.fileno())
        peer.connection.close()
        if peer.pidfd >= 0:
            self._loop.remove_reader(peer.pidfd)
            os.close(peer.pidfd)
        if peer.accepted:
            self._on_left(peer)
        if peer.doorbell >= 0:
            os.close(peer.doorbell)

    @property
    def peers(self) -> frozenset[LocalPeer]:
        return frozenset(self._visitors)

    def dismiss(self, peer: LocalPeer) -> None:
        """Hang up on this process."""
        self._see_off(peer)

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        for peer in list(self._visitors):
            self._see_off(peer)


def raise_descriptor_limit() -> None:
    """Let this process have as many descriptors as it may: a local process takes four, and the usual limit is 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def rings_of(peer: LocalPeer, epoch: str) -> Segment:
    """The segment of its rings, by name or by the descriptor that came with the request. Raises as `open_rings`."""
    if peer.memory < 0:
        return open_rings(peer.request, epoch)
    return Segment.map("", peer.memory, os.fstat(peer.memory).st_size)


def open_rings(request: dict[str, Any], epoch: str) -> Segment:
    """The segment that a request names. Refused if it can be none of this epoch, NotCoLocated if it is not here."""
    if not is_segment_of(epoch, request["segment"]):
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
