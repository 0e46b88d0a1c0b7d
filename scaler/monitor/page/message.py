"""Messages: what the feed sends to a browser, one view's tables in columns, as bytes that JavaScript need not parse.

    u32     length of the header in bytes, little-endian
    header  JSON: {"view", "head", "data", "tables": {name: {"rows": n, "columns": {name: [kind, place]}}}}, filled up
            with spaces so that the columns begin at a multiple of 8
    columns numbers, each column at a multiple of 8 from the first one's beginning; kind is f8, u8, i4, u2 or u1

A column of texts has ["text", [...]]. Names seldom change, and are what makes a table large, so a browser is sent those
of a column once and afterwards ["same", 0] until they change (Known).

Rule 1: a text is cut to MOST_CHARACTERS, and what would be invisible or would reorder a line is spelled out, since what
        comes in may have been written by anybody. That a text is never taken for HTML is the browser's part (web/).
"""

import json
import re
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

MOST_CHARACTERS = 400
MOST_BLOCK_CHARACTERS = 20_000
Column: TypeAlias = "Sequence[str] | npt.NDArray[Any] | array[Any]"
Columns: TypeAlias = "Mapping[str, Column]"
_ALIGNMENT = 8
# Control characters but for line feed and tab, marks that change the direction of writing, and halves of pairs.
_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


class View(NamedTuple):
    """What a view shows: values, and tables in columns. The first table is what is downloaded."""

    data: dict[str, Any]
    tables: dict[str, Columns]


class Known:
    """Which columns of texts a browser has been sent, so that they need not be sent again."""

    def __init__(self) -> None:
        self._sent: dict[tuple[str, str], tuple[str, ...]] = {}

    def clear(self) -> None:
        """It shows another view, and has forgotten those of the last."""
        self._sent.clear()

    def has(self, table: str, column: str, texts: Sequence[str]) -> bool:
        """Whether it has these already; it has them from now on."""
        now = tuple(texts)
        if self._sent.get((table, column)) == now:
            return True
        self._sent[table, column] = now
        return False


def pack(view: str, head: Mapping[str, Any], shown: View, known: Known) -> bytes:
    """The message."""
    blocks: list[bytes] = []
    place = 0
    tables: dict[str, Any] = {}
    for table, columns in shown.tables.items():
        described: dict[str, Any] = {}
        rows = 0
        for name, column in columns.items():
            rows = len(column)
            if isinstance(column, array | np.ndarray):
                kind, numbers = numbers_of(column)
                described[name] = [kind, place]
                data = numbers.tobytes()
                blocks.append(data + bytes(-len(data) % _ALIGNMENT))
                place += len(blocks[-1])
            else:
                described[name] = ["same", 0] if known.has(table, name, column) else ["text", list(map(clean, column))]
        tables[table] = {"rows": rows, "columns": described}
    content = {"view": view, "head": head, "data": shown.data, "tables": tables}
    header = json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
    header += b" " * (-(4 + len(header)) % _ALIGNMENT)
    return b"".join([len(header).to_bytes(4, "little"), header, *blocks])


def numbers_of(column: "array[Any] | npt.NDArray[Any]") -> tuple[str, npt.NDArray[Any]]:
    """The column as one of the few kinds that a browser has arrays for; ids of tasks alone need all 64 bits."""
    values = np.asarray(column)
    if values.dtype in (np.uint8, np.int8, np.bool_):
        return "u1", values.astype(np.uint8)
    if values.dtype == np.int32:
        return "i4", values
    if values.dtype == np.uint16:
        return "u2", values
    if values.dtype == np.uint64 and len(values) and int(values.max()) > 1 << 53:
        return "u8", values
    return "f8", values.astype(np.float64)


def clean(text: str, most: int = MOST_CHARACTERS) -> str:
    """The text as it is shown."""
    if len(text) > most:
        text = f"{text[:most]}… ({len(text):,} characters)"
    return _ODD.sub(lambda odd: f"\\u{ord(odd.group()):04x}", text) if _ODD.search(text) else text


def block(text: str) -> str:
    """A text of many lines as it is shown: a traceback, a stack."""
    return clean(text, MOST_BLOCK_CHARACTERS)
