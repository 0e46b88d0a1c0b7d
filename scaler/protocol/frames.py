"""What frames say, as values: one class per member of the union in protocol/frame.capnp, with the same field names.

Bodies of batches are tuples of columns, because that is what native/wire/columns.pyx makes and takes without looking at
single rows. Where rows are few and Python looks at each (cancel, functions), `of` makes the columns from rows
and `rows` takes them apart again, with every check for meaning that needs no knowledge of the session.

Rule 1: a field left at its default costs no byte worth naming and no time in the codec.
Rule 2: two bodies are equal only if their types are: compare `type(body)` first, since tuples don't.
Not here: Cap'n Proto (codec), the rows of Tasks and Results (scaler._native.RecordBatch), numbering (ledger).
"""

import sys
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Any, NamedTuple, Self

from scaler.protocol.bounds import DIGEST_BYTES, KNOWN_FLAGS, MOST_FUNCTION_BYTES

PROTOCOL_VERSION = 1
CLIENT_BITS = 24
FLAG_OBJECTS = 1


class FrameError(ValueError):
    """A frame that is not what the protocol says; the message is a sentence for the log and for the refusal."""


class VersionError(FrameError):
    """A frame of another version of the protocol."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"the other side speaks version {version} of Scaler's protocol and this side version {PROTOCOL_VERSION}: "
            "install the same version of scaler on both"
        )
        self.version = version


class Role(IntEnum):
    """What kind of peer says hello."""

    CLIENT = 0
    CLUSTER = 1


# columns by hand, for the rare bodies

ALL = slice(None)
ROWS_PER_SLICE = 512  # code that takes a frame apart does other things after so many


def column(typecode: str, values: Iterable[int]) -> bytes:
    """Little-endian numbers of fixed width; empty if all are 0."""
    numbers = array(typecode, values)
    if sys.byteorder != "little":
        numbers.byteswap()
    return numbers.tobytes() if any(numbers) else b""


def values(name: str, typecode: str, data: bytes, rows: int, some: slice = ALL) -> list[int]:
    """The numbers of a column that has so many rows, or some of them; an empty one stands for zeros."""
    if not data:
        return [0] * len(range(rows)[some])
    numbers = array(typecode)
    width = numbers.itemsize
    if len(data) != rows * width:
        raise FrameError(f"{name}: {len(data)} bytes are not {rows} rows of {width} bytes")
    start, stop, _ = some.indices(rows)
    numbers.frombytes(data[start * width : stop * width])
    if sys.byteorder != "little":
        numbers.byteswap()
    return numbers.tolist()


def row_count(name: str, data: bytes, width_bytes: int) -> int:
    """How many rows the column that is never empty has."""
    if not data or len(data) % width_bytes:
        raise FrameError(f"{name}: {len(data)} bytes are not a positive number of rows of {width_bytes} bytes")
    return len(data) // width_bytes


def _ids(tasks: list[int]) -> bytes:
    """A column of task ids, which is there even if all are 0, because it says how many rows there are."""
    return column("Q", tasks) or bytes(8 * len(tasks))


def slices_of(body: "Functions | Forget | Selection | Withdrawn | Objects") -> Iterator[list[Any]]:
    """The rows of a body, some at a time. FrameError, before the first, if the columns don't fit each other."""
    body.rows(slice(0, 0))
    for at in range(0, body.n_rows(), ROWS_PER_SLICE):
        yield body.rows(slice(at, at + ROWS_PER_SLICE))


# the session


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Nothing but the number in the frame's header."""


@dataclass(frozen=True, slots=True)
class Hello:
    role: int = Role.CLIENT
    python_major: int = 0
    python_minor: int = 0
    identity: bytes = b""
    client_bits: int = 0
    session: bytes = b""
    received: int = 0
    epoch: int = 0
    pid: int = 0
    uid: int = 0
    host_name: str = ""
    cluster_name: str = ""
    worker_names: tuple[str, ...] = ()
    is_nested: bool = False
    voucher: bytes = b""


@dataclass(frozen=True, slots=True)
class Welcome:
    epoch: int = 0
    session: bytes = b""
    resumed: bool = False
    received: int = 0
    local_address: str = ""
    heartbeat_ms: int = 0
    monitor: str = ""
    objects_port: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str = ""
    is_temporary: bool = False


