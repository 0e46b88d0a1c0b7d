"""Thousands of storms: the same ones each time, and others each time, as many as go into half a minute."""

import random
import time
from collections import Counter

import pytest

from tests.sim.storm import Storm, play

SAME, MOST_OTHERS, OTHERS_S = 300, 4_000, 15.0


def test_what_is_accepted_is_answered_once_and_nothing_is_left_whatever_happens():
    done: Counter[str] = Counter()
    for seed in range(SAME):
        done += play(seed)
    assert min(done[kind] for kind in ("cut", "hold", "double", "lose", "swap")) > 0
    assert min(done[kind] for kind in ("kill worker", "kill host", "kill client", "kill scheduler", "lost session")) > 0
    assert done["answered in the storm"] > 20 * SAME  # and not only in the calm after it


def test_the_same_holds_in_storms_that_nobody_has_seen():
    deadline = time.monotonic() + OTHERS_S
    for _ in range(MOST_OTHERS):
        if time.monotonic() > deadline:
            break
        play(random.randrange(1 << 32))


def test_a_storm_is_the_same_each_time():
    done = play(7)
    storm = Storm(7)
    storm.run()
    assert storm.done == done


def test_what_goes_wrong_says_how_to_see_it_again(monkeypatch):
    monkeypatch.setattr(Storm, "check", _fail)
    with pytest.raises(AssertionError, match=r"python -m tests\.sim\.storm 11"):
        play(11)


def _fail(self):
    raise AssertionError("something")
