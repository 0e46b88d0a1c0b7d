"""The turns: what is done with an engine, timed and checked, in the engine's own process.

Each takes the engine and its sizes and returns seconds. The clock runs only while the engine works for its user: inputs
are made before, answers compared after.
"""

import itertools
from collections.abc import Callable

import numpy

from perf.peers.engines import ComputingEngine, Engine
from perf.rounds import p50_s, timed
from perf.shapes import tree_of
from perf.work import page_sum, plus

_values = itertools.count(1)  # every turn's array differs from the last one's, so that nobody knows it already


def submit(engine: Engine, n: int) -> float:
    return timed(lambda: engine.submit(n), list(range(n)))


def map(engine: Engine, n: int) -> float:
    calls = [(i,) for i in range(n)]
    return timed(lambda: engine.map(calls), list(range(n)))


def latency(engine: Engine, n: int) -> float:
    """The p50 of n calls."""
    return p50_s(engine.call, n)


def read(engine: Engine, n: int, n_bytes: int) -> float:
    array = numpy.full(n_bytes, next(_values) % 251, numpy.uint8)
    return timed(lambda: engine.read(array, n), [page_sum(array)] * n)


def fetch(engine: Engine, n: int, n_bytes: int) -> float:
    value = next(_values) % 251
    return timed(lambda: engine.fetch(n, n_bytes, value), [page_sum(numpy.full(n_bytes, value, numpy.uint8))] * n)


def tree(engine: Engine, leaves: int) -> float:
    """A binary tree of additions: each node's inputs stand behind it."""
    base = next(_values)
    graph = tree_of(leaves, plus, lambda i: (plus, base, i))
    return timed(lambda: engine.tree(graph), sum(base + i for i in range(leaves - 1, len(graph))))


def tensordot(engine: ComputingEngine, side: int, chunk: int) -> float:
    """The sum of a product of square matrices of `side` numbers, in chunks of `chunk`: (side / chunk) ** 3 products."""
    import dask.array  # which not every engine's environment has

    matrix = dask.array.full((side, side), float(next(_values) % 7 + 1), chunks=chunk)
    value = float(matrix[0, 0].compute(scheduler="sync"))
    return timed(lambda: float(engine.compute(dask.array.tensordot(matrix, matrix, axes=1).sum())), value**2 * side**3)


TURNS: dict[str, Callable[..., float]] = {
    turn.__name__: turn for turn in (submit, map, latency, read, fetch, tree, tensordot)
}
