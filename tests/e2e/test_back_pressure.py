"""Who does not read is not computed for without end, small results or large; others are served meanwhile.

How much was computed is counted by what the tasks themselves have left in a file, so nothing here depends on memory.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import psutil
import pytest

from scaler import Client
from scaler.client import objects
from scaler.exceptions import NoWorkerError
from tests.conftest import Cluster, make_cluster
from tests.e2e import calls
from tests.processes import tree, wait_until

PROGRAM = """
import sys
from scaler import Client
from scaler.client import objects
from tests.e2e.calls import note_big
address, log, tasks, n_bytes = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with Client(address, timeout_seconds=60) as client:
    futures = [client.submit(note_big, log, number, n_bytes, 0.0) for number in range(tasks)]
    print("submitted", flush=True)
    sys.stdin.readline()
    print(sum(len(future.result(60)) == n_bytes for future in futures), flush=True)
"""
SETTLED_S = 1.0
QUEUE_BYTES = 20_000_000


@pytest.fixture(params=["rings", "wire"])
def link(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stage(link: str) -> Iterator[Cluster]:
    with make_cluster(link) as made:
        yield made


def runs(log: Path) -> int:
    return log.read_bytes().count(b"\n") // 2 if log.exists() else 0


def settled(count: Callable[[], int]) -> int:
    """What `count()` says once that does not change any more."""
    before, since_s = -1, time.monotonic()
    while time.monotonic() - since_s < SETTLED_S:
        if (now := count()) != before:
            before, since_s = now, time.monotonic()
        time.sleep(0.05)
    return before


@pytest.mark.parametrize(("tasks", "n_bytes", "most_bytes"), [(3000, 1_000_000, 1 << 30), (30_000, 20_000, 200 << 20)])
def test_a_stopped_client_is_not_computed_for_without_end(stage, tmp_path, tasks, n_bytes, most_bytes):
    log = tmp_path / "log"
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, stage.get_address(), str(log), str(tasks), str(n_bytes)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: runs(log) > 10)
        program.send_signal(signal.SIGSTOP)
        done = settled(lambda: runs(log))
        assert done * n_bytes < most_bytes
        assert done < tasks
        with Client(stage.get_address(), timeout_seconds=20) as other:
            assert other.map(calls.add_one, [(number,) for number in range(100)]) == list(range(1, 101))
        program.send_signal(signal.SIGCONT)
        out, _ = program.communicate("\n", timeout=60)
        assert out.split() == ["submitted", str(tasks)]
        assert runs(log) == tasks, "some ran twice"
    finally:
        program.kill()
        program.communicate()


def test_more_tasks_than_may_wait_are_turned_away(link, tmp_path):
    log, gate = tmp_path / "log", tmp_path / "gate"
    options = {"max_number_of_tasks_waiting": 5}
    with (
        make_cluster(link, **({"scheduler": options} if link == "wire" else options)) as cluster,
        Client(cluster.get_address(), timeout_seconds=20) as client,
    ):
        running = [client.submit(calls.note_and_wait, str(log), number, str(gate)) for number in range(2)]
        wait_until(lambda: log.exists() and log.read_bytes().count(b"\n") == 2)
        others = [client.submit(calls.add_one, number) for number in range(200)]
        wait_until(lambda: sum(future.done() for future in others) >= 100)
        assert {type(future.exception()) for future in others if future.done()} == {NoWorkerError}
        gate.touch()
        assert {type(future.exception(20)) for future in others} == {type(None), NoWorkerError}
        assert [future.result(20) for future in running] == [0, 1]
        assert client.submit(calls.add_one, 1).result(20) == 2


@pytest.mark.parametrize("n_bytes", [10_000, 1_000_000])
def test_who_submits_while_nobody_works_waits_and_no_memory_fills(link, monkeypatch, n_bytes):
    """What is large is bounded by the client, what is small by the scheduler."""
    monkeypatch.setattr(objects, "MOST_UNDER_WAY_BYTES", QUEUE_BYTES)
    options = {"client_queue_bytes": QUEUE_BYTES}
    with (
        make_cluster(link, **({"scheduler": options} if link == "wire" else options)) as cluster,
        Client(cluster.get_address(), timeout_seconds=60) as client,
    ):
        workers = {future.result(20)[1] for future in [client.submit(calls.length_and_process, b"") for _ in range(40)]}
        assert len(workers) == 2
        processes = tree(os.getpid())
        before = resident_bytes(processes)
        futures: deque[Future[int]] = deque()
        enough = threading.Event()
        submitting = threading.Thread(target=submit_without_end, args=(client, futures, n_bytes, enough))
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        try:
            submitting.start()
            count = settled(lambda: len(futures))
            grown = resident_bytes(processes) - before
        finally:
            enough.set()
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
        submitting.join(60)
        assert not submitting.is_alive()
        assert QUEUE_BYTES // 4 < count * n_bytes < 2 * QUEUE_BYTES
        assert grown < 8 * QUEUE_BYTES  # of the client, the scheduler and the supervisor together
        assert {future.result(60) for future in futures} == {n_bytes}


def submit_without_end(client: Client, futures: "deque[Future[int]]", n_bytes: int, enough: threading.Event) -> None:
    while not enough.is_set():
        futures.append(client.submit(len, random.randbytes(n_bytes)))


def resident_bytes(processes: list[psutil.Process]) -> int:
    return sum(process.memory_info().rss for process in processes)


def length_together(one: bytes, other: bytes) -> int:
    return len(one) + len(other)


def test_tasks_that_wait_for_a_result_that_stands_behind_them_in_the_ring_all_run(link):
    """They were sent while their input was open, and are more than the scheduler may have queued."""
    options = {"client_queue_bytes": 1 << 20}
    with (
        make_cluster(link, **({"scheduler": options} if link == "wire" else options)) as cluster,
        Client(cluster.get_address(), timeout_seconds=60) as client,
    ):
        for _ in range(3):
            quick = client.submit(calls.echo, b"quick")
            futures = [client.submit(length_together, quick, b"%06d" % number + bytes(30_000)) for number in range(200)]
            assert {future.result(30) for future in futures} == {30_011}
