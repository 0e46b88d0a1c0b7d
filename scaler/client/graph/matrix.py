"""MatrixGraph: a graph as a matrix of node numbers, for graphs so large that an object per node would be too dear.

A node is a number. What it needs stands in its row: of an array, the numbers of its inputs in the order of its
arguments; of a sparse matrix, an entry in the column of each input. What it calls is one of a few functions.

All is checked and copied when the graph is made: changing an array afterwards changes nothing, and what runs later
needs no check.

Rule 1: no Python object per node.
Rule 2: numpy is loaded with the first graph that is made, scipy and graphblas never: their matrices are told by what
        they offer.
Not here: cycles, what is needed, and running it (matrix_run, native/client/matrix_nodes.pyx), other forms (convert).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from scaler._native import ArgumentColumn, count_bits, join_masks

if TYPE_CHECKING:
    import numpy
    from numpy.typing import ArrayLike

    Array = numpy.ndarray[Any, Any]

MOST_NODES = (1 << 31) - 2  # numbers have 31 bits
MOST_INPUTS = (1 << 32) - 1  # of all nodes together
MOST_FUNCTIONS = 1 << 16

Function = Callable[..., Any]


class MatrixGraph:
    """A graph of which each node is a number from 0 on: `client.get(graph, keys)` runs it.

    `inputs` says which nodes each one needs, in either form:

    * an integer array of shape (n, k): row i has the numbers of node i's inputs in the order of its arguments, and -1
      where there is none;
    * a sparse n x n matrix of scipy or GraphBLAS: row i has an entry for each input of node i. Bool entries are inputs
      in ascending order; integers are bit masks of argument positions: 1 the first, 2 the second, 3 both.

    `functions` is what all nodes call, or a list, of which `which` (n integers) says which one each node calls. After
    its inputs a function gets what `arguments` has for its nodes: `arguments[f]` is a tuple of columns, each with one
    value for each node of function f, in the order of the nodes. What is the same for all nodes is best given by
    functools.partial.

    All is copied. TypeError and ValueError say what is wrong with which row.
    """

    __slots__ = ("__weakref__", "columns", "count", "first", "functions", "inputs", "most", "which")

    def __init__(
        self,
        inputs: Any,
        functions: Function | Sequence[Function],
        which: "ArrayLike | None" = None,
        arguments: "Mapping[int, Sequence[Any]] | None" = None,
    ) -> None:
        self.functions = _as_functions(functions)
        self.inputs: Array
        self.first: Array | memoryview | None = None
        self.most = 0
        if hasattr(inputs, "tocsr") or hasattr(inputs, "to_csr"):
            self.count = _square(inputs.shape)
            self.inputs, self.first = _read_sparse(inputs, self.count)
        else:
            self.inputs, self.count, self.most = _read_array(inputs)
        self.which = _read_which(which, self.count, len(self.functions))
        self.columns = _read_columns(arguments, self.which, self.count, len(self.functions))

    @classmethod
    def from_dict(cls, graph: Mapping[Any, Any]) -> "tuple[MatrixGraph, dict[Any, int]]":
        """A graph that is a dict of calls, as `Client.get` takes it, and the node of each key.

        Data is a node as well, that calls a function which gives it.
        """
        from scaler.client.graph.convert import from_dict

        return from_dict(cls, graph)

    @classmethod
    def from_networkx(cls, graph: Any, function: Function | None = None) -> "tuple[MatrixGraph, dict[Any, int]]":
        """A DiGraph of networkx, whose edges lead from what is needed to what needs it, and the node of each of its.

        A node calls its attribute `function`, or else the one given here, with its inputs in the order in which edges
        were added, and with what its attribute `arguments`, a tuple, has. An edge's attribute `position`, a number or
        several, says which argument it is.
        """
        from scaler.client.graph.convert import from_networkx

        return from_networkx(cls, graph, function)

    @classmethod
    def of_rows(
        cls, rows: Sequence[Sequence[int]], functions: Sequence[Function], which: Any, arguments: Any
    ) -> "MatrixGraph":
        """Of the inputs of each node, however many these are."""
        import numpy

        made = cls.__new__(cls)
        made.functions, made.count, made.most = _as_functions(functions), _check_count(len(rows)), 0
        made.inputs = numpy.fromiter((number for row in rows for number in row), numpy.int32)
        made.first = numpy.concatenate(([0], numpy.cumsum([len(row) for row in rows]))).astype(numpy.uint32)
        made.which = _read_which(which, made.count, len(made.functions))
        made.columns = _read_columns(arguments, made.which, made.count, len(made.functions))
        return made

    def to_matrix(self, library: Literal["scipy", "graphblas"] = "scipy") -> Any:
        """The inputs as a sparse matrix of bit masks of argument positions: a csr_array, or a Matrix of GraphBLAS."""
        from scaler.client.graph.convert import to_matrix

        return to_matrix(self, library)

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        calls = "1 function" if len(self.functions) == 1 else f"{len(self.functions)} functions"
        return f"<MatrixGraph of {self.count:,} nodes that call {calls}>"


def _as_functions(functions: Any) -> tuple[Function, ...]:
    made: tuple[Any, ...] = (functions,) if callable(functions) else tuple(functions)
    for function in made:
        if not callable(function):
            raise TypeError(f"a node's function must be callable, not {type(function).__name__}: {function!r}")
    if not made or len(made) > MOST_FUNCTIONS:
        raise ValueError(f"a matrix graph has 1 to {MOST_FUNCTIONS:,} functions, not {len(made):,}")
    return made


def _check_count(count: int) -> int:
    if count > MOST_NODES:
        raise ValueError(f"a matrix graph has at most {MOST_NODES:,} nodes, not {count:,}")
    return count


def _square(shape: Any) -> int:
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"a sparse matrix of inputs has a row and a column for each node, so it is no {shape} matrix")
    return _check_count(int(shape[0]))


def _read_array(inputs: Any) -> "tuple[Array, int, int]":
    """(inputs, nodes, most inputs of each)."""
    import numpy

    array = numpy.asarray(inputs)
    if array.ndim != 2:
        raise ValueError(f"an array of inputs has a row for each node: its shape is (n, k), not {array.shape}")
    count, most = array.shape
    _check_count(count)
    if array.dtype.kind not in "iu":
        more = "; pass a matrix of trues as scipy.sparse.csr_array(it)" if array.dtype.kind == "b" else ""
        if array.size:
            raise TypeError(f"inputs are node numbers, so an array of integers, not of {array.dtype}{more}")
        array = numpy.empty(array.shape, numpy.int32)
    if array.size > MOST_INPUTS:
        raise ValueError(f"a matrix graph has at most {MOST_INPUTS:,} inputs in all, not {array.size:,}")
    if array.size and (array.min() < -1 or array.max() >= count):
        node = int(((array < -1) | (array >= count)).any(axis=1).argmax())
        row = array[node].tolist()
        raise ValueError(f"node {node} has the inputs {row}, but numbers go from 0 to {count - 1}, and -1 is for none")
    return numpy.array(array, numpy.int32, order="C").reshape(-1), count, most


def _read_sparse(matrix: Any, count: int) -> "tuple[Array, Array | memoryview]":
    """(inputs, where those of each node begin)."""
    import numpy

    if hasattr(matrix, "tocsr"):  # of scipy
        rows = matrix.tocsr()
        if not rows.has_canonical_format:
            rows = rows.copy() if rows is matrix else rows
            rows.sum_duplicates()  # and sorts
        first, columns, values = rows.indptr, rows.indices, rows.data
    else:  # of GraphBLAS
        first, columns, values = map(numpy.asarray, matrix.to_csr(sort=True))
    if len(columns) > MOST_INPUTS:
        raise ValueError(f"a matrix graph has at most {MOST_INPUTS:,} inputs in all, not {len(columns):,}")
    is_whole = len(first) == count + 1 and first[0] == 0 and first[-1] == len(columns) == len(values)
    if not is_whole or (numpy.diff(first) < 0).any():
        raise ValueError("this sparse matrix is broken: its row pointers do not lead through its entries")
    if len(columns) and (columns.min() < 0 or columns.max() >= count):
        raise ValueError(f"this sparse matrix is broken: it has entries in columns that are not from 0 to {count - 1}")
    kind = values.dtype.kind
    if kind == "b":
        if not values.all():
            first, columns = numpy.concatenate(([0], numpy.cumsum(values)))[first], columns[values]
        return numpy.array(columns, numpy.int32), numpy.array(first, numpy.uint32)
    if kind not in "iu":
        raise TypeError(
            "the entries of a sparse matrix of inputs are bools, or integers, which are bit masks of argument "
            f"positions, not {values.dtype}"
        )
    if kind == "i" and len(values) and values.min() < 0:
        node = int(numpy.searchsorted(first, int((values < 0).argmax()), "right")) - 1
        raise ValueError(f"the row of node {node} has an entry below 0, which is no bit mask of argument positions")
    masks = numpy.ascontiguousarray(values, numpy.uint64)
    inputs = numpy.empty(count_bits(masks), numpy.int32)
    starts = numpy.ascontiguousarray(first, numpy.uint32)
    return inputs, join_masks(starts, numpy.ascontiguousarray(columns, numpy.int32), masks, inputs)


def _read_which(which: Any, count: int, functions: int) -> "Array | None":
    import numpy

    if which is None:
        if functions > 1:
            raise ValueError(f"there are {functions} functions: `which` must say which of them each node calls")
        return None
    array = numpy.asarray(which)
    if array.shape != (count,):
        raise ValueError(f"`which` has a number for each of {count} nodes: its shape is ({count},), not {array.shape}")
    if count and array.dtype.kind not in "iub":
        raise TypeError(f"`which` has places in the list of functions, so integers, not {array.dtype}")
    if count and (array.min() < 0 or array.max() >= functions):
        node = int(((array < 0) | (array >= functions)).argmax())
        raise ValueError(f"node {node} calls function {array[node]}, but there are {functions}, from 0 on")
    return numpy.array(array, numpy.uint16) if functions > 1 else None


def _read_columns(
    arguments: Any, which: "Array | None", count: int, functions: int
) -> list[tuple[ArgumentColumn, ...]] | None:
    import numpy

    if not arguments:
        return None
    if not isinstance(arguments, Mapping):
        raise TypeError(f"`arguments` is a dict of tuples of columns, by function, not {type(arguments).__name__}")
    counts = [count] if which is None else numpy.bincount(which, minlength=functions).tolist()
    made: list[tuple[ArgumentColumn, ...]] = [()] * functions
    for function, columns in arguments.items():
        if not hasattr(function, "__index__") or not 0 <= function < functions:
            raise ValueError(f"`arguments` are for function {function!r}, but there are {functions}, from 0 on")
        if not isinstance(columns, tuple | list):
            raise TypeError(
                f"`arguments[{function}]` is a tuple of columns, one for each argument, not {type(columns).__name__}"
            )
        for place, column in enumerate(columns):
            if len(column) != counts[function]:
                raise ValueError(
                    f"column {place} of `arguments[{function}]` has {len(column):,} values for the "
                    f"{counts[function]:,} nodes of that function"
                )
        made[function] = tuple(map(_read_column, columns))
    return made


def _read_column(column: Any) -> ArgumentColumn:
    """Numbers and bools become those of Python; anything else is passed as it is."""
    import numpy

    if isinstance(column, range):
        column = numpy.arange(column.start, column.stop, column.step, dtype=numpy.int64)
    if not isinstance(column, numpy.ndarray) or column.ndim > 1:
        return ArgumentColumn(list(column), "")
    kind = column.dtype.kind
    if kind == "i" or (kind == "u" and (column.itemsize < 8 or not len(column) or column.max() <= (1 << 63) - 1)):
        return ArgumentColumn(numpy.array(column, numpy.int64), "int")
    if kind == "f" and column.itemsize <= 8:
        return ArgumentColumn(numpy.array(column, numpy.float64), "float")
    if kind == "b":
        return ArgumentColumn(numpy.array(column, numpy.uint8), "bool")
    return ArgumentColumn(column.tolist() if kind in "USO" else list(column), "")
