"""scaler_cluster as a program: workers here, or with --launch a launcher of clusters elsewhere."""

import asyncio
import logging
import os
import secrets
import signal
import socket
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

from scaler.cluster import program
from scaler.cluster.cores import usable_cores
from scaler.cluster.scaling import Scaling
from scaler.cluster.supervisor import Supervisor
from scaler.colocation.memory import object_memory
from scaler.config.table import ClusterConfig
from scaler.exceptions import OptionError
from scaler.launch.batch_system import BatchSystem
from scaler.launch.command import Commands
from scaler.launch.fleet import Fleet
from scaler.launch.launcher import Launcher
from scaler.launch.slurm import Slurm
from scaler.launch.ssh import Ssh
from scaler.program.event_loop import check_event_loop, new_event_loop
from scaler.program.signals import obey

_log = logging.getLogger(__name__)


def run(config: ClusterConfig) -> int:
    """Until a signal or the scheduler's end."""
    if config.launch is None:
        return program.run(config)
    check_event_loop(config.event_loop)
    with asyncio.Runner(loop_factory=lambda: new_event_loop(config.event_loop)) as runner:
        runner.run(_serve(config))
    return 0


async def _serve(config: ClusterConfig) -> None:
    tag = f"scaler-{socket.gethostname().partition('.')[0]}-{secrets.token_hex(3)}"
    least, most = config.host_bounds
    scaling = Scaling(
        least, most, backlog_s=config.backlog_seconds, idle_s=config.idle_seconds,
        size=config.num_of_workers or usable_cores(),
    )  # fmt: skip
    supervisor = Supervisor(
        replace(config, cluster_name=tag), [], folder=program.find_folder(),
        memory=object_memory(config.object_folder, config.object_memory_bytes),
    )  # fmt: skip
    launcher = Launcher(
        supervisor, Fleet(tag, scaling, config.most_queued), _batch_system(config, tag),
        end_idle_s=config.idle_seconds, drain_s=config.drain_seconds, is_dry=config.dry_run,
    )  # fmt: skip
    loop: Any = asyncio.get_running_loop()
    obey(loop, launcher.stop_at_once, {signal.SIGTERM: launcher.stop, signal.SIGUSR1: launcher.stop})
    _log.info("launcher of %d to %d hosts by %s for the scheduler at %s", least, most, config.launch, config.address)
    if config.address.is_loopback and config.launch != "command":
        _log.warning("%s is reached from this machine only: hosts elsewhere will not find it", config.address)
    await launcher.serve()
    _log.info("launcher stops")


def _batch_system(config: ClusterConfig, tag: str) -> BatchSystem:
    if config.launch == "ssh":
        return Ssh(config)
    folder = _folder(config)
    return Slurm(config, tag, folder) if config.launch == "slurm" else Commands(config, folder)


def _folder(config: ClusterConfig) -> str:
    """Where jobs write what they say."""
    path = Path(config.launch_folder) if config.launch_folder else Path.home() / ".scaler" / "launched"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{path} cannot be made ({error.strerror}): --launch-folder names another") from None
    if not os.access(path, os.W_OK | os.X_OK) or not stat.S_ISDIR(path.stat().st_mode):
        raise OptionError(f"{path} cannot be written: --launch-folder names another")
    return str(path.absolute())
