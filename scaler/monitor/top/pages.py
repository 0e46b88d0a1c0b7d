"""Pages: what covers the table for a while: the help, and all about one row or one task.

A page makes its lines anew from what was said last, so it lives as the table does, and says which topics it needs.
"""

from collections.abc import Callable, Hashable

from scaler.monitor.report import Stack, Task, task_topic
from scaler.monitor.top.facts import facts, paragraph, section, task_id, title
from scaler.monitor.top.guide import guide
from scaler.monitor.top.latest import Latest
from scaler.monitor.top.line import EMPTY, Line, Style, cut_line, plain
from scaler.monitor.top.table import View
from scaler.monitor.top.text import clean, fold


class Page:
    """Lines that can be scrolled. `task` is asked about as long as the page is open; 0: none."""

    def __init__(self, lines_of: Callable[[Latest, int], list[Line]], task: int = 0) -> None:
        self.lines_of = lines_of
        self.task = task
        self.wants_stack = False
        self.top = 0

    def topics(self, latest: Latest) -> set[str]:
        """What is to be asked about the task. Its stack is asked for once, since it interrupts the task."""
        if not self.task:
            return set()
        made = {task_topic("task", self.task)}
        stack = task_topic("stack", self.task)
        if self.wants_stack and latest.answer(stack) is None:
            made.add(stack)
        return made

    def ask_stack(self, latest: Latest) -> None:
        """Once more, if it has been asked for."""
        if self.task:
            self.wants_stack = True
            latest.answers.pop(task_topic("stack", self.task), None)

    def lines(self, latest: Latest, cells: int) -> list[Line]:
        made = self.lines_of(latest, cells)
        if self.task:
            made = [*made, *_explanation(latest, self.task, cells), *self._stack(latest)]
        return [piece for line in made for piece in _folded(line, cells)]

    def _stack(self, latest: Latest) -> list[Line]:
        if not self.wants_stack:
            return [EMPTY, plain("x: what its code does just now", Style.FAINT)]
        stack = latest.answer(task_topic("stack", self.task))
        if not isinstance(stack, Stack):
            return section("stack", [plain("asked for", Style.FAINT)])
        return section("stack (x asks again)", paragraph(stack.text or stack.problem))


def help_page(view: View) -> Page:
    return Page(lambda latest, cells: guide(view, cells))


def row_page(view: View, identity: Hashable, task: int) -> Page:
    return Page(lambda latest, cells: view.details(latest, identity), task)


def task_page(task: int) -> Page:
    return Page(lambda latest, cells: [title(f"task {task_id(task)}")], task)


def _explanation(latest: Latest, task: int, cells: int) -> list[Line]:
    answer = latest.answer(task_topic("task", task))
    if not isinstance(answer, Task):
        return section(f"where task {task_id(task)} stands", [plain("asked for", Style.FAINT)])
    known = [
        ("state", answer.state),
        ("function", answer.function_name),
        ("worker", answer.worker_name),
        *((name.replace("_", " "), str(number)) for name, number in answer.facts.as_dict().items()),
        ("waits for", " ".join(map(task_id, answer.inputs))),
    ]
    sentence = [plain(line) for line in fold(clean(answer.sentence), cells)]
    return section(f"where task {task_id(task)} stands", [*sentence, *facts(known)])


def _folded(line: Line, cells: int) -> list[Line]:
    """The line, in several if it is too long: on a page nothing is cut."""
    if len(line) == 1:
        text, style = line[0]
        return [((piece, style),) for piece in fold(text, max(1, cells))]
    if len(line) == 2:
        (label, label_style), (text, style) = line
        if len(label) < cells - 8:
            first, *others = fold(text, cells - len(label))
            space = " " * len(label)
            return [
                ((label, label_style), (first, style)),
                *(((space, Style.PLAIN), (piece, style)) for piece in others),
            ]
    return [cut_line(line, cells)]
