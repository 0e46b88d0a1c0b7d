"""Tasks that submit tasks and wait for them, on any number of workers.

Everybody waits with `result()` for what was submitted one by one, except `width`, which maps.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from perf.command import Rows, main
from perf.links import open_client
from perf.report import Figure, of_rounds
from perf.rounds import ROUNDS
from perf.work import same
from scaler import Client

N = 20
TASKS = 21_891  # of fibonacci(N), the root included
RESULT = 6765
DEPTH = 500
WIDTH = 10_000


def fibonacci(client: Client, n: int) -> int:
    if n < 2:
        return n
    first, second = client.submit(fibonacci, client, n - 1), client.submit(fibonacci, client, n - 2)
    return int(first.result()) + int(second.result())


def chain(client: Client, depth: int) -> int:
    return 0 if depth == 0 else 1 + int(client.submit(chain, client, depth - 1).result())


def map_all(client: Client, count: int) -> int:
    return sum(client.map(same, [(i,) for i in range(count)]))


def timed(call: Callable[[], Any], expected: Any) -> float:
    start = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - start
    assert result == expected, result
    return seconds


def rounds_of(client: Client, function: Callable[[Client, int], int], n: int, expected: int) -> list[float]:
    """The seconds of each round in which the function is called with the client and `n`."""
    return [timed(partial(call_in_task, client, function, n), expected) for _ in range(ROUNDS)]


def call_in_task(client: Client, function: Callable[[Client, int], int], n: int) -> int:
    return int(client.submit(function, client, n).result())


def tree(links: tuple[str, ...]) -> list[Figure]:
    """fibonacci(20), 21,891 tasks, each waiting for the two it has submitted"""
    figures = []
    for link in links:
        for n_workers in (2, 1):
            with ExitStack() as stack:
                client = open_client(stack, link, n_workers)
                client.submit(fibonacci, client, 5).result()
                rounds = rounds_of(client, fibonacci, N, RESULT)
            what = f"{link}, {n_workers} worker{'s' * (n_workers > 1)}"
            figures.append(of_rounds(what, rounds, "s", 0.4, at_most=True))
    return figures


def depth(links: tuple[str, ...]) -> list[Figure]:
    """a chain of 500 tasks, each waiting for the next, on one worker"""
    figures = []
    for link in links:
        with ExitStack() as stack:
            client = open_client(stack, link, 1)
            rounds = rounds_of(client, chain, DEPTH, DEPTH)
        figures.append(of_rounds(link, rounds, "s", 5.0, at_most=True))
    return figures


def width(links: tuple[str, ...]) -> list[Figure]:
    """a task that maps 10,000 children, against the same map in the client"""
    figures = []
    for link in links:
        with ExitStack() as stack:
            client = open_client(stack, link)
            ratios = []
            for _ in range(ROUNDS):
                outside_s = timed(partial(map_all, client, WIDTH), sum(range(WIDTH)))
                inside_s = timed(partial(call_in_task, client, map_all, WIDTH), sum(range(WIDTH)))
                ratios.append(outside_s / inside_s)
        figures.append(of_rounds(f"{link}: rate inside / outside", ratios, "x", 0.5))
    return figures


ROWS: Rows = {"tree": tree, "depth": depth, "width": width}

if __name__ == "__main__":
    main("nested", ROWS)
