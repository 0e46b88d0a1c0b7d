"""PumpSelector: when it lets time pass in the core."""

import os
import time
from collections.abc import Iterator

import pytest

from scaler._native import KIND_CANCEL, Pump, SchedulerCore
from scaler.colocation.names import BellPage, new_epoch
from scaler.scheduler.selector import PumpSelector
from tests.scheduler.survivor import Survivor
from tests.sim.wire import Rings


@pytest.fixture
def pump() -> Iterator[Pump]:
    page, bell = BellPage(new_epoch()), os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    yield Pump(SchedulerCore(1), page.memory, bell)
    page.close()
    os.close(bell)


@pytest.fixture
def selector(pump: Pump) -> Iterator[PumpSelector]:
    made = PumpSelector(pump, lambda: False)
    yield made
    made.close()


def ticks(pump: Pump, selector: PumpSelector) -> int:
    """How many there are in a while."""
    before = pump.ticks
    selector.select(0.25)
    return pump.ticks - before


def test_a_scheduler_with_nothing_to_do_sleeps(pump, selector):
    pump.add(Rings(8192).memory, True, -1)
    assert ticks(pump, selector) == 0


def test_a_cancel_of_what_is_not_there_is_nothing_to_do(pump, selector):
    client = Rings(8192)
    pump.add(client.memory, False, -1, client_bits=5)
    assert client.up.write(KIND_CANCEL, 5 << 40 | 1) is not None
    pump.run(True)
    assert ticks(pump, selector) == 0


def test_who_still_runs_what_another_scheduler_gave_it_is_looked_after(pump, selector):
    survivor = Survivor(pump)
    for _ in range(300):
        pump.add(Rings(1024, 1024).memory, True, -1)
    assert ticks(pump, selector) > 0
    assert pump.core.counts()["running_on"] == 1
    survivor.end()
    assert ticks(pump, selector) > 0
    assert pump.core.counts()["running_on"] == 0
    assert ticks(pump, selector) == 0


def test_who_has_gone_is_not_looked_after(pump, selector):
    survivor = Survivor(pump)
    pump.remove(survivor.peer)
    assert ticks(pump, selector) == 0


def test_a_result_that_nobody_asks_for_is_dropped_in_the_end(pump, selector):
    Survivor(pump).answer()
    assert ticks(pump, selector) > 0
    assert pump.core.counts()["kept_results"] == 1
    assert ticks(pump, selector) > 0
    pump.core.on_tick(time.monotonic_ns() + 40 * 10**9)
    assert pump.core.counts()["kept_results"] == 0
    assert ticks(pump, selector) == 0
