"""The screen: of each new frame only the lines that look otherwise than before are written.

A line that is shorter than the screen is wide is followed by what clears the rest of its row. One that fills it is not:
the cursor still stands on its last cell then, which would be cleared.

Not here: what a style looks like, and who writes (terminal).
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from scaler.monitor.top.line import Line, Style, line_width
from scaler.monitor.top.text import in_ascii


class Looks(Protocol):
    """What a screen needs to know of a terminal."""

    clear_to_end: str
    clear: str

    @property
    def styles(self) -> Mapping[Style, tuple[str, str]]:
        """What is written in front of a text of this style, and after it."""

    def move(self, row: int) -> str:
        """To the begin of this row."""


class Screen:
    def __init__(self, looks: Looks, is_ascii: bool = False) -> None:
        self._looks = looks
        self._is_ascii = is_ascii
        self._rows: list[str] = []
        self._size = (0, 0)

    def forget(self) -> None:
        """What stands on the terminal is not known any more: the next frame is written whole."""
        self._size = (0, 0)

    def draw(self, frame: Sequence[Line], cells: int, lines: int) -> str:
        """What makes the terminal look like this frame."""
        made = []
        if self._size != (cells, lines):
            self._size, self._rows = (cells, lines), [""] * lines
            made.append(self._looks.clear)
        for row, line in enumerate(frame[:lines]):
            written = self._written(line, cells)
            if written != self._rows[row]:
                self._rows[row] = written
                made += [self._looks.move(row), written or self._looks.clear_to_end]
        return "".join(made)

    def _written(self, line: Line, cells: int) -> str:
        parts = []
        for text, style in line:
            before, after = self._looks.styles.get(style, ("", ""))
            parts += [before, in_ascii(text) if self._is_ascii else text, after]
        if line and line_width(line) < cells:
            parts.append(self._looks.clear_to_end)
        return "".join(parts)
