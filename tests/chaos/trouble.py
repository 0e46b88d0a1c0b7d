"""Trouble: what is done to the processes of a stage, and when; all choices come from the seed.

Each kind happens every so many seconds, give or take a half. What must be undone later (a stopped process goes on, a
way is free again) is in the same queue, and is done at the latest by `settle`.

Rule 1: what is done is said in `log`, with its time, so that a run can be read afterwards.
Not here: whether the tasks came to harm (report).
"""

import heapq
import itertools
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.chaos.stage import HOST_TIMEOUT_S, Stage

DEFAULT_EVERY_S = {
    "kill-worker": 0.5,
    "stop-worker": 3.0,
    "kill-host": 15.0,
    "stop-host": 12.0,
    "stop-scheduler": 9.0,
    "stop-client": 9.0,
    "kill-client": 5.0,
    "cut": 2.0,
    "hold": 10.0,
    "kill-scheduler": 10.0,
}
ON_THE_WIRE = {"cut", "hold"}


@dataclass(frozen=True)
class Deed:
    """Something that was done to a process or a connection."""

    kind: str
    at_ns: int
    pid: int


class Trouble:
    """`run_until` does what is due until a time, or until somebody says that it is enough."""

    def __init__(self, stage: Stage, every_s: dict[str, float], seed: int) -> None:
        self._stage, self._chance = stage, random.Random(seed)
        self._every_s = {
            kind: seconds
            for kind, seconds in every_s.items()
            if seconds > 0 and (stage.link == "wire" or kind not in ON_THE_WIRE)
        }
        self._queue: list[tuple[float, int, str, Callable[[], None]]] = []
        self._order = itertools.count()
        self._stopped: set[int] = set()
        self._busy_hosts: set[int] = set()  # places whose supervisor is stopped or being replaced
        self._helper = ThreadPoolExecutor(2)
        self.log: list[Deed] = []
        self.failures: list[str] = []
        self._deeds: dict[str, Callable[[], None]] = {
            "kill-worker": self._kill_worker,
            "stop-worker": self._stop_worker,
            "kill-host": self._kill_host,
            "stop-host": self._stop_host,
            "stop-scheduler": lambda: self._stop("stop-scheduler", stage.scheduler_pid, 0.2, 1.5),
            "stop-client": self._stop_client,
            "kill-client": self._kill_client,
            "cut": self._cut,
            "hold": self._hold,
            "kill-scheduler": self._kill_scheduler,
        }

    @property
    def counts(self) -> Counter[str]:
        return Counter(deed.kind for deed in self.log)

    def run_until(self, deadline_s: float, is_over: Callable[[], bool]) -> None:
        """Until then on the monotonic clock."""
        for kind in sorted(self._every_s):
            self._plan(kind)
        while time.monotonic() < deadline_s and not is_over():
            self._do_what_is_due()
            time.sleep(0.005)

    def settle(self) -> None:
        """Undo all that is to be undone, and do nothing more."""
        while self._queue:
            _, _, kind, do = heapq.heappop(self._queue)
            if kind == "undo":
                do()
        self._helper.shutdown()

    def _plan(self, kind: str) -> None:
        mean_s = self._every_s[kind]
        self._at(mean_s * self._chance.uniform(0.5, 1.5), kind, self._deeds[kind])

    def _at(self, in_s: float, kind: str, do: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (time.monotonic() + in_s, next(self._order), kind, do))

    def _do_what_is_due(self) -> None:
        while self._queue and self._queue[0][0] <= time.monotonic():
            _, _, kind, do = heapq.heappop(self._queue)
            do()
            if kind != "undo":
                self._plan(kind)

    def _note(self, kind: str, pid: int) -> None:
        self.log.append(Deed(kind, time.monotonic_ns(), pid))

    def _signal(self, pid: int, number: int) -> bool:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    # kinds

    def _pick_worker(self) -> int:
        workers = sorted(set(self._stage.workers()) - self._stopped)
        return self._chance.choice(workers) if workers else 0

    def _kill_worker(self) -> None:
        pid = self._pick_worker()
        if pid:
            self._note("kill-worker", pid)
            self._signal(pid, signal.SIGKILL)

    def _stop_worker(self) -> None:
        pid = self._pick_worker()
        if pid:
            self._stop("stop-worker", pid, 0.1, 1.0)

    def _stop(
        self, kind: str, pid: int, least_s: float, most_s: float, then: Callable[[], None] = lambda: None
    ) -> None:
        """Stop a process, to let it go on later."""
        if pid in self._stopped or not self._signal(pid, signal.SIGSTOP):
            then()
            return
        self._note(kind, pid)
        self._stopped.add(pid)

        def go_on() -> None:
            self._stopped.discard(pid)
            self._signal(pid, signal.SIGCONT)
            then()

        self._at(self._chance.uniform(least_s, most_s), "undo", go_on)

    def _pick_host(self) -> int:
        free = sorted(set(range(len(self._stage.hosts))) - self._busy_hosts)
        if len(free) < len(self._stage.hosts):
            return -1  # one at a time, so that somebody works
        place = self._chance.choice(free)
        self._busy_hosts.add(place)
        return place

    def _stop_host(self) -> None:
        """Its supervisor, for so long that the scheduler may give it up."""
        place = self._pick_host()
        if place >= 0:
            free = lambda: self._busy_hosts.discard(place)  # noqa: E731
            self._stop("stop-host", self._stage.host_pid(place), 0.2, 1.5 * HOST_TIMEOUT_S, free)

    def _kill_host(self) -> None:
        place = self._pick_host()
        if place < 0:
            return
        pid = self._stage.host_pid(place)
        self._note("kill-host", pid)
        self._signal(pid, signal.SIGKILL)
        self._helper.submit(self._replace_host, place)

    def _replace_host(self, place: int) -> None:
        try:
            self._stage.replace_host(place)
        except Exception as error:
            self.failures.append(f"host {place} could not be started again: {error}")
        else:
            self._busy_hosts.discard(place)

    def _stop_client(self) -> None:
        assert self._stage.load is not None
        self._stop("stop-client", self._stage.load.pid, 0.1, 1.0)

    def _kill_client(self) -> None:
        bystander = self._stage.bystander
        if bystander is not None:
            self._note("kill-client", bystander.pid)
            bystander.kill()
            bystander.wait()
        self._stage.start_bystander()

    def _cut(self) -> None:
        proxy = self._chance.choice(self._stage.proxies)
        self._note("cut", proxy.cut())

    def _hold(self) -> None:
        proxy = self._chance.choice(self._stage.proxies)
        proxy.hold()
        self._note("hold", 0)
        self._at(self._chance.uniform(0.2, 1.2 * HOST_TIMEOUT_S), "undo", proxy.release)

    def _kill_scheduler(self) -> None:
        pid = self._stage.scheduler_pid
        if pid in self._stopped:
            return
        self._note("kill-scheduler", pid)
        self._stage.kill_scheduler()
        try:
            self._stage.start_scheduler()
        except Exception as error:
            self.failures.append(f"the scheduler could not be started again: {error}")
