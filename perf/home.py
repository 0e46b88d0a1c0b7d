"""At home: what programs of `concurrent.futures`, `multiprocessing` and asyncio do, beside what they come from.

`python -m perf.home small_maps` runs one row. What each number means stands in README.md.
"""

import asyncio
import concurrent.futures
import multiprocessing.pool
import resource
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from perf.command import Rows, main
from perf.contestants import EXECUTOR
from perf.links import RINGS, WORKERS, open_client, open_executor, open_pool
from perf.report import Figure, not_measured, of_rounds
from perf.rounds import alternate, median, p50_s, ratios, timed
from perf.work import bowl, minus_bowl, same, total
from scaler import AsyncClient, Client, as_completed

SMALL = 32
REPEATS = 200
STREAMED = 2_000_000
STREAMED_CHUNK = 1000
FUTURES = 20_000
JOBLIB_CALLS = 10_000
SUBMITS = 50_000
EXECUTOR_SUBMITS = 5_000  # it takes ten times as long, and its rate is the same for all such numbers
POOL = "Pool"


def small_maps(links: tuple[str, ...]) -> list[Figure]:
    """a map of 32 calls, one after the other: the p50 of each round"""
    import numpy

    jobs: dict[str, tuple[Callable[..., Any], list[Any], list[Any]]] = {
        "32 ints": (same, list(range(SMALL)), list(range(SMALL))),
        "32 arrays of 5 floats": (
            total,
            [numpy.full(5, float(i)) for i in range(SMALL)],
            [5.0 * i for i in range(SMALL)],
        ),
    }
    targets = {"32 ints": 0.5, "32 arrays of 5 floats": 0.8}

    def turn(map_: Callable[..., list[Any]], name: str) -> Callable[[], float]:
        function, items, expected = jobs[name]

        def call(i: int) -> int:
            if map_(function, items) != expected:
                raise AssertionError("a wrong answer came back")
            return i

        return lambda: p50_s(call, REPEATS) * 1e6

    with ExitStack() as stack:
        maps: dict[str, Callable[..., list[Any]]] = {POOL: open_pool(stack).map}
        maps |= {link: open_client(stack, link).map_each for link in links}
        p50s = alternate({(job, name): turn(map_, job) for job in jobs for name, map_ in maps.items()})
    figures = []
    for job in jobs:
        figures += [of_rounds(f"{job}: {name}", p50s[job, name], "us", at_most=True) for name in maps]
        for link in links:
            against = ratios(p50s[job, link], p50s[job, POOL])
            target = targets[job] if link == RINGS else None
            figures.append(of_rounds(f"{job}: {link} / Pool.map", against, "x", target, at_most=True))
    return figures


def imap(links: tuple[str, ...]) -> list[Figure]:
    """results read one by one, in chunks of 1,000"""
    expected = STREAMED * (STREAMED - 1) // 2

    def turn(read: Callable[[], Any]) -> Callable[[], float]:
        return lambda: STREAMED / timed(lambda: sum(read()), expected)

    def of_client(client: Client) -> Callable[[], Any]:
        return lambda: client.imap(same, range(STREAMED), chunksize=STREAMED_CHUNK)

    def of_pool(pool: multiprocessing.pool.Pool) -> Callable[[], Any]:
        return lambda: pool.imap(same, range(STREAMED), STREAMED_CHUNK)

    def stream_more(client: Client) -> None:
        timed(lambda: sum(client.imap(same, range(5 * STREAMED))), sum(range(5 * STREAMED)))

    figures = []
    with ExitStack() as stack:
        turns = {POOL: turn(of_pool(open_pool(stack)))}
        clients = {link: open_client(stack, link) for link in links}
        turns |= {link: turn(of_client(client)) for link, client in clients.items()}
        rates = alternate(turns, 5)
        for link, client in clients.items():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            stream_more(client)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            figures.append(Figure(f"{link}: memory that 10,000,000 more took", grown, "MB", target=5.0, at_most=True))
    figures += [of_rounds(name, values, "calls/s") for name, values in rates.items()]
    for link in links:
        target = 1.5 if link == RINGS else None
        figures.append(of_rounds(f"{link} / Pool.imap", ratios(rates[link], rates[POOL]), "x", target))
    return figures


