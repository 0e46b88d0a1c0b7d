"""UsageSampler: what a supervisor sees of its host and of its workers' processes, for those who look at the scheduler.

psutil asks the kernel for each process by itself. So this is done in a thread, and not so often that it takes more than
a fiftieth of a core (`next_pause_s`).

Rule 1: a process that has ended meanwhile is left out. Nothing here fails.
Not here: whose processes they are (supervisor), what is made of the numbers (the scheduler's reporter).
"""

import contextlib
import os
import time
from collections.abc import Iterable

import psutil  # heavy: this is imported by the supervisor alone, once it has started its workers

from scaler.values.usage import HostUsage, ProcessUsage

PAUSE_S = 2.0
MOST_SHARE = 0.02  # of a core


class UsageSampler:
    """For one thread at a time."""

    def __init__(self) -> None:
        self._own = psutil.Process()
        self._seen: dict[int, psutil.Process] = {}
        self._cpu: dict[int, tuple[float, float]] = {}  # by process: CPU time, and when that was
        self.next_pause_s = PAUSE_S

    def look(self, processes: Iterable[tuple[str, int]], restarts: dict[str, int]) -> HostUsage:
        """`processes`: what each worker is called, and its number here."""
        began_s = time.monotonic()
        memory = psutil.virtual_memory()
        shared_total = shared_free = 0
        with contextlib.suppress(OSError):
            room = os.statvfs("/dev/shm")
            shared_total, shared_free = room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize
        agent_share, agent_rss = self._look_at(self._own)
        usage = HostUsage(
            os.cpu_count() or 1, self._own.pid, agent_share, agent_rss, memory.total, memory.available, shared_total,
            shared_free, dict(restarts),
        )  # fmt: skip
        seen, self._seen = self._seen, {}
        for key, pid in processes:
            with contextlib.suppress(psutil.Error, OSError):
                process = self._seen[pid] = seen.get(pid) or psutil.Process(pid)
                usage.workers.append(ProcessUsage(key, pid, *self._look_at(process)))
        here = {self._own.pid, *self._seen}
        self._cpu = {pid: last for pid, last in self._cpu.items() if pid in here}
        self.next_pause_s = max(PAUSE_S, (time.monotonic() - began_s) / MOST_SHARE)
        return usage

    def _look_at(self, process: psutil.Process) -> tuple[float, int]:
        """(share of a core since the last look, resident bytes)."""
        with process.oneshot():
            times, rss = process.cpu_times(), process.memory_info().rss
        now_s, cpu_s = time.monotonic(), times.user + times.system
        cpu_before_s, before_s = self._cpu.get(process.pid, (cpu_s, now_s))
        self._cpu[process.pid] = cpu_s, now_s
        return max(0.0, cpu_s - cpu_before_s) / max(now_s - before_s, 1e-3), int(rss)
