"""Tasks that run longer than they may are stopped, and say so."""

import time

import pytest

from scaler import Client
from scaler.exceptions import ScalerError, TaskTimeoutError
from tests.conftest import make_cluster
from tests.e2e import calls
from tests.e2e.stoppable import last_for_ever, marks, sleep_item
from tests.processes import wait_until

LIMIT_S = 0.5


@pytest.fixture(scope="module", params=["rings", "wire"])
def strict(request):
    """A cluster whose tasks may run for half a second."""
    with make_cluster(request.param, task_timeout_seconds=LIMIT_S, stop_grace_seconds=0.3) as made:
        yield made


@pytest.fixture
def hurried(strict):
    with Client(strict.get_address(), timeout_seconds=20) as made:
        yield made


@pytest.mark.parametrize("way", ["sleep", "compute", "swallow", "process"])
def test_what_runs_too_long_fails_and_says_so(hurried, tmp_path, way):
    future = hurried.submit(last_for_ever, str(tmp_path), way)
    with pytest.raises(
        TaskTimeoutError, match=r"last_for_ever ran longer than its limit of 0.5 s on worker \S+ "
    ) as info:
        future.result(40)
    assert isinstance(info.value, ScalerError)
    assert isinstance(info.value, TimeoutError)
    assert "stoppable.py" in str(info.value.__cause__)  # where it was then
    assert marks(tmp_path, f"{way} began") == marks(tmp_path, f"{way} ended")
    assert hurried.submit(calls.process_id).result(30) in set(hurried.map(calls.process_id, [(i,) for i in range(50)]))


@pytest.mark.parametrize("way", ["swallow everything", "never return"])
def test_what_does_not_stop_fails_the_same_and_is_not_run_again(hurried, tmp_path, way):
    futures = [hurried.submit(last_for_ever, str(tmp_path), way), hurried.submit(calls.sleep_for, 0.2)]
    with pytest.raises(
        TaskTimeoutError, match=r"^last_for_ever ran longer than its limit of 0.5 s on worker \S+, which was killed"
    ):
        futures[0].result(40)
    assert futures[1].result(40) == 0.2
    assert len(marks(tmp_path, f"{way} began")) == 1
    assert hurried.submit(calls.add_one, 1).result(30) == 2


def test_a_maps_limit_is_each_calls_own(hurried):
    items = [(i, 0.2) for i in range(12)]  # together more than the limit, in whatever chunks
    assert hurried.map(sleep_item, items) == list(range(12))
    quick = [(i, 0.0) for i in range(2000)]
    assert hurried.map(sleep_item, quick) == list(range(2000))  # so that chunks grow
    with pytest.raises(TaskTimeoutError, match="sleep_item ran longer"):
        hurried.map(sleep_item, [*quick[:700], (700, 60.0), *quick[701:1000]])
    assert hurried.map(sleep_item, quick) == list(range(2000))


def test_what_is_quick_enough_is_left_alone(hurried):
    futures = [hurried.submit(calls.sleep_for, 0.05) for _ in range(40)]  # together they wait for longer than that
    assert [future.result(60) for future in futures] == [0.05] * 40


def test_a_task_that_is_cancelled_as_it_overruns_is_cancelled(hurried, tmp_path):
    future = hurried.submit(last_for_ever, str(tmp_path), "swallow everything")
    wait_until(lambda: marks(tmp_path, "swallow everything began"))
    time.sleep(LIMIT_S + 0.1)
    assert future.cancel()
    assert hurried.submit(calls.add_one, 1).result(30) == 2
    assert future.cancelled()


def test_a_call_may_have_a_limit_of_its_own(client, tmp_path):
    begun = time.monotonic()
    future = client.options(timeout=0.3).submit(last_for_ever, str(tmp_path), "sleep")
    with pytest.raises(TaskTimeoutError, match=r"limit of 0\.3 s"):
        future.result(40)
    assert time.monotonic() - begun >= 0.3
    assert client.submit(calls.sleep_for, 0.6).result(40) == 0.6  # has none
    with pytest.raises(TaskTimeoutError, match=r"limit of 0\.3 s"):
        client.options(timeout=0.3).map(sleep_item, [(0, 0.0), (1, 60.0), (2, 0.0)])


def test_a_calls_own_limit_stands_instead_of_the_clusters(hurried):
    assert hurried.options(timeout=30).submit(calls.sleep_for, LIMIT_S * 2).result(40) == LIMIT_S * 2
    with pytest.raises(TaskTimeoutError, match=r"limit of 0\.1 s"):
        hurried.options(timeout=0.1).submit(calls.sleep_for, 60).result(40)
