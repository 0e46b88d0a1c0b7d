"""Descriptors: bytes written whole to one; and the packets of one host, each a JSON object that may bring some along.

Rule 1: a descriptor of another process's is never handed on to a program that a task starts: `exec` closes it.
Rule 2: a packet that did not come whole, or with more descriptors than it may have, is none. What came of it is closed.
Rule 3: what a packet says is a JSON object, or ValueError, whatever bytes it has.
Not here: whose end a descriptor is, what the objects mean.
"""

import array
import errno
import json
import os
import resource
import select
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

from scaler.exceptions import LimitError

LOOK_S = 0.05  # how often a thread that waits for a packet looks whether it still is to wait


def check_descriptors(count: int) -> None:
    """LimitError if this process can open no so many more: libzmq, for one, ends a process that cannot."""
    taken: list[int] = []
    try:
        for _ in range(count):
            taken.append(os.eventfd(0, os.EFD_CLOEXEC))
    except OSError as error:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        raise LimitError(
            f"{count} more files or sockets must be opened here, and only {len(taken)} can be ({error.strerror}): this "
            f"process may have {most} open (ulimit -n)"
        ) from None
    finally:
        close_all(taken)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, however long that takes. OSError if that cannot be, for instance since nobody reads any more."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:  # another process that has it open wants it so: a terminal is shared
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


def receive_packet(connection: socket.socket, most_bytes: int, most_descriptors: int) -> tuple[bytes, list[int]]:
    """The next packet and the descriptors that came with it, which are the caller's to close.

    No bytes: the other side has hung up. OSError, BlockingIOError included, as `recvmsg` raises it; ValueError if the
    packet is larger than it may be.
    """
    descriptors = array.array("i")
    # Not by `socket.recv_fds`, which takes flags and passes none on.
    packet, brought, flags, _ = connection.recvmsg(
        most_bytes, socket.CMSG_LEN(most_descriptors * descriptors.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, data in brought:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        close_all(descriptors)
        raise ValueError(f"a packet has more than {most_bytes} bytes or {most_descriptors} descriptors")
    if not packet:  # a packet of no bytes looks like a hang-up, and is taken for one, but may have brought some
        close_all(descriptors)
        return b"", []
    return packet, descriptors.tolist()


def has_packet(connection: socket.socket, timeout_s: float) -> bool:
    """Whether there is something to receive, or has hung up, by then. Not by `select`, which ends at number 1,023."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(max(0.0, timeout_s) * 1000))


def await_packet(connection: socket.socket, timeout_s: float, is_stopped: Callable[[], bool]) -> None:
    """Until there is something to receive, or has hung up. TimeoutError if there is not by then; InterruptedError soon
    after `is_stopped()`.
    """
    deadline = time.monotonic() + timeout_s
    while not has_packet(connection, max(0.0, min(LOOK_S, deadline - time.monotonic()))):
        if is_stopped():
            raise InterruptedError(errno.EINTR, "nobody wants its answer any more")
        if time.monotonic() >= deadline:
            raise TimeoutError(errno.ETIMEDOUT, f"it has not answered for {timeout_s:g} s")


def message_in(packet: bytes) -> dict[str, Any]:
    """What a packet says. ValueError if that is no JSON object.

    JSON can say half of a surrogate pair, with which a text fails wherever it is logged or sent on: it becomes "?".
    """
    try:
        message = json.loads(json.dumps(json.loads(packet), ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError:
        raise ValueError("a packet that goes too deep") from None
    if not isinstance(message, dict):
        raise ValueError("a packet that is no JSON object")
    return message


def close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
