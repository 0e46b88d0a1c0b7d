"""A failure that was caught keeps nothing: no memory of who waited, and nothing in shared memory."""

import gc
import weakref
from pathlib import Path

import numpy
import pytest

from scaler import Client, current_client
from tests.conftest import make_cluster
from tests.e2e import calls
from tests.processes import wait_until
from tests.small_memory import run_in_small_memory

ROUNDS = 10
LARGE = 20 << 20


class Marker:
    """Weakly referenced stand-in for what a frame holds."""


def fail_or_make(number: int, size: int) -> numpy.ndarray:
    if number == 3:
        raise ValueError("the fourth fails")
    return numpy.full(size, number, dtype=numpy.uint8)


def take(value: int, other: int = 0) -> int:
    return value


def wait_for_one(client):
    future = client.submit(int, "x")
    return future.result()


def wait_for_several(client):
    futures = [client.submit(fail_or_make, i, 1 << 20) for i in range(8)]
    assert [future.result() for future in futures]


def wait_for_map(client):
    client.map(int, [(text,) for text in "1234x56789"])


def wait_for_chunks(client):
    client.map(fail_or_make, [(i, 100) for i in range(200)])


def wait_for_graph(client):
    client.get({"a": (int, b"x"), "b": (take, "a"), "c": (take, 1)}, ["b", "c"])


def wait_for_dependant(client):
    client.submit(take, client.submit(int, "x")).result()


def wait_for_dask(client):
    from dask import delayed

    delayed(take)(delayed(int)("x")).compute(scheduler=client.get)


WAYS = [
    wait_for_one, wait_for_several, wait_for_map, wait_for_chunks, wait_for_graph, wait_for_dependant, wait_for_dask,
]  # fmt: skip


def is_let_go(client: Client, way: str) -> bool:
    """Whether what the frame of a caller held is gone, without the collector, once the failure was caught."""

    def call(marker: Marker) -> None:
        try:
            {way.__name__: way for way in WAYS}[way](client)
        except ValueError:
            return
        raise AssertionError("it did not fail")

    gc.collect()
    gc.disable()
    try:
        marker = Marker()
        gone = weakref.ref(marker)
        call(marker)
        del marker
        return gone() is None
    finally:
        gc.enable()


def is_let_go_here(way: str) -> bool:
    """The same inside a task."""
    return is_let_go(current_client(), way)


@pytest.mark.parametrize("way", [way.__name__ for way in WAYS if way is not wait_for_dask])
def test_what_a_caller_held_goes_with_the_failure(client, way):
    assert is_let_go(client, way)
    assert client.submit(is_let_go_here, way).result(60)


def test_what_a_caller_of_dask_held_goes_with_a_collection(client):
    """Dask's own frames refer to each other."""
    marker = Marker()
    gone = weakref.ref(marker)

    def call(marker):
        with pytest.raises(ValueError, match="invalid literal"):
            wait_for_dask(client)

    call(marker)
    del marker
    gc.collect()
    assert gone() is None


def own_bytes() -> int:
    pages, shared = Path("/proc/self/statm").read_text().split()[1:3]
    return (int(pages) - int(shared)) * 4096


def test_memory_does_not_grow_with_failures(client):
    def call():
        large = bytearray(b"x") * LARGE
        future = client.submit(int, "x")
        try:
            future.result()
        except ValueError:
            return len(large)

    call()
    before = own_bytes()
    for _ in range(ROUNDS):
        assert call() == LARGE
    assert own_bytes() - before < 3 * LARGE


def test_the_arrays_beside_a_failure_are_given_back(client):
    for _ in range(3):
        with pytest.raises(ValueError, match="the fourth fails"):
            wait_for_several(client)
    wait_until(lambda: client._mappings.open_loans == 0)


def fail_often() -> None:
    """In a program of its own, with room for few arrays."""
    with make_cluster("rings") as cluster, Client(cluster.get_address()) as client:
        for _ in range(12):
            try:
                wait_for_several(client)
            except ValueError:
                continue
            raise AssertionError("it did not fail")
        assert client.submit(calls.echo, numpy.ones(1 << 20)).result(60).sum() == 1 << 20


def test_a_small_store_takes_results_after_any_number_of_failures(tmp_path):
    run_in_small_memory(fail_often, tmp_path, shm="64m", files="1m")
