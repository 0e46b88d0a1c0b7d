"""A client as a concurrent.futures.Executor, over every kind of link; with workers of its own: tests/integrations."""

import asyncio
import concurrent.futures
import itertools
import os
import time
from concurrent.futures import BrokenExecutor

import pytest

from tests.e2e import calls

STATE = []


def set_up(value):
    STATE.append(value)


def look_at_state():
    return os.getpid(), list(STATE)


def fail_to_set_up():
    raise LookupError("nothing there")


def odd_fails(x):
    if x % 2:
        raise ValueError(x)
    return x


def test_calls_are_submitted_and_mapped_as_with_any_executor(client):
    with client.executor() as executor:
        assert isinstance(executor, concurrent.futures.Executor)
        assert executor.submit(pow, 2, exp=5).result() == 32
        assert list(executor.map(pow, range(100), itertools.repeat(2))) == [i * i for i in range(100)]
        assert list(executor.map(calls.add_one, range(100), chunksize=7)) == list(range(1, 101))
        assert list(executor.map(calls.add_one, [])) == list(executor.map(calls.add_one)) == []
        with pytest.raises(ValueError, match="chunksize must be >= 1"):
            executor.map(calls.add_one, [1], chunksize=0)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(pow, 2, 5)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.map(abs, [1])
    assert client.submit(calls.add_one, 1).result() == 2


def test_an_executor_runs_what_an_event_loop_hands_it(client):
    async def run():
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(executor, calls.add_one, i) for i in range(50)))

    with client.executor() as executor:
        assert asyncio.run(run()) == list(range(1, 51))


def test_results_before_a_failure_come_first_and_the_iterator_ends_with_it(client):
    with client.executor() as executor:
        results = executor.map(odd_fails, [0, 2, 3, 4])
        assert [next(results), next(results)] == [0, 2]
        with pytest.raises(ValueError, match="3"):
            next(results)
        assert list(results) == []


def test_a_map_submits_all_its_calls_though_nobody_reads(client, tmp_path):
    marks = [str(tmp_path / str(i)) for i in range(20)]
    with client.executor() as executor:
        executor.map(calls.note, marks, range(20))
    assert len(list(tmp_path.iterdir())) == 20


def test_with_a_buffer_size_a_map_reads_no_further_ahead(client):
    read = itertools.count()
    with client.executor() as executor:
        results = executor.map(calls.add_one, read, buffersize=5)
        assert [next(results) for _ in range(10)] == list(range(1, 11))
        del results
    assert next(read) <= 17


def test_an_iterable_that_raises_raises_from_map(client):
    def items():
        yield 1
        raise LookupError("no more")

    with client.executor() as executor, pytest.raises(LookupError, match="no more"):
        executor.map(calls.add_one, items())


def test_a_late_result_of_a_map_is_a_time_out(client):
    with client.executor() as executor:
        results = executor.map(time.sleep, [0, 60], timeout=0.5)
        assert next(results) is None
        with pytest.raises(TimeoutError):
            next(results)


def test_shutdown_waits_for_its_own_calls_and_for_nobody_elses(client, tmp_path):
    other = client.submit(calls.wait_for, str(tmp_path / "gate"))
    executor = client.executor()
    futures = [executor.submit(time.sleep, 0.05) for _ in range(10)]
    executor.shutdown()
    assert all(future.done() for future in futures)
    assert not other.done()
    (tmp_path / "gate").touch()
    other.result()


def test_what_has_not_begun_is_cancelled_where_that_is_asked_for_and_the_rest_is_done(client, tmp_path):
    gate, marks = str(tmp_path / "gate"), tmp_path / "marks"
    marks.mkdir()
    executor = client.executor()
    futures = [executor.submit(calls.mark_and_wait, str(marks / str(i)), gate) for i in range(50)]
    others = [client.submit(calls.wait_for, gate) for _ in range(3)]
    while len(list(marks.iterdir())) < 2:
        time.sleep(0.01)
    executor.shutdown(wait=False, cancel_futures=True)
    while sum(future.cancelled() for future in futures) <= 40:  # what is called back has not been claimed meanwhile
        time.sleep(0.01)
    (tmp_path / "gate").touch()
    executor.shutdown()
    cancelled = [future for future in futures if future.cancelled()]
    assert 40 < len(cancelled) < 50
    for number, future in enumerate(futures):
        assert future.cancelled() or future.result() == gate
        assert future.cancelled() != (marks / str(number)).exists()
    assert [other.result() for other in others] == [gate] * 3
    with pytest.raises(concurrent.futures.CancelledError, match="called back before it began"):
        cancelled[0].result()


def test_an_initializer_runs_once_in_each_worker_before_its_first_call(client):
    STATE.append("not a worker")
    with client.executor(initializer=set_up, initargs=("first",)) as executor:
        states = [future.result() for future in [executor.submit(look_at_state) for _ in range(50)]]
        assert list(executor.map(calls.add_one, range(50))) == list(range(1, 51))
    with client.executor(initializer=set_up, initargs=("second",)) as executor:
        states += [executor.submit(look_at_state).result() for _ in range(10)]
    STATE.clear()
    assert {tuple(state).count("first") for pid, state in states} <= {0, 1}
    assert all(state[-1] == "first" for pid, state in states[:50])
    assert all(state[-1] == "second" for pid, state in states[50:])


def test_calls_of_an_executor_whose_initializer_fails_fail(client):
    executor = client.executor(initializer=fail_to_set_up)
    with pytest.raises(BrokenExecutor, match="initializer has failed in this worker: LookupError: nothing there"):
        executor.submit(calls.add_one, 1).result()
    deadline = time.monotonic() + 20
    while not executor._broken:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(BrokenExecutor, match="nothing there"):
        executor.submit(calls.add_one, 1)
    assert client.submit(calls.add_one, 1).result() == 2
    with pytest.raises(TypeError, match="initializer must be a callable"):
        client.executor(initializer=5)


def use_an_executor(client, n):
    with client.executor() as executor:
        return sum(executor.map(calls.add_one, range(n))) + executor.submit(calls.add_one, 0).result()


def test_in_a_task_it_is_the_same(client):
    assert client.submit(use_an_executor, client, 100).result(60) == sum(range(1, 101)) + 1
