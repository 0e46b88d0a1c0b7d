"""Clusters as jobs of a real Slurm of two nodes: they work, and are cancelled, killed, requeued and over their time."""

import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e import calls
from tests.entry_points.commands import Command
from tests.launch.slurm_here import absent, slurm_here
from tests.launch.stage import LaunchStage
from tests.processes import wait_until

pytestmark = [
    pytest.mark.skipif(bool(absent()), reason=f"a real Slurm is needed: {absent()}"),
    pytest.mark.timeout(240),
]
# Each job has a /dev/shm of its own, so that it is another host.
ELSEWHERE = """unshare --mount -- sh -c 'mount -t tmpfs tmpfs /dev/shm && exec "$0" "$@"' scaler_cluster"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with slurm_here(tmp_path_factory.mktemp("slurm") / "here") as conf:
        yield conf


@pytest.fixture
def stage(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LaunchStage]:
    monkeypatch.setenv("SLURM_CONF", str(slurm))
    monkeypatch.setenv("PATH", f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}")
    with LaunchStage() as stage:
        yield stage
    wait_until(lambda: jobs() == [], timeout_s=60)
    assert clusters(stage) == []


def jobs() -> list[str]:
    said = subprocess.run(["squeue", "-h", "-r", "-o", "%i %T"], capture_output=True, text=True, check=True)
    return [line.split()[0] for line in said.stdout.splitlines()]


def clusters(stage: LaunchStage) -> list[psutil.Process]:
    """The launched clusters, by what stands in their command lines."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "--cluster-name" in words and words[-1] == stage.scheduler.address and "python" in words[0]:
            found.append(process)
    return found


def launch(stage: LaunchStage, hosts: str, folder: Path, *more: str) -> Command:
    return stage.launcher(
        "--launch", "slurm", "--hosts", hosts, "-n", "2", "--launch-folder", str(folder), "--most-queued", "8",
        "--launch-program", ELSEWHERE, "--launch-options=--cpus-per-task=2", "--drain-seconds", "2", *more,
    )  # fmt: skip


def count(path: Path) -> int:
    return len(path.read_text().split()) if path.exists() else 0


def test_an_array_of_clusters_joins_works_and_loses_nothing_whatever_befalls_it(
    stage: LaunchStage, tmp_path: Path
) -> None:
    launcher = launch(stage, "4:4", tmp_path)
    marks = tmp_path / "marks"
    futures = [stage.client.submit(calls.note_slowly, str(marks), i, 0.05) for i in range(1500)]
    wait_until(lambda: len(clusters(stage)) == 4, timeout_s=60)
    wait_until(lambda: count(marks) > 100, timeout_s=60)
    here = jobs()
    assert len(here) == 4
    subprocess.run(["scancel", *here[:2]], check=True)  # they drain
    wait_until(lambda: count(marks) > 300, timeout_s=60)
    for process in clusters(stage)[-1:]:  # a host whose processes are gone at a stroke
        for each in [*process.children(recursive=True), process]:
            each.kill()
    assert [future.result(120) for future in futures] == list(range(1500))
    ran = sorted(map(int, marks.read_text().split()))
    assert set(ran) == set(range(1500))
    assert len(ran) <= 1500 + 2  # what the killed host ran; what was cancelled ended in time
    assert launcher.stop() == 0
    wait_until(lambda: jobs() == [], timeout_s=60)


def test_hosts_come_with_the_work_and_end_when_there_is_none(stage: LaunchStage, tmp_path: Path) -> None:
    launcher = launch(stage, "0:2", tmp_path, "--idle-seconds", "3", "--backlog-seconds", "1")
    time.sleep(1)
    assert jobs() == []
    first_s = time.monotonic()
    assert stage.client.submit(calls.add_one, 1).result(60) == 2
    taken_s = time.monotonic() - first_s
    futures = [stage.client.submit(calls.sleep_and_count, i, 0.5) for i in range(60)]
    launcher.await_line(r"launcher starts 1 hosts")
    assert [future.result(60) for future in futures] == list(range(60))
    assert len(jobs()) == 2, f"{taken_s:.1f} s to the first result"
    wait_until(lambda: jobs() == [], timeout_s=60)  # by themselves
    assert stage.client.submit(calls.add_one, 2).result(60) == 3  # and come again
    assert launcher.stop() == 0


def test_failed_starts_pause_it_and_it_says_why_with_the_jobs_own_words(stage: LaunchStage, tmp_path: Path) -> None:
    launcher = launch(stage, "1:1", tmp_path, "--launch-setup", "echo no such module: scaler >&2; exit 3")
    launcher.await_line("no such module: scaler")
    launcher.await_line("nothing is launched for 5 s")
    assert launcher.stop() == 0


def test_what_sbatch_refuses_is_said_in_its_words(stage: LaunchStage, tmp_path: Path) -> None:
    launcher = launch(stage, "1:1", tmp_path, "--launch-options=--partition=nowhere")
    launcher.await_line("sbatch failed: .*invalid partition")
    assert launcher.stop() == 0


def test_a_batch_system_that_is_not_installed_is_one_sentence(stage: LaunchStage, tmp_path: Path) -> None:
    os.environ["PATH"], before = str(tmp_path), os.environ["PATH"]
    try:
        launcher = launch(stage, "1:1", tmp_path)
        launcher.await_line("there is no command sbatch here")
        assert launcher.stop() == 0
    finally:
        os.environ["PATH"] = before


def test_ctrl_c_does_not_wait_for_jobs_that_drain(stage: LaunchStage, tmp_path: Path) -> None:
    launcher = launch(stage, "1:1", tmp_path)
    mark = tmp_path / "mark"
    stage.client.submit(calls.mark_and_wait, str(mark), str(tmp_path / "gate"))
    wait_until(mark.exists, timeout_s=60)
    assert launcher.stop(signal.SIGINT) == 0
    wait_until(lambda: jobs() == [], timeout_s=60)


@pytest.mark.at_night
def test_a_job_over_its_time_and_one_that_is_requeued_lose_nothing(stage: LaunchStage, tmp_path: Path) -> None:
    """Slurm counts time in minutes, and starts a requeued job again after two."""
    launcher = launch(
        stage, "2:2", tmp_path, "--launch-options=--cpus-per-task=2 --time=1 --requeue", "--drain-seconds", "2"
    )
    marks = tmp_path / "marks"
    futures = [stage.client.submit(calls.note_slowly, str(marks), i, 0.25) for i in range(1200)]
    wait_until(lambda: count(marks) > 20, timeout_s=60)
    subprocess.run(["scontrol", "requeue", jobs()[0]], check=True)
    assert [future.result(220) for future in futures] == list(range(1200))
    assert launcher.stop() == 0
