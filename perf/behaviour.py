"""What a user notices besides speed: how uneven work is spread, who waits for whom, how soon a result is seen.

The tasks sleep, so that what is measured is where they were placed and when, not how many cores there are.
"""

import heapq
import multiprocessing
import time
from concurrent.futures import Future
from contextlib import ExitStack
from multiprocessing.synchronize import Event
from typing import Any

from perf.command import Rows, main
from perf.links import open_client, open_cluster
from perf.report import Figure, of_rounds
from perf.work import same, sleep_and_tell, sleep_for, sleep_unevenly
from scaler import Client

UNITS = [10, 1, 1] * 10
SKEW_WORKERS = 3
TINY = 3_000
LONG_S = 3.0
FLOOD = 1_000_000

_spawn = multiprocessing.get_context("spawn")


def central_queue_makespan(durations: list[float], n_workers: int) -> float:
    """When the last task would end if each went, in order and at no cost, to the worker that is free first."""
    free_at = [0.0] * n_workers
    for duration in durations:
        heapq.heappush(free_at, heapq.heappop(free_at) + duration)
    return max(free_at)


def skew(links: tuple[str, ...]) -> list[Figure]:
    """[10, 1, 1] * 10 units of sleep on 3 workers, against a perfect central queue"""
    figures = []
    for link in links:
        for unit_s, rounds in ((0.1, 1), (0.01, 5)):
            durations = [unit_s * units for units in UNITS]
            perfect_s = central_queue_makespan(durations, SKEW_WORKERS)
            values = []
            with ExitStack() as stack:
                client = open_client(stack, link, SKEW_WORKERS)
                for _ in range(rounds):
                    start = time.perf_counter()
                    futures = [client.submit(sleep_unevenly, duration) for duration in durations]
                    for future in futures:
                        future.result()
                    values.append((time.perf_counter() - start) / perfect_s)
            what = f"{link}, a unit of {unit_s * 1000:.0f} ms: time / perfect time"
            figures.append(of_rounds(what, values, "x", 1.05, at_most=True))
    return figures


def straggler(links: tuple[str, ...]) -> list[Figure]:
    """3,000 tiny tasks with one of 3 s among them: until all the others are back"""
    figures = []
    for link in links:
        with ExitStack() as stack:
            client = open_client(stack, link)
            start = time.perf_counter()
            futures = [client.submit(sleep_for, LONG_S if i == TINY // 3 else 0) for i in range(TINY)]
            for i, future in enumerate(futures):
                if i != TINY // 3:
                    future.result()
            seconds = time.perf_counter() - start
            futures[TINY // 3].result()
        figures.append(Figure(f"{link}, the others", seconds, "s", target=1.0, at_most=True))
    return figures


def prompt(links: tuple[str, ...]) -> list[Figure]:
    """from a task's end to its result in the client, while the next one runs long on the only worker"""
    figures = []
    for link in links:
        with ExitStack() as stack:
            client = open_client(stack, link, 1)
            values = []
            for _ in range(9):
                short: Future[Any] = client.submit(sleep_and_tell, 0.01)
                long = client.submit(sleep_for, 0.3)
                ended_s = short.result()
                values.append((time.monotonic() - ended_s) * 1000)
                long.result()
        figures.append(of_rounds(link, values, "ms", 5.0, at_most=True))
    return figures


def neighbours(links: tuple[str, ...]) -> list[Figure]:
    """ten tasks of one client while another has a million: until all ten are back"""
    figures = []
    for link in links:
        with ExitStack() as stack:
            cluster = stack.enter_context(open_cluster(link))
            client = stack.enter_context(Client(cluster.get_address(), timeout_seconds=20))
            alone = [_ten_ms(client) for _ in range(20)]
            under_way, over = _spawn.Event(), _spawn.Event()
            flood = _spawn.Process(target=_flood, args=(cluster.get_address(), under_way, over))
            flood.start()
            under_way.wait(30)
            values = []
            while not over.is_set() and flood.is_alive():
                values.append(_ten_ms(client))
                time.sleep(0.01)
            flood.join()
        figures.append(of_rounds(f"{link}, alone", alone, "ms", at_most=True))
        figures.append(of_rounds(f"{link}, beside a million", values, "ms", at_most=True))
    return figures


def _ten_ms(client: Client) -> float:
    start = time.perf_counter()
    futures = [client.submit(same, i) for i in range(10)]
    for future in futures:
        future.result()
    return (time.perf_counter() - start) * 1000


def _flood(address: str, under_way: Event, over: Event) -> None:
    with Client(address, timeout_seconds=20) as client:
        futures = []
        for i in range(FLOOD):
            futures.append(client.submit(same, i))
            if i == FLOOD // 10:
                under_way.set()
        for future in futures:
            future.result()
        over.set()


ROWS: Rows = {"skew": skew, "straggler": straggler, "prompt": prompt, "neighbours": neighbours}

if __name__ == "__main__":
    main("perf.behaviour", ROWS)
