"""Upkeep: when an idle worker collects garbage, and when it trims."""

import gc
import time
import weakref

import pytest

from scaler._native import Upkeep

S = 10**9


class Node:
    itself: "Node"


def test_garbage_is_collected_once_the_interval_is_over_and_something_has_run():
    upkeep = Upkeep(30.0)
    now = time.monotonic_ns()
    node = Node()
    node.itself, alive = node, weakref.ref(node)
    del node
    gc.disable()
    try:
        upkeep.on_idle(now + 29 * S, 5)
        assert alive() is not None
        upkeep.on_idle(now + 32 * S, 5)
        assert alive() is None
        assert upkeep.collections == 1
    finally:
        gc.enable()


def test_an_idle_worker_that_has_run_nothing_since_does_nothing():
    upkeep = Upkeep(1.0)
    now = time.monotonic_ns()
    upkeep.on_idle(now + 10 * S, 0)
    assert upkeep.collections == 0
    upkeep.on_idle(now + 10 * S, 1)
    upkeep.on_idle(now + 20 * S, 1)
    assert upkeep.collections == 1
    upkeep.on_idle(now + 20 * S, 2)
    assert upkeep.collections == 2


def test_an_interval_of_zero_means_never():
    upkeep = Upkeep(0.0)
    upkeep.on_idle(2**64 - 2, 1)
    assert upkeep.collections == 0


def test_what_lies_free_goes_back_once_a_worker_has_been_idle_for_an_interval():
    upkeep = Upkeep(10.0, 16)  # every collection trims too
    now = time.monotonic_ns()
    for tasks, after_s, collections, trims in [(1, 1, 0, 0), (2, 5, 0, 0), (2, 14, 1, 1), (2, 16, 1, 2), (2, 90, 1, 2)]:
        upkeep.on_idle(now + after_s * S, tasks)
        assert (upkeep.collections, upkeep.trims) == (collections, trims)


@pytest.mark.parametrize(("trim_bytes", "trims"), [(0, 1), (1 << 50, 0), (1 << 70, 0)])
def test_it_trims_only_above_the_threshold(trim_bytes, trims):
    upkeep = Upkeep(1.0, trim_bytes)
    upkeep.on_idle(time.monotonic_ns() + 2 * S, 1)
    assert upkeep.collections == 1
    assert upkeep.trims == trims
