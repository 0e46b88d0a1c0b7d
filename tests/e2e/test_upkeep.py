"""What a worker gives back when it has nothing to do: garbage in cycles, and memory that the C library keeps."""

import ctypes
import gc
import sys
import time
import weakref

import numpy
import psutil
import pytest

from scaler import Client, SchedulerClusterCombo
from tests.e2e import calls
from tests.e2e.test_endings import wait_until

BLOCKS, BLOCK_BYTES = 2000, 100_000  # below what the C library maps apart


class Node:
    itself: "Node"


def leave_a_cycle():
    """Where it is found again: nothing here can collect it."""
    gc.disable()
    node = Node()
    node.itself = node
    vars(sys.modules["scaler"])["left"] = weakref.ref(node)


def is_left():
    return sys.modules["scaler"].left() is not None


def free_below_a_block_in_use():
    """200 MB whose pages the C library keeps, since what lies above them is still in use."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.mallopt(-3, 1 << 20)  # M_MMAP_THRESHOLD: else it adapts, and a heap of tests differs from one of users
    blocks = [libc.malloc(BLOCK_BYTES) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK_BYTES)
    for block in blocks[:-1]:
        libc.free(block)


def test_garbage_that_a_task_left_is_collected_when_the_worker_is_idle():
    with SchedulerClusterCombo(1, garbage_collect_interval_seconds=0.1) as combo, Client(combo.get_address()) as client:
        client.submit(leave_a_cycle).result(20)
        wait_until(lambda: not client.submit(is_left).result(20) or time.sleep(0.5))


@pytest.mark.parametrize(("threshold", "is_trimmed"), [(100_000_000, True), (1 << 40, False)])
def test_memory_that_the_c_library_keeps_is_given_back_above_the_threshold(threshold, is_trimmed):
    with (
        SchedulerClusterCombo(1, garbage_collect_interval_seconds=0.1, trim_memory_threshold_bytes=threshold) as combo,
        Client(combo.get_address()) as client,
    ):
        worker = psutil.Process(client.submit(calls.process_id).result(20))
        client.submit(free_below_a_block_in_use).result(20)
        if is_trimmed:
            wait_until(lambda: worker.memory_info().rss < 120_000_000)
        else:
            time.sleep(1)
            assert worker.memory_info().rss > 200_000_000


def use_an_array():
    """A task that needs 100 MB for a moment."""
    return int(numpy.full(100_000_000, 1, numpy.uint8)[::4096].sum())


@pytest.mark.parametrize(
    ("options", "environment", "is_kept"),
    [
        ({"garbage_collect_interval_seconds": 0}, {}, True),
        ({"garbage_collect_interval_seconds": 0}, {"MALLOC_TRIM_THRESHOLD_": "131072"}, False),
        ({"garbage_collect_interval_seconds": 0, "trim_memory_threshold_bytes": 0}, {}, False),
        ({"garbage_collect_interval_seconds": 0.5}, {}, False),
    ],
    ids=["busy", "environment", "threshold", "idle"],
)
def test_what_a_task_frees_is_kept_for_the_next_until_the_worker_is_idle(options, environment, is_kept, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with SchedulerClusterCombo(1, **options) as combo, Client(combo.get_address()) as client:
        worker = psutil.Process(client.submit(calls.process_id).result(20))
        client.submit(len, b"").result(20)
        least = worker.memory_info().rss
        assert client.submit(use_an_array).result(20) == 24415
        if is_kept:
            time.sleep(1)
            assert worker.memory_info().rss > least + 90_000_000
        else:
            wait_until(lambda: worker.memory_info().rss < least + 60_000_000)


def test_these_options_are_said_to_have_an_effect(caplog):
    with SchedulerClusterCombo(1, garbage_collect_interval_seconds=7, trim_memory_threshold_bytes=1 << 20):
        assert "no effect" not in caplog.text
