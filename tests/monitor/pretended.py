"""A pretended scheduler for viewers' tests and measurements: reports of any number of workers, in numbers that agree.

It runs no task. `PretendedCluster` is told how time goes on and says what a scheduler would; `publish` does so once a
second on a real socket, for a program to be tried by hand:

    python -m tests.monitor.pretended --workers 1000 --rate 50000
"""

import argparse
import random
import time
from array import array
from collections.abc import Iterator

import zmq

from scaler.monitor.codec import encode
from scaler.monitor.events import EVENT_BYTES, Event, write_events
from scaler.monitor.histogram import bucket_of
from scaler.monitor.report import (
    WORKER_RUNS,
    Body,
    Clients,
    Counts,
    Events,
    Failures,
    Functions,
    Histograms,
    Hosts,
    Recorder,
    Report,
    Summary,
    Tally,
    Workers,
)

FUNCTIONS = ("census.count_words", "__main__.square", "model.fit", "numpy.linalg.svd", "clean", "<lambda>")
SECOND_NS = 1_000_000_000
MOST_EVENTS = 65_536


class PretendedCluster:
    """`workers` workers on `hosts` hosts that end `rate` tasks a second; every hundredth task fails."""

    def __init__(self, workers: int = 8, hosts: int = 2, rate: int = 1000, clients: int = 3, seed: int = 1) -> None:
        self.worker_count, self.host_count, self.rate, self.client_count = workers, hosts, rate, clients
        self.random = random.Random(seed)
        self.epoch = self.random.getrandbits(63)
        self.clock_ns = 1000 * SECOND_NS
        self.wall_ns = time.time_ns()
        self.number = 0
        self.succeeded, self.failed = [0] * len(FUNCTIONS), [0] * len(FUNCTIONS)
        self.duration_ns = [0] * len(FUNCTIONS)
        self.durations: list[dict[int, int]] = [{} for _ in FUNCTIONS]
        self.by_worker = [0] * workers
        self.busy_ns = [0] * workers
        self.written = 0
        self.lost = 0
        self.events: list[Event] = []
        self.failures: dict[int, list[int]] = {}  # function -> [count, first, last, task, worker]

    def go_on(self, seconds: float = 1.0) -> None:
        """Time goes on, and tasks end."""
        began, self.clock_ns = self.clock_ns, self.clock_ns + int(seconds * SECOND_NS)
        self.wall_ns += int(seconds * SECOND_NS)
        self.number += 1
        self.events = []
        count = int(self.rate * seconds)
        for i in range(count):
            worker = self.random.randrange(self.worker_count)
            function = min(int(self.random.expovariate(0.8)), len(FUNCTIONS) - 1)
            duration_ns = int(self.random.lognormvariate(14 + function, 0.6))
            task = (0xABCD00 + i % self.client_count) << 40 | (self.written + i + 1)
            end_ns = began + (self.clock_ns - began) * (i + 1) // count
            is_failed = (self.written + i) % 100 == 99
            (self.failed if is_failed else self.succeeded)[function] += 1
            self.duration_ns[function] += duration_ns
            bucket = bucket_of(duration_ns)
            self.durations[function][bucket] = self.durations[function].get(bucket, 0) + 1
            self.by_worker[worker] += 1
            self.busy_ns[worker] += duration_ns
            if is_failed:
                failure = self.failures.setdefault(function, [0, end_ns, 0, 0, 0])
                failure[0] += 1
                failure[2:] = [end_ns, task, worker + 1]
            self.events.append(
                Event(task, end_ns, duration_ns / 1e9, 0.001, function + 1, (worker + 1) & 0xFFFF, int(is_failed), 1)
            )
        self.lost += max(0, count - MOST_EVENTS)
        self.events = self.events[-MOST_EVENTS:]
        self.written += count

    def reports(self) -> Iterator[Report]:
        """What is said now, on all topics."""
        bodies: list[Body] = [self.summary(), self.workers(), self.functions(), self.clients(), self.hosts()]
        bodies += [self.failure_groups(), self.events_report()]
        for body in bodies:
            yield Report(self.epoch, self.number, self.wall_ns, self.clock_ns, body)

    def counts(self) -> Counts:
        placed, ready, waiting = 2 * self.worker_count, 100, 10
        ended = sum(self.succeeded) + sum(self.failed)
        return Counts(
            submitted=ended + placed + ready + waiting,
            succeeded=sum(self.succeeded),
            failed=sum(self.failed),
            placed=placed,
            ready=ready,
            waiting=waiting,
        )

    def summary(self) -> Summary:
        return Summary(
            scheduler_version="3.0.0",
            python_version="3.11.9",
            address="tcp://127.0.0.1:2345",
            monitor_address="tcp://127.0.0.1:2347",
            host_name="alpha",
            pid=4321,
            started_ns=self.wall_ns - self.clock_ns,
            counts=self.counts(),
            workers=self.worker_count,
            clients=self.client_count,
            hosts=self.host_count,
            functions=len(FUNCTIONS),
            cpu_share=0.31,
            rss_bytes=150 << 20,
            lag_ns=1_200_000,
            queued_bytes=3 << 20,
            objects=12,
            object_bytes=300 << 20,
            shared_memory_total_bytes=8 << 30,
            shared_memory_free_bytes=7 << 30,
            messages=Tally.of({"received tasks": self.written, "sent results": self.written}),
            refusals=Tally.of({"no such function": 1}),
            restarts=Tally.of({"SIGKILL": 2}),
            warnings=["host beta has not been heard of for 12 s"],
            recorder=Recorder("", 0, self.written),
        )

    def workers(self) -> Workers:
        n = self.worker_count
        return Workers(
            number=array("I", range(1, n + 1)),
            host=array("I", (i % self.host_count for i in range(n))),
            pid=array("I", range(10_000, 10_000 + n)),
            name=[f"{('alpha', 'beta', 'gamma', 'delta')[i % self.host_count % 4]}-{i:04d}" for i in range(n)],
            state=array("B", [WORKER_RUNS]) * n,
            task=array("Q", range(1, n + 1)),
            function=array("I", (1 + i % len(FUNCTIONS) for i in range(n))),
            since_ns=array("Q", (self.clock_ns - self.random.randrange(SECOND_NS) for _ in range(n))),
            held=array("I", [2]) * n,
            free=array("I", [998]) * n,
            load_ns=array("Q", (self.random.randrange(4_000_000) for _ in range(n))),
            sent=array("Q", (done + 2 for done in self.by_worker)),
            succeeded=array("Q", self.by_worker),
            failed=array("Q", [0]) * n,
            in_place=array("Q", [0]) * n,
            busy_ns=array("Q", self.busy_ns),
            cpu_share=array("f", (self.random.random() for _ in range(n))),
            rss_bytes=array("Q", (self.random.randrange(20 << 20, 400 << 20) for _ in range(n))),
            joined_ns=array("Q", [SECOND_NS]) * n,
        )

    def functions(self) -> Functions:
        n = len(FUNCTIONS)
        done = [good + bad for good, bad in zip(self.succeeded, self.failed, strict=True)]
        return Functions(
            number=array("I", range(1, n + 1)),
            name=list(FUNCTIONS),
            submitted=array("Q", (each + 10 for each in done)),
            succeeded=array("Q", self.succeeded),
            failed=array("Q", self.failed),
            cancelled=array("Q", [0]) * n,
            placed=array("Q", [2]) * n,
            duration_ns=array("Q", self.duration_ns),
            queued_ns=array("Q", (each * 1_000_000 for each in done)),
            last_ns=array("Q", [self.clock_ns]) * n,
            durations=_histograms(self.durations),
            queued=_histograms([{bucket_of(1_000_000): each} if each else {} for each in done]),
            is_gone=array("B", [0]) * n,
        )

    def clients(self) -> Clients:
        n, total = self.client_count, self.counts()
        none = array("Q", [0]) * n
        return Clients(
            bits=array("I", range(0xABCD00, 0xABCD00 + n)),
            name=[f"client-{i}" for i in range(n)],
            host_name=["alpha"] * n,
            pid=array("I", range(5000, 5000 + n)),
            state=array("B", [0]) * n,
            submitted=array("Q", [total.submitted // n]) * n,
            succeeded=array("Q", [total.succeeded // n]) * n,
            failed=array("Q", [total.failed // n]) * n,
            cancelled=none,
            waiting=none,
            ready=none,
            placed=none,
            unread=none,
            kept_bytes=none,
            quota_bytes=array("Q", [1 << 30]) * n,
            objects=none,
            object_bytes=none,
            joined_ns=none,
            heard_ns=array("Q", [self.clock_ns]) * n,
        )

    def hosts(self) -> Hosts:
        n = self.host_count
        none = array("Q", [0]) * n
        return Hosts(
            number=array("I", range(n)),
            name=[("alpha", "beta", "gamma", "delta")[i % 4] for i in range(n)],
            cluster=[f"cluster-{i}" for i in range(n)],
            cores=array("I", [16]) * n,
            workers=array("I", (len(range(i, self.worker_count, n)) for i in range(n))),
            agent_pid=array("I", range(900, 900 + n)),
            agent_cpu_share=array("f", [0.05]) * n,
            agent_rss_bytes=array("Q", [60 << 20]) * n,
            memory_total_bytes=array("Q", [64 << 30]) * n,
            memory_free_bytes=array("Q", [40 << 30]) * n,
            shared_memory_total_bytes=array("Q", [32 << 30]) * n,
            shared_memory_free_bytes=array("Q", [30 << 30]) * n,
            objects=none,
            object_bytes=none,
            lag_ns=none,
            heard_ns=array("Q", [self.clock_ns]) * n,
        )

    def failure_groups(self) -> Failures:
        groups = list(self.failures.items())
        return Failures(
            exception=["builtins.ZeroDivisionError"] * len(groups),
            message=["division by zero"] * len(groups),
            place=[f"/srv/{FUNCTIONS[function]}.py:{10 + function} in work" for function, _ in groups],
            function=array("I", (function + 1 for function, _ in groups)),
            count=array("Q", (each[0] for _, each in groups)),
            first_ns=array("Q", (each[1] for _, each in groups)),
            last_ns=array("Q", (each[2] for _, each in groups)),
            task=array("Q", (each[3] for _, each in groups)),
            worker=array("I", (each[4] for _, each in groups)),
            traceback=["Traceback (most recent call last):\n  ...\nZeroDivisionError: division by zero"] * len(groups),
        )

    def events_report(self) -> Events:
        data = write_events(self.events)
        return Events(self.written - len(data) // EVENT_BYTES, self.lost, data)


def _histograms(rows: list[dict[int, int]]) -> Histograms:
    made = Histograms()
    for row in rows:
        for bucket in sorted(row):
            made.buckets.append(bucket)
            made.counts.append(row[bucket])
        made.ends.append(len(made.buckets))
    return made


def publish(cluster: PretendedCluster, address: str, interval_s: float = 1.0, rounds: int | None = None) -> None:
    """Say it all once in this time, until killed or for so many rounds."""
    context = zmq.Context()
    socket = context.socket(zmq.XPUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.bind(address)
    try:
        while rounds is None or rounds > 0:
            rounds = None if rounds is None else rounds - 1
            cluster.go_on(interval_s)
            said = {report.topic.encode(): encode(report) for report in cluster.reports()}
            for topic, data in said.items():
                socket.send_multipart([topic, data])
            deadline = time.monotonic() + interval_s
            while (left_s := deadline - time.monotonic()) > 0:
                if socket.poll(int(left_s * 1000) + 1):
                    topic = socket.recv()[1:]  # what somebody has just subscribed to is said at once
                    if topic in said:
                        socket.send_multipart([topic, said[topic]])
    finally:
        socket.close(0)
        context.term()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--address", default="tcp://127.0.0.1:2347")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    cluster = PretendedCluster(chosen.workers, chosen.hosts, chosen.rate, seed=chosen.seed)
    publish(cluster, chosen.address, chosen.interval)
