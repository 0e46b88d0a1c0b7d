"""Parcel: what one record carries besides its pickle, and the payload that is made of both.

While arguments are pickled a parcel collects what does not go into the pickle: large buffers, references to objects
that were sent before, and futures whose results the task needs. Then `finish` gives the payload, in one of three forms:
plain bytes; `WithInputs`, which names tasks only; or `Packed`, which names objects.

Not here: placing objects (objects), how bytes name objects and inputs (native/records).
"""

import pickle
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from scaler._native import FLAG_INPUTS, MOST_INPUTS, PLACE_BYTES, PendingFuture, pack_inputs
from scaler.client import together
from scaler.client.large_arguments import LARGE_BYTES
from scaler.client.serializer import deserialize_input
from scaler.values import payload
from scaler.values.reference import ObjectReference, load_input, same, slots

if TYPE_CHECKING:
    from scaler.client.objects import ClientObjects, Hold

MOST_REFERENCES = 64  # after so many, a chunk of a map ends


class Parcel:
    """What one record carries besides its pickle."""

    def __init__(self, objects: "ClientObjects") -> None:
        self._objects = objects
        self.buffers = payload.Buffers()
        self.references: dict[int, int] = {}  # object -> slot
        self._holds: list[Hold] = []  # a reference may live only as long as it is pickled
        self.ids: list[int] = []  # tasks of a graph whose results are inputs
        self.inputs: dict[PendingFuture, int] = {}  # futures of other calls -> which input
        self.promised = 0  # tasks of a graph that will name this task
        self.is_inner = False  # only these tasks need its result

    @property
    def is_full(self) -> bool:
        """Whether no other call is to go with these: nothing would tell their buffers apart, or references are many."""
        return bool(self.buffers or self.inputs) or len(self.references) >= MOST_REFERENCES

    def slot_of(self, reference: ObjectReference) -> int:
        hold = self._objects.hold_of(reference)
        slot = self.references.setdefault(reference.object_id, len(self.references))
        if slot == len(self._holds):
            self._holds.append(hold)
        return slot

    def reduce_future(self, future: PendingFuture) -> Any:
        """How a future among the arguments is pickled: as its value, or as an input. InputEnded if it has failed."""
        rings = self._objects.rings
        if rings is None or not future.is_of(rings):
            raise ValueError(
                f"task {future.task_id:#x} is another client's, and only tasks of that one can wait for it: "
                "pass its result()"
            )
        rings.settle_in_task(future)
        if future.is_over or future.done():
            if future.cancelled() or future.make_error() is not None:
                raise InputEnded(future)
            return same, (future.result(),)
        number = self.inputs.setdefault(future, len(self.ids) + len(self.inputs))
        if self._objects.serializer is not None:
            return deserialize_input, (self._objects.serializer, number)
        return load_input, (number,)

    def dumps(self, value: Any) -> bytes:
        """Pickle, and collect large buffers and references."""
        before, slots.packing = slots.packing, self
        try:
            data = payload.dumps(value, self.buffers)
        finally:
            slots.packing = before
        if self.buffers or len(data) >= LARGE_BYTES:
            self._objects.note_large(value, data, self.buffers)
        return data

    def dumps_together(
        self, calls: list[Any], first: int, most: int, most_bytes: int, bare: bool
    ) -> tuple[bytes, int] | None:
        """One pickle of the arguments of some calls, and of how many; None if each has to be pickled by itself."""
        n = together.count(calls, first, most, most_bytes, bare)
        if n < 2:
            return None
        some = calls[first : first + n]
        return pickle.dumps([(value,) for value in some] if bare else some, 5), n

    def finish(self, data: bytes, most_bytes: int, may_hold: bool = True) -> "bytes | Packed | WithInputs":
        """The payload: the pickle itself if that is all, and small enough.

        With `may_hold`, large buffers are compared with what was passed before, and held to be passed again. Without,
        it is a function: what it carries stays as long as that is known.
        """
        head = b""
        count = len(self.ids) + len(self.inputs)
        if count or self.promised or self.is_inner:
            if not may_hold:
                raise TypeError("a function cannot carry a future that is not done: pass the future as an argument")
            if count > MOST_INPUTS:
                raise ValueError(f"one task needs the results of {count} others, but {MOST_INPUTS} are the most")
            ids = [*self.ids, *(future.task_id for future in self.inputs)]
            head = pack_inputs(ids, len(self.ids), self.promised, self.is_inner)
            most_bytes -= len(head) + count * PLACE_BYTES + PLACE_BYTES  # the results will stand in it too
        if not self.buffers and not self.references and len(data) <= most_bytes:
            return WithInputs(head + data, self.inputs) if self.inputs else head + data
        return self._objects.pack(self, head, data, most_bytes, may_hold)

    def digest(self, data: bytes) -> bytes:
        """A strong hash of all that has been pickled: of a reference there is only its slot in the pickle."""
        hashed = blake2b(data, digest_size=16)
        for buffer in self.buffers:
            hashed.update(buffer.nbytes.to_bytes(8, "little"))
            hashed.update(buffer)
        for object_id in self.references:
            hashed.update(object_id.to_bytes(8, "little"))
        return hashed.digest()


class Packed:
    """A payload that names objects. `is_written` is set once its record is; `end` is called then, or when it fails.

    Until then it keeps the parcel, and so the owners of its buffers: nothing is let go that is still to be named.
    """

    __slots__ = ("_objects", "_parcel", "_record", "flags", "is_written", "payload")

    def __init__(
        self, data: bytes, objects: "ClientObjects", record: "RecordInProgress", parcel: Parcel, flags: int
    ) -> None:
        self.payload, self._objects, self._record, self._parcel, self.flags = data, objects, record, parcel, flags
        self.is_written = False

    @property
    def inputs(self) -> list[PendingFuture]:
        """The futures that its payload names."""
        return list(self._parcel.inputs)

    def end(self) -> None:
        self._objects.end_record(self._record, self.is_written)


class RecordInProgress:
    """A record in the making: what it names that is held, what was made for it, which references it names first."""

    __slots__ = ("made", "placed", "said")

    def __init__(self) -> None:
        self.placed: set[int] = set()
        self.made: list[int] = []
        self.said: list[int] = []


class WithInputs:
    """A payload that names tasks, and no objects."""

    __slots__ = ("inputs", "is_written", "payload")
    flags = FLAG_INPUTS

    def __init__(self, data: bytes, inputs: dict[PendingFuture, int]) -> None:
        self.payload, self.inputs = data, list(inputs)
        self.is_written = False

    def end(self) -> None:
        """Nothing was made for it."""


class InputEnded(Exception):
    """An argument is a future that has failed, or was cancelled."""

    def __init__(self, future: PendingFuture) -> None:
        super().__init__("an argument is a future that has failed or was cancelled")
        self.future = future

    @property
    def error(self) -> BaseException | None:
        """What it has failed with, another one each time; None if it was cancelled."""
        return self.future.make_error()
