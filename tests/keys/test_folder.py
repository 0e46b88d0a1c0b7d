"""Keys folders: made once, whole, for this user alone; what is not so is refused with what to do."""

import os
import stat
from pathlib import Path

import pytest

from scaler.entry_points.keys import main
from scaler.exceptions import KeysError
from scaler.keys.folder import ROLES, make_folder, peer_keys, scheduler_keys, split_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "keys")


def test_a_scheduler_knows_the_key_of_each_role(folder: Path) -> None:
    scheduler = scheduler_keys(folder)
    assert sorted(scheduler.roles.values()) == sorted(ROLES)
    for role in ROLES:
        peer = peer_keys(folder, role)
        assert scheduler.roles[peer.own.public] == role
        assert peer.scheduler == scheduler.own.public


def test_secrets_are_for_this_user_alone(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert "secret=..." in repr(peer_keys(folder, "client"))
    assert peer_keys(folder, "client").own.secret.decode() not in repr(peer_keys(folder, "client"))


def test_a_part_has_what_its_role_needs_and_nothing_else(folder: Path) -> None:
    parts = {part.name: sorted(each.name for each in part.iterdir()) for part in split_folder(folder)}
    assert parts == {
        "scheduler": ["client.pub", "monitor.pub", "scheduler.key", "worker.pub"],
        "client": ["client.key", "scheduler.pub"],
        "worker": ["scheduler.pub", "worker.key"],
        "monitor": ["monitor.key", "scheduler.pub"],
    }
    assert scheduler_keys(folder / "scheduler") == scheduler_keys(folder)
    assert peer_keys(folder / "worker", "worker") == peer_keys(folder, "worker")
    with pytest.raises(KeysError, match=r"there is no .*client\.key"):
        peer_keys(folder / "worker", "client")


def test_keys_are_never_overwritten(folder: Path) -> None:
    before = scheduler_keys(folder)
    with pytest.raises(KeysError, match="is there already"):
        make_folder(folder)
    split_folder(folder)
    with pytest.raises(KeysError, match="is there already"):
        split_folder(folder)
    assert scheduler_keys(folder) == before


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o700)
    assert scheduler_keys(make_folder(tmp_path / "mine"))


@pytest.mark.parametrize("name", ["", "client.key"])
def test_what_others_can_read_is_refused(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / name).chmod(0o755 if not name else 0o640)
    with pytest.raises(KeysError, match=r"can be read by others .* chmod (700|600) it"):
        peer_keys(folder, "client")
    monkeypatch.setenv("SCALER_KEYS_UNCHECKED", "1")
    assert peer_keys(folder, "client")


def test_a_public_key_that_others_can_change_is_refused(folder: Path) -> None:
    (folder / "client.pub").chmod(0o622)
    with pytest.raises(KeysError, match="can be changed by others"):
        scheduler_keys(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_the_keys_of_another_user_are_refused(folder: Path) -> None:
    os.chown(folder / "client.key", 12345, 12345)
    with pytest.raises(KeysError, match="belongs to another user"):
        peer_keys(folder, "client")


@pytest.mark.parametrize("keep", [0, 10, 60, 100])
def test_half_a_file_is_refused(folder: Path, keep: int) -> None:
    path = folder / "client.key"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(KeysError, match=r"client\.key (has no whole|is no file of keys)"):
        peer_keys(folder, "client")


def test_a_secret_that_does_not_belong_to_its_public_key_is_refused(folder: Path, tmp_path: Path) -> None:
    other = make_folder(tmp_path / "other")
    mine, theirs = (each / "client.key" for each in (folder, other))
    first = [line for line in mine.read_text().splitlines() if line.startswith("public")]
    second = [line for line in theirs.read_text().splitlines() if line.startswith("secret")]
    mine.write_text("\n".join(first + second))
    with pytest.raises(KeysError, match="do not belong together"):
        peer_keys(folder, "client")


def test_two_roles_with_one_key_are_refused(folder: Path) -> None:
    (folder / "worker.pub").write_bytes((folder / "client.pub").read_bytes())
    with pytest.raises(KeysError, match="client and worker have the same key"):
        scheduler_keys(folder)


def test_a_folder_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    for read in (lambda: scheduler_keys(tmp_path / "no"), lambda: peer_keys(tmp_path / "no", "client")):
        with pytest.raises(KeysError, match=r"there is no .*`scaler_keys FOLDER` makes one"):
            read()


def test_the_command_makes_and_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "keys")]) == 0
    assert main(["split", str(tmp_path / "keys")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / "keys"),
        *(str(tmp_path / "keys" / name) for name in ("scheduler", *ROLES)),
    ]
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "keys")])
    assert ended.value.code == 1
    assert "is there already" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["a", "b"])
    assert ended.value.code == 2
