"""Dask distributed, as `LocalCluster` starts it: the scheduler in the client's process, each worker one thread.

`pure=False`, since it would otherwise keep the answers to calls it has seen; `hash=False` for the same reason, and
because an array is scattered faster without.
"""

from typing import Any

from distributed import Client, LocalCluster

from perf.peers.engines import WORKERS
from perf.work import filled, first, page_sum, same


class DaskEngine:
    HOW = {"read": "client.scatter"}

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._client: Any = Client(cluster)

    def submit(self, n: int) -> list[int]:
        return self._gather([self._client.submit(same, i, pure=False) for i in range(n)])

    def map(self, calls: list[tuple[int]]) -> list[int]:
        return self._gather(self._client.map(first, calls, pure=False))

    def call(self, x: int) -> int:
        answer: int = self._client.submit(same, x, pure=False).result()
        return answer

    def read(self, array: Any, n: int) -> list[int]:
        scattered = self._client.scatter(array, hash=False)
        return self._gather([self._client.submit(page_sum, scattered, pure=False) for _ in range(n)])

    def fetch(self, n: int, n_bytes: int, value: int) -> list[int]:
        futures = [self._client.submit(filled, n_bytes, value, pure=False) for _ in range(n)]
        return [page_sum(future.result()) for future in futures]

    def tree(self, graph: dict[str, Any]) -> int:
        answer: int = self._client.get(graph, "n0")
        return answer

    def compute(self, collection: Any) -> Any:
        return collection.compute(scheduler=self._client)

    def _gather(self, futures: Any) -> list[int]:
        answers: list[int] = self._client.gather(futures)
        return answers

    def close(self) -> None:
        self._client.close()
        self._cluster.close()


def open_engine() -> DaskEngine:
    cluster = LocalCluster(
        n_workers=WORKERS,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        scheduler_port=0,
        dashboard_address="127.0.0.1:0",
    )
    return DaskEngine(cluster)
