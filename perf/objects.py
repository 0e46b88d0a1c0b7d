"""Large arrays as arguments and results: what they cost in time beside plain copies, and in memory.

The measure is a copy of the same bytes within one process, taken in the same rounds: into fresh pages (`array.copy()`)
and into warm ones (`numpy.copyto`), which can differ by a factor of ten. `python -m perf.objects shared` runs one row.
What each number means stands in README.md.
"""

import functools
import gc
import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy
import psutil

from perf.command import Rows, main
from perf.footprint import SCHEDULERS
from perf.links import RINGS, WIRE, open_client, open_executor
from perf.processes import descendants, object_bytes, pss_bytes, rss_bytes, segment_names
from perf.report import Figure, of_rounds
from perf.rounds import alternate, median, ratios, timed
from perf.work import filled, page_sum, page_sum_and_stay, same, second
from scaler import Client

Array = Any

ARRAY_BYTES = 100_000_000
READERS = 20
RESULTS = 10
EXECUTOR_JOBS = 2  # of a READERS-th or RESULTS-th each: it pickles every time, so each costs the same
READER_PROCESSES = 8
HUGE_BYTES = 1_000_000_000
STAY_S = 2.0
PARTIAL_BYTES = 500_000_000
PARTIAL_CALLS = 10_000
FIRST_CALLS = 8
SIZES = [4096 << i for i in range(9)]
SIZE_BYTES = 100_000_000  # in all, for each size
MOST_OF_A_SIZE = 1_000
SIZE_ROUNDS = 9
LEAST_OF_STEPS = 32 << 10
ARRAYS = 16
CHURNED = {RINGS: 500_000, WIRE: 50_000}  # as arguments, and as many as results
CHURNED_BYTES = 100_000
WINDOW = 64

EXECUTOR = "ProcessPoolExecutor"
COPY = "array.copy(), fresh pages"
WARM_COPY = "numpy.copyto, warm pages"
HERE = "fill and copy in one process"


def shared(links: tuple[str, ...]) -> list[Figure]:
    """100 MB sent once, 20 tasks that look at every page: the whole job, beside one copy"""
    array = filled(ARRAY_BYTES, 1)
    warm = array.copy()
    expected = page_sum(array)

    def of_client(client: Client) -> float:
        def job() -> list[int]:
            reference = client.send_object(array)
            return [future.result() for future in [client.submit(page_sum, reference) for _ in range(READERS)]]

        return timed(job, [expected] * READERS) * 1000

    def of_executor() -> float:
        def job() -> list[int]:
            return [future.result() for future in [executor.submit(page_sum, array) for _ in range(EXECUTOR_JOBS)]]

        return timed(job, [expected] * EXECUTOR_JOBS) * 1000 * READERS / EXECUTOR_JOBS

    with ExitStack() as stack:
        executor = open_executor(stack)
        turns = {link: functools.partial(of_client, open_client(stack, link)) for link in links}
        for turn in turns.values():
            turn()
        times = alternate(
            {
                COPY: lambda: timed(lambda: array.copy()[0], 1) * 1000,
                WARM_COPY: lambda: timed(lambda: numpy.copyto(warm, array)) * 1000,
                EXECUTOR: of_executor,
                **turns,
            }
        )
    figures = [of_rounds(name, values, "ms", at_most=True) for name, values in times.items()]
    for link in links:
        target = 4.0 if link == RINGS else None
        against_warm = ratios(times[link], times[WARM_COPY])
        figures.append(of_rounds(f"{link} / warm copy", against_warm, "x", target, at_most=True))
        figures.append(of_rounds(f"{link} / fresh copy", ratios(times[link], times[COPY]), "x", at_most=True))
        figures.append(of_rounds(f"{link} / {EXECUTOR}", ratios(times[link], times[EXECUTOR]), "x", at_most=True))
    return figures


def results(links: tuple[str, ...]) -> list[Figure]:
    """10 results of 100 MB, read one after the other: beside making and copying each in one process"""
    expected = [page_sum(filled(ARRAY_BYTES, i)) for i in range(RESULTS)]

    def of_client(client: Client) -> float:
        def job() -> list[int]:
            futures = deque(client.submit(filled, ARRAY_BYTES, i) for i in range(RESULTS))
            answers = []
            while futures:
                answers.append(page_sum(futures.popleft().result()))
            return answers

        return timed(job, expected) * 1000

    def of_executor() -> float:
        def job() -> list[int]:
            futures = deque(executor.submit(filled, ARRAY_BYTES, i) for i in range(EXECUTOR_JOBS))
            answers = []
            while futures:
                answers.append(page_sum(futures.popleft().result()))
            return answers

        return timed(job, expected[:EXECUTOR_JOBS]) * 1000 * RESULTS / EXECUTOR_JOBS

    def here() -> float:
        return timed(lambda: [page_sum(filled(ARRAY_BYTES, i).copy()) for i in range(RESULTS)], expected) * 1000

    with ExitStack() as stack:
        executor = open_executor(stack)
        turns = {link: functools.partial(of_client, open_client(stack, link)) for link in links}
        for turn in turns.values():
            turn()
        times = alternate({"in one process": here, EXECUTOR: of_executor, **turns}, 5)
    figures = [of_rounds(name, values, "ms", at_most=True) for name, values in times.items()]
    for link in links:
        target = 2.5 if link == RINGS else None
        against_one = ratios(times[link], times["in one process"])
        figures.append(of_rounds(f"{link} / in one process", against_one, "x", target, at_most=True))
        figures.append(of_rounds(f"{link} / {EXECUTOR}", ratios(times[link], times[EXECUTOR]), "x", at_most=True))
    return figures


