"""The viewer: what the user has chosen, which keys change it, and the screen that follows from it and from the reports.

Rule 1: nothing here knows a terminal or a clock; keys and reports come in, lines go out, and `topics` says what the
        scheduler has to be asked for.
Rule 2: while it is held (pause), what is shown is what was known then; what comes in meanwhile is kept for afterwards.
Not here: what each table shows (views, table), reading keys (keyboard), the terminal (terminal, screen).
"""

from collections.abc import Callable, Hashable
from typing import Any

from scaler.monitor.report import Summary
from scaler.monitor.top.header import header
from scaler.monitor.top.keyboard import Click
from scaler.monitor.top.keys import BY_KEY, Action, sorting_key
from scaler.monitor.top.latest import Latest
from scaler.monitor.top.line import EMPTY, Line, Style, chosen, cut_line, line_width, plain
from scaler.monitor.top.pages import Page, help_page, row_page, task_page
from scaler.monitor.top.settings import INTERVALS_S, Settings
from scaler.monitor.top.table import (
    Choice,
    Column,
    Filter,
    View,
    column_at,
    fitting,
    heading,
    nothing,
    order,
    row_line,
)
from scaler.monitor.top.text import clean, cut
from scaler.monitor.top.units import duration
from scaler.monitor.top.views import VIEWS

LEAST_ROWS = 3  # of a table, before the header has more than one line
HEADER_LINES = 6
SILENT_S = 3.5
WHEEL_ROWS = 3


class Prompt:
    """A line that is typed at the bottom. `on_text` gets it at each change, `on_end` with Enter."""

    def __init__(self, label: str, text: str, on_text: Callable[[str], None], on_end: Callable[[str], None]) -> None:
        self.label, self.text, self.on_text, self.on_end = label, text, on_text, on_end


