"""Listening: bind the scheduler's socket, with an error that says what is in the way.

What peers send and nobody has read yet lies in ZeroMQ's memory, so `limit` bounds it: a connection that is read too
slowly is not read on by ZeroMQ, its peer's kernel gets no room, and then the peer waits. Nothing is lost by that. What
waits for a peer that reads slowly is bounded elsewhere, by what it has not acknowledged (remote_peers); the mark here
is far above that. A socket of a peer has no such mark for what it receives: a process whose interpreter is held still
answers pings by ZeroMQ's own threads, as long as these go on reading.

Rule 1: an ipc path is this user's alone (0600), and nothing is taken from others: ZeroMQ removes whatever lies at the
        path, be it the socket of a scheduler that runs or a file of the user's. It does not remove its own at the end.
Rule 2: a path belongs to one scheduler as long as that lives, whatever becomes of the socket's file: a cleaner of
        temporary folders may remove it, and then the path looks free. The lock on a file beside it says so, which the
        kernel gives up with the process, however that ends. Where a file system knows no locks there is none. The
        file's name is one that nobody else uses (`.NAME.scaler-lock`; programs are started with `flock PATH.lock`), it
        is a plain file of this user's with nothing in it, and goes with the lock. Anything else of that name is left
        alone, and in the way.
"""

import contextlib
import errno
import fcntl
import os
import socket
import stat

import zmq

from scaler.address import Address
from scaler.exceptions import AddressInUseError, ListenError
from scaler.protocol.bounds import MOST_MESSAGE_BYTES

_WHY = {
    errno.EACCES: "this user may not (ports below 1024 need a privilege, a path the right to write there)",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
    errno.ENODEV: "no interface of this machine has that name or address",
    errno.ENOENT: "the folder of the path does not exist",
    errno.EROFS: "the path is on a file system that cannot be written to",
}

MOST_FRAMES_WAITING = 16  # of one connection, of at most FRAME_LIMIT_BYTES each: no less, so that small ones flow
MOST_FRAMES_UNREAD = 1 << 18  # on their way to one connection
HANDSHAKE_MS = 5_000  # for ZeroMQ's own, on each connection
MOST_NOT_ACCEPTED = 1024  # connections: all hosts come at once when a scheduler is started again


def limit(router: "zmq.Socket[bytes]") -> None:
    """Bound what ZeroMQ keeps for a connection. To be called before it listens."""
    for option, value in (
        (zmq.RCVHWM, MOST_FRAMES_WAITING), (zmq.MAXMSGSIZE, MOST_MESSAGE_BYTES), (zmq.SNDHWM, MOST_FRAMES_UNREAD),
        (zmq.HANDSHAKE_IVL, HANDSHAKE_MS), (zmq.BACKLOG, MOST_NOT_ACCEPTED),
    ):  # fmt: skip
        router.setsockopt(option, value)


class Listening:
    """What listening has put into the file system: `leave` takes it away again."""

    def __init__(self, address: Address, lock: int) -> None:
        self.address = address  # as it came to be: a port of 0 has become a real one
        self._lock = lock
        self._socket = os.lstat(address.path) if _has_file(address) else None

    def leave(self) -> None:
        """To be called while the socket still listens; idempotent. What somebody else has put there stays."""
        if self._socket is not None:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(self._socket, os.lstat(self.address.path)):
                    os.unlink(self.address.path)
        _give_up(self.address, self._lock)
        self._lock = -1


def listen(router: "zmq.Socket[bytes]", address: Address) -> Listening:
    """Bind. ListenError says why not."""
    if address.is_ipv6:
        router.setsockopt(zmq.IPV6, 1)
    lock = _take_path(address) if _has_file(address) else -1
    mask = os.umask(0o177)
    try:
        router.bind(str(address))
        os.umask(mask)
        return Listening(Address.parse(router.getsockopt_string(zmq.LAST_ENDPOINT)), lock)
    except BaseException as error:
        os.umask(mask)
        _give_up(address, lock)
        if not isinstance(error, zmq.ZMQError):
            raise
        if error.errno == errno.EADDRINUSE:
            raise _in_use(address) from None
        raise _cannot(address, error) from None


def _has_file(address: Address) -> bool:
    return address.is_ipc and not address.path.startswith("@")


def _lock_path(address: Address) -> str:
    folder, name = os.path.split(address.path)
    return os.path.join(folder, f".{name}.scaler-lock")


def _give_up(address: Address, lock: int) -> None:
    """Let others have the path; nothing if there is no lock."""
    if lock >= 0:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(lock), os.lstat(_lock_path(address))):
                os.unlink(_lock_path(address))  # before the lock is given up: nobody else has it then
        os.close(lock)


def _take_path(address: Address) -> int:
    """A descriptor that holds the lock on the path, if it is free; -1 if it is and there are no locks."""
    lock = _lock(address)
    try:
        _check_path(address)
    except BaseException:
        _give_up(address, lock)
        raise
    return lock


def _lock(address: Address) -> int:
    path = _lock_path(address)
    while True:
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        except OSError as error:
            if os.path.lexists(path) and error.errno != errno.ENOENT:
                raise _not_ours(address) from None
            raise _cannot(address, error) from None
        if not _is_ours(lock):
            os.close(lock)
            raise _not_ours(address)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), os.lstat(path)):
                return lock
        except BlockingIOError:
            os.close(lock)
            raise _in_use(address, _removed(address)) from None
        except FileNotFoundError:
            pass  # a scheduler has just left the path
        except OSError:  # this file system knows no locks
            os.unlink(path)
            os.close(lock)
            return -1
        os.close(lock)


def _is_ours(lock: int) -> bool:
    status = os.fstat(lock)
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_size == 0


def _not_ours(address: Address) -> ListenError:
    return ListenError(
        f"cannot listen at {address}: {_lock_path(address)} is no lock of this user's schedulers: remove it, or choose "
        "another path"
    )


def _removed(address: Address) -> str:
    """What to add if somebody listens at a path where nobody can be reached."""
    if os.path.lexists(address.path):
        return ""
    return ", though its socket has been removed, so that nobody can reach it: stop that scheduler first"


def _check_path(address: Address) -> None:
    """Whether nothing else is at an ipc path, whatever made it."""
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


def _in_use(address: Address, more: str = "") -> AddressInUseError:
    return AddressInUseError(f"cannot listen at {address}: it is in use, another program listens there{more}")


def _cannot(address: Address, error: OSError | zmq.ZMQError) -> ListenError:
    return ListenError(f"cannot listen at {address}: {_WHY.get(error.errno or 0, error.strerror)}")