def completed(links: tuple[str, ...]) -> list[Figure]:
    """20,000 no-op tasks whose results are read: in order, or as they are done"""
    expected = FUTURES * (FUTURES - 1) // 2

    def turn(client: Client, read: Callable[[list[Any]], Any]) -> Callable[[], float]:
        def job() -> int:
            return sum(future.result() for future in read([client.submit(same, i) for i in range(FUTURES)]))

        return lambda: timed(job, expected) / FUTURES * 1e6

    ways: dict[str, Callable[[list[Any]], Any]] = {
        "in order": lambda futures: futures,
        "scaler.as_completed": as_completed,
        "concurrent.futures.as_completed": concurrent.futures.as_completed,
    }
    figures = []
    for link in links:
        with ExitStack() as stack:
            client = open_client(stack, link)
            costs = alternate({name: turn(client, read) for name, read in ways.items()})
        figures += [of_rounds(f"{link}: {name}", values, "us", at_most=True) for name, values in costs.items()]
        against = ratios(costs["scaler.as_completed"], costs["in order"])
        figures.append(of_rounds(f"{link}: scaler.as_completed / in order", against, "x", at_most=True))
    return figures


def executor(links: tuple[str, ...]) -> list[Figure]:
    """single no-op tasks of an executor, all futures kept, then all results"""

    def turn(made: concurrent.futures.Executor, n: int) -> Callable[[], float]:
        def job() -> list[int]:
            return [future.result() for future in [made.submit(same, i) for i in range(n)]]

        return lambda: n / timed(job, list(range(n)))

    with ExitStack() as stack:
        turns = {EXECUTOR: turn(open_executor(stack), EXECUTOR_SUBMITS)}
        for link in links:
            turns[link] = turn(stack.enter_context(open_client(stack, link).executor()), SUBMITS)
        rates = alternate(turns)
    figures = [of_rounds(name, values, "tasks/s") for name, values in rates.items()]
    for link in links:
        target = 20.0 if link == RINGS else None
        figures.append(of_rounds(f"{link} / {EXECUTOR}.submit", ratios(rates[link], rates[EXECUTOR]), "x", target))
    return figures


def coroutines(links: tuple[str, ...]) -> list[Figure]:
    """calls that are awaited: CPU time of the client for each of 20,000 that are gathered, and one at a time"""

    async def gather(submit: Callable[..., Any]) -> float:
        start = time.process_time()
        results = await asyncio.gather(*(submit(same, i) for i in range(FUTURES)))
        cost = (time.process_time() - start) / FUTURES * 1e6
        if results != list(range(FUTURES)):
            raise AssertionError("a wrong answer came back")
        return cost

    async def one_by_one(submit: Callable[..., Any]) -> float:
        times = []
        for i in range(REPEATS):
            start = time.perf_counter()
            if await submit(same, i) != i:
                raise AssertionError("a wrong answer came back")
            times.append(time.perf_counter() - start)
        return median(times) * 1e6

    def with_async_client(client: Client, job: Callable[..., Any]) -> Callable[[], float]:
        async def run() -> float:
            async with AsyncClient(client=client) as made:
                await made.submit(same, 0)
                cost: float = await job(made.submit)
                return cost

        return lambda: asyncio.run(run())

    def turns_of(client: Client) -> dict[str, Callable[[], float]]:
        return {
            "gather, AsyncClient": with_async_client(client, gather),
            "gather, ScalerFutures": lambda: asyncio.run(gather(client.submit)),
            "one, AsyncClient": with_async_client(client, one_by_one),
            "one, result()": lambda: p50_s(lambda i: client.submit(same, i).result(), REPEATS) * 1e6,
        }

    figures = []
    for link in links:
        with ExitStack() as stack:
            costs = alternate(turns_of(open_client(stack, link)))
        targets = {"gather, AsyncClient": 6.0, "gather, ScalerFutures": 15.0} if link == RINGS else {}
        for name, values in costs.items():
            figures.append(of_rounds(f"{link}: {name}", values, "us", targets.get(name), at_most=True))
        against = ratios(costs["one, AsyncClient"], costs["one, result()"])
        target = 1.3 if link == RINGS else None
        figures.append(of_rounds(f"{link}: one awaited / result()", against, "x", target, at_most=True))
    return figures


