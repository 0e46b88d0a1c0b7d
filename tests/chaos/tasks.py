"""What the workers run. Imports little, since every worker that is started again does so too."""

import os
import signal
import time

from tests.chaos.journal import journal_at

CRASHES_ONCE, CRASHES_ALWAYS = 1, 2


def beat(path: str, task: int, seconds: float, crash: int, payload: bytes) -> tuple[int, bytes]:
    """A task that says when it ran; its answer is its number and its payload turned round."""
    journal = journal_at(path)
    run = journal.begin(task)
    if crash == CRASHES_ALWAYS or (crash == CRASHES_ONCE and run == 0):
        os.kill(os.getpid(), signal.SIGSEGV)
    if seconds:
        time.sleep(seconds)
    journal.end(task, run)
    return task, payload[::-1]


def square(x: int) -> int:
    """One call of a map: too short to be sent by itself."""
    return x * x


def join(n_bytes: int, seconds: float, number: int, *below: tuple[int, bytes]) -> tuple[int, bytes]:
    """A node of a graph: the sum of its number and those below, and so many bytes. It looks at what came with those."""
    if seconds:
        time.sleep(seconds)
    assert all(data == bytes(len(data)) for _, data in below)
    return number + sum(total for total, _ in below), bytes(n_bytes)


def idle(seconds: float) -> None:
    """What clients submit that are killed."""
    time.sleep(seconds)
