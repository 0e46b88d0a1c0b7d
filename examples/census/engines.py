"""The same work done in several ways: the census file by file, then many calls of next to nothing.

A census yields (path, count) as the counts come in; the tiny work returns what it has added up, to be compared.
"""

import multiprocessing.pool
from collections.abc import Iterator
from concurrent.futures import Future, as_completed
from typing import Any

from examples.census.counting import Count, count_file
from scaler import Client

Counts = Iterator[tuple[str, Count]]


def add_one(x: int) -> int:
    """Next to nothing, so that what is measured is the engine."""
    return x + 1


class Serially:
    """One after the other, in this process."""

    def census(self, paths: list[str]) -> Counts:
        for path in paths:
            yield path, count_file(path)


class WithPool:
    """The standard library's way: processes of this machine."""

    def __init__(self, pool: multiprocessing.pool.Pool) -> None:
        self._pool = pool

    def census(self, paths: list[str]) -> Counts:
        return zip(paths, self._pool.imap(count_file, paths), strict=True)

    def add_one_by_one(self, n: int) -> int:
        answers = [self._pool.apply_async(add_one, (i,)) for i in range(n)]
        return sum([answer.get() for answer in answers])

    def add_in_one_map(self, calls: list[tuple[int]]) -> int:
        return sum(self._pool.starmap(add_one, calls))

    def add_and_wait(self, x: int) -> int:
        return self._pool.apply(add_one, (x,))


class WithScaler:
    """A task per file, a task per number. Where the workers are makes no difference to this code."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def census(self, paths: list[str]) -> Counts:
        path_of: dict[Future[Any], str] = {self._client.submit(count_file, path): path for path in paths}
        for future in as_completed(path_of):
            yield path_of[future], future.result()

    def add_one_by_one(self, n: int) -> int:
        futures = [self._client.submit(add_one, i) for i in range(n)]
        return sum([future.result() for future in futures])

    def add_in_one_map(self, calls: list[tuple[int]]) -> int:
        return sum(self._client.map(add_one, calls))

    def add_and_wait(self, x: int) -> int:
        result: int = self._client.submit(add_one, x).result()
        return result
