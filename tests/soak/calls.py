"""What the workers of a soak run."""

import time
from typing import Any


def same(x: int) -> int:
    return x


def plus_one(array: Any) -> Any:
    return array + 1


def fail(text: str) -> None:
    raise ValueError(text)


def sleep_for(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def add_first(array: Any, x: int) -> int:
    return int(array[0]) + x
