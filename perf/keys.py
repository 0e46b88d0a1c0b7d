"""Keys: what encryption costs, against the same in clear. Everything goes over the wire, on the loopback device.

`python -m perf.keys tasks` runs one row. What each number means stands in README.md.
"""

import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from perf.command import Rows, main
from perf.links import WORKERS
from perf.report import Figure, of_rounds
from perf.rounds import alternate, p50_s, ratios, timed
from perf.work import same
from scaler import Client
from scaler.address import Endpoint
from scaler.keys.folder import make_folder
from scaler.objects.arrival import Arrival
from scaler.objects.dialer import ObjectDialer
from scaler.objects.port import ObjectPort
from scaler.objects.sealed import Seal
from tests.elsewhere import RemoteCluster

KEYS, PLAIN = "with keys", "plain"
SUBMITS, CALLS, ONES, ROUNDS = 50_000, 200_000, 300, 7
OBJECT_BYTES, OBJECTS = 100_000_000, 5
HOST, NUMBER = "127.0.0.1", 1
LEAST_RATE, MOST_LATENCY = 0.8, 1.2  # of plain
LEAST_OBJECTS, MOST_CPU_S = 0.5, 0.35


def _client(stack: ExitStack, keys: str | None) -> Client:
    options: dict[str, Any] = {"keys": keys} if keys else {"insecure": True}
    cluster = stack.enter_context(RemoteCluster(WORKERS, workers={"keys": keys}, **options))
    client = stack.enter_context(Client(cluster.get_address(), keys=keys, timeout_seconds=20))
    client.map(same, [(i,) for i in range(1000)])
    return client


def tasks(links: tuple[str, ...]) -> list[Figure]:
    """map, submit and one task at a time with keys against the same without"""
    with ExitStack() as stack:
        folder = str(make_folder(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "keys"))
        clients = {KEYS: _client(stack, folder), PLAIN: _client(stack, None)}

        def map_s(client: Client) -> float:
            return CALLS / timed(lambda: client.map(same, [(i,) for i in range(CALLS)]), list(range(CALLS)))

        def submit_s(client: Client) -> float:
            def job() -> list[int]:
                return [future.result() for future in [client.submit(same, i) for i in range(SUBMITS)]]

            return SUBMITS / timed(job, list(range(SUBMITS)))

        def one_s(client: Client) -> float:
            return p50_s(lambda i: client.submit(same, i).result(), ONES) * 1e6

        figures = []
        jobs: dict[str, tuple[Callable[[Client], float], str]] = {
            "map": (map_s, "calls/s"), "submit": (submit_s, "tasks/s"), "one at a time": (one_s, "us"),
        }  # fmt: skip
        for name, (job, unit) in jobs.items():
            values = alternate({kind: partial(job, client) for kind, client in clients.items()}, ROUNDS)
            is_time = unit == "us"
            figures += [of_rounds(f"{name}, {kind}", values[kind], unit, at_most=is_time) for kind in (KEYS, PLAIN)]
            figures.append(
                of_rounds(
                    f"{name}, with keys / plain",
                    ratios(values[KEYS], values[PLAIN]),
                    "x",
                    MOST_LATENCY if is_time else LEAST_RATE,
                    at_most=is_time,
                )
            )
        return figures


def _give(pipe: Connection, is_sealed: bool) -> None:
    """A host that has one object, in a process of its own: answers with its CPU time so far."""
    port = ObjectPort(HOST, is_sealed=is_sealed)
    token = port.serve(1, memoryview(bytearray(b"scaler  ") * (OBJECT_BYTES // 8)))
    pipe.send((port.port, token, port.key_for(NUMBER)))
    while pipe.recv():
        pipe.send(time.process_time())
    port.close()


class _Pair:
    """A host that gives, and this process, which takes."""

    def __init__(self, stack: ExitStack, is_sealed: bool) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        child = multiprocessing.get_context("spawn").Process(target=_give, args=(theirs, is_sealed))
        child.start()
        stack.callback(child.join)
        stack.callback(self._pipe.send, False)
        port, self._token, key = self._pipe.recv()
        seal = Seal(NUMBER, key) if is_sealed else None
        self._dialer = ObjectDialer(Endpoint(HOST, port), lambda what: what(), seal)
        stack.callback(self._dialer.close)
        self._room = memoryview(bytearray(OBJECT_BYTES))
        self.giver_s: list[float] = []
        self.taker_s: list[float] = []
        self.turn()
        self.giver_s.clear()
        self.taker_s.clear()

    def _giver_cpu_s(self) -> float:
        self._pipe.send(True)
        return float(self._pipe.recv())

    def _fetch(self) -> bool:
        done = threading.Event()
        arrival = Arrival(1, OBJECT_BYTES, self._room)
        self._dialer.fetch(arrival, [self._dialer.giver(self._token)], lambda ok: done.set())
        done.wait()
        return arrival.is_whole

    def turn(self) -> float:
        """GB/s; and what each side's CPUs took for a GB."""
        giver_s, taker_s = self._giver_cpu_s(), time.process_time()
        took_s = timed(lambda: [self._fetch() for _ in range(OBJECTS)], [True] * OBJECTS)
        gigabytes = OBJECTS * OBJECT_BYTES / 1e9
        self.taker_s.append((time.process_time() - taker_s) / gigabytes)
        self.giver_s.append((self._giver_cpu_s() - giver_s) / gigabytes)
        return gigabytes / took_s


def objects(links: tuple[str, ...]) -> list[Figure]:
    """objects of 100 MB from host to host, sealed against plain, and the CPU time of each side"""
    with ExitStack() as stack:
        pairs = {KEYS: _Pair(stack, True), PLAIN: _Pair(stack, False)}
        rates = alternate({kind: pair.turn for kind, pair in pairs.items()}, ROUNDS)
        figures = [of_rounds(f"100 MB, {kind}", rates[kind], "GB/s") for kind in pairs]
        figures.append(of_rounds("100 MB, with keys / plain", ratios(rates[KEYS], rates[PLAIN]), "x", LEAST_OBJECTS))
        for kind, pair in pairs.items():
            most = MOST_CPU_S if kind == KEYS else None
            figures.append(of_rounds(f"giving side, {kind}", pair.giver_s, "CPU s/GB", most, at_most=True))
            figures.append(of_rounds(f"taking side, {kind}", pair.taker_s, "CPU s/GB", most, at_most=True))
        return figures


ROWS: Rows = {"tasks": tasks, "objects": objects}

if __name__ == "__main__":
    main("perf.keys", ROWS)
