"""A graph inside a task: its calls are submitted level by level, each with the results of its inputs.

A task that waits for one of its calls must be able to run that call there and then (native/worker/nested.pyx), which is
not possible with a call that waits for inputs in the scheduler. So the inputs are waited for here, which runs them or
lets others do it; and by levels, since the calls of one level can run at the same time. Each result comes to this
process and goes to the calls that need it. It is dropped after the last of these.
"""

from collections.abc import Callable
from typing import Any

from scaler._native import InputSlot, TaskSender
from scaler.client.graph.order import arrange
from scaler.client.graph.read import Data, Key, Reader, Slots, as_mapping
from scaler.values.calls import replace_marks
from scaler.values.reference import same


def start_inside(sender: TaskSender, submit: Callable[..., Any], graph: Any, wanted: list[Key]) -> list[Any]:
    """The futures of these keys, in their order."""
    mapping, is_dask = as_mapping(graph)
    reader = Reader(mapping, is_dask, Slots())
    order = arrange(reader, [reader.follow(key) for key in wanted])
    table = order.table
    futures: dict[int, Any] = {}
    uses = [table.uses_of(number) for number in range(len(table))]
    for number in order.targets:
        uses[number] += 1
    for number in sorted(order.numbers, key=table.height_of):
        node = table.node(number)
        if type(node) is Data:
            futures[number] = submit(same, node.value)
            continue
        inputs = table.inputs_of(number)
        given = [futures[one] for one in inputs]
        futures[number] = submit(node.function, *(replace_marks(arg, InputSlot, given) for arg in node.args))
        for one in inputs:
            uses[one] -= 1
            if uses[one] == 0:
                del futures[one]
    return [futures[one] if one in futures else sender.done_with(table.node(one).value) for one in order.targets]
