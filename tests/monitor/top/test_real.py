"""scaler_top beside a real scheduler with real workers, over rings and over the wire: it shows what was done."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.config.option import options_of
from scaler.config.table import SchedulerConfig
from tests.elsewhere import RemoteCluster
from tests.entry_points.commands import run
from tests.monitor.top.pty_terminal import PtyTerminal
from tests.processes import wait_until

_MONITOR = next(each for each in options_of(SchedulerConfig) if each.name == "monitor_address")
pytestmark = pytest.mark.skipif(_MONITOR.is_idle, reason="NOT TESTED: the scheduler publishes nothing yet")
CALLS, CHUNKED, FAILING = 300, 2000, 7


def double(x):
    return 2 * x


def fail(x):
    raise ValueError(x)


def hold(seconds):
    time.sleep(seconds)


@pytest.fixture(params=["rings", "wire"])
def monitor_and_client(request, tmp_path) -> Iterator[tuple[str, Client]]:
    monitor = f"ipc://{tmp_path}/monitor"
    kind = SchedulerClusterCombo if request.param == "rings" else RemoteCluster
    with kind(2, monitor_address=monitor) as cluster, Client(cluster.get_address(), timeout_seconds=20) as client:
        yield monitor, client


def document(monitor: str) -> dict[str, Any]:
    made = run("scaler_top", "--once", "--json", monitor)
    assert (made.returncode, made.stderr) == (0, "")
    shown: dict[str, Any] = json.loads(made.stdout)
    return shown


def test_a_trace_has_each_task_that_was_done(monitor_and_client, tmp_path):
    monitor, client = monitor_and_client
    assert [future.result() for future in [client.submit(double, i) for i in range(CALLS)]] == list(
        range(0, 2 * CALLS, 2)
    )
    traced = str(tmp_path / "trace.json")
    made = run("scaler_top", "--trace", traced, monitor)
    with open(traced) as file:
        tasks = [each for each in json.load(file)["traceEvents"] if each["ph"] == "X"]
    assert made.returncode == 0
    assert made.stdout.startswith(f"{len(tasks)} tasks are in {traced}")
    if made.stderr:  # its memory is not this host's: there is what it has said since
        assert "only what the scheduler publishes is in the trace" in made.stderr
    else:
        assert [each["name"].rpartition(".")[2] for each in tasks] == ["double"] * CALLS


def test_its_counts_are_those_of_what_was_done(monitor_and_client, tmp_path):
    monitor, client = monitor_and_client
    futures = [client.submit(double, i) for i in range(CALLS)]
    client.map(double, [(i,) for i in range(CHUNKED)])
    failed = [client.submit(fail, i) for i in range(FAILING)]
    assert [future.result() for future in futures] == [2 * i for i in range(CALLS)]
    assert all(isinstance(future.exception(), ValueError) for future in failed)
    counts = document(monitor)["summary"]["counts"]
    assert (counts["succeeded"], counts["failed"]) == (CALLS + CHUNKED, FAILING)
    assert counts["submitted"] == CALLS + CHUNKED + FAILING
    with PtyTerminal(tmp_path, monitor) as terminal:
        terminal.await_text(f"{CALLS + CHUNKED:,}")
        terminal.write(b"4")
        terminal.await_text("ValueError")
        terminal.write(b"q")
        assert terminal.await_end() == 0


def test_what_runs_is_shown_while_it_runs(monitor_and_client):
    monitor, client = monitor_and_client
    future = client.submit(hold, 8)

    def running() -> list[dict[str, Any]]:
        shown = document(monitor)
        names = {row["number"]: row["name"] for row in shown["functions"]}
        return [row for row in shown["workers"] if names.get(row["function"], "").endswith("hold")]

    wait_until(lambda: running() != [])
    assert running()[0]["task"] == f"{future.task_id:016x}"
    future.result()
