"""Any batch system with a command to start a job, one to list jobs and one to end some: PBS, LSF, SGE and others.

Templates, which are split into words as a shell would do it, and then filled in:

| option | is run | such as |
| --- | --- | --- |
| `--launch-start` | for each host; what it writes names the job | `qsub -N {name} -o {log} -j oe {script}` |
| `--launch-list` | every few seconds; a line for each job | `qstat -u {user}` |
| `--launch-end` | for each job that is to end | `qdel {job}` |

`{script}` is a file that the job is to run, `{log}` one into which it may write, `{name}` what the cluster is called.
A job is there as long as its id is a word of the list. It waits if that line has a word by which the common systems say
so: Q (PBS), PEND (LSF), qw or hqw (SGE).

Not here: which jobs are wanted (fleet).
"""

import contextlib
import getpass
import os
import re
import shlex
from collections.abc import Mapping, Sequence

from scaler.config.table import ClusterConfig
from scaler.launch.batch_system import JobState, LaunchError, last_lines, run_command
from scaler.launch.job_script import cluster_command, job_script

_WAITS = {"Q", "H", "W", "PEND", "PSUSP", "WAIT", "qw", "hqw", "PENDING", "queued"}
_ID = re.compile(r"[0-9][\w.\[\]-]*|<[0-9]+>")


class Commands:
    """Its scripts and logs stand in `folder`."""

    def __init__(self, config: ClusterConfig, folder: str) -> None:
        self._config, self._folder = config, folder
        self._names: dict[str, str] = {}  # of the clusters, by job

    def start(self, names: Sequence[str], end_idle_s: float) -> list[str]:
        return [self._start(name, end_idle_s) for name in names]

    def _start(self, name: str, end_idle_s: float) -> str:
        script = os.path.join(self._folder, f"{name}.sh")
        with open(script, "w") as file:
            file.write(job_script(self._config, cluster_command(self._config, name, end_idle_s)))
        os.chmod(script, 0o700)
        said = run_command(self._filled(self._config.launch_start, name=name, script=script, log=self._log(name)))
        found = _ID.search(said)
        if found is None:
            raise LaunchError(f"--launch-start said {said.strip()!r}, in which there is no number of a job")
        job = found.group().strip("<>")
        self._names[job] = name
        return job

    def look(self) -> Mapping[str, JobState]:
        states = {}
        for line in run_command(self._filled(self._config.launch_list)).splitlines():
            words = set(line.split())
            for job in words & self._names.keys():
                states[job] = JobState.QUEUED if words & _WAITS else JobState.RUNNING
        return states

    def words_of(self, job: str) -> str:
        name = self._names.pop(job, "")
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._folder, f"{name}.sh"))
        return last_lines(self._log(name))

    def end(self, jobs: Sequence[str]) -> None:
        listed = self.look() if jobs else {}
        for job in jobs:
            if job in listed:
                run_command(self._filled(self._config.launch_end, job=job))

    def close(self, wait_s: float) -> None:
        for job in list(self._names):
            self.words_of(job)

    def _log(self, name: str) -> str:
        return os.path.join(self._folder, f"{name}.log")

    def _filled(self, template: str, **values: str) -> list[str]:
        try:
            return [word.format(user=getpass.getuser(), **values) for word in shlex.split(template)]
        except (KeyError, IndexError, ValueError) as error:
            raise LaunchError(f"the template {template!r} cannot be filled in: {error}") from None
