"""The installed commands as processes, as a user starts them."""

import contextlib
import re
import signal
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.elsewhere import start_elsewhere
from tests.processes import assert_gone, tree, wait_until

SCRIPTS = Path(sysconfig.get_path("scripts"))


def run(name: str, *arguments: str, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run([SCRIPTS / name, *arguments], capture_output=True, text=True, timeout=timeout_s)


class Command:
    """A command that runs until it is told to stop. Leaving the block kills what is left.

    `before` is what comes in front of it, such as `["nice"]`.
    """

    def __init__(self, name: str, *arguments: str, cwd: str | None = None, before: Sequence[str] = ()) -> None:
        with contextlib.ExitStack() as files:
            self._out, self._err = (files.enter_context(tempfile.TemporaryFile("w+")) for _ in range(2))
            self.process = subprocess.Popen(
                [*before, SCRIPTS / name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=self._err,
                cwd=cwd,
            )
            self._files = files.pop_all()

    @property
    def out(self) -> str:
        self._out.seek(0)
        return self._out.read()

    @property
    def err(self) -> str:
        self._err.seek(0)
        return self._err.read()

    def await_line(self, pattern: str, timeout_s: float = 20.0) -> str:
        """The first group of the pattern, once it stands in the log."""
        wait_until(lambda: re.search(pattern, self.out) or self.process.poll() is not None, timeout_s)
        found = re.search(pattern, self.out)
        assert found, f"ended with {self.process.poll()}: {self.out}{self.err}"
        return found.group(1) if found.groups() else found.group()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal; the exit status, once everything that the command has started is gone."""
        processes = tree(self.process.pid)
        self.process.send_signal(number)
        return self.await_end(processes)

    def await_end(self, processes: list | None = None) -> int:
        status = self.process.wait(20)
        assert_gone(processes or [])
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.process.poll() is None:
            for process in reversed(tree(self.process.pid)):
                process.kill()
            self.process.wait()
        self._files.close()


class SchedulerCommand(Command):
    """scaler_scheduler on a free port unless the arguments name an address; listens when constructed."""

    def __init__(self, *arguments: str, address: str = "tcp://127.0.0.1:0") -> None:
        super().__init__("scaler_scheduler", address, *arguments)
        try:
            self.address = self.await_line(r"scheduler listens at (\S+)")
        except BaseException:
            self.__exit__(None, None, None)
            raise


@contextlib.contextmanager
def scheduler_alone(link: str) -> Iterator[str]:
    """The address of a scheduler without a cluster: of this host on "rings", elsewhere on the "wire".

    It has no keys, so that a program of another user can connect.
    """
    if link == "rings":
        with SchedulerCommand("--insecure") as scheduler:
            yield scheduler.address
            assert scheduler.stop() == 0
    else:
        process, address = start_elsewhere(insecure=True)
        yield address
        process.communicate(timeout=20)
