"""Tasks that submit tasks and wait for them: with any number of workers, one included."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaler import Client, SchedulerClusterCombo, current_client
from scaler.exceptions import ProcessorDiedError, ScalerError, TaskTimeoutError, WorkerDiedError
from tests.e2e import nested_calls as calls
from tests.effort import rounds
from tests.elsewhere import RemoteCluster
from tests.processes import wait_until

MANY = 700  # more than there is a place for among the children
WAYS = [
    "one by one", "last first", "as completed", "thread", "time-outs", "map", "graph", "raise", "catch", "cancel",
]  # fmt: skip
trees = st.recursive(
    st.tuples(st.sampled_from(WAYS), st.just([])),
    lambda children: st.tuples(st.sampled_from(WAYS), st.lists(children, max_size=5)),
    max_leaves=25,
)


@pytest.fixture(scope="module", params=["1 worker", "2 workers", "4 workers", "1 worker elsewhere", "2 elsewhere"])
def nesting(request) -> Iterator[Client]:
    count = int(request.param[0])
    made = RemoteCluster(count) if "elsewhere" in request.param else SchedulerClusterCombo(count)
    with made, Client(made.get_address(), timeout_seconds=20) as client:
        yield client


@pytest.fixture(scope="module", params=["rings", "wire"])
def alone(request) -> Iterator[Client]:
    """One worker, and nothing is done here that would have the cluster start a spare one, which could take a child."""
    made = RemoteCluster(1) if request.param == "wire" else SchedulerClusterCombo(1)
    with made, Client(made.get_address(), timeout_seconds=20) as client:
        yield client


def run(client, function, *args):
    return client.submit(function, *args).result(timeout=60)


def test_children_come_back(nesting):
    assert run(nesting, calls.fibonacci, nesting, 10) == 55
    assert run(nesting, calls.add_in_child, 3) == 4


def test_a_long_chain_of_waiting_tasks(nesting):
    assert run(nesting, calls.chain, nesting, 500) == 500


def test_too_long_a_chain_says_so(nesting):
    with pytest.raises(RecursionError, match=r"nested \d+ deep.*chain -> chain"):
        run(nesting, calls.chain, nesting, 100_000)
    assert run(nesting, calls.chain, nesting, 5) == 5


def test_maps_in_maps(nesting):
    assert run(nesting, calls.map_inside, nesting, 10_000) == sum(range(1, 10_001))
    assert run(nesting, calls.maps_inside, nesting, 20, 50) == 20 * sum(range(1, 51))


@pytest.mark.parametrize("count", [1, 20, MANY])
@pytest.mark.parametrize("how", [calls.wait_for_many, calls.wait_as_completed, calls.call_back])
def test_every_way_to_wait(nesting, how, count):
    assert run(nesting, how, nesting, count) == sum(range(1, count + 1))


def test_the_standard_library_s_wait(nesting):
    assert run(nesting, calls.wait_with_the_standard_library, nesting, MANY) == MANY


def test_threads_of_a_task(nesting):
    assert run(nesting, calls.from_threads, nesting, 50) == sum(range(1, 51))


def test_coroutines(nesting):
    assert run(nesting, calls.add_later, 1) == 2
    assert nesting.map(calls.add_later, [(i,) for i in range(20)]) == list(range(1, 21))
    assert run(nesting, calls.gather_inside, nesting, 20) == sum(range(1, 21))


@pytest.mark.parametrize("way", ["sleep", "compute", "swallow"])
def test_a_childs_own_time_limit_holds_wherever_it_runs(nesting, tmp_path, way):
    said, later = run(nesting, calls.limit_child, nesting, str(tmp_path), way)
    assert "last_for_ever ran longer than its limit of 0.3 s" in said
    assert later == 1  # who waited goes on


def test_a_limit_is_each_calls_own_in_a_childs_map(nesting):
    assert run(nesting, calls.limit_map, nesting, 0.04) == list(range(40))
    with pytest.raises(TaskTimeoutError, match=r"sleep_item ran longer than its limit of 1 s"):
        run(nesting, calls.limit_map, nesting, 60.0)


def test_the_limit_that_ends_first_holds(nesting, tmp_path):
    """A grandchild without a limit is stopped by its parent's, and a parent by its own though its child may go on."""
    assert "limit_below ran longer than its limit of 0.3 s" in run(nesting, calls.limit_chain, nesting, str(tmp_path))
    limited = nesting.options(timeout=0.3)
    with pytest.raises(TaskTimeoutError, match=r"limit_child ran longer than its limit of 0\.3 s"):
        limited.submit(calls.limit_child, nesting, str(tmp_path), "sleep", 30.0).result(60)
    assert run(nesting, calls.limit_child, nesting, str(tmp_path), "sleep")[1] == 1


