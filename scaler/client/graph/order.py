"""Order: which nodes are needed, and in what order they are sent, so that few results are held at a time.

Depth first: a node comes as soon as all it needs has come, so what it needs can go. Of several inputs the one with the
longest way below it comes first (as registers are given out: Sethi and Ullman, 1970), since what the shorter ones need
would otherwise be held meanwhile. Workers take ready tasks in this order, and a task whose last input has just come
before all that has not begun (native/core/edges.pyx), so a tree is worked off branch by branch.

Rule 1: no recursion: a graph may be a chain of a million nodes.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from graphlib import CycleError
from typing import Any

from scaler.client.graph.read import Call, Data, Key, Reader


class Order:
    """The needed nodes by key, and the keys of those that are calls, inputs first."""

    def __init__(self) -> None:
        self.nodes: dict[Key, Any] = {}
        self.keys: list[Key] = []
        self.uses: dict[Key, int] = {}  # how many others need it


def arrange(reader: Reader, targets: list[Key]) -> Order:
    """What these keys need. KeyError for one that is not there, CycleError with the cycle."""
    order = Order()
    heights: dict[Key, int] = {}
    with _collector_paused():
        is_uneven = _visit(reader, targets, order, heights)
        if is_uneven:
            _sort(targets, order, heights)
    return order


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Millions of objects are made here, and none of them is garbage: looking through them costs a third more."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _visit(reader: Reader, targets: list[Key], order: Order, heights: dict[Key, int]) -> bool:
    """Read all that is needed, depth first. Whether some node has inputs of different heights."""
    nodes, keys, uses = order.nodes, order.keys, order.uses
    is_uneven = False
    for target in targets:
        if target in nodes:
            continue
        stack: list[tuple[Key, Any, Any]] = []
        key: Key = target
        while True:
            node = nodes[key] = reader.read(key)
            if type(node) is Call and node.inputs:
                heights[key] = -1  # under way
                stack.append((key, node, iter(node.inputs)))
            else:
                heights[key] = 0
                if type(node) is not Data or stack:
                    keys.append(key)
            while stack:
                above, node, rest = stack[-1]
                for key in rest:
                    uses[key] = uses.get(key, 0) + 1
                    height = heights.get(key)
                    if height is None:
                        break
                    if height < 0:
                        raise CycleError("nodes need each other in a cycle", _cycle(stack, key))
                else:
                    stack.pop()
                    keys.append(above)
                    if len(node.inputs) == 1:
                        heights[above] = heights[node.inputs[0]] + 1
                        continue
                    below = [heights[one] for one in node.inputs]
                    heights[above] = max(below) + 1
                    is_uneven = is_uneven or min(below) != max(below)
                    continue
                break
            else:
                break
    return is_uneven


def _cycle(stack: list[tuple[Key, Any, Any]], key: Key) -> list[Key]:
    way = [one for one, _, _ in stack]
    return [*way[way.index(key) :], key]


def _sort(targets: list[Key], order: Order, heights: dict[Key, int]) -> None:
    """The same nodes, the longest way first."""
    nodes = order.nodes
    keys: list[Key] = []
    begun: set[Key] = set()
    wanted = set(order.keys)
    for target in targets:
        stack: list[tuple[Key, bool]] = [(target, False)]
        while stack:
            key, is_done = stack.pop()
            if is_done:
                keys.append(key)
            elif key not in begun and key in wanted:
                begun.add(key)
                stack.append((key, True))
                node = nodes[key]
                if type(node) is Call:
                    inputs = node.inputs
                    if len(inputs) > 1:
                        inputs = sorted(inputs, key=heights.__getitem__)  # what is pushed last comes first
                    stack += [(one, False) for one in inputs if one not in begun]
    order.keys = keys
