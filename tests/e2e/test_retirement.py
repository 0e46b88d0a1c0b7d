"""Workers that are replaced when they have done enough."""

from collections.abc import Callable

import pytest

from scaler import Client, Cluster, SchedulerClusterCombo
from tests.e2e import calls
from tests.elsewhere import start_elsewhere

HOARD = []


def hoard(number):
    """Leak, as a bad library does."""
    HOARD.append(bytearray(b"x") * (8 << 20))
    return number, calls.process_id()


@pytest.fixture(params=["rings", "small rings", "wire"])
def retiring(request):
    """`retiring(**options)` is a client of workers that retire by these options."""
    made: list[Callable[[], object]] = []

    def make(**options):
        ring_bytes = 65536 if request.param == "small rings" else 262144
        if request.param == "wire":
            scheduler, address = start_elsewhere()
            made.append(lambda: scheduler.communicate(timeout=20))
            made.append(Cluster(address, 2, ring_bytes=ring_bytes, death_timeout_seconds=20, **options).shutdown)
        else:
            combo = SchedulerClusterCombo(2, ring_bytes=ring_bytes, **options)
            made.append(combo.shutdown)
            address = combo.get_address()
        client = Client(address, timeout_seconds=20)
        made.append(client.disconnect)
        return client

    yield make
    for end in reversed(made):
        end()


def test_after_so_many_tasks_and_nothing_is_lost_or_run_twice(retiring, tmp_path):
    client = retiring(worker_max_tasks=100)
    path = tmp_path / "marks"
    one_life = client.options(retries=0)  # so that a retirement that were charged would show
    futures = [one_life.submit(calls.note, str(path), i) for i in range(1000)]
    assert [future.result(60) for future in futures] == list(range(1000))
    assert sorted(int(line) for line in path.read_text().split()) == list(range(1000))
    processes = {one_life.submit(calls.process_id).result(60) for _ in range(300)}
    assert len(processes) >= 3


def test_maps_go_on(retiring):
    client = retiring(worker_max_tasks=500)
    assert client.map(calls.add_one, [(i,) for i in range(5000)]) == list(range(1, 5001))


def test_with_too_much_memory(retiring):
    client = retiring(worker_max_bytes=128 << 20)
    futures = [client.options(retries=0).submit(hoard, i) for i in range(60)]
    results = [future.result(60) for future in futures]
    assert [number for number, _ in results] == list(range(60))
    assert len({process for _, process in results}) >= 3
