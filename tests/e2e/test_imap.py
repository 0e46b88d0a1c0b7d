"""Maps whose results are read one by one: order, memory, failures, and who stops reading."""

import gc
import itertools
import time
import weakref

import pytest

from tests.e2e import calls
from tests.e2e.test_map import odd_fails


def test_results_come_in_input_order(client):
    assert list(client.imap(calls.add_one, range(20_000))) == list(range(1, 20_001))
    assert list(client.imap(pow, range(50), itertools.repeat(2))) == [i * i for i in range(50)]
    assert list(client.imap(calls.add_one, range(1000), chunksize=7)) == list(range(1, 1001))
    assert list(client.imap(calls.add_one, [])) == []


def test_unordered_results_all_come_once(client):
    assert sorted(client.imap_unordered(calls.add_one, range(20_000))) == list(range(1, 20_001))
    assert sorted(client.imap_unordered(calls.add_one, range(1000), chunksize=7)) == list(range(1, 1001))


def test_unordered_results_do_not_wait_for_a_slow_one_before_them(client, tmp_path):
    gate = str(tmp_path / "gate")
    results = client.imap_unordered(calls.wait_or_echo, [gate, *range(20)], chunksize=1)
    assert sorted(next(results) for _ in range(20)) == list(range(20))
    (tmp_path / "gate").touch()
    assert list(results) == [gate]


def test_an_endless_iterable_is_read_no_further_than_results_are(client):
    read = itertools.count()
    results = client.imap(calls.add_one, read)
    assert list(itertools.islice(results, 50_000)) == list(range(1, 50_001))
    ahead = next(read)
    time.sleep(0.2)
    assert next(read) == ahead + 1
    del results
    assert client.submit(calls.add_one, 1).result() == 2


@pytest.mark.parametrize("is_ordered", [True, False])
def test_no_more_calls_are_unread_than_the_caller_wants(client, is_ordered):
    read = itertools.count()
    results = (client.imap if is_ordered else client.imap_unordered)(calls.add_one, read, buffersize=10)
    for _ in range(100):
        next(results)
    del results
    assert next(read) <= 111


def test_results_before_a_failure_come_first(client):
    results = client.imap(odd_fails, [0, 2, 4, 5, *[6] * 1000], chunksize=5)
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    with pytest.raises(ValueError, match="5"):
        next(results)
    assert client._rings.open_tasks == 0
    assert list(results) == []


def test_a_result_is_not_kept_once_it_is_given_out(client):
    for result in client.imap(calls.Adder, [1, 2, 3], chunksize=3):
        reference = weakref.ref(result)
        del result
        assert reference() is None


@pytest.mark.parametrize("chunksize", [7, 500])
def test_chunks_have_the_size_that_the_caller_wants(client, chunksize):
    before = client.submit(calls.add_one, 1).task_id
    assert sum(1 for _ in client.imap(calls.add_one, range(20_000), chunksize=chunksize)) == 20_000
    assert client.submit(calls.add_one, 1).task_id - before - 1 == -(-20_000 // chunksize)


def test_exceptions_take_the_places_of_results_where_that_is_asked_for(client):
    results = list(client.imap(odd_fails, range(100), return_exceptions=True))
    assert results[::2] == list(range(0, 100, 2))
    assert [error.args for error in results[1::2]] == [(i,) for i in range(1, 100, 2)]
    unordered = list(client.imap_unordered(odd_fails, range(100), return_exceptions=True))
    assert sorted(result for result in unordered if isinstance(result, int)) == list(range(0, 100, 2))


def test_results_before_an_item_that_the_iterable_fails_to_give_come_first(client):
    def items():
        yield from range(300)
        raise LookupError("no more")

    results = client.imap(calls.add_one, items())
    assert list(itertools.islice(results, 300)) == list(range(1, 301))
    with pytest.raises(LookupError, match="no more"):
        next(results)


def test_a_result_that_is_late_is_a_time_out(client):
    results = client.imap(time.sleep, [0, 60], chunksize=1, timeout=0.5)
    assert next(results) is None
    with pytest.raises(TimeoutError, match=r"not done within 0\.5 s"):
        next(results)
    assert client.submit(calls.add_one, 1).result(20) == 2


@pytest.mark.parametrize("read", [0, 1])
def test_an_iterator_that_goes_cancels_what_is_under_way(client, read):
    results = client.imap(time.sleep, [0] * read + [60] * 8, chunksize=1)
    for _ in range(read):
        next(results)
    assert client._rings.open_tasks > 0
    del results
    gc.collect()
    assert client._rings.open_tasks == 0
    assert client.submit(calls.add_one, 1).result(20) == 2


def test_sizes_below_one_are_errors(client):
    with pytest.raises(ValueError, match="chunksize is at least 1"):
        client.imap(calls.add_one, [1], chunksize=0)
    with pytest.raises(ValueError, match="buffersize is at least 1"):
        client.imap_unordered(calls.add_one, [1], buffersize=-1)
    with pytest.raises(TypeError):
        client.imap(calls.add_one, [1], chunksize=1.5)


def sum_of_an_imap(client, n):
    return sum(client.imap(calls.add_one, range(n))) + sum(client.imap_unordered(calls.add_one, range(n)))


def test_in_a_task_it_is_the_same(client):
    assert client.submit(sum_of_an_imap, client, 500).result(60) == 2 * sum(range(1, 501))
