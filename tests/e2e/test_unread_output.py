"""What a scheduler and a cluster write, and nobody reads: they go on serving, and end when they are told to.

Pipes here hold one page, so that a few lines fill them.
"""

import fcntl
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest

from scaler import Client
from tests.e2e import calls
from tests.entry_points.commands import SCRIPTS
from tests.processes import assert_gone, tree, wait_until


def print_much(name):
    """More than the pipe holds; then its length."""
    text = "x" * 200_000 + "\n"  # a worker's own pipe for stderr holds 65,536 bytes
    getattr(sys, name).write(text)
    getattr(sys, name).flush()
    return len(text)


def make_pipe():
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    return reader, writer


def make_terminal():
    """One that was stopped with Ctrl-S."""
    ours, theirs = pty.openpty()
    os.write(ours, b"\x13")
    return ours, theirs


class Programs:
    """A scheduler and a cluster of two workers whose stdout and stderr end there."""

    def __init__(self, address, reader, writer, *options):
        self.address, self.reader, self.writer = address, reader, writer
        self.processes = [
            subprocess.Popen(
                [SCRIPTS / name, address, "--logging-level", "DEBUG", *more, *options],
                stdin=subprocess.DEVNULL, stdout=writer, stderr=writer,
            )
            for name, more in (("scaler_scheduler", ()), ("scaler_cluster", ("-n", "2")))
        ]  # fmt: skip

    def end(self):
        below = [process for each in self.processes for process in tree(each.pid)]
        for each in self.processes:
            each.send_signal(signal.SIGTERM)
        statuses = [each.wait(30) for each in self.processes]
        assert_gone(below)
        return statuses

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in self.processes:
            if each.poll() is None:
                for process in reversed(tree(each.pid)):
                    process.kill()
            each.wait()
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture(params=["pipe", "terminal"])
def programs(request, tmp_path):
    ends = make_pipe() if request.param == "pipe" else make_terminal()
    with Programs(f"ipc://{tmp_path}/scaler", *ends) as made:
        yield made


def test_clients_come_and_go_and_workers_die_and_both_programs_end(programs):
    for number in range(60):  # two lines each
        with Client(programs.address, timeout_seconds=20) as client:
            assert client.submit(calls.add_one, number).result(20) == number + 1
    with Client(programs.address, timeout_seconds=20) as client:
        futures = [client.options(retries=0).submit(os._exit, 1) for _ in range(4)]
        assert all(future.exception(20) for future in futures)
        assert client.map(calls.add_one, [(i,) for i in range(100)]) == list(range(1, 101))
    assert programs.end() == [0, 0]


def test_a_combo_whose_creators_output_nobody_reads_goes_on(tmp_path):
    code = f"""
import sys
from scaler import Client, SchedulerClusterCombo
from tests.e2e import calls
with SchedulerClusterCombo(2, logging_paths=["/dev/stdout", "/dev/stderr"], logging_level="DEBUG") as combo:
    for number in range(60):
        with Client(combo.get_address(), timeout_seconds=20) as client:
            assert client.submit(calls.add_one, number).result(20) == number + 1
open({str(tmp_path / "done")!r}, "w").close()
"""
    reader, writer = make_pipe()
    assert subprocess.Popen([sys.executable, "-c", code], stdout=writer, stderr=writer).wait(60) == 0
    assert (tmp_path / "done").exists()
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_task_that_prints_waits_for_a_reader_and_nobody_else_does(tmp_path, name):
    with Programs(f"ipc://{tmp_path}/scaler", *make_pipe()) as programs:
        with Client(programs.address, timeout_seconds=20) as client:
            waiting = client.submit(print_much, name)
            results = [client.submit(calls.add_one, i) for i in range(200)]
            assert [future.result(20) for future in results] == list(range(1, 201))
            assert not waiting.done()
            wait_until(lambda: os.read(programs.reader, 65536) and waiting.done())
            assert waiting.result(20) == 200_001
            cancelled = client.submit(print_much, name)
            wait_until(cancelled.running)
            cancelled.cancel()
            assert client.map(calls.add_one, [(i,) for i in range(100)]) == list(range(1, 101))
        assert programs.end() == [0, 0]


def test_a_reader_that_leaves_ends_nobody(tmp_path):
    with Programs(f"ipc://{tmp_path}/scaler", *make_pipe()) as programs:
        os.read(programs.reader, 1)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, programs.reader)  # as `| head` leaves
        os.dup2(nothing, programs.writer)
        os.close(nothing)
        with Client(programs.address, timeout_seconds=20) as client:
            assert client.map(calls.add_one, [(i,) for i in range(100)]) == list(range(1, 101))
        assert all(psutil.pid_exists(each.pid) for each in programs.processes)
        assert programs.end() == [0, 0]


def test_a_log_on_a_full_disk_ends_nobody(tmp_path):
    options = ("--logging-paths", "/dev/full")
    with Programs(f"ipc://{tmp_path}/scaler", *make_pipe(), *options) as programs:
        with Client(programs.address, timeout_seconds=20) as client:
            assert client.map(calls.add_one, [(i,) for i in range(100)]) == list(range(1, 101))
        assert programs.end() == [0, 0]


def test_what_cannot_start_says_why_and_ends_though_nobody_reads_that(tmp_path):
    reader, writer = make_pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    missing = tmp_path / "missing" / "scaler"
    process = subprocess.Popen([SCRIPTS / "scaler_scheduler", f"ipc://{missing}"], stdout=writer, stderr=writer)
    assert process.wait(30) == 1
    os.close(reader)
    os.close(writer)
