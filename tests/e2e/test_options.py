"""client.options(...): the same client, other options."""

from pathlib import Path

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


def test_without_being_asked_no_call_is_made_again_after_an_exception(client, tmp_path):
    with pytest.raises(KeyError, match="1"):
        client.options(retries=2).submit(calls.fail_times, str(tmp_path / "a"), 1, "KeyError", []).result(20)
