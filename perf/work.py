"""What the benchmarks have workers do: next to nothing, so that the engine is what is measured.

A module of its own that imports nothing dear, since every worker of every engine imports it.
"""

import time


def same(x: int) -> int:
    """The no-op of all rows."""
    return x


def first(call: tuple[int]) -> int:
    """`same` for engines whose map gives one argument only."""
    return call[0]


def sleep_for(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
