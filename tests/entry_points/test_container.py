"""The commands as process 1 of a container: a PID namespace of their own. That needs the right to unshare."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from scaler import Client
from scaler.exceptions import ProcessorDiedError
from tests.e2e import calls
from tests.entry_points.commands import Command, SchedulerCommand
from tests.processes import wait_until

AS_FIRST = ("unshare", "--fork", "--pid", "--mount-proc", "--kill-child")
READY = r"cluster is ready: (\d+) workers"

if subprocess.run([*AS_FIRST, "true"], stderr=subprocess.DEVNULL).returncode:
    pytest.fail("these tests need the right to make a PID namespace (unshare --pid), which is not there", pytrace=False)


def first_of(command: Command) -> psutil.Process:
    """Process 1 in the namespace that this command has made."""
    wait_until(lambda: psutil.Process(command.process.pid).children())
    return psutil.Process(command.process.pid).children()[0]


def zombies_below(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children(recursive=True) if child.status() == psutil.STATUS_ZOMBIE]


def leave_orphans(count: int) -> int:
    """Start processes that have a session of their own and outlive their parent by a moment."""
    program = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(0.2)"
    for _ in range(count):
        subprocess.run([sys.executable, "-c", program], check=True)
    return count


@pytest.mark.parametrize("event_loop", ["builtin", "uvloop"])
def test_a_supervisor_that_is_process_1_reaps_what_it_has_adopted_and_nothing_else(event_loop):
    with SchedulerCommand() as scheduler:
        cluster = Command("scaler_cluster", scheduler.address, "-n", "2", "-el", event_loop, before=AS_FIRST)
        with cluster, Client(scheduler.address, timeout_seconds=20) as client:
            cluster.await_line(READY)
            first = first_of(cluster)
            assert client.submit(os.getppid).result(20) == 1
            assert client.submit(leave_orphans, 3).result(20) == 3
            wait_until(lambda: len(first.children()) == 3)  # two workers, and what they were forked from
            assert not zombies_below(first)
            with pytest.raises(ProcessorDiedError):
                client.options(retries=0).submit(os._exit, 3).result(20)
            cluster.await_line("ended with exit code 3")  # how its own end it still hears
            wait_until(lambda: not zombies_below(first))
            assert client.submit(calls.add_one, 1).result(20) == 2
            first.terminate()
            assert cluster.process.wait(20) == 0
        assert scheduler.stop() == 0


@pytest.mark.parametrize("event_loop", ["builtin", "uvloop"])
def test_a_scheduler_that_is_process_1_reaps_what_it_has_adopted(event_loop):
    """Whatever else runs in its container may lose its parent."""
    start = (
        'import os, subprocess, sys; subprocess.Popen(["sh", "-c", sys.argv[1]]); os.execv(sys.argv[2], sys.argv[2:])'
    )
    orphans = "for i in 1 2 3; do (setsid sleep 0.5 &); done"
    before = (*AS_FIRST, sys.executable, "-c", start, orphans)
    with Command("scaler_scheduler", "tcp://127.0.0.1:0", "-e", event_loop, before=before) as scheduler:
        address = scheduler.await_line(r"scheduler listens at (\S+)")
        first = first_of(scheduler)
        with Client(address, timeout_seconds=20):
            wait_until(lambda: not first.children())
            time.sleep(0.1)
        first.terminate()
        assert scheduler.process.wait(20) == 0
