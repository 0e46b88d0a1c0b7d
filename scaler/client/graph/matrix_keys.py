"""Asked: which nodes of a matrix graph are asked for, and in what shape their values are wanted.

A number gives its value; a slice, a mask or an array of numbers a list, or an array where there is a `dtype`.

Not here: running (matrix_run).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scaler._native import MatrixNodes

if TYPE_CHECKING:
    import numpy


class Asked:
    """`keys` of a graph with so many nodes. IndexError, TypeError or ValueError says what is wrong with them."""

    def __init__(self, keys: Any, count: int, dtype: Any = None) -> None:
        import numpy

        self._dtype = None if dtype is None else numpy.dtype(dtype)
        self._nodes: numpy.ndarray[Any, Any] | None = None
        self.is_one = False
        if isinstance(keys, bool | numpy.bool_):
            raise TypeError(
                f"a key of a matrix graph is a node number, or a slice, mask or array of them, not {keys!r}"
            )
        if isinstance(keys, range):
            keys = _as_slice(keys, count)
        if isinstance(keys, slice):
            self._range = range(count)[keys]
        elif hasattr(keys, "__index__") and getattr(keys, "ndim", 0) == 0:
            self.is_one = True
            self._range = range(int(keys), int(keys) + 1)
            if not 0 <= int(keys) < count:
                raise IndexError(f"there is no node {keys}: numbers go from 0 to {count - 1}")
        else:
            self._nodes = _as_numbers(keys, count)
            self._range = range(len(self._nodes))

    def __len__(self) -> int:
        return len(self._range)

    def ask(self, nodes: MatrixNodes) -> None:
        """Say that these are wanted."""
        if self._nodes is not None:
            nodes.ask_each(self._nodes)
        elif self._range:
            nodes.ask(self._range.start, len(self._range), self._range.step)

    def shape(self, nodes: MatrixNodes, loads: Callable[[bytes], Any]) -> Any:
        """The values, in the shape in which they were asked for. In the place of one that failed is None, nan or 0."""
        if self._dtype is None:
            numbers = self._range if self._nodes is None else self._nodes.tolist()
            values = [nodes.value(number, loads) for number in numbers]
            return values[0] if self.is_one else values
        made = self._fill(nodes, loads, self._dtype)
        return made[0] if self.is_one else made

    def _fill(self, nodes: MatrixNodes, loads: Callable[[bytes], Any], dtype: "numpy.dtype[Any]") -> Any:
        import numpy

        count = len(self._range)
        if dtype.kind not in "iuf" or dtype.itemsize > 8:
            numbers = self._range if self._nodes is None else self._nodes.tolist()
            made = numpy.zeros(count, dtype)
            for place, number in enumerate(numbers):
                value = nodes.value(number, loads)
                if value is not None or dtype.kind == "O":
                    made[place] = value
            return made
        is_float = dtype.kind == "f"
        column = numpy.empty(count, numpy.float64 if is_float else numpy.int64)
        floats, ints = (column, None) if is_float else (None, column)
        start, step = (0, 1) if self._nodes is not None else (self._range.start, self._range.step)
        others = nodes.fill(floats, ints, start, step, self._nodes, count)
        for place in others:
            number = self._range[place] if self._nodes is None else int(self._nodes[place])
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
