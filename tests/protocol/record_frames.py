"""Records a frame of each kind as this version of scaler writes it: `python -m tests.protocol.record_frames NAME`.

With `tomorrow` after the name each struct has a field more than it has here, as a later minor version may have. The
file goes to tests/protocol/recorded and stays there for ever. Later versions read it (test_versions), which is how a
change that an older peer would not survive is seen before it is released.

Not here: frames that make no sense (tests/fuzz).
"""

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

import capnp

from scaler.protocol.codec import encode
from scaler.protocol.frames import UNNUMBERED, Body, Frame

FOLDER = Path(__file__).with_name("recorded")
ROOT = Path(__file__).parents[2] / "protocol"
# Columns, which have to fit each other: two rows of each. What is not named here is a column of one byte a row.
_WIDTHS = {
    "ends": 4, "functions": 4, "items": 4, "details": 4, "options": 4, "limits_ms": 4, "peers": 4, "numbers": 4,
    "idle": 4, "cpu_us": 4, "memory_peak_kib": 4, "pids": 4, "cpu_shares": 4, "tasks": 8, "attempts": 8,
    "durations_ns": 8, "objects": 8, "names": 8, "idle_ns": 8, "restarts": 8, "rss_bytes": 8, "in_place": 8,
    "statuses": 2, "digests": 16,
}  # fmt: skip
_BYTES = {"session": 16, "voucher": 16, "token": 16, "source_token": 16, "key": 16, "source_key": 32, "seal": 32,
          "objects_key": 32, "identity": 16}  # fmt: skip

_CHOSEN = {("Hello", "role"): 0, ("Chunk", "total_bytes"): 64, ("Offer", "source"): "127.0.0.1:9",
           ("Serves", "address"): "127.0.0.1:9"}  # fmt: skip


def defaults_of(kind: Any) -> dict[str, Any]:
    """The fields of a body and what each is if it is not said."""
    if is_dataclass(kind):
        return {field.name: None if field.default is MISSING else field.default for field in fields(kind)}
    return {name: kind._field_defaults.get(name) for name in kind._fields}


def _value(kind: Any, name: str, default: Any) -> Any:
    """Something else than the default that the field may have, if there is that."""
    if (kind.__name__, name) in _CHOSEN:
        return _CHOSEN[kind.__name__, name]
    if name == "payload":
        return b"abcd"
    if name == "ends":
        return b"".join(n.to_bytes(4, "little") for n in (1, 4))
    if isinstance(default, bool):
        return True
    if isinstance(default, int):
        return 1
    if isinstance(default, float):
        return 0.5
    if isinstance(default, str):
        return "text"
    if isinstance(default, tuple):
        return ("one", "two")
    if kind.__name__ == "Hello" or name in _BYTES:
        return bytes(range(1, 1 + _BYTES[name]))
    if kind.__name__ in ("Chunk", "Output"):
        return b"some bytes"
    width = _WIDTHS.get(name, 1)
    return b"".join(((n + 1) % 2).to_bytes(width, "little") for n in range(2))


def samples() -> Iterator[Frame]:
    """A frame of each kind, in which no field has its default."""
    for kind in get_args(Body):
        values = {name: _value(kind, name, default) for name, default in defaults_of(kind).items()}
        yield Frame(kind(**values), 0 if kind in UNNUMBERED else 7, 5)


def as_text(value: Any) -> Any:
    """A field's value as JSON has it."""
    return {"hex": value.hex()} if isinstance(value, bytes) else list(value) if isinstance(value, tuple) else value


def load_tomorrows(parser: Any, folder: Path) -> Any:
    """The Frame of schemas in which each struct has one field more. It means something as long as its parser lives."""
    for path in sorted(ROOT.glob("*.capnp")):
        text = re.sub(r"(struct (?!Frame)\w+ \{)(.*?)(\n\})", _with_one_more, path.read_text(), flags=re.DOTALL)
        (folder / path.name).write_text(text)
    return parser.load(str(folder / "frame.capnp")).Frame


def _with_one_more(struct: "re.Match[str]") -> str:
    numbers = [int(number) for number in re.findall(r"@(\d+)", struct[2])]
    return f"{struct[1]}{struct[2]}\n  tomorrow @{max(numbers) + 1} :UInt64;{struct[3]}"


def as_of_tomorrow(schema: Any, data: bytes) -> bytes:
    """The same frame, in which the new field says something."""
    with schema.from_bytes(data) as read:
        kind, message = read._which_str(), read.as_builder()
        body = getattr(message, kind)
        if body is not None:  # Void
            body.tomorrow = 77
        return bytes(message.to_bytes())


def main(name: str, tomorrow: str = "") -> None:
    kinds, parser = {}, capnp.SchemaParser()
    with tempfile.TemporaryDirectory() as folder:
        schema = load_tomorrows(parser, Path(folder)) if tomorrow else None
        for frame in samples():
            body = frame.body
            said = {key: as_text(getattr(body, key)) for key in defaults_of(type(body))}
            data = encode(frame) if schema is None else as_of_tomorrow(schema, encode(frame))
            kinds[type(body).__name__] = {"frame": data.hex(), "number": frame.number, "fields": said}
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(kinds, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
