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


def peak_rss_bytes(pid: int) -> int:
    """The most resident memory that it ever had, shared memory included."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    return 0


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads, to the nanosecond: the clock ticks of /proc/pid/stat are too coarse for idle ones."""
    nanoseconds = 0
    for schedule in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        nanoseconds += int(schedule.read_text().split()[0])
    return nanoseconds / 1e9


def pss_bytes(pid: int) -> int:
    """Resident memory, with a page that n processes share counted as one n-th: these add up to what is really taken."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    return 0


def own_bytes(pid: int) -> int:
    """Resident memory that no other process has."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_"))


def object_bytes(pids: list[int]) -> int:
    """What the segments take, in /dev/shm and as files, that any of these processes has mapped."""
    sizes: dict[str, int] = {}
    for pid in pids:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            path = line[73:]
            if "/scaler-" in path:
                low, high = (int(end, 16) for end in line.split()[0].split("-"))
                sizes[path] = max(sizes.get(path, 0), high - low)
    return sum(sizes.values())


def segment_names() -> set[str]:
    """The segments that are in /dev/shm just now, of whatever process."""
    return {name for name in os.listdir("/dev/shm") if name.startswith("scaler-")}
