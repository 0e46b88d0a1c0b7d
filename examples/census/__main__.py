"""The demo: a census of the standard library, taken in three ways; then very many very small tasks."""

import multiprocessing
import os
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from examples.census.counting import Census, find_files, merge
from examples.census.engines import Serially, WithPool, WithScaler
from examples.census.terminal import show_census, show_progress, show_rates, show_seconds, show_waits
from scaler import Client, SchedulerClusterCombo

T = TypeVar("T")
TINY_TASKS = 100_000
TINY_CALLS = 1_000_000
WAITS = 3_000


def timed(work: Callable[..., T], *args: Any) -> tuple[float, T]:
    """Seconds and result."""
    started = time.perf_counter()
    result = work(*args)
    return time.perf_counter() - started, result


class Demo:
    """Has each engine do the same and keeps what it took, by the engine's name."""

    def __init__(self, folder: Path, paths: list[str]) -> None:
        self._folder, self._paths = folder, paths
        self.census: Census = {}
        self.census_s: dict[str, float] = {}
        self.tasks_s: dict[str, float] = {}
        self.calls_s: dict[str, float] = {}
        self.wait_s: dict[str, float] = {}

    def take_census(self, name: str, engine: Serially | WithPool | WithScaler) -> None:
        counts = show_progress(engine.census(self._paths), len(self._paths), name)
        self.census_s[name], census = timed(merge, counts, self._folder)
        self.census = self.census or census
        if census != self.census:
            raise SystemExit(f"{name}: the census is not what it was before")

    def add_numbers(self, name: str, engine: WithPool | WithScaler) -> None:
        self.tasks_s[name], total = timed(engine.add_one_by_one, TINY_TASKS)
        calls = [(i,) for i in range(TINY_CALLS)]
        self.calls_s[name], total_of_map = timed(engine.add_in_one_map, calls)
        if (total, total_of_map) != (sum(range(1, TINY_TASKS + 1)), sum(range(1, TINY_CALLS + 1))):
            raise SystemExit(f"{name}: the sums are wrong")
        self.wait_s[name] = median(timed(engine.add_and_wait, x)[0] for x in range(WAITS))


def main(folder: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    paths = find_files(folder)
    if not paths:
        raise SystemExit(f"there are no Python files in {folder}")
    n_bytes = sum(len(Path(path).read_bytes()) for path in paths)  # and now no engine has to wait for the disk
    print(f"{len(paths):,} Python files with {n_bytes / 1e6:.1f} MB in {folder}; {cores} cores", flush=True)

    demo = Demo(folder, paths)
    demo.take_census("serially", Serially())

    with multiprocessing.Pool(cores) as pool:
        demo.take_census(f"Pool, {cores} processes", WithPool(pool))
        demo.add_numbers(f"Pool, {cores} processes", WithPool(pool))

    with SchedulerClusterCombo(n_workers=cores) as combo, Client(combo.get_address()) as client:
        demo.take_census(f"Scaler, {cores} workers", WithScaler(client))
        demo.add_numbers(f"Scaler, {cores} workers", WithScaler(client))

    show_census(demo.census)
    print("The census, taken three times with equal results")
    show_seconds(demo.census_s)
    print(f"\n{TINY_TASKS:,} tasks of next to nothing: submit them one by one, get all results")
    show_rates(TINY_TASKS, demo.tasks_s)
    print(f"\n{TINY_CALLS:,} calls of next to nothing in one map")
    show_rates(TINY_CALLS, demo.calls_s)
    print(f"\n{WAITS:,} tasks of next to nothing, waiting for each before the next: median of the waits")
    show_waits(demo.wait_s)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else sysconfig.get_paths()["stdlib"]).resolve())
