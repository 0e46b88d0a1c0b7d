"""Listening: bind the scheduler's socket, with an error that says what is in the way.

What peers send and nobody has read yet lies in ZeroMQ's memory, so `limit` bounds it: a connection that is read too
slowly is not read on by ZeroMQ, its peer's kernel gets no room, and then the peer waits. Nothing is lost by that. What
waits for a peer that reads slowly is bounded elsewhere, by what it has not acknowledged (remote_peers); the mark here
is far above that. A socket of a peer has no such mark for what it receives: a process whose interpreter is held still
answers pings by ZeroMQ's own threads, as long as these go on reading.

Rule 1: an ipc path is this user's alone (0600), and nothing is taken from others: ZeroMQ removes whatever lies at the
        path, be it the socket of a scheduler that runs or a file of the user's. It does not remove its own at the end.
"""

import errno
import os
import socket
import stat

import zmq

from scaler.address import Address
from scaler.exceptions import AddressInUseError, ListenError
from scaler.protocol.bounds import FRAME_LIMIT_BYTES

_WHY = {
    errno.EACCES: "this user may not (ports below 1024 need a privilege, a path the right to write there)",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
    errno.ENODEV: "no interface of this machine has that name or address",
    errno.ENOENT: "the folder of the path does not exist",
}

MOST_FRAMES_WAITING = 16  # of one connection, of at most FRAME_LIMIT_BYTES each: no less, so that small ones flow
# A little more than a frame may have, so that who is over that by a little is told; who is over this is cut off.
MOST_MESSAGE_BYTES = FRAME_LIMIT_BYTES + (64 << 10)
MOST_FRAMES_UNREAD = 1 << 18  # on their way to one connection
HANDSHAKE_MS = 10_000  # for ZeroMQ's own, of whoever connects


def limit(router: "zmq.Socket[bytes]") -> None:
    """Bound what ZeroMQ keeps for a connection. To be called before it listens."""
    for option, value in (
        (zmq.RCVHWM, MOST_FRAMES_WAITING), (zmq.MAXMSGSIZE, MOST_MESSAGE_BYTES), (zmq.SNDHWM, MOST_FRAMES_UNREAD),
        (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
    ):  # fmt: skip
        router.setsockopt(option, value)


def listen(router: "zmq.Socket[bytes]", address: Address) -> Address:
    """Bind, and return the address as it came to be: a port of 0 has become a real one. ListenError says why not."""
    if address.is_ipv6:
        router.setsockopt(zmq.IPV6, 1)
    _check_path(address)
    mask = os.umask(0o177)
    try:
        router.bind(str(address))
    except zmq.ZMQError as error:
        if error.errno == errno.EADDRINUSE:
            raise _in_use(address) from None
        why = _WHY.get(error.errno or 0, error.strerror)
        raise ListenError(f"cannot listen at {address}: {why}") from None
    finally:
        os.umask(mask)
    return Address.parse(router.getsockopt_string(zmq.LAST_ENDPOINT))


def leave(address: Address) -> None:
    """Remove what listening has left in the file system. To be called while the socket still listens."""
    if address.is_ipc and not address.path.startswith("@"):
        try:
            os.unlink(address.path)
        except FileNotFoundError:
            pass


def _check_path(address: Address) -> None:
    """Whether an ipc path is free."""
    if not address.is_ipc or address.path.startswith("@"):
        return
    try:
        is_socket = stat.S_ISSOCK(os.lstat(address.path).st_mode)
        if is_socket and _somebody_listens(address.path):
            raise _in_use(address)
    except FileNotFoundError:
        return
    if not is_socket:
        raise ListenError(f"cannot listen at {address}: something else than a socket is there")


def _somebody_listens(path: str) -> bool:
    """False for a socket that a killed scheduler has left."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except OSError as error:
            return error.errno != errno.ECONNREFUSED
    return True


def _in_use(address: Address) -> AddressInUseError:
    return AddressInUseError(f"cannot listen at {address}: it is in use, another program listens there")
