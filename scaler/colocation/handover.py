"""Handover: how workers go from a scheduler that has died to the next one, without being stopped.

The supervisor holds a descriptor of each worker's rings and of its doorbell. It hands both in at the new scheduler's
listener, which takes over the rings where they are (native/shm/takeover.pyx): nothing is asked of the worker, which may
be in the midst of a task. Then it tells the worker which bell to ring from now on; the worker hears that when its task
is done.

Rule 1: memory comes as a descriptor here, and so does not show that it is shared: the supervisor has shown that for its
        host by handing in rings of its own.
Rule 2: workers import this.
Not here: which worker runs what (native/scheduler/survivors.pyx).
"""

import array
import json
import logging
import math
import os
import socket
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from scaler._native import LAYOUT_VERSION, Segment, WorkerLoop
from scaler.colocation.handshake import (
    MOST_PACKET_BYTES,
    LocalConnection,
    NotCoLocated,
    Refused,
    answer_in,
    check_user,
    pack_address,
)
from scaler.exceptions import DisconnectedError
from scaler.program.creator import MOST_REPORT_BYTES, Creator
from scaler.program.descriptors import await_packet, close_all, message_in, receive_packet

_log = logging.getLogger(__name__)
OPEN_S = 10.0  # to be let in; the answer may take longer


class Handle(NamedTuple):
    """What a supervisor needs to hand a worker over; the descriptors are its to close."""

    memory: int
    doorbell: int
    tag: int

    def close(self) -> None:
        os.close(self.memory)
        os.close(self.doorbell)

    def copy(self) -> "Handle":
        """With descriptors of its own."""
        memory = os.dup(self.memory)
        try:
            return Handle(memory, os.dup(self.doorbell), self.tag)
        except OSError:
            os.close(memory)
            raise


class NewOwner(NamedTuple):
    """Where a worker has been taken in: what it is to be told, and descriptors for it."""

    answer: dict[str, Any]
    connection: socket.socket
    bell: int

    def close(self) -> None:
        self.connection.close()
        os.close(self.bell)


def hand_over(
    local_address: str, handle: Handle, pid: int, pidfd: int, is_stopped: Callable[[], bool], **about: Any
) -> NewOwner:
    """Hand a worker's rings to the scheduler that listens here, with a descriptor of the worker's process: the number
    of a process means nothing to a scheduler in another PID namespace. Refused with the scheduler's sentence;
    DisconnectedError if nobody listens.

    Waits for the answer until `is_stopped()`, however long: a scheduler that has been stopped for a while would take
    the worker in once it goes on, and lose it at once if nobody waited any more.
    """
    request = {
        "role": "worker", "segment": "", "nonce": bytes(16).hex(), "layout": LAYOUT_VERSION,
        "python": list(sys.version_info[:2]), "pid": pid, "tag": handle.tag, **about,
    }  # fmt: skip
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    descriptors: list[int] = []
    try:
        connection.settimeout(OPEN_S)
        connection.connect(pack_address(local_address))
        check_user(connection)
        socket.send_fds(connection, [json.dumps(request).encode()], [handle.doorbell, pidfd, handle.memory])
        await_packet(connection, math.inf, is_stopped)
        packet, descriptors = receive_packet(connection, MOST_PACKET_BYTES, 1)
        if not packet:
            raise OSError("it hung up")
        answer = answer_in(packet, len(descriptors), None)
        connection.settimeout(None)
        return NewOwner({**answer, "local_address": local_address}, connection, descriptors[0])
    except BaseException as error:
        close_all(descriptors)
        connection.close()
        if isinstance(error, NotCoLocated):
            raise Refused(str(error)) from error
        if isinstance(error, OSError | ValueError):
            raise DisconnectedError(
                f"nobody takes a worker in at the local address {local_address}: {error}"
            ) from error
        raise


def tell_worker(link: socket.socket, place: NewOwner) -> bool:
    """Tell the worker where it belongs now; nothing if it has gone. False if it has not read what it was told before:
    the kernel keeps but a few words for a worker that is long in a task, and to wait for room may take as long.
    """
    descriptors = array.array("i", [place.bell, place.connection.fileno()])
    try:
        # Not by `socket.send_fds`, which takes flags and passes none on.
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)]
        link.sendmsg([json.dumps(place.answer).encode()], ancillary, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        pass
    finally:
        place.close()
    return True


class Moving:
    """The worker's side: `report` how it can be handed over, then hear where it was taken in.

    `on_moved(local_address, epoch)` is called before the first task that comes from there.
    """

    def __init__(
        self, creator: Creator, loop: WorkerLoop, entry: LocalConnection, on_moved: Callable[[str, str], None]
    ) -> None:
        self._creator, self._loop, self._entry, self._on_moved = creator, loop, entry, on_moved
        self._descriptors: list[int] = []

    def abandon(self) -> None:
        """In a forked child: let go of what hangs up when the worker ends."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []

    def report(self) -> None:
        """Give the supervisor the rings and the doorbell."""
        entry = self._entry
        assert entry.descriptor >= 0
        message = json.dumps({"joined": True, "tag": entry.tag}).encode()
        try:
            socket.send_fds(self._creator.link, [message], [entry.descriptor, entry.doorbell])
        except OSError:
            pass  # the supervisor is gone, and so will this process be
        os.close(entry.descriptor)

    def on_word(self) -> bool:
        """Take the supervisor's next word, waiting for it. False if there will be none.

        There is but one: where the worker belongs now. Others mean nothing, and are passed over.
        """
        while True:
            try:
                packet, descriptors = receive_packet(self._creator.link, MOST_REPORT_BYTES, 2)
                if not packet:
                    return False
                answer = message_in(packet)
            except OSError:
                return False
            except ValueError as error:
                _log.warning("the supervisor says what means nothing: %s", error)
                continue
            if len(descriptors) == 2 and {"bell", "local_address", "epoch", "memory", "slot"} <= answer.keys():
                break
            close_all(descriptors)
            _log.warning("the supervisor says what means nothing: %.200r", answer)
        folder, most_bytes = answer["memory"]
        try:
            bell = Segment.open(answer["bell"])
        except OSError:
            bell = None  # that one has died, too
        bell_eventfd, lifeline = descriptors
        self._on_moved(answer["local_address"], answer["epoch"])
        self._loop.move(bell, answer["slot"], bell_eventfd, lifeline, answer["epoch"], folder, most_bytes)
        close_all(self._descriptors)
        self._descriptors = descriptors
        return True
