"""A keys folder: one file per pair of keys, made by `scaler_keys FOLDER`, and found again by everybody with `--keys`.

    scheduler.key       secret and public: the scheduler's alone
    scheduler.pub       public: what all others know the scheduler by
    client.key          secret and public: of programs that submit tasks
    worker.key          ... of clusters
    monitor.key         ... of scaler_top, scaler_ui and what collects metrics
    client.pub  worker.pub  monitor.pub       public: what the scheduler lets in

Each file is text: lines `name = "value"`, comments after `#`. A pair is of CURVE25519, in Z85, 40 characters each.
`split` makes a folder for each role with what that role needs and nothing else, to be carried to its hosts.

Rule 1: a folder is 0700 and a file with a secret is 0600, made so from the first moment. What others could have read or
        written is refused when it is read, as ssh does. Where modes mean nothing (some network file systems, secrets
        mounted into containers) SCALER_KEYS_UNCHECKED=1 says that something else protects them.
Rule 2: a file is there whole or not at all: it is written beside its place, synced, and renamed.
Rule 3: nothing is ever overwritten. Who wants other keys makes another folder.
Not here: what is checked with a key (doorkeeper).
"""

import contextlib
import os
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path

from scaler.exceptions import KeysError

SCHEDULER = "scheduler"
ROLES = ("client", "worker", "monitor")
UNCHECKED = "SCALER_KEYS_UNCHECKED"
_Z85 = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#")
_KEY_CHARACTERS = 40
_MOST_FILE_BYTES = 4096
_MAKE = "`scaler_keys FOLDER` makes one"


@dataclass(frozen=True)
class Pair:
    """A pair of CURVE keys, in Z85."""

    public: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"Pair(public={self.public!r}, secret=...)"


@dataclass(frozen=True)
class PeerKeys:
    """What a peer of one role has: its own pair, and by what it knows the scheduler."""

    role: str
    own: Pair
    scheduler: bytes


@dataclass(frozen=True)
class SchedulerKeys:
    """What a scheduler has: its own pair, and the public keys that it lets in, with the role of each."""

    own: Pair
    roles: dict[bytes, str]


def make_folder(path: str | os.PathLike[str]) -> Path:
    """A folder with fresh keys for all. KeysError if there is something already."""
    folder = _new_folder(Path(path))
    for name in (SCHEDULER, *ROLES):
        pair = fresh_pair()
        _write(folder / f"{name}.key", f"the {name}'s own: keep it to yourself", public=pair.public, secret=pair.secret)
        _write(folder / f"{name}.pub", f"by which others know the {name}", public=pair.public)
    return folder


def fresh_pair() -> Pair:
    """A pair that nobody has had before."""
    import zmq  # dear to load, and few need it

    public, secret = zmq.curve_keypair()
    return Pair(bytes(public), bytes(secret))


def split_folder(path: str | os.PathLike[str]) -> list[Path]:
    """A folder inside this one for each role, with what that role needs: the list of them."""
    folder = Path(path)
    _check_owner(folder, is_secret=True)
    made = []
    for name in (SCHEDULER, *ROLES):
        needs = [f"{name}.key", *(f"{role}.pub" for role in ROLES if name == SCHEDULER)]
        needs += [f"{SCHEDULER}.pub"] if name != SCHEDULER else []
        contents = {need: _read_file(folder / need, is_secret=need.endswith(".key")) for need in needs}
        part = _new_folder(folder / name)
        for need, content in contents.items():
            _write_bytes(part / need, content)
        made.append(part)
    return made


def scheduler_keys(path: str | os.PathLike[str]) -> SchedulerKeys:
    """What a scheduler takes from this folder."""
    folder = Path(path)
    _check_owner(folder, is_secret=True)
    roles: dict[bytes, str] = {}
    for role in ROLES:
        if (folder / f"{role}.pub").exists():
            public = _read_values(folder / f"{role}.pub", "public", is_secret=False)[0]
            if public in roles:
                raise KeysError(f"{folder}: {roles[public]} and {role} have the same key, so no role could be told")
            roles[public] = role
    if not roles:
        raise KeysError(f"{folder} has none of {', '.join(f'{role}.pub' for role in ROLES)}: nobody could be let in")
    return SchedulerKeys(_read_pair(folder / f"{SCHEDULER}.key"), roles)


