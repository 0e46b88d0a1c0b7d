"""Dask's own scheduler for one host: `scheduler="processes"`, a pool of processes that it keeps."""

import multiprocessing.pool
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from perf.peers.engines import WORKERS
from perf.peers.engines.pool import PoolEngine


class DaskProcessesEngine(PoolEngine):
    """Plain calls are the Pool's; only collections go through Dask."""

    HOW = {"tensordot": 'scheduler="processes"'}

    def __init__(self, pool: multiprocessing.pool.Pool) -> None:
        super().__init__(pool)
        self._executor = ProcessPoolExecutor(WORKERS)

    def compute(self, collection: Any) -> Any:
        return collection.compute(scheduler="processes", pool=self._executor)

    def close(self) -> None:
        self._executor.shutdown()
        super().close()


def open_engine() -> DaskProcessesEngine:
    return DaskProcessesEngine(multiprocessing.get_context("fork").Pool(WORKERS))
