"""Running: a graph is run in pieces if it is one for that (dict_run), or sent as tasks that name each other.

Tasks are sent in the order in which they are to run.

Only the targets, the nodes that were asked for, have futures here. All other results stay with the scheduler, exactly
until the last node that needs them has them. To cancel the targets cancels what only they needed.

A chain of nodes, of which each is needed by the next one only, goes as one task (values.calls.Steps): so it costs no
way to the scheduler and back per node. A chain has at most MOST_STEPS, since what was done of it is lost with its
worker.

Not here: what a node is (read), their order (order), records (native/client/graph_sender.pyx), which graphs are for
pieces (dict_run).
"""

import operator
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

from scaler._native import MOST_INPUTS, Call, GraphSender, GraphTable, InputSlot, TaskSender
from scaler.client.graph.dict_run import DictRun, start_followed, start_scanned
from scaler.client.graph.order import Order, collector_paused, order_table, read_small_table, read_table
from scaler.client.graph.read import Data, Key, Reader, Slots, as_mapping
from scaler.client.options import CallOptions
from scaler.client.parcel import InputEnded, Parcel
from scaler.values.calls import Steps, fail_with, gather, replace_marks
from scaler.values.reference import load_input, same

MOST_STEPS = 256
LEAST_SCANNED = 4096  # nodes in a graph that may be gone through as a whole
SCANNED_PART = 8  # which is done once so much of it is known to be needed: one in so many nodes


