"""ObjectReference: what stands for an object that was sent once, anywhere inside the arguments of tasks.

Pickling a reference as a part of a task's arguments notes it in the parcel that is being packed and writes the number
of its slot; unpickling looks the slot up and gives the object. So any depth of nesting works with the plain pickler,
and costs nothing where there is no reference. What stands for the result of another task works likewise (`load_input`).

Only what is sent as arguments carries them. In what a task returns, and in what `send_object` sends, they are a
TypeError (`Refusing`): the object of a reference goes with its last one, and a future is its own client's.

Rule 1: a slot's object is unpickled anew for each task, from read-only memory: no task sees what another did to it.
Rule 2: a result that is an input is each task's own, and may be written to.
Not here: packing (client.objects), the bytes (native/shm/loan.pyx).
"""

import pickle
import threading
from typing import Any, Protocol

from scaler._native import FLAG_OBJECTS, Loan, PendingFuture, TaskInput, read_packed
from scaler.values import neutral


class SlotGiver(Protocol):
    """A parcel that is being packed."""

    def slot_of(self, reference: "ObjectReference") -> int: ...

    def reduce_future(self, future: PendingFuture) -> Any: ...


class Refusing:
    """Stands for a parcel where there is none: what would need one is a TypeError."""

    def __init__(self, where: str, instead: str) -> None:
        self._where, self._instead = where, instead

    def slot_of(self, reference: "ObjectReference") -> int:
        raise TypeError(f"an ObjectReference cannot be {self._where}: {self._instead} the object itself")

    def reduce_future(self, future: PendingFuture) -> Any:
        raise TypeError(f"a future cannot be {self._where}: {self._instead} its result()")


IN_RESULT = Refusing("part of what a task returns, only of the arguments of tasks", "return")
IN_OBJECT = Refusing("part of what send_object sends, only of the arguments of tasks", "send")


class _Slots(threading.local):
    packing: SlotGiver | None = None  # the parcel that this thread packs
    given: "list[Loan] | tuple[()]" = ()  # the objects of the parcel that this thread unpacks
    inputs: "list[TaskInput] | tuple[()]" = ()  # and the results of other tasks


slots = _Slots()
any_references = False  # whether this process has ever had one


class ObjectReference:
    """Made by Client.send_object: pass it, or anything it is in, as an argument; the task gets the object, read-only.

    `size` is in bytes. The object goes when its last reference has gone and no task needs it any more.
    """

    __slots__ = ("__weakref__", "_hold", "name", "object_id", "size")

    def __init__(self, name: bytes, object_id: int, size: int, hold: Any = None) -> None:
        global any_references
        any_references = True
        self.name, self.object_id, self.size = name, object_id, size
        self._hold = hold  # keeps the object as long as this lives

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectReference) and self.object_id == other.object_id

    def __hash__(self) -> int:
        return hash(self.object_id)

    def __repr__(self) -> str:
        return f"ObjectReference(name={self.name!r}, object_id={self.object_id:#x}, size={self.size})"

    def __reduce__(self) -> Any:
        if slots.packing is None:
            return ObjectReference, (self.name, self.object_id, self.size)
        return load_slot, (slots.packing.slot_of(self),)

    def __copy__(self) -> "ObjectReference":
        return self

    def __deepcopy__(self, memo: Any) -> "ObjectReference":
        return self


def load_slot(number: int) -> Any:
    """The object in this slot of the parcel that is being unpacked."""
    stream, buffers = read_packed(slots.given[number].open(False))
    return pickle.loads(stream, buffers=buffers)


def load_input(number: int) -> Any:
    """The result that is this input of the parcel that is being unpacked."""
    return load_given(slots.inputs[number])


def load_given(given: TaskInput) -> Any:
    """The value of an input."""
    raw, buffers = given.raw, None
    if given.flags & FLAG_OBJECTS:
        raw, buffers = read_packed(raw.open(True))
    if neutral.is_neutral(raw):
        return neutral.loads(raw)
    return pickle.loads(raw, buffers=buffers)


def same(value: Any) -> Any:
    """What stands for a value that was known already when it was packed."""
    return value


def loads(
    stream: Any,
    buffers: "list[Loan]",
    references: "list[Loan] | tuple[()]",
    inputs: "list[TaskInput] | tuple[()]" = (),
) -> Any:
    """Unpickle what was packed with these: its own large buffers, and what references and inputs stand for."""
    before = slots.given, slots.inputs
    slots.given, slots.inputs = references, inputs
    try:
        return pickle.loads(stream, buffers=buffers)
    finally:
        slots.given, slots.inputs = before
