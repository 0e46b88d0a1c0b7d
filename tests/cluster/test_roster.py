"""Who is started again when: soon after a death, and ever more seldom where nobody can join."""

from scaler.cluster.roster import MOST_JOINED_PAUSE_S, MOST_PAUSE_S, QUICK_DEATHS, SETTLED_S, Roster, Start


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
