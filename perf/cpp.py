"""C++: what a program in C++ gets out of a scheduler over the wire, by functions' names, with JSON in and out.

The scheduler has a /dev/shm of its own, so its workers are reached over ZeroMQ as well. `python -m perf.cpp calls` runs
one row. What each number means stands in README.md.
"""

import time
from contextlib import ExitStack

from perf.command import Rows, main
from perf.links import WIRE, open_cluster
from perf.report import Figure, not_measured, of_rounds
from perf.rounds import alternate, p50_s
from scaler import Client, NamedFunction
from tests.cpp.programs import Driver, what_is_missing

CALLS, ONES, ROUNDS = 50_000, 500, 5
NAME = "operator:pos"  # gives back its argument


def calls(links: tuple[str, ...]) -> list[Figure]:
    """calls of a named function that does nothing, by a client in C++, and by one in Python"""
    if missing := what_is_missing():
        return [not_measured("calls/s by a client in C++", f"there is no {missing} here")]
    if WIRE not in links:
        return [not_measured("calls/s by a client in C++", "it speaks over the wire")]
    with ExitStack() as stack:
        cluster = stack.enter_context(open_cluster(WIRE))
        driver = stack.enter_context(Driver(cluster.get_address()))
        client = stack.enter_context(Client(cluster.get_address(), timeout_seconds=20))
        named = NamedFunction(NAME)

        def by_driver(count: int) -> float:
            return float(driver.ask(do="time", name=NAME, args=[7], count=count))

        def by_client() -> float:
            begin = time.perf_counter()
            futures = [client.submit(named, 7) for _ in range(CALLS)]
            if [future.result() for future in futures] != [7] * CALLS:
                raise AssertionError("a wrong answer came back")
            return CALLS / (time.perf_counter() - begin)

        def by_ones() -> float:
            return float(driver.ask(do="ones", name=NAME, args=[7], count=ONES))

        by_driver(1000)
        seconds = alternate(
            {
                "C++": lambda: CALLS / by_driver(CALLS),
                "Python": by_client,
                "one": lambda: by_ones() * 1e6,
                "one, Python": lambda: p50_s(lambda i: int(client.submit(named, i).result()), ONES) * 1e6,
            },
            ROUNDS,
        )
    return [
        of_rounds("calls/s by a client in C++", seconds["C++"], "1/s", 50_000),
        of_rounds("calls/s by a client in Python, named", seconds["Python"], "1/s"),
        of_rounds("one at a time, in C++", seconds["one"], "us", at_most=True),
        of_rounds("one at a time, in Python", seconds["one, Python"], "us", at_most=True),
    ]


ROWS: Rows = {"calls": calls}

if __name__ == "__main__":
    main("perf.cpp", ROWS)
