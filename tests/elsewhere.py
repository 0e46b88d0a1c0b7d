"""A scheduler on another host, as far as memory goes: a process in a mount namespace with a /dev/shm of its own.

Run as a program it is that scheduler, with the options of its one argument: it prints its address and stops when its
standard input ends.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from scaler import Client, Cluster
from scaler.config.table import SchedulerConfig
from scaler.config.values import make_config
from scaler.scheduler.program import run
from tests.processes import wait_until

_MOUNT = """mount -t tmpfs -o size="$1" tmpfs /dev/shm &&
{ test -z "$2" || mount -t tmpfs -o size="$1" tmpfs "$2"; } &&
shift 2 && exec "$@" """
_ELSEWHERE = ["unshare", "--mount", "--", "sh", "-c", _MOUNT, "sh"]


def start_elsewhere(room: str = "2g", folder: Path | None = None, **options: Any) -> tuple[subprocess.Popen[str], str]:
    """Such a scheduler and its address. It and its temporary folder, if one is given, have so much `room`."""
    place = "" if folder is None else str(folder)
    options.setdefault("address", "tcp://127.0.0.1:0")
    scheduler = subprocess.Popen(
        [*_ELSEWHERE, room, place, sys.executable, "-m", "tests.elsewhere", json.dumps(options)],
        env=None if folder is None else {**os.environ, "TMPDIR": place},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert scheduler.stdout is not None
    address = scheduler.stdout.readline().strip()
    if not address:
        scheduler.communicate()
        raise RuntimeError("no scheduler with a /dev/shm of its own: that needs the right to unshare and mount")
    return scheduler, address


def start_cluster_elsewhere(
    address: str, n_workers: int, room: str = "2g", folder: str = ""
) -> "subprocess.Popen[bytes]":
    """Workers with a /dev/shm of their own for the scheduler at this address. To be ended by a signal.

    If a folder is given, it is theirs alone as well, and empty: a temporary folder, mostly.
    """
    command = Path(sys.executable).with_name("scaler_cluster")
    return subprocess.Popen([*_ELSEWHERE, room, folder, command, "--num-of-workers", str(n_workers), address])


@contextmanager
def client_of_both(address: str, folder: str = "") -> Iterator[Client]:
    """A client of the scheduler at this address, which has one worker here, once it has one elsewhere, too."""
    other = start_cluster_elsewhere(address, 1, folder=folder)
    try:
        with Client(address, timeout_seconds=20) as made:
            wait_until(lambda: made._rings.count_workers() == 2)
            yield made
    finally:
        other.terminate()
        other.wait(20)


class RemoteCluster:
    """A scheduler elsewhere, and workers here: nobody who talks to it from here shares its memory.

    `way(address)` is the address that the workers go through instead. The scheduler's /dev/shm has `room`, and so
    has its temporary folder, if one is given. `options` are the scheduler's, those of `workers` the clusters'.
    """

    def __init__(
        self,
        n_workers: int,
        ring_bytes: int = 262144,
        way: Callable[[str], str] = lambda address: address,
        room: str = "2g",
        folder: Path | None = None,
        workers: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.scheduler, self._address = start_elsewhere(room, folder, **options)
        self._way, self._worker_options = way, {"ring_bytes": ring_bytes, **(workers or {})}
        self._clusters: list[Cluster] = []
        self.add_workers(n_workers)

    @property
    def cluster(self) -> Cluster:
        """The first supervisor."""
        return self._clusters[0]

    def add_workers(self, n_workers: int) -> None:
        """One more supervisor with so many workers."""
        address = self._way(self._address)
        self._clusters.append(Cluster(address, n_workers, **{"death_timeout_seconds": 20, **self._worker_options}))

    def get_address(self) -> str:
        return self._address

    def shutdown(self) -> None:
        for cluster in self._clusters:
            cluster.shutdown()
        self.scheduler.communicate(timeout=20)

    def __enter__(self) -> "RemoteCluster":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.shutdown()


if __name__ == "__main__":
    config = make_config(SchedulerConfig, json.loads(sys.argv[1]))
    sys.exit(run(config, 0, lambda address: print(address, flush=True)))
