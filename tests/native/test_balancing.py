"""Balancing: workers played with a virtual clock. Who has nothing to do gets what others were given too early; even
loads are left alone; nothing is lost, run twice, or moved for ever."""

import heapq
import random
from hashlib import blake2b

import pytest

from scaler._native import Ring, RingOutlet, SchedulerCore, Segment
from tests.effort import seeds

TASK, RESULT = 1, 2
US, MS, S = 1_000, 1_000_000, 1_000_000_000
TICK_NS = 10 * MS
RING_BYTES = 262144


def ring_pair():
    memory = Segment.private(4096 + RING_BYTES)
    return Ring(memory, 0, RING_BYTES), Ring(memory, 0, RING_BYTES)


class Player:
    """A worker that takes `factor` times as long as a task says."""

    def __init__(self, host, factor):
        tasks, self.tasks = ring_pair()
        control, self.control = ring_pair()
        self.results_out, self.results_in = ring_pair()
        self.factor, self.running = factor, None
        self.index = host.core.on_worker_joined(RingOutlet(tasks), RingOutlet(control))


class Host:
    """A core, one client, and players. Time goes on from event to event."""

    def __init__(self, factors):
        self.core = SchedulerCore()
        self.now = 0
        self.events = []  # (when, number, player): its task is done
        self.next_tick = TICK_NS
        self.number = 0
        self.submits_in, self.submits = ring_pair()
        results, self.results = ring_pair()
        self.answers = {}
        control, _ = ring_pair()
        self.client = self.core.on_client_joined(1, RingOutlet(results), RingOutlet(control))
        self.durations, self.runs, self.next_task = {}, {}, 1
        self.functions = set()
        self.players = [Player(self, factor) for factor in factors]
        self.alive = list(self.players)

    def submit(self, function, durations):
        if function not in self.functions:
            self.functions.add(function)
            payload = b"%d" % function
            self.core.on_function(self.client, function, blake2b(payload, digest_size=16).digest(), 0, payload)
        for duration in durations:
            task = 1 << 40 | self.next_task
            self.next_task += 1
            self.durations[task] = duration
            while self.submits.write(TASK, task, function=function) is None:
                self.core.feed_client(self.client, self.submits_in, self.now)
        self.core.feed_client(self.client, self.submits_in, self.now)
        self.work()

    def join(self, factor=1):
        player = Player(self, factor)
        self.players.append(player)
        self.alive.append(player)
        self.work()
        return player

    def die(self, player):
        self.alive.remove(player)
        player.running = None
        self.core.on_worker_left(player.index, self.now)
        self.work()

    def work(self):
        """Let the core place, and whoever has nothing to run begin."""
        self.core.step(self.now)
        for player in self.alive:
            if player.running is None:
                record = player.tasks.read(claim=True)
                if record is not None:
                    player.running = record
                    self.runs[record[1]] = self.runs.get(record[1], 0) + 1
                    self.number += 1
                    end = self.now + int(self.durations[record[1]] * player.factor)
                    heapq.heappush(self.events, (end, self.number, player, record))

    def pass_time(self, until=None):
        """Until all is done, or until then."""
        while len(self.answers) < self.next_task - 1 and (until is None or self.now < until):
            when = min(self.next_tick, self.events[0][0] if self.events else self.next_tick)
            assert when < 24 * 3600 * S, "some tasks are never run"
            self.now = when
            if when == self.next_tick:
                self.next_tick += TICK_NS
                self.core.on_tick(self.now)
            while self.events and self.events[0][0] <= self.now:
                _, _, player, record = heapq.heappop(self.events)
                if player.running is not record:
                    continue  # it died
                player.running = None
                duration = int(self.durations[record[1]] * player.factor)
                player.results_out.write(RESULT, record[1], function=record[3], attempt=record[6], duration_ns=duration)
                self.core.feed_worker(player.index, player.results_in, self.now)
            self.work()
            while (answer := self.results.read()) is not None:
                assert answer[1] not in self.answers
                assert answer[5] == 0
                self.answers[answer[1]] = self.now
            self.core.deliver(self.client)

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
    host.pass_time()


