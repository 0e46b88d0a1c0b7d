"""The command scaler_engine: which engine is meant, and what it has to say if that is not there.

Not here: options (config.table), how an engine works for a scheduler (program).
"""

import concurrent.futures
import importlib
import multiprocessing
import os
import select
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from scaler.config.table import EngineConfig
from scaler.engines.dask import DaskEngine
from scaler.engines.engine import Engine, find_library
from scaler.engines.executor import ExecutorEngine
from scaler.engines.program import run_engine
from scaler.engines.ray import RayEngine
from scaler.exceptions import OptionError
from scaler.program.threads import new_thread


def run(config: EngineConfig) -> int:
    return run_engine(
        lambda: make_engine(config), str(config.address), name=config.name or "",
        death_timeout_s=config.death_timeout_seconds, keys=config.keys, limit_s=config.task_timeout_seconds,
        grace_s=config.stop_grace_seconds,
    )  # fmt: skip


def make_engine(config: EngineConfig) -> Engine:
    """The engine of this name. EngineError if what it needs is not installed, or it cannot be reached."""
    kind, slots = config.engine, config.slots
    if kind == "processes":
        return ExecutorEngine(lambda: new_process_pool(slots), name=kind)
    if kind == "threads":
        return ExecutorEngine(lambda: concurrent.futures.ThreadPoolExecutor(slots), name=kind)
    if kind == "loky":
        loky = find_library("loky", "pip install loky")
        return ExecutorEngine(lambda: loky.ProcessPoolExecutor(slots, initializer=begin_process), name=kind)
    if kind == "ray":
        return RayEngine(config.engine_address, slots)
    if kind == "dask":
        return DaskEngine(config.engine_address, slots)
    if ":" not in kind:
        raise OptionError(f"--engine {kind} is none of processes, threads, loky, ray, dask, and no MODULE:FUNCTION")
    return _of_user(kind, slots)


def _of_user(name: str, slots: int | None) -> Engine:
    """What a function of the user's returns: an executor, each time anew, or an Engine."""
    module, _, function = name.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        make: Callable[[], Any] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise OptionError(f"--engine {name} is not to be found: {error}") from error
    made = make()
    if isinstance(made, Engine):
        return made
    first = [made]
    return ExecutorEngine(lambda: first.pop() if first else make(), slots, function)


def new_process_pool(slots: int | None) -> concurrent.futures.ProcessPoolExecutor:
    """Processes that end with this one, and that Ctrl-C is nothing to."""
    return concurrent.futures.ProcessPoolExecutor(
        slots or len(os.sched_getaffinity(0)), multiprocessing.get_context("spawn"), begin_process
    )


def begin_process() -> None:
    """In a process of a pool: it has no use without its parent, which ends it by itself otherwise."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    pid = os.getppid() if parent is None else parent.pid
    new_thread("scaler-parent", partial(_end_with, pid)).start()


def _end_with(parent: int | None) -> None:
    try:
        if parent is not None:
            poll = select.poll()
            poll.register(os.pidfd_open(parent), select.POLLIN)
            poll.poll()
    except ProcessLookupError:
        pass
    os._exit(1)
