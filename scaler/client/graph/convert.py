"""Convert: matrix graphs from what people have, and their matrices for what people use.

`cls` is the class of matrix graphs, which calls these.

Rule 1: scipy and graphblas are loaded here only, and only for a matrix of theirs that is asked for.
Not here: sparse matrices as graphs (matrix), reading a node of a dict (read).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from scaler._native import InputSlot
from scaler.client.graph.order import arrange
from scaler.client.graph.read import Data, Reader, Slots, as_mapping
from scaler.values.calls import replace_marks
from scaler.values.pieces import Filled, Hole, Placed
from scaler.values.reference import same

MOST_POSITION = 62  # in the masks of a matrix


class _Nodes:
    """Nodes in their order, and the functions that they call, each once."""

    def __init__(self) -> None:
        self.rows: list[list[int]] = []
        self._which: list[int] = []
        self._functions: list[Callable[..., Any]] = []
        self._columns: dict[int, list[list[Any]]] = {}
        self._known: dict[Any, int] = {}

    def add(
        self,
        row: list[int],
        function: Callable[..., Any],
        literals: list[Any],
        kind: Any = None,
        make: Callable[[], Callable[..., Any]] | None = None,
    ) -> None:
        """The next node; `make` gives what is called instead of its function, which all nodes of this kind share."""
        key = id(function), kind, len(literals)
        number = self._known.get(key)
        if number is None:
            number = self._known[key] = len(self._functions)
            self._functions.append(function if make is None else make())
            if literals:
                self._columns[number] = [[] for _ in literals]
        for column, literal in zip(self._columns.get(number, ()), literals, strict=True):
            column.append(literal)
        self.rows.append(row)
        self._which.append(number)

    def graph(self, cls: Any) -> Any:
        columns = {number: tuple(columns) for number, columns in self._columns.items()}
        functions = self._functions or [same]
        return cls.of_rows(self.rows, functions, self._which, columns)


def from_dict(cls: Any, graph: Mapping[Any, Any]) -> tuple[Any, dict[Any, int]]:
    mapping, is_dask = as_mapping(graph)
    reader = Reader(mapping, is_dask, Slots())
    keys = list(mapping)
    order = arrange(reader, [reader.follow(key) for key in keys])
    table, nodes = order.table, _Nodes()
    for number in range(len(table)):
        node, inputs = table.node(number), table.inputs_of(number)
        if type(node) is Data:
            nodes.add([], same, [node.value])
        elif node.is_flat:
            takes = tuple(type(arg) is InputSlot for arg in node.args)
            row = [inputs[arg.number] for arg in node.args if type(arg) is InputSlot]
            literals = [arg for arg in node.args if type(arg) is not InputSlot]
            make = None if all(takes) else partial(Placed, node.function, takes)
            nodes.add(row, node.function, literals, takes if literals else None, make)
        else:
            holes: list[Any] = [Hole(k) for k in range(len(inputs))]
            args = tuple(replace_marks(arg, InputSlot, holes) for arg in node.args)
            nodes.add(list(inputs), node.function, [args], Filled, partial(Filled, node.function))
    return nodes.graph(cls), dict(zip(keys, order.targets, strict=True))


def from_networkx(cls: Any, graph: Any, function: Callable[..., Any] | None) -> tuple[Any, dict[Any, int]]:
    if not graph.is_directed():
        raise ValueError("this graph of networkx has no directions: an edge leads from what is needed to what needs it")
    numbers = {name: number for number, name in enumerate(graph.nodes)}
    nodes = _Nodes()
    for name, about in graph.nodes(data=True):
        called = about.get("function", function)
        if called is None:
            raise ValueError(
                f"node {name!r} of this graph has no attribute `function`, and there is none for all nodes"
            )
        edges = [(numbers[before], edge) for before, _, edge in graph.in_edges(name, data=True)]
        nodes.add(_by_position(name, edges), called, list(about.get("arguments", ())))
    return nodes.graph(cls), numbers


def _by_position(name: Any, edges: list[tuple[int, dict[str, Any]]]) -> list[int]:
    """These inputs in the order of the arguments that they are."""
    placed = []
    for number, about in edges:
        position = about.get("position")
        placed += [(each, number) for each in (position if isinstance(position, tuple | list) else (position,))]
    if all(position is None for position, _ in placed):
        return [number for _, number in placed]
    if sorted(position for position, _ in placed if position is not None) != list(range(len(placed))):
        raise ValueError(f"the edges to node {name!r} have positions that are not 0, 1, 2, ...: each argument has one")
    return [number for _, number in sorted(placed)]


def to_matrix(graph: Any, library: str) -> Any:
    import numpy

    rows: Any
    if graph.first is None:
        inputs = graph.inputs.reshape(graph.count, graph.most)
        there = inputs >= 0
        rows = numpy.nonzero(there)[0]
        columns, positions = inputs[there], (numpy.cumsum(there, axis=1) - 1)[there]
    else:
        first = numpy.asarray(graph.first).astype(numpy.int64)
        counts = numpy.diff(first)
        rows, columns = numpy.repeat(numpy.arange(graph.count), counts), graph.inputs
        positions = numpy.arange(len(columns)) - numpy.repeat(first[:-1], counts)
    if len(positions) and positions.max() > MOST_POSITION:
        node = int(rows[positions.argmax()])
        raise ValueError(
            f"node {node} has {int(positions.max()) + 1} inputs, and masks have {MOST_POSITION + 1} positions"
        )
    masks = numpy.left_shift(numpy.int64(1), positions.astype(numpy.int64))
    if library == "scipy":
        from scipy.sparse import coo_array

        return coo_array((masks, (rows, columns)), shape=(graph.count, graph.count)).tocsr()
    if library == "graphblas":
        from graphblas import Matrix, binary

        return Matrix.from_coo(rows, columns, masks, nrows=graph.count, ncols=graph.count, dup_op=binary.plus)
    raise ValueError(f'a matrix is made for "scipy" or "graphblas", not {library!r}')
