"""The scheduler's core alone: no process, no I/O, all peers played in C around the pump that the shell drives.

What is counted is the time inside the pump: draining submits and results, the task table, placing, delivering. The
played clients and workers (native/drill.pyx) run in the same thread, so the rings' memory is warm in its cache; between
processes it is not.
"""

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.connection import Connection

from perf.command import Rows, main
from perf.processes import rss_bytes
from perf.report import Figure, of_rounds
from perf.rounds import ROUNDS, alternate, ratios
from scaler._native import Drill

QUICK_NS = 500  # what the played workers say that a task took
MEDIUM_NS = 1_000_000  # of these a worker's credit covers a few
WORKERS_PER_TURN = 8  # do something between two turns of the scheduler, however many there are
TASKS_PER_TURN = 64  # each of them, if it has so many
TASKS = 200_000
WARM_UP = 30_000
SMALL_RINGS = 65536
MOST_RATIO = 1.3


def ns_per_task(drill: Drill, duration_ns: int) -> float:
    drill.run(WARM_UP, duration_ns, WORKERS_PER_TURN, TASKS_PER_TURN)
    ns: int = drill.run(TASKS, duration_ns, WORKERS_PER_TURN, TASKS_PER_TURN)
    return ns / TASKS


def lifecycles(links: tuple[str, ...]) -> list[Figure]:
    """submitted, placed, done, delivered: two clients, 8 workers, 10,000 tasks queued"""

    def rate() -> float:
        drill = Drill(2, 8)
        drill.fill(10_000)
        return 1e9 / ns_per_task(drill, QUICK_NS)

    return [of_rounds("life cycles", [rate() for _ in range(ROUNDS)], "tasks/s", 3_000_000)]


def compare(
    few: Callable[[], float],
    many: Callable[[], float],
    what_few: str,
    what_many: str,
    target: float | None = MOST_RATIO,
) -> list[Figure]:
    costs = alternate({"few": few, "many": many})
    return [
        of_rounds(what_few, costs["few"], "ns/task", at_most=True),
        of_rounds(what_many, costs["many"], "ns/task", at_most=True),
        of_rounds(f"{what_many} / {what_few}", ratios(costs["many"], costs["few"]), "x", target, at_most=True),
    ]


def queued(links: tuple[str, ...]) -> list[Figure]:
    """cost of a task while many others wait: two clients, 8 workers"""

    def cost(n: int) -> Callable[[], float]:
        def measure() -> float:
            drill = Drill(2, 8)
            drill.fill(n)
            return ns_per_task(drill, QUICK_NS)

        return measure

    return compare(cost(10_000), cost(1_000_000), "10,000 queued", "1,000,000 queued")


def workers(links: tuple[str, ...]) -> list[Figure]:
    """cost of a task while there are many workers: two clients, 10,000 queued, tasks of 1 ms, so a few per worker"""

    def cost(n: int) -> Callable[[], float]:
        def measure() -> float:
            drill = Drill(2, n, SMALL_RINGS)
            drill.fill(10_000)
            return ns_per_task(drill, MEDIUM_NS)

        return measure

    return compare(cost(10), cost(1_000), "10 workers", "1,000 workers")


def clients(links: tuple[str, ...]) -> list[Figure]:
    """cost of a task while there are many clients: 8 workers, 10,000 queued"""

    def cost(n: int) -> Callable[[], float]:
        def measure() -> float:
            drill = Drill(n, 8, SMALL_RINGS)
            drill.fill(10_000)
            return ns_per_task(drill, QUICK_NS)

        return measure

    return compare(cost(2), cost(1_000), "2 clients", "1,000 clients", None)


def memory(links: tuple[str, ...]) -> list[Figure]:
    """what a queued f(int) adds to the process: from 100,000 to 1,100,000 of them, payload included"""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("spawn").Process(target=_report_growth, args=(theirs,))
    child.start()
    theirs.close()
    grown = ours.recv()
    child.join()
    return [Figure("RSS per queued task", grown, "bytes", target=200, at_most=True)]


def _report_growth(answer: Connection) -> None:
    drill = Drill(2, 8)
    drill.fill(100_000)
    before = rss_bytes(os.getpid())
    drill.fill(1_000_000)
    answer.send((rss_bytes(os.getpid()) - before) / 1_000_000)


ROWS: Rows = {
    "lifecycles": lifecycles,
    "queued": queued,
    "workers": workers,
    "clients": clients,
    "memory": memory,
}

if __name__ == "__main__":
    main("perf.core", ROWS)
