"""Slurm: clusters as jobs of `sbatch`. One array of jobs per launch, an element per host.

* A minute or so before a job's time is over, Slurm sends SIGUSR1 to the batch shell, which is scaler_cluster itself
  (`exec`): it takes nothing new, and what can end in time does.
* `scancel` and preemption send SIGTERM to all processes of a job and SIGKILL after KillWait (30 s by default): the
  cluster drains for --drain-seconds.
* Jobs are looked up by name, not by id: `squeue -j` fails for jobs that Slurm has forgotten.
* `--no-requeue` is the default here: a job that Slurm starts again after its node has failed would be a host that the
  launcher has replaced already.

Not here: which jobs are wanted (fleet).
"""

import getpass
import os
import shlex
from collections.abc import Mapping, Sequence

from scaler.config.table import ClusterConfig
from scaler.launch.batch_system import JobState, LaunchError, last_lines, run_command
from scaler.launch.job_script import cluster_command, job_script

WARNING_S = 60  # before the end of a job's time
_QUEUED = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED", "SPECIAL_EXIT"}


class Slurm:
    """`tag` is the jobs' name."""

    def __init__(self, config: ClusterConfig, tag: str, folder: str) -> None:
        self._config, self._tag, self._folder = config, tag, folder
        self._options = shlex.split(config.launch_options)

    def start(self, names: Sequence[str], end_idle_s: float) -> list[str]:
        # An element of an array knows its number alone, and what it is called follows from that.
        first, rest = names[0], len(names) - 1
        stem, _, number = first.rpartition("-")
        name = f"{stem}-$(({number} + SLURM_ARRAY_TASK_ID))"
        command = cluster_command(self._config, "@name@", end_idle_s).replace("@name@", f'"{name}"')
        said = run_command(
            [
                "sbatch", "--parsable", f"--job-name={self._tag}", f"--array=0-{rest}", "--no-requeue",
                f"--signal=B:USR1@{WARNING_S}", f"--output={self._folder}/{self._tag}-%A_%a.log", *self._options,
            ],
            job_script(self._config, command),
        )  # fmt: skip
        array = said.strip().partition(";")[0]
        if not array.isdigit():
            raise LaunchError(f"sbatch said {said.strip()!r} instead of a job's number")
        return [f"{array}_{index}" for index in range(len(names))]

    def look(self) -> Mapping[str, JobState]:
        said = run_command(
            ["squeue", "-h", "-r", "-u", getpass.getuser(), "-n", self._tag, "-o", "%i %T"]
        )  # those that are over are not listed unless one asks for them
        jobs = dict(line.split()[:2] for line in said.splitlines() if len(line.split()) >= 2)
        return {job: JobState.QUEUED if state in _QUEUED else JobState.RUNNING for job, state in jobs.items()}

    def words_of(self, job: str) -> str:
        return last_lines(os.path.join(self._folder, f"{self._tag}-{job}.log"))

    def end(self, jobs: Sequence[str]) -> None:
        if jobs:
            run_command(["scancel", "--quiet", *jobs])

    def close(self, wait_s: float) -> None:
        pass
