"""A client in the shape of multiprocessing.Pool, on all links. With workers of its own: tests/integrations."""

import itertools
import multiprocessing
import pickle
import threading
import time

import pytest

from tests.e2e import calls
from tests.e2e.test_executor import STATE, look_at_state, odd_fails, set_up


def test_maps_call_with_each_item_whatever_it_is(client):
    with client.pool() as pool:
        assert pool.map(calls.echo, [(1, 2), [3], "ab"]) == [(1, 2), [3], "ab"]
        assert pool.map(calls.add_one, range(1000), chunksize=70) == list(range(1, 1001))
        assert pool.starmap(pow, [(2, 3), [3, 2]]) == [8, 9]
        assert pool.starmap(pow, zip(range(50), itertools.repeat(2)), chunksize=7) == [i * i for i in range(50)]
        assert pool.map_async(calls.add_one, range(100)).get() == list(range(1, 101))
        assert pool.starmap_async(pow, [(2, 3)], chunksize=1).get(20) == [8]
        assert pool.map_async(calls.add_one, []).get(20) == pool.map(calls.add_one, []) == []
        assert list(pool.imap(calls.add_one, range(100))) == list(range(1, 101))
        assert sorted(pool.imap_unordered(calls.add_one, range(100), chunksize=9)) == list(range(1, 101))


def test_single_calls_and_their_callbacks(client):
    seen = []
    with client.pool() as pool:
        assert pool.apply(divmod, (7, 2)) == (3, 1)
        assert pool.apply(sorted, ([2, 1],), {"reverse": True}) == [2, 1]
        result = pool.apply_async(calls.add_one, (1,), callback=seen.append, error_callback=seen.append)
        assert result.get() == 2
        assert seen == [2]
        failed = pool.apply_async(calls.fail, ("no",), callback=seen.append, error_callback=seen.append)
        failed.wait()
        assert failed.ready()
        assert not failed.successful()
        assert isinstance(seen[1], ValueError)
        pool.map_async(calls.add_one, range(100), callback=seen.append).wait()
        assert seen[2] == list(range(1, 101))
        pool.map_async(odd_fails, range(100), callback=seen.append, error_callback=seen.append).wait()
        assert seen[3].args == (1,)
        pool.map_async(calls.add_one, [], callback=seen.append).wait()
        assert seen[4] == []


def test_what_is_late_is_the_time_out_of_multiprocessing(client, tmp_path):
    with client.pool() as pool:
        single = pool.apply_async(calls.wait_for, (str(tmp_path / "gate"),))
        many = pool.map_async(calls.wait_for, [str(tmp_path / "gate")] * 3)
        one_by_one = pool.imap(calls.wait_for, [str(tmp_path / "gate")])
        for result in (single, many):
            assert not result.ready()
            with pytest.raises(ValueError, match="not ready"):
                result.successful()
            with pytest.raises(multiprocessing.TimeoutError):
                result.get(0.05)
        with pytest.raises(multiprocessing.TimeoutError):
            one_by_one.next(timeout=0.05)
        (tmp_path / "gate").touch()
        assert single.get(20) in many.get(20)
        assert single.successful() == many.successful() == True  # noqa: E712
        assert one_by_one.next(20) == single.get()


def test_an_item_that_fails_raises_in_its_place_and_the_others_still_come(client):
    with client.pool() as pool:
        results = pool.imap(odd_fails, [0, 1, 2, 3, 4], chunksize=5)
        seen = []
        for _ in range(5):
            try:
                seen.append(next(results))
            except ValueError as error:
                seen.append(error.args)
        assert seen == [0, (1,), 2, (3,), 4]
        with pytest.raises(StopIteration):
            next(results)


def test_a_map_is_done_to_its_end_before_the_first_failure_is_raised(client, tmp_path):
    items = [(str(tmp_path / str(i)), "x" if i == 3 else i) for i in range(20)]
    with client.pool() as pool, pytest.raises(TypeError):
        pool.starmap(calls.note, items)
    assert len(list(tmp_path.iterdir())) == 20


def test_a_pool_that_is_closed_takes_no_more_and_is_waited_for(client):
    pool = client.pool()
    with pytest.raises(ValueError, match="Pool is still running"):
        pool.join()
    result = pool.apply_async(time.sleep, (0.2,))
    pool.close()
    with pytest.raises(ValueError, match="Pool not running"):
        pool.map(calls.add_one, [1])
    pool.join()
    assert result.ready()
    with pytest.raises(NotImplementedError):
        pickle.dumps(pool)


def test_what_runs_when_a_pool_is_terminated_is_stopped(client):
    mine = client.submit(time.sleep, 0.3)
    with client.pool() as pool:
        results = pool.map_async(time.sleep, [60] * 10, chunksize=1)
    pool.join()
    with pytest.raises(BaseException, match="cancelled"):
        results.get(20)
    assert mine.result() is None


def test_an_initializer_runs_once_in_each_worker(client):
    with client.pool(initializer=set_up, initargs=("pool",)) as pool:
        states = pool.starmap(look_at_state, [()] * 100)
    assert {tuple(state).count("pool") for pid, state in states} == {1}
    assert STATE == []


def test_several_threads_may_read_the_same_results(client):
    with client.pool() as pool:
        results = pool.imap(calls.add_one, range(2000))
        seen = []
        threads = [threading.Thread(target=lambda: seen.extend(results)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(seen) == list(range(1, 2001))
