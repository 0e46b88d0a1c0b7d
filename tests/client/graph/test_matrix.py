"""MatrixGraph: what it takes for a graph, and what it says of what is none."""

from functools import partial
from operator import add
from typing import Any

import numpy as np
import pytest

from scaler import MatrixGraph
from scaler.client.graph.matrix_keys import Asked


def inputs_of(graph: MatrixGraph) -> list[list[int]]:
    if graph.first is None:
        return np.asarray(graph.inputs).reshape(len(graph), graph.most).tolist()
    return [graph.inputs[graph.first[i] : graph.first[i + 1]].tolist() for i in range(len(graph))]


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint64"])
def test_an_array_of_any_integers_is_taken(dtype: str) -> None:
    rows = [[0, 0], [0, 1]] if dtype.startswith("u") else [[-1, -1], [0, -1]]
    assert inputs_of(MatrixGraph(np.array(rows, dtype), add)) == rows


def test_a_list_of_rows_is_an_array_too() -> None:
    assert inputs_of(MatrixGraph([[-1], [0]], add)) == [[-1], [0]]


def test_changing_the_array_afterwards_changes_nothing() -> None:
    array = np.array([[-1], [0]], np.int32)
    graph = MatrixGraph(array, add)
    array[:] = 1_000_000
    assert inputs_of(graph) == [[-1], [0]]


@pytest.mark.parametrize(
    ("arguments", "error", "what"),
    [
        ((np.zeros(3, int), add), ValueError, r"its shape is \(n, k\), not \(3,\)"),
        ((np.zeros((3, 2)), add), TypeError, "array of integers, not of float64"),
        ((np.zeros((3, 3), bool), add), TypeError, "scipy.sparse.csr_array"),
        ((np.array([[-1], [2]]), add), ValueError, r"node 1 has the inputs \[2\], but numbers go from 0 to 1"),
        ((np.array([[-2], [0]]), add), ValueError, r"node 0 has the inputs \[-2\]"),
        ((np.array([[1 << 40]], np.uint64), add), ValueError, "node 0"),
        ((np.broadcast_to(np.int8(-1), (1 << 31, 1)), add), ValueError, "at most 2,147,483,646 nodes"),
        ((np.empty((2, 0), int), "add"), TypeError, "must be callable, not str"),
        ((np.empty((2, 0), int), []), ValueError, "1 to 65,536 functions, not 0"),
        ((np.empty((2, 0), int), [add, max]), ValueError, "`which` must say"),
        ((np.empty((2, 0), int), [add, max], [0, 2]), ValueError, "node 1 calls function 2, but there are 2"),
        ((np.empty((2, 0), int), [add, max], [0.0, 1.0]), TypeError, "integers, not float64"),
        ((np.empty((2, 0), int), [add, max], [0]), ValueError, r"its shape is \(2,\), not \(1,\)"),
        ((np.empty((2, 0), int), add, None, {1: ([1, 2],)}), ValueError, "for function 1, but there are 1"),
        ((np.empty((2, 0), int), add, None, {0: ([1, 2, 3],)}), ValueError, "has 3 values for the 2 nodes"),
        ((np.empty((2, 0), int), add, None, {0: [1]}), TypeError, "has no len|int"),
        ((np.empty((2, 0), int), add, None, {0: np.zeros((1, 2))}), TypeError, "a tuple of columns"),
        ((np.empty((2, 0), int), add, None, [1]), TypeError, "a dict of tuples of columns"),
    ],
)
def test_what_is_no_graph_is_refused_with_what_is_wrong(arguments: Any, error: type[Exception], what: str) -> None:
    with pytest.raises(error, match=what):
        MatrixGraph(*arguments)


def test_a_graph_may_be_empty() -> None:
    assert len(MatrixGraph(np.empty((0, 2), int), add)) == 0
    assert len(MatrixGraph([[], []], add)) == 2
    assert repr(MatrixGraph([[]], [add, partial(max, 1)], [1])) == "<MatrixGraph of 1 nodes that call 2 functions>"


@pytest.mark.parametrize(
    ("keys", "nodes"),
    [
        (slice(None), [0, 1, 2, 3, 4]),
        (slice(-2, None), [3, 4]),
        (slice(None, None, -2), [4, 2, 0]),
        (range(4, -1, -1), [4, 3, 2, 1, 0]),
        (range(0), []),
        ([3, 3, 0], [3, 3, 0]),
        (np.array([True, False, False, True, False]), [0, 3]),
        ((np.int8(1), 2), [1, 2]),
        ({2}, [2]),
        ([], []),
    ],
)
def test_keys_name_nodes_in_their_order(keys: Any, nodes: list[int]) -> None:
    assert [list(map(part.nodes.node, range(len(part.nodes)))) for part in Asked(keys, 5).parts] == [nodes]


def test_a_list_with_slices_or_arrays_in_it_is_as_many_parts() -> None:
    asked = Asked([slice(1, 3), 4, np.array([0, 4]), range(2)], 5)
    assert [list(map(part.nodes.node, range(len(part.nodes)))) for part in asked.parts] == [[1, 2], [4], [0, 4], [0, 1]]
    assert asked.shape_parts(list("abcd")) == list("abcd")
    assert Asked([1, 2], 5).shape_parts(["a"]) == "a"


@pytest.mark.parametrize(
    ("keys", "error", "what"),
    [
        (5, IndexError, "there is no node 5: numbers go from 0 to 4"),
        (-1, IndexError, "no node -1"),
        (True, TypeError, "not True"),
        ([0, 7], IndexError, "no node 7"),
        (range(3, 6), IndexError, "no node 5"),
        (np.zeros(4, bool), ValueError, "a bool for each of 5 nodes, not 4"),
        ([0.5], TypeError, "integers, not float64"),
        ("abc", ValueError, "one row of numbers"),
        ([[1], [2]], ValueError, "one row of numbers"),
    ],
)
def test_keys_that_name_no_nodes_are_refused(keys: Any, error: type[Exception], what: str) -> None:
    with pytest.raises(error, match=what):
        Asked(keys, 5)
