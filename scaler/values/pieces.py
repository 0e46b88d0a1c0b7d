"""What workers run for a piece of a matrix graph: many nodes in one task. Workers find it by its name.

Not here: the loop and the columns (native/worker/piece_runner.pyx, native/records/piece.pyx), which nodes make a piece
(native/client/matrix_nodes.pyx).
"""

import pickle
from collections.abc import Callable
from typing import Any

from scaler._native import run_piece
from scaler.values import payload, reference
from scaler.values.calls import replace_marks


class PieceRunner:
    """Runs the pieces of one graph, whose functions these are; gives what came of their nodes, as bytes.

    What carries state from call to call is among the functions as an `Anew`.
    """

    def __init__(self, functions: tuple[Callable[..., Any], ...], name: str) -> None:
        self.functions, self.name = functions, name

    def __call__(self, piece: bytes) -> bytes:
        return run_piece(self.functions, piece, pickle.loads, dumps_value, payload.describe)

    def __getattr__(self, name: str) -> Any:
        if name == "__qualname__":  # what errors call it
            return self.name
        raise AttributeError(name)

    def __reduce__(self) -> Any:
        return PieceRunner, (self.functions, self.name)


class Anew:
    """A callable that carries state, made anew for each call; `data` is its pickle."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __call__(self, *args: Any) -> Any:
        return pickle.loads(self.data)(*args)

    def __reduce__(self) -> Any:
        return Anew, (self.data,)


_IN_COLUMN = reference.Refusing(
    "an argument of single nodes of a matrix graph; a functools.partial may have it", "pass"
)


def dumps_value(value: Any) -> bytes:
    """The pickle of what a node gives. TypeError for a future or a reference in it."""
    return _dumps(value, reference.IN_RESULT)


def dumps_argument(value: Any) -> bytes:
    """The pickle of what a node is given by the graph itself."""
    return _dumps(value, _IN_COLUMN)


def _dumps(value: Any, refusing: reference.Refusing) -> bytes:
    before, reference.slots.packing = reference.slots.packing, refusing
    try:
        return payload.dumps(value)
    finally:
        reference.slots.packing = before


class Placed:
    """Calls a function with literals between its inputs, which come first; `takes_input` says which stands where."""

    __slots__ = ("function", "takes_input")

    def __init__(self, function: Callable[..., Any], takes_input: tuple[bool, ...]) -> None:
        self.function, self.takes_input = function, takes_input

    def __call__(self, *given: Any) -> Any:
        inputs, literals = iter(given), iter(given[sum(self.takes_input) :])
        return self.function(*[next(inputs) if takes else next(literals) for takes in self.takes_input])

    def __reduce__(self) -> Any:
        return Placed, (self.function, self.takes_input)


class Filled:
    """Calls a function with arguments that have holes, at any depth, for its inputs; the arguments come last."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *given: Any) -> Any:
        return self.function(*replace_marks(given[-1], Hole, given))

    def __reduce__(self) -> Any:
        return Filled, (self.function,)


class Hole:
    """Stands for input k among arguments."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> Any:
        return Hole, (self.number,)