def memory(links: tuple[str, ...]) -> list[Figure]:
    """8 workers looking at one array of 1 GB at the same time: all processes' PSS, less that of idle ones"""
    figures = []
    for link in links:
        with ExitStack() as stack:
            client, idle = _open_readers(stack, link)
            array = filled(HUGE_BYTES, 1)
            reference = client.send_object(array)
            del array  # what is left is the object
            taken = _stay(client, reference) - idle
            figures.append(_gigabytes(f"{link}, by reference", taken, 1.1 if link == RINGS else None))
        with ExitStack() as stack:
            client, idle = _open_readers(stack, link)
            array = filled(HUGE_BYTES, 1)
            taken = _stay(client, array) - idle - HUGE_BYTES
            figures.append(_gigabytes(f"{link}, as a plain argument, besides the client's own", taken, None))
            del array
    return figures


def _open_readers(stack: ExitStack, link: str) -> tuple[Client, int]:
    """A client of 8 workers who have imported numpy, and the PSS of them all."""
    client = open_client(stack, link, READER_PROCESSES)
    _stay(client, filled(800, 1))
    return client, _pss_of_all()


def _stay(client: Client, array: Array) -> int:
    """Have each worker look at it at the same time; the PSS of all processes meanwhile."""
    futures = [client.submit(page_sum_and_stay, array, STAY_S) for _ in range(READER_PROCESSES)]
    seen = [0]
    while not all(future.done() for future in futures):
        seen.append(_pss_of_all())
        time.sleep(0.1)
    assert len({future.result() for future in futures}) == 1
    # Processes are asked one after the other, so one sum is wrong while pages become shared; two alike are not.
    return max(min(pair) for pair in itertools.pairwise(seen))


def _pss_of_all() -> int:
    return sum(pss_bytes(pid) for pid in [os.getpid(), *descendants()])


def _gigabytes(what: str, n_bytes: int, target: float | None) -> Figure:
    return Figure(what, n_bytes / 1e9, "GB", target=target, at_most=True)


def partial(links: tuple[str, ...]) -> list[Figure]:
    """10,000 tasks of a functools.partial that holds 500 MB, beside plain tasks"""
    array = filled(PARTIAL_BYTES, 1)
    function = functools.partial(second, array)
    expected = list(range(PARTIAL_CALLS))

    def job(client: Client, of: Callable[[int], int], n: int) -> list[int]:
        return [future.result() for future in [client.submit(of, i) for i in range(n)]]

    def rate(client: Client, of: Callable[[int], int]) -> float:
        return PARTIAL_CALLS / timed(functools.partial(job, client, of, PARTIAL_CALLS), expected)

    figures = []
    for link in links:
        with ExitStack() as stack:
            client = open_client(stack, link)
            copy_s = timed(lambda: array.copy()[0], 1)
            first_s = timed(functools.partial(job, client, function, FIRST_CALLS), expected[:FIRST_CALLS])
            turns: dict[str, Callable[[int], int]] = {"plain": same, "partial": function}
            rates = alternate({name: functools.partial(rate, client, of) for name, of in turns.items()})
        figures.append(Figure(f"{link}, the first tasks", first_s, "s", at_most=True))
        figures.append(Figure(f"{link}, the first tasks / array.copy()", first_s / copy_s, "x", at_most=True))
        figures.append(of_rounds(f"{link}, plain tasks", rates["plain"], "tasks/s"))
        figures.append(of_rounds(f"{link}, later tasks", rates["partial"], "tasks/s"))
        figures.append(of_rounds(f"{link}, later / plain", ratios(rates["partial"], rates["plain"]), "x", 0.5))
    return figures