@pytest.mark.parametrize("how", ["submit", "map", "get"])
def test_a_childs_call_is_made_again_after_exceptions_of_its_own(nesting, tmp_path, how):
    assert run(nesting, calls.retry_child, nesting, str(tmp_path / "marks"), how) == [1]


@pytest.mark.parametrize("way", ["submit", "map"])
@pytest.mark.parametrize("retries", [0, 1, 2])
def test_a_child_in_place_is_tried_no_more_often_with_its_parent_than_it_may_be(alone, tmp_path, way, retries):
    path = tmp_path / "marks"
    with pytest.raises(ProcessorDiedError, match=r"ended by SIGKILL.*`retries` of that one allow no other try") as died:
        run(alone, calls.lose_a_child_for_good, alone, str(path), way, retries)
    assert path.read_text().split() == ["1"] * (1 + retries)
    assert (died.value.signal_name, died.value.tries, died.value.is_final) == ("SIGKILL", 1 + retries, True)


@pytest.mark.parametrize("way", ["submit", "map"])
@pytest.mark.parametrize("retries", [0, 1])
def test_wherever_a_child_runs_the_deaths_of_its_parent_count(nesting, tmp_path, way, retries):
    """What it is tried on other workers it counts by itself, with so many tries less for each death of its parent."""
    path = tmp_path / "marks"
    with pytest.raises(ProcessorDiedError):
        run(nesting, calls.lose_a_child_for_good, nesting, str(path), way, retries)
    assert 1 + retries <= len(path.read_text().split()) <= (1 + retries) * (2 + retries) // 2


def test_a_chunk_of_a_map_is_not_sent_again_if_a_child_of_its_may_not_be(nesting, tmp_path):
    path = tmp_path / "marks"
    assert nesting.map(calls.add_in_child, [(i,) for i in range(40)]) == list(range(1, 41))
    with pytest.raises(ProcessorDiedError):
        nesting.map(calls.lose_a_child_for_good, [(nesting, str(path), "submit")] * 2)
    assert len(path.read_text().split()) <= 2  # once for each call


def test_a_child_that_is_over_does_not_count_when_its_parent_dies(nesting, tmp_path):
    path = tmp_path / "marks"
    with pytest.raises(WorkerDiedError):
        run(nesting, calls.die_after_child, nesting, str(path))
    assert path.read_text().split() == ["2"] * 4  # the parent itself may run four times


def test_arrays_and_references(nesting):
    assert run(nesting, calls.arrays_inside, nesting) == 5
    assert run(nesting, calls.reference_inside, nesting) == 100_000


def test_futures_as_arguments_of_children(nesting):
    assert run(nesting, calls.futures_as_arguments, nesting) == 15


@pytest.mark.parametrize("width", [1, 40])
def test_a_graph_inside_a_task(nesting, width):
    assert run(nesting, calls.graph_inside, nesting, width) == {"sum": 2**width - 1, "c": 4, "a": 1, "b": 2}


def test_a_node_that_fails_inside_a_task_fails_what_needs_it(nesting):
    assert run(nesting, calls.failing_graph_inside, nesting) == ("in a node", 2)


def test_a_child_s_exception_is_its_parent_s_to_catch(nesting):
    assert run(nesting, calls.catch_inside, nesting) == "in the child"


def test_a_child_behaves_alike_wherever_it_runs(nesting):
    for _ in range(20):
        assert run(nesting, calls.child_and_own_list, nesting) == ([1], [])
        assert run(nesting, calls.method_of_own_object, nesting)[1] == 0


def test_a_parent_need_not_wait(nesting, tmp_path):
    path = tmp_path / "written"
    assert run(nesting, calls.never_wait, nesting, str(path), 300) == "left them"
    wait_until(lambda: path.exists() and path.stat().st_size == 300)


def test_a_child_can_be_cancelled_unless_it_is_done(nesting):
    for _ in range(20):
        cancelled, is_cancelled = run(nesting, calls.cancel_inside, nesting)
        assert cancelled == is_cancelled


