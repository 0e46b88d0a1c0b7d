"""Clusters through ssh, with a real sshd on loopback."""

import getpass
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import calls
from tests.launch.slurm_here import free_ports
from tests.launch.stage import LaunchStage
from tests.processes import assert_gone, tree, wait_until

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
MISSING = "" if SSHD and shutil.which("ssh") else "no sshd or ssh here: .ci/packages installs them where it may"
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"a real sshd is needed: {MISSING}")


@dataclass
class Sshd:
    process: "subprocess.Popen[bytes]"
    options: str


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    folder = tmp_path / "ssh"
    folder.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "authorized").write_bytes((folder / "user.pub").read_bytes())
    (port,) = free_ports(1)
    Path("/run/sshd").mkdir(exist_ok=True)
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile {folder}/pid\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n"
    )
    process = subprocess.Popen(
        [str(SSHD), "-D", "-e", "-f", str(folder / "config")], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    options = (
        f"-p {port} -i {folder}/user -l {getpass.getuser()} -o IdentitiesOnly=yes -F none "
        "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    )
    yield Sshd(process, options)
    process.terminate()
    process.wait(10)


@pytest.fixture
def stage() -> Iterator[LaunchStage]:
    with LaunchStage() as stage:
        yield stage


def arguments(sshd: Sshd, hosts: str, *more: str) -> list[str]:
    return [
        "--launch", "ssh", "--launch-hosts", "127.0.0.1,localhost", "--hosts", hosts, "-n", "1",
        f"--launch-options={sshd.options}", *more,
    ]  # fmt: skip


def test_hosts_join_work_and_end_with_their_launcher(stage: LaunchStage, sshd: Sshd) -> None:
    launcher = stage.launcher(*arguments(sshd, "2:2"))
    processes = {stage.once.submit(calls.sleep_and_count, i, 0.01).result(60) for i in range(20)}
    assert processes == set(range(20))
    launcher.await_line("host scaler-.* runs|launched as")
    wait_until(lambda: stage.client._rings.count_workers() == 2)
    remote = tree(sshd.process.pid)[1:]
    assert launcher.stop() == 0
    assert_gone(remote)


def test_no_cluster_outlives_a_launcher_that_is_killed(stage: LaunchStage, sshd: Sshd, tmp_path: Path) -> None:
    launcher = stage.launcher(*arguments(sshd, "1:1"))
    mark, gate = tmp_path / "mark", tmp_path / "gate"
    future = stage.once.submit(calls.mark_and_wait, str(mark), str(gate))
    wait_until(mark.exists, timeout_s=60)
    remote = tree(sshd.process.pid)[1:]
    for process in tree(launcher.process.pid):
        process.send_signal(signal.SIGKILL)
    gate.touch()
    assert future.result(20) == str(gate)  # it drains
    assert_gone(remote)


def test_a_host_that_cannot_be_reached_is_named_in_sshs_own_words(stage: LaunchStage, sshd: Sshd) -> None:
    sshd.process.terminate()
    sshd.process.wait(10)
    launcher = stage.launcher(*arguments(sshd, "1:1"))
    launcher.await_line("Connection refused")
    launcher.await_line("nothing is launched for 5 s")
    assert launcher.stop() == 0
