"""Alternating rounds: how things are compared on a machine that is never twice the same.

In each round everybody has a turn, in an order that moves on from round to round; ratios are taken within a round, and
what is reported is their median and their worst. So a machine that slows down for a while slows down all of them.
"""

import gc
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)
ROUNDS = 9


def timed(job: Callable[[], Any], expected: Any = None) -> float:
    """How many seconds the job takes. Its answer is compared afterwards, if `expected` is not None."""
    gc.collect()  # nobody pays for another's rubbish
    start = time.perf_counter()
    answer = job()
    seconds = time.perf_counter() - start
    if expected is not None and answer != expected:
        raise AssertionError(f"a wrong answer came back: {str(answer)[:200]}")
    return seconds


def p50_s(call: Callable[[int], int], n: int) -> float:
    """The median of n calls, one at a time, each of which must give back its argument."""
    times = []
    for i in range(n):
        start = time.perf_counter()
        answer = call(i)
        times.append(time.perf_counter() - start)
        if answer != i:
            raise AssertionError(f"{answer} came back for {i}")
    return median(times)


def alternate(turns: Mapping[K, Callable[[], float]], rounds: int = ROUNDS) -> dict[K, list[float]]:
    """What each turn gave, by name, one value per round."""
    names = list(turns)
    values: dict[K, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        at = number % len(names)
        for name in names[at:] + names[:at]:
            values[name].append(turns[name]())
    return values


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    return [a / b for a, b in zip(ours, theirs, strict=True)]


median = statistics.median
