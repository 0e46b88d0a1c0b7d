"""What it costs to be looked at: the recorder, a round of reports, a question, a viewer that does not read, a trace.

The scheduler of these rows is the core with workers that are only outlets, in this process: what is counted is how long
the scheduler's thread is held. The recorder is measured in the core's own bench (perf/core.py), with and without.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from hashlib import blake2b

import zmq

from perf.command import Rows, main
from perf.core import QUICK_NS, ns_per_task
from perf.processes import rss_bytes
from perf.report import Figure, of_rounds
from perf.rounds import ROUNDS, alternate
from scaler._native import KIND_TASK, Drill, Recorder, RecordRun, RunOutlet, SchedulerCore, feed_one, standing_of
from scaler.address import Address
from scaler.monitor.codec import encode
from scaler.monitor.events import Event, write_events
from scaler.monitor.report import TOPICS, Report
from scaler.monitor.trace import Recorded
from scaler.monitor.trace import encode as encode_trace
from scaler.scheduler.publisher import Publisher
from scaler.scheduler.reporter import Reporter, Usages
from scaler.values.usage import KnownClient, KnownHost, KnownWorker

WORKERS = 5000
HOSTS = 50
BITS = 5


class Known:
    """Who has let the played workers in."""

    def __init__(self, workers: int) -> None:
        self._workers = {
            index: KnownWorker(f"alpha-{index % HOSTS}-{index:05d}", index % HOSTS) for index in range(workers)
        }

    def known_workers(self) -> dict[int, KnownWorker]:
        return self._workers

    def known_clients(self) -> dict[int, KnownClient]:
        return {BITS: KnownClient("client", "alpha", 1)}

    def known_hosts(self) -> list[KnownHost]:
        return [KnownHost(number, f"alpha-{number}") for number in range(HOSTS)]

    def why_unable(self) -> list[str]:
        return []


class Played:
    """A core with so many workers, each of which has some tasks, and so many tasks that wait."""

    def __init__(self, workers: int, queued: int) -> None:
        self.core = SchedulerCore(1)
        self.client = self.core.on_client_joined(BITS, RunOutlet(0, [], [], []), RunOutlet(0, [], [], []))
        for number in range(20):
            code = b"function %d" % number
            self.core.on_function(self.client, number, blake2b(code, digest_size=16).digest(), 0, code)
        for number in range(workers):
            self.core.on_worker_joined(RunOutlet(number, [], [], []), RunOutlet(number, [], [], []), 1000, host=0)
        self.next = 1
        run = RecordRun()
        for number in range(workers + queued):
            run.write(KIND_TASK, BITS << 40 | self.next, b"args", function=number % 20)
            self.next += 1
            feed_one(self.core, self.client, run, time.monotonic_ns())
        self.core.step(time.monotonic_ns())
        self.reporter = Reporter(
            self.core, address="tcp://127.0.0.1:1", monitor_address=lambda: "", peers=[Known(workers)], usage=Usages(),
            lag_ns=lambda: 0, messages=dict, warnings=list,
        )  # fmt: skip

    def report(self, topic: str) -> bytes:
        self.reporter._events_due_s = 0.0
        body = self.reporter.make(topic)
        assert body is not None
        return encode(Report(1, 1, time.time_ns(), time.monotonic_ns(), body))


def timed_ms(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return (time.perf_counter() - start) * 1e3


def recorder(links: tuple[str, ...]) -> list[Figure]:
    """what the recorder adds to a task: two clients, 8 workers, 10,000 queued"""

    def cost(is_on: bool) -> Callable[[], float]:
        def measure() -> float:
            drill = Drill(2, 8)
            if not is_on:
                drill.pump.core.recorder = Recorder()
            drill.fill(10_000)
            return ns_per_task(drill, QUICK_NS)

        return measure

    costs = alternate({"without": cost(False), "with": cost(True)})
    differences = [more - less for more, less in zip(costs["with"], costs["without"], strict=True)]
    return [
        of_rounds("without the recorder", costs["without"], "ns/task", at_most=True),
        of_rounds("with it", costs["with"], "ns/task", at_most=True),
        of_rounds("difference", differences, "ns/task", 10, at_most=True),
    ]


def snapshot(links: tuple[str, ...]) -> list[Figure]:
    """how long each report of 5,000 workers holds the scheduler's thread, and its size"""
    played = Played(WORKERS, 10_000)
    figures = []
    for topic in TOPICS:
        played.report(topic)
        times = [timed_ms(partial(played.report, topic)) for _ in range(ROUNDS)]
        figures.append(of_rounds(topic, times, "ms", 1, at_most=True))
        figures.append(Figure(f"{topic}, size", len(played.report(topic)) / 1024, "KiB", target=512, at_most=True))
    return figures


