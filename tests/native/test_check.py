"""The core's look at itself: it finds what is not where it must be, and the table of states says what can be."""

import os
from typing import cast

import pytest

from scaler._native import STATUS_OK, STATUS_REFUSED, SchedulerCore, Store, is_checked, states, transitions
from tests.checks.states import BEGIN, END, find_stale
from tests.native.test_core import FakeClient, FakeWorker
from tests.native.test_edges import GraphClient, GraphWorker, run_all


def reaches(first):
    """All states to which anything leads from this one."""
    found, new = set(), {first}
    while new:
        found |= new
        new = {after for _, _, before, after in transitions() if found.intersection(before)} - found
    return found


def test_every_state_is_reached_and_left_and_every_task_can_end():
    names = {name for name, _ in states()}
    assert reaches("FREE") == names
    for name in names - {"FREE"}:
        assert "FREE" in reaches(name)


def test_a_task_is_new_only_while_it_comes():
    assert [event for event, _, _, after in transitions() if after == "NEW"] == ["comes"]
    (comes,) = (step for step in transitions() if step[0] == "comes")
    assert comes[2] == ["FREE"]


def test_only_what_can_run_is_given_to_somebody():
    assert {
        before for event, _, states, _ in transitions() if event in ("is given", "is lent") for before in states
    } == {"READY"}


def test_what_nobody_wants_can_only_end():
    assert [event for event, _, before, _ in transitions() if "CANCELLED" in before] == ["ends"]


def test_every_state_and_event_has_its_own_name_and_a_meaning():
    for rows in (states(), [step[:2] for step in transitions()]):
        names, words = zip(*rows, strict=True)
        assert len(set(names)) == len(names)
        assert all(words)


def test_a_page_without_a_place_for_the_states_is_an_error():
    with pytest.raises(ValueError, match="has no place"):
        find_stale("")
    found, expected = find_stale(f"before {BEGIN}old{END} after")
    assert found == "old"
    assert "READY" in expected


def test_a_build_is_checked_if_it_was_made_to_be():
    assert is_checked() == bool(os.environ.get("SCALER_SANITIZED"))


def test_a_core_at_work_agrees_with_itself():
    core = SchedulerCore()
    client, worker = FakeClient(core, 5, capacity=1024), FakeWorker(core)
    for _ in range(50):
        client.submit(b"x" * 60)
    core.check()
    for _ in range(40):  # more than its client has room for
        core.step(0)
        if worker.begin():
            worker.finish()
        core.check()
    core.on_cancel(client.index, 5 << 40 | 45, 0)
    core.on_worker_left(worker.index, 0)
    core.check()
    client.drain()
    core.check()
    core.on_client_left(client.index, 0)
    core.check()
    assert core.counts()["rows"] == 0


def test_in_the_middle_of_an_event_the_core_does_not_agree_with_itself():
    """A store is asked for room while a task's inputs are written into it."""
    core = SchedulerCore()
    client, worker = GraphClient(core, 5), GraphWorker(core)
    said = []

    class LookingStore:
        def reserve(self, number, size):
            with pytest.raises(AssertionError) as caught:
                core.check()
            said.append(str(caught.value))
            raise OSError("no room")

    core.edges.store = cast(Store, LookingStore())
    first = client.submit()
    run_all(core, client, worker)
    late = client.node([first] * 6, expected=0)
    client.supply(first, bytes(7000))
    client.drain()
    assert len(said) == 1
    assert f"task {late:#x}" in said[0]
    assert [answer[:2] for answer in client.answers] == [(first, STATUS_OK), (late, STATUS_REFUSED)]
    core.check()
