"""A terminal that answers nothing: the other end of a pty, whose output is collected while somebody asks for it."""

import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.monitor.top.tmux import PATIENCE_S, TOP


class PtyTerminal:
    """scaler_top in it, with these arguments. `environment` without a value takes a variable away."""

    def __init__(
        self, folder: Path, *arguments: str, cells: int = 80, lines: int = 24, **environment: str | None
    ) -> None:
        self.master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, cells, 0, 0))
        self.before = termios.tcgetattr(slave)
        kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "LC_ALL", "TERM_PROGRAM")}
        wanted = {"XDG_CONFIG_HOME": str(folder / "config"), "TERM": "xterm-256color", "LANG": "C.UTF-8", **environment}
        variables = {name: value for name, value in {**kept, **wanted}.items() if value is not None}
        self.process = subprocess.Popen(
            [TOP, *arguments], stdin=slave, stdout=slave, stderr=subprocess.PIPE, env=variables, start_new_session=True
        )
        self.slave = slave  # kept open, so that it can be looked at afterwards
        self.output = b""

    def write(self, data: bytes) -> None:
        os.write(self.master, data)

    def read(self, seconds: float = 0.05) -> bytes:
        """What comes within this time, and before it."""
        deadline = time.monotonic() + seconds
        while select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))[0]:
            self.output += os.read(self.master, 65536)
        return self.output

    def await_output(self, is_it: Callable[[bytes], object]) -> bytes:
        deadline = time.monotonic() + PATIENCE_S
        while not is_it(self.read()):
            assert time.monotonic() < deadline, self.output
            assert self.process.poll() is None, self.output + self.errors()
        return self.output

    def await_text(self, text: str) -> bytes:
        return self.await_output(lambda output: text.encode() in output)

    def await_end(self) -> int:
        """The exit status; its output is read meanwhile."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            self.read()
            assert time.monotonic() < deadline, self.output
        self.read(0)
        return self.process.returncode

    def errors(self) -> bytes:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
        for descriptor in (self.master, self.slave):
            if descriptor >= 0:
                os.close(descriptor)