class Viewer:
    def __init__(self, address: str, settings: Settings, is_recording: bool = False) -> None:
        self.address = address
        self.settings = settings
        self.is_recording = is_recording
        self.is_over = False
        self.wants_redraw = False
        self.steps = 0
        """Of a recording: how many reports to go on or back; whoever has it takes them."""
        self.is_paused = is_recording
        self.position = ""
        """Of a recording: where it is, in words."""
        self.silent_s = 0.0
        """How long ago the last report came."""
        self.problem = ""
        """What could not be read, in a sentence."""
        self.latest = Latest()
        self.filters = {view.name: Filter() for view in VIEWS}
        self.page: Page | None = None
        self.prompt: Prompt | None = None
        self.is_following = False
        self._held: Latest | None = None
        self._at: dict[str, int] = {view.name: 0 for view in VIEWS}  # the chosen row, from the first one on
        self._top: dict[str, int] = {view.name: 0 for view in VIEWS}  # the first row that is seen
        self._followed: Hashable = None
        self._rows: Any = None
        self._order: list[int] = []
        self._seen = 1  # rows that the screen has room for
        self._targets: list[tuple[str, Any]] = []  # what stands in each line of the screen, for clicks
        self._tabs: list[tuple[int, int, str]] = []
        self._columns: list[tuple[Column, int]] = []

    # what was chosen

    @property
    def view(self) -> View:
        return next(view for view in VIEWS if view.name == self.settings.view)

    @property
    def choice(self) -> Choice:
        return self.settings.choices[self.view.name]

    @property
    def filter(self) -> Filter:
        return self.filters[self.view.name]

    @property
    def shown(self) -> Latest:
        """What the screen is made from."""
        return self._held if self._held is not None else self.latest

    def topics(self) -> set[str]:
        """What the scheduler has to be asked for. While it is held nothing more than the summary is."""
        made = {Summary.topic}
        if self._held is None:
            made.update(self.view.topics)
        if self.page is not None:
            made.update(self.page.topics(self.latest))
        return made

    # keys

    def on_key(self, key: str) -> None:
        if self.prompt is not None:
            self._on_prompt_key(self.prompt, key)
            return
        action = BY_KEY.get(key)
        if self.page is not None:
            self._on_page_key(self.page, action)
            return
        column = sorting_key(self.view, key)
        if column is not None:
            self._sort_by(column)
        elif action is Action.GO_TO_VIEW:
            self._go_to(int(key) - 1)
        elif action is not None:
            self._on_action(action)

    def _on_action(self, action: Action) -> None:
        moves = {
            Action.UP: -1,
            Action.DOWN: 1,
            Action.PAGE_UP: -max(1, self._seen - 1),
            Action.PAGE_DOWN: max(1, self._seen - 1),
            Action.FIRST: -len(self._order),
            Action.LAST: len(self._order),
        }
        steps = {Action.BACK: -1, Action.FORTH: 1, Action.FAR_BACK: -60, Action.FAR_FORTH: 60}
        here = VIEWS.index(self.view)
        if action in moves:
            self._move(moves[action])
        elif action in steps:
            self.steps += steps[action] if self.is_recording else 0
        elif action is Action.END:
            self.is_over = True
        elif action is Action.HELP:
            self.page = help_page(self.view)
        elif action in (Action.NEXT_VIEW, Action.PREVIOUS_VIEW):
            self._go_to((here + (1 if action is Action.NEXT_VIEW else -1)) % len(VIEWS))
        elif action in (Action.COLUMNS_LEFT, Action.COLUMNS_RIGHT):
            most = len(self.view.columns) - 1
            self.choice.shift = min(most, max(0, self.choice.shift + (1 if action is Action.COLUMNS_RIGHT else -1)))
        elif action is Action.OPEN:
            self._open()
        elif action is Action.CLOSE:
            self.filters[self.view.name] = Filter()
        elif action is Action.REVERSE:
            self.choice.is_reversed = not self.choice.is_reversed
        elif action in (Action.SORT_LEFT, Action.SORT_RIGHT):
            self._sort_beside(-1 if action is Action.SORT_LEFT else 1)
        else:
            self._on_setting(action)

    def _on_setting(self, action: Action) -> None:
        settings = self.settings
        if action is Action.FILTER:
            self.prompt = Prompt("/", self.filter.text, self._set_filter, self._set_filter)
        elif action is Action.ASK_TASK:
            self.prompt = Prompt("id of the task: ", "", lambda text: None, self._ask_task)
        elif action is Action.FOLLOW:
            self.is_following = not self.is_following
            self._note_followed()
        elif action is Action.HIDE_IDLE:
            settings.hide_idle = not settings.hide_idle
        elif action is Action.PAUSE:
            self._pause()
        elif action in (Action.SLOWER, Action.FASTER):
            at = INTERVALS_S.index(settings.interval_s) + (1 if action is Action.SLOWER else -1)
            settings.interval_s = INTERVALS_S[min(len(INTERVALS_S) - 1, max(0, at))]
        elif action is Action.MOUSE:
            settings.mouse = not settings.mouse
        elif action is Action.REDRAW:
            self.wants_redraw = True

    def _on_page_key(self, page: Page, action: Action | None) -> None:
        moves = {
            Action.UP: -1,
            Action.DOWN: 1,
            Action.PAGE_UP: -max(1, self._seen - 1),
            Action.PAGE_DOWN: max(1, self._seen - 1),
            Action.FIRST: -(1 << 30),
            Action.LAST: 1 << 30,
        }
        if action in moves:
            page.top = max(0, page.top + moves[action])
        elif action is Action.STACK and page.task:
            page.ask_stack(self.latest)
        elif action is Action.END:
            self.is_over = True
        elif action is Action.REDRAW:
            self.wants_redraw = True
        elif action is Action.PAUSE:
            self._pause()
        else:
            self.page = None

    def _on_prompt_key(self, prompt: Prompt, key: str) -> None:
        if key == "Enter":
            self.prompt = None
            prompt.on_end(prompt.text)
            return
        if key == "Esc":
            self.prompt = None
            return
        if key == "Backspace":
            prompt.text = prompt.text[:-1]
        elif key == "Ctrl-U":
            prompt.text = ""
        elif key == "Space":
            prompt.text += " "
        elif len(key) == 1:
            prompt.text += key
        prompt.on_text(prompt.text)

    def on_click(self, click: Click) -> None:
        if click.wheel:
            rows = WHEEL_ROWS * click.wheel
            if self.page is not None:
                self.page.top = max(0, self.page.top + rows)
            else:
                self._move(rows)
            return
        kind, about = self._targets[click.y] if 0 <= click.y < len(self._targets) else ("", None)
        if kind == "tabs":
            for begin, end, name in self._tabs:
                if begin <= click.x < end:
                    self._go_to([view.name for view in VIEWS].index(name))
        elif self.page is not None:
            self.page = None
        elif kind == "heading":
            column = column_at(self._columns, click.x)
            if column is not None:
                self._sort_by(column.name)
        elif kind == "row" and isinstance(about, int):
            is_second = self._at[self.view.name] == about
            self._at[self.view.name] = about
            self._note_followed()
            if is_second:
                self._open()

    def _set_filter(self, text: str) -> None:
        self.filters[self.view.name] = Filter.of(text)

    def _ask_task(self, text: str) -> None:
        try:
            self.page = task_page(int(text.strip().removeprefix("0x"), 16) & (1 << 64) - 1)
        except ValueError:
            self.problem = f"{clean(text)!r} is no id of a task: it has up to 16 hexadecimal digits"

    def _pause(self) -> None:
        self.is_paused = not self.is_paused
        if not self.is_recording:
            self._held = self.latest.held() if self.is_paused else None

    def _go_to(self, number: int) -> None:
        self.settings.view = VIEWS[number].name
        self.page = None
        self.arrange()
        self._note_followed()

    def _sort_by(self, column: str) -> None:
        choice = self.choice
        if (choice.sort or self.view.sort) == column:
            choice.is_reversed = not choice.is_reversed
        else:
            choice.is_reversed = False
        choice.sort = column

    def _sort_beside(self, step: int) -> None:
        names = [column.name for column in self.view.columns]
        now = self.choice.sort or self.view.sort
        at = names.index(now) + step if now in names else 0
        self.choice.sort, self.choice.is_reversed = names[at % len(names)], False

    def _move(self, rows: int) -> None:
        name = self.view.name
        self._at[name] = min(max(0, len(self._order) - 1), max(0, self._at[name] + rows))
        self._note_followed()

    def _note_followed(self) -> None:
        self._followed = self._identity_at() if self.is_following else None

    def _identity_at(self) -> Hashable:
        at = self._at[self.view.name]
        return self.view.identity(self._rows, self._order[at]) if at < len(self._order) else None

    def _open(self) -> None:
        at = self._at[self.view.name]
        if at < len(self._order):
            row = self._order[at]
            identity, task = self.view.identity(self._rows, row), self.view.task_of(self._rows, row)
            self.page = row_page(self.view, identity, task)
            if self.view.task_runs:
                self.page.ask_stack(self.latest)

    # the screen

    def arrange(self) -> None:
        """Find out which rows there are, in which order, and where the chosen one is among them."""
        view, name = self.view, self.view.name
        self._rows = view.rows_of(self.shown)
        self._order = (
            order(view, self._rows, self.choice, self.filter, self.settings.hide_idle) if self._rows is not None else []
        )
        if self.is_following and self._followed is not None:
            rows = self._rows
            found = (at for at, row in enumerate(self._order) if view.identity(rows, row) == self._followed)
            self._at[name] = next(found, self._at[name])
        self._at[name] = min(max(0, len(self._order) - 1), self._at[name])

    def frame(self, cells: int, lines: int) -> list[Line]:
        """The screen: so many lines, none wider than that."""
        cells, lines = max(1, cells), max(1, lines)
        self.arrange()
        room = max(1, min(HEADER_LINES, lines - LEAST_ROWS - 3))
        head = header(self.shown, self.address, cells, room, self._notes()) if lines > 2 else []
        tabs = [self._tab_line(cells)] if lines > LEAST_ROWS + 1 else []
        foot = [self._foot(cells)] if lines > LEAST_ROWS + 2 or self.prompt is not None else []
        left = lines - len(head) - len(tabs) - len(foot)
        self._seen = max(1, left)
        body = self._page_lines(self.page, cells) if self.page is not None else self._table_lines(cells)
        body = body[:left] + [EMPTY] * (left - len(body))
        around = [("", None)] * len(head) + [("tabs", None)] * len(tabs)
        self._targets = around + self._targets
        return [cut_line(line, cells) for line in [*head, *tabs, *body, *foot]]

    def _notes(self) -> list[Line]:
        made = []
        if self.is_recording:
            state = "stopped" if self.is_paused else "playing"
            made.append(plain(f"recording {state}{self.position}: {clean(self.address)}", Style.WARNING))
        elif self.is_paused:
            made.append(plain("held: p goes on", Style.WARNING))
        if self.silent_s > SILENT_S + self.settings.interval_s and not self.is_recording:
            made.append(
                plain(f"no report for {duration(self.silent_s)} from {clean(self.address)}; waiting for one", Style.BAD)
            )
        if self.problem:
            made.append(plain(clean(self.problem), Style.BAD))
        return made

    def _tab_line(self, cells: int) -> Line:
        spans, at, self._tabs = [], 0, []
        names = [f" {number} {view.name} " for number, view in enumerate(VIEWS, 1)]
        if sum(map(len, names)) > cells:  # no room for all: the open one, and the numbers of the others
            names = [
                f" {number} {view.name} " if view is self.view else f" {number} "
                for number, view in enumerate(VIEWS, 1)
            ]
        if sum(map(len, names)) > cells:
            names = [text if view is self.view else "" for view, text in zip(VIEWS, names, strict=True)]
        for view, text in zip(VIEWS, names, strict=True):
            spans.append((text, Style.CHOSEN if view is self.view else Style.FAINT))
            self._tabs.append((at, at + len(text), view.name))
            at += len(text)
        return tuple(spans)

    def _table_lines(self, cells: int) -> list[Line]:
        view, name = self.view, self.view.name
        self._columns = fitting(view, cells, self.choice.shift)
        self._targets = [("heading", None)]
        lines = [heading(view, self._columns, self.choice)]
        if self._rows is None:
            return [*lines, plain(f"waiting for {view.name}", Style.FAINT)]
        if not self._order:
            return [*lines, nothing(view, len(self._rows), self.filter, self.settings.hide_idle)]
        room, at = max(1, self._seen - 1), self._at[name]
        top = max(0, min(self._top[name], len(self._order) - room))
        top = min(at, max(top, at - room + 1))
        self._top[name] = top
        for position in range(top, min(top + room, len(self._order))):
            line = row_line(self._columns, self._rows, self._order[position])
            lines.append(chosen(line, cells) if position == at else line)
            self._targets.append(("row", position))
        return lines

    def _page_lines(self, page: Page, cells: int) -> list[Line]:
        self._targets = []
        if self._held is not None:  # what is asked while it is held is shown all the same
            self._held.answers = self.latest.answers
        lines = page.lines(self.shown, cells)
        page.top = max(0, min(page.top, len(lines) - self._seen))
        return lines[page.top : page.top + self._seen]

    def _foot(self, cells: int) -> Line:
        if self.prompt is not None:
            problem = f"  {self.filter.problem}" if self.prompt.label == "/" and self.filter.problem else ""
            text = clean(self.prompt.text)
            label = self.prompt.label
            line: Line = ((label, Style.LABEL), (text[-max(1, cells - len(label) - 1) :] + "_", Style.PLAIN))
            return (*line, (problem, Style.BAD))
        if self.page is not None:
            return cut_line(plain("Esc back   arrows scroll   q end", Style.FAINT), cells)
        settings, wanted = self.settings, self.filter
        facts = [f"{self._at[self.view.name] + 1 if self._order else 0} of {len(self._order)}"]
        facts += [f"filter {cut(clean(wanted.text), 20)}"] * bool(wanted.text)
        facts += ["idle hidden"] * settings.hide_idle + ["following"] * self.is_following
        facts += [f"every {settings.interval_s:g} s"] * (settings.interval_s != 1)
        left, right = "? help  q end  / filter  Enter details", "  ".join(facts)
        space = cells - len(left) - line_width(plain(right))
        text = left + " " * space + right if space >= 2 else right
        return plain(text, Style.FAINT)
