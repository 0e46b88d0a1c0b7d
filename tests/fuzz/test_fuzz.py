"""A little of each fuzzer for every commit, always the same; at night many more events, on fresh seeds."""

import os
import signal

import pytest

from tests.effort import NIGHTLY, seeds
from tests.fuzz.run import EVENTS, FUZZERS, run


@pytest.mark.parametrize("name", FUZZERS)
def test_what_peers_may_say_and_do_breaks_nothing_that_must_hold(name):
    outcome = run(name, seeds(1)[0], EVENTS[name][NIGHTLY])
    assert outcome.failure is None, outcome.failure


def test_a_failure_names_the_seed_and_the_event_that_bring_it_about(monkeypatch):
    def episode(seed, events, on_event):
        for number in range(events):
            on_event(number)
            assert (seed, number) != (7, 3), "a fault"

    monkeypatch.setattr("tests.fuzz.run.load", lambda name: (episode, 5))
    assert run("core", 5, 10).failure is None
    failure = run("core", 5, 20).failure
    assert failure is not None
    assert "event 3 of the episode of seed 7" in failure
    assert "python -m tests.fuzz core --seed 7 --events 4" in failure


def test_so_does_one_that_ends_the_process_at_once(monkeypatch):
    def episode(seed, events, on_event):
        on_event(0)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("tests.fuzz.run.load", lambda name: (episode, 5))
    assert "signal 9 in event 0 of the episode of seed 5" in (run("core", 5, 5).failure or "")
