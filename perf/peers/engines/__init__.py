"""The engines, a file for each: all of them do the same jobs, each in the way that its users call it.

A file has `open_engine()`, which starts two workers on this host, on loopback addresses and ports that the system
chooses; and a class that is an Engine. What it writes goes to the temporary folder or the home directory, both of
which are the player's own and removed after it.

Rule 1: a file imports the standard library, perf.work, and its engine.
Not here: what is timed and checked (turns), how much (rows).
"""

from typing import Any, Protocol

WORKERS = 2


class Engine(Protocol):
    HOW: dict[str, str]
    """By row: how it is done here, where that needs to be said beside the figure."""

    def submit(self, n: int) -> list[int]:
        """n single tasks `same(i)`, all futures kept, then all results."""

    def map(self, calls: list[tuple[int]]) -> list[int]:
        """One map of all calls."""

    def call(self, x: int) -> int:
        """One task, and wait for it."""

    def read(self, array: Any, n: int) -> list[int]:
        """n tasks that read one array, sent once if there is a way to."""

    def fetch(self, n: int, n_bytes: int, value: int) -> list[int]:
        """n tasks that make an array each; what the client reads in their results."""

    def tree(self, graph: dict[str, Any]) -> int:
        """Node "n0" of a graph of plain calls; where there are no graphs, the calls one by one."""

    def close(self) -> None:
        """End workers and all."""


class ComputingEngine(Engine, Protocol):
    """One that computes Dask's collections, too."""

    def compute(self, collection: Any) -> Any:
        """What the collection comes to."""
