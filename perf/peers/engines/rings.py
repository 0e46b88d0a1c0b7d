"""Scaler 3 on one host, over shared memory; also what wire.py plays with."""

from typing import Any

from perf.links import RINGS, Cluster, open_cluster
from perf.peers.engines import WORKERS
from perf.work import filled, page_sum, same
from scaler import Client

HAS_OBJECTS = hasattr(Client, "send_object")


class ScalerEngine:
    HOW = {"read": "client.send_object" if HAS_OBJECTS else "with each submit"}

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._client: Any = Client(cluster.get_address(), timeout_seconds=20)

    def submit(self, n: int) -> list[int]:
        futures = [self._client.submit(same, i) for i in range(n)]
        return [future.result() for future in futures]

    def map(self, calls: list[tuple[int]]) -> list[int]:
        answers: list[int] = self._client.map(same, calls)
        return answers

    def call(self, x: int) -> int:
        answer: int = self._client.submit(same, x).result()
        return answer

    def read(self, array: Any, n: int) -> list[int]:
        argument = self._client.send_object(array) if HAS_OBJECTS else array
        futures = [self._client.submit(page_sum, argument) for _ in range(n)]
        return [future.result() for future in futures]

    def fetch(self, n: int, n_bytes: int, value: int) -> list[int]:
        futures = [self._client.submit(filled, n_bytes, value) for _ in range(n)]
        return [page_sum(future.result()) for future in futures]

    def tree(self, graph: dict[str, Any]) -> int:
        answer: int = self._client.get(graph, ["n0"])["n0"]
        return answer

    def compute(self, collection: Any) -> Any:
        return collection.compute(scheduler=self._client)

    def close(self) -> None:
        self._client.disconnect()
        self._cluster.shutdown()


def open_engine(link: str = RINGS) -> ScalerEngine:
    return ScalerEngine(open_cluster(link, WORKERS))
