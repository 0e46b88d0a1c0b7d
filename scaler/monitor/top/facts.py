"""Pieces that pages of details are made of: facts in two columns, titles, and longer texts."""

import time
from collections.abc import Iterable

from scaler.monitor.top.line import EMPTY, Line, Style, plain
from scaler.monitor.top.text import clean

MOST_TEXT_LINES = 400


def title(text: str) -> Line:
    return plain(clean(text), Style.STRONG)


def facts(pairs: Iterable[tuple[str, str]]) -> list[Line]:
    """One line each, the values under each other."""
    known = [(name, value) for name, value in pairs if value]
    cells = max((len(name) for name, _ in known), default=0)
    return [((name.ljust(cells) + "  ", Style.LABEL), (clean(value), Style.PLAIN)) for name, value in known]


def paragraph(text: str, style: Style = Style.PLAIN) -> list[Line]:
    """A text of several lines, such as a traceback, each made safe; only so many of them."""
    lines = text.expandtabs(4).splitlines()
    made = [plain(clean(each), style) for each in lines[:MOST_TEXT_LINES]]
    if len(lines) > MOST_TEXT_LINES:
        made.append(plain(f"({len(lines) - MOST_TEXT_LINES} more lines)", Style.FAINT))
    return made


def section(name: str, lines: list[Line]) -> list[Line]:
    """The lines under a title, after an empty one."""
    return [EMPTY, title(name), *lines] if lines else []


def moment(wall_ns: int) -> str:
    """A time of day, here."""
    try:
        return time.strftime("%H:%M:%S", time.localtime(wall_ns / 1e9))
    except (OverflowError, ValueError, OSError):
        return "?"


def task_id(task: int) -> str:
    return f"{task:016x}"
