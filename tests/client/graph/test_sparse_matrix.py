"""Sparse matrices of scipy as graphs: bools, bit masks of argument positions, and what is neither."""

from operator import add

import numpy as np
import pytest

from scaler import MatrixGraph
from tests.client.graph.test_matrix import inputs_of

scipy_sparse = pytest.importorskip("scipy.sparse")


def test_trues_of_a_sparse_matrix_are_inputs_in_ascending_order() -> None:
    matrix = scipy_sparse.coo_array(([True, True, True], ([2, 2, 1], [1, 0, 0])), shape=(3, 3))
    assert inputs_of(MatrixGraph(matrix, add)) == [[], [0], [0, 1]]


def test_falses_of_a_sparse_matrix_are_no_inputs() -> None:
    matrix = scipy_sparse.csr_array(([True, False, True], ([2, 2, 1], [0, 1, 0])), shape=(3, 3))
    assert inputs_of(MatrixGraph(matrix, add)) == [[], [0], [0]]


def test_integers_of_a_sparse_matrix_are_masks_of_argument_positions() -> None:
    matrix = scipy_sparse.csr_array(([2, 1, 3], ([2, 2, 1], [0, 1, 0])), shape=(3, 3))
    assert inputs_of(MatrixGraph(matrix, add)) == [[], [0, 0], [1, 0]]


def test_duplicate_entries_are_added_up_as_scipy_does() -> None:
    matrix = scipy_sparse.coo_array(([1, 2, 4], ([1, 1, 1], [0, 0, 0])), shape=(2, 2))
    assert inputs_of(MatrixGraph(matrix, max)) == [[], [0, 0, 0]]
    as_rows = scipy_sparse.csr_array((np.array([2, 1]), np.array([0, 0]), np.array([0, 0, 2])), shape=(2, 2))
    assert inputs_of(MatrixGraph(as_rows, max)) == [[], [0, 0]]
    assert as_rows.nnz == 2  # the caller's own is as it was


@pytest.mark.parametrize(
    ("masks", "what"),
    [
        ([2, 4], "node 1 has no input for one of its"),
        ([1, 1 << 40], "node 1 has no input for one of its"),
        ([3, 2], "node 1 has two inputs for one argument"),
        ([-1, 1], "the row of node 1 has an entry below 0"),
    ],
)
def test_masks_that_are_not_each_position_once_are_refused(masks: list[int], what: str) -> None:
    matrix = scipy_sparse.csr_array((masks, ([1, 1], [0, 2])), shape=(3, 3))
    with pytest.raises(ValueError, match=what):
        MatrixGraph(matrix, add)


def test_a_broken_sparse_matrix_is_refused() -> None:
    matrix = scipy_sparse.csr_array((np.array([True]), np.array([0]), np.array([0, 0, 1])), shape=(2, 2))
    matrix.indices[0] = 7
    with pytest.raises(ValueError, match="broken"):
        MatrixGraph(matrix, add)
    matrix.indices[0], matrix.indptr[1] = 0, 5
    with pytest.raises(ValueError, match="broken"):
        MatrixGraph(matrix, add)


def test_what_is_no_square_matrix_of_masks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no \(2, 3\) matrix"):
        MatrixGraph(scipy_sparse.csr_array((2, 3), dtype=bool), add)
    with pytest.raises(TypeError, match="bit masks of argument positions, not float64"):
        MatrixGraph(scipy_sparse.csr_array(np.eye(2, k=-1)), add)
