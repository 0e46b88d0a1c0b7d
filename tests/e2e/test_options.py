"""client.options(...): the same client, other options."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from scaler import Client
from scaler.exceptions import ClientQuitException, TaskTimeoutError, WorkerDiedError
from tests.conftest import make_cluster
from tests.e2e import calls


def test_a_view_does_what_the_client_does(client):
    view = client.options(retries=0, timeout=60, priority=3)
    assert isinstance(view, Client)
    assert view.identity == client.identity
    assert view.submit(calls.add_one, 1).result(20) == 2
    assert view.submit(calls.describe_call, 1, timeout=2, retries=3).result(20) == ((1,), {"timeout": 2, "retries": 3})
    assert view.map(calls.add_one, [(i,) for i in range(500)]) == list(range(1, 501))
    assert view.starmap(calls.add_one, [(1,)]) == [2]
    assert view.submit(calls.echo, view.send_object([1])).result(20) == [1]
    assert view.options(priority=-1).submit(calls.add_one, 2).result(20) == 3


def test_how_often_a_task_is_run_again_when_its_worker_dies(client, tmp_path):
    path = tmp_path / "marks"
    for retries in (0, 1):
        with pytest.raises(WorkerDiedError):
            client.options(retries=retries).submit(calls.note_and_die, str(path), retries).result(60)
    assert path.read_text().split() == ["0", "1", "1"]


def test_a_client_has_options_of_its_own(cluster, tmp_path):
    path = tmp_path / "marks"
    with Client(cluster.get_address(), retries=0, task_timeout_seconds=1000, priority=2) as client:
        with pytest.raises(WorkerDiedError):
            client.submit(calls.note_and_die, str(path), 0).result(60)
        with pytest.raises(WorkerDiedError):
            client.options(retries=1).submit(calls.note_and_die, str(path), 1).result(60)
    assert path.read_text().split() == ["0", "1", "1"]


@pytest.mark.parametrize("link", ["rings", "small rings", "wire"])
def test_what_has_more_priority_overtakes(link, tmp_path):
    path, gate = str(tmp_path / "marks"), str(tmp_path / "gate")
    options = {"per_worker_queue_size": 1}  # what a worker was given ahead is not overtaken
    with (
        make_cluster(link, **({"scheduler": options} if link == "wire" else options)) as cluster,
        Client(cluster.get_address()) as client,
    ):
        held = [client.submit(calls.wait_for, gate) for _ in range(2)]
        late = [client.options(priority=-1).submit(calls.note, path, -1) for _ in range(5)]
        usual = [client.submit(calls.note, path, 0) for _ in range(5)]
        early = [client.options(priority=1).submit(calls.note, path, 1) for _ in range(5)]
        open(gate, "w").close()
        for future in held + late + usual + early:
            future.result(20)
    order = [int(line) for line in Path(path).read_text().split()]
    assert sorted(order) == [-1] * 5 + [0] * 5 + [1] * 5
    # Two workers run them: one may be slow with one of them.
    assert sum(order[:5]) >= 2
    assert sum(order[-5:]) <= -2


def test_a_task_that_takes_longer_than_it_may_is_stopped(client):
    slow = client.options(timeout=0.3).submit(calls.sleep_for, 60)
    quick = client.options(timeout=60).submit(calls.sleep_for, 0.5)
    with pytest.raises(TaskTimeoutError):
        slow.result(30)
    assert quick.result(30) == 0.5


def test_a_wrong_option_is_an_error_before_anything_is_sent(client):
    with pytest.raises(TypeError, match="'retry' is no option"):
        client.options(retry=1)
    with pytest.raises(ValueError, match="priority is a whole number"):
        client.options(priority=100)


def test_a_view_outlives_the_name_of_its_client(cluster):
    view = Client(cluster.get_address()).options(retries=1)
    assert view.submit(calls.add_one, 1).result(20) == 2
    view.disconnect()
    with pytest.raises(ClientQuitException):
        view.submit(calls.add_one, 1)


def test_a_view_that_goes_leaves_the_client_alone(client):
    client.options(retries=1).submit(calls.add_one, 1).result(20)
    assert client.submit(calls.add_one, 1).result(20) == 2


def test_a_call_is_made_again_after_exceptions_of_its_own(client, tmp_path):
    path = str(tmp_path / "marks")
    view = client.options(retries=2, retry_on=(ConnectionError, LookupError))
    assert view.submit(calls.fail_times, path + "a", 2, "KeyError", []).result(20) == [1]
    with pytest.raises(KeyError, match="3"):
        view.submit(calls.fail_times, path + "b", 3, "KeyError", []).result(20)
    with pytest.raises(ValueError, match="1"):
        view.submit(calls.fail_times, path + "c", 1, "ValueError", []).result(20)
    items = [(path + f"d{i}", i % 3, "KeyError", []) for i in range(30)]
    assert view.map(calls.fail_times, items) == [[1]] * 30


def test_a_node_of_a_graph_is_made_again_after_exceptions_of_its_own(client, tmp_path):
    view = client.options(retries=2, retry_on=KeyError)
    path = str(tmp_path / "marks")
    graph: dict[str, Any] = {
        "a": (calls.fail_times, f"{path} a", 2, "KeyError", []),
        "b": (calls.append_to, "a", 2),  # in one task with a
        "c": (calls.fail_times, f"{path} c", 1, "KeyError", "b"),
        "d": (calls.echo, ["b", "c"]),
    }
    for text in (f"{path} a", f"{path} c", "KeyError"):
        graph[text] = text
    assert view.get(graph, ["c", "d"]) == {"c": [1, 2, 1], "d": [[1, 2], [1, 2, 1]]}
    with pytest.raises(KeyError, match="3"):
        view.get({"path": f"{path} e", "kind": "KeyError", "e": (calls.fail_times, "path", 3, "kind", [])}, "e")
    with pytest.raises(KeyError, match="1"):
        client.get({"path": f"{path} f", "kind": "KeyError", "f": (calls.fail_times, "path", 1, "kind", [])}, "f")


def test_daskss_nodes_are_made_again_as_well(client, tmp_path):
    delayed = pytest.importorskip("dask").delayed
    again = delayed(calls.fail_times)(str(tmp_path / "marks"), 2, "KeyError", [])
    assert delayed(calls.append_to)(again, 2).compute(scheduler=client.options(retries=2, retry_on=KeyError).get) == [
        1,
        2,
    ]


def test_a_coroutine_is_made_again_as_well(client, tmp_path):
    view = client.options(retries=2, retry_on=KeyError)
    assert view.submit(calls.fail_times_later, str(tmp_path / "a"), 2).result(20) == [1]
    with pytest.raises(KeyError, match="3"):
        view.submit(calls.fail_times_later, str(tmp_path / "b"), 3).result(20)


RETRY_MAIN = """
import sys, threading
from scaler import Client

