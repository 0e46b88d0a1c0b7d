"""When an attempt is asked to stop, asked again, and when its worker is killed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.cancellation.stops import AGAIN_S, Ask, Kill, Stops

GRACE_S = 2.0


class World:
    """What workers run: (task, attempt, since when) by worker."""

    def __init__(self):
        self.runs = {}
        self.stops = Stops(self.is_running)

    def is_running(self, stop):
        task, attempt, since_ns = self.runs.get(stop.worker, (0, 0, 0))
        return (stop.task, stop.attempt) == (task, attempt) and stop.since_ns in (0, since_ns)

    def want(self, worker, task, attempt, now_s, **about):
        return self.stops.on_wanted(worker, task, attempt, GRACE_S, now_s, **about)


@pytest.fixture
def world():
    return World()


def test_what_runs_is_asked_again_and_again_and_then_killed_once(world):
    world.runs["w"] = (7, 1, 5)
    [command] = world.want("w", 7, 1, 10.0)
    assert isinstance(command, Ask)
    assert world.stops.next_due_s == 10.0 + AGAIN_S
    asked, now_s = 0, 10.0
    while now_s < 11.99:
        now_s += 0.01
        asked += len(world.stops.on_tick(now_s))
    assert 30 < asked <= 2 / AGAIN_S
    [command] = world.stops.on_tick(12.0)
    assert isinstance(command, Kill)
    assert world.stops.next_due_s is None
    assert world.stops.on_tick(100.0) == []
    assert world.stops.on_left("w") is command.stop


def test_what_does_not_run_is_not_asked(world):
    world.runs["w"] = (7, 2, 5)
    assert world.want("w", 7, 1, 10.0) == []  # an earlier attempt
    assert world.want("w", 8, 2, 10.0) == []
    assert world.want("other", 7, 2, 10.0) == []
    assert world.stops.next_due_s is None


def test_what_has_ended_is_forgotten_and_its_worker_left_alone(world):
    world.runs["w"] = (7, 1, 5)
    world.want("w", 7, 1, 10.0)
    world.runs["w"] = (8, 1, 6)
    assert world.stops.on_tick(20.0) == []
    assert world.stops.next_due_s is None
    assert world.stops.on_left("w") is None


def test_asking_twice_does_not_put_the_end_off(world):
    world.runs["w"] = (7, 1, 5)
    world.want("w", 7, 1, 10.0)
    assert world.want("w", 7, 1, 11.9) == []
    assert isinstance(world.stops.on_tick(12.0)[0], Kill)


def test_only_the_call_that_is_overdue_ends(world):
    world.runs["w"] = (7, 1, 5)
    [command] = world.want("w", 7, 1, 10.0, since_ns=5, limit_ns=3)
    assert command.stop.is_overdue
    world.runs["w"] = (7, 1, 6)  # the next call of the chunk
    assert world.stops.on_tick(12.0) == []
    world.want("w", 7, 1, 12.0, since_ns=6, limit_ns=3)
    [command] = world.want("w", 7, 1, 12.5)  # now nobody wants any of it
    assert not command.stop.is_overdue
    assert world.want("w", 7, 1, 12.5, since_ns=6, limit_ns=3) == []


def test_who_dies_before_it_is_killed_was_at_what_it_was_to_stop(world):
    world.runs["w"] = (7, 1, 5)
    [command] = world.want("w", 7, 1, 10.0)
    assert world.stops.on_left("w") is command.stop
    assert world.stops.on_left("w") is None


def test_who_was_killed_for_a_call_is_answered_for_though_it_had_come_to_the_next(world):
    world.runs["w"] = (7, 1, 5)
    world.want("w", 7, 1, 10.0, since_ns=5, limit_ns=3)
    [command] = world.stops.on_tick(12.0)
    world.runs["w"] = (7, 1, 6)
    assert world.stops.on_left("w") is command.stop


def test_who_is_spared_may_be_asked_again(world):
    world.runs["w"] = (7, 1, 5)
    world.want("w", 7, 1, 10.0)
    [command] = world.stops.on_tick(12.0)
    world.runs["w"] = (8, 1, 6)
    world.stops.on_spared(command.stop)
    assert len(world.want("w", 8, 1, 13.0)) == 1


@given(st.lists(st.tuples(st.sampled_from("wvu"), st.integers(0, 5), st.floats(0, 1)), max_size=60))
def test_whatever_happens_only_what_runs_is_asked_or_killed(events):
    world, now_s = World(), 0.0
    wanted = set()
    for worker, what, wait_s in events:
        now_s += wait_s
        commands = []
        if what < 3:
            world.runs[worker] = (what, 1, int(now_s * 1e9))
        elif what == 3 and worker in world.runs:
            task, attempt, _ = world.runs[worker]
            wanted.add((worker, task, attempt))
            commands = world.want(worker, task, attempt, now_s)
        elif what == 4:
            world.stops.on_left(worker)
            world.runs.pop(worker, None)
        else:
            commands = world.stops.on_tick(now_s)
        for command in commands:
            stop = command.stop
            assert world.runs[stop.worker][:2] == (stop.task, stop.attempt)
            assert (stop.worker, stop.task, stop.attempt) in wanted
            assert isinstance(command, Ask) or now_s >= stop.kill_s
