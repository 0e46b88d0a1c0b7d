"""What a client wanted is stopped when it is gone, however it went."""

import os
import signal
import subprocess
import sys

import pytest

from scaler import Client
from tests.conftest import make_cluster
from tests.e2e import calls
from tests.e2e.stoppable import marks
from tests.processes import wait_until

PROGRAM = """
import os, sys, time
from scaler import Client
from tests.e2e import stoppable
address, folder = sys.argv[1:3]
client = Client(address)
import numpy
big = numpy.ones(1_000_000)
futures = [client.submit(stoppable.hold, folder, big) for _ in range(50)]
while len(stoppable.marks(folder, "hold began")) < 2:
    time.sleep(0.005)
print("begun", flush=True)
"""
ENDS = {
    "exits": "sys.exit()",
    "exits at once": "os._exit(0)",
    "is killed": "time.sleep(60)",
    "disconnects": "client.disconnect(); time.sleep(60)",
    "clears": "client.clear(); time.sleep(60)",
    "raises": "raise RuntimeError",
    "is interrupted in a result": "futures[0].result()",
    "is interrupted in a map": "client.clear(); client.map(stoppable.hold, [(folder, big)] * 4)",
}


def run_client(address, folder, end):
    client = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + ENDS[end], address, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert client.stdout is not None
    assert client.stdout.readline() == "begun\n"
    if end == "is interrupted in a map":
        wait_until(lambda: len(marks(folder, "hold began")) >= 4)
    if end == "is killed":
        client.kill()
    elif "interrupted" in end:
        client.send_signal(signal.SIGINT)
    return client


def check_that_all_ends(client, folder):
    """All that has begun ends, and nothing more begins. (What is stopped before its first line leaves no mark.)"""
    wait_until(lambda: len(marks(folder, "hold ended")) == len(marks(folder, "hold began")), 40)
    processes = {client.submit(calls.process_id, i).result(30) for i in range(40)}
    assert processes <= set(marks(folder, "hold began"))  # the same workers go on
    assert len(marks(folder, "hold ended")) == len(marks(folder, "hold began")) < 10


@pytest.mark.parametrize("end", ENDS)
def test_on_the_schedulers_host(client, cluster, tmp_path, end):
    if type(cluster).__name__ != "SchedulerClusterCombo" and end in ("exits at once", "is killed"):
        pytest.skip("elsewhere it is known by its silence: below")
    process = run_client(cluster.get_address(), tmp_path, end)
    try:
        check_that_all_ends(client, tmp_path)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("end", ["exits at once", "is killed"])
def test_elsewhere_silence_is_enough(tmp_path, end):
    with (
        make_cluster("wire", scheduler={"client_timeout_seconds": 2}) as cluster,
        Client(cluster.get_address(), timeout_seconds=20) as client,
    ):
        process = run_client(cluster.get_address(), tmp_path, end)
        check_that_all_ends(client, tmp_path)
        process.communicate()


def test_what_it_has_stored_is_freed(tmp_path):
    with make_cluster("rings") as cluster, Client(cluster.get_address(), timeout_seconds=20) as client:
        epoch = client._entry.epoch
        own = f"scaler-{epoch}-{client._entry.tag:06x}"

        def stored():
            return [name for name in os.listdir("/dev/shm") if name.startswith(f"scaler-{epoch}-") and own not in name]

        before = stored()
        process = run_client(cluster.get_address(), tmp_path, "is killed")
        assert len(stored()) > len(before)
        wait_until(lambda: stored() == before, 40)
        process.communicate()
