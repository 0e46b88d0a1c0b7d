"""The supervisor as a program: a loop, signals, and the way out."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from scaler.cluster.cores import usable_cores
from scaler.cluster.spawn import own_children
from scaler.cluster.supervisor import Supervisor
from scaler.colocation.listener import raise_descriptor_limit
from scaler.colocation.memory import object_memory
from scaler.config.table import ClusterConfig
from scaler.program.descriptors import check_descriptors
from scaler.program.event_loop import check_event_loop, new_event_loop
from scaler.program.orphans import adopt_orphans
from scaler.program.signals import obey
from scaler.program.threads import check_threads

_log = logging.getLogger(__name__)
LEAST_DESCRIPTORS = 32  # for itself and a few workers: seven for each
LEAST_THREADS = 4  # for workers' output, for the greeting, and two of libzmq's


def run(
    config: ClusterConfig,
    lifeline: int = -1,
    on_ready: Callable[[], None] = lambda: None,
    sys_path: list[str] | None = None,
    on_unable: Callable[[str], None] = lambda why: None,
) -> int:
    """Run workers until a signal, the scheduler, or the end of `lifeline` (a descriptor of the creator) stops them.

    `on_ready` is called once, when all workers have joined; `on_unable` with a sentence each time that none can start,
    unless it was ready before. `sys_path` is the workers'; by default it is what Python gives them, behind their
    working directory.
    """
    check_event_loop(config.event_loop)
    raise_descriptor_limit()
    check_descriptors(LEAST_DESCRIPTORS)
    check_threads(LEAST_THREADS)
    with asyncio.Runner(loop_factory=lambda: new_event_loop(config.event_loop)) as runner:
        runner.run(_serve(config, lifeline, on_ready, sys_path or [], on_unable))
    return 0


async def _serve(
    config: ClusterConfig,
    lifeline: int,
    on_ready: Callable[[], None],
    sys_path: list[str],
    on_unable: Callable[[str], None],
) -> None:
    names = worker_names(config)
    is_announced = False

    def announce() -> None:  # the supervisor says it again when a worker that ended has been replaced
        nonlocal is_announced
        _log.info("cluster is ready: %d workers", supervisor.n_workers)
        if not is_announced:
            is_announced = True
            on_ready()

    supervisor = Supervisor(
        config,
        names,
        memory=object_memory(config.object_folder, config.object_memory_bytes),
        sys_path=sys_path,
        folder=find_folder(),
        on_ready=announce,
        on_unable=lambda why: None if is_announced else on_unable(why),
    )
    loop: Any = asyncio.get_running_loop()
    adopt_orphans(loop, own_children)
    drain = partial(supervisor.drain, config.drain_seconds)
    obey(loop, supervisor.stop, {signal.SIGTERM: drain, signal.SIGUSR1: supervisor.drain})
    if lifeline >= 0:
        loop.add_reader(lifeline, supervisor.stop)
    size = f"{config.least_workers} to {config.max}" if config.max else len(names)
    _log.info("cluster of %s workers for the scheduler at %s", size, config.address)
    await supervisor.serve()
    _log.info("cluster stops")


def find_folder() -> str:
    """The working folder, which workers are to have too; empty, with a warning, if it has been removed."""
    try:
        return os.getcwd()
    except OSError as error:
        _log.warning("the working folder is not there any more (%s): tasks must not use relative paths", error.strerror)
        return ""


def worker_names(config: ClusterConfig) -> list[str]:
    """As given, or the name of this host and a number for each worker."""
    if config.worker_names:
        return list(config.worker_names)
    host = socket.gethostname().partition(".")[0]
    return [f"{host}-{number}" for number in range(config.max or config.num_of_workers or usable_cores())]
