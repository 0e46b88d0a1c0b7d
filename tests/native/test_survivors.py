"""What outlives a scheduler: schedulers come and go between the same clients and workers, by seeds."""

import random

import pytest

from scaler._native import (
    FLAG_RESENT,
    KIND_CANCEL,
    KIND_FUNCTION,
    KIND_RESULT,
    KIND_TASK,
    PAGE,
    Pump,
    RecordCopy,
    SchedulerCore,
    Segment,
)
from tests.effort import seeds
from tests.native.model import digest_of
from tests.sim.wire import Rings

S = 1_000_000_000
BITS = 5


class World:
    """One client and some workers, whose rings go from scheduler to scheduler."""

    def __init__(self, n_workers: int) -> None:
        self.now, self.epoch, self.number = 0, 0, 0
        self.open: dict[int, bytes] = {}  # tasks without an answer
        self.cancelled: set[int] = set()
        self.answers: list[tuple[int, bytes]] = []
        self.workers = [Rings(8192) for _ in range(n_workers)]
        self.tags = [0] * n_workers
        self.started: list[list[RecordCopy]] = [[] for _ in range(n_workers)]  # tasks without a result
        self.restart()

    def restart(self) -> None:
        """The scheduler is gone, and another one there: workers go over, and the client sends again what is open."""
        if self.epoch:
            self.read()
        self.epoch += 1
        self.core = SchedulerCore(self.epoch)
        self.pump = Pump(self.core, Segment.private(PAGE), -1, self.epoch)
        self.peers = []
        for index, rings in enumerate(self.workers):
            self.peers.append(self.pump.add(rings.memory, True, -1, tag=self.tags[index]))
            self.tags[index] = self.peers[-1].tag
        self.client = Rings(8192)
        self.pump.add(self.client.memory, False, -1, client_bits=BITS)
        self.client.up.write(KIND_FUNCTION, 0, digest_of(b"code") + b"code", function=1)
        for task, payload in self.open.items():
            while self.client.tasks.write(KIND_TASK, task, payload, function=1, flags=FLAG_RESENT) is None:
                self.pump.run(True)
        self.pump.run(True)

    def submit(self) -> None:
        task, payload = BITS << 40 | self.number + 1, b"%d" % self.number
        if self.client.tasks.write(KIND_TASK, task, payload, function=1) is not None:
            self.number += 1
            self.open[task] = payload

    def start(self, index: int) -> None:
        """A worker begins a task. (Its record is gone from the ring then: nobody sees that it runs it.)"""
        record = self.workers[index].tasks.read(claim=True)
        if record is not None:
            self.started[index].append(record)

    def finish(self, index: int) -> None:
        if self.started[index]:
            given = self.started[index].pop(0)
            written = self.workers[index].results.write(
                KIND_RESULT, given.task, given.payload[::-1], function=given.function, attempt=given.attempt
            )
            assert written is not None

    def read(self) -> None:
        while (record := self.client.results.read()) is not None:
            self.answers.append((record.task, record.payload))
            del self.open[record[1]]

    def pass_time(self, seconds: float) -> None:
        self.now += int(seconds * S)
        self.core.on_tick(self.now + 10**18)
        self.pump.run(True)

    def work_off(self) -> None:
        """Nothing happens any more but what must."""
        for _ in range(500):
            self.pass_time(2)
            for index in range(len(self.workers)):
                self.start(index)
                self.finish(index)
            self.pump.run(True)
            self.read()
        self.pass_time(100)

    def left_over(self) -> list[int]:
        """What is in the scheduler's tables."""
        counts = self.core.counts()
        return [counts[name] for name in ("rows", "ready", "held_back", "kept_results", "running_on")]


@pytest.mark.parametrize("seed", seeds(75))
def test_each_task_is_answered_once_whatever_schedulers_die(seed):
    chance = random.Random(seed)
    world = World(chance.randrange(1, 4))
    for _ in range(300):
        what, index = chance.random(), chance.randrange(len(world.workers))
        if what < 0.3:
            world.submit()
        elif what < 0.5:
            world.start(index)
        elif what < 0.7:
            world.finish(index)
        elif what < 0.85:
            world.pump.run(True)
        elif what < 0.95:
            world.read()
        elif what < 0.97:
            world.restart()
        else:
            world.pass_time(2)
    world.work_off()
    assert not world.open
    assert len(world.answers) == world.number
    assert dict(world.answers) == {BITS << 40 | number + 1: (b"%d" % number)[::-1] for number in range(world.number)}
    assert world.left_over() == [0] * 5


