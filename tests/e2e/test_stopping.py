"""Stopping: whichever process of a busy program gets which signal, all ends in seconds and nothing is left behind.

The program (busy_program) has a scheduler, a supervisor, workers whose tasks sleep, hold the interpreter's lock in C,
swallow exceptions, ignore signals or wait for a process of their own, full rings, and objects. What ends by itself when
its scheduler or its workers have gone is told to end last.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from signal import SIGINT, SIGKILL, SIGTERM

import psutil
import pytest

from scaler.colocation.names import sweep_orphans
from tests.processes import assert_gone, wait_until

ENDED_S = 15.0  # generous: the machine may be busy with other things


class Busy:
    """The program at work."""

    def __init__(self, link, folder):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.busy_program", link, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        )  # fmt: skip
        self.link = link
        assert self.process.stdout is not None
        said = json.loads(self.process.stdout.readline())
        self.pids = {"program": self.process.pid, **said, "worker": said["workers"][0]}
        self.others = [psutil.Process(pid) for pid in (said["scheduler"], said["supervisor"], *said["workers"])]
        self.child = psutil.Process(int((folder / "wait_for_a_child").read_text()))
        processes = [*self.others, psutil.Process(self.process.pid)]
        self.paths = {path for process in processes for path in segments(process)}
        assert self.paths

    def send(self, who, number):
        try:
            os.kill(self.pids[who], number)
        except ProcessLookupError:
            assert who != "program" or self.process.poll() is not None

    def add_new_workers(self):
        """Those that were started instead of ended ones."""
        try:
            children = psutil.Process(self.pids["supervisor"]).children()
        except psutil.NoSuchProcess:
            return
        self.others += [process for process in children if process not in self.others]

    def end(self):
        """End what has not ended; if that is the program, it says where it was."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGABRT)
            print(self.process.communicate()[1])
        for process in [*self.others, self.child]:
            if process.is_running():
                process.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


def segments(process):
    """Files of shared memory that this process has mapped, and has not removed already."""
    with open(f"/proc/{process.pid}/maps") as maps:
        lives = set(re.findall(r"/dev/shm/scaler-([0-9a-f]{16})-", maps.read()))
    folder = f"/proc/{process.pid}/root/dev/shm"
    return {f"/dev/shm/{name}" for name in os.listdir(folder) for epoch in lives if epoch in name}


@pytest.fixture
def busy(request, tmp_path):
    made = Busy(request.param, tmp_path)
    yield made
    made.end()


# On both links, then on rings only.
ORDERS = [
    [("program", SIGINT), ("program", SIGINT), ("supervisor", SIGINT), ("scheduler", SIGINT)],
    [("program", SIGKILL)],
    [("supervisor", SIGKILL)],
    [("scheduler", SIGKILL)],
]
MORE_ORDERS = [
    [("program", SIGTERM), ("program", SIGTERM)],
    [("program", SIGKILL), ("supervisor", SIGTERM), ("scheduler", SIGTERM)],
    [("supervisor", SIGTERM), ("supervisor", SIGTERM)],
    [("scheduler", SIGINT), ("scheduler", SIGINT)],
    [("scheduler", SIGKILL), ("supervisor", SIGKILL)],
    [("scheduler", SIGTERM), ("supervisor", SIGTERM), ("program", SIGTERM)],
    [("worker", SIGKILL), ("worker", SIGTERM), ("supervisor", SIGINT)],
]
CASES = [(link, order) for link in ("rings", "wire") for order in ORDERS] + [("rings", order) for order in MORE_ORDERS]


def name(value):
    return (
        value if isinstance(value, str) else "-".join(f"{who}_{signal.Signals(number).name}" for who, number in value)
    )


@pytest.mark.parametrize(("busy", "order"), CASES, indirect=["busy"], ids=name)
def test_all_ends_and_nothing_is_left(busy, order):
    for who, number in order:
        busy.send(who, number)
    if "program" not in dict(order):
        time.sleep(0.3)  # it may notice by itself, or be busy with replacing a worker
        busy.add_new_workers()
        busy.process.send_signal(SIGTERM)
    busy.process.wait(ENDED_S)
    assert_gone(busy.others, ENDED_S)
    if ("supervisor", SIGKILL) not in order:  # then nobody is left to see to it
        assert_gone([busy.child], ENDED_S)
    if ("supervisor", SIGKILL) in order and (("scheduler", SIGKILL) in order or busy.link == "wire"):
        sweep_orphans()  # who would have is not here any more: as whoever starts here next does
    wait_until(lambda: not [path for path in busy.paths if os.path.exists(path)])


@pytest.mark.parametrize("busy", ["rings", "wire"], indirect=True)
def test_a_program_that_exits_while_its_tasks_run_leaves_nothing(busy):
    busy.process.stdin.write("exit\n")
    busy.process.stdin.flush()
    assert busy.process.wait(ENDED_S) == 0
    assert_gone([*busy.others, busy.child], ENDED_S)
    assert busy.process.stderr.read() == ""
    wait_until(lambda: not [path for path in busy.paths if os.path.exists(path)])


@pytest.mark.parametrize("number", [SIGTERM, SIGKILL])
def test_a_supervisor_that_ends_while_its_workers_start_takes_them_along(number):
    mark = f"SCALER_TEST_STARTING_{os.getpid()}_{number}"
    code = "from scaler import SchedulerClusterCombo; SchedulerClusterCombo(6)"

    def marked():
        """Processes of this program that live, and what they run: the next moment one of them may have ended."""
        found = {}
        for process in psutil.process_iter():
            try:
                if mark in process.environ() and process.status() != psutil.STATUS_ZOMBIE:
                    found[process] = process.cmdline()
            except psutil.Error:
                continue
        return found

    for delay_s in (0.0, 0.05, 0.1):
        program = subprocess.Popen(
            [sys.executable, "-c", code], env={**os.environ, mark: "1"}, stderr=subprocess.PIPE, text=True
        )
        wait_until(lambda: any("scaler.worker.template" in words for words in marked().values()))
        time.sleep(delay_s)
        supervisors = [process for process, words in marked().items() if "scaler.cluster.process" in words]
        assert supervisors
        for process in supervisors:
            process.send_signal(number)
        program.communicate(timeout=ENDED_S)
        wait_until(lambda: not marked())
