"""Functions that the tests have workers run."""

import asyncio
import ctypes
import os
import sys
import time
from typing import Any


def add_one(x: int) -> int:
    return x + 1


def echo(value: Any) -> Any:
    return value


def sleep_for(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def sleep_and_count(number: int, seconds: float) -> int:
    time.sleep(seconds)
    return number


def process_id(_: Any = None) -> int:
    return os.getpid()


def names_in_main() -> list[str]:
    return [name for name in vars(sys.modules["__main__"]) if not name.startswith("__")]


class Trouble(ValueError):
    """What an exception may be derived from."""


def fail(text: str) -> None:
    raise ValueError(text)


def die() -> None:
    os.kill(os.getpid(), 9)


def fill_memory() -> None:
    """Take more and more, until the kernel ends it."""
    taken = []
    while True:
        taken.append(b"x" * (16 << 20))


def describe_call(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    return args, kwargs


def append_to(items: list[Any], value: Any) -> list[Any]:
    items.append(value)
    return items


def exit_process() -> None:
    raise SystemExit(3)


def note(path: str, number: int) -> int:
    """Leave a mark for each time this was run."""
    mark = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(mark, b"%d\n" % number)
    os.close(mark)
    return number


def note_slowly(path: str, number: int, seconds: float) -> int:
    """As `note`, and take a while."""
    note(path, number)
    time.sleep(seconds)
    return number


def note_process_and_sleep(path: str, seconds: float) -> float:
    """Say which process this is."""
    note(path, os.getpid())
    time.sleep(seconds)
    return seconds


def hold_interpreter(seconds: int) -> int:
    """Keep Python's lock for so long, as a call into C may. Which process did so."""
    ctypes.PyDLL(None).sleep(seconds)
    return os.getpid()


def big(n_bytes: int) -> bytes:
    return b"x" * n_bytes


def length_and_process(data: bytes) -> tuple[int, int]:
    time.sleep(0.02)
    return len(data), os.getpid()


def mark_and_wait(mark: str, gate: str) -> str:
    """Leave a mark, then wait for the gate."""
    note(mark, 1)
    return wait_for(gate)


def wait_or_echo(value: Any) -> Any:
    """Wait for a file of this name, if it is one."""
    return wait_for(value) if isinstance(value, str) else value


def wait_for(path: str) -> str:
    """Run until the test makes this file: for what must happen while a task runs, however slow the machine is."""
    deadline = time.monotonic() + 60
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody made {path}")
        time.sleep(0.002)
    return path


def total(array: Any) -> int:
    return int(array.sum())


def slow_total(array: Any, seconds: float) -> int:
    time.sleep(seconds)
    return int(array.sum())


class Adder:
    """Carries an array; its methods are functions that do."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def add(self, number: int) -> int:
        return int(self._array.sum()) + number


def note_and_die(path: str, number: int) -> None:
    """As `note`, and take the worker along."""
    note(path, number)
    die()


def note_and_fill_memory(path: str, number: int) -> None:
    """As `note`, and take all memory there is."""
    note(path, number)
    fill_memory()


def note_and_wait(path: str, number: int, gate: str) -> int:
    """Leave a mark, and run until the test makes the file `gate`."""
    with open(path + ".pid", "w") as file:
        file.write(str(os.getpid()))
    note(path, number)
    wait_for(gate)
    return number


class SlowToLoad:
    """A function that a worker has when the gate is open."""

    def __init__(self, log: str, gate: str) -> None:
        self.log, self.gate = log, gate

    def __reduce__(self) -> Any:
        return load_slowly, (self.log, self.gate)

    def __call__(self, array: Any) -> int:
        return total(array)


def load_slowly(log: str, gate: str) -> Any:
    note(log, 0)
    wait_for(gate)
    return total


def wait_and_fill(n_bytes: int, value: int) -> Any:
    import numpy  # only workers that are asked for arrays wait for that

    time.sleep(0.1)
    return numpy.full(n_bytes, value, numpy.uint8)


def note_big(path: str, number: int, n_bytes: int, seconds: float) -> bytes:
    """Leave a mark at the beginning and at the end."""
    note(path, number)
    time.sleep(seconds)
    note(path, number)
    return b"x" * n_bytes


def note_and_die_at(path: str, number: int, deadly: int) -> int:
    """As `note`, and one of them takes the worker along."""
    note(path, number)
    if number == deadly:
        die()
    return number


def fail_times(path: str, times: int, kind: str, items: list[int]) -> list[int]:
    """Raises the first `times` times, counting in a file; else `items` with one item more, which it had none of."""
    with open(path, "a+") as file:
        file.write("x")
        count = file.tell()
    items.append(1)
    if count <= times:
        raise {"KeyError": KeyError, "ValueError": ValueError}[kind](str(count))
    return items


async def fail_times_later(path: str, times: int) -> list[int]:
    """`fail_times` as a coroutine."""
    await asyncio.sleep(0)
    return fail_times(path, times, "KeyError", [])


def raise_here(kind, *args):
    raise kind(*args)
