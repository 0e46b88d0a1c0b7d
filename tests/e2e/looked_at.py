"""Tasks that are looked at while they run. A module of its own, so that they go by name, and their lines are known."""

import contextlib
import ctypes
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any


def sleep_in_here(path: str, seconds: float) -> float:
    began = time.monotonic()
    Path(path).touch()
    time.sleep(seconds)  # line of the sleep
    return time.monotonic() - began


def loop_in_here(path: str, stop: str) -> int:
    Path(path).touch()
    count = 0
    while not os.path.exists(stop):
        count = turn(count)  # line of the loop
    return count


def turn(count: int) -> int:
    return count + 1


def compute_in_c(path: str, count: int) -> int:
    Path(path).touch()
    return sum(range(count))  # one call of C, which holds the interpreter's lock throughout


def wait_for_threads(path: str, stop: str) -> None:
    threads = [threading.Thread(target=wait_in_thread, args=(stop,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    Path(path).touch()
    for thread in threads:
        thread.join()


def wait_in_thread(stop: str) -> None:
    while not os.path.exists(stop):
        time.sleep(0.05)


def read_by_c(path: str, fifo: str) -> tuple[int, int, bytes]:
    """What the C library's own read says, which tries nothing again by itself: (result, errno, what came)."""
    libc = ctypes.CDLL(None, use_errno=True)
    space = ctypes.create_string_buffer(100)
    descriptor = os.open(fifo, os.O_RDWR)
    Path(path).touch()
    count = libc.read(descriptor, space, 100)
    error = ctypes.get_errno()
    os.close(descriptor)
    return count, error, space.value


def take_the_signal(path: str, stop: str) -> None:
    signal.signal(signal.SIGWINCH, lambda *_: None)
    Path(path).touch()
    wait_in_thread(stop)


def wait_for_child(client: Any, path: str, stop: str) -> Any:
    return client.submit(loop_in_here, path, stop).result()


def fork_and_wait(path: str, stop: str) -> int:
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            wait_in_thread(stop)
        os._exit(0)
    Path(path).touch()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
