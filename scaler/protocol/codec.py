"""Frames to bytes and back.

Tasks and Results, which are nearly all that is ever sent, are written and read by native/wire/batch_frames.pyx as
long as they look as it expects; everything else, and all that is wrong, is pycapnp's. `by_schema_encode` and
`by_schema_decode` are pycapnp alone: the truth that the other is tested against.

The schema is the only truth: a body's fields are looked up in it by name when this module is loaded, so a field that
one has and the other lacks is an error at import and not on the wire.

What comes in is believed in nothing. Three limits hold before anything is read: the size of the frame, the words that
reading may touch (what the frame has, so a pointer that is followed twice is an error and not a second copy), and the
depth of nesting. After reading, each field is checked for meaning as far as that needs no knowledge of the session.

Rule 1: decode raises FrameError and nothing else, whatever the bytes are.
Rule 2: few calls into pycapnp per frame, by field and not by name: a name costs a microsecond.
Not here: rows of batches (frames, scaler._native), numbering (ledger).
"""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, get_args

import capnp

from scaler._native import decode_batch, encode_batch
from scaler.protocol.bounds import FRAME_LIMIT_BYTES
from scaler.protocol.frames import (
    PROTOCOL_VERSION,
    UNNUMBERED,
    Body,
    Frame,
    FrameError,
    Results,
    Tasks,
    VersionError,
)
from scaler.protocol.schema_file import camel_case, load_schema

_NESTING_LIMIT = 4
_SPARE_WORDS = 64


class _Member(NamedTuple):
    """How one member of the union is written and read."""

    kind: type[Body]
    field: Any  # in Frame
    names: tuple[str, ...]  # of the body's attributes, in the order of the constructor's arguments
    fields: tuple[Any, ...]  # in the member's struct, in the same order
    lists: tuple[int, ...]  # which of them are lists
    is_numbered: bool
    is_tuple: bool
    find_error: Callable[[Any], str | None] | None  # of a body, if it can be wrong by itself


