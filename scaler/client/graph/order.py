"""Order: which nodes are needed, and in what order they are sent, so that few results are held at a time.

Depth first: a node comes as soon as all it needs has come, so what it needs can go. Of several inputs the one with the
longest way below it comes first (as registers are given out: Sethi and Ullman, 1970), since what the shorter ones need
would otherwise be held meanwhile. Workers take ready tasks in this order, and a task whose last input has just come
before all that has not begun (native/scheduler/edges.pyx), so a tree is worked off branch by branch.

The work is done on numbers, in native/client/graph_order.pyx.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from graphlib import CycleError

from scaler._native import PLAIN_ARGUMENTS, GraphTable
from scaler.client.graph.read import Key, Reader


class Order:
    """The needed nodes in a table, the numbers of the targets there, and those of what is to be sent, inputs first."""

    __slots__ = ("numbers", "table", "targets")

    def __init__(self, table: GraphTable, targets: list[int], numbers: Sequence[int]) -> None:
        self.table, self.targets, self.numbers = table, targets, numbers


def arrange(reader: Reader, targets: list[Key]) -> Order:
    """What these keys, already followed, need. KeyError for one that is not there, CycleError with a cycle."""
    return order_table(*read_table(reader, targets))


def read_table(reader: Reader, targets: list[Key]) -> tuple[GraphTable, list[int]]:
    """What these keys, already followed, need, and their numbers there. KeyError for one that is not there."""
    table = GraphTable()
    numbers = table.read(targets, reader.read, reader.plain, reader.slots.first(PLAIN_ARGUMENTS))
    assert numbers is not None
    return table, numbers


def read_small_table(reader: Reader, targets: list[Key], most: int) -> tuple[GraphTable, list[int]] | None:
    """The same; None if that is more than so many nodes."""
    table = GraphTable()
    numbers = table.read(targets, reader.read, reader.plain, reader.slots.first(PLAIN_ARGUMENTS), most)
    return None if numbers is None else (table, numbers)


def order_table(table: GraphTable, targets: list[int]) -> Order:
    """The order of what these nodes need. CycleError with a cycle."""
    numbers = table.order(targets)
    if isinstance(numbers, list):
        raise CycleError("nodes need each other in a cycle", numbers)
    return Order(table, targets, numbers)


@contextmanager
def collector_paused() -> Iterator[None]:
    """For what makes millions of objects of which none is garbage: looking through them costs a third more."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
