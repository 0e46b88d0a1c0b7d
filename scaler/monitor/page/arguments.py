"""Arguments: what a browser asks a view for, read with limits. Whatever is wrong becomes the default.

A view is asked by a WebSocket's message or by a download's query, so a value is anybody's text,
number or bool.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

MOST_PATTERN_CHARACTERS = 1000  # as long as a name is here (naming)


class Arguments:
    """Of one view, by name."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    def number(self, name: str, default: float, least: float, most: float) -> float:
        try:
            value = float(self._given.get(name, default))
        except (TypeError, ValueError, OverflowError):
            return default
        return min(max(value, least), most) if math.isfinite(value) else default

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        return int(self.number(name, default, least, most))

    def text(self, name: str) -> str:
        value = self._given.get(name, "")
        return value[:MOST_PATTERN_CHARACTERS] if isinstance(value, str) else ""

    def task(self, name: str) -> int:
        """A task's id, in hexadecimal digits; 0 if it is none."""
        text = self.text(name).strip().lower().removeprefix("0x")
        return int(text, 16) if re.fullmatch("[0-9a-f]{1,16}", text) else 0

    def filter(self, name: str) -> Callable[[str], bool]:
        return make_filter(self.text(name))


def make_filter(text: str) -> Callable[[str], bool]:
    """Whether a name has this text in it, in any case; with `!` before it, whether it has not.

    It is no regular expression: one of a stranger's can keep a process busy for ever. The page has those for tables
    that it filters by itself.
    """
    wanted = text.strip().lower()
    if wanted.startswith("!"):
        without = wanted[1:].strip()
        return lambda name: not without or without not in name.lower()
    return lambda name: wanted in name.lower()
