"""Player: this side of the process in which one engine plays (play.py), and what the engine started below it.

Who takes CPU while doing nothing is stopped (SIGSTOP, the whole tree) while it is not its turn. What is stopped cannot
see that we have been killed. Therefore a player leads a process group of our session: when we have gone, the kernel
finds that group orphaned and has its stopped members go on, after a SIGHUP, which they ignore; they find their pipe
closed.

Rule 1: whatever goes wrong with a player is a PlayerError in words for the table, and no reason to stop the others.
Rule 2: what is left of a tree some seconds after its player was asked to end is killed, and that is said.
Not here: when it is whose turn (match), where each is installed (environments).
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from perf.peers.environments import ROOT

READY_TIMEOUT_S = 120
TURN_TIMEOUT_S = 180
END_TIMEOUT_S = 30


class PlayerError(Exception):
    """Why this one does not play (any more)."""


class Player:
    """Plays the engine in `module`, in our environment or that of another interpreter.

    `folder`, which it makes, is its home and temporary folder. If it `stops`, it does so while it is not its turn.
    """

    def __init__(self, module: str, folder: Path, python: Path | None = None, stops: bool = False) -> None:
        self._stops, self._stopped = stops, list[psutil.Process]()
        self._unread = b""
        self._log = folder / "log"
        folder.mkdir()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python or sys.executable, "-m", "perf.peers.play", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                env=_environment(folder, is_ours=python is None),
                process_group=0,
            )
        try:
            self.how: dict[str, str] = self._answer(READY_TIMEOUT_S)["how"]
        except BaseException:
            self.close()
            raise
        self._stop()

    def play(self, turn: str, **sizes: int) -> float:
        """The seconds that this turn took."""
        self._go_on()
        try:
            self._write(json.dumps({"turn": turn, "sizes": sizes}).encode() + b"\n")
            seconds: float = self._answer(TURN_TIMEOUT_S)["seconds"]
        finally:
            self._stop()
        return seconds

    def close(self) -> None:
        """Ask it to end; returns when no process of it is left. Idempotent."""
        self._go_on()
        tree = self._tree()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()
        _, left = psutil.wait_procs(tree, END_TIMEOUT_S)
        for process in left:
            print(f"left behind, and killed: {_command(process)}", file=sys.stderr, flush=True)
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._process.wait(END_TIMEOUT_S)

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except OSError:
            raise PlayerError(f"ended: {self._last_words()}") from None

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise PlayerError(f"no answer within {timeout_s} s")
            data = os.read(descriptor, 65536)
            if not data:
                raise PlayerError(f"ended: {self._last_words()}")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise PlayerError(answer["failed"])
        return answer

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "without a word")

    def _stop(self) -> None:
        if self._stops and not self._stopped:
            self._stopped = self._tree()
            for process in self._stopped:
                with contextlib.suppress(psutil.Error):
                    process.send_signal(signal.SIGSTOP)

    def _go_on(self) -> None:
        """The other way round, so that nobody waits for one that is still stopped."""
        while self._stopped:
            with contextlib.suppress(psutil.Error):
                self._stopped.pop().send_signal(signal.SIGCONT)

    def _tree(self) -> list[psutil.Process]:
        """The player before those that it started."""
        try:
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def _environment(folder: Path, is_ours: bool) -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "RAY_", "DASK_"))}
    variables |= {"HOME": str(folder), "TMPDIR": str(folder)}
    return variables | ({"PYTHONPATH": str(ROOT)} if is_ours else {})


def _command(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())[:200]
    return str(process.pid)
