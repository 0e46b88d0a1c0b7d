"""Whether GraphBLAS would arrange large graphs faster: `python -m perf.graphblas`, with `scaler[graphblas]` installed.

Beside each other, per node: what a graph costs today (reading; ordering, which finds cycles, how long the way below
each node is, and the order), and what finding cycles, levels and what is needed costs as operations on a sparse matrix.
Once for graphs of few levels, once for one in which each node needs the one before it.
"""

import random
import sys
import time
from collections.abc import Callable
from operator import add
from typing import Any

import numpy

from perf.shapes import ladder_graph
from scaler._native import PLAIN_ARGUMENTS, Call, GraphTable
from scaler.client.graph.read import Reader, Slots

SIZES = (10_000, 100_000, 1_000_000)


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    made = call()
    return time.perf_counter() - start, made


def with_matrices(n: int, pairs: Any, target: int) -> tuple[int, int]:
    """How many of n nodes the target needs, itself included, and how many levels there are. ValueError for a cycle.

    `pairs` are, int64 (edges, 2), the numbers of a node and of one that it needs.
    """
    from graphblas import Matrix, Vector, binary, monoid, semiring, unary

    rows, columns = pairs.T
    needs = Matrix.from_coo(rows, columns, True, nrows=n, ncols=n)
    needed_by = needs.T.new()
    needed = Vector.from_coo([target], True, size=n)
    front = needed.dup()
    while front.nvals:
        front = front.vxm(needs, semiring.any_pair[bool]).new(mask=~needed.S)
        needed(binary.lor) << front
    missing = numpy.zeros(n, numpy.int64)
    at, counts = needs.apply(unary.one[numpy.int64]).new().reduce_rowwise(monoid.plus).new().to_coo()
    missing[at] = counts
    ready, done, levels = numpy.nonzero(missing == 0)[0], 0, 0
    while len(ready):
        done, levels = done + len(ready), levels + 1
        front = Vector.from_coo(ready, numpy.ones(len(ready), numpy.int64), size=n)
        at, counts = front.vxm(needed_by, semiring.plus_pair[numpy.int64]).new().to_coo()
        missing[at] -= counts
        ready = at[missing[at] == 0]
    if done < n:
        raise ValueError("a cycle")
    return int(needed.nvals), levels


def wide_graph(n: int) -> dict[Any, Any]:
    """Two inputs each, of the 1,000 before."""
    chance = random.Random(n)
    graph: dict[Any, Any] = {"n0": (add, 0, 1)}
    for i in range(1, n):
        graph[f"n{i}"] = (max, *(f"n{max(0, i - chance.randrange(1, 1000))}" for _ in range(2)))
    return graph


def compare(what: str, graph: dict[Any, Any]) -> None:
    n = len(graph)
    reader = Reader(graph, False, Slots())
    table = GraphTable()
    reading, wanted = seconds(lambda: table.read(graph, reader.read, graph, reader.slots.first(PLAIN_ARGUMENTS)))
    ordering, order = seconds(lambda: table.order(wanted))
    pairs = [(k, one) for k in range(n) if type(table.node(k)) is Call for one in table.inputs_of(k)]
    matrix = numpy.array(pairs, dtype=numpy.int64).reshape(-1, 2)
    blas, (needed, levels) = seconds(lambda: with_matrices(n, matrix, wanted[-1]))
    if len(order) != n:
        raise AssertionError(f"{n} nodes are needed, not {len(order)}")
    us = [part / n * 1e6 for part in (reading, ordering, blas)]
    sys.stdout.write(
        f"{what}: {n:,} nodes, {levels:,} levels, {needed:,} below the last: reading {us[0]:.2f}, ordering {us[1]:.2f} "
        f"us a node; the visit by GraphBLAS {us[2]:.2f} us\n"
    )
    sys.stdout.flush()


def main() -> int:
    for n in SIZES:
        compare("few levels", wide_graph(n))
    compare("many levels", ladder_graph(SIZES[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
