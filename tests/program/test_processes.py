"""Descriptors of processes: what they are told from, whom they reach, and whom not."""

import os
import signal
import subprocess
import sys

import pytest

from scaler.program.processes import Process, is_process, open_own
from tests.namespaces import OWN_NUMBERS, require


@pytest.fixture
def sleeper():
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_descriptor_of_a_process_is_told_from_others_even_when_that_has_ended(sleeper):
    pidfd = os.pidfd_open(sleeper.pid)
    others = os.eventfd(0), os.open(f"/proc/{sleeper.pid}", os.O_RDONLY), os.open("/dev/null", os.O_RDONLY)
    assert is_process(pidfd)
    sleeper.kill()
    sleeper.wait()
    assert is_process(pidfd)
    assert [is_process(other) for other in others] == [False] * 3
    assert not is_process(pidfd + 1000)
    for descriptor in (pidfd, *others):
        os.close(descriptor)


def test_a_signal_reaches_the_process_and_nobody_once_that_has_ended(sleeper):
    pidfd = os.pidfd_open(sleeper.pid)
    process = Process(pidfd, sleeper.pid, "key")
    os.close(pidfd)
    assert process.signal(signal.SIGTERM)
    assert sleeper.wait(20) == -signal.SIGTERM
    assert process.signal(signal.SIGKILL)
    process.close()
    process.close()
    assert not process.signal(signal.SIGTERM)
    assert not Process(-1, 0, "").signal(signal.SIGTERM)


def test_own_descriptor_is_ones_own():
    (own,) = open_own()
    process = Process(own, 0, "")
    os.close(own)
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    try:
        assert process.signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1]


def test_a_process_of_a_namespace_around_takes_no_signals_and_is_one_all_the_same():
    require()
    code = """
import os, sys
from scaler.program.processes import Process, is_process
print(is_process(int(sys.argv[1])), Process(int(sys.argv[1]), 0, "").signal(0))
"""
    (own,) = open_own()
    command = [*OWN_NUMBERS, sys.executable, "-c", code, str(own)]
    said = subprocess.run(command, pass_fds=[own], capture_output=True, text=True, timeout=30)
    os.close(own)
    assert (said.stdout, said.stderr) == ("True False\n", "")
