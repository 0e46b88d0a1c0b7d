"""Which jobs there should be: events in, commands out; no batch system, no clock."""

import random

from scaler.cluster.scaling import Demand, Scaling
from scaler.launch.batch_system import JobState
from scaler.launch.fleet import FIRST_PAUSE_S, MOST_PAUSE_S, START_FAILURES, Fleet, Launch

MUCH = Demand(tasks=10_000, work_s=1e6, workers=0)
SIZE = 4


def fleet(least: int = 0, most: int = 10, most_queued: int = 3) -> Fleet:
    return Fleet("tag", Scaling(least, most, backlog_s=5.0, idle_s=30.0, size=SIZE), most_queued)


def take(made: Fleet, launch: Launch | None) -> list[str]:
    """As a batch system that takes all of it."""
    assert launch is not None
    jobs = [f"job of {name}" for name in launch.names]
    made.on_launched(launch, jobs)
    return jobs


def demand(workers: int) -> Demand:
    return Demand(MUCH.tasks, MUCH.work_s, workers)


def test_no_more_than_so_many_wait_in_the_queue() -> None:
    made = fleet()
    first = made.on_demand(MUCH, (), 0.0)
    assert first is not None
    jobs = take(made, first)
    assert len(jobs) == 3
    assert made.on_demand(MUCH, (), 1.0) is None
    states = dict.fromkeys(jobs, JobState.QUEUED) | {jobs[0]: JobState.RUNNING}
    assert made.on_look(states, 2.0) == []
    assert made.on_demand(MUCH, (), 3.0) is None
    assert len(take(made, made.on_demand(demand(SIZE), first.names[:1], 3.0))) == 1
    assert made.on_demand(demand(SIZE), first.names[:1], 4.0) is None


def test_what_was_commanded_counts_before_the_batch_system_has_answered() -> None:
    made = fleet()
    assert made.on_demand(MUCH, (), 0.0) is not None
    assert made.on_demand(MUCH, (), 0.5) is None


def test_never_more_than_the_most() -> None:
    made, names = fleet(most=5), []
    for now in range(20):
        launch = made.on_demand(demand(SIZE * len(names)), names, float(now))
        if launch is not None:
            take(made, launch)
            names += launch.names
    assert len(names) == len(made.jobs) == 5


def test_the_least_is_there_without_work_and_does_not_end_by_itself() -> None:
    made = fleet(least=2)
    launch = made.on_demand(Demand(), (), 0.0)
    assert launch is not None
    assert (len(launch.names), launch.stays) == (2, True)
    jobs = take(made, launch)
    assert made.on_demand(Demand(), launch.names, 1.0) is None
    ((job, about),) = made.on_look({jobs[0]: JobState.RUNNING}, 2.0)
    assert (job, about.has_joined) == (jobs[1], True)
    again = made.on_demand(Demand(), launch.names[:1], 3.0)
    assert again is not None
    assert (len(again.names), again.stays) == (1, True)
    assert not set(again.names) & set(launch.names)


def test_failed_starts_make_pauses_that_double_and_one_that_joins_ends_them() -> None:
    made, now, pauses = fleet(most_queued=1), 0.0, []
    for failure in range(8):
        assert made.is_unable == (failure >= START_FAILURES)
        launch = made.on_demand(MUCH, (), now)
        take(made, launch)
        ended = made.on_look({}, now)
        assert [about.has_joined for _, about in ended] == [False]
        assert made.on_demand(MUCH, (), now + made.pause_s - 0.01) is None
        pauses.append(made.pause_s)
        now += made.pause_s
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses[-1] == MOST_PAUSE_S
    launch = made.on_demand(MUCH, (), now)
    assert launch is not None
    take(made, launch)
    made.on_demand(MUCH, launch.names, now)
    assert not made.is_unable
    assert made.pause_s == 0.0
    assert len(made.jobs) == 1


def test_a_batch_system_that_takes_nothing_is_left_alone_for_a_while() -> None:
    made = fleet()
    launch = made.on_demand(MUCH, (), 0.0)
    assert launch is not None
    assert made.on_not_launched(launch, 0.0) == FIRST_PAUSE_S
    assert made.on_demand(MUCH, (), 1.0) is None
    assert made.on_demand(MUCH, (), FIRST_PAUSE_S) is not None


def test_a_host_that_has_joined_and_ends_is_no_failure() -> None:
    made = fleet(most=1)
    launch = made.on_demand(MUCH, (), 0.0)
    assert launch is not None
    take(made, launch)
    made.on_demand(demand(SIZE), launch.names, 1.0)
    made.on_look({}, 2.0)
    assert made.pause_s == 0.0
    assert made.on_demand(MUCH, (), 2.0) is not None


def test_whatever_happens_it_stays_within_its_bounds() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        least, most, most_queued = chance.randrange(3), chance.randrange(3, 8), chance.randrange(1, 4)
        made, states, names, now = fleet(least, most, most_queued), {}, set(), 0.0
        pending: list[Launch] = []
        for _ in range(200):
            now += chance.random() * 10
            launch = made.on_demand(chance.choice((Demand(), demand(SIZE * len(names)))), names, now)
            pending += [] if launch is None else [launch]
            if pending and chance.random() < 0.7:
                launch = pending.pop(0)
                if chance.random() < 0.2:
                    made.on_not_launched(launch, now)
                else:
                    states |= dict.fromkeys(take(made, launch), JobState.QUEUED)
            for job in list(states):
                if chance.random() < 0.3:
                    states[job] = JobState.RUNNING
                    names |= {made.jobs[job].name} if chance.random() < 0.5 else set()
                elif chance.random() < 0.1:
                    names.discard(made.jobs[job].name)
                    del states[job]
            made.on_look(states, now)
            assert len(made.jobs) + made.is_launching <= most
            assert made.is_launching == sum(len(each.names) for each in pending)
            assert made.n_queued <= most_queued
