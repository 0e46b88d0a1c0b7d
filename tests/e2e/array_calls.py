"""Functions on arrays that the tests have workers run."""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tests.e2e.calls import wait_for

kept: dict[str, Any] = {}  # beyond the task


@dataclass
class Pair:
    name: str
    left: np.ndarray
    right: np.ndarray


class ArrayError(Exception):
    """Carries an array."""


def add_in_place(array: np.ndarray, value: int) -> np.ndarray:
    array += value
    return array


def look(array: np.ndarray) -> tuple[int, int, bool]:
    """(its first element, its last one, whether it can be written)."""
    return int(array[0]), int(array[-1]), array.flags.writeable


def wait_and_look(array: np.ndarray, path: str) -> tuple[int, int, bool]:
    wait_for(path)
    return look(array)


def look_into(value: Any) -> Any:
    """The same for all arrays in lists, tuples and dicts."""
    if isinstance(value, dict):
        return {key: look_into(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(look_into(item) for item in value)
    return look(value)


def look_at_all(*args: Any, **kwargs: Any) -> Any:
    return look_into((args, kwargs))


def swap(pair: Pair) -> Pair:
    return Pair(pair.name, pair.right, pair.left)


def make(value: int, n_bytes: int) -> np.ndarray:
    return np.full(n_bytes // 8, value)


def make_later(path: str, n_bytes: int) -> np.ndarray:
    """Write the epoch that this worker belongs to into a file, then take a while."""
    with open("/proc/self/maps") as maps:
        epoch = re.search("scaler-([0-9a-f]{16})-bell", maps.read())
    assert epoch is not None
    with open(f"{path}.new", "w") as file:
        file.write(epoch[1])
    os.rename(f"{path}.new", path)
    time.sleep(0.25)
    return make(1, n_bytes)


def make_pairs(value: int, n_bytes: int) -> dict[str, np.ndarray]:
    return {"same": make(value, n_bytes), "next": make(value + 1, n_bytes)}


def raise_array(array: np.ndarray) -> None:
    raise ArrayError("no", array + 1)


def write_into(array: np.ndarray) -> str:
    try:
        array[0] = 99
    except ValueError as error:
        return str(error)
    return "written"


def keep(name: str, array: np.ndarray) -> int:
    """Look at it for longer than the task takes."""
    kept[name] = array[10:-10]
    return os.getpid()


def is_here(pid: int) -> bool:
    """Whether this is that process. Another is busy for a moment, so that the next one to be asked is that."""
    if os.getpid() != pid:
        time.sleep(0.01)
    return os.getpid() == pid


def look_at_kept(name: str, pid: int) -> Any:
    """What the process kept under this name; None in another."""
    return (True, look(kept[name])) if is_here(pid) else (False, None)


def drop_kept(name: str, pid: int) -> bool:
    return is_here(pid) and kept.pop(name, None) is not None


def fail_in_a_cycle(array: np.ndarray) -> None:
    """Leave garbage that holds the argument until it is collected."""
    try:
        raise ValueError("no")
    except ValueError as error:
        here = [error, array]
        here.append(here)
    raise KeyError("also no")


def adding(array: np.ndarray) -> Callable[[int], int]:
    return partial(add_up, array)


def add_up(*values: Any) -> int:
    return sum(int(np.sum(value)) for value in values)


def first_of(array: np.ndarray, number: int) -> tuple[int, int]:
    return int(array[0]), number


def keep_one_of(arrays: list[np.ndarray], number: int) -> None:
    """Go on looking at this one beyond the task."""
    kept["one of many"] = arrays[number]


def forget_all() -> None:
    kept.clear()
