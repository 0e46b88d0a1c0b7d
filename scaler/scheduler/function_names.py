"""What a function is called, as far as its pickle says so in plain words.

The scheduler unpickles nothing. A pickle is a list of steps, though, and the texts in it can be read without doing any
of them: a function that travels by name has its module and its name there, and one that travels by value the attributes
`__module__` and `__qualname__`.

Rule 1: whatever the bytes are, the answer is a text of at most MOST_CHARACTERS printable characters, and no error.
Not here: who asks (reporter).
"""

import contextlib
import pickletools
from collections.abc import Iterator

from scaler._native import MOST_FUNCTION_NAME_BYTES

MOST_CHARACTERS = 200
MOST_BYTES = 1 << 16
MOST_STEPS = 20_000
MOST_PICKLES = 16
_PROTOCOLS = (b"\2", b"\3", b"\4", b"\5")
# Of these is what the function is wrapped in, or made by, and not the function.
_AROUND = (
    "functools",
    "cloudpickle",
    "scaler.values",
    "builtins",
    "copyreg",
    "types",
    "_codecs",
    "_operator",
    "operator",
)


def name_in(data: bytes, number: int) -> str:
    """What the function with these bytes, and this number, is called."""
    if name := _mere_name(data):
        return name
    start, found = -1, ""
    for _ in range(MOST_PICKLES):  # before the function's own may stand another, of whose it is (values.sent_function)
        start = data.find(b"\x80", start + 1, MOST_BYTES)
        if start < 0 or found:
            break
        if data[start + 1 : start + 2] in _PROTOCOLS:
            with contextlib.suppress(Exception):  # it was cut, or is no pickle
                found = _find(data[start : start + MOST_BYTES])
    return printable(found) or f"function {number}"


def _mere_name(data: bytes) -> str:
    """A named function's bytes are its name, and nothing else's are a text that can be printed."""
    if not 0 < len(data) <= MOST_FUNCTION_NAME_BYTES:
        return ""
    try:
        name = data.decode()
    except UnicodeDecodeError:
        return ""
    return name[:MOST_CHARACTERS] if name.isprintable() else ""


def printable(text: str, most: int = MOST_CHARACTERS) -> str:
    """The text on one line, without anything that a terminal could take for a command."""
    return "".join(each if each.isprintable() else "?" for each in text[:most])


def _find(data: bytes) -> str:
    texts: list[str] = []  # the last ones that were pushed
    found: dict[str, str] = {}
    key, around = "", ""
    for text, is_global in _texts(data):
        if is_global:
            name = ".".join(texts[-2:]) if text is None else text.replace(" ", ".")
            if not name.startswith(_AROUND):
                return name if not found else _joined(found)
            around = around or name
            continue
        if text is None:
            continue
        if key:
            found.setdefault(key, text)
            if "__qualname__" in found and "__module__" in found:
                return _joined(found)
        key = text if text in ("__qualname__", "__module__") else ""
        texts = [*texts[-1:], text]
    return _joined(found) or around


def _joined(found: dict[str, str]) -> str:
    return ".".join(found[key] for key in ("__module__", "__qualname__") if key in found)


def _texts(data: bytes) -> Iterator[tuple[str | None, bool]]:
    """(text, False) for each text that is pushed; (None, True) where the last two name a thing, (both, True) if one
    step has both."""
    memo: dict[int, str | None] = {}
    last: str | None = None
    step = 0
    try:
        for opcode, argument, _ in pickletools.genops(data):
            step += 1
            if step > MOST_STEPS:
                return
            if opcode.name == "MEMOIZE":
                memo[len(memo)] = last
                continue
            last = None
            if opcode.name in ("SHORT_BINUNICODE", "BINUNICODE"):
                last = str(argument)
                yield last, False
            elif opcode.name in ("BINGET", "LONG_BINGET"):
                last = memo.get(int(argument or 0))
                yield last, False
            elif opcode.name == "STACK_GLOBAL":
                yield None, True
            elif opcode.name == "GLOBAL":
                yield str(argument), True
    except ValueError:
        return