@dataclass(frozen=True, slots=True)
class Goodbye:
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Joined:
    peer: int = 0
    name: str = ""
    pid: int = 0
    outlived: bool = False
    task: int = 0
    attempt: int = 0
    voucher: bytes = b""


@dataclass(frozen=True, slots=True)
class Left:
    peer: int = 0
    return_code: int = 0
    reason: str = ""
    tasks: bytes = b""
    attempts: bytes = b""

    @staticmethod
    def columns_of(claimed: Iterable[tuple[int, int]]) -> dict[str, bytes]:
        """The columns for (task, attempt) of what it had begun, as keyword arguments of a Left."""
        rows = list(claimed)
        if not rows:
            return {}
        return {"tasks": _ids([task for task, _ in rows]), "attempts": column("Q", [attempt for _, attempt in rows])}

    def claimed(self) -> list[tuple[int, int]]:
        """(task, attempt) per row; FrameError if the columns don't fit each other."""
        if not self.tasks and not self.attempts:
            return []
        n = row_count("tasks", self.tasks, 8)
        return list(zip(values("tasks", "Q", self.tasks, n), values("attempts", "Q", self.attempts, n), strict=True))


@dataclass(frozen=True, slots=True)
class Clear:
    """Cancel all tasks of this client. Its objects go by Release."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """End the scheduler (from a client) or the cluster (from the scheduler)."""


@dataclass(frozen=True, slots=True)
class ShutdownAnswer:
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unable:
    """No worker of a cluster can start; without a reason one has."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Workers:
    """How many workers the scheduler has."""

    count: int = 0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    time_ns: int = 0


# batches


class Tasks(NamedTuple):
    """Columns as runs_to_task_columns makes them and RecordBatch.put_tasks takes them."""

    peers: bytes = b""
    tasks: bytes = b""
    attempts: bytes = b""
    functions: bytes = b""
    flags: bytes = b""
    items: bytes = b""
    details: bytes = b""
    ends: bytes = b""
    payload: bytes = b""
    options: bytes = b""
    limits_ms: bytes = b""


class Results(NamedTuple):
    """Columns as runs_to_result_columns makes them and RecordBatch.put_results takes them."""

    peers: bytes = b""
    tasks: bytes = b""
    attempts: bytes = b""
    functions: bytes = b""
    flags: bytes = b""
    statuses: bytes = b""
    items: bytes = b""
    details: bytes = b""
    durations_ns: bytes = b""
    cpu_us: bytes = b""
    memory_peak_kib: bytes = b""
    ends: bytes = b""
    payload: bytes = b""


_FLAGS = bytes(flags for flags in range(256) if not flags & ~KNOWN_FLAGS)


class Function(NamedTuple):
    """One announced function. With FLAG_OBJECTS the payload begins with the places of objects."""

    peer: int
    number: int
    digest: bytes
    flags: int
    payload: bytes


class Functions(NamedTuple):
    peers: bytes = b""
    numbers: bytes = b""
    digests: bytes = b""
    flags: bytes = b""
    ends: bytes = b""
    payload: bytes = b""

    @classmethod
    def of(cls, functions: Iterable[Function]) -> Self:
        """The columns of at least one function; their sizes together stay below 4 GiB."""
        rows = list(functions)
        ends, end = [], 0
        for row in rows:
            end += len(row.payload)
            ends.append(end)
        return cls(
            column("I", [row.peer for row in rows]),
            column("I", [row.number for row in rows]),
            b"".join(row.digest for row in rows),
            column("B", [row.flags for row in rows]),
            column("I", ends),
            b"".join(row.payload for row in rows),
        )

    def n_rows(self) -> int:
        """How many rows there are; FrameError if the columns don't fit each other, or a row makes no sense."""
        n = row_count("digests", self.digests, DIGEST_BYTES)
        ends = [0, *values("ends", "I", self.ends, n)]
        sizes = [b - a for a, b in pairwise(ends)]
        if min(sizes) < 0 or ends[-1] != len(self.payload):
            raise FrameError("ends: they do not rise to the end of the payload")
        if max(sizes) > MOST_FUNCTION_BYTES:
            raise FrameError(f"a function of {max(sizes)} bytes is an object, not a payload")
        values("flags", "B", self.flags, n)
        if odd := self.flags.translate(None, _FLAGS):
            raise FrameError(f"flags: {odd[0]} has a bit that this version does not know")
        values("peers", "I", self.peers, n)
        values("numbers", "I", self.numbers, n)
        return n

    def rows(self, some: slice = ALL) -> list[Function]:
        """One Function per row; FrameError if the columns don't fit each other, or a row makes no sense."""
        n = self.n_rows() if some == ALL else row_count("digests", self.digests, DIGEST_BYTES)
        start, stop, _ = some.indices(n)
        begin = values("ends", "I", self.ends, n, slice(start - 1, start))[0] if start else 0
        ends = values("ends", "I", self.ends, n, some)
        return [
            Function(peer, number, self.digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES], flags, self.payload[a:b])
            for i, peer, number, flags, a, b in zip(
                range(start, stop),
                values("peers", "I", self.peers, n, some),
                values("numbers", "I", self.numbers, n, some),
                values("flags", "B", self.flags, n, some),
                [begin, *ends],
                ends,
                strict=False,
            )
        ]


