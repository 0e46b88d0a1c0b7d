"""Keys: which key does what. The help and the table in docs/top.md are made from here.

The keys that sort are those of the columns (views), and are asked for after these.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from scaler.monitor.top.table import View
from scaler.monitor.top.views import VIEWS


class Action(Enum):
    END = auto()
    HELP = auto()
    NEXT_VIEW = auto()
    PREVIOUS_VIEW = auto()
    GO_TO_VIEW = auto()
    UP = auto()
    DOWN = auto()
    PAGE_UP = auto()
    PAGE_DOWN = auto()
    FIRST = auto()
    LAST = auto()
    COLUMNS_LEFT = auto()
    COLUMNS_RIGHT = auto()
    OPEN = auto()
    CLOSE = auto()
    FILTER = auto()
    REVERSE = auto()
    SORT_LEFT = auto()
    SORT_RIGHT = auto()
    FOLLOW = auto()
    HIDE_IDLE = auto()
    PAUSE = auto()
    SLOWER = auto()
    FASTER = auto()
    ASK_TASK = auto()
    STACK = auto()
    MOUSE = auto()
    REDRAW = auto()
    BACK = auto()
    FORTH = auto()
    FAR_BACK = auto()
    FAR_FORTH = auto()


@dataclass(frozen=True)
class Key:
    action: Action
    keys: tuple[str, ...]  # as `keyboard` names them
    about: str


KEYS = (
    Key(Action.HELP, ("?", "F1"), "this help; any key leaves it"),
    Key(Action.END, ("q", "F10"), "end"),
    Key(Action.NEXT_VIEW, ("Tab",), "the next table"),
    Key(Action.PREVIOUS_VIEW, ("Shift-Tab",), "the table before"),
    Key(Action.GO_TO_VIEW, tuple(str(number) for number in range(1, len(VIEWS) + 1)), "this table"),
    Key(Action.UP, ("Up", "k"), "a row up"),
    Key(Action.DOWN, ("Down", "j"), "a row down"),
    Key(Action.PAGE_UP, ("PageUp",), "a page up"),
    Key(Action.PAGE_DOWN, ("PageDown",), "a page down"),
    Key(Action.FIRST, ("Home", "g"), "the first row"),
    Key(Action.LAST, ("End", "G"), "the last row"),
    Key(Action.COLUMNS_LEFT, ("Left",), "columns further to the left"),
    Key(Action.COLUMNS_RIGHT, ("Right",), "columns further to the right"),
    Key(Action.OPEN, ("Enter",), "all about the chosen row: what a worker runs, a traceback, why a task waits"),
    Key(Action.CLOSE, ("Esc", "Backspace"), "back to the table; there, the filter goes"),
    Key(Action.FILTER, ("/",), "only rows with this regular expression; with ! in front, those without it"),
    Key(Action.REVERSE, ("r",), "the other way round"),
    Key(Action.SORT_LEFT, ("<",), "sort by the column before"),
    Key(Action.SORT_RIGHT, (">",), "sort by the next column"),
    Key(Action.FOLLOW, ("t",), "stay on this row wherever it goes, or stop that"),
    Key(Action.HIDE_IDLE, ("i",), "hide what is idle, or show it again"),
    Key(Action.PAUSE, ("p", "Space"), "hold what is shown, or go on; of a recording: play, or stop"),
    Key(Action.SLOWER, ("+",), "a longer time between two screens"),
    Key(Action.FASTER, ("-",), "a shorter one"),
    Key(Action.ASK_TASK, ("e",), "explain a task: asks for its id"),
    Key(Action.STACK, ("x",), "on the page of a task: what its code does just now"),
    Key(Action.MOUSE, ("u",), "leave the mouse to the terminal, to select text, or take it again"),
    Key(Action.REDRAW, ("Ctrl-L",), "draw the whole screen again"),
    Key(Action.BACK, ("[",), "of a recording: a report back"),
    Key(Action.FORTH, ("]",), "of a recording: a report further"),
    Key(Action.FAR_BACK, ("{",), "of a recording: a minute back"),
    Key(Action.FAR_FORTH, ("}",), "of a recording: a minute further"),
)

BY_KEY: dict[str, Action] = {name: key.action for key in KEYS for name in key.keys}


def sorting_key(view: View, key: str) -> str | None:
    """The column of this view that the key sorts by."""
    return next((column.name for column in view.columns if column.key == key), None)


def check() -> Iterator[str]:
    """What two things would be meant by: a sentence each."""
    for key in KEYS:
        for name in key.keys:
            if BY_KEY[name] is not key.action:
                yield f"{name} is {key.action} and {BY_KEY[name]}"
    for view in VIEWS:
        sorting = [column.key for column in view.columns if column.key]
        for name in sorting:
            if name in BY_KEY:
                yield f"{name} sorts {view.name} and is {BY_KEY[name]}"
            if sorting.count(name) > 1:
                yield f"{name} sorts {view.name} by two columns"
