"""A task's whole journey: real processes, real rings."""

import asyncio
import concurrent.futures
import functools
import os
import pickle
import threading
import time

import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.exceptions import DeserializeObjectError
from tests.e2e import calls


def test_result_comes_back(client):
    assert client.submit(calls.add_one, 1).result(10) == 2


def test_many_results_each_belong_to_their_task(client):
    futures = [client.submit(calls.add_one, i) for i in range(20_000)]
    assert [f.result(30) for f in futures] == list(range(1, 20_001))


def test_tasks_run_in_other_processes(client):
    pids = {client.submit(calls.process_id).result(10) for _ in range(20)}
    assert os.getpid() not in pids


@pytest.mark.parametrize(
    "value",
    [None, True, -1, 2**70, 1.5, "ü", "x" * 300, b"", b"y" * 5000, (), (1, (2, [3])), {"a": {1}}, [None] * 100],
)
def test_any_value_goes_there_and_back(client, value):
    result = client.submit(calls.echo, value).result(10)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize("n_bytes", [8_000, 40_000, 300_000, 20_000_000])
def test_payloads_of_any_size(client, n_bytes):
    assert len(client.submit(calls.big, n_bytes).result(30)) == n_bytes
    assert client.submit(len, b"z" * n_bytes).result(30) == n_bytes


def test_arguments_reach_the_function_as_python_passes_them(client):
    assert client.submit(calls.describe_call, 1, "a", k=2).result(10) == ((1, "a"), {"k": 2})
    assert client.submit(max, 3, 7).result(10) == 7
    assert client.submit(max, [3, 7], key=lambda v: -v).result(10) == 3
    assert client.submit(functools.partial(pow, 2), 5).result(10) == 32
    assert client.submit("abc".upper).result(10) == "ABC"
    assert client.submit(dict, a=1, fn=2, self=3).result(10) == {"a": 1, "fn": 2, "self": 3}
    with pytest.raises(TypeError):
        client.submit(calls.add_one).result(10)
    with pytest.raises(TypeError, match="callable"):
        client.submit(3)


def test_arguments_are_what_they_were_at_the_call(client):
    items: list[object] = [1]
    future = client.submit(calls.append_to, items, 2)
    items.append("later")
    assert future.result(10) == [1, 2]
    assert items == [1, "later"]


class Unpicklable:
    def __reduce__(self):
        raise RuntimeError("cannot be pickled")


class Unloadable:
    def __reduce__(self):
        return (calls.fail, ("cannot be unpickled",))


def return_unpicklable():
    return Unpicklable()


def return_unloadable():
    return Unloadable()


def test_remote_exception_comes_back_with_its_traceback(client):
    error = client.submit(calls.fail, "no").exception(10)
    assert isinstance(error, ValueError)
    assert error.args == ("no",)
    assert "calls.py" in str(error.__cause__)


def test_what_cannot_be_pickled_is_an_error_and_hurts_nobody(client):
    with pytest.raises(RuntimeError, match="cannot be pickled"):
        client.submit(calls.echo, Unpicklable())
    with pytest.raises(RuntimeError, match="cannot be pickled"):
        client.submit(return_unpicklable).result(10)
    with pytest.raises(DeserializeObjectError, match="cannot be unpickled"):
        client.submit(calls.echo, Unloadable()).result(10)
    with pytest.raises(DeserializeObjectError, match="cannot be unpickled"):
        client.submit(return_unloadable).result(10)
    with pytest.raises(SystemExit):
        client.submit(calls.exit_process).result(10)
    assert client.submit(calls.add_one, 1).result(10) == 2


def test_stock_wait_and_as_completed(client):
    futures = [client.submit(calls.sleep_for, 0.01 * i) for i in range(6)]
    done, pending = concurrent.futures.wait(futures, timeout=20)
    assert len(done) == 6
    assert not pending
    futures = [client.submit(calls.add_one, i) for i in range(500)]
    assert sorted(f.result() for f in concurrent.futures.as_completed(futures, 20)) == list(range(1, 501))


def test_thousands_are_cancelled_one_by_one(client):
    futures = [client.submit(calls.sleep_for, 0.01) for _ in range(5000)]
    for future in futures:
        future.cancel()
    assert all(future.cancelled() or future.done() for future in futures)
    assert client.submit(calls.add_one, 1).result(30) == 2


def test_what_the_standard_class_keeps_is_the_value_and_not_its_bytes(client):
    future = client.submit(calls.echo, [1])
    concurrent.futures.wait([future], 20)
    assert future._result == [1]


