"""What the tests have engines run."""

import asyncio
import os
import time
from pathlib import Path

import numpy as np

from scaler import current_client


def add(a, b=0, *, c=0):
    return a + b + c


def same(value):
    return value


class OwnError(Exception):
    def __init__(self, number, text):
        super().__init__(text)
        self.number = number


def fail(number):
    raise OwnError(number, f"number {number}")


def fail_odd(number):
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def process(_=None):
    return os.getpid()


def twice(array):
    array *= 2  # its own, and writable
    return array


def total(array):
    assert not array.flags.writeable
    return float(np.sum(array))


async def later(value):
    await asyncio.sleep(0.01)
    return value


def fibonacci(client, n):
    if n < 2:
        return n
    first, second = client.submit(fibonacci, client, n - 1), client.submit(fibonacci, client, n - 2)
    return first.result() + second.result()


def ambient(n):
    """The sum below n, by tasks of the client that is there."""
    return n + current_client().submit(ambient, n - 1).result() if n else 0


def nested_map(client, n):
    return sum(client.map(add, [(i, 1) for i in range(n)]))


def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return seconds


def note(folder, name, seconds=0.0):
    """Leave a file, one more for each time that it is called."""
    number = len(list(Path(folder).glob(f"{name}-*")))
    Path(folder, f"{name}-{number}").touch()
    time.sleep(seconds)
    return name


def await_file(path):
    while not Path(path).exists():
        time.sleep(0.01)
    return path


class Gate:
    """Unpickles as the path of a file, once that is there."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return await_file, (self.path,)


def die_once(folder):
    mark = Path(folder, "died")
    if not mark.exists():
        mark.touch()
        os._exit(7)
    return "alive"


def die():
    os._exit(9)
