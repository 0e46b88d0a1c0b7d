"""The engines that the end-to-end rows compare, each as its users call it: the same three jobs in all of them.

Every answer is handed back whole and compared by the caller, outside of the time that counts.
"""

import multiprocessing.pool
import pickle
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from typing import Protocol

from perf.links import LINKS, WORKERS, open_client, open_executor, open_pool
from perf.work import first, same
from scaler import Client

POOL = "Pool"
EXECUTOR = "ProcessPoolExecutor"
FLOOR = "client floor"


class Contestant(Protocol):
    def submit(self, n: int) -> list[int]:
        """n single tasks, all futures kept, then all results."""

    def map(self, calls: list[tuple[int]]) -> list[int]:
        """One map of all calls."""

    def call(self, x: int) -> int:
        """One task, and wait for it."""


class WithPool:
    def __init__(self, pool: multiprocessing.pool.Pool) -> None:
        self._pool = pool

    def submit(self, n: int) -> list[int]:
        answers = [self._pool.apply_async(same, (i,)) for i in range(n)]
        return [answer.get() for answer in answers]

    def map(self, calls: list[tuple[int]]) -> list[int]:
        return self._pool.starmap(same, calls)

    def call(self, x: int) -> int:
        return self._pool.apply(same, (x,))


class WithExecutor:
    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def submit(self, n: int) -> list[int]:
        futures = [self._executor.submit(same, i) for i in range(n)]
        return [future.result() for future in futures]

    def map(self, calls: list[tuple[int]]) -> list[int]:
        # Its own chunk size is 1; this is the one that Pool takes.
        return list(self._executor.map(first, calls, chunksize=-(-len(calls) // (4 * WORKERS))))

    def call(self, x: int) -> int:
        return self._executor.submit(same, x).result()


class WithScaler:
    def __init__(self, client: Client) -> None:
        self._client = client

    def submit(self, n: int) -> list[int]:
        futures = [self._client.submit(same, i) for i in range(n)]
        return [future.result() for future in futures]

    def map(self, calls: list[tuple[int]]) -> list[int]:
        return self._client.map(same, calls)

    def call(self, x: int) -> int:
        result: int = self._client.submit(same, x).result()
        return result


class ClientFloor:
    """What any client in CPython does at least, without a worker: pickle, make a stock Future, unpickle, resolve it."""

    def submit(self, n: int) -> list[int]:
        sent = []
        futures: list[Future[int]] = []
        for i in range(n):
            sent.append(pickle.dumps((i,), 5))
            futures.append(Future())
        for data, future in zip(sent, futures, strict=True):
            future.set_result(pickle.loads(data)[0])
        return [future.result() for future in futures]

    def map(self, calls: list[tuple[int]]) -> list[int]:
        """Pickled as one list, called, unpickled: on one core, what WORKERS of them could share."""
        returned = [same(*call) for call in pickle.loads(pickle.dumps(calls, 5))]
        answer: list[int] = pickle.loads(pickle.dumps(returned, 5))
        return answer

    def call(self, x: int) -> int:
        future: Future[int] = Future()
        future.set_result(pickle.loads(pickle.dumps((x,), 5))[0])
        return future.result()


def open_contestants(stack: ExitStack, links: tuple[str, ...] = LINKS) -> dict[str, Contestant]:
    """By name; Scaler's are named by their links. What forks comes first, before there are threads."""
    contestants: dict[str, Contestant] = {
        POOL: WithPool(open_pool(stack)),
        EXECUTOR: WithExecutor(open_executor(stack)),
        FLOOR: ClientFloor(),
    }
    for link in links:
        contestants[link] = WithScaler(open_client(stack, link))
    return contestants
