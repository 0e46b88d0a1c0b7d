"""A cluster that drains: what runs ends, what has not begun goes elsewhere, nothing is lost and nothing runs twice."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from scaler import Client
from scaler.exceptions import ProcessorDiedError
from tests.e2e import calls
from tests.entry_points.commands import Command, scheduler_alone
from tests.processes import assert_gone, tree, wait_until

READY = r"cluster is ready: (\d+) workers"


class Stage:
    """A scheduler, a client without retries, and clusters that are started and ended one by one."""

    def __init__(self, address: str, stack: ExitStack) -> None:
        self.address, self._stack = address, stack
        self.client = stack.enter_context(Client(address, timeout_seconds=20))
        self.once = self.client.options(retries=0)

    def cluster(self, n_workers: int, *arguments: str) -> Command:
        command = Command("scaler_cluster", self.address, "-n", str(n_workers), *arguments)
        self._stack.enter_context(command)
        command.await_line(READY)
        return command


@pytest.fixture(params=["rings", "wire"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with scheduler_alone(request.param) as address, ExitStack() as stack:
        yield Stage(address, stack)


def count(path: Path) -> int:
    return len(path.read_text().split()) if path.exists() else 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_under_load_no_task_is_run_twice_and_none_is_lost(stage: Stage, tmp_path: Path, number: int) -> None:
    path = tmp_path / "marks"
    leaving, staying = stage.cluster(2), stage.cluster(1)
    slow = [stage.once.submit(calls.note_slowly, str(path), i, 0.02) for i in range(300)]
    quick = [stage.once.submit(calls.note, str(path), i) for i in range(300, 2000)]
    wait_until(lambda: count(path) > 20)
    assert leaving.stop(number) == 0
    assert leaving.err == ""
    assert [future.result(60) for future in (*slow, *quick)] == list(range(2000))
    assert sorted(map(int, path.read_text().split())) == list(range(2000))
    assert staying.stop() == 0


def test_what_runs_may_take_as_long_as_it_does_after_sigusr1(stage: Stage, tmp_path: Path) -> None:
    mark, gate = tmp_path / "mark", tmp_path / "gate"
    cluster = stage.cluster(1, "--drain-seconds", "0")
    future = stage.once.submit(calls.mark_and_wait, str(mark), str(gate))
    wait_until(mark.exists)
    processes = tree(cluster.process.pid)
    cluster.process.send_signal(signal.SIGUSR1)
    cluster.await_line("cluster drains")
    later = stage.once.submit(calls.add_one, 1)
    time.sleep(0.3)
    assert not later.done()
    assert cluster.process.poll() is None
    gate.touch()
    assert future.result(20) == str(gate)
    assert cluster.await_end(processes) == 0
    other = stage.cluster(1)
    assert later.result(20) == 2
    assert other.stop() == 0


def test_what_outlasts_the_grace_is_run_again_however_often_that_happens(stage: Stage, tmp_path: Path) -> None:
    mark, gate = tmp_path / "mark", tmp_path / "gate"
    future = stage.client.submit(calls.mark_and_wait, str(mark), str(gate))
    for run in range(6):  # more often than a task may be the death of its worker
        cluster = stage.cluster(1, "--drain-seconds", "0.1")
        wait_until(lambda run=run: count(mark) == run + 1)  # type: ignore[misc]
        assert cluster.stop() == 0
        assert "1 workers still run tasks after 0.1 s" in cluster.out
    gate.touch()
    last = stage.cluster(1)
    assert future.result(20) == str(gate)
    assert last.stop() == 0


def test_what_may_not_be_run_twice_is_not_and_says_so(stage: Stage, tmp_path: Path) -> None:
    mark, gate = tmp_path / "mark", tmp_path / "gate"
    future = stage.once.submit(calls.mark_and_wait, str(mark), str(gate))
    cluster = stage.cluster(1, "--drain-seconds", "0.1")
    wait_until(mark.exists)
    assert cluster.stop() == 0
    with pytest.raises(ProcessorDiedError, match="had been told to go"):
        future.result(20)
    assert count(mark) == 1


def test_a_large_result_outlives_the_host_on_which_it_was_made(stage: Stage) -> None:
    cluster = stage.cluster(1)
    inner = [stage.once.submit(calls.big, 20 << 20) for _ in range(3)]
    sizes = [stage.once.submit(len, future) for future in inner]
    assert sizes[0].result(20) == 20 << 20
    assert cluster.stop() == 0
    other = stage.cluster(1)
    again = [stage.once.submit(len, future) for future in inner]
    assert [future.result(30) for future in (*sizes, *again)] == [20 << 20] * 6
    assert other.stop() == 0


def test_a_signal_that_a_batch_system_sends_to_every_process_lets_what_runs_end(stage: Stage, tmp_path: Path) -> None:
    mark, gate = tmp_path / "mark", tmp_path / "gate"
    cluster = stage.cluster(2, "--drain-seconds", "30")
    future = stage.once.submit(calls.mark_and_wait, str(mark), str(gate))
    wait_until(mark.exists)
    processes = tree(cluster.process.pid)
    for process in reversed(processes):
        process.send_signal(signal.SIGTERM)
    cluster.await_line("cluster drains")
    gate.touch()
    assert future.result(20) == str(gate)
    assert cluster.await_end(processes) == 0


def test_ctrl_c_ends_a_drain_at_once(stage: Stage, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    cluster = stage.cluster(1)
    future = stage.client.submit(calls.mark_and_wait, str(mark), str(tmp_path / "gate"))
    wait_until(mark.exists)
    cluster.process.send_signal(signal.SIGUSR1)
    cluster.await_line("cluster drains")
    assert cluster.stop(signal.SIGINT) == 0
    assert not future.done()
    (tmp_path / "gate").touch()


def test_a_cluster_that_waits_for_its_scheduler_drains_at_once() -> None:
    with Command("scaler_cluster", "tcp://127.0.0.1:9", "-n", "1") as cluster:
        cluster.await_line("cluster of 1 workers")
        processes = tree(cluster.process.pid)
        cluster.process.send_signal(signal.SIGUSR1)
        assert cluster.process.wait(20) == 0
        assert_gone(processes)
