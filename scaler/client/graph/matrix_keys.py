"""Asked: which nodes of a matrix graph are asked for, and in what shape their values are wanted.

A number gives its value; a slice, a mask or an array of numbers a list, or an array where there is a `dtype`. A list in
which there are slices, ranges or arrays is as many parts, each with its own values.

Not here: running (matrix_run).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scaler._native import MatrixNodes, NodeRange

if TYPE_CHECKING:
    import numpy


class Asked:
    """`keys` of a graph with so many nodes. IndexError, TypeError or ValueError says what is wrong with them."""

    def __init__(self, keys: Any, count: int, dtype: Any = None) -> None:
        self.is_one_part = not _are_parts(keys)
        self.parts = [Part(key, count, dtype) for key in ([keys] if self.is_one_part else keys)]

    def shape(self, nodes: MatrixNodes, loads: Callable[[bytes], Any]) -> Any:
        """The values, in the shape in which they were asked for."""
        return self.shape_parts([part.shape(nodes, loads) for part in self.parts])

    def shape_parts(self, made: list[Any]) -> Any:
        """What was made of the parts, in the shape in which they were asked for."""
        return made[0] if self.is_one_part else made


def _are_parts(keys: Any) -> bool:
    """Whether this is a list of keys."""
    if not isinstance(keys, list | tuple):
        return False
    return any(isinstance(key, slice | range) or getattr(key, "ndim", 0) == 1 for key in keys)


class Part:
    """Nodes whose values are wanted together."""

    def __init__(self, keys: Any, count: int, dtype: Any = None) -> None:
        import numpy

        self._dtype = None if dtype is None else numpy.dtype(dtype)
        self._is_one = False
        if isinstance(keys, bool | numpy.bool_):
            raise TypeError(
                f"a key of a matrix graph is a node number, or a slice, mask or array of them, not {keys!r}"
            )
        if isinstance(keys, range):
            keys = _as_slice(keys, count)
        if isinstance(keys, slice):
            numbers = range(count)[keys]
            self.nodes = NodeRange(len(numbers), numbers.start, numbers.step)
        elif hasattr(keys, "__index__") and getattr(keys, "ndim", 0) == 0:
            self._is_one = True
            if not 0 <= int(keys) < count:
                raise IndexError(f"there is no node {keys}: numbers go from 0 to {count - 1}")
            self.nodes = NodeRange(1, int(keys))
        else:
            found = _as_numbers(keys, count)
            self.nodes = NodeRange(len(found), numbers=found)

    def failed(self, nodes: MatrixNodes) -> list[int]:
        """Those of these nodes that have failed, in order."""
        found, place, end = [], 0, len(self.nodes)
        while nodes.failed and (place := nodes.find_failed(self.nodes, place, end)) < end:
            found.append(self.nodes.node(place))
            place += 1
        return found

    def shape(self, nodes: MatrixNodes, loads: Callable[[bytes], Any]) -> Any:
        """The values, in the shape in which they were asked for. In the place of one that failed is None, nan or 0."""
        if self._dtype is None:
            values = nodes.read(self.nodes, loads)
            return values[0] if self._is_one else values
        made = self._fill(nodes, loads, self._dtype)
        return made[0] if self._is_one else made

    def _fill(self, nodes: MatrixNodes, loads: Callable[[bytes], Any], dtype: "numpy.dtype[Any]") -> Any:
        import numpy

        count = len(self.nodes)
        if dtype.kind not in "iuf" or dtype.itemsize > 8:
            made = numpy.zeros(count, dtype)
            for place, value in enumerate(nodes.read(self.nodes, loads)):
                if value is not None or dtype.kind == "O":
                    made[place] = value
            return made
        is_float = dtype.kind == "f"
        column = numpy.empty(count, numpy.float64 if is_float else numpy.int64)
        floats, ints = (column, None) if is_float else (None, column)
        for place in nodes.fill(self.nodes, floats, ints):
            number = self.nodes.node(place)
            value = nodes.value(number, loads)
            if not is_float and not hasattr(value, "__index__"):
                raise TypeError(f"node {number} gives {type(value).__name__} {value!r}, which is no {dtype}")
            try:
                column[place] = value
            except (TypeError, ValueError):
                raise TypeError(f"node {number} gives {type(value).__name__} {value!r}, which is no {dtype}") from None
        if column.dtype == dtype:
            return column
        if not is_float and count:
            limits = numpy.iinfo(dtype)
            low, high = int(column.min()), int(column.max())
            if low < limits.min or high > limits.max:
                raise OverflowError(f"values from {low} to {high} do not fit {dtype}")
        return column.astype(dtype)


def _as_slice(keys: range, count: int) -> slice:
    """The same as a slice, if all of these are nodes."""
    for number in (keys[0], keys[-1]) if keys else ():
        if not 0 <= number < count:
            raise IndexError(f"there is no node {number}: numbers go from 0 to {count - 1}")
    if keys and keys.step < 0 and keys[-1] == 0:
        return slice(keys.start, None, keys.step)
    return slice(keys.start, keys.stop, keys.step) if keys else slice(0, 0)


def _as_numbers(keys: Any, count: int) -> "numpy.ndarray[Any, Any]":
    import numpy

    array = numpy.asarray(list(keys) if isinstance(keys, set | frozenset) else keys)
    if array.ndim != 1:
        raise ValueError(f"keys of a matrix graph are a number, or one row of numbers, not of shape {array.shape}")
    if array.dtype.kind == "b":
        if len(array) != count:
            raise ValueError(f"a mask has a bool for each of {count} nodes, not {len(array)}")
        return numpy.flatnonzero(array).astype(numpy.int64)
    if not len(array):
        return numpy.empty(0, numpy.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"keys of a matrix graph are node numbers, so integers, not {array.dtype}")
    if array.min() < 0 or array.max() >= count:
        wrong = int(array[(array < 0) | (array >= count)][0])
        raise IndexError(f"there is no node {wrong}: numbers go from 0 to {count - 1}")
    return numpy.ascontiguousarray(array, numpy.int64)
