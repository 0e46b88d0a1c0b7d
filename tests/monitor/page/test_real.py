"""The page beside a real scheduler with real workers, over rings and over the wire: what it shows is what was done."""

import csv
import io
import json
import re
import time
from collections.abc import Iterator

import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.config.option import options_of
from scaler.config.table import SchedulerConfig
from tests.elsewhere import RemoteCluster
from tests.monitor.page.page import Page
from tests.processes import wait_until

_MONITOR = next(each for each in options_of(SchedulerConfig) if each.name == "monitor_address")
pytestmark = pytest.mark.skipif(_MONITOR.is_idle, reason="NOT TESTED: the scheduler publishes nothing yet")
CALLS, CHUNKED, FAILING = 300, 2000, 7


def double(x):
    return 2 * x


def fail(x):
    raise ValueError(f"<b>no {x}</b>")


def hold(seconds):
    time.sleep(seconds)
    return seconds


@pytest.fixture(params=["rings", "wire"])
def page_and_client(request, tmp_path) -> Iterator[tuple[Page, Client]]:
    monitor = f"ipc://{tmp_path}/monitor"
    cluster = (
        SchedulerClusterCombo(2, monitor_address=monitor)
        if request.param == "rings"
        else RemoteCluster(2, monitor_address=monitor)
    )
    with cluster, Client(cluster.get_address(), timeout_seconds=20) as client, Page(monitor) as page:
        yield page, client


def rows(page: Page, view: str, **arguments: object) -> list[dict[str, str]]:
    query = "&".join(f"{name}={value}" for name, value in arguments.items())
    return list(csv.DictReader(io.StringIO(page.get(f"download/{view}.csv?{query}").text)))


def total(page: Page) -> dict[str, float]:
    text = page.get("metrics").text
    return {
        key: float(value) for key, value in re.findall(r'^(scaler_tasks\w*(?:\{state="\w+"\})?) (\S+)$', text, re.M)
    }


def test_what_is_shown_is_what_was_done(page_and_client):
    page, client = page_and_client
    futures = [client.submit(double, i) for i in range(CALLS)]
    assert client.map(double, [(i,) for i in range(CHUNKED)]) == [2 * i for i in range(CHUNKED)]
    failed = [client.submit(fail, i) for i in range(FAILING)]
    assert [future.result() for future in futures] == [2 * i for i in range(CALLS)]
    assert all(isinstance(future.exception(), ValueError) for future in failed)
    submitted = CALLS + CHUNKED + FAILING
    wait_until(lambda: total(page).get('scaler_tasks_total{state="succeeded"}') == CALLS + CHUNKED)
    counts = total(page)
    assert counts["scaler_tasks_submitted_total"] == submitted
    assert counts['scaler_tasks_total{state="failed"}'] == FAILING
    assert sum(value for name, value in counts.items() if name.startswith("scaler_tasks{")) == 0

    def by_function() -> dict[str, dict[str, str]]:
        return {row["name"].rpartition(".")[2]: row for row in rows(page, "functions")}

    wait_until(lambda: "fail" in by_function() and by_function()["fail"]["failed"] == str(FAILING))
    wait_until(lambda: by_function()["double"]["succeeded"] == str(CALLS + CHUNKED))
    wait_until(lambda: rows(page, "failures") != [])
    (group,) = rows(page, "failures")
    assert "ValueError" in group["exception"]
    assert "in fail" in group["place"]
    wait_until(lambda: len(rows(page, "tasks", function="fail", outcome="failed")) == FAILING)
    workers = {row["name"] for row in rows(page, "workers")}
    assert len(workers) == 2
    assert {row["worker"] for row in rows(page, "tasks", most=1000)} <= workers
    wait_until(lambda: sum(int(row["succeeded"]) for row in rows(page, "workers")) == CALLS + CHUNKED)


def test_a_trace_of_what_was_done_can_be_downloaded(page_and_client):
    page, client = page_and_client
    for future in [client.submit(double, i) for i in range(CALLS)]:
        future.result()
    wait_until(lambda: len(rows(page, "tasks", most=1000)) == CALLS)
    answer = page.get("download/trace.json")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="scaler-trace.json"'
    tasks = [each for each in json.loads(answer.text)["traceEvents"] if each["ph"] == "X"]
    assert [each["name"].rpartition(".")[2] for each in tasks] == ["double"] * CALLS
    assert len({each["tid"] for each in tasks}) == 2
    assert page.get("download/trace.pftrace").status == 200


def test_what_runs_is_shown_while_it_runs(page_and_client):
    page, client = page_and_client
    future = client.submit(hold, 6)

    def running() -> list[dict[str, str]]:
        return [row for row in rows(page, "workers") if row["function"].endswith("hold")]

    wait_until(lambda: running() != [])
    stream = json.loads(page.get("download/stream.json?span=20").text)
    assert [each["task"] for each in stream["running"]] == [running()[0]["task"]]
    assert future.result() == 6
    wait_until(lambda: running() == [])
