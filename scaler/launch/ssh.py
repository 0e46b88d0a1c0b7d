"""ssh: clusters on hosts that are listed, each started through a connection of its own that stays open.

A connection stands for its job. On the other side a shell starts scaler_cluster and reads its own standard input; when
that ends, since the launcher has closed it, was killed, or the network is gone, the cluster gets SIGTERM and drains. So
no cluster outlives its connection, whatever ended that, and nobody has to find it again.

Not here: which jobs are wanted (fleet).
"""

import shlex
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from scaler.config.table import ClusterConfig
from scaler.launch.batch_system import MOST_WORDS, JobState, LaunchError
from scaler.launch.job_script import cluster_command, preparation

_OPTIONS = ("-o", "BatchMode=yes", "-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3")
# The shell reads its input in a child that starts nothing, so that nothing keeps the connection open once it is over.
_SCRIPT = """{setup}{command} </dev/null & cluster=$!
exec 3<&0
( while read -r line; do :; done <&3; kill -TERM $cluster ) >/dev/null 2>&1 & reader=$!
wait $cluster; status=$?
kill $reader 2>/dev/null
exit $status
"""


@dataclass
class _Connection:
    host: str
    process: "subprocess.Popen[bytes]"
    errors: IO[bytes]


class Ssh:
    """One job for each of `--launch-hosts` at a time."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._options = shlex.split(config.launch_options)
        self._by_job: dict[str, _Connection] = {}
        self._words: dict[str, str] = {}
        self._failed: list[str] = []  # hosts, the one that has failed last at the end
        self._started = 0

    def start(self, names: Sequence[str], end_idle_s: float) -> list[str]:
        taken = {each.host for each in self._by_job.values()}
        free = [host for host in self._config.launch_hosts if host not in taken]
        free.sort(key=lambda host: self._failed.index(host) if host in self._failed else -1)
        if not free:
            raise LaunchError(f"all {len(self._config.launch_hosts)} of --launch-hosts are in use")
        return [self._connect(host, name, end_idle_s) for host, name in zip(free, names, strict=False)]

    def _connect(self, host: str, name: str, end_idle_s: float) -> str:
        command = cluster_command(self._config, name, end_idle_s)
        script = _SCRIPT.format(setup=preparation(self._config), command=command)
        errors = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the connection)
        try:
            process = subprocess.Popen(
                ["ssh", *_OPTIONS, *self._options, host, f"sh -c {shlex.quote(script)}"],
                stdin=subprocess.PIPE, stdout=errors, stderr=errors, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            errors.close()
            raise LaunchError(f"ssh cannot be run: {error.strerror}") from None
        self._started += 1
        job = f"{host}#{self._started}"
        self._by_job[job] = _Connection(host, process, errors)
        return job

    def look(self) -> Mapping[str, JobState]:
        for job, connection in list(self._by_job.items()):
            if connection.process.poll() is not None:
                self._forget(job)
        return dict.fromkeys(self._by_job, JobState.RUNNING)

    def _forget(self, job: str) -> None:
        connection = self._by_job.pop(job)
        connection.errors.seek(0)
        said = connection.errors.read().decode("utf-8", "replace").strip()[-MOST_WORDS:]
        self._words[job] = said or f"ssh {connection.host} ended with status {connection.process.returncode}"
        connection.errors.close()
        if connection.process.stdin is not None:
            connection.process.stdin.close()
        if connection.process.returncode:
            self._failed = [*(host for host in self._failed if host != connection.host), connection.host]

    def words_of(self, job: str) -> str:
        return self._words.pop(job, "")

    def end(self, jobs: Sequence[str]) -> None:
        for job in jobs:
            connection = self._by_job.get(job)
            if connection is not None and connection.process.stdin is not None:
                connection.process.stdin.close()

    def close(self, wait_s: float) -> None:
        self.end(list(self._by_job))
        for job, connection in list(self._by_job.items()):
            try:
                connection.process.wait(wait_s)
            except subprocess.TimeoutExpired:
                connection.process.send_signal(signal.SIGKILL)
                connection.process.wait()
            self._forget(job)
