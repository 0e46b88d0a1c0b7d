"""Graphs: what a node costs, beside loose calls through the standard library's pool in the same rounds.

`python -m perf.graph tree` runs one row. What each number means stands in README.md.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from operator import add
from typing import Any

from perf.command import Rows, main
from perf.links import RINGS, WIRE, WORKERS, open_client
from perf.matrix import failing, matrix_layers, matrix_tree, slow_nodes
from perf.processes import descendants, object_bytes, peak_rss_bytes
from perf.report import Figure, of_rounds
from perf.rounds import alternate, ratios, timed
from perf.shapes import Graph, ladder_graph, random_graph, tree_of
from perf.work import filled
from scaler import Client, SchedulerClusterCombo

LEAVES = 16_384
NODES = 2 * LEAVES - 1
CHAIN = 10_000
FEW, MANY = 10_000, 1_000_000
MANY_ROUNDS = 3
BIG_LEAVES, BIG_LEAF_BYTES = {RINGS: 1_000, WIRE: 200}, 10_000_000
STORE_BYTES = 1_000_000_000


def inc(x: float) -> float:
    return x + 1


def tree(links: tuple[str, ...]) -> list[Figure]:
    """a binary tree of 32,767 additions, against as many loose calls of Pool.apply_async"""
    graph = tree_of(LEAVES, add, lambda i: (add, i, i))
    wanted = sum(2 * i for i in range(LEAVES - 1, NODES))

    def turn(client: Client) -> Callable[[], float]:
        return lambda: NODES / timed(lambda: client.get(graph, ["n0"])["n0"], wanted)

    with ExitStack() as stack, multiprocessing.get_context("fork").Pool(2) as pool:

        def loose() -> int:
            return sum(result.get() for result in [pool.apply_async(add, (1, 1)) for _ in range(NODES)])

        turns: dict[str, Callable[[], float]] = {link: turn(open_client(stack, link)) for link in links}
        turns["Pool.apply_async"] = lambda: NODES / timed(loose, 2 * NODES)
        rates = alternate(turns)
    figures = [of_rounds(name, values, "nodes/s") for name, values in rates.items()]
    for link in links:
        target = 4.0 if link == RINGS else None
        figures.append(of_rounds(f"{link} / Pool", ratios(rates[link], rates["Pool.apply_async"]), "x", target))
    return figures


def chain(links: tuple[str, ...]) -> list[Figure]:
    """a chain of 10,000 calls, each of which needs the one before"""
    graph: Graph = {"n0": (inc, 0)} | {f"n{i}": (inc, f"n{i - 1}") for i in range(1, CHAIN)}
    rates = rates_of(links, graph, f"n{CHAIN - 1}", CHAIN)
    return [of_rounds(link, values, "nodes/s", 100_000 if link == RINGS else None) for link, values in rates.items()]


def ladder(links: tuple[str, ...]) -> list[Figure]:
    """10,000 calls of which each needs the one before and an older one: no two can run at the same time"""
    rates = rates_of(links, ladder_graph(FEW), f"n{FEW - 1}", 2)
    return [of_rounds(link, values, "nodes/s") for link, values in rates.items()]


def rates_of(links: tuple[str, ...], graph: Graph, last: str, wanted: int) -> dict[str, list[float]]:
    """Nodes a second by link: the whole graph, for its last node."""

    def turn(client: Client) -> Callable[[], float]:
        return lambda: len(graph) / timed(lambda: client.get(graph, [last])[last], wanted)

    with ExitStack() as stack:
        return alternate({link: turn(open_client(stack, link)) for link in links})


def size(links: tuple[str, ...]) -> list[Figure]:
    """random graphs with two inputs each: the cost of each of 1,000,000 nodes against each of 10,000"""
    few, many = random_graph(FEW), random_graph(MANY)

    def turn(client: Client, graph: dict[Any, Any], wanted: list[Any], times: int) -> Callable[[], float]:
        return lambda: sum(timed(lambda: client.get(graph, wanted)) for _ in range(times)) / (len(graph) * times) * 1e6

    figures = []
    for link in links:
        with ExitStack() as stack:
            client = open_client(stack, link)
            turn(client, *few, 1)()
            before = memory_in_all()
            turns = {"few": turn(client, *few, 10), "many": turn(client, *many, 1)}
            costs = alternate(turns, MANY_ROUNDS)
            grown = (memory_in_all() - before) / MANY
        figures.append(of_rounds(f"{link}: each of 10,000", costs["few"], "us", at_most=True))
        figures.append(of_rounds(f"{link}: each of 1,000,000", costs["many"], "us", at_most=True))
        figures.append(of_rounds(f"{link}: ratio", ratios(costs["many"], costs["few"]), "x", 1.3, at_most=True))
        figures.append(Figure(f"{link}: growth of all processes, per node", grown, "KiB", target=1.5, at_most=True))
    return figures


def arrays(links: tuple[str, ...]) -> list[Figure]:
    """a tree of sums whose 1,000 leaves (over the wire 200) are arrays of 10 MB, in a store limited to 1 GB"""
    figures = []
    for link in links:
        leaves = BIG_LEAVES[link]
        graph = tree_of(leaves, add, lambda i: (filled, BIG_LEAF_BYTES, i % 2))
        ones = sum(i % 2 for i in range(leaves - 1, 2 * leaves - 1)) % 256
        peaks: list[int] = []
        with ExitStack() as stack:
            client = _open_limited(stack) if link == RINGS else open_client(stack, link)
            stack.enter_context(_watched_stores(peaks))
            root = partial(_largest_of_root, client, graph)
            seconds = [timed(root, ones) for _ in range(MANY_ROUNDS)]
        gigabytes = leaves * BIG_LEAF_BYTES / 1e9
        figures.append(of_rounds(f"{link}: leaves made and summed", [gigabytes / s for s in seconds], "GB/s"))
        target = STORE_BYTES / 1e6 if link == RINGS else None
        held = max(peaks) / 1e6
        figures.append(Figure(f"{link}: most that the stores held at a time", held, "MB", target=target, at_most=True))
    return figures


def _largest_of_root(client: Client, graph: Graph) -> int:
    return int(client.get(graph, ["n0"])["n0"].max())


def _open_limited(stack: ExitStack) -> Client:
    combo = stack.enter_context(SchedulerClusterCombo(WORKERS, object_memory_bytes=STORE_BYTES))
    return stack.enter_context(Client(combo.get_address()))


@contextmanager
def _watched_stores(peaks: list[int]) -> Iterator[None]:
    """Note what all stores of this host hold, every 20 ms."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peaks.append(object_bytes([os.getpid(), *descendants()]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def memory_in_all() -> float:
    """The most memory that each process ever had, this one and all below it, in KiB."""
    return sum(peak_rss_bytes(pid) for pid in [os.getpid(), *descendants()]) / 1024


ROWS: Rows = {
    "tree": tree,
    "chain": chain,
    "ladder": ladder,
    "size": size,
    "arrays": arrays,
    "matrix_tree": matrix_tree,
    "matrix_layers": matrix_layers,
    "slow_nodes": slow_nodes,
    "failing": failing,
}

if __name__ == "__main__":
    main("perf.graph", ROWS)