def peer_keys(path: str | os.PathLike[str], role: str) -> PeerKeys:
    """What a peer of this role takes from this folder."""
    folder = Path(path)
    _check_owner(folder, is_secret=True)
    scheduler = _read_values(folder / f"{SCHEDULER}.pub", "public", is_secret=False)[0]
    return PeerKeys(role, _read_pair(folder / f"{role}.key"), scheduler)


def has_keys(path: str | os.PathLike[str], role: str) -> bool:
    """Whether a peer of this role would find anything in this folder."""
    return (Path(path) / f"{role}.key").exists()


def _read_pair(path: Path) -> Pair:
    public, secret = _read_values(path, "public", "secret", is_secret=True)
    if not _belong_together(public, secret):
        raise KeysError(f"{path}: its public and its secret key do not belong together: make new keys")
    return Pair(public, secret)


def _belong_together(public: bytes, secret: bytes) -> bool:
    import zmq

    return bytes(zmq.curve_public(secret)) == public


def _read_values(path: Path, *names: str, is_secret: bool) -> list[bytes]:
    try:
        values = tomllib.loads(_read_file(path, is_secret=is_secret).decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise KeysError(f"{path} is no file of keys ({error}): {_MAKE}") from None
    found = []
    for name in names:
        value = values.get(name)
        if not isinstance(value, str) or len(value) != _KEY_CHARACTERS or set(value) - _Z85:
            raise KeysError(f"{path} has no whole {name} key, as if only half of it had been copied: {_MAKE}")
        found.append(value.encode())
    return found


def _read_file(path: Path, *, is_secret: bool) -> bytes:
    _check_owner(path, is_secret=is_secret)
    try:
        with path.open("rb") as file:
            return file.read(_MOST_FILE_BYTES)
    except OSError as error:
        raise KeysError(f"{path} cannot be read: {error.strerror}") from None


def _check_owner(path: Path, *, is_secret: bool) -> None:
    try:
        status = path.stat()
    except FileNotFoundError:
        raise KeysError(f"there is no {path}: {_MAKE}, and `scaler_keys split FOLDER` the files of each role") from None
    except OSError as error:
        raise KeysError(f"{path} cannot be read: {error.strerror}") from None
    if os.environ.get(UNCHECKED) == "1":
        return
    if status.st_uid not in (os.geteuid(), 0):
        raise KeysError(f"{path} belongs to another user, who could change it: make keys of your own ({_MAKE})")
    mode = stat.S_IMODE(status.st_mode)
    forbidden = 0o077 if is_secret else 0o022
    if mode & forbidden:
        kind = "read" if is_secret else "changed"
        wanted = "700" if stat.S_ISDIR(status.st_mode) else "600"
        raise KeysError(
            f"{path} can be {kind} by others (its mode is {mode:o}): chmod {wanted} it, or set {UNCHECKED}=1 if "
            "something else protects it"
        )


def _new_folder(path: Path) -> Path:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not path.is_dir() or any(path.iterdir()):
            raise KeysError(f"{path} is there already: keys are never overwritten, choose another name") from None
        _check_owner(path, is_secret=True)
    except OSError as error:
        raise KeysError(f"{path} cannot be made: {error.strerror}") from None
    return path


def _write(path: Path, comment: str, **values: bytes) -> None:
    lines = [f"# {comment}", *(f'{name} = "{value.decode()}"' for name, value in values.items())]
    _write_bytes(path, ("\n".join(lines) + "\n").encode())


def _write_bytes(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(beside, path)  # unlike a rename, it does not take the place of what is there
        _sync_folder(path.parent)
    except FileExistsError:
        raise KeysError(f"{path} is there already: keys are never overwritten") from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(beside)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # some file systems sync files only
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