class Forget(NamedTuple):
    """No task will name these functions any more."""

    peers: bytes = b""
    numbers: bytes = b""

    @classmethod
    def of(cls, functions: Iterable[tuple[int, int]]) -> Self:
        """The columns of (peer, number), at least one."""
        peers, numbers = map(list, zip(*functions, strict=True))
        return cls(column("I", peers), column("I", numbers) or bytes(4 * len(numbers)))

    def n_rows(self) -> int:
        """How many rows there are."""
        return row_count("numbers", self.numbers, 4)

    def rows(self, some: slice = ALL) -> list[tuple[int, int]]:
        """(peer, number) per row; FrameError if the columns don't fit each other."""
        n = self.n_rows()
        peers = values("peers", "I", self.peers, n, some)
        return list(zip(peers, values("numbers", "I", self.numbers, n, some), strict=True))


def _three_columns(rows: Iterable[tuple[int, int, int]]) -> tuple[bytes, bytes, bytes]:
    """The columns of (peer, id, another number of 64 bits), at least one."""
    peers, ids, others = map(list, zip(*rows, strict=True))
    return column("I", peers), _ids(ids), column("Q", others)


def _three_values(
    peers: bytes, ids: bytes, others: bytes, names: tuple[str, str], some: slice = ALL
) -> Iterable[tuple[int, int, int]]:
    """The rows of such columns; `names` are those of the last two. FrameError if they don't fit each other."""
    n = row_count(names[0], ids, 8)
    ids_of_rows = values(names[0], "Q", ids, n, some)
    return zip(values("peers", "I", peers, n, some), ids_of_rows, values(names[1], "Q", others, n, some), strict=True)


class Choice(NamedTuple):
    """One task that a Selection names; `attempt` is 0 where the sender knows none."""

    peer: int
    task: int
    attempt: int


class Selection(NamedTuple):
    """Tasks by name. What is to happen to them is said by the subclass."""

    peers: bytes = b""
    tasks: bytes = b""
    attempts: bytes = b""

    @classmethod
    def of(cls, choices: Iterable[tuple[int, int, int]]) -> Self:
        """The columns of (peer, task, attempt), at least one."""
        return cls(*_three_columns(choices))

    def n_rows(self) -> int:
        """How many rows there are."""
        return row_count("tasks", self.tasks, 8)

    def rows(self, some: slice = ALL) -> list[Choice]:
        """One Choice per row; FrameError if the columns don't fit each other."""
        return [Choice(*row) for row in _three_values(*self, ("tasks", "attempts"), some)]


class Cancel(Selection):
    """Nobody waits for these tasks any more."""

    __slots__ = ()


class Withdraw(Selection):
    """Take these records back if they have not been claimed, and say in a Withdrawn which were."""

    __slots__ = ()


class Wait(Selection):
    """A task waits for these tasks, which it has submitted. The client runs them if no worker has begun them."""

    __slots__ = ()


class RunHere(Selection):
    """Nobody has begun these tasks: run them, or give them back."""

    __slots__ = ()


class Verdict(NamedTuple):
    """The answer to one Choice of a Withdraw."""

    peer: int
    task: int
    attempt: int
    took: bool