def test_tasks_that_take_longer_than_their_kind_did_are_taken_back_for_those_who_are_idle():
    host = Host([1, 1])
    teach(host, 1, 2 * US)
    host.submit(1, [9 * MS] * 400)  # thought to be of 2 us, they were all given away at once
    start = host.now
    host.join()
    host.join()
    host.pass_time()
    host.check_all_ran_once()
    even = 400 * 9 * MS / 4
    assert host.now - start < 1.2 * even


def test_one_long_task_does_not_keep_what_was_given_behind_it():
    host = Host([1] * 4)
    teach(host, 1, 2 * US)
    start = host.now
    host.submit(1, [60 * S, *[1 * MS] * 300])
    host.pass_time(start + 2 * S)
    assert len(host.answers) == 200 + 300


@pytest.mark.parametrize("loads", [(0, 0, 3, 3, 3, 4), (0, 8), (0, 0, 0, 12), (0, 0, 1, 1, 6, 6)])
def test_uneven_loads_are_made_even_in_one_go(loads):
    host = Host([1])
    teach(host, 1, 2 * US)
    for number, load in enumerate(sorted(loads, reverse=True)):
        if number:
            host.join()
        host.submit(1, [9 * MS] * load)  # they go where there is nothing yet
    start = host.now
    host.pass_time()
    host.check_all_ran_once()
    assert host.withdrawn <= sum(loads)
    share = -(-sum(loads) // len(loads))
    assert host.now - start <= 2 * TICK_NS + (share + 2) * 9 * MS


def test_even_loads_are_left_alone():
    host = Host([1] * 4)
    teach(host, 1, 1 * MS)
    before = host.withdrawn
    for _ in range(20):
        host.submit(1, [1 * MS] * 400)
        host.pass_time()
    host.check_all_ran_once()
    assert host.withdrawn == before


def test_a_worker_that_joins_gets_work_as_soon_as_any_waits():
    for known in (0, 2 * US, 5 * MS, 1 * S):
        host = Host([1, 1])
        if known:
            teach(host, 1, known, 20)
        host.submit(1, [1 * S] * 20)
        host.pass_time(host.now + 100 * MS)
        joined = host.join()
        host.pass_time(host.now + 5 * TICK_NS)
        assert joined.running is not None, f"a task was thought to take {known} ns"


def test_one_slow_worker_among_fast_ones_gets_less_and_holds_nobody_up():
    host = Host([1, 1, 1, 20])
    teach(host, 1, 1 * MS, 40)
    start = host.now
    host.submit(1, [1 * MS] * 1000)
    host.pass_time()
    host.check_all_ran_once()
    assert host.now - start < 1000 * MS / 3 * 1.1 + 4 * 20 * MS
    slow = host.players[-1]
    assert slow.results_out.positions[0] < host.players[0].results_out.positions[0] / 4


def test_with_more_workers_than_tasks_nobody_gets_two():
    host = Host([1] * 10)
    teach(host, 1, 2 * US)
    host.submit(1, [1 * S] * 8)
    assert sum(player.running is not None for player in host.players) == 8


@pytest.mark.parametrize("seed", seeds(20))
def test_whatever_comes_every_task_runs_once_and_is_moved_seldom(seed):
    """Kinds of very different and changing durations, workers of different speed that join and die."""
    rng = random.Random(seed)
    host = Host([rng.choice([0.5, 1, 1, 3, 20]) for _ in range(rng.randint(1, 8))])
    deaths = 0
    for _ in range(30):
        kind = rng.randint(1, 3)
        longest = rng.choice([2 * US, 50 * US, 1 * MS, 9 * MS, 200 * MS])
        host.submit(kind, [int(longest * rng.choice([0.01, 1, 1])) + 1 for _ in range(rng.randint(1, 120))])
        host.pass_time(host.now + rng.randint(0, 100 * MS))
        if rng.random() < 0.2:
            host.join(rng.choice([0.5, 1, 3]))
        if rng.random() < 0.1 and len(host.alive) > 1:
            host.die(rng.choice(host.alive))
            deaths += 1
    host.pass_time()
    assert len(host.answers) == len(host.durations)
    assert sum(host.runs.values()) <= len(host.durations) + deaths
    assert host.core.counts()["rows"] == 0
    assert host.withdrawn <= 4 * len(host.durations)
