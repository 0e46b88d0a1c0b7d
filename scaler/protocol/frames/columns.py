"""Columns by hand, for the rare bodies: little-endian numbers of fixed width, one per row.

Not here: the columns of Tasks and Results (native/wire/columns.pyx), which bodies there are (session, batch, object).
"""

import sys
from array import array
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from scaler.protocol.frames.errors import FrameError

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


def ids_column(tasks: list[int]) -> bytes:
    """A column of task ids, which is there even if all are 0, because it says how many rows there are."""
    return column("Q", tasks) or bytes(8 * len(tasks))


class Rows(Protocol):
    """A body whose rows are few, and looked at one by one."""

    def n_rows(self) -> int: ...
    def rows(self, some: slice = ALL) -> list[Any]: ...


def slices_of(body: Rows) -> Iterator[list[Any]]:
    """The rows of a body, some at a time. FrameError, before the first, if the columns don't fit each other."""
    body.rows(slice(0, 0))
    for at in range(0, body.n_rows(), ROWS_PER_SLICE):
        yield body.rows(slice(at, at + ROWS_PER_SLICE))


def three_columns(rows: Iterable[tuple[int, int, int]]) -> tuple[bytes, bytes, bytes]:
    """The columns of (peer, id, another number of 64 bits), at least one."""
    peers, ids, others = map(list, zip(*rows, strict=True))
    return column("I", peers), ids_column(ids), column("Q", others)


def three_values(
    peers: bytes, ids: bytes, others: bytes, names: tuple[str, str], some: slice = ALL
) -> Iterable[tuple[int, int, int]]:
    """The rows of such columns; `names` are those of the last two. FrameError if they don't fit each other."""
    n = row_count(names[0], ids, 8)
    ids_of_rows = values(names[0], "Q", ids, n, some)
    return zip(values("peers", "I", peers, n, some), ids_of_rows, values(names[1], "Q", others, n, some), strict=True)
