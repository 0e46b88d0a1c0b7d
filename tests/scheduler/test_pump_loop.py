"""PumpLoop: uvloop drains the rings after whatever it has read, and from time to time."""

import asyncio
import contextlib
import os

import pytest

from scaler import Client
from scaler._native import Pump, SchedulerCore
from scaler.colocation.names import BellPage, new_epoch
from scaler.scheduler.pump_loop import PumpLoop
from tests.e2e import calls
from tests.elsewhere import RemoteCluster
from tests.scheduler.survivor import Survivor


class Server:
    """A pump without peers, and how often the loop has looked after it."""

    def __init__(self):
        self.bell_page = BellPage(new_epoch())
        self.bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.pump = Pump(SchedulerCore(1), self.bell_page.memory, self.bell)
        self.looked = 0
        self.wanted = 0

    def after_run(self):
        self.looked += 1
        self.wanted -= self.wanted > 0
        return self.wanted > 0


@pytest.fixture
def server():
    made = Server()
    yield made
    made.bell_page.close()
    os.close(made.bell)


@pytest.fixture
def loop(server):
    with contextlib.closing(PumpLoop(server.pump, server.after_run)) as made:
        made.run_until_complete(turn(made))
        server.looked = 0
        yield made


async def turn(loop):
    """One turn of the loop."""
    future = loop.create_future()
    loop.call_soon(future.set_result, None)
    await future


def run_until(loop, condition):
    async def wait():
        while not condition():
            await turn(loop)

    loop.run_until_complete(asyncio.wait_for(wait(), 20))


def run_until_looked(loop, server, times):
    run_until(loop, lambda: server.looked >= times)


def test_the_bell_is_heard_and_hushed(loop, server):
    os.eventfd_write(server.bell, 1)
    run_until_looked(loop, server, 1)
    assert server.pump.wakes == 1
    with pytest.raises(BlockingIOError):
        os.eventfd_read(server.bell)


def test_a_pass_follows_what_a_reader_has_done(loop, server):
    read_end, write_end = os.pipe()
    seen = []
    loop.add_reader(read_end, lambda word: seen.append((word, os.read(read_end, 9), server.looked)), "word")
    os.write(write_end, b"news")
    run_until_looked(loop, server, 1)
    assert seen == [("word", b"news", 0)]
    loop.remove_reader(read_end)
    os.close(read_end)
    os.close(write_end)


def test_as_long_as_there_is_more_to_do_it_goes_on(loop, server):
    server.wanted = 5
    os.eventfd_write(server.bell, 1)
    run_until_looked(loop, server, 5)
    assert server.wanted == 0


def test_it_looks_from_time_to_time_though_nothing_happens(loop, server):
    run_until_looked(loop, server, 3)


def test_time_passes_in_the_core_only_while_something_waits_for_that(loop, server):
    run_until_looked(loop, server, 3)
    assert server.pump.ticks == 0
    survivor = Survivor(server.pump)
    run_until(loop, lambda: server.pump.ticks > 3)
    assert server.pump.core.counts()["running_on"] == 1
    survivor.end()
    run_until(loop, lambda: server.pump.core.counts()["running_on"] == 0)
    ticks = server.pump.ticks
    run_until_looked(loop, server, server.looked + 3)
    assert server.pump.ticks == ticks


def test_closing_is_idempotent(loop):
    loop.close()
    loop.close()
    assert loop.is_closed()


def test_tasks_go_over_the_wire_on_uvloop():
    with (
        RemoteCluster(1, event_loop="uvloop") as cluster,
        Client(cluster.get_address(), timeout_seconds=20) as client,
    ):
        assert client.map(calls.add_one, [(i,) for i in range(5000)]) == list(range(1, 5001))
        futures = [client.submit(calls.add_one, i) for i in range(5000)]
        assert [future.result(20) for future in futures] == list(range(1, 5001))
        assert len(client.submit(calls.big, 3_000_000).result(20)) == 3_000_000
