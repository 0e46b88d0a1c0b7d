"""Peers that come and go leave nothing in the core: its tables end empty, and its memory does not grow with them."""

import gc

import psutil

from scaler._native import SchedulerCore
from tests.native.test_core import FakeClient, FakeWorker

MOST_GROWTH_BYTES = 4 << 20  # of one pair 2 KiB would be left, and seen


def come_and_go(core, number):
    """A client and a worker; every other time the work is done before they leave."""
    client, worker = FakeClient(core, number + 1), FakeWorker(core)
    for _ in range(3):
        client.submit(bytes(100))
    core.step(0)
    if number % 2 and worker.begin() is not None:
        worker.finish()
    client.drain()
    core.on_client_left(client.index, 0)
    core.on_worker_left(worker.index, 0)
    core.step(0)


def test_thousands_of_clients_and_workers_leave_nothing_behind():
    core = SchedulerCore()
    for number in range(300):
        come_and_go(core, number)
    gc.collect()
    before = psutil.Process().memory_info().rss
    for number in range(300, 2300):
        come_and_go(core, number)
    gc.collect()
    assert psutil.Process().memory_info().rss - before < MOST_GROWTH_BYTES
    counts = core.counts()
    assert counts["rows"] == counts["ready"] == counts["workers"] == counts["functions"] == 0
