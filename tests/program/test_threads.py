"""Threads of ours: what becomes of one that raises, or does not end in time."""

import threading
from functools import partial
from pathlib import Path

import pytest

from scaler.program.threads import GivenUpLast, await_ends, new_thread


def fail():
    raise RuntimeError("odd")


def test_what_a_thread_raises_is_logged_once_with_its_traceback_and_its_owner_is_told(caplog):
    told = []
    thread = new_thread("scaler-x", fail, told.append)
    thread.start()
    thread.join(20)
    assert [str(error) for error in told] == ["odd"]
    (record,) = caplog.records
    assert record.getMessage() == "the thread scaler-x has failed"
    assert "in fail" in caplog.text


def test_no_thread_of_ours_keeps_a_program_from_ending():
    assert new_thread("scaler-x", fail).daemon


def test_all_threads_together_are_waited_for_and_those_that_go_on_are_named(caplog):
    gate = threading.Event()
    quick, slow = new_thread("quick", lambda: None), new_thread("slow", gate.wait)
    unstarted = new_thread("unstarted", fail)
    quick.start()
    slow.start()
    assert await_ends([quick, slow, unstarted, threading.current_thread()], 0.1) == [slow]
    assert "slow" in caplog.text
    assert "quick" not in caplog.text
    gate.set()
    assert await_ends([slow], 20) == []


def test_what_a_thread_uses_is_given_up_by_whichever_is_last():
    given_up, gate = [], threading.Event()

    def give_up(is_late):
        given_up.append((is_late, threading.current_thread()))

    for is_late in (False, True):
        gate.clear()
        used = GivenUpLast()

        def body(used=used):
            gate.wait(20)
            used.end()

        thread = new_thread("scaler-x", body)
        used.begin()
        thread.start()
        if not is_late:
            gate.set()
            thread.join(20)
        used.leave(partial(give_up, is_late))
        if is_late:
            assert len(given_up) == 1
            gate.set()
            thread.join(20)
    assert given_up == [(False, threading.current_thread()), (True, thread)]


def test_what_no_thread_has_begun_to_use_is_given_up_at_once():
    given_up = []
    GivenUpLast().leave(lambda: given_up.append(1))
    assert given_up == [1]


@pytest.mark.parametrize(
    ("call", "users", "instead"),
    [
        (
            "threading.Thread(",
            {"running.py"},
            "program.threads.new_thread, which says what becomes of it",
        ),
        ("recv_fds(", set(), "scaler.program.descriptors.receive_packet: recv_fds passes no flags on"),
        ("select.select(", set(), "scaler.program.descriptors.has_packet, or a poll: select ends at descriptor 1,023"),
    ],
)
def test_what_has_a_place_of_its_own_is_done_nowhere_else(call, users, instead):
    files = [path for path in (Path(__file__).parents[2] / "scaler").rglob("*.py") if call in path.read_text()]
    assert {path.name for path in files} == users, f"use {instead}"
