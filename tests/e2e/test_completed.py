"""as_completed: each future once, in the order of their ends; time-outs, strangers, and who stops listening."""

import concurrent.futures
import time

import pytest

import scaler
from scaler import Client, as_completed
from tests.e2e import calls


def test_each_comes_once_as_it_is_done(client, tmp_path):
    late = client.submit(calls.wait_for, str(tmp_path / "gate"))
    futures = [client.submit(calls.add_one, i) for i in range(3000)]
    seen = as_completed([late, *futures, *futures])
    first = [next(seen) for _ in range(3000)]
    assert sorted(future.result() for future in first) == list(range(1, 3001))
    (tmp_path / "gate").touch()
    assert list(seen) == [late]


def test_failed_and_cancelled_ones_come_too(client):
    failed, slow = client.submit(calls.fail, "no"), client.submit(time.sleep, 60)
    seen = as_completed([failed, slow])
    assert next(seen) is failed
    slow.cancel()
    assert list(seen) == [slow]


def test_those_that_are_done_come_first(client):
    slow, done = client.submit(time.sleep, 0.2), client.submit(calls.add_one, 1)
    done.result()
    assert list(as_completed([slow, done])) == [done, slow]
    assert set(as_completed([slow, done], timeout=0)) == {slow, done}
    assert list(as_completed([])) == []


def test_too_late_is_a_time_out(client):
    slow, quick = client.submit(time.sleep, 60), client.submit(calls.add_one, 1)
    seen = as_completed([slow, quick], timeout=0.5)
    assert next(seen) is quick
    with pytest.raises(TimeoutError, match=r"1 \(of 2\) futures unfinished"):
        next(seen)
    slow.cancel()


def test_several_may_listen_to_the_same_futures_and_stop_when_they_like(client):
    futures = [client.submit(time.sleep, 0.1) for _ in range(4)]
    listeners = [as_completed(futures) for _ in range(3)]
    assert all(next(listener).done() for listener in listeners)
    listeners.pop(1).close()
    assert [len(list(listener)) for listener in listeners] == [3, 3]


def test_the_futures_of_a_map_that_runs_and_a_listener_do_not_disturb_each_other(client):
    futures = [client.submit(time.sleep, 0.05) for _ in range(4)]
    seen = as_completed(futures)
    next(seen)
    assert client.map_each(calls.add_one, range(1000)) == list(range(1, 1001))
    assert len(list(seen)) == 3


def test_others_futures_go_the_standard_way(cluster, client):
    with Client(cluster.get_address(), timeout_seconds=20) as other, concurrent.futures.ThreadPoolExecutor(1) as pool:
        futures = [client.submit(calls.add_one, 1), other.submit(calls.add_one, 2), pool.submit(calls.add_one, 3)]
        assert {future.result() for future in as_completed(futures, timeout=20)} == {2, 3, 4}


def test_a_listener_makes_no_condition(client):
    futures = [client.submit(time.sleep, 0.05) for _ in range(10)]
    list(as_completed(futures))
    assert client._rings.notifier.watched == 0


def add_in_the_order_of_ends(client, n):
    return sum(future.result() for future in scaler.as_completed([client.submit(calls.add_one, i) for i in range(n)]))


def test_in_a_task_it_is_the_same(client):
    assert client.submit(add_in_the_order_of_ends, client, 300).result(60) == sum(range(1, 301))
