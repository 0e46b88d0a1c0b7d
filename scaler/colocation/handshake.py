"""Handshake: how a process hands its rings to the scheduler or relay of its host.

Not here: the owner's side and the rules of both (listener). Kept apart because workers import this and nothing heavy.
"""

import json
import os
import secrets
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from scaler._native import LAYOUT_VERSION, Segment, lay_out_peer, peer_segment_bytes
from scaler.colocation.doorbell import new_doorbell
from scaler.colocation.names import is_bell_here, is_bell_of, make_segment, segment_file, segment_name
from scaler.exceptions import DisconnectedError
from scaler.program.descriptors import await_packet, message_in, receive_packet
from scaler.program.processes import open_own

MOST_PACKET_BYTES = 65536
CONTROL_RING_BYTES = 65536
ANSWER_S = 30.0
# From a socket that is there: of one that is not, the kernel says that it refuses.
_UNANSWERED = (TimeoutError, InterruptedError, BlockingIOError, BrokenPipeError, ConnectionResetError)


class NotCoLocated(Exception):
    """The owner of the listener does not see the shared memory of the process that asks."""


class Unanswered(DisconnectedError):
    """There is a listener here, and its owner does not answer, or not any more: it is stopped, or ends."""


class Refused(Exception):
    """The owner of the listener does not want this process; the text says why."""


def pack_address(address: str) -> str:
    """The kernel's form of an abstract address."""
    return "\0" + address


def peer_credentials(connection: socket.socket) -> tuple[int, int]:
    """(process id, user id) of the process that made the other end. An id of 0 is a process of a namespace around this
    one, or beside it.
    """
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


def check_user(connection: socket.socket) -> int:
    """The process id of the other side, for people to read. Refused if it runs as another user."""
    pid, uid = peer_credentials(connection)
    if uid != os.geteuid():
        raise Refused(f"the other side runs as user {uid}, this one as {os.geteuid()}")
    return pid


def answer_in(packet: bytes, descriptors: int, epoch: str | None) -> dict[str, Any]:
    """What the owner of a listener has answered. It names no memory but its own: of this epoch, if that is known.

    NotCoLocated or Refused with its sentence; ValueError if no listener answers so.
    """
    answer = message_in(packet)
    if not answer.get("ok"):
        why = str(answer.get("why", "it gives no reason"))
        raise NotCoLocated(why) if answer.get("elsewhere") else Refused(why)
    memory = answer.get("memory")
    if not (
        descriptors == 1
        and type(answer.get("slot")) is type(answer.get("tag")) is int
        and type(answer.get("bell")) is type(answer.get("epoch")) is str
        and isinstance(memory, list)
        and [type(each) for each in memory] == [str, int]
    ):
        raise ValueError("what listens there does not answer as a scheduler or relay does")
    if answer["epoch"] != (epoch or answer["epoch"]) or not is_bell_of(answer["epoch"], answer["bell"]):
        raise ValueError("another scheduler or relay listens there, or it names memory that is not its own")
    return answer


class LocalConnection:
    """What a process has after the handshake: its rings, the owner's bell, and a connection that lasts as long."""

    def __init__(
        self,
        connection: socket.socket,
        memory: Segment,
        descriptor: int,
        doorbell: int,
        bell_eventfd: int,
        answer: dict[str, Any],
    ) -> None:
        self.connection = connection
        self.memory = memory
        self.descriptor = descriptor  # of the memory, if it was to be kept
        self.doorbell = doorbell
        self.bell = Segment.open(answer["bell"])
        self.bell_eventfd = bell_eventfd
        self.slot: int = answer["slot"]
        self.epoch: str = answer["epoch"]
        self.tag: int = answer["tag"]  # of the objects it makes
        self.folder: str  # for objects that /dev/shm has no room for
        self.most_bytes: int  # that may be in /dev/shm
        self.folder, self.most_bytes = answer["memory"]
        self.farewell: str | None = None  # a hang-up says nothing
        self.lost_s: float | None = None

    @property
    def scheduler_epoch(self) -> str:
        """Of the scheduler that has let it in."""
        return self.epoch

    @property
    def lifeline(self) -> int:
        """A descriptor that hangs up when the owner of the listener has gone."""
        return self.connection.fileno()

    def deliver_rest(self, look: Callable[[], None]) -> None:
        """All there is stands in the ring."""
        look()

    def abandon(self) -> None:
        """In a forked child: let go of this copy, without a word to the other side."""
        self.connection.close()

    def close(self) -> None:
        """Hang up; idempotent. The mapping stays as long as somebody looks at it."""
        if self.connection.fileno() < 0:
            return
        self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
        for descriptor in (self.doorbell, self.bell_eventfd):
            os.close(descriptor)


def handshake(
    address: str,
    epoch: str,
    role: str,
    ring_bytes: int,
    children_bytes: int = 0,
    *,
    keeps_memory: bool = False,
    is_stopped: Callable[[], bool] = lambda: False,
    **about: Any,
) -> LocalConnection:
    """Make rings and hand them over at `address`. With `keeps_memory` the entry has a descriptor of them.

    Raises NotCoLocated if the owner does not share this process's memory, Refused with its sentence, or
    DisconnectedError if nobody answers, or soon after `is_stopped()`; that is Unanswered if there is a listener here.
    """
    nonce = secrets.token_bytes(16)
    size = peer_segment_bytes(ring_bytes, CONTROL_RING_BYTES, children_bytes)
    memory = make_segment(segment_name(epoch), size)
    descriptors: list[int] = []  # those that the entry keeps
    process: list[int] = []
    connection = None
    try:
        if memory.name.startswith("/") and not is_bell_here(epoch):
            # The owner may see this file and not /dev/shm: it would let in a process that cannot ring its bell.
            raise NotCoLocated("this process has no shared memory in common with it")
        doorbell = new_doorbell()
        descriptors.append(doorbell)
        descriptor = -1
        if keeps_memory:
            descriptor = os.open(segment_file(memory.name), os.O_RDWR | os.O_CLOEXEC)
            descriptors.append(descriptor)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        process.extend(open_own())
        request = {
            "role": role, "segment": memory.name, "nonce": nonce.hex(), "layout": LAYOUT_VERSION,
            "python": list(sys.version_info[:2]), "pid": os.getpid(), **about,
        }  # fmt: skip
        lay_out_peer(memory, nonce, ring_bytes, CONTROL_RING_BYTES, children_bytes)
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(pack_address(address))
            check_user(connection)
            socket.send_fds(connection, [json.dumps(request).encode()], [doorbell, *process])
            await_packet(connection, ANSWER_S, is_stopped)
            packet, received = receive_packet(connection, MOST_PACKET_BYTES, 1)
            descriptors.extend(received)
            if not packet:
                raise Unanswered(f"the owner of the local address {address} hung up")
            answer = answer_in(packet, len(received), epoch)
        except Unanswered:
            raise
        except (OSError, ValueError) as error:
            kind = Unanswered if isinstance(error, _UNANSWERED) else DisconnectedError
            raise kind(f"nobody answers at the local address {address}: {error}") from error
        connection.settimeout(None)
        try:
            return LocalConnection(connection, memory, descriptor, doorbell, received[0], answer)
        except FileNotFoundError as error:  # its bell page
            raise Unanswered(f"the owner of the local address {address} has gone") from error
    except BaseException:
        for each in descriptors:
            os.close(each)
        if connection is not None:
            connection.close()
        raise
    finally:
        for each in process:
            os.close(each)
        Segment.unlink(memory.name)
