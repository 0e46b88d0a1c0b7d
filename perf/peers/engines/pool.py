"""multiprocessing.Pool. It has no store: an array is pickled for each task that reads it."""

import multiprocessing.pool
from typing import Any

from perf.peers.engines import WORKERS
from perf.work import filled, page_sum, plus, same


class PoolEngine:
    HOW = {"read": "with each task", "tree": "as many loose calls"}

    def __init__(self, pool: multiprocessing.pool.Pool) -> None:
        self._pool = pool

    def submit(self, n: int) -> list[int]:
        answers = [self._pool.apply_async(same, (i,)) for i in range(n)]
        return [answer.get() for answer in answers]

    def map(self, calls: list[tuple[int]]) -> list[int]:
        return self._pool.starmap(same, calls)

    def call(self, x: int) -> int:
        return self._pool.apply(same, (x,))

    def read(self, array: Any, n: int) -> list[int]:
        answers = [self._pool.apply_async(page_sum, (array,)) for _ in range(n)]
        return [answer.get() for answer in answers]

    def fetch(self, n: int, n_bytes: int, value: int) -> list[int]:
        answers = [self._pool.apply_async(filled, (n_bytes, value)) for _ in range(n)]
        return [page_sum(answer.get()) for answer in answers]

    def tree(self, graph: dict[str, Any]) -> int:
        calls = {key: call for key, call in graph.items() if type(call[1]) is int}
        answers = [self._pool.apply_async(plus, calls.get(key, (plus, 1, 1))[1:]) for key in graph]
        return sum(answer.get() for answer, key in zip(answers, graph, strict=True) if key in calls)

    def close(self) -> None:
        self._pool.close()
        self._pool.join()


def open_engine() -> PoolEngine:
    return PoolEngine(multiprocessing.get_context("fork").Pool(WORKERS))
