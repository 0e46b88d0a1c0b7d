"""The two links between a client and its workers, as a parameter of the end-to-end rows.

`rings`: everything on one host, over shared memory. `wire`: the scheduler has a /dev/shm of its own, so that nobody
shares memory with it and every task goes through a relay and ZeroMQ twice, on the loopback device, without keys.
"""

import multiprocessing.pool
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self

from perf.work import same
from scaler import Client, SchedulerClusterCombo
from tests.elsewhere import RemoteCluster

RINGS = "rings"
WIRE = "wire"
LINKS = (RINGS, WIRE)
WORKERS = 2


class Cluster(Protocol):
    """A scheduler with workers, ended at the end of its `with`."""

    def get_address(self) -> str: ...

    def shutdown(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None, /
    ) -> None: ...


def open_cluster(link: str, n_workers: int = WORKERS) -> Cluster:
    return RemoteCluster(n_workers, insecure=True) if link == WIRE else SchedulerClusterCombo(n_workers)


def open_client(stack: ExitStack, link: str, n_workers: int = WORKERS) -> Client:
    """A client of a cluster of its own, whose workers have run something already."""
    cluster = stack.enter_context(open_cluster(link, n_workers))
    client = stack.enter_context(Client(cluster.get_address(), timeout_seconds=20))
    client.map(same, [(i,) for i in range(1000)])
    return client


def open_pool(stack: ExitStack, n_workers: int = WORKERS) -> multiprocessing.pool.Pool:
    """Made before there are threads in this process, since it forks."""
    pool = stack.enter_context(multiprocessing.get_context("fork").Pool(n_workers))
    pool.starmap(same, [(i,) for i in range(1000)])
    return pool


def open_executor(stack: ExitStack, n_workers: int = WORKERS) -> ProcessPoolExecutor:
    """As open_pool."""
    executor = ProcessPoolExecutor(n_workers, mp_context=multiprocessing.get_context("fork"))
    stack.enter_context(executor)
    list(executor.map(same, range(1000)))
    return executor
