"""scaler_top: how soon it shows something, and what it takes and writes while it watches a large and busy cluster.

The cluster is a pretended one (tests/monitor/pretended.py): reports of so many workers and tasks on a real socket, from
a process of its own. The terminals are real: tmux, and a pty whose other end answers no question.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from perf.command import Rows, main
from perf.processes import cpu_seconds, rss_bytes
from perf.report import Figure, not_measured, of_rounds
from scaler.monitor.subscriber import Subscriber
from tests.monitor.top.pty_terminal import PtyTerminal
from tests.monitor.top.tmux import TOP, Tmux

WORKERS, RATE = 1000, 50_000
ROUNDS = 7
WATCHED_S = 15.0
SETTLED_S = 4.0
FIRST_ROW = "alpha-0000"
VIEWS = {"workers": b"1", "functions": b"2", "failures": b"4", "tasks": b"6"}


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """The monitor address of a pretended cluster."""
    address = f"ipc://{folder}/monitor"
    arguments = ["--address", address, "--workers", str(WORKERS), "--rate", str(RATE)]
    process = subprocess.Popen([sys.executable, "-m", "tests.monitor.pretended", *arguments])
    try:
        while not (folder / "monitor").exists():
            time.sleep(0.05)
        yield address
    finally:
        process.kill()
        process.wait()


def start(links: tuple[str, ...]) -> list[Figure]:
    """from the command until the first worker stands on the screen"""
    if shutil.which("tmux") is None:
        in_tmux = not_measured("in tmux", "there is no tmux")
    else:
        in_tmux = of_rounds("in tmux", [_start_in_tmux() for _ in range(ROUNDS)], "s", 0.5, at_most=True)
    silent = [_start_in_pty() for _ in range(ROUNDS)]
    return [
        in_tmux,
        of_rounds("on a pty that never answers", [seconds for seconds, _ in silent], "s", 0.5, at_most=True),
        of_rounds("of that, its own CPU", [cpu_s for _, cpu_s in silent], "s", at_most=True),
    ]


def _start_in_tmux() -> float:
    with _folder() as folder, cluster(folder) as address, Tmux(folder) as tmux:
        time.sleep(1)
        begin = time.perf_counter()
        tmux.enter(f"{TOP} {address}")
        tmux.await_text(FIRST_ROW)
        return time.perf_counter() - begin


def _start_in_pty() -> tuple[float, float]:
    """Seconds, and seconds of its CPU."""
    with _folder() as folder, cluster(folder) as address:
        time.sleep(1)
        begin = time.perf_counter()
        with PtyTerminal(folder, address) as terminal:
            terminal.await_text(FIRST_ROW)
            return time.perf_counter() - begin, cpu_seconds(terminal.process.pid)


def watching(links: tuple[str, ...]) -> list[Figure]:
    """1,000 workers, 50,000 tasks a second, a screen of 80x24: at one report a second"""
    figures = []
    with _folder() as folder, cluster(folder) as address, PtyTerminal(folder, address) as terminal:
        terminal.await_text(FIRST_ROW)
        pid = terminal.process.pid
        for view, key in VIEWS.items():
            terminal.write(key)
            terminal.read(SETTLED_S)
            used, written, number = cpu_seconds(pid), len(terminal.output), _report_number(address)
            terminal.read(WATCHED_S)
            reports = max(1, _report_number(address) - number)
            share = 100 * (cpu_seconds(pid) - used) / reports
            each = (len(terminal.output) - written) / reports
            figures.append(Figure(f"{view}: CPU", share, "% of core", target=3.0, at_most=True))
            figures.append(Figure(f"{view}: written", each / 1024, "KiB/s", target=10.0, at_most=True))
        figures.append(Figure("RSS", rss_bytes(pid) / (1 << 20), "MiB"))
    return figures


def _report_number(address: str) -> int:
    """Of the report that is made next: a pretended cluster on a busy machine makes fewer than one a second."""
    with Subscriber(address) as subscriber:
        subscriber.read_first(30)
        report = subscriber.read(30)
        assert report is not None
        return report.number


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Of a short name, since it is part of an address."""
    with tempfile.TemporaryDirectory(prefix="top-", dir=os.environ.get("TMPDIR", "/tmp")) as folder:
        yield Path(folder)


ROWS: Rows = {"start": start, "watching": watching}

if __name__ == "__main__":
    main("perf.top", ROWS)
