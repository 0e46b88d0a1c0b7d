"""Autopsy: what the supervisor, which is the parent, knows of the death of a worker.

Whether the kernel killed it because there was no memory is counted, not told: by the control group (v2: `oom_kill` in
memory.events; v1: in memory.oom_control), or for the whole machine (/proc/vmstat). A worker that was killed by SIGKILL
while the count rose was one of those.

Not here: the last output (output), which facts there are (values.death_facts), what is made of them (values.died).
"""

import signal
import socket
from pathlib import Path
from typing import Any

from scaler.values.death_facts import facts_from

_ROOT, _OWN, _MACHINE = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"), Path("/proc/vmstat")


class OutOfMemory:
    """Says whether the kernel has killed for want of memory since it was asked last."""

    def __init__(self, root: Path = _ROOT, own: Path = _OWN, machine: Path = _MACHINE) -> None:
        self._files = [file for file in (*_group_files(root, own), machine) if _count_in(file) is not None][:1]
        self._seen = self._count()

    def _count(self) -> int:
        return sum(_count_in(file) or 0 for file in self._files)

    def has_killed(self) -> bool:
        """Whether the count has risen."""
        count = self._count()
        risen = count > self._seen
        self._seen = count
        return risen


def _group_files(root: Path, own: Path) -> list[Path]:
    """Where this process's own control group may count, the best first."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    files = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            files.append(root / path.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            files.append(root / "memory" / path.lstrip("/") / "memory.oom_control")
            files.append(root / "memory" / "memory.oom_control")  # in a container the path is the host's
    return files


def _count_in(file: Path) -> int | None:
    """The number after `oom_kill`; None if there is none."""
    try:
        text = file.read_text()
    except (OSError, ValueError):
        return None
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "oom_kill" and words[1].isdigit():
            return int(words[1])
    return None


def facts_of(name: str, pid: int, code: int, peak_bytes: int, output: str, memory: OutOfMemory) -> dict[str, Any]:
    """What is known of a worker's end."""
    is_oom = memory.has_killed() and code == -signal.SIGKILL
    facts = {
        "worker": name, "host": socket.gethostname(), "pid": pid, "code": code, "oom": is_oom, "peak_bytes": peak_bytes,
        "output": output,
    }  # fmt: skip
    return facts_from(facts)
