"""A working folder that is removed while something runs in it, or before it starts."""

import os
import shutil
from pathlib import Path

import pytest

from scaler import Client
from scaler.exceptions import ProcessorDiedError
from tests.entry_points.commands import Command

READY = r"cluster is ready: (\d+) workers"
GONE = "the working folder is not there any more"
IN_NO_FOLDER = """
import os, sys, tempfile
folder = tempfile.mkdtemp()
os.chdir(folder)
os.rmdir(folder)
from scaler import Client, Cluster, Scheduler, SchedulerClusterCombo

def read():
    try:
        return open("some.txt").read()
    except FileNotFoundError:
        return "not there"

def check(address):
    with Client(address, timeout_seconds=20) as client:
        print(client.submit(read).result(20))

if len(sys.argv) > 1:
    with Cluster(sys.argv[1], 1):
        check(sys.argv[1])
else:
    with SchedulerClusterCombo(1) as combo:
        check(combo.get_address())
try:
    print(os.getcwd())
except FileNotFoundError:
    print("still in no folder")
"""


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "work"
    made.mkdir()
    return made


def test_a_combo_and_its_program_run_in_a_folder_that_has_been_removed(tmp_path, run_program):
    ran = run_program(IN_NO_FOLDER, cwd=tmp_path)
    assert ran.stdout == "not there\nstill in no folder\n"
    assert ran.stderr.count(GONE) == ran.stderr.count("\n") == 1


def test_a_cluster_and_a_client_run_in_a_folder_that_has_been_removed(tmp_path, run_program, address):
    ran = run_program(IN_NO_FOLDER, address, cwd=tmp_path)
    assert ran.stdout == "not there\nstill in no folder\n"
    assert ran.stderr.count(GONE) == ran.stderr.count("\n") == 1


def test_the_commands_run_in_a_folder_that_has_been_removed(folder):
    leave = ("sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh")
    with Command("scaler_scheduler", "tcp://127.0.0.1:0", cwd=str(folder), before=leave) as scheduler:
        address = scheduler.await_line(r"scheduler listens at (\S+)")
        folder.mkdir()
        with Command("scaler_cluster", address, "-n", "2", cwd=str(folder), before=leave) as cluster:
            cluster.await_line(READY)
            with Client(address, timeout_seconds=20) as client:
                assert client.submit(abs, -1).result(20) == 1
            assert [cluster.stop(), scheduler.stop()] == [0, 0]
            assert cluster.out.count(GONE) == 1


@pytest.mark.parametrize("comes_back", [False, True])
def test_workers_are_replaced_after_their_folder_has_been_removed(folder, address, comes_back):
    with Command("scaler_cluster", address, "-n", "2", cwd=str(folder)) as cluster:
        cluster.await_line(READY)
        shutil.rmtree(folder)
        if comes_back:
            folder.mkdir()
            (folder / "some.txt").write_text("new")
        with Client(address, timeout_seconds=20) as client:
            for _ in range(4):
                with pytest.raises(ProcessorDiedError):
                    client.options(retries=0).submit(os.abort).result(20)
            assert client.submit(abs, -1).result(20) == 1
            if comes_back:
                assert client.submit(Path.read_text, Path("some.txt")).result(20) == "new"
        assert cluster.stop() == 0
        said = cluster.out.count(f"workers cannot enter their working folder {folder}")
        assert said == (0 if comes_back else 1)
