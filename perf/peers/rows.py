"""The rows: how much each contestant does in a turn, and what its seconds mean.

Engines differ by three powers of ten, so each is given what keeps it busy for about a second, and rates are compared.

Adding a row: a turn (turns.py), a method of Engine and of each engine (engines/), and a function here.
"""

from collections.abc import Callable

from perf.command import Rows
from perf.links import LINKS, RINGS
from perf.peers.match import CONTESTANTS, hold
from perf.report import Figure, not_measured, of_rounds
from perf.rounds import ratios

ROUNDS = 5
ARRAY_BYTES = 100_000_000
READERS = 20
RESULTS = 10
NO_TARGETS: dict[str, float] = {}
PROCESSES = "Dask processes"  # has nothing of its own but collections
PEERS = tuple(name for name in CONTESTANTS if name not in (*LINKS, PROCESSES))
READ_TARGETS = {"Ray": 2.0}
FETCH_TARGETS = {"Ray": 2.0, "Dask": 2.0}
TREE_TARGETS = {"Pool": 4.0, "Ray": 80.0}
DOT_TARGETS = {"Dask": 1.0, PROCESSES: 1.0}


def submit(links: tuple[str, ...]) -> list[Figure]:
    """single no-op tasks, all futures kept, then all results"""
    n = {name: 50_000 for name in (*links, *PEERS)} | {"Dask": 1_000, "Ray": 3_000, "scaler 1.9.9": 700}
    return compare("submit", links, {name: {"n": n[name]} for name in n}, lambda name, s: n[name] / s, "tasks/s")


def map(links: tuple[str, ...]) -> list[Figure]:
    """one map of one-element tuples"""
    n = {name: 1_000_000 for name in (*links, *PEERS)} | {"Dask": 1_000, "Ray": 3_000, "scaler 1.9.9": 1_000}
    return compare("map", links, {name: {"n": n[name]} for name in n}, lambda name, s: n[name] / s, "calls/s")


def latency(links: tuple[str, ...]) -> list[Figure]:
    """one no-op task at a time, from its submit to its result: the p50 of each round"""
    sizes = {name: {"n": 100} for name in (*links, *PEERS)}
    return compare("latency", links, sizes, lambda name, s: s * 1e6, "us", at_most=True)


def read(links: tuple[str, ...]) -> list[Figure]:
    """a numpy array of 100 MB, sent once where there is a way to, and read by 20 tasks: bytes read by tasks"""
    sizes = {name: {"n": READERS, "n_bytes": ARRAY_BYTES} for name in (*links, *PEERS)}
    return compare("read", links, sizes, lambda name, s: READERS * ARRAY_BYTES / s / 1e9, "GB/s", targets=READ_TARGETS)


def fetch(links: tuple[str, ...]) -> list[Figure]:
    """10 results of 100 MB, made by as many tasks, read by the client"""
    n = {name: RESULTS for name in (*links, *PEERS)} | {"scaler 1.9.9": 2}
    sizes = {name: {"n": n[name], "n_bytes": ARRAY_BYTES} for name in n}
    return compare(
        "fetch", links, sizes, lambda name, s: n[name] * ARRAY_BYTES / s / 1e9, "GB/s", targets=FETCH_TARGETS
    )


def tree(links: tuple[str, ...]) -> list[Figure]:
    """a binary tree of additions, each of which needs two others"""
    leaves = {name: 16_384 for name in (*links, *PEERS)} | {"Dask": 512, "Ray": 512, "scaler 1.9.9": 256}
    sizes = {name: {"leaves": leaves[name]} for name in leaves}
    return compare("tree", links, sizes, lambda name, s: (2 * leaves[name] - 1) / s, "nodes/s", targets=TREE_TARGETS)


def tensordot(links: tuple[str, ...]) -> list[Figure]:
    """a dask.array of 2,000 x 2,000 numbers times itself, in 1,000 chunked products, and its sum"""
    sizes = {name: {"side": 2_000, "chunk": 200} for name in (*links, "Dask", PROCESSES)}
    return compare("tensordot", links, sizes, lambda name, s: s, "s", at_most=True, targets=DOT_TARGETS)


def compare(
    turn: str,
    links: tuple[str, ...],
    sizes: dict[str, dict[str, int]],
    value: Callable[[str, float], float],
    unit: str,
    at_most: bool = False,
    rounds: int = ROUNDS,
    targets: dict[str, float] = NO_TARGETS,
) -> list[Figure]:
    """A figure for each contestant, of what `value` makes of its name and seconds; then ours against each of theirs.

    `targets` are those of the rings against whom they name.
    """
    outcome = hold(turn, sizes, rounds)
    values = {name: [value(name, s) for s in seconds] for name, seconds in outcome.seconds.items()}
    labels = {name: f"scaler, {name}" if name in links else name for name in sizes}
    figures = []
    for name in sizes:
        how = outcome.how.get(name)
        what = f"{labels[name]}, {how}" if how else labels[name]
        if name in outcome.out:
            figures.append(not_measured(what, outcome.out[name]))
        else:
            figures.append(of_rounds(what, values[name], unit, at_most=at_most))
    for link in links:
        for name in sizes:
            if name not in links and link in values and name in values:
                against = ratios(values[link], values[name])
                target = targets.get(name) if link == RINGS else None
                figures.append(of_rounds(f"{labels[link]} / {name}", against, "x", target, at_most))
    return figures


ROWS: Rows = {row.__name__: row for row in (submit, map, latency, read, fetch, tree, tensordot)}