def resent_to_the_second(world: World) -> int:
    """A task that the first scheduler had placed, after the second has taken over."""
    world.submit()
    world.pump.run(True)
    for index in range(len(world.workers)):
        world.start(index)
    world.restart()
    return next(iter(world.open))


def holder(world: World) -> int:
    """Who was given it."""
    return next(index for index, started in enumerate(world.started) if started)


def test_a_task_that_was_sent_again_is_held_back_and_then_placed():
    world = World(2)
    resent_to_the_second(world)
    assert world.core.counts()["held_back"] == 1
    assert all(rings.tasks.read(claim=True) is None for rings in world.workers)
    world.pass_time(2)
    assert world.core.counts()["held_back"] == 0
    assert any(rings.tasks.read(claim=True) is not None for rings in world.workers)


def test_a_result_of_before_answers_and_the_task_is_not_placed():
    world = World(2)
    resent_to_the_second(world)
    world.finish(holder(world))
    world.pump.run(True)
    world.pass_time(2)
    world.read()
    assert world.answers == [(BITS << 40 | 1, b"0")]
    assert all(rings.tasks.read(claim=True) is None for rings in world.workers)


def test_who_still_runs_something_is_given_nothing_else_and_its_task_waits_for_it():
    world = World(1)
    task = resent_to_the_second(world)
    attempt = world.started[0][0].attempt
    world.core.on_survivor(world.peers[0].index, (task, attempt))
    world.submit()
    world.pass_time(5)
    assert world.workers[0].tasks.read(claim=True) is None
    world.finish(0)
    world.pump.run(True)
    world.read()
    assert [answer for _, answer in world.answers] == [b"0"]
    world.start(0)
    assert world.started[0]


def test_what_a_worker_ran_that_died_then_is_run_by_another():
    world = World(2)
    task = resent_to_the_second(world)
    here = holder(world)
    world.core.on_survivor(world.peers[here].index, (task, world.started[here][0].attempt))
    world.pass_time(5)
    assert world.workers[1 - here].tasks.read(claim=True) is None
    world.pump.remove(world.peers[here])
    record = world.workers[1 - here].tasks.read(claim=True)
    assert record is not None
    assert record[1] == task


def test_what_was_not_claimed_is_taken_back_by_the_next_scheduler():
    world = World(1)
    world.submit()
    world.pump.run(True)
    world.restart()
    assert world.workers[0].tasks.read(claim=True) is None
    world.pass_time(2)
    record = world.workers[0].tasks.read(claim=True)
    assert record is not None
    assert record[1] == BITS << 40 | 1


def stops(world: World) -> list[tuple[int, int]]:
    """(task, attempt) of what is to be stopped, as the pump was told."""
    found = [(task, attempt) for _, task, attempt in world.pump.stops]
    world.pump.stops.clear()
    return found


def test_a_task_that_was_cancelled_before_its_worker_came_over_is_stopped_when_that_comes():
    world = World(1)
    task = resent_to_the_second(world)
    attempt = world.started[0][0].attempt
    world.client.up.write(KIND_CANCEL, task)
    world.pump.run(True)
    world.core.on_survivor(world.peers[0].index, (task, attempt))
    assert stops(world) == [(task, attempt)]


def test_what_nobody_has_sent_again_is_stopped_after_a_while():
    world = World(1)
    task = resent_to_the_second(world)
    attempt = world.started[0][0].attempt
    world.open.clear()
    world.restart()
    world.core.on_survivor(world.peers[0].index, (task, attempt))
    world.pass_time(1)
    world.pass_time(20)
    assert stops(world) == []
    world.pass_time(20)
    assert stops(world) == [(task, attempt)]
    world.finish(0)
    world.pump.run(True)
    world.submit()
    world.pump.run(True)
    world.start(0)
    assert world.started[0]


def test_who_takes_the_place_of_one_that_came_over_gets_another_tag():
    """What that one made under its tag may still be of use to somebody."""
    world = World(2)
    world.restart()
    tags = set(world.tags)
    for peer in world.peers:
        world.pump.remove(peer)
        tag = world.pump.add(Rings(8192).memory, True, -1).tag
        assert tag not in tags
        tags.add(tag)
