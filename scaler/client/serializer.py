"""Serializer: a program's own way of turning its functions, arguments and results into bytes.

A call with a serializer is an ordinary call of SerializedCall, whose argument and result are the serializer's bytes:
the data path knows nothing of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any


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
    """Runs in the worker: bytes in, bytes out."""

    def __init__(self, serializer: Serializer | type[Serializer], function: bytes) -> None:
        self.serializer, self.function = serializer, function
        self.loaded: Callable[..., Any] | None = None

    def __call__(self, payload: bytes) -> bytes:
        if self.loaded is None:
            self.loaded = self.serializer.deserialize(self.function)
        args, kwargs = self.serializer.deserialize(payload)
        return self.serializer.serialize(self.loaded(*args, **kwargs))

    def __reduce__(self) -> Any:
        return SerializedCall, (self.serializer, self.function)


def wrap_call(
    serializer: Serializer | type[Serializer], fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[SerializedCall, tuple[bytes], dict[str, Any]]:
    """The call to submit instead."""
    return SerializedCall(serializer, serializer.serialize(fn)), (serializer.serialize((args, kwargs)),), {}


def wrap_map(
    serializer: Serializer | type[Serializer], fn: Callable[..., Any], iterable: Iterable[Any]
) -> tuple[SerializedCall, Iterator[tuple[bytes]]]:
    """The map to run instead."""
    call = SerializedCall(serializer, serializer.serialize(fn))
    return call, ((serializer.serialize((tuple(item), {})),) for item in iterable)


def deserializing(load: Callable[..., Any], serializer: Serializer | type[Serializer]) -> Callable[..., Any]:
    """`load`, with the serializer's bytes turned into what they stand for."""

    def load_and_deserialize(status: int, flags: int, raw: Any, task: int, items: int = 0) -> Any:
        value = load(status, flags, raw, task, items)
        if isinstance(value, bytes):
            return serializer.deserialize(value)
        if isinstance(value, list):
            return [serializer.deserialize(item) for item in value]
        return value  # an exception

    return load_and_deserialize
