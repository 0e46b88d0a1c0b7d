"""What is made once in each worker: initializers of a client's options, and values that tasks keep."""

import builtins
import os
import threading
import time
from concurrent.futures import BrokenExecutor
from functools import partial

import pytest

import scaler
from scaler import Client, worker_value
from scaler.worker import value
from tests.e2e import calls


def prepare(log):
    """Once in each worker, or too often."""
    calls.note(log, os.getpid())
    vars(builtins)["prepared"] = [*vars(builtins).get("prepared", []), log]


def is_prepared(log, _=0):
    assert vars(builtins)["prepared"].count(log) == 1
    return os.getpid()


def test_an_initializer_of_options_runs_once_in_each_worker_before_the_first_of_these_calls(client, tmp_path):
    log = str(tmp_path / "log")
    ready = client.options(worker_init=lambda: prepare(log))
    assert client.submit(calls.add_one, 1).result(20) == 2
    assert not os.path.exists(log)
    pids = {ready.submit(is_prepared, log).result(20) for _ in range(20)}
    pids |= set(ready.map(is_prepared, [(log, i) for i in range(500)]))
    pids |= set(ready.get({i: (partial(is_prepared, log),) for i in range(50)}, list(range(50))).values())
    with ready.executor() as executor:
        pids |= set(executor.map(is_prepared, [log] * 50))
    assert sorted(map(int, (tmp_path / "log").read_text().split())) == sorted(pids)


def test_views_that_mean_the_same_initializer_run_it_once(client, tmp_path):
    log = str(tmp_path / "log")

    def initialize():
        prepare(log)

    pids = {client.options(worker_init=initialize, retries=i).submit(is_prepared, log).result(20) for i in range(30)}
    assert sorted(map(int, (tmp_path / "log").read_text().split())) == sorted(pids)


def fail_to_prepare():
    raise LookupError("nothing there")


def test_calls_whose_initializer_fails_fail_and_others_do_not(client):
    ready = client.options(worker_init=fail_to_prepare)
    for _ in range(3):
        with pytest.raises(BrokenExecutor, match="initializer has failed in this worker: LookupError: nothing there"):
            ready.submit(calls.add_one, 1).result(20)
    assert client.submit(calls.add_one, 1).result(20) == 2


def test_an_initializer_and_calls_that_are_made_again_go_together(client, tmp_path):
    log = str(tmp_path / "log")
    ready = client.options(worker_init=lambda: prepare(log), retry_on=ValueError, retries=2)
    failed = str(tmp_path / "failed")
    assert ready.submit(calls.fail_times, failed, 2, "ValueError", []).result(20) is not None
    assert ready.submit(is_prepared, log).result(20)


def make(log, name):
    calls.note(log, os.getpid())
    return {"name": name, "pid": os.getpid(), "asked": 0}


def ask(log, key, name):
    found = worker_value(key, make, log, name)
    found["asked"] += 1
    return found["name"], found["pid"], found["asked"]


def test_a_value_is_made_once_in_each_worker_and_is_each_tasks_own(client, tmp_path):
    log = str(tmp_path / "log")
    answers = client.map(ask, [(log, ("model", 1), "first")] * 400)
    pids = [int(pid) for pid in (tmp_path / "log").read_text().split()]
    assert sorted(pids) == sorted({pid for _, pid, _ in answers})
    assert {name for name, _, _ in answers} == {"first"}
    for pid in pids:  # it is the same one each time
        asked = [number for _, by, number in answers if by == pid]
        assert sorted(asked) == list(range(1, len(asked) + 1))


def test_clients_have_values_of_their_own_and_what_tasks_submit_finds_them(cluster, client, tmp_path):
    log = str(tmp_path / "log")
    with Client(cluster.get_address(), timeout_seconds=20) as other:
        for _ in range(5):
            assert {each[0] for each in client.map(ask, [(log, "model", "one")] * 50)} == {"one"}
            assert {each[0] for each in other.map(ask, [(log, "model", "other")] * 50)} == {"other"}
            # what runs below may be the first of this client that asks in its worker
            assert {each[0] for each in other.submit(ask_below, other, log).result(20)} <= {"other", "below"}


def ask_below(client, log):
    futures = [client.submit(ask, log, "model", "below") for _ in range(5)]
    return [ask(log, "model", "below"), *(future.result() for future in futures)]


@pytest.fixture
def no_values():
    value._places.clear()
    yield
    value._places.clear()


def test_the_values_asked_for_last_stay(no_values):
    made = []

    def note(key):
        made.append(key)
        return key

    for key in range(value.MOST_VALUES):
        assert worker_value(key, note, key) == key
    assert worker_value(0, note, 0) == 0
    assert worker_value("one more", note, "one more") == "one more"
    assert worker_value(0, note, 0) == 0
    assert len(made) == value.MOST_VALUES + 1
    assert worker_value(1, note, 1) == 1  # has gone
    assert len(made) == value.MOST_VALUES + 2


def test_threads_that_ask_at_once_get_what_the_first_has_made(no_values):
    made, got = [], []

    def slowly():
        made.append(threading.get_ident())
        time.sleep(0.05)
        return object()

    threads = [threading.Thread(target=lambda: got.append(worker_value("it", slowly))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(set(map(id, got))) == 1


def test_what_could_not_be_made_is_tried_again(no_values):
    def fail():
        raise LookupError("nothing there")

    with pytest.raises(LookupError):
        worker_value("it", fail)
    assert worker_value("it", int) == 0
    assert worker_value("it", fail) == 0


def test_what_makes_a_value_may_ask_for_another_one(no_values):
    assert worker_value("a", lambda: [worker_value("b", list)]) == [[]]
    assert isinstance(scaler.worker_value("b", dict), list)


def test_a_coroutine_is_neither_an_initializer_nor_a_value(client, no_values):
    async def connect():
        return 1

    with pytest.raises(BrokenExecutor, match="returns a coroutine"):
        client.options(worker_init=connect).submit(calls.add_one, 1).result(20)
    with pytest.raises(TypeError, match="returns a coroutine"):
        assert worker_value("session", connect) is None


def test_what_is_called_by_its_name_takes_no_options_that_send_code(client):
    named = scaler.NamedFunction("math:sqrt")
    for options in ({"worker_init": print}, {"retry_on": ValueError}):
        with pytest.raises(TypeError, match="is called by its name, and no code goes with it"):
            client.options(**options).submit(named, 4)
    with client.executor(initializer=print) as executor, pytest.raises(TypeError, match="is called by its name"):
        executor.submit(named, 4)