def test_first_completed_and_timeouts(client):
    slow, quick = client.submit(calls.sleep_for, 0.5), client.submit(calls.add_one, 1)
    done, _ = concurrent.futures.wait([slow, quick], 20, concurrent.futures.FIRST_COMPLETED)
    assert done == {quick}
    with pytest.raises(TimeoutError):
        slow.result(0.05)
    assert slow.result(10) == 0.5


def test_futures_can_be_awaited(client):
    async def main() -> list[int]:
        return await asyncio.gather(*(client.submit(calls.add_one, i) for i in range(100)))

    assert asyncio.run(main()) == list(range(1, 101))


def test_callbacks_run_once_and_may_use_the_client(client):
    seen, both = [], threading.Event()

    def on_done(future):
        seen.append(future.result())
        if len(seen) == 1:
            client.submit(calls.add_one, 10).add_done_callback(on_done)
        else:
            both.set()

    client.submit(calls.add_one, 1).add_done_callback(on_done)
    assert both.wait(10)
    assert seen == [2, 11]


def test_cancel_before_start_and_while_running(client):
    running = [client.submit(calls.sleep_for, 0.4) for _ in range(2)]
    time.sleep(0.1)
    waiting = [client.submit(calls.add_one, i) for i in range(100)]
    assert all(f.cancel() for f in waiting)
    assert running[0].cancel()
    assert running[0].cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        running[0].result()
    assert running[1].result(10) == 0.4
    assert not running[1].cancel()
    assert client.submit(calls.add_one, 1).result(10) == 2


def test_cancelled_futures_satisfy_wait(client):
    future = client.submit(calls.sleep_for, 0.3)
    assert future.running()
    assert not future.done()
    future.cancel()
    done, pending = concurrent.futures.wait([future], 5)
    assert done == {future}
    assert not pending
    assert list(concurrent.futures.as_completed([future], 5)) == [future]


def test_many_threads_share_a_client(client):
    wrong = []

    def use(base: int) -> None:
        for i in range(300):
            if client.submit(calls.add_one, base + i).result(20) != base + i + 1:
                wrong.append(base + i)

    threads = [threading.Thread(target=use, args=(1000 * n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)


def test_profile_is_there_once_the_task_is_done(client):
    future = client.submit(calls.sleep_for, 0.1)
    with pytest.raises(ValueError, match="not done"):
        future.profiling_info()
    future.result(10)
    info = future.profiling_info()
    assert info.duration_s >= 0.1
    assert info.cpu_time_s < info.duration_s
    assert info.memory_peak > 1_000_000


def test_a_profiling_client_has_each_tasks_own_memory_peak():
    with SchedulerClusterCombo(1) as combo, Client(combo.get_address(), profiling=True) as client:
        before, big, after = (client.submit(calls.big, size) for size in (1, 50_000_000, 1))
        assert [len(future.result(20)) for future in (before, big, after)] == [1, 50_000_000, 1]
        peaks = [future.profiling_info().memory_peak for future in (before, big, after)]
        assert peaks[1] > peaks[0] + 20_000_000
        assert peaks[2] < peaks[1] - 20_000_000


def test_worker_that_dies_costs_its_task_only(cluster, client):
    with pytest.raises(Exception, match="died"):
        client.submit(calls.die).result(30)
    assert client.submit(calls.add_one, 1).result(30) == 2


def test_lambdas_closures_and_bound_methods(client):
    base = 5
    assert client.submit(lambda x: x + base, 1).result(10) == 6

    class Counter:
        def __init__(self, start):
            self.start = start

        def plus(self, x):
            return self.start + x

    assert client.submit(Counter(1).plus, 1).result(10) == 2
    assert client.submit(Counter(5).plus, 1).result(10) == 6


def test_disconnect_cancels_and_is_idempotent(cluster):
    client = Client(cluster.get_address())
    future = client.submit(calls.sleep_for, 0.2)
    client.disconnect()
    client.disconnect()
    assert future.cancelled()
    with pytest.raises(Exception, match="disconnected"):
        client.submit(calls.add_one, 1)


def test_identity_is_unique(cluster):
    with Client(cluster.get_address()) as one, Client(cluster.get_address()) as two:
        assert one.identity != two.identity


def test_future_is_a_standard_future(client):
    future = client.submit(calls.add_one, 1)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(10) == 2
    assert repr(future)
    with pytest.raises(TypeError):
        pickle.dumps(future)
