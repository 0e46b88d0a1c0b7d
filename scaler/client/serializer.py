"""Serializer: a program's own way of turning its functions, arguments and results into bytes.

A call with a serializer is an ordinary call of SerializedCall, whose argument pickles as the serializer's bytes and
whose result is its bytes: the data path knows nothing of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from scaler.values.payload import Failed, Outcomes
from scaler.values.reference import load_input


class Serializer(ABC):
    """Subclass it and give an instance or the class to Client."""

    @staticmethod
    @abstractmethod
    def serialize(obj: Any) -> bytes:
        """The bytes of an object."""

    @staticmethod
    @abstractmethod
    def deserialize(payload: bytes) -> Any:
        """The object of these bytes."""


class SerializedCall:
    """Runs in the worker: what the serializer made of the arguments in, its bytes of the result out.

    Pickles as the serializer's bytes of the function, so references inside that are found, too.
    """

    def __init__(self, serializer: Serializer | type[Serializer], function: Callable[..., Any]) -> None:
        self.serializer, self.function = serializer, function

    def __call__(self, arguments: tuple[tuple[Any, ...], dict[str, Any]]) -> bytes:
        args, kwargs = arguments
        return self.serializer.serialize(self.function(*args, **kwargs))

    def __reduce__(self) -> Any:
        return _load_call, (self.serializer, self.serializer.serialize(self.function))


def _load_call(serializer: Serializer | type[Serializer], function: bytes) -> SerializedCall:
    return SerializedCall(serializer, serializer.deserialize(function))


class Serialized:
    """Pickles as the serializer's bytes of a value, and unpickles as the value: so references inside it are found."""

    def __init__(self, serializer: Serializer | type[Serializer], value: Any) -> None:
        self._serializer, self._value = serializer, value

    def __reduce__(self) -> Any:
        return self._serializer.deserialize, (self._serializer.serialize(self._value),)


def wrap_call(
    serializer: Serializer | type[Serializer], fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[SerializedCall, tuple[Serialized], dict[str, Any]]:
    """The call to submit instead."""
    return SerializedCall(serializer, fn), (Serialized(serializer, (args, kwargs)),), {}


def wrap_node(
    serializer: Serializer | type[Serializer], fn: Callable[..., Any], args: tuple[Any, ...]
) -> tuple[SerializedCall, tuple[Serialized]]:
    """The node of a graph to send instead."""
    return SerializedCall(serializer, fn), (Serialized(serializer, (args, {})),)


def deserialize_input(serializer: Serializer | type[Serializer], number: int) -> Any:
    """The value of an input, in a worker."""
    return serializer.deserialize(load_input(number))


def wrap_item(serializer: Serializer | type[Serializer], item: Any) -> tuple[Serialized]:
    """The arguments to send in place of these, in a map of a SerializedCall."""
    return (Serialized(serializer, (tuple(item), {})),)


def deserializing(load: Callable[..., Any], serializer: Serializer | type[Serializer]) -> Callable[..., Any]:
    """`load`, with the serializer's bytes turned into what they stand for."""

    def load_and_deserialize(status: int, flags: int, raw: Any, task: int, items: int = 0, function: str = "") -> Any:
        value = load(status, flags, raw, task, items, function)
        if isinstance(value, bytes):
            return serializer.deserialize(value)
        if type(value) is Outcomes:
            return Outcomes(item if type(item) is Failed else serializer.deserialize(item) for item in value)
        if isinstance(value, list):
            return [serializer.deserialize(item) for item in value]
        return value  # an exception

    return load_and_deserialize
