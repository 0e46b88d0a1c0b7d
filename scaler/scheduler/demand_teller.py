"""DemandTeller: tells clusters that grow and shrink how much work there is, and which of their workers have none.

The scheduler says what is so, and decides nothing: how many workers a host may have, and what one more is worth, is
known to its cluster (scaler.cluster.scaling).

Rule 1: as long as no such cluster is here there is not even a timer.
Not here: how work is measured (native/scheduler/demand.pyx), the two ways to say it (pump_peers, remote_peers).
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from scaler._native import SchedulerCore, demand_of
from scaler.protocol.frames import Demand

EVERY_S = 0.5


class Elastic(Protocol):
    """Some of the peers."""

    def count_elastic(self) -> int:
        """How many clusters grow and shrink."""
        ...

    def cluster_names(self) -> list[str]:
        """Of the clusters that have one."""
        ...

    def tell_demand(self, demand: Demand, now_ns: int) -> None:
        """Tell it to them, and each which of its workers have nothing to do."""
        ...


class DemandTeller:
    """`on_told()` is called after something may have been sent."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        core: SchedulerCore,
        peers: tuple[Elastic, ...],
        on_told: Callable[[], object],
    ) -> None:
        self._loop, self._core, self._peers, self._on_told = loop, core, peers, on_told
        self._timer: asyncio.TimerHandle | None = None

    def attend(self) -> None:
        """Peers have come or gone."""
        if self._timer is None and self._count():
            self._timer = self._loop.call_later(EVERY_S, self._tell)

    def _count(self) -> int:
        return sum(peers.count_elastic() for peers in self._peers)

    def _tell(self) -> None:
        self._timer = None
        tasks, work_ns, workers = demand_of(self._core)
        names = tuple(name for peers in self._peers for name in peers.cluster_names())
        demand = Demand(tasks, work_ns, workers, self._count(), joined=names)
        for peers in self._peers:
            peers.tell_demand(demand, time.monotonic_ns())
        self.attend()
        self._on_told()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
