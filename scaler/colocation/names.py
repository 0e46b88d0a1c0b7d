"""Names of shared-memory segments, and how those of killed owners are told from those in use.

An **epoch** is one run of a scheduler or of a relay: 64 random bits, drawn at its start. The names of all segments of
an epoch begin with `scaler-<epoch>-`. Its bell page `scaler-<epoch>-bell` is locked (flock) as long as the owner lives,
so a process that gets the lock knows that the owner is dead, and may sweep all of that epoch. Unlike a process id in
the name, this holds across pid namespaces and reuse.

Not here: making and mapping segments (native/shm/segment.pyx).
"""

import errno
import fcntl
import logging
import os
import secrets
from collections.abc import Callable, Iterable, Iterator

from scaler._native import Segment

_SHM = "/dev/shm"
_PREFIX = "scaler-"
_HEX = set("0123456789abcdef")
_log = logging.getLogger(__name__)
_warned = False
_folder: tuple[tuple[str, ...], str] | None = None  # that was found, among which


def new_epoch() -> str:
    """64 random bits, as 16 hex digits."""
    return secrets.token_hex(8)


def bell_name(epoch: str) -> str:
    return f"{_PREFIX}{epoch}-bell"


def recorder_name(epoch: str) -> str:
    """Of the ring of events that those follow who look at a scheduler."""
    return f"{_PREFIX}{epoch}-recorder"


def segment_name(epoch: str) -> str:
    """A fresh name for rings."""
    return f"{_PREFIX}{epoch}-{secrets.token_hex(8)}"


def is_segment_of(epoch: str, name: str) -> bool:
    """Whether `segment_name` of this epoch could have made this, wherever it lies."""
    prefix, _, rest = os.path.basename(name).rpartition("-")
    return prefix == f"{_PREFIX}{epoch}" and len(rest) == 16 and not set(rest) - _HEX


def is_bell_of(epoch: str, name: str) -> bool:
    """Whether the bell page of this epoch has this name, wherever it lies."""
    return os.path.basename(name) == bell_name(epoch)


def segment_file(name: str) -> str:
    """Where in the file system a segment of this name lies."""
    return name if name.startswith("/") else f"{_SHM}/{name}"


def make_segment(name: str, size: int, *, is_owner: bool = False) -> Segment:
    """A fresh segment; where /dev/shm does not give it, a mapped file in the temporary folder.

    OSError if neither does. If it is for want of room a warning says so, once in each process; if /dev/shm cannot be
    used at all that is said by the owner of the epoch, and not by each of its peers again.
    """
    global _warned
    try:
        return Segment.create(name, size)
    except OSError as error:
        path = os.path.join(object_folder(), name)
        try:
            made = Segment.create(path, size)
        except OSError as other:
            raise OSError(
                other.errno,
                f"no {size} bytes of shared memory can be had: in {_SHM} {_why(error)}, in {object_folder()} "
                f"{_why(other)}",
            ) from None
        if not _warned:
            _warned = True
            level = logging.WARNING if is_owner or error.errno == errno.ENOSPC else logging.INFO
            _log.log(
                level, "no shared memory in /dev/shm (%s): using files such as %s, which is slower", _why(error), path
            )
        return made


def warn_of_files(path: str, error: OSError) -> None:
    """Objects lie in files from now on."""
    level = logging.WARNING if error.errno in (errno.ENOSPC, errno.ENOMEM) else logging.INFO
    _log.log(level, "no room for objects in /dev/shm (%s): using files such as %s, which is slower", _why(error), path)


def _why(error: OSError) -> str:
    """In words, with the limit that a number alone does not name."""
    more = " (the limit for files of this process, ulimit -f)" if error.errno == errno.EFBIG else ""
    return f"{error.strerror}{more}"


class BellPage:
    """The page on which this epoch's peers note their news, and the lock that says its owner is alive."""

    def __init__(self, epoch: str) -> None:
        self.epoch, self._lock = epoch, -1
        while self._lock < 0:
            self.memory = make_segment(bell_name(epoch), 4096, is_owner=True)
            self.name = self.memory.name
            self._lock = _locked(segment_file(self.name))
        if object_folder() == _SHM:
            _log.warning(
                "no temporary folder can be written to (tried %s): what /dev/shm has no room for cannot be kept",
                ", ".join(_temporary_folders()),
            )

    def close(self) -> None:
        if self._lock >= 0:
            Segment.unlink(self.name)
            os.close(self._lock)
            self._lock = -1


