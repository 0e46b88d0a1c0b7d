"""Connection files: how programs of this user find a scheduler of this machine, and the keys to speak to it.

A scheduler writes one when it listens, and removes it when it ends: `<host>-<pid>.json`, in `$XDG_RUNTIME_DIR/scaler`,
`~/.scaler` or `scaler-<uid>` in the temporary folder, whichever can be had first. SCALER_CONNECTIONS names another
folder. `current` there leads to the newest, for people to look at.

The scheduler holds a lock on its file as long as it lives, which the kernel gives up with the process, however that
ends. So a file that nobody has locked is that of a scheduler that was killed. Unlike a process number, this holds
across containers that share the folder, and when a number is used again.

Rule 1: the folder is 0700 and a file 0600, made so from the first moment; what others own, or could read or change, is
        not believed. A file is there whole or not at all.
Rule 2: to find nothing is no error here: the caller says what it was for.
Not here: keys that are made in advance (folder).
"""

import contextlib
import fcntl
import json
import os
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from scaler.exceptions import KeysError
from scaler.keys.folder import ROLES, Pair, PeerKeys, SchedulerKeys, fresh_pair

FOLDER_VARIABLE = "SCALER_CONNECTIONS"
_VERSION = 1
_CURRENT = "current"
_MOST_BYTES = 65536


@dataclass(frozen=True)
class Connection:
    """Where a scheduler is, and with what one speaks to it."""

    address: str
    monitor_address: str = ""
    pid: int = 0
    host: str = ""
    started_s: float = 0.0
    scheduler_key: str = ""
    """Public; empty: it speaks without keys, or with those of `keys_folder`."""
    pairs: dict[str, tuple[str, str]] = field(default_factory=dict)
    """(public, secret) by role."""
    keys_folder: str = ""

    def peer_keys(self, role: str) -> PeerKeys | None:
        """What a peer of this role shows; None if this file has no keys."""
        if not self.scheduler_key or role not in self.pairs:
            return None
        public, secret = self.pairs[role]
        return PeerKeys(role, Pair(public.encode(), secret.encode()), self.scheduler_key.encode())


def fresh_keys() -> tuple[SchedulerKeys, str, dict[str, tuple[str, str]]]:
    """Keys for one life of a scheduler: its own, and what a Connection has of them."""
    own = fresh_pair()
    pairs = {role: fresh_pair() for role in ROLES}
    keys = SchedulerKeys(own, {pair.public: role for role, pair in pairs.items()})
    texts = {role: (pair.public.decode(), pair.secret.decode()) for role, pair in pairs.items()}
    return keys, own.public.decode(), texts


def connections_folders() -> list[Path]:
    """Where files may be, the best place first; they need not be there."""
    if chosen := os.environ.get(FOLDER_VARIABLE):
        return [Path(chosen)]
    folders = [Path(tempfile.gettempdir()) / f"scaler-{os.geteuid()}"]
    with contextlib.suppress(RuntimeError):  # a user without a home
        folders.insert(0, Path.home() / ".scaler")
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        folders.insert(0, Path(runtime) / "scaler")
    return folders


class Published:
    """A file that is there as long as its scheduler: `leave` takes it away. KeysError if it cannot be written."""

    def __init__(self, connection: Connection) -> None:
        folder = usable_folder()
        self.path = folder / f"{socket.gethostname()}-{os.getpid()}.json"
        data = json.dumps({"version": _VERSION, **asdict(connection)}, indent=1).encode()
        # Others must never see it without its lock, so it is locked before it gets its name.
        beside = folder / f".{self.path.name}.{time.monotonic_ns()}"
        try:
            self._descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise KeysError(f"{folder} cannot be written ({error.strerror}): {FOLDER_VARIABLE} names another") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(self._descriptor, data)
            os.fsync(self._descriptor)
            os.rename(beside, self.path)
        except OSError as error:
            os.close(self._descriptor)
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise KeysError(f"{self.path} cannot be written: {error.strerror}") from None
        self._point(self.path.name)

    def leave(self) -> None:
        """Idempotent. What another scheduler has put there stays."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(self._descriptor), self.path.stat()):
                self.path.unlink()
                if os.readlink(self.path.parent / _CURRENT) == self.path.name:
                    os.unlink(self.path.parent / _CURRENT)
        os.close(self._descriptor)
        self._descriptor = -1

    def _point(self, name: str) -> None:
        beside = self.path.parent / f".{_CURRENT}.{os.getpid()}.{time.monotonic_ns()}"
        with contextlib.suppress(OSError):
            os.symlink(name, beside)
            os.rename(beside, self.path.parent / _CURRENT)


def usable_folder() -> Path:
    """The first folder that is there, or can be made, and is this user's alone."""
    problems = []
    for folder in connections_folders():
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            _check(folder)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
            problems.append(f"{folder} cannot be written")
        except OSError as error:
            problems.append(f"{folder} cannot be made ({error.strerror})")
        except KeysError as error:
            problems.append(str(error))
    raise KeysError(f"no place for a connection file: {'; '.join(problems)}. {FOLDER_VARIABLE} names another folder")


def find_connection(address: str | None = None) -> Connection | None:
    """That of the newest scheduler that lives; with an address, of the one that listens there."""
    found = [each for each in living() if address is None or each.address == address]
    return max(found, key=lambda each: each.started_s, default=None)


def living() -> Iterator[Connection]:
    """Of all schedulers of this user that live; the files of those that were killed are removed on the way."""
    for path in _files():
        with contextlib.suppress(OSError, ValueError, TypeError, LookupError, AttributeError):
            connection = _read(path)
            if connection is not None:
                yield connection


def _files() -> Iterator[Path]:
    for folder in connections_folders():
        try:
            _check(folder)
            yield from sorted(folder.glob("*.json"))
        except (KeysError, OSError):
            continue


def _read(path: Path) -> Connection | None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _check(path, os.fstat(descriptor))
        if _is_left(descriptor):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    path.unlink()
            return None
        values = json.loads(os.read(descriptor, _MOST_BYTES))
    finally:
        os.close(descriptor)
    if not isinstance(values, dict) or values.pop("version", None) != _VERSION:
        return None
    values["pairs"] = {str(role): (str(public), str(secret)) for role, (public, secret) in values["pairs"].items()}
    return Connection(**values)


def _is_left(descriptor: int) -> bool:
    """Whether nobody holds the lock any more."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _check(path: Path, status: os.stat_result | None = None) -> None:
    status = status or path.stat()
    if status.st_uid != os.geteuid():
        raise KeysError(f"{path} belongs to another user")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise KeysError(f"{path} can be read by others: chmod {'700' if path.is_dir() else '600'} it")
