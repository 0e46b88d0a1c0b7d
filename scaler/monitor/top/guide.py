"""The help, as lines for the screen. docs/top.md has the same from the same tables (tests.checks.top)."""

from scaler.monitor.top.keys import KEYS, Key
from scaler.monitor.top.line import EMPTY, Line, Style, plain
from scaler.monitor.top.table import View
from scaler.monitor.top.text import fold

_KEY_CELLS = 14


def guide(view: View, cells: int) -> list[Line]:
    """The help while this view is open."""
    lines = [plain(f"Table {view.name}", Style.STRONG), *(plain(line) for line in fold(view.about, cells)), EMPTY]
    for column in view.columns:
        lines += entry(column.key, f"{column.name}: {column.about}", cells)
    lines += [EMPTY, plain("A letter above sorts by its column, again the other way round.", Style.FAINT), EMPTY]
    lines += [plain("Keys", Style.STRONG)]
    for key in KEYS:
        lines += entry(names_of(key), key.about, cells)
    lines += [
        EMPTY,
        plain("Mouse: a click chooses a row or a table, a second one opens the row; on a heading it sorts."),
    ]
    return lines


def names_of(key: Key) -> str:
    if len(key.keys) > 3:
        return f"{key.keys[0]} .. {key.keys[-1]}"
    return " ".join(key.keys)


def entry(name: str, text: str, cells: int) -> list[Line]:
    """A name, and its text beside it in as many lines as it takes."""
    at = min(_KEY_CELLS, max(2, cells // 3))
    first, *others = _wrapped(text, max(8, cells - at))
    made: list[Line] = [((name.ljust(at - 1)[: max(at - 1, len(name))] + " ", Style.LABEL), (first, Style.PLAIN))]
    return made + [((" " * at, Style.PLAIN), (each, Style.PLAIN)) for each in others]


def _wrapped(text: str, cells: int) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > cells:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]