def explain(links: tuple[str, ...]) -> list[Figure]:
    """a question about the last of a million queued tasks"""
    played = Played(8, 1_000_000)
    last = BITS << 40 | played.next - 1
    assert standing_of(played.core, last)["state"] == "READY"
    times = [timed_ms(lambda: played.report(f"task/{last:016x}")) for _ in range(ROUNDS)]
    return [of_rounds("explain with 1,000,000 queued", times, "ms", 50, at_most=True)]


_VIEWER = """
import sys, time
from scaler.monitor.report import TOPICS
from scaler.monitor.subscriber import Subscriber
viewer = Subscriber(sys.argv[1], TOPICS)
viewer.read_first(20)
print("reads", flush=True)
while True:
    viewer.read(1)
"""


def stopped(links: tuple[str, ...]) -> list[Figure]:
    """by how much the scheduler grows while a viewer of 5,000 workers is stopped for 20 s"""
    figures = []
    for number in (signal.SIGSTOP, signal.SIGKILL):
        played, context, loop = Played(WORKERS, 10_000), zmq.Context(), asyncio.new_event_loop()
        publisher = Publisher(loop, context, 1, played.reporter.make)
        address = publisher.open(Address.parse("tcp://127.0.0.1:0"), Address.parse("tcp://127.0.0.1:0"))
        child = subprocess.Popen([sys.executable, "-c", _VIEWER, str(address)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        loop.run_until_complete(loop.run_in_executor(None, child.stdout.readline))
        loop.run_until_complete(asyncio.sleep(5))
        before = rss_bytes(os.getpid())
        child.send_signal(number)
        loop.run_until_complete(asyncio.sleep(20))
        grown = rss_bytes(os.getpid()) - before
        child.kill()
        child.wait()
        child.stdout.close()
        publisher.close()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        context.term()
        figures.append(Figure(f"growth after {number.name}", grown / 1024, "KiB", target=1024, at_most=True))
    return figures


def trace(links: tuple[str, ...]) -> list[Figure]:
    """a trace of a million tasks on 100 workers, of 20 functions"""
    draw = random.Random(1)
    now, events = 10**12, []
    for number in range(1_000_000):
        now += draw.randrange(2000)
        events.append(
            Event(
                number, now, draw.random() / 1e4, draw.random() / 100, draw.randrange(20), draw.randrange(1, 100), 0, 1
            )
        )
    recorded = Recorded(write_events(events), {n: f"module.function_{n}" for n in range(20)}, {})
    rates, size = [], 0
    for _ in range(ROUNDS):
        start = time.perf_counter()
        size = sum(len(piece) for piece in encode_trace(recorded)[0])
        rates.append(1_000_000 / (time.perf_counter() - start))
    return [
        of_rounds("encoded", rates, "tasks/s", 1_000_000),
        Figure("size", size / 1e6, "MB", target=45, at_most=True),
    ]


ROWS: Rows = {"recorder": recorder, "snapshot": snapshot, "explain": explain, "stopped": stopped, "trace": trace}

if __name__ == "__main__":
    main("perf.monitor", ROWS)
