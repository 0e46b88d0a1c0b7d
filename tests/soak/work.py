"""What a soak does, round after round: every way in which a program uses a client, in sizes of every kind.

Rule 1: every answer is checked; a wrong one ends the run.
Rule 2: all rounds are alike, so that what is there after one is there after the next.
"""

import functools
import random
import time
from collections.abc import Iterator
from typing import Any

import numpy

from scaler import Client
from tests.soak import calls

SMALL_TASKS, MAP_CALLS = 20_000, 20_000
OBJECT_SIZES = (1_000, 40_000, 300_000, 3_000_000)
MOST_OPEN = 2_000


class Rounds:
    """`count` is how many tasks there have been: a call of a map is one."""

    def __init__(self, address: str, seed: int) -> None:
        self._address = address
        self._chance = random.Random(seed)
        self.count = 0

    def run(self, client: Client) -> Iterator[None]:
        """Endless; one step is one round."""
        while True:
            self._small(client)
            self._map(client)
            self._objects(client)
            self._references(client)
            self._failures(client)
            self._cancels(client)
            self._functions(client)
            self._visitor()
            yield

    def _check(self, got: Any, wanted: Any) -> None:
        if got != wanted:
            raise AssertionError(f"{str(got)[:100]} instead of {str(wanted)[:100]}")

    def _small(self, client: Client) -> None:
        for start in range(0, SMALL_TASKS, MOST_OPEN):
            futures = [client.submit(calls.same, x) for x in range(start, start + MOST_OPEN)]
            self._check([future.result() for future in futures], list(range(start, start + MOST_OPEN)))
        self.count += SMALL_TASKS

    def _map(self, client: Client) -> None:
        self._check(client.map(calls.same, ((x,) for x in range(MAP_CALLS))), list(range(MAP_CALLS)))
        self.count += MAP_CALLS

    def _objects(self, client: Client) -> None:
        arrays = [numpy.full(size, self._chance.randrange(256), numpy.uint8) for size in OBJECT_SIZES]
        futures = [client.submit(calls.plus_one, array) for array in arrays for _ in range(2)]
        for future, array in zip(futures, [array for array in arrays for _ in range(2)], strict=True):
            answer = future.result()
            self._check((len(answer), int(answer[0])), (len(array), (int(array[0]) + 1) % 256))
        self.count += len(futures)

    def _references(self, client: Client) -> None:
        reference = client.send_object(self._chance.randbytes(100_000))
        self._check([client.submit(len, reference).result() for _ in range(5)], [100_000] * 5)
        self.count += 5

    def _failures(self, client: Client) -> None:
        for future in [client.submit(calls.fail, f"failure {x}") for x in range(20)]:
            self._check(str(future.exception()), str(future.exception()))
        self.count += 20

    def _cancels(self, client: Client) -> None:
        futures = [client.submit(calls.sleep_for, 0.0005) for _ in range(100)]
        for future in futures[::2]:
            future.cancel()
        self._check([future.result() for future in futures[1::2]], [0.0005] * 50)
        self.count += 100

    def _functions(self, client: Client) -> None:
        """New ones, that carry something."""
        for size in (10, 100_000):
            addend = numpy.full(size, self._chance.randrange(100))
            function = functools.partial(calls.add_first, addend)
            self._check(client.submit(function, 1).result(), int(addend[0]) + 1)
        self.count += 2

    def _visitor(self) -> None:
        """A client that comes, works and leaves some work behind."""
        with Client(self._address, timeout_seconds=60) as visitor:
            self._check(visitor.submit(calls.same, 3).result(), 3)
            visitor.submit(calls.plus_one, numpy.zeros(200_000, numpy.uint8))
            visitor.submit(calls.sleep_for, 0.001)
        self.count += 3


def rest() -> None:
    """Let what is put away in the background be put away."""
    time.sleep(0.05)
