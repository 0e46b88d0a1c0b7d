"""Ray, as `ray.init` starts it on one host, without its dashboard.

By itself it listens on all addresses of the host, and tells its makers that it runs; the variables are its own switches
against both, and must be set before it is imported.
"""

import os
import tempfile
from typing import Any

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # where it is not set it is the one that listens on loopback only
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray

from perf.peers.engines import WORKERS
from perf.work import filled, page_sum, plus, same

STORE_BYTES = 2_000_000_000  # ten results of 100 MB are kept at a time


class RayEngine:
    HOW = {"read": "ray.put"}

    def __init__(self) -> None:
        self._same, self._page_sum, self._filled = ray.remote(same), ray.remote(page_sum), ray.remote(filled)
        self._plus = ray.remote(plus)

    def submit(self, n: int) -> list[int]:
        return self._get([self._same.remote(i) for i in range(n)])

    def map(self, calls: list[tuple[int]]) -> list[int]:
        return self._get([self._same.remote(*call) for call in calls])

    def call(self, x: int) -> int:
        answer: int = ray.get(self._same.remote(x))
        return answer

    def read(self, array: Any, n: int) -> list[int]:
        stored = ray.put(array)
        return self._get([self._page_sum.remote(stored) for _ in range(n)])

    def fetch(self, n: int, n_bytes: int, value: int) -> list[int]:
        results = [self._filled.remote(n_bytes, value) for _ in range(n)]
        return [page_sum(ray.get(result)) for result in results]

    def tree(self, graph: dict[str, Any]) -> int:
        made: dict[str, Any] = {}
        for key in reversed(graph):  # a node's inputs stand behind it
            made[key] = self._plus.remote(*(made.get(arg, arg) for arg in graph[key][1:]))
        answer: int = ray.get(made["n0"])
        return answer

    def _get(self, results: list[Any]) -> list[int]:
        answers: list[int] = ray.get(results)
        return answers

    def close(self) -> None:
        ray.shutdown()


def open_engine() -> RayEngine:
    ray.init(
        num_cpus=WORKERS,
        object_store_memory=STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        _node_ip_address="127.0.0.1",
        _temp_dir=os.path.join(tempfile.gettempdir(), "ray"),
    )
    return RayEngine()
