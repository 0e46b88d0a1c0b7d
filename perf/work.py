"""What the benchmarks have workers do: next to nothing, so that the engine is what is measured.

A module of its own that imports nothing dear, since every worker of every engine imports it.
"""

import time
from typing import Any

PAGE_BYTES = 4096


def same(x: int) -> int:
    """The no-op of all rows."""
    return x


def first(call: tuple[int]) -> int:
    """`same` for engines whose map gives one argument only."""
    return call[0]


def sleep_for(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def sleep_unevenly(seconds: float) -> float:
    """A function of its own, so that nobody has an opinion yet how long it takes."""
    time.sleep(seconds)
    return seconds


def sleep_as(_: Any, seconds: float) -> float:
    """With `functools.partial` and something new as its first argument, a function that nobody has called before."""
    time.sleep(seconds)
    return seconds


def sleep_and_tell(seconds: float) -> float:
    """When this task ended, on the clock that all processes of a machine share."""
    time.sleep(seconds)
    return time.monotonic()


def filled(n_bytes: int, value: int) -> Any:
    """A new array of bytes."""
    import numpy  # only those who call it wait for that

    return numpy.full(n_bytes, value, numpy.uint8)


def page_sum(array: Any) -> int:
    """Reads one byte of each page: all of the array must be there, and memory bandwidth is not what is measured."""
    return int(array[::PAGE_BYTES].sum(dtype="uint64"))


def page_sum_and_stay(array: Any, seconds: float) -> int:
    """The same, and have it for a while."""
    answer = page_sum(array)
    time.sleep(seconds)
    return answer


def plus(x: int, y: int) -> int:
    """What nodes of graphs do. A function of Python's, since Ray takes no other."""
    return x + y


def second(_: Any, x: int) -> int:
    """`same`, with something before it that is not looked at."""
    return x


def total(array: Any) -> float:
    """The sum of an array, as a cheap objective of an optimizer."""
    return float(array.sum())


def bowl(x: Any) -> float:
    """A cheap function with a minimum."""
    return float(((x - 1) ** 2).sum())


def minus_bowl(x: Any) -> float:
    """A cheap logarithm of a probability."""
    return -bowl(x)
