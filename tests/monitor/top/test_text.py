"""Text in cells: safe, measured, cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.monitor.top.text import clean, cut, cut_inside, fit, fold, in_ascii, width

HOSTILE = ["\x1b[2J\x1b[31mred", "a\nb\tc\r", "\x9b2J", "\u202egnp.exe", "\x00\x07", "\ud800", "<b>html</b>"]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_terminal_would_obey_is_written_as_python_writes_it(text):
    made = clean(text)
    assert made.isprintable()
    assert clean("plain text, größer, 名前") == "plain text, größer, 名前"


def test_of_a_megabyte_only_the_begin_is_looked_at():
    assert len(clean("x" * (1 << 20))) == 2000


def test_characters_of_two_cells_and_of_none_are_counted_as_such():
    assert width("名前") == 4
    assert width("e\u0301") == 1
    assert width("abc") == 3


@given(st.text(st.characters(exclude_categories=["C", "Z"]), max_size=30), st.integers(0, 20))
def test_a_text_that_was_cut_fits(text, cells):
    text = clean(text)
    assert width(cut(text, cells)) <= cells
    assert width(cut_inside(text, cells)) <= cells
    for to_right in (False, True):
        assert width(fit(text, cells, to_right)) <= max(cells, 0) + (width(text) < 0)


def test_what_was_cut_shows():
    assert cut("abcdef", 4) == "abc…"
    assert cut("名前名前", 5) == "名前…"
    assert cut("abc", 3) == "abc"
    assert cut("abc", 0) == ""


def test_of_a_name_the_end_is_kept():
    assert cut_inside("alpha-0123", 8) == "al…-0123"
    assert cut_inside("alpha", 8) == "alpha"


def test_folding_loses_nothing():
    assert fold("abcdefg", 3) == ["abc", "def", "g"]
    assert fold("", 3) == [""]
    assert "".join(fold("名前abc名", 3)) == "名前abc名"


def test_in_ascii_as_many_cells_are_taken():
    assert in_ascii("▁▂▃▄▅▆▇█ ▲▼ …") == "_.-:=+*# ^v ~"
    assert in_ascii("größer 名") == "gr??er ??"
