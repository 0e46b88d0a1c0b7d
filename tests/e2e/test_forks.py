"""A task that forks, and whose child comes back: the child ends there, and the worker goes on as if nothing was."""

import os
import subprocess
import sys

import pytest

from scaler import Client, SchedulerClusterCombo
from tests.e2e import calls, forks
from tests.processes import wait_until

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*multi-threaded:DeprecationWarning"
)  # to fork with threads is the point


@pytest.fixture
def client(cluster):
    """Whatever a test does, the workers are those of before, and none of many tasks is lost or answered twice."""
    with Client(cluster.get_address(), timeout_seconds=20) as made:
        before = pids_of_workers(made)
        yield made
        futures = [made.submit(calls.add_one, i) for i in range(500)]
        assert [future.result(20) for future in futures] == list(range(1, 501))
        assert pids_of_workers(made) == before


def pids_of_workers(client):
    """Of both, by name. Spares come and go."""
    found = {}
    while len(found) < 2:
        answers = [future.result(20) for future in [client.submit(forks.worker_after, 0.05) for _ in range(2)]]
        found.update((name, pid) for name, pid in answers if "-spare-" not in name)
    return found


@pytest.mark.parametrize(
    ("how", "code", "err"),
    [
        ("return", 0, ""),
        ("raise", 1, "ValueError: raised in the child"),
        ("exit", 0, ""),
        ("exit 7", 7, ""),
        ("exit text", 1, "the child says why"),
    ],
)
def test_a_forked_child_that_comes_back_ends_as_a_program_would(client, how, code, err):
    ended, out, said = client.submit(forks.fork_and_tell, how).result(20)
    assert (ended, out) == (code, "written by the child\n")
    assert said.strip().endswith(err) if err else said == ""
    assert ("Traceback" in said and "come_back" in said) == (how == "raise")


@pytest.mark.parametrize("function", [forks.fork_and_return, forks.fork_by_c])
def test_many_tasks_that_fork_are_each_answered_once(client, function):
    futures = [client.submit(function, i) for i in range(40)]
    assert [future.result(30) for future in futures] == [(i, 0) for i in range(40)]


def test_a_fork_in_the_middle_of_a_chunk_runs_none_of_its_other_calls_twice(client):
    client.map(forks.fork_at, [(i, -1) for i in range(2000)])  # from now on chunks are large
    results = client.map(forks.fork_at, [(i, 777) for i in range(2000)])
    assert results == [(i, 0) for i in range(2000)]


def test_a_fork_in_a_task_that_runs_in_place_does_not_go_on_in_the_one_that_waits(client):
    assert client.submit(forks.fork_in_place).result(20) == (4, 0)
    assert client.submit(forks.fork_in_a_map_in_place).result(20) == [(i, 0) for i in range(10)]


def test_a_fork_in_a_thread_of_a_task_ends_with_the_thread(client):
    assert client.submit(forks.fork_in_thread).result(20) == [0]


@pytest.mark.parametrize("function", [forks.fork_in_coroutine, forks.fork_in_nested_coroutine])
@pytest.mark.parametrize(("how", "code"), [("return", 0), ("raise", 1), ("exit 7", 7)])
def test_a_fork_in_a_coroutine_ends_with_it(client, function, how, code):
    assert client.submit(function, how).result(20) == code


def test_a_fork_while_something_is_pickled_unpickled_or_freed_ends_there(client, tmp_path):
    unpickled, pickled, gone = (tmp_path / name for name in ("unpickled", "pickled", "gone"))
    client.submit(forks.take, forks.ForksWhen("unpickled", str(unpickled))).result(20)
    client.submit(forks.make_pickled, str(pickled)).result(20)
    assert client.submit(forks.make_gone, str(gone)).result(20) == 1
    for path in (unpickled, pickled, gone):
        assert set(path.read_text().split()) == {"0"}, path


def test_a_child_of_a_child_ends_as_well(client):
    assert client.submit(forks.fork_twice).result(20) == [40]


def test_a_forked_child_has_no_current_client_and_may_make_one(client, cluster):
    said = client.submit(forks.child_asks_for_the_current_client).result(20)
    assert said.startswith("ScalerError: there is no current client here: this process was forked by a task")
    assert said.endswith("(0)")
    said = client.submit(forks.child_uses_the_client, client).result(20)
    assert said.startswith("ClientQuitException: this client belongs to the process that forked")
    assert client.submit(forks.child_makes_a_client, cluster.get_address()).result(20) == "7 (0)"


def test_a_fork_at_the_end_of_a_worker_leaves_nothing(tmp_path):
    with SchedulerClusterCombo(1, worker_max_tasks=1) as combo, Client(combo.get_address()) as client:
        path = tmp_path / "code"
        first = client.submit(forks.fork_at_the_end, str(path)).result(20)
        assert client.submit(os.getpid).result(20) != first
        wait_until(lambda: path.exists() and path.read_text() == "0")


def test_a_program_that_forks_in_a_callback_is_not_left_with_a_second_client(cluster):
    """The child of such a fork is the client's background thread, which has no end by itself."""
    program = f"""
import os, threading
from scaler import Client
from tests.e2e import calls
forked = threading.Event()
def fork(future):
    global pid
    pid = os.fork()
    forked.set()
with Client({cluster.get_address()!r}, timeout_seconds=20) as client:
    client.submit(calls.sleep_for, 0.1).add_done_callback(fork)
    assert forked.wait(20)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), client.submit(calls.add_one, 1).result(20))
"""
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=40)
    assert (ended.stdout, ended.stderr) == ("0 2\n", "")
