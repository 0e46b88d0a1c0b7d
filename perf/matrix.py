"""Matrix graphs: what a node costs where there are millions, and what becomes of slow and failing ones.

Rows of `python -m perf.graph`. What each number means stands in README.md.
"""

import os
import random
import signal
import threading
import time
from contextlib import ExitStack
from functools import partial
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from perf.links import WORKERS, open_client, open_cluster
from perf.processes import descendants, peak_rss_bytes, rss_bytes
from perf.report import Figure, of_rounds
from perf.rounds import alternate, timed
from scaler import Client, MatrixGraph

LEAVES = 5_000_000
LAYERS, WIDTH = 20, 500_000
ROUNDS = 3
SLOW_NODES, SLOW_S = 10_000, 0.005
FAILING_NODES, RETRIES = 200_000, 2
KILL_EVERY_S = 2.0
Numbers = NDArray[Any]


def tree_inputs(leaves: int) -> Numbers:
    """A binary tree, node 0 its root, of int32."""
    inputs = 2 * np.arange(2 * leaves - 1, dtype=np.int32)[:, None] + np.array([1, 2], np.int32)
    inputs[leaves - 1 :] = -1
    return inputs


def layer_inputs(layers: int, width: int) -> Numbers:
    """Each node needs two of the layer before, whichever."""
    chance = np.random.default_rng(layers)
    inputs = np.full((layers * width, 2), -1, np.int32)
    for layer in range(1, layers):
        inputs[layer * width : (layer + 1) * width] = chance.integers(
            (layer - 1) * width, layer * width, (width, 2), dtype=np.int32
        )
    return inputs


def matrix_tree(links: tuple[str, ...]) -> list[Figure]:
    """a binary tree of 9,999,999 additions as a matrix: checked, run and its root read"""
    inputs = tree_inputs(LEAVES)
    return _costs(links, inputs, add, slice(0, 1), float(LEAVES))


def matrix_layers(links: tuple[str, ...]) -> list[Figure]:
    """20 layers of 500,000 calls, each of two of the layer before, as a matrix: checked, run, the last layer read"""
    inputs = layer_inputs(LAYERS, WIDTH)
    return _costs(links, inputs, max, slice((LAYERS - 1) * WIDTH, None), 1.0)


def _costs(links: tuple[str, ...], inputs: Numbers, inner: Any, keys: slice, expected: float) -> list[Figure]:
    n = len(inputs)
    which = (inputs[:, 0] < 0).astype(np.uint8)
    ones = np.ones(int(which.sum()))

    def job(client: Client) -> float:
        graph = MatrixGraph(inputs, [inner, abs], which, {1: (ones,)})
        return float(client.get(graph, keys, dtype=float)[-1])

    figures = []
    for link in links:
        with ExitStack() as stack:
            client = open_client(stack, link)
            pids = [os.getpid(), *descendants()]
            before = list(map(rss_bytes, pids))
            for pid in pids:
                Path(f"/proc/{pid}/clear_refs").write_text("5")  # their peaks are what they have now
            seconds = alternate({link: partial(timed, partial(job, client), expected)}, ROUNDS)[link]
            growth = [peak_rss_bytes(pid) - had for pid, had in zip(pids, before, strict=True)]
        us = [each / n * 1e6 for each in seconds]
        figures.append(of_rounds(f"{link}: each of {n:,} nodes", us, "us", 1.0, at_most=True))
        mine, ours = growth[0] / n, sum(growth) / n
        figures.append(Figure(f"{link}: growth of the client, per node", mine, "B", target=40, at_most=True))
        figures.append(Figure(f"{link}: growth of all processes, per node", ours, "B", target=150, at_most=True))
    return figures


def sleep_for(seconds: float, *_: Any) -> float:
    """How long it took: on a machine that has more to do a sleep is longer."""
    start = time.perf_counter()
    time.sleep(seconds)
    return time.perf_counter() - start


def slow_nodes(links: tuple[str, ...]) -> list[Figure]:
    """10,000 calls of 5 ms, each of which needs two of the 1,000 before: against a perfect schedule on two workers"""
    chance = np.random.default_rng(1)
    inputs = np.full((SLOW_NODES, 2), -1)
    for node in range(1, SLOW_NODES):
        inputs[node] = chance.integers(max(0, node - 1000), node, 2)
    graph = MatrixGraph(inputs, partial(sleep_for, SLOW_S))
    figures = []
    for link in links:
        with ExitStack() as stack:
            client = open_client(stack, link)
            start = time.perf_counter()
            took = client.get(graph, slice(None), dtype=float)
            wall = time.perf_counter() - start
        if (took < SLOW_S).any():
            raise AssertionError("a wrong answer came back")
        figures.append(of_rounds(f"{link} / perfect", [took.sum() / WORKERS / wall], "x", 0.95))
    return figures


def fail_at_times(number: int, *_: int) -> int:
    if number % 100 == 0:
        raise ValueError(number)
    time.sleep(0.00005)
    return number


def failing(links: tuple[str, ...]) -> list[Figure]:
    """200,000 calls of which one in a hundred fails, while workers are killed: all answers compared"""
    graph = MatrixGraph(np.empty((FAILING_NODES, 0), int), fail_at_times, arguments={0: (np.arange(FAILING_NODES),)})
    expected = np.arange(FAILING_NODES)
    expected[::100] = 0
    figures = []
    for link in links:
        with open_cluster(link) as cluster, Client(cluster.get_address(), timeout_seconds=20) as client:
            is_over = threading.Event()
            killed = threading.Thread(target=_kill_workers, args=(is_over,))
            killed.start()
            start = time.perf_counter()
            try:
                values, errors = client.get(graph, slice(None), dtype=int, errors="collect")
            finally:
                is_over.set()
                killed.join()
            seconds = time.perf_counter() - start
        failed = [node for node, error in errors.items() if type(error) is ValueError]
        if failed != list(range(0, FAILING_NODES, 100)) or (values != expected).any() or len(errors) != len(failed):
            raise AssertionError("a wrong answer came back")
        figures.append(Figure(f"{link}: all answers right, after", seconds, "s"))
    return figures


def _kill_workers(is_over: threading.Event) -> None:
    chance = random.Random(1)
    while not is_over.wait(KILL_EVERY_S):
        workers = [pid for pid in descendants() if "scaler.worker" in " ".join(_command(pid))]
        if workers:
            os.kill(chance.choice(workers), signal.SIGKILL)


def _command(pid: int) -> list[str]:
    try:
        return list(psutil.Process(pid).cmdline())
    except psutil.Error:
        return []
