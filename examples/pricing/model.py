"""One option, and what a batch of paths says about its value and its Greeks.

Paths are those of a geometric Brownian motion. The Greeks of European options come from the same paths as the value:
delta and vega are derivatives along each path, and gamma, whose payoff has a kink, weighs each path by the derivative
of its likelihood. An Asian option pays by the mean of the price at `DATES` times; its gamma is not worked out.

Not here: how the batches are spread and put together (book).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

DATES = 12
GREEKS = ("value", "delta", "gamma", "vega")
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Option:
    """What is owned: `position` of these, each on one share."""

    kind: Literal["call", "put", "asian"]
    spot: float
    strike: float
    years: float
    volatility: float
    rate: float
    position: int


def simulate(option: Option, seed: np.random.SeedSequence, paths: int) -> Array:
    """Sums over so many paths, one row for each of GREEKS: of the figure, and of its square."""
    normals = np.random.default_rng(seed).standard_normal((paths, DATES if option.kind == "asian" else 1))
    per_path = _asian(option, normals) if option.kind == "asian" else _european(option, normals[:, 0])
    return np.stack([per_path.sum(axis=1), (per_path**2).sum(axis=1)], axis=1)


def _european(option: Option, normals: Array) -> Array:
    sign = 1.0 if option.kind == "call" else -1.0
    deviation = option.volatility * math.sqrt(option.years)
    growth = (option.rate - option.volatility**2 / 2) * option.years + deviation * normals
    price = option.spot * np.exp(growth)
    pays = math.exp(-option.rate * option.years) * (sign * (price - option.strike) > 0)
    value = pays * sign * (price - option.strike)
    delta = pays * sign * price / option.spot
    gamma = pays * sign * option.strike * normals / (option.spot**2 * deviation)
    vega = pays * sign * price * (math.sqrt(option.years) * normals - option.volatility * option.years)
    return np.stack([value, delta, gamma, vega])


def _asian(option: Option, normals: Array) -> Array:
    step = option.years / DATES
    times = step * np.arange(1, DATES + 1)
    noise = np.cumsum(normals, axis=1) * math.sqrt(step)
    prices = option.spot * np.exp((option.rate - option.volatility**2 / 2) * times + option.volatility * noise)
    mean = prices.mean(axis=1)
    pays = math.exp(-option.rate * option.years) * (mean > option.strike)
    value = pays * (mean - option.strike)
    delta = pays * mean / option.spot
    vega = pays * (prices * (noise - option.volatility * times)).mean(axis=1)
    return np.stack([value, delta, np.full_like(value, np.nan), vega])


def black_scholes(option: Option) -> float:
    """The value of a European option in closed form, by which the simulation is checked."""
    deviation = option.volatility * math.sqrt(option.years)
    drift = math.log(option.spot / option.strike) + option.rate * option.years
    first, second = drift / deviation + deviation / 2, drift / deviation - deviation / 2
    discounted = option.strike * math.exp(-option.rate * option.years)
    sign = 1.0 if option.kind == "call" else -1.0
    return sign * (option.spot * _normal(sign * first) - discounted * _normal(sign * second))


def _normal(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2
