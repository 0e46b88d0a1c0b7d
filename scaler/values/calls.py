"""What workers run for nodes of graphs that are no plain call. Workers find these by their names.

Not here: how a graph gets to them (scaler.client.graph).
"""

from collections.abc import Callable, Sequence
from typing import Any


class Steps:
    """Calls one after the other, each of which may need results of those before it; gives the last one's.

    `steps` are (function, codes): code -1 takes the next argument, another one is the number of an earlier step. Each
    result is needed once, and is let go of as soon as it has been.
    """

    __slots__ = ("__weakref__", "steps")

    def __init__(self, steps: tuple[tuple[Callable[..., Any], tuple[int, ...]], ...]) -> None:
        self.steps = steps

    def __call__(self, *args: Any) -> Any:
        more = iter(args)
        results: list[Any] = []
        for function, codes in self.steps:
            given = [next(more) if code < 0 else results[code] for code in codes]
            for code in codes:
                if code >= 0:
                    results[code] = None
            results.append(function(*given))
            del given
        return results[-1]

    def __reduce__(self) -> Any:
        return Steps, (self.steps,)


class Inner:
    """A call among the arguments of another; or a list, tuple or dict with such calls in it, as the call that makes it.

    Only what is written as a call in a graph becomes one of these, so that nothing has to be looked for in values: the
    result of another node reaches the function as the object that was unpickled, whatever is in it.
    """

    __slots__ = ("args", "function")

    def __init__(self, function: Callable[..., Any], args: list[Any]) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> Any:
        return Inner, (self.function, self.args)


def replace_marks(value: Any, mark: type, picks: Sequence[Any]) -> Any:
    """The value with pick k in place of the mark of number k, wherever that stands in what a graph wrote."""
    kind = type(value)
    if kind is mark:
        return picks[value.number]
    if kind is list or kind is tuple:
        return kind([replace_marks(item, mark, picks) for item in value])
    if kind is dict:
        return {key: replace_marks(item, mark, picks) for key, item in value.items()}
    if kind is Inner:
        return Inner(value.function, [replace_marks(item, mark, picks) for item in value.args])
    return value


def call_nested(function: Callable[..., Any], args: list[Any]) -> Any:
    """function(*args), in which calls among the arguments, at any depth, are made first."""
    return function(*[evaluate(arg) for arg in args])


def evaluate(value: Any) -> Any:
    """What this call makes; any other value as it is."""
    return call_nested(value.function, value.args) if type(value) is Inner else value


def make_list(*items: Any) -> list[Any]:
    """The list of these."""
    return list(items)


def make_dict(keys: list[Any], *items: Any) -> dict[Any, Any]:
    """The dict of these, by key."""
    return dict(zip(keys, items, strict=True))


def call_with_keywords(function: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """function(*args, **keywords)."""
    return function(*args, **keywords)


def call_node(node: Any, keys: list[Any], values: list[Any]) -> Any:
    """What a node of Dask's makes of these values."""
    return node(dict(zip(keys, values, strict=True)))


def gather(*values: Any) -> tuple[Any, ...]:
    """The tuple of these: one with calls in it, or some of the many inputs of one node."""
    return values


def fail_with(error: BaseException, inputs: list[Any]) -> None:
    """What is run instead of a node that can never be run."""
    raise error
