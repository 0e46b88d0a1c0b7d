"""Dask graphs: what in them holds on one host only, and what becomes of that.

Without its own distributed scheduler Dask takes for granted that all tasks run on one host. Two things rest on that,
and would give wrong results on several hosts without a word:

* Shuffles (`shuffle`, `set_index`, `merge`, `groupby.apply` of dataframes; `groupby` of bags) go through files in a
  local temporary folder: rows that tasks of other hosts have written are not found. In an expression, which is how a
  dataframe comes here, such a shuffle is replaced by Dask's own shuffle by tasks. By the time that Dask calls
  `Client.get` the expression is lowered, so setting Dask's option is too late: but both kinds are made of the same
  operands, so the layer of the other kind is put in, under the old keys. A graph that is made already (of a bag, of
  delayed calls) is refused, with what to set.
* `dask.array.store` into an array of this process fills a copy of it in each worker. That is refused.

Rule 1: whatever Dask's classes look like in another version, a graph that uses local files is refused and not run.
Not here: what a node is (read).
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

_FILES = (
    "this graph hands rows from task to task in files of a local folder (partd), which a worker on another host does "
    'not see: rows would be lost. Shuffle by tasks: shuffle="tasks", or '
    'dask.config.set({"dataframe.shuffle.method": "tasks"}) before the graph is made'
)
_MEMORY = (
    "dask.array.store into {} would fill a copy of it in each worker, and change nothing here: store into what workers "
    "can write to where they run, as a file of zarr or HDF5 in a folder that all hosts share, or use compute()"
)


def materialize(graph: Any) -> Mapping[Any, Any]:
    """The mapping of a collection or an expression, in which shuffles through files are shuffles by tasks."""
    made: Mapping[Any, Any] = graph.__dask_graph__()
    shuffles = sys.modules.get("dask.dataframe.dask_expr._shuffle")
    expressions = sys.modules.get("dask._expr")
    if shuffles is None or expressions is None or not isinstance(graph, expressions.Expr):
        return made
    through_files = list(graph.find_operations(shuffles.DiskShuffle))
    if not through_files:
        return made
    changed = dict(made)
    for shuffle in through_files:
        by_tasks = shuffles.TaskShuffle(*shuffle.operands)
        changed.update(by_tasks._layer())
        alias = sys.modules["dask._task_spec"].Alias
        for old, new in zip(shuffle.__dask_keys__(), by_tasks.__dask_keys__(), strict=True):
            changed[old] = alias(old, new)
    return changed


def find_check(graph: Mapping[Any, Any]) -> Callable[[Any, tuple[Any, ...]], None] | None:
    """What raises a ValueError if a call of this function with these arguments makes sense on one host only.

    None if nothing in this process can have made such a call.
    """
    arrays, partd = sys.modules.get("dask.array.core"), sys.modules.get("partd")
    if arrays is None and partd is None:
        return None
    stores = getattr(arrays, "load_store_chunk", None)
    spec: Any = sys.modules.get("dask._task_spec")
    subgraph = getattr(spec, "_execute_subgraph", None)

    def check(function: Any, args: tuple[Any, ...]) -> None:
        if function is subgraph and len(args) > 2:
            inner: dict[Any, Any] = {**dict(zip(args[2], args[3:], strict=False)), **args[0]}
            for node in args[0].values():
                if isinstance(node, spec.Task):
                    check_one(node.func, node.args, inner)
        else:
            check_one(function, args, {})

    def check_one(function: Any, args: tuple[Any, ...], inner: dict[Any, Any]) -> None:
        if function is subgraph:
            check(function, args)
        elif function is stores and stores is not None and len(args) > 1:
            target = value_of(args[1], inner)
            if _is_memory(target):
                raise ValueError(_MEMORY.format(f"a {type(target).__module__}.{type(target).__qualname__}"))
        elif partd is not None and _uses_files(function):
            raise ValueError(_FILES)

    def value_of(value: Any, inner: dict[Any, Any]) -> Any:
        """What stands for this argument, as far as it is known here."""
        for _ in range(len(inner) + len(graph)):
            if isinstance(value, spec.DataNode):
                return value.value
            if isinstance(value, spec.TaskRef):
                key = value.key
            elif isinstance(value, spec.Alias):
                key = value.target
            else:
                try:
                    if value not in graph:
                        return value
                except (TypeError, ValueError):  # cannot be hashed, as an array or a memoryview
                    return value
                key = value
            value = inner.pop(key) if key in inner else graph.get(key)
        return value

    return check


def _uses_files(function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    module = getattr(function, "__module__", None) or ""
    return module.partition(".")[0] == "partd" or type(function).__name__ == "maybe_buffered_partd"


def _is_memory(target: Any) -> bool:
    """Whether it is memory of this process, of which a task gets a copy."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(target, numpy.ndarray):
        return True  # a memmap as well: it comes out of its pickle as a plain array
    if isinstance(target, list | dict | bytearray | memoryview):
        return True
    store = getattr(target, "store", None)  # of zarr
    return isinstance(store, dict) or type(store).__name__ in ("MemoryStore", "KVStore")