class Withdrawn(NamedTuple):
    peers: bytes = b""
    tasks: bytes = b""
    attempts: bytes = b""
    took: bytes = b""

    @classmethod
    def of(cls, verdicts: Iterable[tuple[int, int, int, bool]]) -> Self:
        """The columns of (peer, task, attempt, took), at least one."""
        peers, tasks, attempts, took = map(list, zip(*verdicts, strict=True))
        return cls(column("I", peers), _ids(tasks), column("Q", attempts), column("B", took))

    def n_rows(self) -> int:
        """How many rows there are; FrameError if one of them makes no sense."""
        if odd := self.took.translate(None, b"\0\1"):
            raise FrameError(f"took: {odd[0]} is neither 0 nor 1")
        return row_count("tasks", self.tasks, 8)

    def rows(self, some: slice = ALL) -> list[Verdict]:
        """One Verdict per row; FrameError if the columns don't fit each other."""
        n = self.n_rows() if some == ALL else row_count("tasks", self.tasks, 8)
        choices = Selection(self.peers, self.tasks, self.attempts).rows(some)
        took = values("took", "B", self.took, n, some)
        return [Verdict(*choice, bool(flag)) for choice, flag in zip(choices, took, strict=True)]


class Returned(Withdrawn):
    """What became of a RunHere's tasks: `took` 1 if they have been run, 0 if somebody else is to run them."""

    __slots__ = ()


class Chunk(NamedTuple):
    """A part of an object."""

    object: int = 0
    offset: int = 0
    total_bytes: int = 0
    data: bytes = b""


class Offer(NamedTuple):
    """An object that goes over a connection of its own; from the scheduler also where to fetch it."""

    object: int = 0
    total_bytes: int = 0
    token: bytes = b""
    source: str = ""
    source_token: bytes = b""


class Fetched(NamedTuple):
    """What became of an offer: whether the object is there now."""

    object: int = 0
    is_there: bool = False


class Serves(NamedTuple):
    """This side takes part: the key of its tokens, and where others may fetch what it has, if they can get there."""

    key: bytes = b""
    address: str = ""


class Objects(NamedTuple):
    """Objects by name. What becomes of them is said by the subclass."""

    peers: bytes = b""
    objects: bytes = b""

    @classmethod
    def of(cls, objects: Iterable[int], peer: int = 0) -> Self:
        """The columns of at least one object, all of one peer."""
        ids = list(objects)
        return cls(column("I", [peer] * len(ids)), _ids(ids))

    def n_rows(self) -> int:
        """How many rows there are."""
        return row_count("objects", self.objects, 8)

    def rows(self, some: slice = ALL) -> list[tuple[int, int]]:
        """(peer, object) per row; FrameError if the columns don't fit each other."""
        n = self.n_rows()
        peers = values("peers", "I", self.peers, n, some)
        return list(zip(peers, values("objects", "Q", self.objects, n, some), strict=True))


class Release(Objects):
    """The sender holds these no more, each once: as one that was lent them, or as their maker."""

    __slots__ = ()


class Freed(Objects):
    """Nobody holds these any more: their memory may be used again."""

    __slots__ = ()


class Naming(NamedTuple):
    """What became of an object that a worker's result brought: its name from now on, or 0 if it may go."""

    peer: int
    object: int
    name: int


class Taken(NamedTuple):
    """The results that brought these objects have been taken."""

    peers: bytes = b""
    objects: bytes = b""
    names: bytes = b""

    @classmethod
    def of(cls, namings: Iterable[tuple[int, int, int]]) -> Self:
        """The columns of (peer, object, name), at least one."""
        return cls(*_three_columns(namings))

    def rows(self) -> list[Naming]:
        """One Naming per row; FrameError if the columns don't fit each other."""
        return [Naming(*row) for row in _three_values(*self, ("objects", "names"))]


Body = (
    Acknowledge
    | Hello
    | Welcome
    | Refusal
    | Heartbeat
    | Goodbye
    | Tasks
    | Results
    | Functions
    | Forget
    | Cancel
    | Wait
    | RunHere
    | Returned
    | Withdraw
    | Withdrawn
    | Release
    | Freed
    | Joined
    | Left
    | Clear
    | Shutdown
    | ShutdownAnswer
    | Unable
    | Workers
    | Chunk
    | Offer
    | Fetched
    | Serves
    | Taken
)

UNNUMBERED = frozenset({Acknowledge, Hello, Welcome, Refusal, Heartbeat})


class Frame(NamedTuple):
    """One message on the wire. `number` is 0 for a body of UNNUMBERED and positive for all others."""

    body: Body
    number: int = 0
    acknowledged: int = 0
