"""A chain of options with known volatilities, and the volatility that a price implies.

The chain is made here instead of being fetched, so what comes out can be compared with what went in.
"""

import math
from typing import NamedTuple

SPOT, RATE = 100.0, 0.02
MOST_STEPS = 60


class Quote(NamedTuple):
    """A call and what it costs."""

    strike: float
    years: float
    price: float


def smile(strike: float, years: float) -> float:
    """The volatility that the chain is made with: higher for strikes far from the money, less so for longer times."""
    distance = math.log(strike / SPOT)
    return 0.18 - 0.06 * distance / math.sqrt(years) + 0.25 * distance**2 / math.sqrt(years)


def call_price(strike: float, years: float, volatility: float) -> float:
    """By Black and Scholes."""
    deviation = volatility * math.sqrt(years)
    first = (math.log(SPOT / strike) + RATE * years) / deviation + deviation / 2
    return SPOT * _normal(first) - strike * math.exp(-RATE * years) * _normal(first - deviation)


def implied_volatility(strike: float, years: float, price: float) -> float:
    """The volatility at which the call costs this much. ValueError if it costs it at none.

    Newton's steps, and a bisection where such a step would leave what is known to bracket the answer.
    """
    least = max(SPOT - strike * math.exp(-RATE * years), 0.0)
    if not least < price < SPOT:
        raise ValueError(f"a call with strike {strike:g} costs between {least:.2f} and {SPOT:g}, never {price:g}")
    low, high, guess = 1e-4, 5.0, 0.3
    for _ in range(MOST_STEPS):
        error = call_price(strike, years, guess) - price
        low, high = (low, guess) if error > 0 else (guess, high)
        first = (math.log(SPOT / strike) + RATE * years) / (guess * math.sqrt(years)) + guess * math.sqrt(years) / 2
        vega = SPOT * math.sqrt(years / (2 * math.pi)) * math.exp(-(first**2) / 2)
        step = error / vega if vega > 1e-12 else math.inf
        if abs(step) < 1e-10:
            return guess
        guess = guess - step if low < guess - step < high else (low + high) / 2
    return guess


def make_chain(strikes: int, expiries: int) -> list[Quote]:
    """Calls with strikes from 80 to 120 and from a month to two years, at the prices of `smile`."""
    chain = []
    for n in range(expiries):
        years = 1 / 12 + n * (2 - 1 / 12) / (expiries - 1)
        for m in range(strikes):
            strike = 80 + 40 * m / (strikes - 1)
            chain.append(Quote(strike, years, call_price(strike, years, smile(strike, years))))
    return chain


def _normal(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2
