"""The script that each job runs: what is to be done before, and then scaler_cluster in place of the shell.

`exec` matters: batch systems send their signals to the job's first process, which is then the cluster itself, and a
shell in between that ends by SIGTERM would leave it behind.

Not here: how a script gets to its host (slurm, ssh, command).
"""

import shlex
import sys
from pathlib import Path

from scaler.config.option import options_of
from scaler.config.table import ClusterConfig

# Of the launcher's own options, those that are none of a launched cluster's.
_OWN = (
    "address", "min", "max", "dry_run", "launch", "hosts", "launch_options", "launch_setup", "launch_program",
    "launch_hosts", "launch_folder", "most_queued", "launch_start", "launch_list", "launch_end", "idle_seconds",
    "backlog_seconds", "end_idle_seconds", "logging_paths", "logging_level", "logging_config_file", "worker_names",
    "cluster_name",
)  # fmt: skip


def own_program() -> str:
    """scaler_cluster of this installation."""
    beside = Path(sys.executable).with_name("scaler_cluster")
    return shlex.quote(str(beside)) if beside.exists() else "scaler_cluster"


def arguments_of(config: ClusterConfig) -> list[str]:
    """The options that a launched cluster is given: those that the launcher was given and that are not its own."""
    given: list[str] = []
    for option in options_of(ClusterConfig):
        value = getattr(config, option.name)
        if option.name in _OWN or option.is_idle or value == option.default:
            continue
        if option.is_switch:
            given.append(f"--{'' if value else 'no-'}{option.key}")
        else:
            given += [f"--{option.key}", str(value)]
    return given


def cluster_command(config: ClusterConfig, name: str, end_idle_s: float) -> str:
    """How a launched cluster is started, for a shell. `name` is what the scheduler tells its launcher of it by."""
    arguments = [*arguments_of(config), "--cluster-name", name, "--logging-paths", "/dev/stderr"]
    if end_idle_s:
        arguments += ["--end-idle-seconds", f"{end_idle_s:g}"]
    return f"{config.launch_program or own_program()} {shlex.join([*arguments, str(config.address)])}"


# A batch system may hand the launcher's environment on, in which the launcher's own options may stand.
_FORGET = "unset $(env | sed -n 's/^\\(SCALER_CLUSTER_[A-Z_]*\\)=.*/\\1/p') SCALER_NOTHING"


def preparation(config: ClusterConfig) -> str:
    """What each script does first."""
    return f"{_FORGET}\n{config.launch_setup}\n"


def job_script(config: ClusterConfig, command: str) -> str:
    """The whole script."""
    return f"#!/bin/sh\n{preparation(config)}exec {command}\n"
