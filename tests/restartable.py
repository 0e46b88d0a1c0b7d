"""A scheduler that is killed and started again where it was."""

import signal
import subprocess
import time
from typing import Any

from scaler import Client, Cluster, Scheduler
from tests.elsewhere import start_elsewhere
from tests.processes import wait_until, workers_of

LINKS = ("rings", "small rings", "wire")


class Restartable:
    """A scheduler that can be killed and started again where it was, and a host of two workers."""

    def __init__(self, link: str, n_workers: int = 2) -> None:
        self.link, self.address = link, "tcp://127.0.0.1:0"
        self._scheduler: Any = None
        self.start()
        ring_bytes = 65536 if link == "small rings" else 262144
        self.cluster = Cluster(self.address, n_workers, ring_bytes=ring_bytes, death_timeout_seconds=30)

    def start(self) -> None:
        options: dict[str, Any] = {"address": self.address, "logging_level": "ERROR"}
        if self.link == "wire":
            self._scheduler, self.address = start_elsewhere(**options)
        else:
            self._scheduler = Scheduler(**options)
            self.address = self._scheduler.get_address()

    @property
    def process(self) -> "subprocess.Popen[Any]":
        return self._scheduler if self.link == "wire" else self._scheduler.child.process

    def workers(self) -> set[int]:
        """The workers' processes."""
        assert self.cluster.child is not None
        return {process.pid for process in workers_of(self.cluster.child.pid)}

    def end(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait()
        if self.link == "wire":
            self._scheduler.communicate()

    def await_noticed(self, client: Client) -> None:
        """Until the client knows that its scheduler is gone. Elsewhere its relay first tries to go on."""
        wait_until(lambda: self.link == "wire" or not client._rings.connection.is_connected)

    def restart(self, number: int = signal.SIGKILL, pause_s: float = 0.0) -> None:
        self.end(number)
        time.sleep(pause_s)
        self.start()

    def close(self) -> None:
        self.cluster.shutdown()
        if self.link == "wire":
            self._scheduler.communicate(timeout=20)
        else:
            self._scheduler.shutdown()