def _attributes(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else tuple(kind._fields)


def _member(frame_fields: Any, name: str, kind: type[Body]) -> _Member:
    field, names = frame_fields[name], _attributes(kind)
    members = field.schema.fields if names else {}
    if set(map(camel_case, names)) != set(members):
        raise ImportError(f"{kind.__name__} has the fields {names}, its schema has {tuple(members)}")
    chosen = tuple(members[camel_case(attribute)] for attribute in names)
    lists = tuple(i for i, one in enumerate(chosen) if one.proto.slot.type.which() == "list")
    check = getattr(kind, "find_error", None)
    return _Member(kind, field, names, chosen, lists, kind not in UNNUMBERED, issubclass(kind, tuple), check)


_schema = load_schema("frame.capnp")
_Frame = _schema.Frame
_frame_fields = _Frame.schema.fields
_MAGIC: int = _schema.magic
_magic, _version, _number, _acknowledged = (
    _frame_fields[name] for name in ("magic", "version", "number", "acknowledged")
)
_BODIES: dict[str, type[Body]] = {kind.__name__[0].lower() + kind.__name__[1:]: kind for kind in get_args(Body)}
if _schema.version != PROTOCOL_VERSION or set(_BODIES) != set(_Frame.schema.union_fields):
    raise ImportError("the schemas and scaler.protocol.frames are not of the same version")
_by_name = {name: _member(_frame_fields, name, kind) for name, kind in _BODIES.items()}
_by_kind: dict[type[Body], _Member] = {member.kind: member for member in _by_name.values()}
_batch_numbers: dict[type[Body], int] = {
    kind: _by_kind[kind].field.proto.discriminantValue for kind in (Tasks, Results)
}
_batch_kinds: dict[int, Any] = {number: kind for kind, number in _batch_numbers.items()}


def encode(frame: Frame) -> bytes:
    """The frame as one message. A value outside its field's range is the caller's error and raises."""
    body: Any = frame.body
    batch = _batch_numbers.get(type(body))
    data: bytes | None = None if batch is None else encode_batch(batch, body, frame.number, frame.acknowledged)
    return by_schema_encode(frame) if data is None else data


def by_schema_encode(frame: Frame) -> bytes:
    """As encode, by pycapnp.

    Best below 256 KiB: three times the frame is allocated, and above that the C library maps fresh pages for it each
    time (12 us for a chunk of 128 KiB, 1,400 us for one of 1 MiB).
    """
    member = _by_kind[type(frame.body)]
    body: Any = frame.body
    values = body if member.is_tuple else [getattr(body, name) for name in member.names]
    message = _Frame.new_message()
    put = message._set_by_field
    put(_magic, _MAGIC)
    put(_version, PROTOCOL_VERSION)
    if frame.number:
        put(_number, frame.number)
    if frame.acknowledged:
        put(_acknowledged, frame.acknowledged)
    if not member.fields:
        put(member.field, None)
        return bytes(message.to_bytes())
    put = message._init_by_field(member.field)._set_by_field
    for field, value in zip(member.fields, values, strict=True):
        if value:
            put(field, list(value) if type(value) is tuple else value)
    return bytes(message.to_bytes())


def decode(data: bytes | memoryview, limit_bytes: int = FRAME_LIMIT_BYTES) -> Frame:
    """The frame that these bytes are, checked; FrameError if they are none."""
    size = len(data) if isinstance(data, bytes) else data.nbytes
    if size > limit_bytes:
        raise FrameError(f"a frame of {size} bytes; at most {limit_bytes} are taken here")
    if size < 16 or size % 8:
        raise FrameError(f"a frame of {size} bytes, which no Cap'n Proto message has")
    # A memoryview may begin anywhere, and pycapnp reads words where they are; a bytes object's memory is aligned.
    whole = data if isinstance(data, bytes) else bytes(data)
    batch = decode_batch(whole)
    if batch is None:
        return by_schema_decode(whole)
    member, number, acknowledged, columns = batch
    return Frame(_batch_kinds[member](*columns), number, acknowledged)


def by_schema_decode(whole: bytes) -> Frame:
    """The frame that bytes of a possible size are, by pycapnp."""
    size = len(whole)
    try:
        with _Frame.from_bytes(whole, size // 8 + _SPARE_WORDS, _NESTING_LIMIT) as message:
            frame = _read(message._get_by_field, message._which_str)
    except FrameError:
        raise
    except Exception as error:
        # pycapnp raises KjException, UnicodeDecodeError, ValueError, MemoryError and more: all mean the same here.
        raise FrameError(f"not a well-formed frame: {_first_line(error)}") from None
    find_error = _by_kind[type(frame.body)].find_error
    error_found = find_error(frame.body) if find_error else None
    if error_found:
        raise FrameError(error_found)
    return frame


def _read(get: Callable[[Any], Any], which: Callable[[], str]) -> Frame:
    if get(_magic) != _MAGIC:
        raise FrameError("not a frame of Scaler's protocol: something else speaks to this address")
    version: int = get(_version)
    if version != PROTOCOL_VERSION:
        raise VersionError(version)
    member = _find_member(which)
    number: int = get(_number)
    if (number > 0) != member.is_numbered:
        raise FrameError(f"number {number} on a frame of the kind {member.kind.__name__}")
    if not member.fields:
        return Frame(member.kind(), number, get(_acknowledged))
    part = get(member.field)._get_by_field
    values = [part(field) for field in member.fields]
    for i in member.lists:
        values[i] = tuple(values[i])
    return Frame(member.kind(*values), number, get(_acknowledged))


def _find_member(which: Callable[[], str]) -> _Member:
    try:
        return _by_name[which()]
    except capnp.KjException:
        raise FrameError(f"a frame of a kind that version {PROTOCOL_VERSION} of the protocol does not have") from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _check_native_layout() -> None:
    """native/wire/batch_frames.pyx has the schema in numbers: ImportError if it is another one."""
    for kind in _batch_kinds.values():
        columns = tuple(bytes([i + 1]) * (i + 1) for i in range(len(kind._fields)))
        frame = Frame(kind(*columns), 2, 3)
        data = by_schema_encode(frame)
        if encode(frame) != data or decode_batch(data) != (_batch_numbers[kind], 2, 3, columns):
            raise ImportError(f"native/wire/batch_frames.pyx does not write {kind.__name__} as the schemas say")


_check_native_layout()
