"""Processes in PID namespaces of their own, as those of containers are. That needs the right to unshare."""

import signal
import subprocess

import psutil
import pytest

from tests.entry_points.commands import Command
from tests.processes import assert_gone, wait_until

OWN_NUMBERS = ("unshare", "--fork", "--pid", "--mount-proc", "--kill-child")
# Runs $1 strangers beside the program that follows, so that small numbers are theirs.
_AMONG_STRANGERS = 'for i in $(seq "$1"); do sleep 600 & done; shift; exec "$@"'


def require() -> None:
    """Fail if this machine does not allow it, so that nobody takes that for a pass."""
    if subprocess.run([*OWN_NUMBERS, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.fail("this needs the right to make a PID namespace (unshare --pid), which is not there", pytrace=False)


class Contained(Command):
    """A command that is process 1 of a namespace, besides as many strangers as are asked for."""

    def __init__(self, name: str, *arguments: str, strangers: int = 0) -> None:
        among = ("sh", "-c", _AMONG_STRANGERS, "sh", str(strangers)) if strangers else ()
        super().__init__(name, *arguments, before=(*OWN_NUMBERS, *among))
        wait_until(lambda: psutil.Process(self.process.pid).children())
        (self.first,) = psutil.Process(self.process.pid).children()

    def stop(self, number: int = signal.SIGTERM) -> int:
        processes = [self.first, *self.first.children(recursive=True)]
        self.first.send_signal(number)
        status = self.process.wait(20)
        assert_gone(processes)
        return status


def start(name: str, *arguments: str, is_contained: bool, strangers: int = 0) -> Command:
    """The command, in a namespace of its own if it is to be."""
    return Contained(name, *arguments, strangers=strangers) if is_contained else Command(name, *arguments)


def number_inside(process: psutil.Process) -> int:
    """What the process is called in its own namespace."""
    with open(f"/proc/{process.pid}/status") as status:
        (line,) = [line for line in status if line.startswith("NSpid:")]
    return int(line.split()[-1])
