"""Matrix graphs from dicts and networkx, and their matrices."""

import pickle
from operator import add
from typing import Any

import numpy as np
import pytest

from scaler import MatrixGraph
from scaler._native import MatrixNodes, NodeRange
from scaler.values.reference import same
from tests.client.graph.test_matrix import inputs_of
from tests.native.client.test_matrix_nodes import run_all


def values_of(graph: MatrixGraph) -> list[Any]:
    """Of all nodes, run here."""
    nodes = MatrixNodes(
        graph.count, graph.inputs, graph.first, graph.most, len(graph.functions), graph.which, graph.columns,
        pickle.dumps,
    )  # fmt: skip
    nodes.ask(NodeRange(graph.count))
    run_all(nodes, *graph.functions)
    return [nodes.value(node, pickle.loads) for node in range(len(graph))]


def describe(*args: Any, **keywords: Any) -> Any:
    return args, keywords


def test_a_dict_is_a_graph_whose_keys_have_numbers() -> None:
    graph, numbers = MatrixGraph.from_dict(
        {"a": 2, "b": (add, "a", 1), "c": (add, 1, "b"), "d": (add, "c", "c"), "e": (sum, ["a", "b", 10]), 7: ()}
    )
    found = values_of(graph)
    values = {key: found[number] for key, number in numbers.items()}
    assert values == {"a": 2, "b": 3, "c": 4, "d": 8, "e": 15, 7: ()}
    assert add in graph.functions


def test_calls_alike_are_one_function() -> None:
    graph, _ = MatrixGraph.from_dict({"n0": (add, 0, 1)} | {f"n{i}": (add, f"n{i - 1}", 1) for i in range(1, 50)})
    assert len(graph.functions) == 2


def test_nested_calls_and_lists_have_holes() -> None:
    graph, numbers = MatrixGraph.from_dict(
        {"a": 1, "b": (describe, [("a", {"k": "a"})], (add, "a", (add, "a", 5))), "c": (describe, "b", {"x": [1]})}
    )
    assert values_of(graph)[numbers["b"]] == (([(1, {"k": 1})], 7), {})
    assert values_of(graph)[numbers["c"]][0][1] == {"x": [1]}


def test_networkx_edges_lead_to_what_needs_them() -> None:
    networkx = pytest.importorskip("networkx")
    graph = networkx.DiGraph()
    graph.add_node("a", function=same, arguments=(5,))
    graph.add_node("b", function=same, arguments=(3,))
    graph.add_edge("b", "difference", position=1)
    graph.add_edge("a", "difference", position=0)
    graph.add_edge("a", "twice", position=(0, 1))
    graph.add_edge("b", "plain")
    made, numbers = MatrixGraph.from_networkx(graph, describe)
    values = values_of(made)
    assert values[numbers["difference"]] == ((5, 3), {})
    assert values[numbers["twice"]] == ((5, 5), {})
    assert values[numbers["plain"]] == ((3,), {})
    with pytest.raises(ValueError, match="of this graph has no attribute `function`"):
        MatrixGraph.from_networkx(graph)
    graph.add_edge("a", "plain", position=2)
    with pytest.raises(ValueError, match=r"the edges to node 'plain' have positions that are not 0, 1, 2"):
        MatrixGraph.from_networkx(graph, describe)
    with pytest.raises(ValueError, match="no directions"):
        MatrixGraph.from_networkx(networkx.Graph(), describe)


@pytest.mark.parametrize("library", ["scipy", "graphblas"])
@pytest.mark.parametrize("inputs", [[[-1, -1], [0, 0], [-1, 1], [2, 0]], [[], [], []], np.empty((0, 2), int)])
def test_a_matrix_says_what_the_graph_did(library: Any, inputs: Any) -> None:
    pytest.importorskip(library)
    graph = MatrixGraph(np.array(inputs, int).reshape(len(inputs), -1 if len(inputs) else 2), add)
    rows = [[number for number in row if number >= 0] for row in inputs_of(graph)]
    assert inputs_of(MatrixGraph(graph.to_matrix(library), add)) == rows
    assert inputs_of(MatrixGraph(MatrixGraph(graph.to_matrix(library), add).to_matrix(library), add)) == rows


def test_a_matrix_of_unknown_make_is_refused() -> None:
    with pytest.raises(ValueError, match="'numpy'"):
        MatrixGraph([[-1]], add).to_matrix("numpy")  # type: ignore[arg-type]


def test_masks_have_an_end() -> None:
    graph = MatrixGraph([[-1] * 70, [0] * 70], add)
    with pytest.raises(ValueError, match="node 1 has 70 inputs, and masks have 63 positions"):
        graph.to_matrix()


def test_trues_of_graphblas_are_inputs() -> None:
    graphblas = pytest.importorskip("graphblas")
    matrix = graphblas.Matrix.from_coo([1, 2, 2], [0, 1, 0], [True, True, True], nrows=3, ncols=3)
    assert inputs_of(MatrixGraph(matrix, add)) == [[], [0], [0, 1]]
