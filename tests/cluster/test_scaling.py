"""How many workers there should be: by seconds of work, up at once, down when idle; no process, no clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.cluster.scaling import Demand, Grow, Scaling, Shrink

BACKLOG_S, IDLE_S = 5.0, 30.0


def scaling(least: int = 1, most: int = 10, size: int = 1) -> Scaling:
    return Scaling(least, most, backlog_s=BACKLOG_S, idle_s=IDLE_S, size=size)


def grown(step: object) -> int:
    return step.count if isinstance(step, Grow) else 0


def test_many_quick_tasks_are_worth_no_other_worker() -> None:
    assert scaling().step(Demand(1000, 0.001, 1), 1, 0, {}) is None
    assert scaling().step(Demand(100_000, BACKLOG_S, 1), 1, 0, {}) is None


def test_seconds_of_work_are_worth_workers_all_at_once() -> None:
    assert grown(scaling().step(Demand(100_000, 4.5 * BACKLOG_S, 1), 1, 0, {})) == 4
    assert grown(scaling().step(Demand(100_000, 1000 * BACKLOG_S, 1), 1, 0, {})) == 9


def test_more_workers_than_tasks_are_of_no_use() -> None:
    assert grown(scaling().step(Demand(3, 3 * 3600.0, 1), 1, 0, {})) == 2
    assert scaling().step(Demand(3, 3 * 3600.0, 3), 3, 0, {}) is None


def test_what_starts_is_not_started_again_and_what_leaves_is_not_there() -> None:
    assert scaling().step(Demand(100, 20.0, 1), 4, 3, {}) is None
    assert grown(scaling().step(Demand(100, 20.0, 0), 0, 0, {})) > 0  # all others leave


def test_the_least_is_there_without_work() -> None:
    assert grown(scaling(least=2).step(Demand(), 0, 0, {})) == 2
    assert scaling(least=0).step(Demand(), 0, 0, {}) is None


def test_failed_starts_pause_it() -> None:
    assert scaling().step(Demand(100, 1000.0, 1), 1, 0, {}, fails=True) is None


def test_others_that_grow_too_take_their_share() -> None:
    assert grown(scaling().step(Demand(100, 45.0, 1, sharers=2), 1, 0, {})) == 4
    assert grown(scaling().step(Demand(100, 45.0, 1, sharers=100), 1, 0, {})) == 1


def test_those_that_were_idle_for_longest_go_first_and_the_least_stays() -> None:
    idle = {0: 31.0, 1: 500.0, 2: 29.0, 3: 40.0}
    step = scaling().step(Demand(0, 0.0, 4), 4, 0, idle)
    assert isinstance(step, Shrink)
    assert step.members == (1, 3, 0)
    step = scaling(least=3).step(Demand(0, 0.0, 4), 4, 0, idle)
    assert isinstance(step, Shrink)
    assert step.members == (1,)
    assert scaling(least=4).step(Demand(0, 0.0, 4), 4, 0, idle) is None


def test_idle_ones_stay_while_there_is_work_for_them() -> None:
    assert scaling().step(Demand(4, 400.0, 4), 4, 0, {0: 31.0, 1: 31.0}) is None
    step = scaling().step(Demand(3, 400.0, 4), 4, 0, {0: 31.0, 1: 32.0})
    assert isinstance(step, Shrink)
    assert step.members == (1,)


def test_waves_with_pauses_shorter_than_that_find_all_workers() -> None:
    rule, there, now_s, busy_until_s = scaling(), 1, 0.0, 0.0
    starts = 0
    for step in range(10 * 10):  # ten waves, 5 s apart, half a second a step
        now_s = step * 0.5
        if step % 10 == 0:
            busy_until_s = now_s + 2.0
        work_s = 100.0 if now_s < busy_until_s else 0.0
        idle = {} if work_s else dict.fromkeys(range(there), now_s - busy_until_s)
        did = rule.step(Demand(1000 if work_s else 0, work_s, there), there, 0, idle)
        assert not isinstance(did, Shrink)
        starts += grown(did)
        there += grown(did)
    assert (there, starts) == (10, 9)
    did = rule.step(Demand(0, 0.0, there), there, 0, dict.fromkeys(range(there), IDLE_S))
    assert isinstance(did, Shrink)
    assert len(did.members) == 9


def test_hosts_count_as_many_workers_as_they_have() -> None:
    assert grown(scaling(0, 10, size=8).step(Demand(1000, 9 * BACKLOG_S, 0), 0, 0, {})) == 2
    assert scaling(0, 10, size=8).step(Demand(1000, 9 * BACKLOG_S, 0), 2, 2, {}) is None
    assert scaling(0, 10, size=8).step(Demand(1, 1.0, 8), 1, 0, {0: 100.0}) is None  # all of a host or nothing


@given(
    st.builds(Demand, st.integers(0, 10**6), st.floats(0, 1e9), st.integers(0, 100), st.integers(0, 5)),
    st.integers(0, 5), st.integers(0, 10), st.integers(0, 15), st.integers(1, 9),
    st.dictionaries(st.integers(0, 15), st.floats(0, 1e6), max_size=15), st.booleans(),
)  # fmt: skip
def test_it_never_leaves_its_bounds(
    demand: Demand, least: int, more: int, there: int, size: int, idle: dict[int, float], fails: bool
) -> None:
    there = max(there, len(idle))
    step = scaling(least, least + more, size).step(demand, there, 0, idle, fails=fails)
    if isinstance(step, Grow):
        assert 0 < step.count <= max(least, least + more) - there
    elif isinstance(step, Shrink):
        assert there - len(step.members) >= least
        assert all(idle[member] >= IDLE_S for member in step.members)


@pytest.mark.parametrize("size", [1, 8])
def test_growing_and_shrinking_never_alternate_without_news(size: int) -> None:
    rule = scaling(0, 50, size)
    for tasks, work_s in ((0, 0.0), (5, 1.0), (100, 77.0), (10**6, 1e6)):
        there, steps = 0, 0
        while isinstance(did := rule.step(Demand(tasks, work_s, there * size), there, 0, {}), Grow):
            there, steps = there + did.count, steps + 1
            assert steps == 1
        idle = dict.fromkeys(range(there), IDLE_S)
        did = rule.step(Demand(tasks, work_s, there * size), there, 0, idle)
        assert did is None
