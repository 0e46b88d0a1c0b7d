"""OwnWorkers: a scheduler, workers and a client that an executor or a pool starts for itself, and ends.

Rule 1: large results that were not read when it ends can still be read: the client stays until they are.
"""

import os
from typing import Any

from scaler.client.client import Client
from scaler.cluster.combo import SchedulerClusterCombo


class OwnWorkers:
    """`n_workers` on this host, by default one for each core that this process may use."""

    def __init__(self, n_workers: int | None = None, **options: Any) -> None:
        self._combo = SchedulerClusterCombo(len(os.sched_getaffinity(0)) if n_workers is None else n_workers, **options)
        try:
            self.client: Client = Client(self._combo.get_address())
        except BaseException:
            self._combo.shutdown()
            raise

    def end(self) -> None:
        """Stop all of it; idempotent."""
        if self.client._mappings.unread_loans == 0:
            self.client.disconnect()
        self._combo.shutdown()
