"""Who has few tasks beside somebody who has very many: how long ten of them take to come back, and how long they would
if the clients took turns.

The tasks sleep. With two workers, two clients and a scheduler on two cores, tasks that compute would measure to whom
the kernel gives the cores; how long a task takes from its placement on is the machine's, who is placed next is ours.
"""

import functools
import heapq
import math
import multiprocessing
import time
from collections import deque
from contextlib import ExitStack
from multiprocessing.synchronize import Event

from perf.command import Rows, main
from perf.links import WORKERS, open_cluster
from perf.report import Figure
from perf.work import sleep_as, sleep_for
from scaler import Client

LENGTHS_S = (0.00005, 0.0005, 0.005, 0.05)
TEN = 10
TIMES = 5
IN_FLIGHT = 20_000
SLACK_MS = 10.0

_spawn = multiprocessing.get_context("spawn")


def by_turns_s(duration_s: float, flood_s: float) -> float:
    """When the last of ten is back if two workers that have just begun with the flood take a task of each in turn."""
    free_at = [flood_s] * WORKERS
    last_s = 0.0
    for place in range(2 * TEN - 1):
        begin_s = heapq.heappop(free_at)
        is_ours = place % 2 == 0
        heapq.heappush(free_at, begin_s + (duration_s if is_ours else flood_s))
        if is_ours:
            last_s = max(last_s, begin_s + duration_s)
    return last_s


def known(links: tuple[str, ...]) -> list[Figure]:
    """p99 wait of ten tasks beside a flood, of a function that was timed; the target is 2 x turns + 10 ms"""
    return _ten(links, True)


def unknown(links: tuple[str, ...]) -> list[Figure]:
    """the same, of a function that nobody has ever called"""
    return _ten(links, False)


def _ten(links: tuple[str, ...], is_known: bool) -> list[Figure]:
    figures = []
    for link in links:
        for flood_s in LENGTHS_S:
            waits = _beside_a_flood(link, flood_s, is_known)
            for duration_s, times in waits.items():
                turns_ms = by_turns_s(duration_s, flood_s) * 1000
                ordered = sorted(times)
                p99_ms = ordered[math.ceil(0.99 * len(ordered)) - 1] * 1000
                what = f"{link}, {duration_s * 1000:g} ms beside {flood_s * 1000:g} ms (turns: {turns_ms:.1f})"
                figures.append(Figure(what, p99_ms, "ms", ordered[-1] * 1000, 2 * turns_ms + SLACK_MS, True))
    return figures


def _beside_a_flood(link: str, flood_s: float, is_known: bool) -> dict[float, list[float]]:
    """For each length, how long each of some tens took, in seconds."""
    waits: dict[float, list[float]] = {}
    with ExitStack() as stack:
        cluster = stack.enter_context(open_cluster(link))
        client = stack.enter_context(Client(cluster.get_address(), timeout_seconds=20))
        taught = {duration_s: functools.partial(sleep_as, duration_s) for duration_s in LENGTHS_S}
        for duration_s, function in taught.items():
            for future in [client.submit(function, duration_s) for _ in range(20)]:
                future.result()
        under_way, over = _spawn.Event(), _spawn.Event()
        flood = _spawn.Process(target=_flood, args=(cluster.get_address(), flood_s, under_way, over))
        flood.start()
        try:
            under_way.wait(60)
            for duration_s, function in taught.items():
                waits[duration_s] = []
                for number in range(TIMES):
                    called = function if is_known else functools.partial(sleep_as, (number, duration_s))
                    waits[duration_s] += _waits_of(client, called, duration_s)
        finally:
            over.set()
            flood.join()
    return waits


def _waits_of(client: Client, function: "functools.partial[float]", duration_s: float) -> list[float]:
    """How long each of ten took to come back, all before it included."""
    start = time.perf_counter()
    futures = [client.submit(function, duration_s) for _ in range(TEN)]
    waits = []
    for future in futures:
        future.result()
        waits.append(time.perf_counter() - start)
    time.sleep(0.02)
    return waits


def _flood(address: str, flood_s: float, under_way: Event, over: Event) -> None:
    """Have many tasks in flight until `over`."""
    with Client(address, timeout_seconds=20) as client:
        futures = deque(client.submit(sleep_for, flood_s) for _ in range(IN_FLIGHT))
        for _ in range(100):
            futures.popleft().result()
        under_way.set()
        while not over.is_set():
            for _ in range(min(100, max(1, int(0.02 / flood_s)))):
                futures.append(client.submit(sleep_for, flood_s))
                futures.popleft().result()
        client.clear()


ROWS: Rows = {"known": known, "unknown": unknown}

if __name__ == "__main__":
    main("perf.fairness", ROWS)
