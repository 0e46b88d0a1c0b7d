"""How many cores this process may use: by its affinity, and by the quota of the control groups it is in.

A container is often given a share of a large machine by quota alone, which neither os.cpu_count nor the affinity shows.
"""

import math
import os
from pathlib import Path

_ROOT, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def usable_cores(root: Path = _ROOT, own: Path = _OWN) -> int:
    """At least 1."""
    return max(1, min([len(os.sched_getaffinity(0)), *_quotas(root, own)]))


def thread_share(n_workers: int) -> dict[str, str]:
    """The environment variable that gives each worker its share of the cores for the threads of numeric libraries.

    By themselves these start a thread for each core in each worker, and the threads stand in each other's way: products
    of small matrices take ten times longer. OpenMP, OpenBLAS, MKL, BLIS, numexpr and PyTorch look at this variable if
    their own is not set. What the user has set stays.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, usable_cores() // max(1, n_workers)))}


def _quotas(root: Path, own: Path) -> list[int]:
    """Cores allowed by each control group from our own up to the root."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, read = root, _quota_v2
        elif "cpu" in controllers.split(","):
            top, read = root / "cpu", _quota_v1
        else:
            continue
        here = Path(path.lstrip("/"))
        quotas += [read(top / folder) for folder in (here, *here.parents)]
    return [math.ceil(quota) for quota in quotas if quota is not None]


def _quota_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return None if quota <= 0 else quota / int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