def joblib(links: tuple[str, ...]) -> list[Figure]:
    """joblib: 10,000 no-ops, and a grid search of 200 small fits"""
    import joblib as library

    import scaler.joblib

    def no_ops(backend: Any) -> Callable[[], float]:
        def job() -> Any:
            with library.parallel_config(backend, n_jobs=WORKERS):
                return library.Parallel()(library.delayed(same)(i) for i in range(JOBLIB_CALLS))

        return lambda: JOBLIB_CALLS / timed(job, list(range(JOBLIB_CALLS)))

    figures = []
    with ExitStack() as stack:
        backends: dict[str, Any] = {"loky": "loky"}
        for link in links:
            backends[link] = scaler.joblib.ScalerBackend(client=open_client(stack, link))
        rates = alternate({name: no_ops(backend) for name, backend in backends.items()})
        figures += [of_rounds(f"no-ops: {name}", values, "calls/s") for name, values in rates.items()]
        for link in links:
            target = 1.0 if link == RINGS else None
            figures.append(of_rounds(f"no-ops: {link} / loky", ratios(rates[link], rates["loky"]), "x", target))
        try:
            from sklearn.datasets import make_classification
            from sklearn.model_selection import GridSearchCV
            from sklearn.tree import DecisionTreeClassifier
        except ImportError:
            return [*figures, not_measured("grid search", "scikit-learn is not installed")]
        x, y = make_classification(2000, random_state=0)
        grid = {"max_depth": list(range(2, 22)), "min_samples_leaf": [1, 5]}

        def search(backend: Any) -> Callable[[], float]:
            def job() -> None:
                with library.parallel_config(backend, n_jobs=1 if backend == "sequential" else WORKERS):
                    GridSearchCV(DecisionTreeClassifier(random_state=0), grid, cv=5).fit(x, y)

            return lambda: timed(job)

        backends["serial"] = "sequential"
        seconds = alternate({name: search(backend) for name, backend in backends.items()}, 5)
        figures += [of_rounds(f"200 fits: {name}", values, "s", at_most=True) for name, values in seconds.items()]
        for link in links:
            for peer, least in (("loky", 1.4), ("serial", 1.0)):
                target = least if link == RINGS else None
                against = ratios(seconds[peer], seconds[link])
                figures.append(of_rounds(f"200 fits: {peer} / {link}, times", against, "x", target))
    return figures


def optimizers(links: tuple[str, ...]) -> list[Figure]:
    """scipy's differential_evolution of a cheap function, and emcee, with our map or pool and with Pool's"""
    import numpy

    try:
        import emcee
        from scipy.optimize import differential_evolution
    except ImportError as error:
        return [not_measured("optimizers", f"{error.name} is not installed")]

    def evolve(workers: Callable[..., Any]) -> Callable[[], float]:
        how: dict[str, Any] = {"bounds": [(-5, 5)] * 5, "seed": 1, "updating": "deferred", "maxiter": 30, "tol": 0}
        return lambda: timed(lambda: differential_evolution(bowl, workers=workers, polish=False, **how))

    def sample(pool: Any) -> Callable[[], float]:
        start = numpy.random.default_rng(0).normal(size=(32, 5))
        return lambda: timed(lambda: emcee.EnsembleSampler(32, 5, minus_bowl, pool=pool).run_mcmc(start, 100))

    with ExitStack() as stack:
        pool = open_pool(stack)
        clients = {link: open_client(stack, link) for link in links}
        jobs = {("differential_evolution", POOL): evolve(pool.map), ("emcee", POOL): sample(pool)}
        for link, client in clients.items():
            jobs["differential_evolution", link] = evolve(client.map_each)
            jobs["emcee", link] = sample(client.pool())
        seconds = alternate(jobs)
    figures = [of_rounds(f"{job}: {name}", values, "s", at_most=True) for (job, name), values in seconds.items()]
    for job in ("differential_evolution", "emcee"):
        for link in links:
            target = 1.0 if link == RINGS else None
            against = ratios(seconds[job, link], seconds[job, POOL])
            figures.append(of_rounds(f"{job}: {link} / {POOL}", against, "x", target, at_most=True))
    return figures


ROWS: Rows = {
    "small_maps": small_maps,
    "imap": imap,
    "completed": completed,
    "executor": executor,
    "coroutines": coroutines,
    "joblib": joblib,
    "optimizers": optimizers,
}

if __name__ == "__main__":
    main("perf.home", ROWS)
