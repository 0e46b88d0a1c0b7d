"""Balancing: workers played with a virtual clock. Who has nothing to do gets what others were given too early; even
loads are left alone; nothing is lost, run twice, or moved for ever."""

import random

import pytest

from tests.effort import seeds
from tests.native.played import MS, TICK_NS, US, Host, S


class OneClientHost(Host):
    """A host with one client, whose tasks are all that is counted."""

    def __init__(self, factors):
        super().__init__(factors)
        self.client = self.add_client()

    @property
    def answers(self):
        return self.client.answers

    def submit(self, function, durations):
        self.client.submit(function, durations)
        self.settle()

    def finish(self, until=None):
        """Until all is done, or until then."""
        self.pass_time(lambda: len(self.answers) == len(self.durations) or (until is not None and self.now >= until))

    @property
    def withdrawn(self):
        return self.core.counts()["withdrawn"]

    def check_all_ran_once(self):
        assert len(self.answers) == len(self.durations)
        assert set(self.runs.values()) == {1}
        assert self.core.counts()["rows"] == 0


def teach(host, function, duration, times=200):
    """Have the core know how long this function takes, or think so."""
    host.submit(function, [duration] * times)
    host.finish()


def test_tasks_that_take_longer_than_their_kind_did_are_taken_back_for_those_who_are_idle():
    host = OneClientHost([1, 1])
    teach(host, 1, 2 * US)
    host.submit(1, [9 * MS] * 400)  # thought to be of 2 us, they were all given away at once
    start = host.now
    host.join()
    host.join()
    host.finish()
    host.check_all_ran_once()
    even = 400 * 9 * MS / 4
    assert host.now - start < 1.2 * even


def test_one_long_task_does_not_keep_what_was_given_behind_it():
    host = OneClientHost([1] * 4)
    teach(host, 1, 2 * US)
    start = host.now
    host.submit(1, [60 * S, *[1 * MS] * 300])
    host.finish(start + 2 * S)
    assert len(host.answers) == 200 + 300


@pytest.mark.parametrize("loads", [(0, 0, 3, 3, 3, 4), (0, 8), (0, 0, 0, 12), (0, 0, 1, 1, 6, 6)])
def test_uneven_loads_are_made_even_in_one_go(loads):
    host = OneClientHost([1])
    teach(host, 1, 2 * US)
    for number, load in enumerate(sorted(loads, reverse=True)):
        if number:
            host.join()
        host.submit(1, [9 * MS] * load)  # they go where there is nothing yet
    start = host.now
    host.finish()
    host.check_all_ran_once()
    assert host.withdrawn <= sum(loads)
    share = -(-sum(loads) // len(loads))
    assert host.now - start <= 2 * TICK_NS + (share + 2) * 9 * MS


def test_even_loads_are_left_alone():
    host = OneClientHost([1] * 4)
    teach(host, 1, 1 * MS)
    before = host.withdrawn
    for _ in range(20):
        host.submit(1, [1 * MS] * 400)
        host.finish()
    host.check_all_ran_once()
    assert host.withdrawn == before


def test_a_worker_that_joins_gets_work_as_soon_as_any_waits():
    for known in (0, 2 * US, 5 * MS, 1 * S):
        host = OneClientHost([1, 1])
        if known:
            teach(host, 1, known, 20)
        host.submit(1, [1 * S] * 20)
        host.finish(host.now + 100 * MS)
        joined = host.join()
        host.finish(host.now + 5 * TICK_NS)
        assert joined.running is not None, f"a task was thought to take {known} ns"


def test_one_slow_worker_among_fast_ones_gets_less_and_holds_nobody_up():
    host = OneClientHost([1, 1, 1, 20])
    teach(host, 1, 1 * MS, 40)
    start = host.now
    host.submit(1, [1 * MS] * 1000)
    host.finish()
    host.check_all_ran_once()
    assert host.now - start < 1000 * MS / 3 * 1.1 + 4 * 20 * MS
    slow = host.alive[-1]
    assert slow.results_out.positions[0] < host.alive[0].results_out.positions[0] / 4


def test_with_more_workers_than_tasks_nobody_gets_two():
    host = OneClientHost([1] * 10)
    teach(host, 1, 2 * US)
    host.submit(1, [1 * S] * 8)
    assert sum(player.running is not None for player in host.alive) == 8


@pytest.mark.parametrize("seed", seeds(20))
def test_whatever_comes_every_task_runs_once_and_is_moved_seldom(seed):
    """Kinds of very different and changing durations, workers of different speed that join and die."""
    rng = random.Random(seed)
    host = OneClientHost([rng.choice([0.5, 1, 1, 3, 20]) for _ in range(rng.randint(1, 8))])
    deaths = 0
    for _ in range(30):
        kind = rng.randint(1, 3)
        longest = rng.choice([2 * US, 50 * US, 1 * MS, 9 * MS, 200 * MS])
        host.submit(kind, [int(longest * rng.choice([0.01, 1, 1])) + 1 for _ in range(rng.randint(1, 120))])
        host.finish(host.now + rng.randint(0, 100 * MS))
        if rng.random() < 0.2:
            host.join(rng.choice([0.5, 1, 3]))
        if rng.random() < 0.1 and len(host.alive) > 1:
            host.die(rng.choice(host.alive))
            deaths += 1
    host.finish()
    assert len(host.answers) == len(host.durations)
    assert sum(host.runs.values()) <= len(host.durations) + deaths
    assert host.core.counts()["rows"] == 0
    assert host.withdrawn <= 4 * len(host.durations)
