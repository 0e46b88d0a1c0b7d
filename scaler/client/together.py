"""Together: which calls of a map may be pickled as one.

One pickle names what its values have in common once, so it is a third of the work for a few dozen small arrays. But
it would also hand what is mutable and occurs in two calls to both of them, as one object. So it is for calls that have
nothing but immutable values, and small numpy arrays each of which occurs once.

Rule 1: whatever is not known here is not taken, be it an array of a class of its own or with objects in it.
Not here: what the pickle looks like in a record (native/records/chunk.pyx).
"""

import sys
from typing import Any

MOST_ARRAY_BYTES = 4096  # larger ones gain nothing, and from 32 KiB on they are objects
_ATOMS = {type(None), bool, int, float, complex, str, bytes}
_scalars: dict[type, bool] = {}  # classes of numpy's numbers, and others


def count(calls: list[Any], first: int, most: int, most_bytes: int, bare: bool = False) -> int:
    """How many calls from `first` on may be pickled together, as they come. `bare`: each is its only argument."""
    numpy = sys.modules.get("numpy")
    array = getattr(numpy, "ndarray", None)  # None while it is being imported
    n = n_bytes = 0
    seen: set[int] = set()
    for call in calls[first : first + most]:
        for value in (call,) if bare else call:
            kind = type(value)
            if kind is array:
                dtype = value.dtype
                if not dtype.isbuiltin or dtype.hasobject or value.nbytes > MOST_ARRAY_BYTES or id(value) in seen:
                    return n
                seen.add(id(value))
                n_bytes += value.nbytes + 64
            elif kind in (str, bytes):
                n_bytes += 4 * len(value) + 16
            elif kind in _ATOMS:
                n_bytes += 16
            elif kind is tuple:
                if not _is_immutable(value):
                    return n
                n_bytes += sys.getsizeof(value)
            elif numpy is None or not _is_scalar(kind, numpy):
                return n
            else:
                n_bytes += 32
        if not (bare or type(call) is tuple) or n_bytes > most_bytes:
            return n
        n += 1
    return n


def _is_immutable(values: tuple[Any, ...]) -> bool:
    """A short tuple of numbers, such as a point: its texts and tuples would have to be counted."""
    return len(values) <= 64 and all(type(value) in (type(None), bool, int, float, complex) for value in values)


def _is_scalar(kind: type, numpy: Any) -> bool:
    known = _scalars.get(kind)
    if known is None:
        known = kind.__module__ == "numpy" and issubclass(kind, (numpy.number, numpy.bool_))
        _scalars[kind] = known
    return known
