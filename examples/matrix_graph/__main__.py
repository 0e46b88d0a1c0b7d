"""Value an American option on a lattice of a million nodes. `python -m examples.matrix_graph`."""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaler import Client, MatrixGraph, SchedulerClusterCombo

STEPS = 1413
SPOT, STRIKE, YEARS, RATE, VOLATILITY = 100.0, 105.0, 1.0, 0.05, 0.25
UP = float(np.exp(VOLATILITY * np.sqrt(YEARS / STEPS)))
DISCOUNT = float(np.exp(-RATE * YEARS / STEPS))
CHANCE = (1 / DISCOUNT - 1 / UP) / (UP - 1 / UP)

Array = NDArray[Any]


def hold(down: float, up: float, exercised: float, chance: float, discount: float) -> float:
    """What the option is worth if it is exercised now, or held for another step, whichever is more."""
    return max(exercised, discount * (chance * up + (1 - chance) * down))


def pay(exercised: float) -> float:
    """What it is worth in the end."""
    return exercised


def lattice(steps: int) -> tuple[Array, Array, Array]:
    """Of each node: its step, how often the price has risen, and which two nodes of the next step it needs."""
    step = np.repeat(np.arange(steps + 1), np.arange(1, steps + 2))
    first = step * (step + 1) // 2
    rises = np.arange(len(step)) - first
    below = first + step + 1 + rises
    inputs = np.stack([below, below + 1], axis=1)
    inputs[step == steps] = -1
    return step, rises, inputs


def main() -> None:
    step, rises, inputs = lattice(STEPS)
    exercised = np.maximum(0.0, STRIKE - SPOT * UP ** (2.0 * rises - step))
    is_last = step == STEPS
    graph = MatrixGraph(
        inputs,
        [functools.partial(hold, chance=CHANCE, discount=DISCOUNT), pay],
        which=is_last,
        arguments={0: (exercised[~is_last],), 1: (exercised[is_last],)},
    )
    print(f"{len(graph):,} nodes, of which {int(is_last.sum()):,} need no other")
    with SchedulerClusterCombo(n_workers=2) as combo, Client(combo.get_address()) as client:
        values = client.get(graph, slice(None), dtype=float)

    expected = exercised[is_last]
    for at in range(STEPS - 1, -1, -1):
        held = DISCOUNT * (CHANCE * expected[1:] + (1 - CHANCE) * expected[:-1])
        expected = np.maximum(exercised[step == at], held)
    assert values[0] == expected[0], "numpy, level by level, has another value"
    print(f"the put is worth {values[0]:.4f}, as numpy has it")
    is_exercised = (values == exercised) & (exercised > 0) & ~is_last
    for quarter in (1, 2, 3):
        prices = STRIKE - exercised[is_exercised & (step == STEPS * quarter // 4)]
        print(f"after {quarter} of 4 quarters it is exercised below {prices.max():.2f}")


if __name__ == "__main__":
    main()
