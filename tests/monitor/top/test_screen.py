"""What a screen writes, played to a terminal of the simplest kind."""

import re

from hypothesis import given
from hypothesis import strategies as st

from scaler.monitor.top.line import EMPTY, Style, plain
from scaler.monitor.top.screen import Screen
from scaler.monitor.top.text import width

CELLS, LINES = 8, 3


class Grid:
    """Looks for a screen, and what stands on it after what was written."""

    styles = {Style.BAD: ("\1", "\2")}
    clear_to_end, clear = "\3", "\4"

    def __init__(self) -> None:
        self.rows = ["?" * CELLS] * LINES

    def move(self, row: int) -> str:
        return f"\5{row};"

    def play(self, written: str) -> None:
        row, at = 0, 0
        for found in re.finditer(r"\x05(\d+);|([^\x05])", written, re.DOTALL):
            if found[1] is not None:
                row, at = int(found[1]), 0
            elif found[2] == "\4":
                self.rows, row, at = [" " * CELLS] * LINES, 0, 0
            elif found[2] == "\3":
                self.rows[row] = self.rows[row][:at] + " " * (CELLS - at)
            elif found[2] not in "\1\2":
                assert at < CELLS, "it writes over the edge"
                self.rows[row] = self.rows[row][:at] + found[2] + self.rows[row][at + 1 :]
                at += 1


LINE = st.text("abc", max_size=CELLS).map(lambda text: plain(text, Style.BAD) if text else EMPTY)


@given(st.lists(st.lists(LINE, min_size=LINES, max_size=LINES), min_size=1, max_size=6))
def test_whatever_stood_there_the_frame_stands_there_afterwards(frames):
    grid = Grid()
    screen = Screen(grid)
    for frame in frames:
        grid.play(screen.draw(frame, CELLS, LINES))
        assert grid.rows == [line[0][0].ljust(CELLS) if line else " " * CELLS for line in frame]


def test_only_lines_that_changed_are_written():
    screen = Screen(Grid())
    frame = [plain("one"), plain("two"), plain("three")]
    screen.draw(frame, CELLS, LINES)
    assert screen.draw(frame, CELLS, LINES) == ""
    assert screen.draw([plain("one"), plain("2"), plain("three")], CELLS, LINES) == "\0051;2\3"
    assert screen.draw([plain("one"), EMPTY, plain("three")], CELLS, LINES) == "\0051;\3"


def test_a_terminal_of_another_size_or_one_that_was_used_by_others_gets_everything():
    screen, frame = Screen(Grid()), [plain("one"), plain("two"), plain("three")]
    first = screen.draw(frame, CELLS, LINES)
    assert screen.draw(frame, CELLS + 1, LINES) == first
    screen.forget()
    assert screen.draw(frame, CELLS + 1, LINES) == first


def test_a_terminal_without_other_characters_gets_ascii():
    written = Screen(Grid(), is_ascii=True).draw([plain("▲ 名…"), EMPTY, EMPTY], CELLS, LINES)
    assert written.isascii()
    assert "^ ??~" in written
    assert width("^ ??~") == width("▲ 名…")
