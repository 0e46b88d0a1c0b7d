"""Bodies of batches: many tasks, results, functions or choices of tasks, in columns.

The same file of the schema is protocol/batch.capnp; each class has the field names of a struct there. Tasks and Results
are tuples of columns, because that is what native/wire/columns.pyx makes and takes without looking at single rows.
Where rows are few and Python looks at each (cancel, functions), `of` makes the columns from rows and `rows` takes them
apart again, with every check for meaning that needs no knowledge of the session.

Not here: the other bodies (session, object), the rows of Tasks and Results (scaler._native.RecordBatch).
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple, Self

from scaler.protocol.bounds import (
    DIGEST_BYTES,
    FUNCTION_FLAGS,
    MOST_FUNCTION_BYTES,
    MOST_FUNCTION_NAME_BYTES,
    MOST_REQUEST_BYTES,
)
from scaler.protocol.frames.columns import ALL, column, ids_column, row_count, three_columns, three_values, values
from scaler.protocol.frames.errors import FrameError

FLAG_OBJECTS = 1
FLAG_REQUEST, FLAG_NAMED = 8, 64  # of a function


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


_FLAGS = bytes(flags for flags in range(256) if not flags & ~FUNCTION_FLAGS)
_UNNAMED = bytes(flags for flags in range(256) if not flags & FLAG_NAMED)


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
        flags = values("flags", "B", self.flags, n)
        if self.flags.translate(None, _UNNAMED):
            for size, flag in zip(sizes, flags, strict=True):
                most = MOST_FUNCTION_NAME_BYTES + (MOST_REQUEST_BYTES if flag & FLAG_REQUEST else 0)
                if flag & FLAG_NAMED and (flag & ~FLAG_REQUEST != FLAG_NAMED or not 0 < size <= most):
                    raise FrameError(f"a named function of {size} bytes, with flags {flag}, is not just a name")
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
        return cls(*three_columns(choices))

    def n_rows(self) -> int:
        """How many rows there are."""
        return row_count("tasks", self.tasks, 8)

    def rows(self, some: slice = ALL) -> list[Choice]:
        """One Choice per row; FrameError if the columns don't fit each other."""
        return [Choice(*row) for row in three_values(*self, ("tasks", "attempts"), some)]


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
        return cls(column("I", peers), ids_column(tasks), column("Q", attempts), column("B", took))

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
