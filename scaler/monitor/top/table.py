"""Tables: which rows there are in which order, and how those that are to be seen look.

A view says what its columns are (`Column`) and where their values come from. Only the column that is sorted by is
looked at for all rows; texts are made for the rows that are shown.

Rule 1: the order is stable: rows that are equal stay as the scheduler has them.
Not here: what the views are (views), what the user has chosen of them (viewer).
"""

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from scaler.monitor.top.latest import Latest
from scaler.monitor.top.line import Line, Span, Style, plain
from scaler.monitor.top.text import clean, fit, width

GAP = " "
LEAST_GROWING = 10
UP, DOWN = "▲", "▼"


@dataclass(frozen=True)
class Column:
    """One column of a view whose rows are found in some object `rows` by their index."""

    name: str
    about: str  # for the help, and for docs/top.md
    width: int
    value: Callable[[Any, int], Any]
    text: Callable[[Any], str] = str
    key: str = ""  # sorts by it
    style: Callable[[Any, int], Style] | None = None
    is_text: bool = False  # to the left, and smallest first
    is_name: bool = False  # a text whose end says as much as its begin
    grows: bool = False  # takes the room that is left
    rank: int = 1  # those of the highest rank go first where there is no room


@dataclass(frozen=True)
class View:
    """A table. `rows_of` gives what its columns take their values from, or None as long as that is not there."""

    name: str
    about: str
    topics: tuple[str, ...]
    columns: tuple[Column, ...]
    rows_of: Callable[[Latest], Any]
    identity: Callable[[Any, int], Hashable]
    """What a row is of, so that it is found again in the next report."""
    is_idle: Callable[[Any, int], bool]
    details: Callable[[Latest, Hashable], list[Line]]
    """The page about one row, by its identity."""
    task_of: Callable[[Any, int], int] = lambda rows, row: 0
    """A task that this row is about, to be asked about; 0: none."""
    task_runs: bool = False
    """Whether that task runs, so that its stack can be asked for."""
    sort: str = ""
    """The column to sort by at first; none: as the scheduler has them."""
    searched: tuple[str, ...] = ()
    """The columns whose text the filter is looked for in."""

    def column(self, name: str) -> Column | None:
        return next((each for each in self.columns if each.name == name), None)


@dataclass
class Choice:
    """What the user has chosen of one view."""

    sort: str = ""
    is_reversed: bool = False
    shift: int = 0
    """0: the columns that matter most. 1: those from the second on, 2: from the third on, as many as fit."""


@dataclass(frozen=True)
class Filter:
    """A regular expression; with `!` in front of it, rows without it."""

    text: str = ""
    problem: str = ""
    pattern: "re.Pattern[str] | None" = field(default=None, compare=False)

    @classmethod
    def of(cls, text: str) -> "Filter":
        wanted = text.removeprefix("!")
        if not wanted:
            return cls(text)
        try:
            return cls(text, pattern=re.compile(wanted, re.IGNORECASE))
        except re.error as error:
            return cls(text, f"no regular expression: {error}")

    def lets_pass(self, text: str) -> bool:
        if self.pattern is None:
            return True
        return (self.pattern.search(text) is None) == self.text.startswith("!")


def order(view: View, rows: Any, choice: Choice, wanted: Filter, hide_idle: bool) -> list[int]:
    """The rows to be seen, by index, in order."""
    indexes: Sequence[int] = range(len(rows))
    if hide_idle:
        indexes = [row for row in indexes if not view.is_idle(rows, row)]
    if wanted.pattern is not None:
        searched = [each for each in view.columns if each.name in view.searched]
        indexes = [row for row in indexes if wanted.lets_pass(_searched_text(searched, rows, row))]
    column = view.column(choice.sort or view.sort)
    if column is None:
        return list(reversed(indexes)) if choice.is_reversed else list(indexes)
    value = column.value
    falls = column.is_text == choice.is_reversed
    return sorted(indexes, key=lambda row: value(rows, row), reverse=falls)


def _searched_text(columns: Sequence[Column], rows: Any, row: int) -> str:
    return " ".join(column.text(column.value(rows, row)) for column in columns)


def fitting(view: View, cells: int, shift: int = 0) -> list[tuple[Column, int]]:
    """The columns that fit into so many cells, each with its width; the first one is always there."""
    first, *others = view.columns
    shown = [first, *others[max(0, min(shift, len(others)) - 1) :]]
    while len(shown) > 1 and _least_width(shown) > cells:
        # A user who has gone to the right wants to see what stands there, however little it matters.
        shown.remove(shown[-1] if shift else max(shown[1:], key=lambda column: (column.rank, shown.index(column))))
    left = cells - sum(column.width + 1 for column in shown) + 1
    widths = [column.width for column in shown]
    for at, column in enumerate(shown):
        if column.grows and left:
            more = max(LEAST_GROWING - widths[at], left) if left < 0 else left
            widths[at] += more
            left -= more
    widths[0] = max(1, min(widths[0], cells))
    return list(zip(shown, widths, strict=True))


def _least_width(columns: Sequence[Column]) -> int:
    return sum((min(column.width, LEAST_GROWING) if column.grows else column.width) + 1 for column in columns) - 1


def heading(view: View, columns: Sequence[tuple[Column, int]], choice: Choice) -> Line:
    """The names of the columns; an arrow at the one that is sorted by."""
    spans: list[Span] = []
    sorted_by = choice.sort or view.sort
    for at, (column, cells) in enumerate(columns):
        text, style = column.name, Style.HEADING
        if column.name == sorted_by:
            text, style = text + (UP if column.is_text != choice.is_reversed else DOWN), Style.SORTED
        if at:
            spans.append((GAP, Style.HEADING))
        spans.append((fit(text, cells, to_right=not column.is_text), style))
    return tuple(spans)


def column_at(columns: Sequence[tuple[Column, int]], x: int) -> Column | None:
    """Which column stands there."""
    begin = 0
    for column, cells in columns:
        if begin <= x < begin + cells:
            return column
        begin += cells + len(GAP)
    return None


def row_line(columns: Sequence[tuple[Column, int]], rows: Any, row: int) -> Line:
    spans: list[Span] = []
    for at, (column, cells) in enumerate(columns):
        if at:
            spans.append((GAP, Style.PLAIN))
        text = clean(column.text(column.value(rows, row)))
        style = column.style(rows, row) if column.style else Style.PLAIN
        spans.append((fit(text, cells, to_right=not column.is_text, is_name=column.is_name), style))
    return tuple(spans)


def natural(view: View, rows: Any, indexes: Sequence[int], most: int = 80) -> list[tuple[Column, int]]:
    """All columns, as wide as what is in them, for where there is no right edge."""
    made = []
    for column in view.columns:
        texts = (clean(column.text(column.value(rows, row)), 4 * most) for row in indexes)
        made.append((column, min(most, max([len(column.name) + 1, *map(width, texts)]))))
    return made


def nothing(view: View, total: int, wanted: Filter, hide_idle: bool) -> Line:
    """What stands in place of rows if there is none."""
    if total and (wanted.pattern or hide_idle):
        why = " and ".join(
            [f"the filter {clean(wanted.text)}"] * bool(wanted.pattern) + ["hiding what is idle"] * hide_idle
        )
        return plain(f"{why} leaves none of {total}", Style.FAINT)
    return plain(f"no {view.name}", Style.FAINT)
