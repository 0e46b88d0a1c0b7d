"""Strangers: connections that are opened and say nothing, at the scheduler's port for sessions and at that for objects.

The scheduler has keys and a /dev/shm of its own, its workers and a client come over the wire. Another process opens the
connections and keeps them. What is measured meanwhile: how long a newcomer takes that has a key, what a job loses, what
the scheduler's memory has grown by, what it takes of a core when there is no job, and which connections are left.

`python -m perf.strangers silent` runs it. What each number means stands in README.md.
"""

import contextlib
import multiprocessing
import os
import resource
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from perf.command import Rows, main
from perf.processes import cpu_seconds, rss_bytes
from perf.report import Figure, of_rounds
from perf.rounds import alternate, ratios, timed
from perf.work import same
from scaler import Client
from scaler.address import Address
from scaler.keys.folder import make_folder
from scaler.objects.sealed import Seal, connect_sealed
from scaler.objects.stream import FETCH, Refusal, ask
from scaler.protocol.frames import Role, Welcome
from scaler.session.dealer import greet, new_hello
from tests.elsewhere import RemoteCluster

HOST = "127.0.0.1"
MANY, FEW = 10_000, 64
FEW_DESCRIPTORS = 1024
NEWCOMERS = 10
CALLS, ROUNDS = 50_000, 3
GONE_S = 6.0
IDLE_S = 1.0
SESSIONS, OBJECTS = "sessions", "objects"


def _flood(pipe: Connection, port: int, count: int) -> None:
    """Open so many connections, and keep them until told otherwise. In a process of its own."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    kept = []
    pipe.send("begins")
    for _ in range(count):
        with contextlib.suppress(OSError):
            kept.append(socket.create_connection((HOST, port), timeout=10))
    pipe.send(len(kept))
    pipe.recv()


@contextlib.contextmanager
def flood(port: int, count: int) -> Iterator[Callable[[], int]]:
    """A process that opens connections; what this gives waits until all are there, and says how many."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=_flood, args=(theirs, port, count))
    child.start()
    theirs.close()
    ours.recv()
    try:
        yield ours.recv
    finally:
        ours.send("end")
        child.join()


class Target:
    """A scheduler with keys, which may have so many descriptors, and those who talk to it."""

    def __init__(self, stack: ExitStack, descriptors: int) -> None:
        self.keys = str(make_folder(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "keys"))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, descriptors), hard))
        try:
            cluster = stack.enter_context(RemoteCluster(2, keys=self.keys, workers={"keys": self.keys}))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.address = cluster.get_address()
        self.client = stack.enter_context(Client(self.address, keys=self.keys, timeout_seconds=20))
        self.client.map(same, [(i,) for i in range(1000)])
        outer = psutil.Process(cluster.scheduler.pid)
        self.scheduler = next(one.pid for one in (outer, *outer.children(True)) if "python" in one.name())
        self.ports = {SESSIONS: Address.parse(self.address).port, OBJECTS: self.come()[0].objects_port}

    def come(self) -> tuple[Welcome, float]:
        """A newcomer's welcome, and how long that took."""
        start_s = time.perf_counter()
        bits = int.from_bytes(os.urandom(3), "little") or 1
        hello = new_hello(Role.CLIENT, os.urandom(16), client_bits=bits)
        dealer, welcome = greet(self.address, lambda: hello, 20, keys=self.keys)
        took_s = time.perf_counter() - start_s
        dealer.leave()
        return welcome, took_s

    def ask_for_object(self, welcome: Welcome) -> float:
        """How long a host takes that has a key to connect for objects and hear that there is no such."""
        start_s = time.perf_counter()
        while True:  # as a dialer does, whose connection was broken
            with contextlib.suppress(ConnectionError), socket.create_connection((HOST, welcome.objects_port)) as plain:
                try:
                    ask(connect_sealed(plain, Seal(welcome.objects_number, welcome.objects_key)), FETCH, 0, bytes(16))
                except Refusal:
                    return time.perf_counter() - start_s

    def newcomer_s(self, port: str) -> float:
        if port == SESSIONS:
            return self.come()[1]
        hello = new_hello(Role.CLIENT, os.urandom(16), client_bits=int.from_bytes(os.urandom(3), "little") or 1)
        dealer, welcome = greet(self.address, lambda: hello, 20, keys=self.keys)
        took_s = self.ask_for_object(welcome)
        dealer.leave()
        return took_s

    def job_s(self) -> float:
        return timed(lambda: self.client.map(same, [(i,) for i in range(CALLS)]), list(range(CALLS)))

    def connections(self, port: str) -> int:
        """That the scheduler has there, those of its peers included."""
        found = psutil.Process(self.scheduler).net_connections("tcp")
        return sum(one.laddr.port == self.ports[port] and one.status != psutil.CONN_LISTEN for one in found)


def silent(links: tuple[str, ...]) -> list[Figure]:
    """connections that say nothing at a scheduler's port, and what they cost the others"""
    figures = []
    for descriptors, name, limit_ms in ((1 << 20, "", 100.0), (FEW_DESCRIPTORS, ", 1,024 descriptors", 2000.0)):
        with ExitStack() as stack:
            target = Target(stack, descriptors)
            for port in (SESSIONS, OBJECTS):
                for count in (MANY, FEW):
                    figures += _one(target, port, count, f"{count:,} at {port}{name}", limit_ms)
    return figures


def _one(target: Target, port: str, count: int, name: str, limit_ms: float) -> list[Figure]:
    target.newcomer_s(port)
    before, there = rss_bytes(target.scheduler), target.connections(port)
    with flood(target.ports[port], count) as await_all:
        amid_s = [target.newcomer_s(port) for _ in range(3)]
        await_all()
        came_s = time.monotonic()
        among_s = [target.newcomer_s(port) for _ in range(NEWCOMERS)]
        grown = rss_bytes(target.scheduler) - before
        cpu_s = cpu_seconds(target.scheduler)
        time.sleep(IDLE_S)
        share = (cpu_seconds(target.scheduler) - cpu_s) / IDLE_S
        grown = max(grown, rss_bytes(target.scheduler) - before)
        time.sleep(max(0.0, came_s + GONE_S - time.monotonic()))
        left = max(0, target.connections(port) - there)

    def among() -> float:
        with flood(target.ports[port], count) as await_all:
            await_all()
            return target.job_s()

    job_s = alternate({"alone": target.job_s, "among": among}, ROUNDS)
    return [
        Figure(f"{name}: a newcomer, the worst", 1000 * max(among_s), "ms", target=limit_ms, at_most=True),
        Figure(f"{name}: a newcomer while they come", 1000 * max(amid_s), "ms"),
        of_rounds(f"{name}: a job, of its rate alone", ratios(job_s["alone"], job_s["among"]), "x", 0.9),
        Figure(f"{name}: scheduler grown by", grown / 1e6, "MB", target=200.0, at_most=True),
        Figure(f"{name}: scheduler without a job", 100 * share, "% of a core", target=5.0, at_most=True),
        Figure(f"{name}: left after 6 s", left, "", target=0.0, at_most=True),
    ]


ROWS: Rows = {"silent": silent}

if __name__ == "__main__":
    main("perf.strangers", ROWS)
