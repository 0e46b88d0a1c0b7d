"""SchedulerClusterCombo: a scheduler and workers on this machine, started from code. Each by itself: launch.

Both processes are started at once: the cluster's loads its modules while the scheduler gets ready to tell its address.
"""

from collections.abc import Iterable
from types import TracebackType
from typing import Any

from scaler.cluster.launch import LOGGING_LEVEL, LOGGING_PATHS, Cluster, Scheduler, end_launched
from scaler.cluster.spawn import Child
from scaler.config.table import ClusterConfig, SchedulerConfig


class SchedulerClusterCombo:
    """`n_workers` worker processes and their scheduler; ready when the constructor returns.

    `address=None` is a free port on this machine. Options are those of scaler_scheduler and scaler_cluster.
    """

    def __init__(
        self,
        n_workers: int,
        address: str | None = None,
        monitor_address: str | None = None,
        worker_io_threads: int = ClusterConfig.io_threads,
        scheduler_io_threads: int = SchedulerConfig.io_threads,
        max_number_of_tasks_waiting: int = SchedulerConfig.max_number_of_tasks_waiting,
        heartbeat_interval_seconds: float = ClusterConfig.heartbeat_interval,
        client_timeout_seconds: float = SchedulerConfig.client_timeout_seconds,
        worker_timeout_seconds: float = SchedulerConfig.worker_timeout_seconds,
        object_retention_seconds: float = SchedulerConfig.object_retention_seconds,
        task_timeout_seconds: float = ClusterConfig.task_timeout_seconds,
        death_timeout_seconds: float = ClusterConfig.death_timeout_seconds,
        load_balance_seconds: float = SchedulerConfig.load_balance_seconds,
        load_balance_trigger_times: int = SchedulerConfig.load_balance_trigger_times,
        garbage_collect_interval_seconds: float = ClusterConfig.garbage_collect_interval_seconds,
        trim_memory_threshold_bytes: int = ClusterConfig.trim_memory_threshold_bytes,
        per_worker_queue_size: int = SchedulerConfig.per_worker_queue_size,
        hard_processor_suspend: bool = ClusterConfig.hard_processor_suspend,
        protected: bool = True,
        event_loop: str = SchedulerConfig.event_loop,
        logging_paths: Iterable[str] = LOGGING_PATHS,
        logging_level: str = LOGGING_LEVEL,
        logging_config_file: str | None = None,
        *,
        ring_bytes: int = ClusterConfig.ring_bytes,
        client_queue_bytes: int = SchedulerConfig.client_queue_bytes,
        object_memory_bytes: int = SchedulerConfig.object_memory_bytes,
        object_folder: str | None = SchedulerConfig.object_folder,
        stop_grace_seconds: float = ClusterConfig.stop_grace_seconds,
        worker_max_tasks: int = ClusterConfig.worker_max_tasks,
        worker_max_bytes: int = ClusterConfig.worker_max_bytes,
        insecure: bool = SchedulerConfig.insecure,
    ) -> None:
        logging_paths = logging_paths if isinstance(logging_paths, str) else list(logging_paths)
        waiting = Child(Cluster.module)
        try:
            self._scheduler = Scheduler(
                address,
                monitor_address=monitor_address,
                io_threads=scheduler_io_threads,
                max_number_of_tasks_waiting=max_number_of_tasks_waiting,
                client_timeout_seconds=client_timeout_seconds,
                worker_timeout_seconds=worker_timeout_seconds,
                object_retention_seconds=object_retention_seconds,
                load_balance_seconds=load_balance_seconds,
                load_balance_trigger_times=load_balance_trigger_times,
                per_worker_queue_size=per_worker_queue_size,
                client_queue_bytes=client_queue_bytes,
                object_memory_bytes=object_memory_bytes,
                object_folder=object_folder,
                protected=protected,
                insecure=insecure,
                event_loop=event_loop,
                logging_paths=logging_paths,
                logging_level=logging_level,
                logging_config_file=logging_config_file,
            )
            self._cluster = _WaitingCluster(
                waiting,
                self._scheduler.get_address(),
                n_workers,
                worker_io_threads=worker_io_threads,
                heartbeat_interval_seconds=heartbeat_interval_seconds,
                task_timeout_seconds=task_timeout_seconds,
                stop_grace_seconds=stop_grace_seconds,
                worker_max_tasks=worker_max_tasks,
                worker_max_bytes=worker_max_bytes,
                death_timeout_seconds=death_timeout_seconds,
                garbage_collect_interval_seconds=garbage_collect_interval_seconds,
                trim_memory_threshold_bytes=trim_memory_threshold_bytes,
                hard_processor_suspend=hard_processor_suspend,
                ring_bytes=ring_bytes,
                event_loop=event_loop,
                logging_paths=logging_paths,
                logging_level=logging_level,
                logging_config_file=logging_config_file,
            )
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

    def __enter__(self) -> "SchedulerClusterCombo":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.shutdown()

    def __del__(self) -> None:
        if hasattr(self, "_cluster"):
            self.shutdown()


class _WaitingCluster(Cluster):
    """A cluster whose process is there already and waits for its settings."""

    def __init__(self, child: Child, *arguments: Any, **options: Any) -> None:
        self._waiting = child
        super().__init__(*arguments, **options)

    def _spawn(self) -> Child:
        return self._waiting
