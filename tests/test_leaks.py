"""The leak check fails a run for each kind of thing that it may leave behind, and for nothing else."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler.colocation.names import BellPage, make_segment, new_epoch, segment_name, sweep
from tests.own_memory import enter_namespace
from tests.processes import in_child

ROOT = Path(__file__).parents[1]
_LEAKY = """
import os, socket, subprocess, sys, tempfile, time
from scaler.colocation.names import BellPage

SLEEP = [sys.executable, "-c", "import time; time.sleep(300)"]
LISTEN = [sys.executable, "-c", "import socket, time; s = socket.create_server(('127.0.0.1', 0)); time.sleep(300)"]
kept = []

def teardown_function():
    time.sleep(0.1)  # the time of a start is not known exactly enough for shorter tests

def test_child():
    subprocess.Popen(SLEEP)

def test_child_without_environment():
    subprocess.Popen(SLEEP, env={})

def test_orphan():
    program = f"import subprocess; subprocess.Popen({SLEEP!r}, start_new_session=True)"
    subprocess.run([sys.executable, "-c", program], check=True)

def test_forked_orphan():
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            time.sleep(300)
        os._exit(0)
    os.wait()

def test_ports():
    kept.append(socket.create_server(("127.0.0.1", 0)))
    subprocess.Popen(LISTEN)
    time.sleep(1)

def test_shared_memory():
    open("/dev/shm/scaler-LIFE-1", "w").close()

def test_file():
    open(tempfile.gettempdir() + "/scaler-LIFE-2", "w").close()

def test_page_of_this_process():
    kept.append(BellPage("LIFE"))
"""
_CLEAN = """
import os, subprocess
from scaler.colocation.names import make_segment

def test_child():
    subprocess.run(["true"], check=True)

def test_child_that_ends_soon():
    subprocess.Popen(["sleep", "0.3"])

def test_forked_copy():
    if os.fork() == 0:
        os._exit(0)
    os.wait()

def test_segment_whose_owner_lives_elsewhere():
    make_segment("scaler-LIFE-1", 4096)
"""


class Run:
    """A run of pytest over one file, with the leak check."""

    def __init__(self, folder: Path, source: str, *more: str) -> None:
        path = folder / "test_it.py"
        path.write_text(source)
        options = ["-q", "-p", "tests.leaks", "-p", "no:cacheprovider", "--leaks-grace=2", *more]
        # Into a file: whoever is left would keep a pipe open.
        with (folder / "output").open("w") as output:
            self.status = subprocess.run(
                [sys.executable, "-m", "pytest", "-c", os.devnull, *options, str(path)],
                cwd=ROOT, stdout=output, stderr=output, timeout=60,
            ).returncode  # fmt: skip
        self.output = (folder / "output").read_text()
        _, _, self.left = self.output.partition("left behind")

    def end(self) -> None:
        """End the processes that it left."""
        for pid in re.findall(r"^process (\d+)", self.left, re.M):
            os.kill(int(pid), signal.SIGKILL)


@pytest.fixture(scope="module")
def epoch() -> Iterator[str]:
    """Under which the leaky run leaves its files."""
    made = new_epoch()
    yield made
    sweep(made)


@pytest.fixture(scope="module")
def leaky(epoch: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run that leaves something of every kind."""
    run = Run(tmp_path_factory.mktemp("leaky"), _LEAKY.replace("LIFE", epoch), "--shared-memory-of-the-host")
    yield run
    run.end()


def test_run_that_leaves_something_fails(leaky):
    assert "8 passed" in leaky.output
    assert leaky.status == 1


@pytest.mark.parametrize(
    ("test", "command"),
    [
        ("test_child", "-c import time"),
        ("test_child_without_environment", "-c import time"),
        ("test_orphan", "-c import time"),
        ("test_forked_orphan", "-m pytest"),
    ],
)
def test_process_is_found(leaky, test, command):
    line = rf"^process \d+ \(parent \d+\), started during \S+::{test}: \S+ {command}"
    assert len(re.findall(line, leaky.left, re.M)) == 1


