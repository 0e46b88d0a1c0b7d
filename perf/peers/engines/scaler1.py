"""scaler 1.9.9, which we replace. Its objects stay with its scheduler until `clear`, which takes no time."""

from typing import Any

from perf.peers.engines import WORKERS
from perf.work import filled, page_sum, same
from scaler import Client, SchedulerClusterCombo, __version__


class OldScalerEngine:
    HOW = {"read": "client.send_object"}

    def __init__(self, combo: Any) -> None:
        self._combo = combo
        self._client: Any = Client(combo.get_address())

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
        self._client.clear()
        sent = self._client.send_object(array)
        futures = [self._client.submit(page_sum, sent) for _ in range(n)]
        return [future.result() for future in futures]

    def fetch(self, n: int, n_bytes: int, value: int) -> list[int]:
        self._client.clear()
        futures = [self._client.submit(filled, n_bytes, value) for _ in range(n)]
        return [page_sum(future.result()) for future in futures]

    def tree(self, graph: dict[str, Any]) -> int:
        # All arguments are keys here.
        literals = {f"{arg}": arg for call in graph.values() for arg in call[1:] if arg not in graph}
        named = {key: (call[0], *map(str, call[1:])) for key, call in graph.items()}
        answer: int = self._client.get(named | literals, ["n0"])["n0"]
        return answer

    def close(self) -> None:
        self._client.disconnect()
        self._combo.shutdown()


def open_engine() -> OldScalerEngine:
    if not __version__.startswith("1."):
        raise ImportError(f"that is scaler {__version__}: the old one is not installed here")
    return OldScalerEngine(SchedulerClusterCombo(n_workers=WORKERS, logging_paths=("/dev/stderr",)))
