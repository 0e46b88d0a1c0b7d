"""Functions that come and go: what is forgotten leaves nothing behind, and works again when it is used again."""

import gc
from functools import partial

import pytest

from scaler import Client
from tests.e2e import array_calls
from tests.e2e.test_objects import ask, segment_bytes
from tests.processes import wait_until

np = pytest.importorskip("numpy")
KIB, MIB = 1 << 10, 1 << 20


class Model:
    def __init__(self, state):
        self.state = state

    def step(self):
        return int(self.state[0])


def make(value, n_bytes=64 * KIB):
    return np.full(n_bytes // 8, value)


def test_thousands_of_partials_with_arrays_leave_memory_bounded(client):
    size = make(0).size
    for wave in range(10):
        futures = [client.submit(partial(array_calls.add_up, make(n)), 1) for n in range(300 * wave, 300 * wave + 300)]
        assert [future.result(60) for future in futures] == [n * size + 1 for n in range(300 * wave, 300 * wave + 300)]
        del futures
    gc.collect()
    wait_until(lambda: len(client._functions) <= 1001)
    wait_until(lambda: len(client._store) <= 1001)
    wait_until(lambda: client._store.used_bytes <= 80 * MIB)
    wait_until(lambda: segment_bytes(client._entry.epoch) < 160 * MIB)


def test_an_object_whose_method_is_called_in_many_states_leaves_memory_bounded(client):
    model = Model(make(0, 2 * MIB))
    for n in range(150):
        model.state[:] = n
        assert client.submit(model.step).result(60) == n
    wait_until(lambda: len(client._functions) <= 65)
    wait_until(lambda: client._store.used_bytes <= 130 * MIB)


def test_a_forgotten_function_works_again(client):
    for _ in range(2):
        for n in range(1100):
            future = client.submit(Model([n]).step)
            if n % 100 == 0:
                assert future.result(60) == n
        assert future.result(60) == 1099
        assert len(client._functions) <= 1001


def test_tasks_of_a_function_that_is_forgotten_meanwhile_go_on(client, tmp_path):
    slow = [client.submit(partial(array_calls.wait_and_look, make(n)), str(tmp_path / "go on")) for n in range(4)]
    forgotten = client._functions._last_number
    for n in range(1100):
        client.submit(Model([n]).step)
    assert forgotten not in client._functions._by_number
    (tmp_path / "go on").touch()
    futures = [client.submit(Model([n]).step) for n in range(1100)]
    assert [future.result(60) for future in futures] == list(range(1100))
    assert [future.result(60)[0] for future in slow] == list(range(4))


def test_a_map_over_a_method_goes_on_though_others_push_its_function_out(client):
    def items():
        for n in range(1100):
            client.submit(Model([n]).step)
            yield (n,)

    assert client.map(Model(make(7)).step, [()] * 3) == [7] * 3
    assert client.map(partial(array_calls.add_up, make(0)), items()) == list(range(1100))
    assert client.map(Adder(3).add, items()) == [n + 3 for n in range(1100)]


class Adder:
    def __init__(self, by):
        self.by = by

    def add(self, n):
        return n + self.by


def test_of_two_clients_with_one_function_one_leaves_and_the_other_goes_on(cluster, client):
    function = partial(array_calls.add_up, make(3))
    with Client(cluster.get_address(), timeout_seconds=20) as other:
        assert other.submit(function).result(60) == 3 * make(0).size
        assert client.submit(function).result(60) == 3 * make(0).size
    for n in range(20):  # by workers that know it, and by others
        assert client.submit(function, n).result(60) == 3 * make(0).size + n


def test_what_a_function_left_with_a_worker_stays_right_though_the_function_is_forgotten(client):
    size = 2 * MIB
    pid = client.submit(partial(array_calls.keep, "function's", make(5, size))).result(60)
    gc.collect()
    forgotten = client._functions._last_number
    for n in range(100):
        assert client.submit(partial(array_calls.add_up, make(n, size))).result(60) == n * size // 8
    assert forgotten not in client._functions._by_number
    assert ask(client, array_calls.look_at_kept, "function's", pid)[1] == (5, 5, True)
    assert ask(client, array_calls.drop_kept, "function's", pid)
