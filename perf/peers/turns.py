"""The turns: what is done with an engine, timed and checked, in the engine's own process.

Each takes the engine and its sizes and returns seconds. The clock runs only while the engine works for its user: inputs
are made before, answers compared after.
"""

import itertools
from collections.abc import Callable

import numpy

from perf.peers.engines import Engine
from perf.rounds import p50_s, timed
from perf.work import page_sum

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


TURNS: dict[str, Callable[..., float]] = {
    "submit": submit,
    "map": map,
    "latency": latency,
    "read": read,
    "fetch": fetch,
}
