"""A cluster that grows and shrinks with its work: real workers, over rings and over the wire."""

import time
from collections.abc import Iterator

import pytest

from scaler import Client
from tests.e2e import calls
from tests.effort import rounds
from tests.entry_points.commands import Command, run, scheduler_alone
from tests.processes import tree, wait_until, workers_of

ELASTIC = ("--min", "1", "--max", "3", "--backlog-seconds", "0.2")


@pytest.fixture(params=["rings", "wire"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    with scheduler_alone(request.param) as address:
        yield address


def wave(client: Client) -> None:
    """Three seconds of work for one worker."""
    assert client.map(calls.sleep_and_count, [(i, 0.05) for i in range(60)]) == list(range(60))


def test_waves_of_work_find_all_workers_and_without_work_the_least_is_left(address: str) -> None:
    pause_s, idle_s = (5.0, 8.0) if rounds(1) > 1 else (0.4, 4.0)
    with Command("scaler_cluster", address, *ELASTIC, "--idle-seconds", str(idle_s)) as cluster:
        assert cluster.await_line(r"cluster is ready: (\d+) workers") == "1"
        with Client(address, timeout_seconds=20) as client:
            wave(client)
            cluster.await_line("cluster grows by [12] to 3 workers: ")
            for _ in range(10):
                wave(client)
                time.sleep(pause_s)
            assert "shrinks" not in cluster.out
            wait_until(lambda: len(workers_of(cluster.process.pid)) == 1, timeout_s=30 + idle_s)
            assert "grows" not in cluster.out.partition("shrinks")[2]
            assert client.submit(calls.add_one, 1).result(20) == 2
        assert cluster.stop() == 0
        assert cluster.err == ""


def test_the_first_task_starts_the_first_worker_where_none_need_be(address: str) -> None:
    with Command("scaler_cluster", address, "--min", "0", "--max", "2") as cluster:
        cluster.await_line("cluster is ready: 0 workers")
        with Client(address, timeout_seconds=20) as client:
            assert client.submit(calls.add_one, 1).result(20) == 2
        assert cluster.stop() == 0


def test_a_dry_run_says_what_it_would_do_and_does_not(address: str) -> None:
    with Command("scaler_cluster", address, *ELASTIC, "--dry-run") as cluster:
        cluster.await_line("cluster is ready")
        with Client(address, timeout_seconds=20) as client:
            wave(client)
        cluster.await_line("dry run: cluster would grow by [12]: ")
        assert len(workers_of(cluster.process.pid)) == 1
        assert cluster.stop() == 0


def test_a_cluster_on_which_nothing_runs_ends_by_itself(address: str) -> None:
    with Command("scaler_cluster", address, "-n", "2", "--end-idle-seconds", "1") as cluster:
        cluster.await_line("cluster is ready")
        processes = tree(cluster.process.pid)
        with Client(address, timeout_seconds=20) as client:
            assert client.submit(calls.sleep_for, 3).result(20) == 3
        assert cluster.await_end(processes) == 0
        assert "nothing has run here for 1 s" in cluster.out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--min", "2"], "say --max, too"),
        (["--dry-run"], "say --max, too"),
        (["--min", "3", "--max", "2"], "--max 2 is less than --min 3"),
        (["--max", "2", "-n", "2"], "say either that, or --min and --max"),
        (["--max", "2", "-wn", "a,b,c"], "3 worker names for --max 2"),
    ],
)
def test_bounds_that_cannot_be_are_named(arguments: list[str], why: str) -> None:
    ended = run("scaler_cluster", "tcp://127.0.0.1:9", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert why in ended.stderr
