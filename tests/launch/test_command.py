"""Clusters through templates of commands, with a queue made of a shell script: start, list, end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler.exceptions import NoWorkerError
from tests.e2e import calls
from tests.entry_points.commands import run
from tests.launch.stage import LaunchStage
from tests.processes import wait_until

# As PBS words it. A job is a process of its own; its number is the job's.
_START = """#!/bin/sh
setsid sh -c 'echo $$ > {folder}/started; exec sh "$1" > "$2" 2>&1' sh "$1" "$2" </dev/null >/dev/null 2>&1 &
while [ ! -s {folder}/started ]; do sleep 0.01; done
echo "$(cat {folder}/started).server"
cat {folder}/started >> {folder}/jobs
rm {folder}/started
"""
_LIST = """#!/bin/sh
echo "Job id   Name   User   S"
touch {folder}/jobs
while read -r job; do kill -0 $job 2>/dev/null && echo "$job.server  scaler  $1  R"; done < {folder}/jobs
exit 0
"""
_END = """#!/bin/sh
kill -TERM "${{1%.server}}"
"""


@pytest.fixture
def queue(tmp_path: Path) -> list[str]:
    """The options that name its commands."""
    for name, text in (("start", _START), ("list", _LIST), ("end", _END)):
        path = tmp_path / name
        path.write_text(text.format(folder=tmp_path))
        path.chmod(0o700)
    return [
        "--launch", "command", "--launch-folder", str(tmp_path), "-n", "1",
        "--launch-start", f"{tmp_path}/start {{script}} {{log}}",
        "--launch-list", f"{tmp_path}/list {{user}}", "--launch-end", f"{tmp_path}/end {{job}}",
    ]  # fmt: skip


@pytest.fixture
def stage() -> Iterator[LaunchStage]:
    with LaunchStage() as stage:
        yield stage


def test_hosts_come_work_and_end(stage: LaunchStage, queue: list[str], tmp_path: Path) -> None:
    launcher = stage.launcher(*queue, "--hosts", "0:2", "--idle-seconds", "2", "--backlog-seconds", "0.5")
    futures = [stage.once.submit(calls.sleep_and_count, i, 0.2) for i in range(40)]
    assert [future.result(60) for future in futures] == list(range(40))
    wait_until(lambda: launcher.out.count("has ended") >= 1, timeout_s=30)
    assert stage.once.submit(calls.add_one, 1).result(60) == 2
    assert launcher.stop() == 0
    assert not list(tmp_path.glob("*.sh"))


def test_a_launcher_that_has_its_options_from_the_environment_does_not_hand_them_on(
    stage: LaunchStage, queue: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for flag, value in zip(queue[::2], queue[1::2], strict=True):
        name = "num_of_workers" if flag == "-n" else flag.strip("-").replace("-", "_")
        monkeypatch.setenv(f"SCALER_CLUSTER_{name.upper()}", value)
    monkeypatch.setenv("SCALER_CLUSTER_HOSTS", "1:1")
    launcher = stage.launcher()
    assert stage.once.submit(calls.add_one, 1).result(60) == 2  # else that host would be a launcher, too
    assert launcher.stop() == 0


def test_a_dry_run_starts_nothing(stage: LaunchStage, queue: list[str], tmp_path: Path) -> None:
    launcher = stage.launcher(*queue, "--hosts", "2:2", "--dry-run")
    launcher.await_line("dry run: launcher would start 2 hosts: 0 of 2 hosts that stay are there")
    assert launcher.stop() == 0
    assert not (tmp_path / "jobs").exists()


def test_a_job_that_cannot_start_its_cluster_is_logged_in_its_own_words(stage: LaunchStage, queue: list[str]) -> None:
    launcher = stage.launcher(*queue, "--hosts", "1:1", "--launch-setup", "echo there is no such module; exit 1")
    launcher.await_line("ended before its cluster had joined; the last that it said is:\nthere is no such module")
    launcher.await_line("nothing is launched for 5 s")
    assert launcher.stop() == 0


@pytest.mark.at_night
def test_what_waits_for_hosts_that_cannot_be_had_fails_in_the_jobs_own_words(
    stage: LaunchStage, queue: list[str]
) -> None:
    """After three failures, and the pauses between them."""
    launcher = stage.launcher(*queue, "--hosts", "0:1", "--launch-setup", "echo there is no such module; exit 1")
    with pytest.raises(NoWorkerError, match=r"no host can be launched(.|\n)*there is no such module"):
        stage.client.submit(calls.add_one, 1).result(60)
    assert launcher.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--launch", "slurm"], "--hosts MIN:MAX"),
        (["--hosts", "1:2"], "--launch"),
        (["--launch", "slurm", "--hosts", "2:1"], "--hosts"),
        (["--launch", "slurm", "--hosts", "some"], "--hosts"),
        (["--launch", "ssh", "--hosts", "1:2"], "--launch-hosts"),
        (["--launch", "command", "--hosts", "1:2"], "--launch-start"),
        (["--launch", "slurm", "--hosts", "1:2", "--max", "3"], "--max"),
    ],
)
def test_options_that_do_not_go_together_are_named(arguments: list[str], why: str) -> None:
    ended = run("scaler_cluster", "tcp://127.0.0.1:9", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert why in ended.stderr
    assert ended.stderr.count("\n") == 1
