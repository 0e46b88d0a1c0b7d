"""Descriptors: bytes written whole to one, and packets that bring some from another process.

Rule 1: what came from another process is never handed on to a program that a task starts: it is closed by `exec`.
Rule 2: a packet that did not come whole, or with more descriptors than it may have, is none. What came of it is closed.
Not here: whose end a descriptor is.
"""

import os
import select
import socket


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, however long that takes. OSError if that cannot be, for instance since nobody reads any more."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(descriptor, left) :]
        except BlockingIOError:  # whoever else has it open wants it so: a terminal is shared
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


def receive_packet(connection: socket.socket, most_bytes: int, most_descriptors: int) -> tuple[bytes, list[int]]:
    """The next packet and the descriptors that came with it, which are the caller's to close.

    No bytes: the other side has hung up. OSError, BlockingIOError included, as `recvmsg` raises it; ValueError if the
    packet is larger than it may be.
    """
    packet, descriptors, flags, _ = socket.recv_fds(connection, most_bytes, most_descriptors, socket.MSG_CMSG_CLOEXEC)
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        close_all(descriptors)
        raise ValueError(f"a packet has more than {most_bytes} bytes or {most_descriptors} descriptors")
    return packet, descriptors


def close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
