"""At home: what programs of `concurrent.futures`, `multiprocessing` and asyncio do, beside what they come from.

`python -m perf.home small_maps` runs one row. What each number means stands in README.md.
"""

import concurrent.futures
import multiprocessing.pool
import resource
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from perf.command import Rows, main
from perf.links import RINGS, open_client, open_pool
from perf.report import Figure, of_rounds
from perf.rounds import alternate, p50_s, ratios, timed
from perf.work import same, total
from scaler import Client, as_completed

SMALL = 32
REPEATS = 200
STREAMED = 2_000_000
STREAMED_CHUNK = 1000
FUTURES = 20_000
POOL = "Pool"


def small_maps(links: tuple[str, ...]) -> list[Figure]:
    """a map of 32 calls, one after the other: the p50 of each round"""
    import numpy

    jobs: dict[str, tuple[Callable[..., Any], list[Any], list[Any]]] = {
        "32 ints": (same, list(range(SMALL)), list(range(SMALL))),
        "32 arrays of 5 floats": (
            total,
            [numpy.full(5, float(i)) for i in range(SMALL)],
            [5.0 * i for i in range(SMALL)],
        ),
    }
    targets = {"32 ints": 0.5, "32 arrays of 5 floats": 0.8}

    def turn(map_: Callable[..., list[Any]], name: str) -> Callable[[], float]:
        function, items, expected = jobs[name]

        def call(i: int) -> int:
            if map_(function, items) != expected:
                raise AssertionError("a wrong answer came back")
            return i

        return lambda: p50_s(call, REPEATS) * 1e6

    with ExitStack() as stack:
        maps: dict[str, Callable[..., list[Any]]] = {POOL: open_pool(stack).map}
        maps |= {link: open_client(stack, link).map_each for link in links}
        p50s = alternate({(job, name): turn(map_, job) for job in jobs for name, map_ in maps.items()})
    figures = []
    for job in jobs:
        figures += [of_rounds(f"{job}: {name}", p50s[job, name], "us", at_most=True) for name in maps]
        for link in links:
            against = ratios(p50s[job, link], p50s[job, POOL])
            target = targets[job] if link == RINGS else None
            figures.append(of_rounds(f"{job}: {link} / Pool.map", against, "x", target, at_most=True))
    return figures


def imap(links: tuple[str, ...]) -> list[Figure]:
    """results read one by one, in chunks of 1,000"""
    expected = STREAMED * (STREAMED - 1) // 2

    def turn(read: Callable[[], Any]) -> Callable[[], float]:
        return lambda: STREAMED / timed(lambda: sum(read()), expected)

    def of_client(client: Client) -> Callable[[], Any]:
        return lambda: client.imap(same, range(STREAMED), chunksize=STREAMED_CHUNK)

    def of_pool(pool: multiprocessing.pool.Pool) -> Callable[[], Any]:
        return lambda: pool.imap(same, range(STREAMED), STREAMED_CHUNK)

    def stream_more(client: Client) -> None:
        timed(lambda: sum(client.imap(same, range(5 * STREAMED))), sum(range(5 * STREAMED)))

    figures = []
    with ExitStack() as stack:
        turns = {POOL: turn(of_pool(open_pool(stack)))}
        clients = {link: open_client(stack, link) for link in links}
        turns |= {link: turn(of_client(client)) for link, client in clients.items()}
        rates = alternate(turns, 5)
        for link, client in clients.items():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            stream_more(client)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            figures.append(Figure(f"{link}: memory that 10,000,000 more took", grown, "MB", target=5.0, at_most=True))
    figures += [of_rounds(name, values, "calls/s") for name, values in rates.items()]
    for link in links:
        target = 1.5 if link == RINGS else None
        figures.append(of_rounds(f"{link} / Pool.imap", ratios(rates[link], rates[POOL]), "x", target))
    return figures


def completed(links: tuple[str, ...]) -> list[Figure]:
    """20,000 no-op tasks whose results are read: in order, or as they are done"""
    expected = FUTURES * (FUTURES - 1) // 2

    def turn(client: Client, read: Callable[[list[Any]], Any]) -> Callable[[], float]:
        def job() -> int:
            return sum(future.result() for future in read([client.submit(same, i) for i in range(FUTURES)]))

        return lambda: timed(job, expected) / FUTURES * 1e6

    ways: dict[str, Callable[[list[Any]], Any]] = {
        "in order": lambda futures: futures,
        "scaler.as_completed": as_completed,
        "concurrent.futures.as_completed": concurrent.futures.as_completed,
    }
    figures = []
    for link in links:
        with ExitStack() as stack:
            client = open_client(stack, link)
            costs = alternate({name: turn(client, read) for name, read in ways.items()})
        figures += [of_rounds(f"{link}: {name}", values, "us", at_most=True) for name, values in costs.items()]
        against = ratios(costs["scaler.as_completed"], costs["in order"])
        figures.append(of_rounds(f"{link}: scaler.as_completed / in order", against, "x", at_most=True))
    return figures


ROWS: Rows = {"small_maps": small_maps, "imap": imap, "completed": completed}

if __name__ == "__main__":
    main("perf.home", ROWS)
