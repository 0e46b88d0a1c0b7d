"""Bytes of a terminal to keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.monitor.top.keyboard import MOST_PENDING, Click, Keyboard

TYPED = {
    b"a": ["a"], b"\r": ["Enter"], b"\t": ["Tab"], b"\x7f": ["Backspace"], b"\x1b[A": ["Up"], b"\x1bOB": ["Down"],
    b"\x1b[5~": ["PageUp"], b"\x1b[Z": ["Shift-Tab"], b"\x1b[1~": ["Home"], b"\x1bOF": ["End"], b"\x1b[21~": ["F10"],
    b"\x0c": ["Ctrl-L"], " ü名".encode(): ["Space", "ü", "名"], b"\x1bOP": ["F1"], b"\x1b[[A": ["F1"],
    b"\x1b[<0;3;4M": [Click(2, 3)], b"\x1b[<0;3;4m": [], b"\x1b[<64;1;1M": [Click(0, 0, -1)],
    b"\x1b[<65;1;1M": [Click(0, 0, 1)], b"\x1b[<2;3;4M": [], b"\x1b[<16;3;4M": [Click(2, 3)], b"\x1b[<35;3;4M": [],
}  # fmt: skip
ANSWERS = [b"\x1bP1+r544e=787465726d\x1b\\", b"\x1bP>|tmux 3.3a\x1b\\", b"\x1b[?62;22c", b"\x1b[12;40R",
           b"\x1b]11;rgb:0000/0000/0000\x07", b"\x1b[?2026;2$y"]  # fmt: skip


@pytest.mark.parametrize("data", TYPED)
def test_a_key_is_known_in_whatever_pieces_it_comes(data):
    assert Keyboard().feed(data) == TYPED[data]
    keyboard = Keyboard()
    assert [key for at in range(len(data)) for key in keyboard.feed(data[at : at + 1])] == TYPED[data]
    assert not keyboard.is_waiting


@pytest.mark.parametrize("data", ANSWERS)
def test_what_a_terminal_answers_late_is_no_key(data):
    keyboard = Keyboard()
    assert keyboard.feed(data + b"q") == ["q"]
    keyboard = Keyboard()
    assert [key for at in range(len(data)) for key in keyboard.feed(data[at : at + 1])] == []
    assert keyboard.feed(b"q") == ["q"]


def test_esc_alone_is_a_key_once_nothing_follows():
    keyboard = Keyboard()
    assert keyboard.feed(b"\x1b") == []
    assert keyboard.is_waiting
    assert keyboard.flush() == ["Esc"]
    assert not keyboard.is_waiting
    assert keyboard.feed(b"\x1b\x1b") == ["Esc"]
    assert keyboard.flush() == ["Esc"]


def test_what_begins_and_never_ends_is_given_up():
    keyboard = Keyboard()
    assert keyboard.feed(b"\x1b]" + b"x" * MOST_PENDING) == []
    assert keyboard.feed(b"q") in (["q"], [])
    keyboard.flush()
    assert keyboard.feed(b"q") == ["q"]


@given(st.binary(max_size=60))
def test_any_bytes_give_keys_that_can_be_shown(data):
    keyboard = Keyboard()
    for key in keyboard.feed(data) + keyboard.flush():
        assert isinstance(key, Click) or key.isprintable()
    assert not keyboard.is_waiting
