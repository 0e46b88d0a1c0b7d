"""Whichever signal ends what a program has started, or the program itself, nothing of it is left."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.elsewhere import start_elsewhere
from tests.processes import segments_of, tree, wait_until

CODE = """
import sys
from scaler import Client, Cluster, SchedulerClusterCombo
from tests.e2e import stoppable
folder, address = sys.argv[1:]
made = Cluster(address, 1) if address else SchedulerClusterCombo(1, f"ipc://{folder}/s")
client = Client(address or made.get_address(), timeout_seconds=5)
future = client.submit(stoppable.leave_a_process, folder)
print(*[child.pid for child in getattr(made, "_children", None) or [made.child]], flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["rings", "wire"])
def address(request):
    """Of a scheduler elsewhere; nothing, for a combo, on rings."""
    if request.param == "rings":
        yield ""
    else:
        process, made = start_elsewhere()
        yield made
        process.communicate(timeout=20)


def has_ended(process):
    """Even if the program that has started it has not asked how."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("target", ["its program", "its processes"])
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGHUP, pytest.param(signal.SIGINT, marks=pytest.mark.at_night)]
)
def test_what_ends_by_a_signal_leaves_neither_files_nor_what_its_tasks_have_started(number, target, address, tmp_path):
    program = subprocess.Popen(
        [sys.executable, "-c", CODE, str(tmp_path), address],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert program.stdout is not None
    try:
        made = [psutil.Process(int(pid)) for pid in program.stdout.readline().split()]
        file = tmp_path / "child"
        wait_until(lambda: file.exists() and file.read_text().endswith("\n"))
        child = psutil.Process(int(file.read_text()))
        processes = [process for each in made for process in tree(each.pid)]
        segments = segments_of({process.pid for process in processes})
        assert child in processes
        assert segments
        for process in [psutil.Process(program.pid)] if target == "its program" else made:
            process.send_signal(number)
        wait_until(lambda: all(map(has_ended, processes)))
        assert not [path for path in segments if os.path.exists(path)]
        assert os.listdir(tmp_path) == ["child"]
    finally:
        program.communicate(timeout=20)
