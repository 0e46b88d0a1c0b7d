"""Tasks that take for ever, each in its own way. They leave marks in a folder: when they begin, and when they end."""

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scaler._native import HEADERS_OFFSET, LAYOUT_MAGIC, PAGE, RING_HEADER_BYTES, RINGS

LONG_S = 60.0
_GIL_HELD = ctypes.PyDLL(None)


def mark(folder: str, name: str) -> None:
    """Each line is one time that this happened."""
    with open(Path(folder) / name, "a") as file:
        file.write(f"{os.getpid()}\n")


def marks(folder: str | Path, name: str) -> list[int]:
    """The processes that left this mark, whole lines only."""
    path = Path(folder) / name
    return [int(line) for line in path.read_text().splitlines(True) if line.endswith("\n")] if path.exists() else []


def last_for_ever(folder: str, way: str) -> str:
    try:
        if way in STUBBORN:
            STUBBORN[way](lambda: mark(folder, f"{way} began"))
        else:
            mark(folder, f"{way} began")
            WAYS[way]()
    finally:
        mark(folder, f"{way} ended")
    return way


def sleep() -> None:
    time.sleep(LONG_S)


def wait_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def compute() -> None:
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        pass


def swallow_exceptions() -> None:
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        try:
            time.sleep(0.001)
        except Exception:
            pass


def wait_for_a_process() -> None:
    subprocess.run([sys.executable, "-c", f"import time; time.sleep({LONG_S})"], check=True)


def swallow_everything(within: Callable[[], object] = lambda: None) -> None:
    """`within()` is called once nothing that is raised ends this any more."""
    end = time.monotonic() + LONG_S
    is_told = False
    while time.monotonic() < end:
        try:
            if not is_told:
                is_told = True
                within()
            time.sleep(0.001)
        except BaseException:
            pass


def hold_the_gil() -> None:
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        _GIL_HELD.usleep(int(LONG_S * 1e6))  # ends early with a signal
    raise AssertionError("nobody stopped it")


def never_return(within: Callable[[], object]) -> None:
    """In C code that goes on after signals, with the GIL; also if it was to stop before it came there."""
    is_told = False
    while True:
        try:
            if not is_told:
                is_told = True
                within()
            _GIL_HELD.qsort(*_endless_sort())
        except BaseException:
            pass


def raise_another() -> None:
    try:
        time.sleep(LONG_S)
    finally:
        raise ValueError("not what was raised")


def tidy_up_for_ever(within: Callable[[], object]) -> None:
    try:
        within()
        time.sleep(LONG_S)
    finally:
        time.sleep(LONG_S)


def _endless_sort() -> tuple[Any, ...]:
    """Arguments with which qsort takes minutes: its comparison is `usleep`, called with an address."""
    return ctypes.create_string_buffer(1 << 12), 1 << 12, 1, ctypes.cast(_GIL_HELD.usleep, ctypes.c_void_p)


WAYS = {
    "sleep": sleep,
    "lock": wait_for_a_lock,
    "compute": compute,
    "swallow": swallow_exceptions,
    "process": wait_for_a_process,
    "raise another": raise_another,
}
PROMPT = tuple(WAYS)
# Nothing that is raised stops these: each calls what it is given as soon as that holds.
STUBBORN: dict[str, Callable[[Callable[[], object]], object]] = {
    "swallow everything": swallow_everything,
    "never return": never_return,
    "tidy up": tidy_up_for_ever,
}


def write_over_rings(folder: str, where: str) -> str:
    """The first time, write over this worker's rings, and never end. The second time it is done at once."""
    if marks(folder, "wrote"):
        return where
    for start, size in _own_rings():
        at, length = (HEADERS_OFFSET, RINGS * RING_HEADER_BYTES) if where == "positions" else (PAGE, size - PAGE)
        ctypes.memset(start + at, 0 if where == "zeros" else 0x5B, length)
    mark(folder, "wrote")
    swallow_everything()
    return ""


def _own_rings() -> list[tuple[int, int]]:
    """(address, size) of the segments in this process that are laid out as a peer's."""
    found = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "scaler-" in line and "rw-s" in line:
            start, end = (int(word, 16) for word in line.split()[0].split("-"))
            if int.from_bytes(ctypes.string_at(start, 4), "little") == LAYOUT_MAGIC:
                found.append((start, end - start))
    return found


def leave_a_process(folder: str) -> None:
    """Start a process that stays, and go on whatever is raised."""
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({LONG_S})"])

    def tell() -> None:
        with open(Path(folder) / "child", "w") as file:
            file.write(f"{child.pid}\n")

    swallow_everything(tell)


def hold(folder: str, array: Any) -> int:
    mark(folder, "hold began")
    try:
        time.sleep(LONG_S)
    finally:
        mark(folder, "hold ended")
    return len(array)


def sleep_item(number: int, seconds: float) -> int:
    time.sleep(seconds)
    return number


def fail_once_all_run(folder: str, number: int) -> None:
    """The first fails when the second has begun, which lasts for ever."""
    if number:
        last_for_ever(folder, "sleep")
    end = time.monotonic() + LONG_S
    while not marks(folder, "sleep began") and time.monotonic() < end:
        time.sleep(0.001)
    raise ValueError("the first")
