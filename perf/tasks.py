"""End to end: from a call in a client to its result there, beside the standard library's pools in the same rounds.

`python -m perf.tasks submit` runs one row. What each number means stands in README.md.
"""

from collections.abc import Callable
from contextlib import ExitStack

from perf.command import Rows, main
from perf.contestants import EXECUTOR, FLOOR, POOL, Contestant, WithScaler, open_contestants
from perf.links import RINGS, WIRE, open_client
from perf.report import Figure, of_rounds
from perf.rounds import alternate, p50_s, ratios, timed
from scaler import Client

SUBMITS = 50_000
EXECUTOR_SUBMITS = 5_000  # it takes ten times as long, and its rate is the same for all such numbers
MAPPED = 1_000_000
CALLS = 300
KEPT_ROUNDS = 3

POOL_TARGETS = {RINGS: 10.0, WIRE: 8.0}
CALL_TARGETS = {RINGS: 0.65, WIRE: 4.0}


def submit(links: tuple[str, ...]) -> list[Figure]:
    """single no-op tasks, all futures kept, then all results"""

    def turn(name: str, contestant: Contestant) -> Callable[[], float]:
        n = EXECUTOR_SUBMITS if name == EXECUTOR else SUBMITS
        expected = list(range(n))
        return lambda: n / timed(lambda: contestant.submit(n), expected)

    with ExitStack() as stack:
        contestants = open_contestants(stack, links)
        rates = alternate({name: turn(name, contestant) for name, contestant in contestants.items()})
    figures = [of_rounds(name, values, "tasks/s") for name, values in rates.items()]
    for link in links:
        against_pool = ratios(rates[link], rates[POOL])
        figures.append(of_rounds(f"{link} / Pool.apply_async", against_pool, "x", POOL_TARGETS[link]))
        if link == RINGS:
            figures.append(Figure(f"{link} / Pool.apply_async, worst round", min(against_pool), "x", target=6.0))
        figures.append(of_rounds(f"{link} / ProcessPoolExecutor.submit", ratios(rates[link], rates[EXECUTOR]), "x"))
        target = 1.0 if link == RINGS else None
        figures.append(of_rounds(f"{link} / client floor", ratios(rates[link], rates[FLOOR]), "x", target))
    return figures


def map(links: tuple[str, ...]) -> list[Figure]:
    """one map of 1,000,000 one-element tuples"""
    calls = [(i,) for i in range(MAPPED)]
    expected = list(range(MAPPED))

    def turn(contestant: Contestant) -> Callable[[], float]:
        return lambda: MAPPED / timed(lambda: contestant.map(calls), expected)

    with ExitStack() as stack:
        contestants = open_contestants(stack, links)
        rates = alternate({name: turn(contestant) for name, contestant in contestants.items()})
    figures = [of_rounds(name, values, "calls/s") for name, values in rates.items()]
    for link in links:
        target = 1.5 if link == RINGS else None
        figures.append(of_rounds(f"{link} / Pool.starmap", ratios(rates[link], rates[POOL]), "x", target))
        figures.append(of_rounds(f"{link} / ProcessPoolExecutor.map", ratios(rates[link], rates[EXECUTOR]), "x"))
        figures.append(of_rounds(f"{link} / client floor, one core", ratios(rates[link], rates[FLOOR]), "x"))
    return figures


def latency(links: tuple[str, ...]) -> list[Figure]:
    """one no-op task at a time, from its submit to its result: the p50 of each round"""

    def turn(contestant: Contestant) -> Callable[[], float]:
        return lambda: p50_s(contestant.call, CALLS) * 1e6

    with ExitStack() as stack:
        contestants = open_contestants(stack, links)
        p50s = alternate({name: turn(contestant) for name, contestant in contestants.items()})
    figures = [of_rounds(name, values, "us", at_most=True) for name, values in p50s.items()]
    for link in links:
        target = CALL_TARGETS[link]
        figures.append(of_rounds(f"{link} / Pool.apply", ratios(p50s[link], p50s[POOL]), "x", target, at_most=True))
        against_executor = ratios(p50s[link], p50s[EXECUTOR])
        figures.append(of_rounds(f"{link} / ProcessPoolExecutor.submit", against_executor, "x", at_most=True))
    return figures


def kept(links: tuple[str, ...]) -> list[Figure]:
    """single no-op tasks, all futures kept: the cost of each of 1,000,000 against each of 10,000"""

    def turn(client: Client, n: int, times: int) -> Callable[[], float]:
        contestant = WithScaler(client)
        expected = list(range(n))
        return lambda: sum(timed(lambda: contestant.submit(n), expected) for _ in range(times)) / (n * times) * 1e6

    figures = []
    for link in links:
        with ExitStack() as stack:
            client = open_client(stack, link)
            turns = {"few": turn(client, 10_000, 10), "many": turn(client, 1_000_000, 1)}
            costs = alternate(turns, KEPT_ROUNDS)
        figures.append(of_rounds(f"{link}: each of 10,000", costs["few"], "us", at_most=True))
        figures.append(of_rounds(f"{link}: each of 1,000,000", costs["many"], "us", at_most=True))
        figures.append(of_rounds(f"{link}: ratio", ratios(costs["many"], costs["few"]), "x", 1.3, at_most=True))
    return figures


ROWS: Rows = {"submit": submit, "map": map, "latency": latency, "kept": kept}

if __name__ == "__main__":
    main("perf.tasks", ROWS)
