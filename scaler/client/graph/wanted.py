"""Wanted: which keys of a graph are asked for, and in what shape their values are wanted.

A plain dict and a flat list of keys give a dict, one key of a dict gives its value. Anything else is Dask's, and gives
tuples in the shape of the lists.

Not here: whether there are such keys (read).
"""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

#: What `get` of Dask's own schedulers has, and Dask hands on from `compute`.
DASK_KEYWORDS = frozenset(
    [
        "actors",
        "allow_other_workers",
        "asynchronous",
        "cache",
        "callbacks",
        "chunksize",
        "dumps",
        "fifo_timeout",
        "func_dumps",
        "func_loads",
        "initializer",
        "loads",
        "num_workers",
        "optimize_graph",
        "pack_exception",
        "pool",
        "priority",
        "raise_exception",
        "raise_on_error",
        "rerun_exceptions_locally",
        "resources",
        "result",
        "restrictions",
        "retries",
        "scheduler",
        "submit",
        "sync",
        "traverse",
        "workers",
    ]
)
OWN_KEYWORDS = ("block", "dtype", "errors", "progress")


def check_keywords(keywords: dict[str, Any]) -> None:
    """TypeError for one that means nothing to anybody."""
    for name in keywords:
        if name not in DASK_KEYWORDS:
            near = difflib.get_close_matches(name, OWN_KEYWORDS, 1)
            raise TypeError(f"get() has no keyword {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


class Wanted:
    """`keys` are those that are asked for, in order. KeyError for one that a plain graph is asked for twice."""

    __slots__ = ("_asked", "_is_one", "_is_plain", "keys")

    def __init__(self, graph: Any, asked: Any) -> None:
        self._asked = asked
        self._is_plain = type(graph) is dict and not _has_lists(asked)
        self._is_one = self._is_plain and _is_one_key(asked, graph)
        self.keys: list[Any]
        if self._is_one:
            self.keys = [asked]
        elif self._is_plain:
            self.keys = list(asked)
            if len(set(self.keys)) < len(self.keys):
                twice = next(key for i, key in enumerate(self.keys) if key in self.keys[:i])
                raise KeyError(f"{twice!r} is asked for twice")
        else:
            self.keys = list(_flatten(asked)) if isinstance(asked, list) else [asked]

    def shape(self, values: list[Any]) -> Any:
        """These values of the keys, in the shape that was asked for."""
        if self._is_one:
            return values[0]
        if self._is_plain:
            return dict(zip(self.keys, values, strict=True))
        return _shape(self._asked, iter(values))


def _has_lists(keys: Any) -> bool:
    return isinstance(keys, list) and any(isinstance(key, list) for key in keys)


def _is_one_key(keys: Any, graph: dict[Any, Any]) -> bool:
    """Whether this is a key, there or not, and no collection of keys.

    A tuple may be both: it is a collection if it is no key of the graph and all that is in it are.
    """
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        return True
    try:
        if keys in graph:
            return not isinstance(keys, set | frozenset)
        return isinstance(keys, tuple) and not all(key in graph for key in keys)
    except TypeError:  # what cannot be hashed is no key
        return False


def _flatten(keys: Any) -> Iterator[Any]:
    for key in keys:
        if isinstance(key, list):
            yield from _flatten(key)
        else:
            yield key


def _shape(keys: Any, values: Iterator[Any]) -> Any:
    return tuple(_shape(key, values) for key in keys) if isinstance(keys, list) else next(values)
