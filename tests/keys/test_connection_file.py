"""Connection files: found by this user's programs as long as the scheduler lives, and believed by nobody else."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaler.exceptions import KeysError
from scaler.keys.connection_file import Connection, Published, connections_folders, find_connection, fresh_keys

ADDRESS = "tcp://127.0.0.1:2345"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCALER_CONNECTIONS", str(tmp_path / "connections"))
    return tmp_path / "connections"


@pytest.fixture
def published() -> Iterator[Published]:
    made = Published(Connection(ADDRESS, started_s=5.0))
    yield made
    made.leave()


def test_a_scheduler_is_found_until_it_ends(folder: Path) -> None:
    assert find_connection() is None
    connection = Connection(ADDRESS, "tcp://127.0.0.1:2347", os.getpid(), "here", 5.0)
    published = Published(connection)
    assert find_connection() == find_connection(ADDRESS) == connection
    assert find_connection("tcp://127.0.0.1:1") is None
    assert os.readlink(folder / "current") == published.path.name
    published.leave()
    published.leave()
    assert find_connection() is None
    assert list(folder.iterdir()) == []


def test_its_keys_are_those_that_the_scheduler_lets_in() -> None:
    keys, scheduler_key, pairs = fresh_keys()
    published = Published(Connection(ADDRESS, scheduler_key=scheduler_key, pairs=pairs))
    found = find_connection()
    published.leave()
    assert found is not None
    for role in ("client", "worker", "monitor"):
        peer = found.peer_keys(role)
        assert peer is not None
        assert keys.roles[peer.own.public] == role
        assert peer.scheduler == keys.own.public
    assert Connection(ADDRESS).peer_keys("client") is None


def test_it_is_for_this_user_alone(folder: Path, published: Published) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(published.path.stat().st_mode) == 0o600


def test_what_others_can_read_is_not_believed(folder: Path, published: Published) -> None:
    published.path.chmod(0o644)
    assert find_connection() is None
    published.path.chmod(0o600)
    assert find_connection() is not None
    folder.chmod(0o755)
    assert find_connection() is None
    with pytest.raises(KeysError, match="can be read by others: chmod 700"):
        Published(Connection(ADDRESS))
    folder.chmod(0o700)


def test_a_link_is_not_followed(folder: Path, published: Published, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    published.path.rename(elsewhere)
    published.path.symlink_to(elsewhere)
    assert find_connection() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 9}', '{"version": 1, "pairs": 3}', "null"])
def test_what_is_no_connection_file_is_passed_over(folder: Path, published: Published, text: str) -> None:
    published.path.write_text(text)
    assert find_connection() is None


def test_the_file_of_a_killed_scheduler_is_removed(folder: Path) -> None:
    program = (
        "import sys, time; from scaler.keys.connection_file import Connection, Published; "
        f"kept = Published(Connection({ADDRESS!r})); print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert find_connection() is not None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert find_connection() is None
    assert not list(folder.glob("*.json"))


def test_the_newest_of_several_is_taken(folder: Path, published: Published) -> None:
    newer = "tcp://127.0.0.1:9"
    program = (
        "import time; from scaler.keys.connection_file import Connection, Published; "
        f"kept = Published(Connection({newer!r}, started_s=6.0)); print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = find_connection()
        assert found is not None
        assert found.address == newer
        assert find_connection(ADDRESS) is not None
        process.kill()
    found = find_connection()
    assert found is not None
    assert found.address == ADDRESS


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCALER_CONNECTIONS", str(tmp_path / "file" / "below"))
    with pytest.raises(KeysError, match="SCALER_CONNECTIONS names another"):
        Published(Connection(ADDRESS))


def test_where_the_files_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCALER_CONNECTIONS")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    folders = [tmp_path / "scaler", tmp_path / "home/.scaler", tmp_path / "tmp" / f"scaler-{os.geteuid()}"]
    assert connections_folders() == folders
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "not there"))
    published = Published(Connection(ADDRESS))
    assert published.path.parent == folders[2]
    assert find_connection() is not None
    published.leave()


def test_its_text_is_readable(published: Published) -> None:
    assert json.loads(published.path.read_text())["address"] == ADDRESS