def test_a_child_that_kills_its_worker_takes_only_that_attempt(nesting, tmp_path):
    assert run(nesting, calls.child_that_dies, nesting, str(tmp_path / "a")) == 7
    assert run(nesting, calls.die_with_children, nesting, str(tmp_path / "b")) == sum(range(1, 11))


def test_only_what_is_waited_for_runs_on_a_stack(nesting):
    assert run(nesting, calls.hold_a_lock, nesting) == 12


def test_a_wait_with_a_time_out(nesting):
    assert run(nesting, calls.wait_a_moment, nesting, 0.5, 0) == "timeout"
    assert run(nesting, calls.wait_a_moment, nesting, 0.5, 30) == "done"


def test_the_children_of_a_cancelled_task_are_cancelled(nesting, tmp_path):
    path = tmp_path / "written"
    parent = nesting.submit(calls.begin_and_sleep, nesting, str(path))
    wait_until(path.exists)
    assert parent.cancel()
    assert nesting.map(calls.add_in_child, [(i,) for i in range(100)]) == list(range(1, 101))


def test_the_children_of_a_task_that_ran_too_long_are_cancelled(nesting, tmp_path):
    path = tmp_path / "written"
    with pytest.raises(TaskTimeoutError):
        nesting.options(timeout=0.5).submit(calls.begin_and_sleep, nesting, str(path)).result(timeout=60)
    assert nesting.map(calls.add_in_child, [(i,) for i in range(100)]) == list(range(1, 101))


def test_a_parent_is_stopped_wherever_it_is_in_its_children(nesting):
    for _ in range(10):
        parent = nesting.submit(calls.fibonacci, nesting, 25)
        time.sleep(0.02)
        assert parent.cancel()
    assert run(nesting, calls.fibonacci, nesting, 8) == 21


@settings(max_examples=rounds(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees)
def test_random_trees_end_with_the_right_result(nesting, tree):
    try:
        expected = calls.size_of(tree)
    except ValueError:
        with pytest.raises(ValueError, match="a node that raises"):
            run(nesting, calls.run_tree, nesting, tree)
    else:
        assert run(nesting, calls.run_tree, nesting, tree) == expected


@pytest.mark.parametrize("depth", [1, 4, 30])
def test_waits_that_run_no_code_of_ours_in_one_another(nesting, depth):
    """Each level is taken by the scheduler and lent back, so that a thread runs it that waits in turn."""
    assert run(nesting, calls.wait_in_one_another, nesting, depth) == 3 * depth


def test_a_watchdog_says_who_waits_for_whom_when_nothing_moves(capfd):
    with SchedulerClusterCombo(2) as combo, Client(combo.get_address(), timeout_seconds=20) as client:
        run(client, calls.wait_impatiently, client, 30, 0.6)
        assert "nothing that is waited for" not in capfd.readouterr().err
        run(client, calls.wait_impatiently, client, 0.2, 2)
    assert "has ended for 0 s: the task that runs here waits for time.sleep (task 0x" in capfd.readouterr().err


@pytest.mark.parametrize("where", ["rings", "wire"])
def test_a_spare_worker_stands_in_for_one_that_waits_for_another(where, tmp_path):
    log, gate = str(tmp_path / "log"), tmp_path / "gate"
    with (
        RemoteCluster(2) if where == "wire" else SchedulerClusterCombo(2) as made,
        Client(made.get_address(), timeout_seconds=20) as client,
    ):
        parent = client.submit(calls.wait_elsewhere, client, log, str(gate))
        wait_until(lambda: (tmp_path / "log").exists())
        assert client.submit(calls.add_one, 1).result(30) == 2  # though both workers have something to do
        assert client._rings.count_workers() == 3
        gate.touch()
        assert parent.result(30) == 5
        wait_until(lambda: client._rings.count_workers() == 2, 30)
        assert client.map(calls.add_one, [(i,) for i in range(100)]) == list(range(1, 101))


def test_outside_of_a_task_there_is_no_current_client():
    with pytest.raises(ScalerError, match="no task of a scaler worker"):
        current_client()


@pytest.mark.parametrize("how", ["result", "standard", "as completed"])
@pytest.mark.parametrize("way", ["signal", "finalizer"])
def test_who_waits_for_the_task_that_it_has_interrupted_is_told_so(nesting, way, how):
    said = run(nesting, calls.wait_for_what_is_below, nesting, way, how)
    assert "is being run by this very thread" in said
