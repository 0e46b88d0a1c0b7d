"""Files of the user's that are named as modules of the standard library."""

import sysconfig

import pytest

from scaler import Client
from tests.entry_points.commands import Command

NAMES = (
    "random", "queue", "types", "logging", "socket", "json", "token", "select", "asyncio", "signal", "enum", "copy",
    "calendar", "statistics", "code", "tempfile", "subprocess", "selectors", "threading", "concurrent", "uuid", "heapq",
)  # fmt: skip
READY = r"cluster is ready: (\d+) workers"
# A task imports all of them, and runs what loads most: a coroutine, a function by value, an object in shared memory.
TASKS = f"""
import asyncio, importlib, sys
from scaler import Client

def files():
    return [importlib.import_module(name).__file__ for name in {NAMES}]

async def nap():
    await asyncio.sleep(0)
    return bytes(3_000_000)

def check(address):
    with Client(address, timeout_seconds=20) as client:
        print(client.submit(files).result(20) == files(), len(client.submit(nap).result(20)))
"""


@pytest.fixture
def folder(tmp_path):
    """One in which no program starts that looks there for the standard library."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text("raise RuntimeError('this is a file of the data folder')")
    return folder


def test_a_combo_starts_in_a_folder_whose_files_are_named_as_modules_of_the_library(folder, run_program):
    code = TASKS + "from scaler import SchedulerClusterCombo\nwith SchedulerClusterCombo(1) as combo:\n"
    ran = run_program(code + "    check(combo.get_address())", cwd=folder)
    assert (ran.stdout, ran.stderr) == ("True 3000000\n", "")


def test_a_cluster_made_in_such_a_folder_has_workers(folder, run_program, address):
    code = TASKS + "from scaler import Cluster\nwith Cluster(sys.argv[1], 1):\n    check(sys.argv[1])"
    ran = run_program(code, address, cwd=folder)
    assert (ran.stdout, ran.stderr) == ("True 3000000\n", "")


def test_the_command_started_in_such_a_folder_has_workers(folder, run_program, address, tmp_path):
    with Command("scaler_cluster", address, "-n", "1", cwd=str(folder)) as cluster:
        cluster.await_line(READY)
        ran = run_program(TASKS + "check(sys.argv[1])", address, cwd=tmp_path)
        assert (ran.stdout, ran.stderr) == ("True 3000000\n", "")
        assert cluster.stop() == 0
        assert cluster.err == ""


@pytest.mark.parametrize("variable", ["/nonexistent:", "."])
def test_the_commands_start_where_the_import_variable_names_such_a_folder(tmp_path, variable):
    for name in ("random", "queue", "logging", "socket", "json", "select", "asyncio", "signal", "selectors", "uuid"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('this is a file of the data folder')")
    before = ("env", f"PYTHONPATH={variable}")
    with Command("scaler_scheduler", "tcp://127.0.0.1:0", cwd=str(tmp_path), before=before) as scheduler:
        address = scheduler.await_line(r"scheduler listens at (\S+)")
        with Command("scaler_cluster", address, "-n", "1", cwd=str(tmp_path), before=before) as cluster:
            cluster.await_line(READY)
            with Client(address, timeout_seconds=20) as client:
                assert client.submit(abs, -1).result(20) == 1
            assert [cluster.stop(), scheduler.stop()] == [0, 0]
            assert (cluster.err, scheduler.err) == ("", "")


def test_what_a_program_imports_from_its_own_folder_is_found_in_its_tasks(tmp_path, run_program, address):
    (tmp_path / "program").mkdir()
    for name in ("code", "statistics"):
        (tmp_path / "program" / f"{name}.py").write_text("def whose():\n    return 'the program\\'s'\n")
    code = (
        "import code, statistics, sys; from scaler import Client, Cluster\n"
        "with Cluster(sys.argv[1], 1), Client(sys.argv[1], timeout_seconds=20) as client:\n"
        "    print(client.submit(code.whose).result(20), client.submit(lambda: statistics.whose()).result(20))"
    )
    ran = run_program(code, address, cwd=tmp_path)
    assert (ran.stdout, ran.stderr) == ("the program's the program's\n", "")


@pytest.mark.parametrize("is_safe", [False, True])
def test_the_commands_folder_stands_behind_the_library_and_before_what_is_installed(tmp_path, address, is_safe):
    library = sysconfig.get_path("stdlib")
    before = ("env", "PYTHONSAFEPATH=1") if is_safe else ()
    with Command("scaler_cluster", address, "-n", "1", cwd=str(tmp_path), before=before) as cluster:
        cluster.await_line(READY)
        with Client(address, timeout_seconds=20) as client:
            path = client.submit(eval, "__import__('sys').path").result(20)
        assert cluster.stop() == 0
    if is_safe:
        assert str(tmp_path) not in path
    else:
        (installed,) = [entry for entry in path if entry == sysconfig.get_path("platlib")]
        assert path.index(library) < path.index(str(tmp_path)) < path.index(installed)


def test_tasks_have_the_import_variable_as_it_was(tmp_path, run_program, address):
    code = (
        "import os, sys; from scaler import Client, Cluster\n"
        "with Cluster(sys.argv[1], 1), Client(sys.argv[1], timeout_seconds=20) as client:\n"
        '    print(client.submit(eval, \'__import__("os").environ.get("PYTHONPATH")\').result(20))\n'
        "    print(client.submit(eval, '__import__(\"sys\").path').result(20) == sys.path)"
    )
    for value, before in (
        ("None", ("env", "-u", "PYTHONPATH")),
        ("/nonexistent:", ("env", "PYTHONPATH=/nonexistent:")),
    ):
        ran = run_program(code, address, cwd=tmp_path, before=before)
        assert (ran.stdout, ran.stderr) == (f"{value}\nTrue\n", "")
