"""A graph inside a task: its calls are submitted level by level, each with the results of its inputs.

A task's calls must be such that whoever waits for one can run it there and then (native/process/nested.pyx), and a call
that waits for inputs in the scheduler is not. So the inputs are waited for here, which runs them or lets others do it,
and levels, since what is in one level can run at the same time. Each result comes to this process and goes to who needs
it; it is dropped after the last.
"""

from collections.abc import Callable
from typing import Any

from scaler._native import ClientRings
from scaler.client.graph.order import Order, arrange
from scaler.client.graph.read import Call, Data, Key, Reader, Slots, as_mapping
from scaler.client.graph.run import replace_slots
from scaler.reference import same


def start_inside(rings: ClientRings, submit: Callable[..., Any], graph: Any, wanted: list[Key]) -> list[Any]:
    """The futures of these keys, in their order."""
    mapping, is_dask = as_mapping(graph)
    reader = Reader(mapping, is_dask, Slots())
    keys = [reader.follow(key) for key in wanted]
    order = arrange(reader, list(dict.fromkeys(keys)))
    futures: dict[Key, Any] = {}
    uses = dict(order.uses)
    for key in keys:
        uses[key] = uses.get(key, 0) + 1
    for key in _by_level(order):
        node = order.nodes[key]
        if type(node) is Data:
            futures[key] = submit(same, node.value)
            continue
        inputs = [futures[one] for one in node.inputs]
        futures[key] = submit(node.function, *(replace_slots(arg, inputs) for arg in node.args))
        for one in node.inputs:
            uses[one] -= 1
            if uses[one] == 0:
                del futures[one]
    return [futures[key] if key in futures else rings.ended(None, order.nodes[key].value, True) for key in keys]


def _by_level(order: Order) -> list[Key]:
    """The keys, those first that need nothing, then those that need only such, and so on."""
    levels: dict[Key, int] = {}
    for key in order.keys:
        node = order.nodes[key]
        levels[key] = 1 + max((levels[one] for one in node.inputs), default=0) if type(node) is Call else 0
    return sorted(order.keys, key=levels.__getitem__)
