"""Futures as arguments of other calls, at any depth."""

import concurrent.futures
import os
import signal
import threading
import time
from operator import add

import numpy as np
import pytest

from scaler import Client, Serializer
from scaler.exceptions import WorkerDiedError
from tests.e2e import calls


def nap_and_echo(value, seconds=0.1):
    time.sleep(seconds)
    return value


def fail(value):
    raise KeyError(value)


def sums(rows):
    return [sum(row) if isinstance(row, list) else row for row in rows]


def double_in_place(array):
    array *= 2
    return array


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_future_arrives_as_its_value(client):
    assert client.submit(add, client.submit(nap_and_echo, 2), 3).result(20) == 5


def test_futures_at_any_depth(client):
    two = client.submit(nap_and_echo, 2)
    assert client.submit(sums, [[two, [two][0]], two]).result(20) == [4, 2]
    assert client.submit(dict, a=two, b={"c": (two, [two])}).result(20) == {"a": 2, "b": {"c": (2, [2])}}


def test_the_same_future_twice(client):
    two = client.submit(nap_and_echo, [2])
    assert client.submit(add, two, two).result(20) == [2, 2]


def test_a_long_chain_of_futures(client):
    future = client.submit(calls.add_one, 0)
    for _ in range(2000):
        future = client.submit(calls.add_one, future)
    assert future.result(60) == 2001


def test_a_finished_future(client):
    two = client.submit(calls.echo, [2])
    two.result(20)
    assert client.submit(sums, [two, two]).result(20) == [2, 2]


def test_one_that_ends_just_then(client):
    for i in range(500):
        first = client.submit(calls.add_one, i)
        assert client.submit(calls.add_one, first).result(20) == i + 2


def test_one_that_ends_just_then_with_a_large_result(client):
    for n in (4000, 50_000):
        for i in range(20):
            first = client.submit(np.full, n, i)
            second = client.submit(np.sum, first)
            assert second.result(20) == n * i


def test_many_threads_build_on_each_others_futures(client):
    futures = [client.submit(calls.add_one, i) for i in range(50)]

    def build(start):
        for i in range(200):
            futures.append(client.submit(add, futures[(start + i) % 50], futures[-1 - start]))

    threads = [threading.Thread(target=build, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(isinstance(future.result(60), int) for future in futures)


def test_failure_is_handed_on(client):
    failed = client.submit(fail, 7)
    chain = client.submit(calls.add_one, client.submit(calls.add_one, failed))
    with pytest.raises(KeyError, match="7"):
        chain.result(20)
    with pytest.raises(KeyError, match="7"):  # it has failed already
        client.submit(calls.add_one, failed).result(20)


def test_a_cancelled_future_cancels_what_needs_it(client):
    first = client.submit(nap_and_echo, 1, 5)
    second = client.submit(calls.add_one, first)
    third = client.submit(calls.add_one, second)
    assert first.cancel()
    assert second.cancelled()
    assert third.cancelled()
    assert client.submit(calls.add_one, first).cancelled()


def test_a_killed_worker_is_named(client):
    last = client.submit(calls.echo, client.submit(die))
    with pytest.raises(WorkerDiedError):
        last.result(60)


def test_arrays_are_private_to_each_call(client):
    for n in (100, 300_000):
        ones = client.submit(np.ones, n)
        doubled = client.submit(double_in_place, ones)
        assert client.submit(np.sum, ones).result(20) == n
        assert doubled.result(20).sum() == 2 * n
        assert ones.result(20).sum() == n


def test_inputs_that_together_are_more_than_a_record(client):
    parts = [client.submit(np.full, 2500, i) for i in range(12)]
    assert client.submit(np.concatenate, parts).result(20).sum() == 2500 * 66


def test_an_argument_that_is_large_itself(client):
    two = client.submit(nap_and_echo, 2)
    assert client.submit(len, [two] * 3 + ["x" * 100] * 20_000).result(20) == 20_003
    array = np.arange(100_000)
    assert client.submit(np.multiply, array, two).result(20).sum() == 2 * array.sum()


def test_references_and_futures_together(client):
    reference = client.send_object(np.arange(1000))
    two = client.submit(nap_and_echo, 2)
    assert client.submit(np.multiply, reference, two).result(20).sum() == 999_000


def test_map_over_futures(client):
    futures = [client.submit(nap_and_echo, i, 0.01) for i in range(10)]
    assert client.map(add, [(future, 1) for future in futures]) == list(range(1, 11))
    assert client.map(sums, [([[future, 1]],) for future in futures]) == [[i + 1] for i in range(10)]
    with pytest.raises(KeyError):
        client.map(add, [(client.submit(fail, 1), 1)])


def test_too_many_futures_for_one_call(client):
    futures = [client.submit(nap_and_echo, i, 0.5) for i in range(401)]
    with pytest.raises(ValueError, match="401"):
        client.submit(sum, futures)


def test_another_clients_future(client, cluster):
    with Client(cluster.get_address(), timeout_seconds=20) as other:
        future = other.submit(calls.echo, 1)
        with pytest.raises(ValueError, match="another client"):
            client.submit(calls.echo, future)


def test_a_future_that_is_no_argument_cannot_be_pickled(client):
    import pickle

    with pytest.raises(TypeError, match="argument"):
        pickle.dumps(client.submit(calls.echo, 1))


def test_callbacks_and_wait_see_dependants_end(client):
    first = client.submit(nap_and_echo, 1)
    second = client.submit(calls.add_one, first)
    called = threading.Event()
    second.add_done_callback(lambda _: called.set())
    assert called.wait(20)
    done, _ = concurrent.futures.wait([first, second], 20)
    assert done == {first, second}


class Reversing(Serializer):
    @staticmethod
    def serialize(obj):
        import cloudpickle

        return cloudpickle.dumps(obj)[::-1]

    @staticmethod
    def deserialize(payload):
        import pickle

        return pickle.loads(payload[::-1])


def test_with_a_serializer(cluster):
    with Client(cluster.get_address(), timeout_seconds=20, serializer=Reversing) as client:
        first = client.submit(nap_and_echo, 2)
        assert client.submit(add, first, 3).result(20) == 5
        for i in range(50):
            assert client.submit(calls.add_one, client.submit(calls.add_one, i)).result(20) == i + 2
