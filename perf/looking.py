"""What a client sees of its tasks: how soon it has the stack of a running one, and how much of what they write."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from perf.command import Rows, main
from perf.links import open_client, open_cluster
from perf.report import Figure, of_rounds
from scaler import Client

LOOKS = 30
WRITERS = 8
LINES = 12_500  # of each writer in a second
SECONDS = 4
_STATED = re.compile(r"\(scaler: (\d+) lines are left out here")


def sleep_in(path: str) -> None:
    Path(path).touch()
    time.sleep(60)


def loop_in(path: str) -> int:
    Path(path).touch()
    count = 0
    while True:
        count += 1


def compute_in_c(path: str) -> int:
    Path(path).touch()
    return sum(range(10**12))


def stack(links: tuple[str, ...]) -> list[Figure]:
    """client.stack(future) of a task that runs: from the call until the text is there"""
    figures = []
    ways: tuple[tuple[str, Callable[[str], Any]], ...] = (
        ("a sleep", sleep_in),
        ("a loop", loop_in),
        ("C code that holds the lock", compute_in_c),
    )
    for link in links:
        for what, function in ways:
            with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
                client = open_client(stack, link)
                path = os.path.join(folder, "begun")
                future = client.submit(function, path)
                while not os.path.exists(path):
                    time.sleep(0.01)
                times = []
                for _ in range(LOOKS):
                    start = time.perf_counter()
                    text = client.stack(future)
                    times.append(time.perf_counter() - start)
                    assert f"in {function.__name__}" in text, text
                future.cancel()
            figures.append(of_rounds(f"{link}: in {what}", times, "s", 1.0, at_most=True))
    return figures


def write_lines(number: int) -> int:
    """LINES in each second, SECONDS long."""
    begin = time.monotonic()
    for second in range(SECONDS):
        for part in range(10):
            first = second * LINES + part * LINES // 10
            sys.stdout.write("".join(f"{number}:{line}\n" for line in range(first, first + LINES // 10)))
            time.sleep(max(0.0, begin + second + (part + 1) / 10 - time.monotonic()))
    return number


def read_lines(address: str) -> None:
    """The program that wants to see them; it writes to a file, as to a terminal that is read."""
    with Client(address, stream_output=True) as client:
        futures = [client.submit(write_lines, number) for number in range(WRITERS)]
        assert [future.result() for future in futures] == list(range(WRITERS))


def output(links: tuple[str, ...]) -> list[Figure]:
    """8 workers write 100,000 lines a second for 4 s: what the program reads, and what it is told it does not get"""
    figures = []
    for link in links:
        with open_cluster(link, WRITERS) as cluster, tempfile.TemporaryFile("w+") as file:
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "perf.looking", cluster.get_address()], stderr=file, check=True)
            seconds = time.perf_counter() - start
            file.seek(0)
            lines = file.read().splitlines()
        read = [line for line in lines if re.fullmatch(r"\(write_lines \S+ \S+\) \d+:\d+", line)]
        stated = sum(int(found[1]) for found in map(_STATED.match, lines) if found)
        torn = len(lines) - len(read) - sum(line.startswith("(scaler: ") for line in lines)
        written = WRITERS * LINES * SECONDS
        figures.append(Figure(f"{link}: lines read a second", len(read) / seconds, "/s"))
        figures.append(Figure(f"{link}: torn lines", torn, "", target=0, at_most=True))
        lost = written - len(read) - stated
        figures.append(Figure(f"{link}: lines neither read nor stated, of {written}", lost, "", target=0, at_most=True))
    return figures


ROWS: Rows = {"stack": stack, "output": output}

if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].startswith(("tcp:", "ipc:")):
        read_lines(sys.argv[1])
    else:
        main("perf.looking", ROWS)
