"""What was typed: bytes of a terminal to names of keys, and what the mouse did.

blessed's own reading is not used. It waits for a third of a second after Esc, asks the terminal whether it has a mouse
(which tmux does not answer), and does not say when the terminal has gone. What a terminal says in answer to a question
that an earlier program has asked is known here by its form, and left out.

Rule 1: a sequence may come in any pieces. Esc alone is Esc once `flush` says that nothing came after it.
Rule 2: what is not known is no key.
"""

import codecs
import re
from typing import NamedTuple

_SEQUENCES = {
    "[A": "Up", "[B": "Down", "[C": "Right", "[D": "Left", "[H": "Home", "[F": "End", "[Z": "Shift-Tab",
    "OA": "Up", "OB": "Down", "OC": "Right", "OD": "Left", "OH": "Home", "OF": "End", "OP": "F1",
    "[1~": "Home", "[7~": "Home", "[4~": "End", "[8~": "End", "[5~": "PageUp", "[6~": "PageDown", "[3~": "Delete",
    "[11~": "F1", "[[A": "F1", "[21~": "F10", "OM": "Enter",
}  # fmt: skip
_CHARACTERS = {
    "\r": "Enter", "\n": "Enter", "\t": "Tab", "\x7f": "Backspace", "\b": "Backspace", " ": "Space",
    "\x0c": "Ctrl-L", "\x15": "Ctrl-U", "\x04": "Ctrl-D",
}  # fmt: skip
_WHOLE = re.compile(
    r"\x1b(?:"
    r"\[<(?P<button>\d+);(?P<x>\d+);(?P<y>\d+)(?P<end>[Mm])"
    r"|(?P<control>\[\[[A-E]|\[[0-?]*[ -/]*[@-Z\\-~]|O[ -~])"
    r"|[P\]_^X](?s:.)*?(?:\x1b\\|\x07)"
    r")"
)
_BEGUN = re.compile(r"\x1b(?:$|\[[0-?]*[ -/]*$|\[\[$|O$|[P\]_^X](?s:.)*$)")
MOST_PENDING = 4096
_WHEEL, _MOTION, _MODIFIERS = 64, 32, 4 | 8 | 16


class Click(NamedTuple):
    """The left button was pressed there, or the wheel turned (-1: up, 1: down)."""

    x: int
    y: int
    wheel: int = 0


class Keyboard:
    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""

    @property
    def is_waiting(self) -> bool:
        """There is the beginning of something, which may be all of it."""
        return bool(self._pending)

    def feed(self, data: bytes) -> list[str | Click]:
        """What these bytes complete."""
        self._pending += self._decoder.decode(data)
        return self._take(is_last=False)

    def flush(self) -> list[str | Click]:
        """Nothing has come for a while: what has begun is all."""
        return self._take(is_last=True)

    def _take(self, is_last: bool) -> list[str | Click]:
        made: list[str | Click] = []
        text, at = self._pending, 0
        while at < len(text):
            if text[at] != "\x1b":
                made += (
                    [_CHARACTERS.get(text[at], text[at])] if text[at] in _CHARACTERS or text[at].isprintable() else []
                )
                at += 1
                continue
            found = _WHOLE.match(text, at)
            if found:
                made += _event(found)
                at = found.end()
            elif _BEGUN.match(text, at) and not is_last and len(text) - at < MOST_PENDING:
                break
            else:
                alone = at + 1 == len(text) or text[at + 1] == "\x1b"
                made += ["Esc"] if alone else []
                at = at + 1 if alone else at + 2 if not _BEGUN.match(text, at) else len(text)
        self._pending = text[at:]
        return made


def _event(found: "re.Match[str]") -> list[str | Click]:
    if found["button"] is not None:
        button = int(found["button"]) & ~_MODIFIERS
        x, y = int(found["x"]) - 1, int(found["y"]) - 1
        if button in (_WHEEL, _WHEEL + 1):
            return [Click(x, y, 1 if button & 1 else -1)]
        return [Click(x, y)] if button == 0 and found["end"] == "M" else []
    name = _SEQUENCES.get(found["control"] or "")
    return [name] if name else []
