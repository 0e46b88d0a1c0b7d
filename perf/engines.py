"""Engines behind the executor interface, against what they do by themselves: `python -m perf.engines processes loky`.

Each of `processes`, `loky`, `ray` and `dask` runs 10,000 no-op tasks as its users write them, and the same through a
client of ours with `scaler_engine` between; and 10,000 of a map of its own, against a million in one map of ours. Two
slots. Rounds alternate; the table has medians.

Not here: the other rows (perf/__main__), since an engine may need an environment of its own.
"""

import concurrent.futures
import importlib
import multiprocessing
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from perf.work import same
from scaler import Client, Scheduler

TASKS, ITEMS, ROUNDS, SLOTS = 10_000, 1_000_000, 3, 2
OWN_MAP = 10_000  # items of the engine's own map: it takes as long for each of a million
_COMMAND = "import sys; from scaler.entry_points.engine import main; sys.exit(main())"


class Own:
    """What the engine does by itself."""

    def __init__(self, submit: Callable[[int], list[Any]], map_all: Callable[[int], list[Any]]) -> None:
        self.submit, self.map = submit, map_all


@contextmanager
def own(kind: str) -> Iterator[Own]:
    """The engine as its users have it, with two slots."""
    if kind == "processes":
        with concurrent.futures.ProcessPoolExecutor(SLOTS, multiprocessing.get_context("spawn")) as pool:
            yield _of_executor(pool)
    elif kind == "loky":
        loky = importlib.import_module("loky")
        pool = loky.ProcessPoolExecutor(SLOTS)
        yield _of_executor(pool)
        pool.shutdown()
    elif kind == "ray":
        ray = importlib.import_module("ray")
        ray.init(num_cpus=SLOTS, include_dashboard=False, log_to_driver=False, logging_level="WARNING")
        remote = ray.remote(same)

        def run(count: int) -> list[Any]:
            return ray.get([remote.remote(i) for i in range(count)])  # type: ignore[no-any-return]

        yield Own(run, run)
        ray.shutdown()
    else:
        distributed = importlib.import_module("distributed")
        with (
            distributed.LocalCluster(
                n_workers=SLOTS, threads_per_worker=1, dashboard_address=None, silence_logs=40
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield Own(
                lambda count: client.gather([client.submit(same, i, pure=False) for i in range(count)]),
                lambda count: client.gather(client.map(same, range(count), pure=False)),
            )


def _of_executor(pool: Any) -> Own:
    return Own(
        lambda count: [future.result() for future in [pool.submit(same, i) for i in range(count)]],
        lambda count: list(pool.map(same, range(count))),
    )


@contextmanager
def ours(kind: str) -> Iterator[Client]:
    with Scheduler("tcp://127.0.0.1:0") as scheduler:
        address = scheduler.get_address()
        about = [sys.executable, "-c", _COMMAND, address, "--engine", kind, "--slots", str(SLOTS), "-ll", "ERROR"]
        with subprocess.Popen(about) as command, Client(address, timeout_seconds=60) as client:
            try:
                assert client.map(same, [(i,) for i in range(1000)]) == list(range(1000))
                yield client
            finally:
                command.send_signal(signal.SIGTERM)


def _rate(count: int, run: Callable[[], list[Any]]) -> float:
    began_s = time.perf_counter()
    results = run()
    took_s = time.perf_counter() - began_s
    assert list(results) == list(range(count))
    return count / took_s


def measure(kind: str) -> None:
    rows: dict[str, list[float]] = {"own submit": [], "our submit": [], "own map": [], "our map": []}
    for _ in range(ROUNDS):
        with own(kind) as engine:
            engine.submit(1000)
            rows["own submit"].append(_rate(TASKS, lambda: engine.submit(TASKS)))
            rows["own map"].append(_rate(OWN_MAP, lambda: engine.map(OWN_MAP)))
        with ours(kind) as client:
            run = [(i,) for i in range(ITEMS)]
            rows["our submit"].append(
                _rate(TASKS, lambda: [one.result() for one in [client.submit(same, i) for i in range(TASKS)]])
            )
            rows["our map"].append(_rate(ITEMS, lambda: client.map(same, run)))  # noqa: B023
    middle = {name: statistics.median(rates) for name, rates in rows.items()}
    for what in ("submit", "map"):
        mine, theirs = middle[f"our {what}"], middle[f"own {what}"]
        print(f"{kind:10} {what:7} {theirs:12,.0f}/s by itself {mine:12,.0f}/s through us {mine / theirs:8.1f} x")


if __name__ == "__main__":
    for name in sys.argv[1:] or ["processes"]:
        measure(name)
