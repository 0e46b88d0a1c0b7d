"""Samples: what each process of a run takes, and what lies in /dev/shm.

Memory is what a process has for itself; shared memory is counted by what each has of it (PSS), and only in the sum:
whose share it is changes with who else looks at it. Only segments of this run's schedulers and relays count.
"""

import glob
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.leaks import lives_of
from tests.processes import is_template

_ROLES = {
    "scaler.scheduler.process": "scheduler",
    "tests.elsewhere": "scheduler",
    "scaler.cluster.process": "supervisor",
    "scaler.worker.main": "worker",
    "scaler.worker.template": "worker",  # which says so of those, too, that were forked from it
}


@dataclass(frozen=True)
class Sample:
    """At one moment: a value for each thing that is watched, by its name."""

    at_s: float
    values: dict[str, float]


def take_sample(at_s: float) -> Sample:
    """Of this process, the client, and of all that stand below it."""
    values: dict[str, float] = {}
    numbers: dict[str, int] = {}
    shared_kib, lives, scheduler = 0.0, set(), 0
    for process in [psutil.Process(), *sorted(psutil.Process().children(recursive=True), key=lambda each: each.pid)]:
        try:
            role = _role(process)
            number = numbers[role] = numbers.get(role, 0) + 1
            name = role if role in ("client", "scheduler", "supervisor") else f"{role} {number}"
            memory = _memory_kib(process.pid)
            values[f"{name}: memory, KiB"] = memory["Pss_Anon"]
            values[f"{name}: descriptors"] = process.num_fds()
            values[f"{name}: threads"] = process.num_threads()
            shared_kib += memory["Pss_Shmem"]
            lives |= lives_of(process)
            if role == "scheduler":
                scheduler = process.pid
        except (psutil.Error, OSError):
            continue  # it has just gone
    values["all: shared memory in use, KiB"] = shared_kib
    values["/dev/shm, KiB"] = _segments_kib(os.getpid(), lives)
    if scheduler:
        values["/dev/shm that the scheduler sees, KiB"] = _segments_kib(scheduler, lives)
    return Sample(at_s, values)


def _role(process: psutil.Process) -> str:
    if process.pid == os.getpid():
        return "client"
    if is_template(process):
        return "template"
    return next((_ROLES[word] for word in process.cmdline() if word in _ROLES), "other")


def _memory_kib(pid: int) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: float(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


def _segments_kib(pid: int, lives: set[str]) -> float:
    """What the segments of these lives take in the /dev/shm that this process sees."""
    total = 0.0
    for epoch in lives:
        for path in glob.glob(f"/proc/{pid}/root/dev/shm/scaler-{epoch}-*"):
            try:
                total += Path(path).stat().st_blocks / 2
            except OSError:
                continue
    return total
