"""What the kernel says about processes: which there are, what they used."""

import os
from pathlib import Path

import psutil


def descendants() -> list[int]:
    """Processes that this one started, and those that they did."""
    return [process.pid for process in psutil.Process().children(recursive=True)]


def rss_bytes(pid: int) -> int:
    """Resident memory, shared memory included."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads, to the nanosecond: the clock ticks of /proc/pid/stat are too coarse for idle ones."""
    nanoseconds = 0
    for schedule in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        nanoseconds += int(schedule.read_text().split()[0])
    return nanoseconds / 1e9
