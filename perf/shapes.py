"""Graphs by their shape, as dicts of calls; keyed by texts, so that no literal is taken for a key.

It imports no engine: all are given the same graphs.
"""

import random
from collections.abc import Callable
from operator import add
from typing import Any

Graph = dict[str, tuple[Any, ...]]


def tree_of(leaves: int, plus: Callable[[Any, Any], Any], leaf: Callable[[int], tuple[Any, ...]]) -> Graph:
    """A binary tree of calls of `plus`, "n0" its root: a node's inputs stand behind it, `leaf(i)` is a leaf."""
    n = 2 * leaves - 1
    return {f"n{i}": (plus, f"n{2 * i + 1}", f"n{2 * i + 2}") if i < leaves - 1 else leaf(i) for i in range(n)}


def random_graph(n: int) -> tuple[Graph, list[str]]:
    """Two inputs each, of the 1,000 before; and those that no other needs, which are to be computed."""
    chance = random.Random(n)
    graph: Graph = {"n0": (add, 0, 1)}
    used = set()
    for i in range(1, n):
        inputs = [f"n{chance.randrange(max(0, i - 1000), i)}" for _ in range(2)]
        used.update(inputs)
        graph[f"n{i}"] = (max, *inputs)
    return graph, [key for key in graph if key not in used]


def ladder_graph(n: int) -> Graph:
    """Two inputs each: the one before, and one of the 1,000 before."""
    chance = random.Random(n)
    graph: Graph = {"n0": (add, 0, 1), "n1": (add, 1, 1)}
    for i in range(2, n):
        graph[f"n{i}"] = (max, f"n{i - 1}", f"n{max(0, i - 1 - chance.randrange(1, 1000))}")
    return graph
