"""What a busy cluster says about itself, over rings and over the wire: counts, processes, failures, explanations."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.client.explain import _monitor_of
from scaler.monitor.report import (
    WORKER_RUNS,
    Clients,
    Counts,
    Failures,
    Functions,
    Hosts,
    Summary,
    Workers,
    task_topic,
)
from scaler.monitor.subscriber import Subscriber
from scaler.monitor.trace import from_scheduler, write
from tests.conftest import Cluster, make_cluster
from tests.processes import wait_until


def square(x: int) -> int:
    return x * x


def fail_on_odd(x: int) -> int:
    if x % 2:
        raise ValueError("odd")
    return x


def nap(seconds: float) -> None:
    time.sleep(seconds)


def fib(client: Client, n: int) -> int:
    if n < 2:
        return n
    one, other = client.submit(fib, client, n - 1), client.submit(fib, client, n - 2)
    return int(one.result() + other.result())


def own_pid() -> int:
    return os.getpid()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Look:
    """A viewer of the scheduler that a client has."""

    def __init__(self, client: Client) -> None:
        self.viewer = Subscriber(_monitor_of(client._address, 10, client._keys), ())

    def at(self, kind: Any) -> Any:
        """What is said of a topic from now on."""
        self.viewer.subscribe([])
        while self.viewer.read(0) is not None:
            pass
        self.viewer.subscribe([kind.topic])
        while True:
            report = self.viewer.read(10)
            assert report is not None, self.viewer.last_problem
            if type(report.body) is kind:
                return report.body


@pytest.fixture(scope="module", params=["rings", "wire"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Not the one of all tests: whose workers may be retired, or replaced, while they are counted here."""
    with make_cluster(request.param) as made:
        yield made


@pytest.fixture
def look(client: Client) -> Any:
    made = Look(client)
    yield made
    made.viewer.close()


def check_sum(counts: Counts) -> None:
    assert counts.submitted == (
        counts.waiting + counts.ready + counts.held_back + counts.placed + counts.lent + counts.doomed
        + counts.succeeded + counts.failed + counts.cancelled
    )  # fmt: skip


def row_of(table: Any, **wanted: Any) -> dict[str, Any]:
    found = [row for row in table.rows() if all(row[name] == value for name, value in wanted.items())]
    assert len(found) == 1, found
    return dict(found[0])


def my_row(look: Look, client: Client) -> dict[str, Any]:
    return row_of(look.at(Clients), name=client.identity.hex()[:8])


def test_counts_are_exact_in_calls_and_agree_in_all_tables(client: Client, look: Look) -> None:
    before = look.at(Summary).counts
    check_sum(before)
    client.map(square, [(x,) for x in range(20_000)])
    for future in [client.submit(square, x) for x in range(500)]:
        future.result()
    assert client.map_each(fail_on_odd, range(1000), return_exceptions=True)[0] == 0
    after = look.at(Summary).counts
    check_sum(after)
    assert after.submitted - before.submitted == 21_500
    assert after.succeeded - before.succeeded == 21_000
    assert after.failed - before.failed == 500
    mine = my_row(look, client)
    assert (mine["submitted"], mine["succeeded"], mine["failed"], mine["placed"]) == (21_500, 21_000, 500, 0)
    functions = look.at(Functions)
    mine = row_of(functions, name=f"{__name__}.fail_on_odd", is_gone=0)
    assert (mine["submitted"], mine["succeeded"], mine["failed"]) == (1000, 500, 500)
    assert sum(functions.submitted) == after.submitted
    for histograms in (functions.durations, functions.queued):
        assert sum(sum(histograms[row].values()) for row in range(len(functions))) <= after.succeeded + after.failed
    workers = look.at(Workers)
    assert len(workers) == 2
    assert sum(workers.succeeded) + sum(workers.failed) >= 21_500


def test_a_cancelled_call_counts_as_that(client: Client, look: Look) -> None:
    futures = [client.submit(nap, 30) for _ in range(6)]
    wait_until(lambda: my_row(look, client)["placed"] >= 2)
    for future in futures:
        future.cancel()
    wait_until(lambda: my_row(look, client)["cancelled"] == 6)
    check_sum(look.at(Summary).counts)


