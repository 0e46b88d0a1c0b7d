"""A user's program at work: tasks that end in no time of their own, results nobody reads, objects, tasks that wait.

`python -m tests.e2e.busy_program rings|wire FOLDER` prints what processes there are once all of it is under way, then
waits. Each task that has begun says so by a file in FOLDER.
"""

import ctypes
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scaler import Client, SchedulerClusterCombo
from tests.elsewhere import RemoteCluster
from tests.processes import wait_until, workers_of

LONG_S = 60


def sleep(mark: str) -> None:
    Path(mark).touch()
    time.sleep(LONG_S)


def hold_the_lock_in_c(mark: str) -> None:
    Path(mark).touch()
    ctypes.PyDLL(None).sleep(LONG_S)


def swallow_exceptions(mark: str) -> None:
    Path(mark).touch()
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        try:
            time.sleep(0.1)
        except BaseException:
            continue


def ignore_signals(mark: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    swallow_exceptions(mark)


def wait_for_a_child(mark: str) -> None:
    child = subprocess.Popen(["sleep", str(LONG_S)])
    Path(mark).write_text(str(child.pid))
    child.wait()


TASKS: list[Callable[[str], None]] = [sleep, hold_the_lock_in_c, swallow_exceptions, ignore_signals, wait_for_a_child]


def main() -> None:
    link, folder = sys.argv[1:]
    cluster = RemoteCluster(len(TASKS) + 1) if link == "wire" else SchedulerClusterCombo(len(TASKS) + 1)
    started = cluster.cluster.child if isinstance(cluster, RemoteCluster) else cluster._cluster.child
    listening = cluster.scheduler if isinstance(cluster, RemoteCluster) else cluster._scheduler.child
    assert started is not None
    assert listening is not None
    supervisor, scheduler = started.pid, listening.pid
    client = Client(cluster.get_address(), timeout_seconds=20)
    marks = [Path(folder, task.__name__) for task in TASKS]
    futures = [client.submit(task, str(mark)) for task, mark in zip(TASKS, marks, strict=True)]
    wait_until(lambda: all(mark.exists() and (mark.stat().st_size or mark != marks[-1]) for mark in marks))
    unread: list[Any] = [client.submit(bytes, 30_000) for _ in range(200)]
    unread += [client.submit(abs, np.full(100_000, i)) for i in range(4)]
    unread[-1].result(30)
    unread += [client.submit(time.sleep, 1 + i % 2) for i in range(100)]
    workers = [child.pid for child in workers_of(supervisor)]
    print(json.dumps({"scheduler": scheduler, "supervisor": supervisor, "workers": workers}), flush=True)
    if sys.stdin.readline():
        sys.exit(0)
    futures[0].result()


if __name__ == "__main__":
    main()
