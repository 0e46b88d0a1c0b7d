"""Reading: what a node of a graph calls, and which others it needs.

A graph is a dict. In the plain form a tuple whose first item is callable is a call, its other items are keys, literals,
or lists, tuples and dicts of these, or calls again; everything else is data. In Dask's form (an expression, a
HighLevelGraph, anything that is no plain dict, or that has nodes of dask._task_spec) a value may also be a node of
dask._task_spec, or the key of another node, or a list with keys in it.

Rule 1: only what is needed is read.
Rule 2: a text that is no key of a plain graph is an error, since it is far more often a key that is misspelt; in Dask's
        form, where literals are common, it is a literal.
Not here: order and cycles (order), what of a Dask graph would not do on several hosts (dask_graph).
"""

import operator
import sys
from collections.abc import Callable, Mapping
from graphlib import CycleError
from typing import Any

from scaler._native import Call, InputSlot
from scaler.client.graph.dask_graph import find_check, materialize
from scaler.values.calls import (
    Inner,
    call_nested,
    call_node,
    call_with_keywords,
    evaluate,
    gather,
    make_dict,
    make_list,
)
from scaler.values.reference import load_input

Key = Any


class Slots:
    """What stands for input k among a node's arguments; the same object each time.

    `load(k)` gives its value in the worker.
    """

    def __init__(self, load: Callable[[int], Any] = load_input) -> None:
        self._load = load
        self._made: list[InputSlot] = []

    def __getitem__(self, number: int) -> InputSlot:
        while len(self._made) <= number:
            self._made.append(InputSlot(len(self._made), self._load))
        return self._made[number]

    def first(self, count: int) -> list[InputSlot]:
        """Those of inputs 0 to count - 1."""
        return [self[number] for number in range(count)]


class Data:
    """A node that is there already."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Alias:
    """A node that is another one."""

    __slots__ = ("key",)

    def __init__(self, key: Key) -> None:
        self.key = key


def as_mapping(graph: Any) -> tuple[Mapping[Key, Any], bool]:
    """The graph as a mapping, and whether it is in Dask's form. TypeError if it is no graph."""
    if type(graph) is dict:
        return graph, False
    if hasattr(graph, "__dask_graph__"):
        graph = materialize(graph)
    if isinstance(graph, Mapping):
        return graph, True
    raise TypeError(f"a graph is a dict of its nodes, not {type(graph).__name__}")


