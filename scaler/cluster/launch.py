"""Scheduler and Cluster: one of the two, started from code.

Each is a process of its own, with a session of its own, so that a Ctrl-C in the creator's terminal is the creator's; it
ends when its creator is gone. It is ready when the constructor returns, which raises ScalerError if it could not start.

Rule 1: the creator's own logging says what options have no effect; the started process logs to `logging_paths`.
Not here: both at once (combo), how a process is started (spawn), what the options mean (config.table).
"""

import atexit
import sys
import time
import weakref
from collections.abc import Iterable
from dataclasses import fields
from types import TracebackType
from typing import Any, Self

from scaler.address import Address
from scaler.cluster.spawn import Child, await_report, end_all
from scaler.colocation.names import sweep_orphans
from scaler.config.idle import warn_of_idle
from scaler.config.table import ClusterConfig, Config, SchedulerConfig
from scaler.config.values import make_config
from scaler.program.event_loop import check_event_loop

START_TIMEOUT_S = 60.0
LOGGING_PATHS, LOGGING_LEVEL = ("/dev/stderr",), "WARNING"  # so that a program stays quiet


_open: "weakref.WeakSet[Launched]" = weakref.WeakSet()


class Launched:
    """A process that was started here."""

    module = ""
    what = ""

    def __init__(self, config: Config, **more: Any) -> None:
        check_event_loop(config.event_loop)
        warn_of_idle(config)
        self._child: Child | None = self._spawn()
        _open.add(self)
        try:
            self._child.tell({**_as_json(config), **more})
            self._report = await_report(self._child, "ready", time.monotonic() + START_TIMEOUT_S, self.what)
        except BaseException:
            self.shutdown()
            raise

    def _spawn(self) -> Child:
        return Child(self.module)

    @property
    def child(self) -> Child | None:
        """The process; None after shutdown."""
        return self._child

    def shutdown(self) -> None:
        """Stop the process and wait until it has ended; idempotent."""
        end_launched(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.shutdown()

    def __del__(self) -> None:
        if getattr(self, "_child", None) is not None:
            self.shutdown()


def end_launched(*launched: Launched) -> None:
    """Stop all of these at once."""
    children = [each._child for each in launched if each._child is not None]
    for each in launched:
        each._child = None
    if not children:
        return
    end_all(children, 5.0)
    sweep_orphans()  # a scheduler that was killed has left its bell page


def _end_open() -> None:
    """At the interpreter's end, while `__del__` could still import what that needs."""
    end_launched(*_open)


atexit.register(_end_open)


def _as_json(config: Config) -> dict[str, Any]:
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    return {name: str(value) if isinstance(value, Address) else value for name, value in values.items()}


class Scheduler(Launched):
    """A scheduler. `address=None` is a free port on this machine. Options are those of scaler_scheduler."""

    module = "scaler.scheduler.process"
    what = "the scheduler"

    def __init__(
        self,
        address: str | None = None,
        *,
        monitor_address: str | None = None,
        io_threads: int = SchedulerConfig.io_threads,
        max_number_of_tasks_waiting: int = SchedulerConfig.max_number_of_tasks_waiting,
        client_timeout_seconds: float = SchedulerConfig.client_timeout_seconds,
        worker_timeout_seconds: float = SchedulerConfig.worker_timeout_seconds,
        object_retention_seconds: float = SchedulerConfig.object_retention_seconds,
        load_balance_seconds: float = SchedulerConfig.load_balance_seconds,
        load_balance_trigger_times: int = SchedulerConfig.load_balance_trigger_times,
        per_worker_queue_size: int = SchedulerConfig.per_worker_queue_size,
        client_queue_bytes: int = SchedulerConfig.client_queue_bytes,
        object_memory_bytes: int = SchedulerConfig.object_memory_bytes,
        object_folder: str | None = SchedulerConfig.object_folder,
        protected: bool = True,
        insecure: bool = SchedulerConfig.insecure,
        event_loop: str = SchedulerConfig.event_loop,
        logging_paths: Iterable[str] = LOGGING_PATHS,
        logging_level: str = LOGGING_LEVEL,
        logging_config_file: str | None = SchedulerConfig.logging_config_file,
    ) -> None:
        values = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        values["address"] = address or "tcp://127.0.0.1:0"
        values["logging_paths"] = _listed(logging_paths)
        super().__init__(make_config(SchedulerConfig, values))

    def get_address(self) -> str:
        """Where a Client or a Cluster connects to."""
        address: str = self._report
        return address


class Cluster(Launched):
    """Workers on this machine, for the scheduler at `address`; one for each usable core unless told how many.

    Workers get the creator's `sys.path`, working folder and interpreter flags (-W, -O, -X and so on). Options are those
    of scaler_cluster.
    """

    module = "scaler.cluster.process"
    what = "the cluster"

    def __init__(
        self,
        address: str,
        n_workers: int | None = None,
        *,
        worker_names: Iterable[str] = (),
        worker_io_threads: int = ClusterConfig.io_threads,
        heartbeat_interval_seconds: float = ClusterConfig.heartbeat_interval,
        task_timeout_seconds: float = ClusterConfig.task_timeout_seconds,
        death_timeout_seconds: float = ClusterConfig.death_timeout_seconds,
        garbage_collect_interval_seconds: float = ClusterConfig.garbage_collect_interval_seconds,
        trim_memory_threshold_bytes: int = ClusterConfig.trim_memory_threshold_bytes,
        hard_processor_suspend: bool = ClusterConfig.hard_processor_suspend,
        stop_grace_seconds: float = ClusterConfig.stop_grace_seconds,
        worker_max_tasks: int = ClusterConfig.worker_max_tasks,
        worker_max_bytes: int = ClusterConfig.worker_max_bytes,
        ring_bytes: int = ClusterConfig.ring_bytes,
        object_memory_bytes: int = ClusterConfig.object_memory_bytes,
        object_folder: str | None = ClusterConfig.object_folder,
        event_loop: str = ClusterConfig.event_loop,
        logging_paths: Iterable[str] = LOGGING_PATHS,
        logging_level: str = LOGGING_LEVEL,
        logging_config_file: str | None = ClusterConfig.logging_config_file,
    ) -> None:
        values = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        values["num_of_workers"] = values.pop("n_workers")
        values["io_threads"] = values.pop("worker_io_threads")
        values["heartbeat_interval"] = values.pop("heartbeat_interval_seconds")
        values["worker_names"] = _listed(worker_names)
        values["logging_paths"] = _listed(logging_paths)
        super().__init__(make_config(ClusterConfig, values), sys_path=sys.path)


def _listed(texts: Iterable[str]) -> list[str] | str:
    return texts if isinstance(texts, str) else list(texts)
