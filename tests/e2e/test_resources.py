"""Tasks that ask for resources, and workers that have some: real processes, on rings and over the wire."""

import os
import time

import pytest

from scaler import Client, MatrixGraph, SchedulerClusterCombo, current_client, worker_resources
from scaler.exceptions import OptionError, WorkerDiedError
from tests.conftest import make_cluster
from tests.e2e import calls

SOME = "gpu=[7,GPU-b],mem=4G,linux"


def where():
    return {"pid": os.getpid(), "cuda": os.environ.get("CUDA_VISIBLE_DEVICES"), **worker_resources()}


def where_of(_number):
    return where()


def inside(folder, seconds, bound):
    """Note in a file how many of these run at once."""
    path = os.path.join(folder, f"{os.getpid()}")
    open(path, "w").close()
    time.sleep(seconds)
    together = len(os.listdir(folder))
    os.unlink(path)
    assert together <= bound, f"{together} at once"
    return together


def parent(resources):
    child = current_client().options(resources=resources).submit(where)
    return where(), child.result(30)


def put_together(*parts):
    return list(parts)


@pytest.fixture(params=["rings", "wire"], scope="module")
def cluster(request):
    with make_cluster(request.param, resources=SOME) as made:
        yield made


@pytest.fixture
def client(cluster):
    with Client(cluster.get_address(), timeout_seconds=20) as made:
        yield made


def test_a_worker_is_pinned_to_its_units_and_its_tasks_know_them(client):
    gpus = set()
    for _ in range(20):
        found = client.options(resources={"gpu": 1}).submit(where).result(20)
        assert found["cuda"] == found["gpu"][0]
        assert found["mem"] == 4e9
        assert found["linux"] is True
        gpus.add(found["cuda"])
    assert gpus <= {"7", "GPU-b"}


def test_two_workers_have_two_units(client):
    futures = [client.submit(where) for _ in range(50)]
    by_process = {one["pid"]: one["cuda"] for one in (future.result(20) for future in futures)}
    assert len(set(by_process.values())) == len(by_process)


def test_map_and_graphs_ask_as_well(client):
    view = client.options(resources={"gpu": 1, "linux": True})
    assert all(one["gpu"] for one in view.map(where_of, [(number,) for number in range(30)]))
    graph = {"a": (where,), "b": (where,), "c": (put_together, "a", "b")}
    assert all(one["gpu"] for one in view.get(graph, ["c"])["c"])
    matrix, nodes = MatrixGraph.from_dict(graph)
    assert all(one["gpu"] for one in view.get(matrix, nodes["c"]))
    assert client.submit_verbose(calls.add_one, (1,), {}, {"gpu": 1, "linux": -1}).result(20) == 2


def test_no_more_run_at_once_than_there_is_of_what_they_ask_for(client, tmp_path):
    view = client.options(resources={"mem": "3G"})
    futures = [view.submit(inside, str(tmp_path), 0.05, 1) for _ in range(6)]
    assert [future.result(30) for future in futures] == [1] * 6


def test_what_no_worker_has_is_in_nobodys_way_and_is_explained(client):
    future = client.options(resources={"fpga": 1, "mem": 1}).submit(where)
    large = client.options(resources={"mem": "5G"}).submit(where)
    assert client.map(calls.add_one, [(number,) for number in range(100)]) == list(range(1, 101))
    assert str(client.explain(future)).endswith("waits for fpga=1, mem=1: no worker has fpga")
    assert "no worker has mem=5G (the most that one has is 4G)" in client.explain(large).sentence
    assert future.cancel()
    assert large.cancel()


def test_a_child_asks_for_itself(client):
    mine, childs = client.submit(parent, {"gpu": 1}).result(30)
    assert mine["gpu"]
    assert childs["gpu"]
    mine, childs = client.options(resources={"gpu": 1, "mem": "4G"}).submit(parent, {"gpu": 1, "mem": "4G"}).result(30)
    assert mine["pid"] == childs["pid"]  # its parent has all of the memory: it runs in place


def test_a_worker_that_dies_gives_back_what_it_held(client, tmp_path):
    view = client.options(resources={"gpu": 1, "mem": "4G"}, retries=1)
    path = tmp_path / "marks"
    for _ in range(3):
        with pytest.raises(WorkerDiedError):
            view.options(retries=0).submit(calls.note_and_die, str(path), 0).result(60)
    assert view.submit(where).result(60)["mem"] == 4e9


def test_a_task_may_be_cancelled_while_it_holds_something(client):
    view = client.options(resources={"mem": "4G"})
    future = view.submit(time.sleep, 100)
    while not client.explain(future).sentence.startswith("runs"):
        time.sleep(0.01)
    assert future.cancel()
    assert view.submit(where).result(30)["mem"] == 4e9


@pytest.mark.parametrize(
    ("resources", "sentence"),
    [
        ("gpu=[0,0]", "the units of 'gpu' have different names"),
        ("gpu=x", "'x' is no amount"),
        ("gpu=0", "of the resource 'gpu' there may be"),
        ("gpu,gpu=1", "the resource 'gpu' is there twice"),
        ("gpu=[0", "is no resource"),
        ("gpu,", "nothing stands behind the last comma"),
        (",".join(f"r{number}" for number in range(17)), "at most 16 resources"),
    ],
)
def test_what_a_cluster_cannot_have(resources, sentence):
    with pytest.raises(OptionError, match="^--resources: .*" + sentence):
        SchedulerClusterCombo(1, resources=resources)


@pytest.mark.parametrize(
    ("resources", "error", "sentence"),
    [
        ([], TypeError, "resources is a dict such as"),
        ({1: 1}, TypeError, "the name of a resource is a text"),
        ({"a=b": 1}, ValueError, "is no name of a resource"),
        ({"gpu": float("nan")}, ValueError, "asks for 0 to"),
        ({"gpu": -1}, ValueError, "asks for 0 to"),
        ({"gpu": 1e300}, ValueError, "asks for 0 to"),
        ({"gpu": "many"}, ValueError, "'many' is no amount"),
        ({"gpu": [1]}, TypeError, "asks for a number"),
        ({"g" * 65: 1}, ValueError, "at most 64 bytes"),
        ({f"r{number}": 1 for number in range(17)}, ValueError, "at most 16 resources"),
    ],
)
def test_what_a_task_cannot_ask_for(client, resources, error, sentence):
    with pytest.raises(error, match=sentence):
        client.options(resources=resources)
