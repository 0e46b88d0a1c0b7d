"""Storms: the same ones for each commit, others at night."""

from collections import Counter

import pytest

from tests.effort import seeds
from tests.sim.storm import Storm, play

STORMS = 100


def test_what_is_accepted_is_answered_once_and_nothing_is_left_whatever_happens():
    done: Counter[str] = Counter()
    for seed in seeds(STORMS):
        done += play(seed)
    assert min(done[kind] for kind in ("cut", "hold", "double", "lose", "swap")) > 0
    assert min(done[kind] for kind in ("kill worker", "kill host", "kill client", "kill scheduler", "lost session")) > 0
    assert done["answered in the storm"] > 20 * len(seeds(STORMS))  # and not only in the calm after it


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
