"""Who is started again when: soon after a death, and ever more seldom where nobody can join."""

from scaler.cluster.roster import (
    MOST_JOINED_PAUSE_S,
    MOST_PAUSE_S,
    QUICK_DEATHS,
    SETTLED_S,
    SPARE_LINGER_S,
    START_FAILURES,
    Retire,
    Roster,
    Start,
)


def deaths(roster, *, lives_s, joins, times, start_s=0.0):
    """How long each of a row of deaths of worker 0 kept it away."""
    pauses, now_s = [], start_s
    for _ in range(times):
        if joins:
            roster.on_joined(0, now_s)
        now_s += lives_s
        commands = roster.on_exited(0, now_s)
        if not commands:
            due_s = roster.next_due_s
            assert roster.on_tick(due_s - 0.001) == []
            commands = roster.on_tick(due_s)
            pauses.append(round(due_s - now_s, 3))
            now_s = due_s
        else:
            pauses.append(0.0)
        assert commands == [Start(0)]
    return pauses


def running():
    roster = Roster(["one"])
    assert roster.on_connected(0.0) == [Start(0)]
    return roster


def test_a_worker_that_was_in_for_a_while_is_started_again_at_once_however_often_it_dies():
    assert deaths(running(), lives_s=SETTLED_S + 0.01, joins=True, times=50) == [0.0] * 50


def test_a_worker_that_dies_right_after_joining_is_soon_started_again():
    pauses = deaths(running(), lives_s=0.01, joins=True, times=10)
    assert pauses[:QUICK_DEATHS] == [0.0] * QUICK_DEATHS
    assert pauses[-1] == MOST_JOINED_PAUSE_S


def test_a_worker_that_cannot_join_is_tried_ever_more_seldom():
    pauses = deaths(running(), lives_s=0.1, joins=False, times=10)
    assert pauses[0] == 0.0
    assert pauses[1:] == sorted(pauses[1:])
    assert pauses[-1] == MOST_PAUSE_S


def test_a_worker_that_could_join_after_all_is_started_again_at_once():
    roster = running()
    deaths(roster, lives_s=0.1, joins=False, times=8)
    assert deaths(roster, lives_s=0.01, joins=True, times=1, start_s=1000.0) == [0.0]


def test_spares_come_when_workers_are_blocked_and_go_a_while_after():
    roster = Roster(["a", "b"], ["spare 1", "spare 2"])
    assert roster.on_connected(0.0) == [Start(0), Start(1)]
    for index in range(2):
        roster.on_joined(index, 0.0)
    assert roster.all_joined
    assert roster.on_blocked(1, 1.0) == [Start(2)]
    roster.on_joined(2, 1.0)
    assert roster.on_blocked(3, 2.0) == [Start(3)]  # there are no more members
    roster.on_joined(3, 2.0)
    assert roster.on_blocked(0, 3.0) == []
    assert roster.next_due_s == 3.0 + SPARE_LINGER_S
    assert roster.on_blocked(1, 4.0) == []  # one is needed again before it has gone
    assert roster.on_tick(3.0 + SPARE_LINGER_S) == [Retire(3)]
    assert roster.on_exited(3, 9.0, True) == []
    assert roster.next_due_s is None


def test_a_spare_that_dies_is_started_again_only_while_it_is_wanted():
    roster = Roster(["a"], ["spare"])
    roster.on_connected(0.0)
    assert roster.on_blocked(1, 0.0) == [Start(1)]
    roster.on_joined(1, 0.0)
    assert roster.on_exited(1, 1.0) == [Start(1)]
    roster.on_joined(1, 1.0)
    assert roster.on_blocked(0, 2.0) == []
    assert roster.on_tick(2.0 + SPARE_LINGER_S) == [Retire(1)]
    assert roster.on_blocked(1, 8.0) == []  # it is still leaving
    assert roster.on_exited(1, 9.0, True) == [Start(1)]


def test_spares_are_not_started_for_a_scheduler_that_nobody_waits_for():
    roster = Roster(["a"], ["spare"])
    roster.on_connected(0.0)
    roster.on_blocked(1, 0.0)
    roster.on_disconnected()
    assert roster.on_blocked(0, 1.0) == []
    assert roster.on_connected(2.0) == [Start(0)]
    assert roster.names == ("a",)


def test_no_worker_can_start_once_several_in_a_row_failed_at_each_place_and_none_is_there():
    roster = Roster(["a", "b"], ["spare"])
    now = 0.0
    roster.on_connected(now)
    for failures in range(1, START_FAILURES + 1):
        assert not roster.is_unable
        roster.on_exited(0, now)
        assert not roster.is_unable
        roster.on_exited(1, now, intended=failures == 1)
        now += 100
        roster.on_tick(now)
    assert not roster.is_unable  # one of those was killed on purpose
    roster.on_exited(1, now)
    assert roster.is_unable
    now += 100
    roster.on_tick(now)
    assert roster.is_unable
    roster.on_joined(1, now)
    assert not roster.is_unable
    roster.on_exited(1, now)
    assert not roster.is_unable  # it had joined
    for _ in range(START_FAILURES):
        now += 100
        roster.on_tick(now)
        roster.on_exited(1, now)
    assert roster.is_unable
    roster.on_disconnected()
    roster.on_connected(now)
    assert not roster.is_unable
