"""Scheduler and Cluster: one of the two, started from code.

Each is a process of its own, with a session of its own, so that a Ctrl-C in the creator's terminal is the creator's; it
ends when its creator is gone. It is ready when the constructor returns, which raises ScalerError if it could not start.

Rule 1: the creator's own logging says what options have no effect; the started process logs to `logging_paths`.
Not here: both at once (combo), how a process is started (spawn), what the options are (signatures, which is made from
config.table).
"""

import atexit
import sys
import time
import weakref
from dataclasses import fields
from types import TracebackType
from typing import Any, Self

from scaler.address import Address
from scaler.cluster.signatures import ClusterSignature, SchedulerSignature
from scaler.cluster.spawn import Child, await_report, end_all
from scaler.colocation.names import sweep_orphans
from scaler.config.idle import warn_of_idle
from scaler.config.table import ClusterConfig, SchedulerConfig
from scaler.config.values import from_code, make_config
from scaler.program.event_loop import check_event_loop

START_TIMEOUT_S = 60.0
FREE_PORT = "tcp://127.0.0.1:0"

_open: "weakref.WeakSet[Launched]" = weakref.WeakSet()


class Launched:
    """A process that was started here."""

    module = ""
    what = ""

    def _launch(self, config: SchedulerConfig | ClusterConfig, **more: Any) -> None:
        """Start the process and wait until it is ready."""
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


def _as_json(config: SchedulerConfig | ClusterConfig) -> dict[str, Any]:
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    return {name: str(value) if isinstance(value, Address) else value for name, value in values.items()}


class Scheduler(SchedulerSignature, Launched):
    """A scheduler. `address=None` is a free port on this machine. Options are those of scaler_scheduler."""

    module = "scaler.scheduler.process"
    what = "the scheduler"

    def _begin(self, arguments: dict[str, Any]) -> None:
        values = from_code(SchedulerConfig, arguments)
        self._launch(make_config(SchedulerConfig, {**values, "address": values["address"] or FREE_PORT}))

    def get_address(self) -> str:
        """Where a Client or a Cluster connects to."""
        address: str = self._report
        return address


class Cluster(ClusterSignature, Launched):
    """Workers on this machine, for the scheduler at `address`; one for each usable core unless told how many.

    Workers get the creator's `sys.path`, working folder and interpreter flags (-W, -O, -X and so on). Options are those
    of scaler_cluster.
    """

    module = "scaler.cluster.process"
    what = "the cluster"

    def _begin(self, arguments: dict[str, Any]) -> None:
        self._launch(make_config(ClusterConfig, from_code(ClusterConfig, arguments)), sys_path=sys.path)
