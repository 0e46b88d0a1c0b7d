"""The scheduler as a program: a loop, signals, and the way out."""

import asyncio
import logging
from collections.abc import Callable

from scaler.address import Address
from scaler.colocation.listener import raise_descriptor_limit
from scaler.colocation.memory import object_memory
from scaler.config.table import SchedulerConfig
from scaler.program.descriptors import check_descriptors
from scaler.program.event_loop import check_event_loop
from scaler.program.orphans import adopt_orphans
from scaler.program.signals import obey
from scaler.scheduler.admission import admit
from scaler.scheduler.scheduler import SchedulerServer, Watch
from scaler.scheduler.selector import PumpSelector

_log = logging.getLogger(__name__)
LEAST_DESCRIPTORS = 32  # for itself and a few peers: four for each


def run(config: SchedulerConfig, lifeline: int = -1, on_ready: Callable[[Address], None] | None = None) -> int:
    """Serve until told to stop by a signal, a client, or the end of `lifeline` (a descriptor of the creator)."""
    check_event_loop(config.event_loop)
    raise_descriptor_limit()
    check_descriptors(LEAST_DESCRIPTORS)
    admission, published = admit(config), None
    server = SchedulerServer(
        queue_size=config.per_worker_queue_size,
        protected=config.protected,
        client_queue_bytes=config.client_queue_bytes,
        most_waiting=config.max_number_of_tasks_waiting,
        client_timeout_s=config.client_timeout_seconds,
        worker_timeout_s=config.worker_timeout_seconds,
        io_threads=config.io_threads,
        memory=object_memory(config.object_folder, config.object_memory_bytes),
        keys=admission.keys,
        monitor_address=config.monitor_address,
    )
    loop, watch = _make_loop(config.event_loop, server)
    try:
        asyncio.set_event_loop(loop)
        bound = server.open(loop, config.address, watch)
        published = admission.publish(str(bound), server.monitor_address)
        adopt_orphans(loop)
        obey(loop, server.stop)
        if lifeline >= 0:
            loop.add_reader(lifeline, server.stop, "it was stopped by the program that had started it")
        _log.info("scheduler listens at %s (event loop: %s)", bound, config.event_loop)
        if server.monitor_address:
            _log.info("monitoring is at %s", server.monitor_address)
        if on_ready is not None:
            on_ready(bound)
        loop.run_until_complete(server.closed)
        _log.info("scheduler stops")
        return 0
    finally:
        if published is not None:
            published.leave()
        server.close()
        loop.close()


def _make_loop(name: str, server: SchedulerServer) -> tuple[asyncio.AbstractEventLoop, Watch | None]:
    """The loop around the server's pump, and its short way of reading a descriptor if it has one."""
    if name == "uvloop":
        from scaler.scheduler.pump_loop import PumpLoop  # uvloop need not be installed

        return PumpLoop(server.pump, server.after_run), None
    selector = PumpSelector(server.pump, server.after_run)
    return asyncio.SelectorEventLoop(selector), selector.watch
