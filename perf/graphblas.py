"""Whether GraphBLAS would arrange large graphs faster: `python -m perf.graphblas`, with `scaler[graphblas]` installed.

Beside each other, per node: what a graph costs today (reading; visiting, which finds cycles, what is needed and how
long the way below each node is; ordering), and what the visit alone costs as operations on a sparse matrix. Once for
graphs of few levels, once for one in which each node needs the one before it.
"""

import random
import sys
import time
from collections.abc import Callable
from operator import add
from typing import Any

import numpy

from perf.graph import random_graph
from scaler.client.graph.order import Order, _sort, _visit
from scaler.client.graph.read import Reader, Slots

SIZES = (10_000, 100_000, 1_000_000)


class Known:
    """A reader of nodes that were read before."""

    def __init__(self, nodes: dict[Any, Any]) -> None:
        self.read = nodes.__getitem__


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    made = call()
    return time.perf_counter() - start, made


def with_matrices(nodes: dict[Any, Any], target: Any) -> tuple[int, int]:
    """How many nodes the target needs, itself included, and how many levels there are. ValueError for a cycle."""
    from graphblas import Matrix, Vector, binary, monoid, semiring, unary

    number = {key: k for k, key in enumerate(nodes)}
    pairs = [(number[key], number[one]) for key, node in nodes.items() for one in getattr(node, "inputs", ())]
    rows, columns = numpy.array(pairs, dtype=numpy.int64).reshape(-1, 2).T
    needs = Matrix.from_coo(rows, columns, True, nrows=len(nodes), ncols=len(nodes))
    needed_by = needs.T.new()
    needed = Vector.from_coo([number[target]], True, size=len(nodes))
    front = needed.dup()
    while front.nvals:
        front = front.vxm(needs, semiring.any_pair[bool]).new(mask=~needed.S)
        needed(binary.lor) << front
    missing = numpy.zeros(len(nodes), numpy.int64)
    at, counts = needs.apply(unary.one[numpy.int64]).new().reduce_rowwise(monoid.plus).new().to_coo()
    missing[at] = counts
    ready, done, levels = numpy.nonzero(missing == 0)[0], 0, 0
    while len(ready):
        done, levels = done + len(ready), levels + 1
        front = Vector.from_coo(ready, numpy.ones(len(ready), numpy.int64), size=len(nodes))
        at, counts = front.vxm(needed_by, semiring.plus_pair[numpy.int64]).new().to_coo()
        missing[at] -= counts
        ready = at[missing[at] == 0]
    if done < len(nodes):
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
    target = f"n{n - 1}"
    reader = Reader(graph, False, Slots())
    reading, nodes = seconds(lambda: {key: reader.read(key) for key in graph})
    order: Order = Order()
    heights: dict[Any, int] = {}
    visit, _ = seconds(lambda: _visit(Known(nodes), [target], order, heights))
    sort, _ = seconds(lambda: _sort([target], order, heights))
    blas, (needed, levels) = seconds(lambda: with_matrices(nodes, target))
    if needed != len(order.keys):
        raise AssertionError(f"{needed} nodes are needed, or {len(order.keys)}")
    us = [part / n * 1e6 for part in (reading, visit, sort, blas)]
    sys.stdout.write(
        f"{what}: {n:,} nodes, {levels:,} levels, {needed:,} needed: reading {us[0]:.2f}, visit {us[1]:.2f}, "
        f"order {us[2]:.2f} us a node; the visit by GraphBLAS {us[3]:.2f} us\n"
    )
    sys.stdout.flush()


def main() -> int:
    for n in SIZES:
        compare("few levels", wide_graph(n))
    compare("many levels", random_graph(SIZES[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
