"""What is said of a client that ships the same again and again, of one that does not read, and of a task that would not
stop: with real processes, and where people read it."""

import os
import re
import signal
import subprocess
import sys
import warnings

import numpy
import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.exceptions import LargeArgumentWarning
from tests.conftest import make_cluster
from tests.e2e.stoppable import last_for_ever, marks
from tests.processes import wait_until


def first(grid, at=0):
    return float(grid[at])


def test_an_array_that_is_shipped_with_each_call_is_named_with_the_line_of_the_call(client):
    grid = numpy.zeros(12_500_000)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for at in range(3):
            client.submit(first, grid, at=at).result()
        client.map(first, [(grid, at) for at in range(3)])
        reference = client.send_object(grid)
        for at in range(3):
            client.submit(first, reference, at).result()
    (said,) = [each for each in found if each.category is LargeArgumentWarning]
    assert "each call of first ships its argument grid of 100 MB" in str(said.message)
    assert said.filename == __file__


def test_a_map_over_the_same_array_is_named_too(client):
    grid = numpy.zeros(12_500_000)
    with pytest.warns(LargeArgumentWarning, match="argument grid of 100 MB"):
        client.map(first, [(grid, at) for at in range(3)])


@pytest.mark.parametrize("link", ["rings", "wire"])
def test_a_task_that_swallows_its_stop_is_named_when_its_worker_is_killed(link, tmp_path, capfd):
    made = make_cluster(link)
    with made as cluster, Client(cluster.get_address(), timeout_seconds=20) as client:
        future = client.submit(last_for_ever, str(tmp_path), "swallow everything")
        wait_until(lambda: marks(tmp_path, "swallow everything began"))
        future.cancel()
        client.submit(abs, -1).result()  # by another process
        said = []

        def is_said():
            said.append(capfd.readouterr().err)
            return re.search(
                rf"is killed, since it goes on with \S*last_for_ever \(task {future.task_id:#x}\), which nobody "
                "wants any more, .*TaskCancelled was raised in it, and it has caught that",
                "".join(said),
            )

        wait_until(is_said)


# The only worker begins with the results once this process has been stopped: before that its client might read them.
READS_NOTHING = """
import os, signal, sys, time
from scaler import Client

def wait_until_stopped(pid):
    while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)
    return b""

client = Client(sys.argv[1])
futures = [client.submit(wait_until_stopped, os.getpid())]
futures += [client.submit(bytes, 20000) for _ in range(200)]
print("submitted", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
print(sum(len(future.result()) for future in futures), flush=True)
"""


def test_a_client_that_does_not_read_is_named_and_others_go_on(capfd):
    with SchedulerClusterCombo(1) as combo:
        program = subprocess.Popen(
            [sys.executable, "-c", READS_NOTHING, combo.get_address()], stdout=subprocess.PIPE, text=True
        )
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "submitted\n"
            said = []
            with Client(combo.get_address()) as client:

                def is_said():
                    assert client.submit(abs, -1).result() == 1
                    said.append(capfd.readouterr().err)
                    return f"(process {program.pid} on " in "".join(said) and "does not read its results" in "".join(
                        said
                    )

                wait_until(is_said, 40)
            os.kill(program.pid, signal.SIGCONT)
            assert program.stdout.readline() == "4000000\n"
        finally:
            program.kill()
            program.wait()
            if program.stdout is not None:
                program.stdout.close()