class Reader:
    """Reads the nodes of one graph."""

    def __init__(self, graph: Mapping[Key, Any], is_dask: bool, slots: Slots) -> None:
        self._graph, self._is_dask, self.slots = graph, is_dask, slots
        spec = sys.modules.get("dask._task_spec")  # not loaded: then there are no nodes of its
        self._spec: Any = spec
        self._node_class: Any = spec.GraphNode if spec is not None else ()
        self._check = find_check(graph)

    @property
    def plain(self) -> dict[Key, Any] | None:
        """The graph if its plainest calls may be read without this reader, else None."""
        return self._graph if type(self._graph) is dict and not self._is_dask else None

    def is_node(self, value: Any) -> bool:
        """Whether a value is no call, and is run all the same: a node of dask._task_spec."""
        return isinstance(value, self._node_class)

    def read(self, key: Key) -> "Call | Data | Alias":
        """The node of this key, which is one of the graph's."""
        value = self._graph[key]
        kind = type(value)
        if kind is tuple and value and callable(value[0]):
            return self._call(key, value)
        if isinstance(value, self._node_class):
            return self._spec_node(value)
        if self._is_dask:
            if kind is list or kind is dict or kind is tuple:
                inputs: dict[Key, int] = {}
                made = self._argument(key, value, inputs, False)
                if inputs or type(made) is Inner:
                    return Call(evaluate, (made,), list(inputs), False)
            elif self._is_key(value) and value != key:
                return Alias(value)
        return Data(value)

    def follow(self, key: Key, by: Key = None) -> Key:
        """The node that this one stands for; itself, mostly. KeyError if there is none; `by` needs it."""
        way = [key]
        while True:
            try:
                value = self._graph[key]
            except KeyError:
                asked = "a key that was asked for" if by is None and len(way) == 1 else f"node {(by, *way)[-2]!r} needs"
                raise KeyError(f"{asked}: {key!r}, which is not in the graph") from None
            node = self.read(key) if isinstance(value, self._node_class) or self._is_dask else None
            if type(node) is not Alias:
                return key
            key = node.key
            if key in way:
                raise CycleError("nodes stand for each other in a cycle", [*way, key])
            way.append(key)

    def _input(self, by: Key, key: Key, inputs: dict[Key, int]) -> Any:
        """What stands for this key among the arguments of a node."""
        value = self._graph.get(key)
        if type(value) is tuple and value and callable(value[0]):  # a call, as most are
            return self.slots[inputs.setdefault(key, len(inputs))]
        if self._is_dask or isinstance(value, self._node_class):
            key = self.follow(key, by)
            value = self._graph[key]
            if isinstance(value, self._node_class):
                if isinstance(value, self._spec.DataNode):
                    return value.value
            elif not isinstance(value, tuple | list | dict):
                return value
        else:
            return self._graph[key]
        return self.slots[inputs.setdefault(key, len(inputs))]

    def _is_key(self, value: Any) -> bool:
        try:
            return value in self._graph
        except (TypeError, ValueError):  # cannot be hashed; ValueError is a memoryview's
            return False

    def _call(self, key: Key, task: tuple[Any, ...]) -> Call:
        if self._check is not None:
            self._check(task[0], task[1:])
        graph = self._graph
        inputs: dict[Key, int] = {}
        args: list[Any] = []
        is_flat, is_nested = True, False
        for value in task[1:]:
            kind = type(value)
            if isinstance(value, self._node_class):  # whose hash is dear
                args.append(self._spec_argument(key, value, inputs))
                is_flat, is_nested = False, True
                continue
            try:
                is_key = value in graph
            except (TypeError, ValueError):  # cannot be hashed; ValueError is a memoryview's
                is_key = False
            if is_key:
                args.append(self._input(key, value, inputs))
            elif kind is list or kind is tuple or kind is dict:
                before = len(inputs)
                args.append(self._argument(key, value, inputs, False))
                is_flat = is_flat and len(inputs) == before and args[-1] is value
                is_nested = is_nested or type(args[-1]) is Inner
            else:
                self._check_literal(key, value)
                args.append(value)
        if is_nested:
            return Call(call_nested, (task[0], args), list(inputs), False)
        return Call(task[0], tuple(args), list(inputs), is_flat)

    def _check_literal(self, key: Key, value: Any) -> None:
        if type(value) is str and not self._is_dask:
            raise KeyError(
                f"node {key!r} needs {value!r}, which is not in the graph (a text of its own is a node: "
                f"{{{value!r}: {value!r}}})"
            )

    def _argument(self, key: Key, value: Any, inputs: dict[Key, int], is_inner: bool) -> Any:
        """A value inside of arguments. What has no keys and no calls in it comes out as the same object."""
        kind = type(value)
        if isinstance(value, self._node_class):
            return self._spec_argument(key, value, inputs)
        if self._is_key(value):
            return self._input(key, value, inputs)
        if kind is tuple and value and callable(value[0]):
            return Inner(value[0], [self._argument(key, item, inputs, True) for item in value[1:]])
        if kind is list or kind is tuple:
            items = [self._argument(key, item, inputs, is_inner) for item in value]
            if any(type(item) is Inner for item in items):
                return Inner(make_list if kind is list else gather, items)
            return value if all(map(operator.is_, items, value)) else kind(items)
        if kind is dict:
            items = [self._argument(key, item, inputs, is_inner) for item in value.values()]
            if any(type(item) is Inner for item in items):
                return Inner(make_dict, [list(value), *items])
            return value if all(map(operator.is_, items, value.values())) else dict(zip(value, items, strict=True))
        return value

    # nodes of dask._task_spec

    def _spec_node(self, node: Any) -> "Call | Data | Alias":
        spec = self._spec
        if isinstance(node, spec.Alias):
            return Alias(node.target)
        if isinstance(node, spec.DataNode):
            return Data(node.value)
        if self._check is not None and isinstance(node, spec.Task):
            self._check(node.func, node.args)
        if type(node) is spec.Task:
            inputs: dict[Key, int] = {}
            args, keywords = [], {}
            for value in node.args:
                if isinstance(value, self._node_class) and not isinstance(value, spec.DataNode):
                    break
                args.append(self._spec_leaf(node.key, value, inputs))
            else:
                for name, value in node.kwargs.items():
                    if isinstance(value, self._node_class) and not isinstance(value, spec.DataNode):
                        break
                    keywords[name] = self._spec_leaf(node.key, value, inputs)
                else:
                    if not keywords:
                        return Call(node.func, tuple(args), list(inputs), True)
                    return Call(call_with_keywords, (node.func, tuple(args), keywords), list(inputs), False)
        keys = list(node.dependencies)
        inputs = {}
        values = [self._input(node.key, key, inputs) for key in keys]
        return Call(call_node, (node, keys, values), list(inputs), False)

    def _spec_leaf(self, by: Key, value: Any, inputs: dict[Key, int]) -> Any:
        if isinstance(value, self._spec.TaskRef):
            return self._input(by, value.key, inputs)
        if isinstance(value, self._spec.DataNode):
            return value.value
        return value

    def _spec_argument(self, by: Key, node: Any, inputs: dict[Key, int]) -> Any:
        if isinstance(node, self._spec.TaskRef | self._spec.Alias):
            return self._input(by, node.key if isinstance(node, self._spec.TaskRef) else node.target, inputs)
        keys = list(node.dependencies)
        return Inner(call_node, [node, keys, [self._input(by, key, inputs) for key in keys]])
