"""A short run of chaos over each link, with more trouble in less time than `make chaos` has."""

import random

import pytest

from tests.chaos.journal import Run
from tests.chaos.report import back_after, rate_between, returns_after
from tests.chaos.run import run_chaos
from tests.chaos.stage import LINKS
from tests.chaos.trouble import Deed

EVERY_S = {
    "kill-worker": 0.4,
    "stop-worker": 1.5,
    "kill-host": 6.0,
    "stop-host": 4.0,
    "stop-scheduler": 3.0,
    "stop-client": 3.0,
    "kill-client": 3.0,
    "cut": 1.0,
    "hold": 3.0,
    "kill-scheduler": 5.0,
}


@pytest.mark.parametrize("link", LINKS)
def test_nothing_is_lost_or_wrong_or_answered_twice(link):
    report = run_chaos(link, EVERY_S, random.randrange(1 << 31), seconds=9.0, calm_s=0.5, patience_s=60.0)
    assert report.is_good, "\n".join(report.lines())
    assert report.deeds.get("kill-worker", 0) > 0
    assert report.outcome.right > 0


def test_a_rate_leaves_out_what_it_is_told_to():
    ends_ns = [second * 10**9 for second in range(10)]
    assert rate_between(ends_ns, 0, 10 * 10**9, []) == 1.0
    assert rate_between(ends_ns, 0, 10 * 10**9, [(0, 5 * 10**9), (9 * 10**9, 20 * 10**9)]) == 1.0
    assert rate_between(ends_ns[:5], 0, 10 * 10**9, [(0, 5 * 10**9)]) == 0.0


def test_a_task_is_back_when_it_runs_in_another_process():
    runs = [Run(1, 7, 1 * 10**9, 0), Run(1, 8, 5 * 10**9, 6 * 10**9)]
    assert back_after([Deed("kill-worker", 3 * 10**9, 7)], [runs]) == [2.0]
    assert back_after([Deed("stop-worker", 3 * 10**9, 7)], [runs]) == []


def test_a_scheduler_is_back_with_half_of_the_rate():
    ends_ns = [time * 10**7 for time in range(100, 200)]  # a hundred a second, from the first second on
    (back_s,) = returns_after([Deed("kill-scheduler", 0, 1)], ends_ns, 100.0, 2 * 10**9)
    assert 0.85 < back_s <= 1.0
