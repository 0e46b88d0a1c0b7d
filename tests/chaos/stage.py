"""Stage: the processes of a run: a scheduler, two hosts with workers, a client under load, and one to be killed.

`rings`: all share memory. `wire`: the scheduler has a /dev/shm of its own, and everybody reaches it through a proxy
whose connections can be cut and held up.

Not here: what is done to them, and when (trouble).
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scaler import Cluster, Scheduler
from scaler.worker import template
from tests.chaos.load import Load
from tests.elsewhere import start_elsewhere
from tests.proxy import Proxy

LINKS = ("rings", "wire")
HOST_TIMEOUT_S = 4.0  # without a sign of life; on the wire
DEATH_TIMEOUT_S = 60.0


class Stage:
    """A context manager: what it has started has ended when it is left."""

    def __init__(self, link: str, n_hosts: int, n_workers: int) -> None:
        self.link = link
        self._n_workers = n_workers
        self._scheduler: Scheduler | subprocess.Popen[str]
        self._address = "tcp://127.0.0.1:0"
        self.proxies: list[Proxy] = []
        self.hosts: list[Cluster] = []
        self.load: subprocess.Popen[str] | None = None
        self.bystander: subprocess.Popen[bytes] | None = None
        self.start_scheduler()
        if link == "wire":
            self.proxies = [Proxy(self._address) for _ in range(n_hosts + 1)]  # the last one is the clients'
        for place in range(n_hosts):
            self.hosts.append(self._new_host(place))

    # what there is

    @property
    def client_address(self) -> str:
        return self.proxies[-1].address if self.proxies else self._address

    @property
    def scheduler_pid(self) -> int:
        if isinstance(self._scheduler, Scheduler):
            assert self._scheduler.child is not None
            return self._scheduler.child.pid
        return self._scheduler.pid

    def host_pid(self, place: int) -> int:
        child = self.hosts[place].child
        assert child is not None
        return child.pid

    def workers(self) -> list[int]:
        """Processes of workers that are there now."""
        children = [host.child for host in self.hosts]
        return [pid for child in children if child is not None for pid in _children(child.pid)]

    # starting and starting again

    def start_scheduler(self) -> None:
        """At the address where the last one was."""
        options: dict[str, Any] = {
            "address": self._address, "worker_timeout_seconds": HOST_TIMEOUT_S, "logging_level": "ERROR",
            "insecure": self.link == "wire",  # keys are found by the address, and a proxy has another
        }  # fmt: skip
        if self.link == "wire":
            self._scheduler, self._address = start_elsewhere(**options)
        else:
            self._scheduler = Scheduler(**options)
            self._address = self._scheduler.get_address()

    def kill_scheduler(self) -> None:
        os.kill(self.scheduler_pid, signal.SIGKILL)
        _put_away(self._scheduler)

    def _new_host(self, place: int) -> Cluster:
        address = self.proxies[place].address if self.proxies else self._address
        return Cluster(address, self._n_workers, death_timeout_seconds=DEATH_TIMEOUT_S, logging_level="ERROR")

    def replace_host(self, place: int) -> None:
        """The host's supervisor was killed: start another."""
        self.hosts[place].shutdown()
        self.hosts[place] = self._new_host(place)

    def start_load(self, load: Load) -> None:
        """Begin; returns when the client has been let in."""
        settings = json.dumps(asdict(load))
        self.load = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.load", "load", settings], stdout=subprocess.PIPE, text=True
        )
        assert self.load.stdout is not None
        if self.load.stdout.readline().strip() != "ready":
            raise RuntimeError("the client under load could not start")

    def start_bystander(self) -> None:
        self.bystander = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.load", "bystander", self.client_address], stderr=subprocess.DEVNULL
        )

    # the end

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        for proxy in self.proxies:
            proxy.release()
        for process in (self.load, self.bystander):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        if self.load is not None and self.load.stdout is not None:
            self.load.stdout.close()
        for host in self.hosts:
            host.shutdown()
        _put_away(self._scheduler)
        for proxy in self.proxies:
            proxy.close()


def _put_away(scheduler: "Scheduler | subprocess.Popen[str]") -> None:
    if isinstance(scheduler, Scheduler):
        scheduler.shutdown()
    else:
        scheduler.communicate(timeout=20)


def _children(pid: int) -> list[int]:
    """Child processes that live."""
    found = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in listing.read_text().split()]
        except OSError:
            continue  # the thread has gone
    return [child for child in found if not _is_dead(child) and not _is_template(child)]


def _is_template(pid: int) -> bool:
    """Whether it is what workers are forked from."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == template.NAME
    except OSError:
        return False


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def wait_until_dead(pid: int, timeout_s: float) -> bool:
    """Whether it has ended by then."""
    deadline = time.monotonic() + timeout_s
    while not _is_dead(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
