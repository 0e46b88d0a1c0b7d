"""A cluster none of whose workers can start says so: to its log, to what started it, and to those that wait."""

import contextlib
import re
from functools import partial

import pytest

from scaler import Client, Cluster, Scheduler, SchedulerClusterCombo
from scaler.exceptions import NoWorkerError, ScalerError
from tests.e2e import calls
from tests.entry_points.commands import Command, scheduler_alone
from tests.processes import template_of, wait_until

SENTENCE = "no worker of the cluster on .* can start: at each place 3 or more in a row ended before they had joined"
READY = r"cluster is ready: (\d+) workers"


@pytest.fixture(params=["rings", "wire"])
def address(request):
    """Of a scheduler without a cluster."""
    with scheduler_alone(request.param) as made:
        yield made


KEEP_OUT = """
import os, sys
of_workers = {"scaler.worker.main", "scaler.worker.template"} & set(sys.orig_argv)
if of_workers and os.path.exists(os.path.join(os.path.dirname(__file__), "broken")):
    sys.stderr.write("workers cannot start here\\n")
    sys.stderr.flush()
    os._exit(1)
"""


@pytest.fixture
def folder(tmp_path):
    """In front of all imports: no worker starts while there is a file `broken` in it."""
    (tmp_path / "sitecustomize.py").write_text(KEEP_OUT)
    return tmp_path


@pytest.fixture
def broken(address, folder):
    """A cluster whose workers can start no more once they have ended, as where their environment is taken away."""
    with Command("scaler_cluster", address, "-n", "2", before=("env", f"PYTHONPATH={folder}")) as cluster:
        cluster.await_line(READY)
        (folder / "broken").touch()
        template_of(cluster.process.pid).kill()  # else workers can start that need nothing of their environment
        yield cluster, folder


def kill_workers(client, cluster):
    """Those that are there die of their tasks; the next ones cannot start."""
    futures = [client.options(retries=0).submit(calls.die) for _ in range(2)]
    assert all(future.exception(20) for future in futures)
    try:
        wait_until(lambda: re.search(SENTENCE, cluster.out))
    except AssertionError as error:
        raise AssertionError(f"the cluster has said nothing of it, but:\n{cluster.out}") from error


def test_what_waits_fails_with_the_sentence_and_goes_on_once_it_is_mended(address, broken):
    cluster, folder = broken
    with Client(address, timeout_seconds=20) as client:
        kill_workers(client, cluster)
        with pytest.raises(NoWorkerError, match=SENTENCE) as failed:
            client.submit(calls.add_one, 1).result(20)
        assert "workers cannot start here" in str(failed.value)  # the last that the worker said
        with pytest.raises(NoWorkerError, match=SENTENCE):
            client.map(calls.add_one, [(i,) for i in range(2000)])
        first = client.submit(calls.add_one, 1)
        assert isinstance(client.submit(calls.add_one, first).exception(20), NoWorkerError)
        many = [client.submit(calls.add_one, i) for i in range(3000)]
        assert {type(future.exception(30)) for future in many} == {NoWorkerError}
        assert cluster.out.count("[ERROR]") == 1
        (folder / "broken").unlink()
        wait_until(lambda: "workers of this cluster can start again" in cluster.out)
        assert client.submit(calls.add_one, 1).result(20) == 2
    assert cluster.stop() == 0


def test_a_graph_whose_nodes_find_no_worker_fails_with_the_sentence(address, broken):
    cluster, folder = broken
    graph = {"a": (calls.add_one, 1), "b": (calls.add_one, "a"), "c": (calls.add_one, 1), "d": 7}
    with Client(address, timeout_seconds=20) as client:
        kill_workers(client, cluster)
        with pytest.raises(NoWorkerError, match=SENTENCE):
            client.get(graph, ["b", "c", "d"])
        futures = client.get(graph, ["a", "b", "c"], block=False)
        assert {type(future.exception(20)) for future in futures.values()} == {NoWorkerError}
        (folder / "broken").unlink()
        wait_until(lambda: "workers of this cluster can start again" in cluster.out)
        assert client.get(graph, ["b", "c", "d"]) == {"b": 3, "c": 2, "d": 7}
    assert cluster.stop() == 0


def test_what_is_cancelled_while_no_worker_is_connected_is_never_run(address, tmp_path):
    log = tmp_path / "log"
    with Client(address, timeout_seconds=20) as client:
        futures = [client.submit(calls.note, str(log), number) for number in range(10)]
        note = partial(calls.note, str(log))
        graph = {"a": (note, 10), "b": (note, "a")}
        nodes = client.get(graph, ["a", "b"], block=False)
        for future in [*futures[1:], *nodes.values()]:
            assert future.cancel()
        with Command("scaler_cluster", address, "-n", "2") as cluster:
            cluster.await_line(READY)
            assert futures[0].result(20) == 0
            assert client.map(calls.add_one, [(number,) for number in range(1000)]) == list(range(1, 1001))
            assert log.read_text().split() == ["0"]
            assert cluster.stop() == 0


def test_as_long_as_another_cluster_may_have_a_worker_tasks_wait(address, broken):
    cluster, _ = broken
    with Client(address, timeout_seconds=20) as client, contextlib.ExitStack() as stack:
        kill_workers(client, cluster)
        with pytest.raises(NoWorkerError):
            client.submit(calls.add_one, 1).result(20)
        other = stack.enter_context(Command("scaler_cluster", address, "-n", "1"))
        other.await_line(READY)
        assert client.submit(calls.add_one, 1).result(20) == 2
        assert other.stop() == 0
        assert isinstance(client.submit(calls.add_one, 1).exception(20), NoWorkerError)
        assert cluster.stop() == 0
        waiting = client.submit(calls.add_one, 1)  # there is no cluster, and one may come
        with pytest.raises(TimeoutError):
            waiting.result(0.5)


def test_what_starts_such_a_cluster_from_code_gets_the_sentence(folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(folder))
    (folder / "broken").touch()
    with pytest.raises(ScalerError, match=SENTENCE) as failed:
        SchedulerClusterCombo(1)
    assert "workers cannot start here" in str(failed.value)
    with Scheduler() as scheduler, Client(scheduler.get_address(), timeout_seconds=20) as client:
        waiting = client.submit(calls.add_one, 1)
        (folder / "broken").unlink()
        with Cluster(scheduler.get_address(), 1):
            assert waiting.result(20) == 2