class GraphRun:
    """Sends one graph.

    `number_of` and `dumps` are the client's. `load` gives an input's value in a worker. `wrap` makes the call that is
    sent instead of a node's. `again` makes of a node's function what is called in its place, also as a step of a chain.
    """

    def __init__(
        self,
        sender: TaskSender,
        number_of: Callable[[Any], int],
        dumps: Callable[..., Any],
        options: Any = None,
        load: Callable[[int], Any] = load_input,
        wrap: Callable[[Any, tuple[Any, ...]], tuple[Any, tuple[Any, ...]]] | None = None,
        again: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None,
    ) -> None:
        self._sender, self._number_of, self._dumps, self._options = sender, number_of, dumps, options
        self._nodes: GraphSender  # once something is sent
        self._slots, self._wrap, self._again = Slots(load), wrap, again
        self._made: dict[int, tuple[Any, Any]] = {}  # by function: it, and what is called instead
        self._fused: dict[Any, Steps] = {}  # by what they are made of: chains alike are one function
        self._inner: list[int] = []
        self._futures: dict[int, Any] = {}  # by number

    def start(self, graph: Any, wanted: list[Key]) -> list[Any]:
        """The futures of these keys, in their order."""
        mapping, is_dask = as_mapping(graph)
        reader = Reader(mapping, is_dask, self._slots)
        keys = [reader.follow(key) for key in wanted]
        with collector_paused():
            return self._start(*read_table(reader, keys))

    def run(self, graph: Any, wanted: list[Key], begin: Callable[[], Parcel], options: CallOptions) -> list[Any]:
        """The values of these keys, in their order. `begin` is the client's; the calls are made with these options."""
        mapping, is_dask = as_mapping(graph)
        reader = Reader(mapping, is_dask, self._slots)
        keys = [reader.follow(key) for key in wanted]
        with collector_paused():
            in_pieces, read = _start_in_pieces(reader, keys, options)
            futures = [] if read is None else self._start(*read)
        if in_pieces is not None:
            if in_pieces.run(self._sender, self._number_of, begin, options):
                return in_pieces.values()
            return in_pieces.hand_over(self._start)
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def _start(self, table: GraphTable, targets: list[int]) -> list[Any]:
        order = order_table(table, targets)
        self._nodes = self._sender.begin_graph(self._options)
        try:
            self._send_all(order)
        except BaseException:
            self.give_up()
            raise
        finally:
            self._nodes.end()
        return [self._future_of(number, order) for number in order.targets]

    def give_up(self) -> None:
        """Cancel all that has been sent."""
        for future in self._futures.values():
            future.cancel()
        for task in reversed(self._inner):
            self._nodes.give_up_node(task)

    def _future_of(self, number: int, order: Order) -> Any:
        future = self._futures.get(number)
        if future is None:
            future = self._futures[number] = self._sender.done_with(order.table.node(number).value)
        return future

    def _send_all(self, order: Order) -> None:
        table = order.table
        table.note_followed()
        ids = [0] * len(table)  # of the tasks, by the number of the last node in each
        open_chains: dict[int, list[int]] = {}  # by the last node so far
        for number in order.numbers:
            chain = [number]
            if open_chains:
                inputs = table.inputs_of(number)
                before = open_chains.pop(inputs[0], None) if inputs else None
                if before is not None:
                    before.append(number)
                    chain = before
            if table.is_followed(number) and len(chain) < MOST_STEPS:
                open_chains[number] = chain
                continue
            node = table.node(number)
            if len(chain) > 1:
                function, args = self._fuse([table.node(one) for one in chain])
            elif type(node) is Data:
                function, args = same, (node.value,)
            else:
                function, args = self._called(node.function), node.args
            is_inner = not table.is_target(number)
            task = self._send(function, args, table.pick_inputs(chain[0], ids), table.uses_of(number), is_inner)
            if is_inner:
                ids[number] = task
            else:
                self._futures[number] = task
                ids[number] = task.task_id

    def _send(self, function: Any, args: tuple[Any, ...], inputs: list[int], promised: int, is_inner: bool) -> Any:
        """The task's future, or its id if it is inner."""
        if len(inputs) > MOST_INPUTS:
            args, inputs = self._gather(args, inputs)
        if self._wrap is not None:
            function, args = self._wrap(function, args)
        submit, number = self._nodes.submit_node, self._number_of(function)
        try:
            task = submit(number, args, inputs, promised, is_inner, self._dumps)
        except InputEnded as ended:
            error = ended.error or CancelledError("a node names a future that was cancelled")
            error.__traceback__ = None  # else it would keep what this very call has on its stack
            args = (error, [self._slots[k] for k in range(len(inputs))])
            task = submit(self._number_of(fail_with), args, inputs, promised, is_inner, self._dumps)
        if is_inner:
            self._inner.append(task)
        return task

    def _called(self, function: Any) -> Any:
        """What is called for a node of this function: the same for all of them."""
        if self._again is None:
            return function
        made = self._made.get(id(function))
        if made is None:
            made = self._made[id(function)] = function, self._again(function)
        return made[1]

    def _fuse(self, chain: list[Call]) -> tuple[Any, tuple[Any, ...]]:
        """One call in place of these, of which each takes the result of the one before it."""
        args: list[Any] = list(chain[0].args)
        steps: list[tuple[Any, tuple[int, ...]]] = [(self._called(chain[0].function), (-1,) * len(args))]
        for number, node in enumerate(chain[1:]):
            codes = []
            for arg in node.args:
                if type(arg) is InputSlot:
                    codes.append(number)
                else:
                    codes.append(-1)
                    args.append(arg)
            steps.append((self._called(node.function), tuple(codes)))
        shape = tuple((id(function), codes) for function, codes in steps)
        fused = self._fused.get(shape)
        if fused is None:
            fused = self._fused[shape] = Steps(tuple(steps))
        return fused, tuple(args)

    def _gather(self, args: tuple[Any, ...], inputs: list[int]) -> tuple[tuple[Any, ...], list[int]]:
        """The same with fewer inputs, each of which is many."""
        groups = [inputs[at : at + MOST_INPUTS] for at in range(0, len(inputs), MOST_INPUTS)]
        values = tuple(self._slots[k] for k in range(MOST_INPUTS))
        ids = [self._send(gather, values[: len(group)], group, 1, True) for group in groups]
        picks = [_Pick(self._slots[k // MOST_INPUTS], k % MOST_INPUTS) for k in range(len(inputs))]
        made = tuple(replace_marks(arg, InputSlot, picks) for arg in args)
        return self._gather(made, ids) if len(ids) > MOST_INPUTS else (made, ids)


def _start_in_pieces(
    reader: Reader, keys: list[Key], options: CallOptions
) -> tuple[DictRun | None, tuple[GraphTable, list[int]] | None]:
    """The run in pieces of what these keys need; or, where that is none for pieces, the table that it was read to."""
    graph = reader.plain
    if graph is None:
        return None, read_table(reader, keys)
    most = len(graph) // SCANNED_PART if len(graph) >= LEAST_SCANNED and options.retries else 0
    read = read_small_table(reader, keys, most)
    if read is None:
        scanned = start_scanned(graph, reader, keys, options)
        if scanned is not None:
            return scanned, None
        read = read_table(reader, keys)
    followed = start_followed(*read, options)
    return (followed, None) if followed is not None else (None, read)


class _Pick:
    """Stands for one of the values that an input has gathered."""

    __slots__ = ("number", "slot")

    def __init__(self, slot: InputSlot, number: int) -> None:
        self.slot, self.number = slot, number

    def __reduce__(self) -> Any:
        return operator.getitem, (self.slot, self.number)