def test_ports_are_found(leaky):
    port = r"listens on 127\.0\.0\.1:\d+"
    assert (
        len(re.findall(rf"^process \d+ \(parent \d+\), {port}, started during \S+::test_ports: ", leaky.left, re.M))
        == 1
    )
    assert len(re.findall(rf"^this process {port}$", leaky.left, re.M)) == 1


def test_files_are_found(leaky, epoch):
    assert f"\n/dev/shm/scaler-{epoch}-1, made during" in leaky.left
    assert f"\n{tempfile.gettempdir()}/scaler-{epoch}-2, made during" in leaky.left
    assert f"\n/dev/shm/scaler-{epoch}-bell, made during" in leaky.left


def test_nothing_else_is_found(leaky):
    assert "since it left 9 behind" in leaky.left


def test_run_that_leaves_nothing_of_its_own_passes(tmp_path):
    here, before = new_epoch(), new_epoch()
    page = BellPage(here)
    make_segment(segment_name(before), 4096)
    try:
        run = Run(tmp_path, _CLEAN.replace("LIFE", here), "--shared-memory-of-the-host")
        assert "4 passed" in run.output
        assert run.left == ""
        assert run.status == 0
    finally:
        page.close()
        assert sweep(here) == 1
        assert sweep(before) == 1


_LEAVES_ONE = """
import pathlib, tempfile, time

def test_file():
    # The other run is there at the same time, and has left its files when this one looks for its own.
    for folder in ("/dev/shm", tempfile.gettempdir()):
        open(f"{folder}/scaler-NAME-1", "w").close()
    pathlib.Path("BARRIER/NAME").touch()
    while len(list(pathlib.Path("BARRIER").iterdir())) < 2:
        time.sleep(0.01)
"""


@pytest.mark.parametrize("spread", [(), ("-p", "xdist", "-n2")], ids=["one process", "spread"])
def test_two_runs_side_by_side_see_only_what_each_has_left(tmp_path, spread):
    if in_child(enter_namespace):
        pytest.skip("no right to a /dev/shm of its own, without which such runs meet")
    (tmp_path / "barrier").mkdir()
    runs = {}

    def run(name: str) -> None:
        (tmp_path / name).mkdir()
        source = _LEAVES_ONE.replace("NAME", name).replace("BARRIER", str(tmp_path / "barrier"))
        runs[name] = Run(tmp_path / name, source, *spread)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, done in runs.items():
        assert done.status == 1
        assert "since it left 2 behind" in done.left
        assert done.left.count(f"scaler-{name}-1, made during test_it.py::test_file") == 2


_SEES_ITS_OWN = """
import os, pathlib, pytest, tempfile, time

@pytest.mark.parametrize("name", ["one", "other"])
def test_file(name):
    paths = [f"{folder}/scaler-{name}-1" for folder in ("/dev/shm", tempfile.gettempdir())]
    for path in paths:
        open(path, "w").close()
    pathlib.Path("BARRIER", name).touch()
    while len(list(pathlib.Path("BARRIER").iterdir())) < 2:
        time.sleep(0.01)
    seen = [path for folder in ("/dev/shm", tempfile.gettempdir()) for path in os.listdir(folder) if "scaler-" in path]
    pathlib.Path("BARRIER", name + "-seen").touch()
    while len(list(pathlib.Path("BARRIER").iterdir())) < 4:
        time.sleep(0.01)
    for path in paths:
        os.unlink(path)
    assert seen == [f"scaler-{name}-1"] * 2
"""


def test_two_processes_of_one_run_see_only_what_each_has(tmp_path):
    if in_child(enter_namespace):
        pytest.skip("no right to a /dev/shm of its own, without which such processes meet")
    (tmp_path / "barrier").mkdir()
    run = Run(tmp_path, _SEES_ITS_OWN.replace("BARRIER", str(tmp_path / "barrier")), "-p", "xdist", "-n2")
    assert "2 passed" in run.output
    assert run.status == 0