class Odd(Exception): pass

class Value:
    def __init__(self, path): self.path, self.count = path, 0

class Once:
    def __init__(self): self.lock = threading.Lock()
    def __reduce__(self): return Once, ()

def fail_twice(value, *more):
    value.count += 1
    with open(value.path, "a+") as file:
        file.write("x")
        if file.tell() <= 2: raise Odd(str(file.tell()))
    return value.count

async def fail_later(value): return fail_twice(value)

address, path = sys.argv[1:]
with Client(address) as client:
    view = client.options(retries=2, retry_on=Odd)
    assert view.submit(fail_twice, Value(path + "a")).result() == 1
    assert view.map(fail_twice, [(Value(path + "b"),)]) == [1]
    assert view.get({"v": Value(path + "c"), "n": (fail_twice, "v")}, "n") == 1
    assert view.submit(fail_later, Value(path + "d")).result() == 1
    assert view.submit(fail_twice, Value(path + "e"), Once()).result() == 1
"""


def test_values_and_exceptions_of_main_come_again(cluster, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(RETRY_MAIN)
    command = [sys.executable, str(program), cluster.get_address(), str(tmp_path / "marks")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def take_lock(path, maker):
    """Called with what can be unpickled and not pickled."""
    with open(path, "a") as file:
        file.write("x")
    raise KeyError(path)


class Unpicklable:
    """Pickles as something that has a lock."""

    def __reduce__(self):
        return threading.Lock, ()


def test_a_call_whose_arguments_cannot_come_again_is_made_once_and_says_so(client, tmp_path):
    path = tmp_path / "marks"
    with pytest.raises(KeyError) as info:
        client.options(retries=2, retry_on=KeyError).submit(take_lock, str(path), Unpicklable()).result(20)
    assert path.read_text() == "x"
    assert "was not tried again" in info.value.__notes__[0]


def test_without_being_asked_no_call_is_made_again_after_an_exception(client, tmp_path):
    with pytest.raises(KeyError, match="1"):
        client.options(retries=2).submit(calls.fail_times, str(tmp_path / "a"), 1, "KeyError", []).result(20)
