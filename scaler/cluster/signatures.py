"""What Scheduler, Cluster and SchedulerClusterCombo take: made from scaler/config/table.py, so change that file and run
`make options`.

Not here: what the options mean (config.table, docs/options.md), what is done with them (launch, combo).
"""

from collections.abc import Iterable
from typing import Any

from scaler.config.table import ClusterConfig, SchedulerConfig

# fmt: off


class SchedulerSignature:
    def __init__(
        self,
        address: str | None = None,
        *,
        logging_paths: Iterable[str] = ("/dev/stderr",),
        logging_level: str = "WARNING",
        logging_config_file: str | None = None,
        event_loop: str = SchedulerConfig.event_loop,
        object_memory_bytes: int = SchedulerConfig.object_memory_bytes,
        object_folder: str | None = None,
        monitor_address: str | None = None,
        keys: str | None = None,
        insecure: bool = SchedulerConfig.insecure,
        protected: bool = True,
        io_threads: int = SchedulerConfig.io_threads,
        max_number_of_tasks_waiting: int = SchedulerConfig.max_number_of_tasks_waiting,
        per_worker_queue_size: int = SchedulerConfig.per_worker_queue_size,
        client_queue_bytes: int = SchedulerConfig.client_queue_bytes,
        client_timeout_seconds: float = SchedulerConfig.client_timeout_seconds,
        worker_timeout_seconds: float = SchedulerConfig.worker_timeout_seconds,
        object_retention_seconds: float = SchedulerConfig.object_retention_seconds,
        load_balance_seconds: float = SchedulerConfig.load_balance_seconds,
        load_balance_trigger_times: int = SchedulerConfig.load_balance_trigger_times,
    ) -> None:
        self._begin({name: value for name, value in locals().items() if name != "self"})

    def _begin(self, arguments: dict[str, Any]) -> None:
        """Start what this is, with all arguments by name."""
        raise NotImplementedError


class ClusterSignature:
    def __init__(
        self,
        address: str,
        n_workers: int | None = None,
        *,
        logging_paths: Iterable[str] = ("/dev/stderr",),
        logging_level: str = "WARNING",
        logging_config_file: str | None = None,
        event_loop: str = ClusterConfig.event_loop,
        object_memory_bytes: int = ClusterConfig.object_memory_bytes,
        object_folder: str | None = None,
        keys: str | None = None,
        min_workers: int | None = None,
        max_workers: int | None = None,
        backlog_seconds: float = ClusterConfig.backlog_seconds,
        idle_seconds: float = ClusterConfig.idle_seconds,
        launch: str | None = None,
        hosts: str | None = None,
        launch_options: str = ClusterConfig.launch_options,
        launch_setup: str = ClusterConfig.launch_setup,
        launch_program: str = ClusterConfig.launch_program,
        launch_folder: str | None = None,
        launch_hosts: Iterable[str] = ClusterConfig.launch_hosts,
        launch_start: str = ClusterConfig.launch_start,
        launch_list: str = ClusterConfig.launch_list,
        launch_end: str = ClusterConfig.launch_end,
        most_queued: int = ClusterConfig.most_queued,
        cluster_name: str = ClusterConfig.cluster_name,
        resources: str | None = None,
        dry_run: bool = ClusterConfig.dry_run,
        end_idle_seconds: float = ClusterConfig.end_idle_seconds,
        worker_names: Iterable[str] = ClusterConfig.worker_names,
        ring_bytes: int = ClusterConfig.ring_bytes,
        death_timeout_seconds: float = ClusterConfig.death_timeout_seconds,
        task_timeout_seconds: float = ClusterConfig.task_timeout_seconds,
        stop_grace_seconds: float = ClusterConfig.stop_grace_seconds,
        drain_seconds: float = ClusterConfig.drain_seconds,
        garbage_collect_interval_seconds: float = ClusterConfig.garbage_collect_interval_seconds,
        trim_memory_threshold_bytes: int = ClusterConfig.trim_memory_threshold_bytes,
        worker_max_tasks: int = ClusterConfig.worker_max_tasks,
        worker_max_bytes: int = ClusterConfig.worker_max_bytes,
        heartbeat_interval_seconds: float = ClusterConfig.heartbeat_interval,
        worker_io_threads: int = ClusterConfig.io_threads,
        hard_processor_suspend: bool = ClusterConfig.hard_processor_suspend,
        log_hub_address: str | None = None,
    ) -> None:
        self._begin({name: value for name, value in locals().items() if name != "self"})

    def _begin(self, arguments: dict[str, Any]) -> None:
        """Start what this is, with all arguments by name."""
        raise NotImplementedError


class ComboSignature:
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
        logging_paths: Iterable[str] = ("/dev/stderr",),
        logging_level: str = "WARNING",
        logging_config_file: str | None = None,
        *,
        object_memory_bytes: int = SchedulerConfig.object_memory_bytes,
        object_folder: str | None = None,
        keys: str | None = None,
        insecure: bool = SchedulerConfig.insecure,
        client_queue_bytes: int = SchedulerConfig.client_queue_bytes,
        min_workers: int | None = None,
        max_workers: int | None = None,
        backlog_seconds: float = ClusterConfig.backlog_seconds,
        idle_seconds: float = ClusterConfig.idle_seconds,
        launch: str | None = None,
        hosts: str | None = None,
        launch_options: str = ClusterConfig.launch_options,
        launch_setup: str = ClusterConfig.launch_setup,
        launch_program: str = ClusterConfig.launch_program,
        launch_folder: str | None = None,
        launch_hosts: Iterable[str] = ClusterConfig.launch_hosts,
        launch_start: str = ClusterConfig.launch_start,
        launch_list: str = ClusterConfig.launch_list,
        launch_end: str = ClusterConfig.launch_end,
        most_queued: int = ClusterConfig.most_queued,
        cluster_name: str = ClusterConfig.cluster_name,
        resources: str | None = None,
        dry_run: bool = ClusterConfig.dry_run,
        end_idle_seconds: float = ClusterConfig.end_idle_seconds,
        worker_names: Iterable[str] = ClusterConfig.worker_names,
        ring_bytes: int = ClusterConfig.ring_bytes,
        stop_grace_seconds: float = ClusterConfig.stop_grace_seconds,
        drain_seconds: float = ClusterConfig.drain_seconds,
        worker_max_tasks: int = ClusterConfig.worker_max_tasks,
        worker_max_bytes: int = ClusterConfig.worker_max_bytes,
        log_hub_address: str | None = None,
    ) -> None:
        self._begin({name: value for name, value in locals().items() if name != "self"})

    def _begin(self, arguments: dict[str, Any]) -> None:
        """Start what this is, with all arguments by name."""
        raise NotImplementedError
