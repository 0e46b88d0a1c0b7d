"""What Scaler takes while it does not compute: memory per waiting task, CPU when idle, time to come and go."""

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from perf.command import Rows, main
from perf.links import WORKERS, open_client, open_cluster
from perf.processes import cpu_seconds, descendants, own_bytes, rss_bytes
from perf.report import Figure, of_rounds
from perf.work import same, sleep_for
from scaler import Client, Cluster, Scheduler

IDLE_S = 5.0
ROUNDS = 5
FIRST = 100_000
MORE = 1_000_000
STARTING, STARTING_ROUNDS = 200, 2
SCHEDULERS = {"scaler.scheduler.process", "tests.elsewhere"}  # what the command line of one may name


def idle(links: tuple[str, ...]) -> list[Figure]:
    """CPU of a whole cluster with nothing to do: scheduler, supervisor, workers, and a connected client"""
    figures = []
    for link in links:
        with ExitStack() as stack:
            open_client(stack, link)
            time.sleep(0.5)
            processes = [os.getpid(), *descendants()]
            before = sum(cpu_seconds(pid) for pid in processes)
            time.sleep(IDLE_S)
            used = sum(cpu_seconds(pid) for pid in processes) - before
        what = f"{link}, {len(processes)} processes"
        figures.append(Figure(what, 100 * used / IDLE_S, "% of core", target=1.0, at_most=True))
    return figures


def coming_and_going(links: tuple[str, ...]) -> list[Figure]:
    """from nothing to a cluster that is ready, a client's coming and going, until no process is left"""
    figures = []
    for link in links:
        times: dict[str, list[float]] = {"ready": [], "stopped": [], "connected": [], "disconnected": []}
        for _ in range(ROUNDS):
            others = descendants()  # what other rows have started and Python keeps: a tracker of resources
            start = time.perf_counter()
            cluster = open_cluster(link)
            times["ready"].append(time.perf_counter() - start)
            start = time.perf_counter()
            client = Client(cluster.get_address())
            times["connected"].append(time.perf_counter() - start)
            client.submit(same, 1).result()
            client.submit(sleep_for, 0.5)  # nobody waits for it
            time.sleep(0.05)
            start = time.perf_counter()
            client.disconnect()
            times["disconnected"].append(time.perf_counter() - start)
            started = set(descendants()) - set(others)
            start = time.perf_counter()
            cluster.shutdown()
            psutil.wait_procs([psutil.Process(pid) for pid in started if psutil.pid_exists(pid)], timeout=10)
            times["stopped"].append(time.perf_counter() - start)
        for what, target in (("ready", 1.0), ("connected", 0.1), ("disconnected", 0.1), ("stopped", 1.0)):
            who = f"cluster of {WORKERS} workers" if target == 1.0 else "client"
            figures.append(of_rounds(f"{link}: {who} {what}", times[what], "s", target, at_most=True))
    return figures


def starting(links: tuple[str, ...]) -> list[Figure]:
    """CPU and memory of its own that each of 200 workers takes to start, forked from a template or started by exec"""
    figures = []
    for way in ("template", "exec"):
        cpu_ms, own_mb, ready_s = [], [], []
        for _ in range(STARTING_ROUNDS):
            with _without_template() if way == "exec" else nullcontext(), Scheduler() as scheduler:
                start = time.perf_counter()
                with Cluster(scheduler.get_address(), STARTING) as cluster:
                    ready_s.append(time.perf_counter() - start)
                    assert cluster.child is not None
                    supervisor = psutil.Process(cluster.child.pid)
                    pids = [child.pid for child in supervisor.children()]
                    has_template = len(pids) == STARTING + 1
                    if has_template != (way == "template"):
                        raise AssertionError(f"{len(pids)} processes of {STARTING} workers")
                    # What the supervisor does for it, and the template, count as well.
                    cpu_ms.append(sum(map(cpu_seconds, [supervisor.pid, *pids])) / STARTING * 1e3)
                    own_mb.append(statistics.median(map(own_bytes, pids)) / (1 << 20))
        for what, values, target in (("CPU", cpu_ms, 10.0), ("memory of its own", own_mb, 4.0)):
            unit = "ms" if what == "CPU" else "MiB"
            least = target if way == "template" else None
            figures.append(of_rounds(f"{way}: {what} of a worker's start", values, unit, least, at_most=True))
        figures.append(of_rounds(f"{way}: until {STARTING} workers have joined", ready_s, "s", at_most=True))
    return figures


@contextmanager
def _without_template() -> Iterator[None]:
    """Where something begins a thread in each process at its start, which keeps workers from being forked."""
    begin = "import sys, threading, time\nif 'scaler.worker.template' in sys.orig_argv:\n"
    begin += "    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    before = os.environ.get("PYTHONPATH")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sitecustomize.py").write_text(begin)
        os.environ["PYTHONPATH"] = folder if before is None else os.pathsep.join((folder, before))
        try:
            yield
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before


def waiting(links: tuple[str, ...]) -> list[Figure]:
    """what each f(int) adds that waits behind others: from 100,000 to 1,100,000 of them"""
    figures = []
    for link in links:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        # A process of its own, whose memory has not been used for anything else.
        child = multiprocessing.get_context("spawn").Process(target=_report_growth, args=(theirs, link))
        child.start()
        theirs.close()
        in_client, in_scheduler = ours.recv()
        child.join()
        figures.append(Figure(f"{link}: RSS of the client", in_client, "bytes", target=500, at_most=True))
        figures.append(Figure(f"{link}: RSS of the scheduler", in_scheduler, "bytes", target=200, at_most=True))
    return figures


def _report_growth(answer: Connection, link: str) -> None:
    with open_cluster(link, 1) as cluster, Client(cluster.get_address()) as client:
        client.submit(sleep_for, 60)  # the only worker is busy until it is killed at the end
        time.sleep(0.2)
        scheduler = next(pid for pid in descendants() if SCHEDULERS & set(psutil.Process(pid).cmdline()))
        futures = [client.submit(same, i) for i in range(FIRST)]
        client_before, scheduler_before = _settled(os.getpid()), _settled(scheduler)
        futures += [client.submit(same, i) for i in range(MORE)]
        client_after, scheduler_after = _settled(os.getpid()), _settled(scheduler)
        answer.send(((client_after - client_before) / MORE, (scheduler_after - scheduler_before) / MORE))


def _settled(pid: int) -> int:
    """RSS once it has stopped to change, since a scheduler may still be taking tasks in."""
    while True:
        before = rss_bytes(pid)
        time.sleep(0.3)
        if rss_bytes(pid) == before:
            return before


ROWS: Rows = {"idle": idle, "coming_and_going": coming_and_going, "starting": starting, "waiting": waiting}

if __name__ == "__main__":
    main("perf.footprint", ROWS)
