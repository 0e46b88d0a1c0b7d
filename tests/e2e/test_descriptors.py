"""What our processes have open no program that a task starts gets: not what they opened, nor what they were handed."""

import os
import subprocess
import sys
from functools import partial

import pytest

from scaler import Client, current_client
from tests.e2e import calls
from tests.processes import wait_until
from tests.restartable import Restartable

LIST = """
import os
for number in os.listdir("/proc/self/fd"):
    if int(number) > 2 and not os.readlink(f"/proc/self/fd/{number}").endswith("/fd"):  # which is what lists
        print(os.readlink(f"/proc/self/fd/{number}"))
"""


def inherited():
    """What a program that inherits all it can has open, besides the first three."""
    current_client().submit(calls.add_one, 1).result()  # so that this worker has a client of its own
    return subprocess.run([sys.executable, "-c", LIST], close_fds=False, capture_output=True, text=True).stdout


def none_inheritable(pids):
    return not any(inheritable(pid) for pid in pids)


def inheritable(pid):
    """Descriptors beyond the first three that `exec` leaves open: what they are. None of a process that has ended."""
    found = []
    try:
        numbers = os.listdir(f"/proc/{pid}/fdinfo")
    except FileNotFoundError:
        return []
    for number in numbers:
        try:
            with open(f"/proc/{pid}/fdinfo/{number}") as info:
                flags = next(int(line.split()[1], 8) for line in info if line.startswith("flags:"))
            if int(number) > 2 and not flags & os.O_CLOEXEC:
                found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except FileNotFoundError:
            continue  # closed meanwhile
    return found


@pytest.mark.parametrize("link", ["rings", "wire"])
def test_exec_closes_all_that_our_processes_have_open_also_after_another_scheduler_has_come(link):
    made = Restartable(link)
    try:
        with Client(made.address, timeout_seconds=20) as client:
            for restarts in range(2):
                if restarts:
                    made.restart()
                assert [client.submit(inherited).result(20) for _ in range(4)] == [""] * 4
                assert len(client.submit(bytes, 3_000_000).result(20)) == 3_000_000  # over a connection of its own
                assert made.cluster.child is not None
                pids = {made.process.pid, made.cluster.child.pid, *made.workers()}
                assert len(pids) >= 4
                # A spare that has just been started has yet to see to the socket to its supervisor.
                wait_until(partial(none_inheritable, pids))
    finally:
        made.close()
