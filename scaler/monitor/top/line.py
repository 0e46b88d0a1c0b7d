"""Lines: what views make and a screen draws. A line is spans of plain text, each with the name of a style.

Not here: what a style looks like on a terminal (terminal).
"""

from collections.abc import Iterable
from enum import Enum

from scaler.monitor.top.text import cut, width


class Style(Enum):
    """What a text is, not how it looks. Nothing is said by a style alone: the words beside it say the same."""

    PLAIN = "plain"
    FAINT = "faint"
    STRONG = "strong"
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    HEADING = "heading"
    SORTED = "sorted"  # the heading of the column that the rows are sorted by
    CHOSEN = "chosen"  # the row, the tab
    LABEL = "label"


Span = tuple[str, Style]
Line = tuple[Span, ...]
EMPTY: Line = ()


def plain(text: str, style: Style = Style.PLAIN) -> Line:
    return ((text, style),)


def text_of(line: Line) -> str:
    """Only the text of it, for tests and for what is no terminal."""
    return "".join(text for text, _ in line)


def line_width(line: Line) -> int:
    return sum(width(text) for text, _ in line)


def cut_line(line: Line, cells: int) -> Line:
    """As much of the line as fits."""
    made, left = [], cells
    for text, style in line:
        if left <= 0:
            break
        shown = cut(text, left)
        left -= width(shown)
        made.append((shown, style))
        if shown != text:
            break
    return tuple(made)


def chosen(line: Line, cells: int) -> Line:
    """The line as the one that is chosen, over the whole width."""
    text = text_of(cut_line(line, cells))
    return ((text + " " * (cells - width(text)), Style.CHOSEN),)


def joined(parts: Iterable[Line], between: str = "  ") -> Line:
    """The parts that are not empty, with this between them."""
    made: list[Span] = []
    for part in parts:
        if part:
            made += [(between, Style.PLAIN), *part] if made else part
    return tuple(made)


def labelled(label: str, value: str, style: Style = Style.PLAIN) -> Line:
    """`label value`, the label faint."""
    return ((label + " ", Style.LABEL), (value, style))
