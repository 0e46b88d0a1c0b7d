"""What tests of real processes need: waiting for something to happen, and seeing that nothing is left."""

import gc
import os
import pickle
import re
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any

import psutil

from scaler.worker import template


def open_descriptors() -> set[str]:
    """Of this process, without those that only garbage of other tests still holds."""
    gc.collect()
    return set(os.listdir("/proc/self/fd"))


def wait_until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Until the condition holds; a failed assertion if it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def in_child(what: Callable[[], Any], timeout_s: int = 10) -> Any:
    """What this returns in a child, which is killed if it does not return, whatever holds the interpreter there."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(timeout_s)
        try:
            os.write(writer, pickle.dumps(what()))
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        data = file.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with status {status}"
    assert data, "it has raised"
    return pickle.loads(data)


def tree(pid: int) -> list[psutil.Process]:
    """The process and all below it."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def is_template(process: psutil.Process) -> bool:
    """Whether it is what a supervisor has its workers forked from, and lives."""
    try:
        return process.name() == template.NAME and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def workers_of(supervisor: int) -> list[psutil.Process]:
    """Its workers' processes that live, and those that are about to be workers or their template."""
    children = psutil.Process(supervisor).children()
    return [child for child in children if child.is_running() and not is_template(child)]


def template_of(supervisor: int) -> psutil.Process:
    """What its workers are forked from."""
    (found,) = [child for child in psutil.Process(supervisor).children() if is_template(child)]
    return found


def assert_gone(processes: list[psutil.Process], timeout_s: float = 20.0) -> None:
    """All of these have ended, or do soon."""
    _, alive = psutil.wait_procs(processes, timeout_s)
    assert not alive, [describe(process) for process in alive]


def describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {process.status()} {process.cmdline()}"
    except psutil.NoSuchProcess:
        return f"{process.pid}, which has ended meanwhile"


def segments_of(pids: Iterable[int]) -> set[str]:
    """Files in shared memory that these processes have mapped and that still have a name."""
    found: set[str] = set()
    for pid in pids:
        with open(f"/proc/{pid}/maps") as maps:
            found.update(re.findall(r"(/dev/shm/scaler-\S+)$", maps.read(), re.MULTILINE))
    return found
