"""Functions that workers import by their names, as `tests.cpp.functions:divide`."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any


class Shop:
    @staticmethod
    def total(prices: list[float], *, discount: float = 0.0) -> float:
        return sum(prices) * (1 - discount)


def echo(*args: Any, **kwargs: Any) -> Any:
    return {"args": args, "kwargs": kwargs}


def divide(a: float, b: float) -> float:
    return a / b


class OddError(Exception):
    pass


def raise_odd(text: str) -> None:
    raise OddError(text)


def give_bytes() -> bytes:
    return b"bytes"


def repeat(text: str, times: int) -> str:
    return text * times


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def note(path: str, number: int, seconds: float = 0.0) -> int:
    with Path(path).open("a") as file:
        file.write(f"{number}\n")
    time.sleep(seconds)
    return number


async def later(seconds: float, value: Any) -> Any:
    await asyncio.sleep(seconds)
    return value
