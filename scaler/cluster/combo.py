"""SchedulerClusterCombo: a scheduler and workers on this machine, started from code. Each by itself: launch.

Both processes are started at once: the cluster's loads its modules while the scheduler gets ready to tell its address.

Not here: what the options are (signatures, which is made from config.table).
"""

from types import TracebackType
from typing import Any

from scaler.cluster.launch import Cluster, Scheduler, end_launched
from scaler.cluster.signatures import ComboSignature
from scaler.cluster.spawn import Child
from scaler.config.table import ClusterConfig, SchedulerConfig
from scaler.config.values import part_of_combo
from scaler.program.notebook import as_html


class SchedulerClusterCombo(ComboSignature):
    """`n_workers` worker processes and their scheduler; ready when the constructor returns.

    `address=None` is a free port on this machine. Options are those of scaler_scheduler and scaler_cluster; what both
    have, both get.
    """

    def _begin(self, arguments: dict[str, Any]) -> None:
        waiting = Child(Cluster.module)
        self._worker_count = arguments.get("n_workers")
        try:
            self._scheduler = Scheduler(**part_of_combo(SchedulerConfig, arguments))
            of_cluster = {**part_of_combo(ClusterConfig, arguments), "address": self._scheduler.get_address()}
            self._cluster = _WaitingCluster(waiting, of_cluster)
        except BaseException:
            waiting.end()
            if hasattr(self, "_scheduler"):
                self._scheduler.shutdown()
            raise

    @property
    def _children(self) -> list[Child]:
        """The processes that run; none after shutdown."""
        return [child for child in (self._scheduler.child, self._cluster.child) if child is not None]

    def get_address(self) -> str:
        """Where a Client connects to."""
        return self._scheduler.get_address()

    def shutdown(self) -> None:
        """Stop all processes and wait until they have ended; idempotent."""
        end_launched(self._cluster, self._scheduler)

    def _facts(self) -> dict[str, object]:
        return {
            "scheduler": self.get_address(),
            "workers": self._worker_count,
            "state": "runs" if self._children else "has been stopped",
        }

    def __repr__(self) -> str:
        if not hasattr(self, "_cluster"):  # its constructor has failed
            return "<SchedulerClusterCombo that could not start>"
        facts = self._facts()
        return f"<SchedulerClusterCombo at {facts['scheduler']}, {facts['workers']} workers, {facts['state']}>"

    def _repr_html_(self) -> str:
        return as_html("SchedulerClusterCombo", self._facts() if hasattr(self, "_cluster") else {})

    def __enter__(self) -> "SchedulerClusterCombo":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.shutdown()

    def __del__(self) -> None:
        if hasattr(self, "_cluster"):
            self.shutdown()


class _WaitingCluster(Cluster):
    """A cluster whose process is there already and waits for its settings."""

    def __init__(self, child: Child, arguments: dict[str, Any]) -> None:
        self._waiting = child
        super().__init__(**arguments)

    def _spawn(self) -> Child:
        return self._waiting
