"""Find good parameters of a kernel regression by successive halving. `python -m examples.tuning`.

Many candidates are tried on little data, the better third of them on three times as much, and so on. The data is sent
once, by `send_object`, however many tasks read it.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaler import Client, ObjectReference, SchedulerClusterCombo, as_completed

Array = NDArray[np.float64]
SAMPLES, FOLDS, CANDIDATES, KEPT = 900, 3, 54, 3
NOISE = 0.1


class Candidate(NamedTuple):
    """Parameters to be tried."""

    width: float
    penalty: float


class Data(NamedTuple):
    """What is to be learnt: y from x."""

    x: Array
    y: Array


def make_data() -> Data:
    """A curved surface over four dimensions, the last of which means nothing, and noise."""
    numbers = np.random.default_rng(5)
    x = numbers.uniform(-1, 1, (SAMPLES, 4))
    y = np.sin(3 * x[:, 0]) + x[:, 1] ** 2 - x[:, 0] * x[:, 2] + NOISE * numbers.standard_normal(SAMPLES)
    return Data(x, y)


def validate(data: Data, candidate: Candidate, samples: int) -> float:
    """The error of this candidate on what it was not shown, over FOLDS parts of the first so many samples."""
    errors = []
    for fold in range(FOLDS):
        is_held_out = np.arange(samples) % FOLDS == fold
        x, y = data.x[:samples][~is_held_out], data.y[:samples][~is_held_out]
        weights = np.linalg.solve(_kernel(x, x, candidate.width) + candidate.penalty * np.eye(len(x)), y)
        predicted = _kernel(data.x[:samples][is_held_out], x, candidate.width) @ weights
        errors.append(np.mean((predicted - data.y[:samples][is_held_out]) ** 2))
    return math.sqrt(np.mean(errors))


def _kernel(a: Array, b: Array, width: float) -> Array:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
    kernel: Array = np.exp(-squares / (2 * width**2))
    return kernel


def draw_candidates() -> list[Candidate]:
    """Evenly over the logarithms."""
    numbers = np.random.default_rng(11)
    return [Candidate(*(float(10**x) for x in numbers.uniform((-1.5, -5), (1, 1)))) for _ in range(CANDIDATES)]


def search(client: Client, data: "ObjectReference") -> Candidate:
    """The best of all, after as many rounds as it takes."""
    candidates, samples = draw_candidates(), SAMPLES // KEPT**2
    while True:
        asked = {client.submit(validate, data, candidate, samples): candidate for candidate in candidates}
        scored = sorted((done.result(), asked[done]) for done in as_completed(asked))
        print(f"{len(candidates):3} candidates on {samples:3} samples: the best has an error of {scored[0][0]:.3f}")
        if samples == SAMPLES:
            return scored[0][1]
        candidates = [candidate for _, candidate in scored[: len(scored) // KEPT]]
        samples *= KEPT


def main() -> None:
    with SchedulerClusterCombo(n_workers=2) as combo, Client(combo.get_address()) as client:
        best = search(client, client.send_object(make_data()))
    print(f"width {best.width:.2f}, penalty {best.penalty:.4f}; the noise in the data is {NOISE}")


if __name__ == "__main__":
    main()
