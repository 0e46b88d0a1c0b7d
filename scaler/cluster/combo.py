"""SchedulerClusterCombo: a scheduler and workers on this machine, started from code.

Both are processes of their own, with sessions of their own, and end when their creator does.
"""

import os
import sys
import time
from types import TracebackType

from scaler.cluster.spawn import Child, await_report

START_TIMEOUT_S = 60.0


class SchedulerClusterCombo:
    """`n_workers` worker processes and their scheduler; ready when the constructor returns."""

    def __init__(
        self,
        n_workers: int,
        address: str | None = None,
        *,
        protected: bool = True,
        ring_bytes: int = 262144,
        client_queue_bytes: int = 1 << 30,
    ) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        self._children: list[Child] = []
        scheduler = {
            "address": address or "tcp://127.0.0.1:*",
            "queue_size": 1000,
            "protected": protected,
            "client_queue_bytes": client_queue_bytes,
            "logging_level": "WARNING",
        }
        try:
            self._children.append(Child("scaler.scheduler.process", scheduler))
            self._address: str = await_report(self._children[0], "ready", deadline, "the scheduler")
            cluster = {
                "address": self._address,
                "names": [f"worker-{number}" for number in range(n_workers)],
                "worker": {"ring_bytes": ring_bytes, "sys_path": sys.path, "cwd": os.getcwd()},
                "death_timeout_s": 300,
                "logging_level": "WARNING",
            }
            self._children.append(Child("scaler.cluster.process", cluster))
            await_report(self._children[1], "ready", deadline, "the cluster")
        except BaseException:
            self.shutdown()
            raise

    def get_address(self) -> str:
        """Where a Client connects to."""
        return self._address

    def shutdown(self) -> None:
        """Stop all processes; idempotent."""
        children, self._children = self._children, []
        for child in reversed(children):
            child.link.close()
        for child in reversed(children):
            child.end()

    def __enter__(self) -> "SchedulerClusterCombo":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.shutdown()

    def __del__(self) -> None:
        if getattr(self, "_children", None):
            self.shutdown()