def test_a_worker_says_what_it_runs_and_since_when_and_what_its_process_takes(client: Client, look: Look) -> None:
    pid = client.submit(own_pid).result()
    futures = [client.submit(nap, 60) for _ in range(2)]  # cancelled below
    wait_until(lambda: list(look.at(Workers).state) == [WORKER_RUNS] * 2)
    workers = look.at(Workers)
    assert set(workers.task) == {future.task_id for future in futures}
    assert pid in workers.pid
    assert all(name for name in workers.name)
    wait_until(lambda: all(rss > 1 << 20 for rss in look.at(Workers).rss_bytes), 20)
    host = next(row for row in look.at(Hosts).rows() if row["workers"] == 2)
    assert host["memory_total_bytes"] > host["memory_free_bytes"] > 0
    assert host["agent_rss_bytes"] > 1 << 20
    assert host["cores"] >= 1
    for future in futures:
        future.cancel()


def test_calls_run_in_place_are_counted_besides(client: Client, look: Look) -> None:
    before = look.at(Summary).counts
    assert client.submit(fib, client, 10).result() == 55
    wait_until(lambda: look.at(Summary).counts.in_place > before.in_place, 20)
    after = look.at(Summary).counts
    check_sum(after)
    in_place, submitted = after.in_place - before.in_place, after.submitted - before.submitted
    assert in_place <= 176
    assert in_place + submitted >= 177  # what was lent by the scheduler is in both


def test_failures_are_grouped_and_carry_their_traceback(client: Client, look: Look) -> None:
    for _ in range(3):
        with pytest.raises(ValueError, match="odd"):
            client.submit(fail_on_odd, 1).result()
    number = row_of(look.at(Functions), name=f"{__name__}.fail_on_odd", is_gone=0)["number"]
    failures = look.at(Failures)
    group = next(row for row in failures.rows() if row["function"] == number and row["exception"] == "ValueError")
    assert group["count"] >= 3
    assert group["message"] == "odd"
    assert group["place"].endswith("in fail_on_odd")
    assert "test_monitoring.py" in group["place"]
    assert 'raise ValueError("odd")' in group["traceback"]


def test_explain_says_where_a_future_stands(client: Client) -> None:
    futures = [client.submit(nap, 60) for _ in range(4)]  # cancelled below
    wait_until(lambda: client.explain(futures[0]).state == "placed")
    said = client.explain(futures[0])
    assert said.sentence.startswith("runs on worker ")
    assert said.function == f"{__name__}.nap"
    assert str(said) == f"{__name__}.nap ({futures[0].task_id:#x}) {said.sentence}"
    said = client.explain(futures[-1])
    assert said.state in ("ready", "placed")
    assert said.facts["ahead"] >= 1
    waits = client.submit(square, futures[0])
    wait_until(lambda: client.explain(waits).state in ("waiting", "ready", "placed"))
    if (said := client.explain(waits)).state == "waiting":
        assert said.waits_for == (futures[0].task_id,)
    for future in futures:
        future.cancel()
    assert client.explain(futures[0]).state == "done"


def test_the_answer_to_a_question_is_there_for_any_viewer(client: Client) -> None:
    future = client.submit(square, 3)
    future.result()
    with Subscriber(_monitor_of(client._address, 10, client._keys), [task_topic("task", future.task_id)]) as viewer:
        body: Any = viewer.read_first(10).body
    assert body.state == "unknown"
    assert body.sentence.startswith("has ended: succeeded ")


def test_a_worker_that_dies_is_counted_by_reason() -> None:
    with SchedulerClusterCombo(1) as combo, Client(combo.get_address()) as client:
        look = Look(client)
        with pytest.raises(Exception, match="SIGKILL"):
            client.options(retries=1).submit(die).result()
        counts = look.at(Summary).counts
        check_sum(counts)
        assert (counts.failed, counts.retried) == (1, 1)
        failures = look.at(Failures)
        assert failures.exception == ["scaler.exceptions.ProcessorDiedError"]
        wait_until(lambda: look.at(Summary).restarts.as_dict().get("SIGKILL", 0) >= 2, 20)
        look.viewer.close()


def test_a_trace_of_a_running_scheduler_has_every_task_once(tmp_path: Path) -> None:
    with SchedulerClusterCombo(2) as combo, Client(combo.get_address()) as client:
        for future in [client.submit(square, x) for x in range(5000)]:
            future.result()
        where = _monitor_of(client._address, 10, client._keys)
        recorded = from_scheduler(where)
        assert write(recorded, tmp_path / "trace.pftrace") == 5000
        assert recorded.lost == 0
        assert set(recorded.functions.values()) >= {f"{__name__}.square"}
        assert len(recorded.workers) == 2
        assert write(recorded, tmp_path / "trace.json") == 5000
        with open(tmp_path / "trace.json") as file:
            assert sum(event["ph"] == "X" for event in json.load(file)["traceEvents"]) == 5000
