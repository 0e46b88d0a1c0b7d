"""Template: workers that are forked are as those that are started by exec, and are so started where there is none."""

import contextlib
import os
import random
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.cluster.cores import thread_share
from scaler.exceptions import ProcessorDiedError
from tests.e2e import calls
from tests.processes import assert_gone, is_template, template_of, tree, wait_until, workers_of


@pytest.fixture
def two() -> Iterator[tuple[Client, int]]:
    """A client of two workers, and their supervisor's number."""
    with SchedulerClusterCombo(2) as combo, Client(combo.get_address(), timeout_seconds=20) as client:
        assert combo._cluster.child is not None
        yield client, combo._cluster.child.pid


def in_each(client: Client, supervisor: int, function: Any, *arguments: Any) -> dict[int, Any]:
    """What this returns in each worker, by its number."""
    found: dict[int, Any] = {}
    pids = {worker.pid for worker in workers_of(supervisor)}

    def is_known() -> bool:
        found.update(client.starmap(with_pid, [(function, *arguments)] * 20))
        return pids <= found.keys()

    wait_until(is_known)
    return {pid: found[pid] for pid in pids}


def with_pid(function: Any, *arguments: Any) -> tuple[int, Any]:
    return os.getpid(), function(*arguments)


def draw() -> tuple[float, bytes]:
    return random.random(), os.urandom(8)


def surroundings() -> dict[str, Any]:
    """What a process may have from the one that started it."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handlers = {number: str(signal.getsignal(number)).partition(" at ")[0] for number in signal.valid_signals()}
    return {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": sys.path,
        "flags": str(sys.flags),
        "blocked": sorted(blocked),
        "handlers": handlers,
        "limits": [resource.getrlimit(number) for number in range(16)],
        "parent": os.getppid(),
        "leads its session": os.getsid(0) == os.getpid() == os.getpgrp(),
        "nice": os.nice(0),
        "mask": os.umask(os.umask(0o77)),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "kernel's threads": len(os.listdir("/proc/self/task")),
        "own number": threading.get_native_id() == os.getpid() == threading.main_thread().native_id,
        "name": Path("/proc/self/comm").read_text(),
        "standard input": os.readlink("/proc/self/fd/0"),
        "descriptors": sorted(kinds_of_descriptors()),
        "arguments": sys.argv[:1],
    }


def kinds_of_descriptors() -> Iterator[str]:
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            yield os.readlink(f"/proc/self/fd/{number}").partition(":")[0].partition("-")[0]


def test_a_forked_worker_has_what_one_has_that_was_started_by_exec(two):
    client, supervisor = two
    template_of(supervisor)
    forked = client.submit(surroundings).result(20)
    with SchedulerClusterCombo(1) as combo, Client(combo.get_address(), timeout_seconds=20) as alone:
        assert combo._cluster.child is not None
        assert not [each for each in psutil.Process(combo._cluster.child.pid).children() if is_template(each)]
        started = alone.submit(surroundings).result(20)
    for each, pid in ((forked, supervisor), (started, combo_pid_of(started))):
        assert each.pop("parent") == pid
        for name in (*thread_share(2), "PYTEST_CURRENT_TEST"):  # a share for each worker; and when it was started
            each["environment"].pop(name, None)
    assert forked == started
    assert forked["leads its session"]
    assert forked["own number"]


def combo_pid_of(found: dict[str, Any]) -> int:
    return int(found["parent"])


def test_forked_workers_draw_other_random_numbers(two):
    client, supervisor = two
    drawn = in_each(client, supervisor, draw)
    assert len({number for numbers in drawn.values() for number in numbers}) == 4


def test_how_a_forked_worker_ends_is_known_and_another_takes_its_place(two):
    client, supervisor = two
    before = {worker.pid for worker in workers_of(supervisor)}
    with pytest.raises(ProcessorDiedError) as died:
        client.options(retries=0).submit(os._exit, 3).result(20)
    assert died.value.exit_code == 3
    with pytest.raises(ProcessorDiedError) as died:
        client.options(retries=0).submit(os.abort).result(20)
    assert died.value.signal_name == "SIGABRT"
    assert "Fatal Python error: Aborted" in died.value.last_output
    assert died.value.memory_peak > 1 << 20
    wait_until(lambda: len({worker.pid for worker in workers_of(supervisor)} - before) == 2)
    assert not [each for each in tree(supervisor) if each.status() == psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_without_the_template_workers_go_on_and_others_are_started_and_there_is_another(two, number):
    client, supervisor = two
    first, workers = template_of(supervisor), workers_of(supervisor)
    first.send_signal(number)
    assert_gone([first])
    assert set(in_each(client, supervisor, abs, -1)) == {worker.pid for worker in workers}
    for worker in workers:
        worker.kill()
    wait_until(lambda: len({each.pid for each in workers_of(supervisor)} - {each.pid for each in workers}) == 2)
    assert client.submit(calls.add_one, 1).result(20) == 2
    wait_until(lambda: any(is_template(each) for each in psutil.Process(supervisor).children()))
    second = workers_of(supervisor)
    for worker in second:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()
    wait_until(lambda: len({each.pid for each in workers_of(supervisor)} - {each.pid for each in second}) == 2)
    assert client.map(calls.add_one, [(i,) for i in range(100)]) == list(range(1, 101))


def test_a_template_that_is_stopped_is_waited_for_once(two):
    client, supervisor = two
    first, workers = template_of(supervisor), workers_of(supervisor)
    first.suspend()
    for worker in workers:
        worker.kill()
    assert client.submit(calls.add_one, 1).result(20) == 2
    assert_gone([first])
    wait_until(lambda: len(workers_of(supervisor)) == 2)
    assert client.map(calls.add_one, [(i,) for i in range(100)]) == list(range(1, 101))


def test_forked_workers_and_their_template_end_with_a_supervisor_that_is_killed(two):
    client, supervisor = two
    processes = tree(supervisor)
    assert len(processes) == 4
    future = client.submit(calls.sleep_for, 60)
    wait_until(future.running)
    os.kill(supervisor, signal.SIGKILL)
    assert_gone(processes[1:])


def test_what_has_threads_is_not_forked(tmp_path, monkeypatch):
    """As where the interpreter's start begins some: a debugger's, a profiler's."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, threading, time\n"
        "if 'scaler.worker.template' in sys.orig_argv:\n"
        "    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with SchedulerClusterCombo(2) as combo, Client(combo.get_address(), timeout_seconds=20) as client:
        assert combo._cluster.child is not None
        supervisor = combo._cluster.child.pid
        assert client.submit(os.getppid).result(20) == supervisor
        wait_until(lambda: not any(is_template(each) for each in psutil.Process(supervisor).children()))
        started = [each.cmdline() for each in workers_of(supervisor)]
        assert [words.count("scaler.worker.main") for words in started] == [1, 1]