def _locked(path: str) -> int:
    """A descriptor that holds the lock; -1 if somebody has swept the page before it could be locked."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    fcntl.flock(lock, fcntl.LOCK_EX)  # waits for a process that sweeps it just now
    if _is_at(path, lock):
        return lock
    os.close(lock)
    return -1


def _is_at(path: str, descriptor: int) -> bool:
    """Whether this open file is still the one at the path. A lock on a file that is not protects nothing."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def object_folder() -> str:
    """Where files stand in for shared memory that cannot be had: the temporary folder, or /dev/shm if there is none.

    Not tempfile.gettempdir: importing that takes longer than all else a worker imports, it takes the working folder if
    there is no other, and raises if that cannot be written to either.
    """
    global _folder
    folders = _temporary_folders()
    if _folder is None or _folder[0] != folders:
        _folder = folders, next(filter(_is_writable, folders), _SHM)
    return _folder[1]


def _temporary_folders() -> tuple[str, ...]:
    """In the order in which the standard library tries them."""
    chosen = (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    return (*(folder for folder in chosen if folder and folder.startswith("/")), "/tmp", "/var/tmp", "/usr/tmp")


def _is_writable(folder: str) -> bool:
    """Whether a file can be made there, which permissions alone do not say."""
    path = f"{folder}/{_PREFIX}{secrets.token_hex(8)}"
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        os.unlink(path)
    except OSError:
        return False
    return True


def _own_files(is_meant: Callable[[str], bool], folder: str | None) -> Iterator[str]:
    """Paths of this user's segments of such names, wherever they may lie; `folder` is one more place.

    Not by `glob`, which keeps what it has made of each of the last 32,768 patterns, and each peer that leaves is one.
    """
    for place in {_SHM, object_folder(), folder or _SHM}:
        try:
            names = [name for name in os.listdir(place) if is_meant(name)]
        except OSError:
            continue
        for path in (f"{place}/{name}" for name in names):
            try:
                if os.lstat(path).st_uid == os.geteuid():
                    yield path
            except OSError:
                continue


def _begins_with(text: str) -> Callable[[str], bool]:
    return lambda name: name.startswith(text)


def _is_bell(name: str) -> bool:
    """Whether a bell page has this name, of whatever epoch."""
    epoch = name[len(_PREFIX) : -len("-bell")]
    return name == bell_name(epoch) and len(epoch) == 16 and not set(epoch) - _HEX


def _remove(paths: Iterable[str]) -> int:
    """How many of these were there to be removed, and are not any more."""
    removed = 0
    for path in paths:
        try:
            os.unlink(path)
            removed += 1
        except OSError:
            continue
    return removed


def sweep(epoch: str, folder: str | None = None) -> int:
    """Remove every segment of this epoch. How many there were."""
    return _remove(_own_files(_begins_with(f"{_PREFIX}{epoch}-"), folder))


def is_over(epoch: str) -> bool:
    """Whether the epoch's owner has gone and removed all there was. What peers made since then is theirs to remove."""
    return not is_bell_here(epoch)


def is_bell_here(epoch: str) -> bool:
    """Whether this process can see the epoch's bell page, as all who share its owner's memory do."""
    return any(os.path.lexists(f"{folder}/{bell_name(epoch)}") for folder in (_SHM, object_folder()))


def sweep_tag(epoch: str, tag: int, folder: str | None, but: Iterable[str] = ()) -> None:
    """Remove the store of a peer that has gone, except these segments."""
    kept = {os.path.basename(name) for name in but}
    store = _own_files(_begins_with(f"{_PREFIX}{epoch}-{tag:06x}-"), folder)
    _remove(path for path in store if os.path.basename(path) not in kept)


def sweep_orphans(folder: str | None = None) -> int:
    """Remove what killed owners of this user left behind. How many segments that was."""
    swept = 0
    for bell in _own_files(_is_bell, folder):
        epoch = os.path.basename(bell).removeprefix(_PREFIX).removesuffix("-bell")
        try:
            # A FIFO of that name would otherwise be waited at.
            lock = os.open(bell, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(bell, lock):
                swept += sweep(epoch, folder)
        except OSError:
            pass  # its owner lives
        finally:
            os.close(lock)
    return swept
