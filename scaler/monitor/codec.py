"""Reports to bytes and back.

What each type has is read from its dataclass when this module is loaded, and must be what the schema has. A viewer
believes nothing that comes in: a report of another version, a column of another length and what is no report at all is
a ReportError, which says so in a sentence.

Rule 1: decode raises ReportError and nothing else, whatever the bytes are.
Rule 2: a round of reports costs the scheduler a few calls per column, not per row.
Not here: sockets (publisher, subscriber), files (recording).
"""

import dataclasses
import sys
from array import array
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, NamedTuple

from scaler.exceptions import ScalerError
from scaler.monitor.report import (
    Body,
    Clients,
    Counts,
    Events,
    Failures,
    Functions,
    Histograms,
    Hosts,
    Recorder,
    Report,
    Stack,
    Summary,
    Table,
    Tally,
    Task,
    Workers,
)
from scaler.protocol.schema_file import camel_case, load_schema

MAGIC, VERSION = 0x5343414D, 1
REPORT_LIMIT_BYTES = 64 << 20
_BODIES: dict[str, type[Body]] = {
    each.topic: each for each in (Summary, Workers, Functions, Clients, Hosts, Failures, Events, Task, Stack)
}
_PARTS = (Tally, Histograms, Counts, Recorder)


class ReportError(ScalerError, ValueError):
    """This is not a report that can be read here; the message says why."""


class PackedTexts(NamedTuple):
    """A column of texts as it is written, for one that seldom changes: a report may have it in place of its list."""

    data: bytes
    ends: bytes

    @classmethod
    def of(cls, texts: Iterable[str]) -> "PackedTexts":
        parts = [text.encode("utf-8", "replace") for text in texts]
        return cls(b"".join(parts), _little(array("I", accumulate(map(len, parts)))).tobytes())


_schema = load_schema("monitor.capnp")


def _check_names() -> None:
    for name, kind in {**_BODIES, **{each.__name__: each for each in _PARTS}}.items():
        struct = getattr(_schema, name[0].upper() + name[1:])
        mine = {camel_case(each.name) for each in dataclasses.fields(kind)}
        if mine != set(struct.schema.fieldnames):
            raise TypeError(f"{kind.__name__} and its schema differ: {mine ^ set(struct.schema.fieldnames)}")


_check_names()


def encode(report: Report) -> bytes:
    """The report as one Cap'n Proto message."""
    message = _schema.Report.new_message()
    message.magic, message.version = MAGIC, VERSION
    message.epoch, message.number = report.epoch, report.number
    message.wallNs, message.clockNs = report.wall_ns, report.clock_ns
    _write(message.init(report.body.topic), report.body)
    data: bytes = message.to_bytes()
    return data


def decode(data: bytes | memoryview) -> Report:
    """The report that these bytes are. ReportError if they are none."""
    if len(data) > REPORT_LIMIT_BYTES:
        raise ReportError(f"a report of {len(data)} bytes is beyond the limit of {REPORT_LIMIT_BYTES}")
    try:
        with _schema.Report.from_bytes(data, traversal_limit_in_words=len(data) // 4 + 1024) as message:
            if message.magic != MAGIC:
                raise ReportError("this is not a report of a scaler scheduler")
            if message.version != VERSION:
                raise ReportError(
                    f"the scheduler's reports have version {message.version}, and this program reads {VERSION}: "
                    "use the same version of scaler for both"
                )
            kind = message.which()
            body = _read(getattr(message, str(kind)), _BODIES[str(kind)])
            return Report(message.epoch, message.number, message.wallNs, message.clockNs, body)
    except ReportError:
        raise
    except Exception as error:
        raise ReportError(f"a report that cannot be read: {error}") from None


def label_of(data: bytes | memoryview) -> tuple[int, int, str]:
    """Epoch, number and topic of a report, for those that look for one among many. ReportError as of decode."""
    try:
        with _schema.Report.from_bytes(data) as message:
            if message.magic != MAGIC or message.version != VERSION:
                raise ReportError("this is no report of this version")
            return message.epoch, message.number, str(message.which())
    except ReportError:
        raise
    except Exception as error:
        raise ReportError(f"a report that cannot be read: {error}") from None


def _write(builder: Any, value: Any) -> None:
    for each in dataclasses.fields(value):
        name, item = camel_case(each.name), getattr(value, each.name)
        if "typecode" in each.metadata:
            setattr(builder, name, _little(item).tobytes())
        elif "texts" in each.metadata:
            _write_texts(builder.init(name), item)
        elif isinstance(item, _PARTS):
            _write(builder.init(name), item)
        else:
            setattr(builder, name, item)


def _write_texts(builder: Any, texts: Iterable[str] | PackedTexts) -> None:
    builder.data, builder.ends = texts if isinstance(texts, PackedTexts) else PackedTexts.of(texts)


def _read(reader: Any, kind: type) -> Any:
    values: dict[str, Any] = {}
    for each in dataclasses.fields(kind):
        item = getattr(reader, camel_case(each.name))
        if "typecode" in each.metadata:
            values[each.name] = _numbers(each.metadata["typecode"], item)
        elif "texts" in each.metadata:
            values[each.name] = _read_texts(item)
        elif isinstance(each.type, type) and each.type in _PARTS:
            values[each.name] = _read(item, each.type)
        else:
            values[each.name] = [str(text) for text in item] if each.name == "warnings" else item
    made = kind(**values)
    _check(made)
    return made


def _check(made: Any) -> None:
    if isinstance(made, Table):
        lengths = {each.name: len(getattr(made, each.name)) for each in dataclasses.fields(made)}
        if len(set(lengths.values())) > 1:
            raise ReportError(f"columns of {type(made).__name__} have different lengths: {lengths}")
    elif isinstance(made, Histograms):
        _check_ends(made.ends, len(made.buckets))
        if len(made.counts) != len(made.buckets):
            raise ReportError("a histogram's buckets and counts have different lengths")


def _read_texts(reader: Any) -> list[str]:
    data, ends = bytes(reader.data), _numbers("I", reader.ends)
    _check_ends(ends, len(data))
    return [data[begin:end].decode("utf-8", "replace") for begin, end in zip([0, *ends], ends, strict=False)]


def _check_ends(ends: "array[int]", total: int) -> None:
    last = 0
    for end in ends:
        if end < last:
            raise ReportError("ends go back")
        last = end
    if last != total:
        raise ReportError(f"ends lead to {last} of {total}")


def _numbers(typecode: str, data: bytes) -> "array[Any]":
    numbers = array(typecode)
    numbers.frombytes(bytes(data))
    return _little(numbers)


def _little(numbers: "array[Any]") -> "array[Any]":
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers
