"""Where tasks run when there are workers on the scheduler's host and on another."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest

from scaler import Client, Cluster, Scheduler
from tests.e2e.stoppable import mark, marks
from tests.elsewhere import client_of_both, start_cluster_elsewhere
from tests.processes import wait_until


def where(*arrays):
    return os.stat("/dev/shm").st_dev


def make(n_bytes):
    return np.ones(n_bytes, np.uint8)


def where_and_sum(first, second):
    return where(), int(first.sum()) + int(second.sum())


def make_there(number, n_bytes):
    return np.full(n_bytes // 8, where(), np.int64)


def here_and_there(array):
    return where(), int(array[0])


def make_once(folder, n_bytes):
    mark(folder, "made")
    return np.ones(n_bytes, np.uint8)


def sum_when_told(folder, array, gate):
    return int(array.sum())


def await_gate(folder):
    wait_until(lambda: marks(folder, "open"))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Scheduler() as scheduler, Cluster(scheduler.get_address(), 1), client_of_both(scheduler.get_address()) as made:
        yield made


def test_small_tasks_run_everywhere(client):
    assert len(set(client.map(where, [(number,) for number in range(2000)]))) == 2


def test_what_needs_much_runs_where_that_is(client):
    here = Path("/dev/shm").stat().st_dev
    large = client.send_object(np.ones(4 << 20, np.uint8))
    assert {client.submit(where, large).result(20) for _ in range(20)} == {here}


def test_nodes_of_a_graph_run_where_their_large_inputs_are(client):
    here = Path("/dev/shm").stat().st_dev
    for _ in range(10):
        graph = {"a": (make, 2 << 20), "b": (make, 3 << 20), "c": (where_and_sum, "a", "b")}
        assert client.get(graph, ["c"])["c"] == (here, 5 << 20)


def test_nodes_of_a_graph_run_on_the_other_host_that_has_made_their_large_inputs():
    with Scheduler() as scheduler, ExitStack() as stack:
        for _ in range(2):
            other = start_cluster_elsewhere(scheduler.get_address(), 1)
            stack.callback(other.wait, 20)
            stack.callback(other.terminate)
        with Client(scheduler.get_address(), timeout_seconds=20) as client:
            wait_until(lambda: client._rings.count_workers() == 2)
            hosts = set()
            for number in range(20):
                graph = {"a": (make_there, number, 2 << 20), "b": (here_and_there, "a")}
                here, there = client.get(graph, ["b"])["b"]
                assert here == there
                hosts.add(here)
            pairs = client.get({("a", i): (make_there, i, 2 << 20) for i in range(8)}, [("a", i) for i in range(8)])
            hosts.update(int(array[0]) for array in pairs.values())
            assert len(hosts) == 2


def test_what_a_worker_elsewhere_has_made_outlives_it(tmp_path):
    folder = str(tmp_path)
    with Scheduler() as scheduler, ExitStack() as stack:
        other = start_cluster_elsewhere(scheduler.get_address(), 2)
        stack.callback(other.wait, 20)
        stack.callback(other.terminate)
        with Client(scheduler.get_address(), timeout_seconds=20) as client:
            gate = client.submit(await_gate, folder)
            made = client.submit(make_once, folder, 3 << 20)
            total = client.submit(sum_when_told, folder, made, gate)
            assert len(made.result(20)) == 3 << 20
            os.kill(marks(folder, "made")[0], signal.SIGKILL)
            wait_until(lambda: client._rings.count_workers() == 2 and not psutil.pid_exists(marks(folder, "made")[0]))
            mark(folder, "open")
            assert total.result(20) == 3 << 20
            assert len(marks(folder, "made")) == 1
