"""The principal directions of a matrix in chunks, computed with `scheduler=client`. `python -m examples.dask_array`."""

from typing import Any

import dask
import dask.array as da
import numpy as np

from scaler import Client, SchedulerClusterCombo

ROWS, COLUMNS, CHUNK = 40_000, 60, 4_000
HIDDEN = 3  # directions in which there is more than noise


def make_table() -> Any:
    """Noise around a plane of few dimensions. Nothing is computed yet, here nor in the next function."""
    numbers = da.random.default_rng(1)
    hidden = numbers.standard_normal((ROWS, HIDDEN), chunks=(CHUNK, HIDDEN))
    directions = np.random.default_rng(2).standard_normal((HIDDEN, COLUMNS))
    return hidden @ directions + 0.5 * numbers.standard_normal((ROWS, COLUMNS), chunks=(CHUNK, COLUMNS))


def covariance(table: Any) -> Any:
    """Of the columns."""
    centred = table - table.mean(axis=0)
    return centred.T @ centred / (ROWS - 1)


def main() -> None:
    table = make_table()
    wanted = covariance(table), table.mean(axis=0)
    with SchedulerClusterCombo(n_workers=2) as combo, Client(combo.get_address()) as client:
        found, means = dask.compute(*wanted, scheduler=client)

    here, means_here = dask.compute(*wanted, scheduler="threads")
    assert np.allclose(found, here)
    assert np.allclose(means, means_here)
    variances = np.linalg.eigvalsh(found)[::-1]
    print(f"{ROWS:,} x {COLUMNS} in {table.numblocks[0]} chunks")
    print("largest variances:", *(f"{variance:.1f}" for variance in variances[: HIDDEN + 2]))
    print(f"{HIDDEN} directions have more than noise; Dask's threads have computed the same")


if __name__ == "__main__":
    main()