def sizes(links: tuple[str, ...]) -> list[Figure]:
    """arrays of 4 KiB to 1 MiB as arguments, filled anew for each task or always the same one"""
    pools = {size: [filled(size, 1) for _ in range(ARRAYS)] for size in SIZES}

    def filled_anew(size: int, n: int) -> Iterator[Array]:
        for i in range(n):
            array = pools[size][i % ARRAYS]
            array.fill(i % 256)
            yield array

    def always_the_same(size: int, n: int) -> Iterator[Array]:
        for _ in range(n):
            yield pools[size][0]

    def turn(submit: Callable[..., Any], arrays: Callable[[int, int], Iterator[Array]], size: int, n: int) -> float:
        """Microseconds for each task."""

        def job() -> None:
            for future in [submit(page_sum, array) for array in arrays(size, n)]:
                future.result()

        return timed(job) / n * 1e6

    def here(size: int, n: int) -> float:
        def job() -> None:
            for array in filled_anew(size, n):
                numpy.copyto(next(copies[size]), array)

        return timed(job) / n * 1e6

    figures = []
    kinds = {"filled anew": filled_anew, "the same": always_the_same}
    copies = {size: itertools.cycle([filled(size, 1) for _ in range(ARRAYS)]) for size in SIZES}
    with ExitStack() as stack:
        submits = {EXECUTOR: open_executor(stack).submit}
        submits.update({link: open_client(stack, link).submit for link in links})
        turns = {(HERE, "filled anew", size): functools.partial(here, size, 200) for size in SIZES}
        for name, submit in submits.items():
            for kind, arrays in kinds.items():
                if name == EXECUTOR and arrays is always_the_same:  # which it does not notice
                    continue
                for size in SIZES:
                    n = min(SIZE_BYTES // size, MOST_OF_A_SIZE) // (16 if name == EXECUTOR else 1)
                    turns[name, kind, size] = functools.partial(turn, submit, arrays, size, n)
        for first in turns.values():
            first()
        times = alternate(turns, SIZE_ROUNDS)
    for name, kind, size in times:
        rates = [1e6 / us for us in times[name, kind, size]]
        figures.append(of_rounds(f"{name}, {kind}: {size >> 10} KiB", rates, "tasks/s"))
    for name, kind in dict.fromkeys((name, kind) for name, kind, _ in times if name != EXECUTOR):
        steps = []
        for size in SIZES:
            if 2 * size in SIZES and size >= LEAST_OF_STEPS:
                steps.append(median(ratios(times[name, kind, 2 * size], times[name, kind, size])))
        what = f"{name}, {kind}: worst step to twice the size"
        figures.append(Figure(what, max(steps), "x", target=2.2 if name == RINGS else None, at_most=True))
    return figures


def churn(links: tuple[str, ...]) -> list[Figure]:
    """a million objects of 100 KB (over the wire 100,000), as arguments and as results: does anything grow?"""
    figures = []
    for link in links:
        n = CHURNED[link]
        for what, work in (("arguments", _churn_arguments), ("results", _churn_results)):
            others = segment_names()
            with ExitStack() as stack:
                client = open_client(stack, link)
                processes = [os.getpid(), *descendants()]
                scheduler = next(pid for pid in processes if SCHEDULERS & set(psutil.Process(pid).cmdline()))
                start = time.perf_counter()
                seen = []
                for i, _ in enumerate(work(client, n)):
                    if i in (n // 10, n - 1):
                        gc.collect()
                        seen.append((rss_bytes(os.getpid()), rss_bytes(scheduler), object_bytes(processes)))
                rate = n / (time.perf_counter() - start)
            figures.append(Figure(f"{link}, {what}", rate, "objects/s"))
            for of, before, after in zip(("client's RSS", "scheduler's RSS", "segments"), *seen, strict=True):
                growth = (after - before) / 1e6
                target = 5.0 if link == RINGS else None
                figures.append(Figure(f"{link}, {what}: growth of {of}", growth, "MB", target=target, at_most=True))
            figures.append(Figure(f"{link}, {what}: segments", seen[-1][2] / 1e6, "MB", at_most=True))
            left = len(segment_names() - others)
            figures.append(Figure(f"{link}, {what}: segments left", left, "", target=0.0, at_most=True))
    return figures


def _churn_arguments(client: Client, n: int) -> Iterator[int]:
    futures: deque[Any] = deque()
    for i in range(n):
        futures.append(client.submit(page_sum, filled(CHURNED_BYTES, i % 256)))
        if len(futures) > WINDOW:
            yield futures.popleft().result()
    while futures:
        yield futures.popleft().result()


def _churn_results(client: Client, n: int) -> Iterator[int]:
    futures: deque[Any] = deque()
    for i in range(n):
        futures.append(client.submit(filled, CHURNED_BYTES, i % 256))
        if len(futures) > WINDOW:
            yield page_sum(futures.popleft().result())
    while futures:
        yield page_sum(futures.popleft().result())


ROWS: Rows = {
    "shared": shared,
    "results": results,
    "memory": memory,
    "partial": partial,
    "sizes": sizes,
    "churn": churn,
}

if __name__ == "__main__":
    main("perf.objects", ROWS)
