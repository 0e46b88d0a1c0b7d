"""Keys at work: who gets a session in which role, what is found without being told, and that nothing goes in clear."""

import os
import pickle
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scaler import Client, Cluster, Scheduler, SchedulerClusterCombo
from scaler.exceptions import AddressError, KeysError, RefusedError, ScalerError
from scaler.keys.folder import make_folder, split_folder
from scaler.protocol.frames import Role
from scaler.session.dealer import greet, new_hello
from tests.e2e import calls, nested_calls
from tests.elsewhere import RemoteCluster
from tests.proxy import Proxy
from tests.restartable import Restartable

SECRET = b"a secret that nobody else is to read, "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_folder(tmp_path_factory.mktemp("made") / "keys")
    split_folder(folder)
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """Of a scheduler with keys, elsewhere, and of no file by which they are found."""
    options: dict[str, Any] = {"keys": str(folder / "scheduler"), "workers": {"keys": str(folder / "worker")}}
    with RemoteCluster(2, **options) as made, Proxy(made.get_address()) as proxy:
        yield proxy.address


def test_a_job_is_done_with_keys(address: str, folder: Path) -> None:
    with Client(address, keys=folder / "client", timeout_seconds=20) as client:
        assert client.map(calls.add_one, [(i,) for i in range(1000)]) == list(range(1, 1001))
        assert client.submit(len, b"x" * 5_000_000).result(30) == 5_000_000
        assert client.submit(nested_calls.fibonacci, client, 8).result(30) == 21


@pytest.mark.parametrize(
    ("keys", "role", "words"),
    [
        (None, Role.CLIENT, "wants keys, and none were given"),
        ("strangers", Role.CLIENT, "not the scheduler of these keys"),
        ("mixed", Role.CLIENT, "does not know this key"),
        ("monitor", Role.CLIENT, "does not know this key"),
        ("client", Role.CLUSTER, "key of a client, and this takes that of a worker"),
        ("worker", Role.CLIENT, "key of a worker, and this takes that of a client"),
    ],
)
def test_another_key_gets_no_session_and_is_told_why(
    address: str, folder: Path, tmp_path: Path, keys: str | None, role: Role, words: str
) -> None:
    place, bits = tmp_path / "mine", 77 if role == Role.CLIENT else 0
    wanted = "worker" if role == Role.CLUSTER else "client"
    if keys in ("strangers", "mixed"):
        make_folder(place)
        if keys == "mixed":
            (place / "scheduler.pub").write_bytes((folder / "scheduler.pub").read_bytes())
    elif keys is not None:  # the key of one role in the place of another's
        place.mkdir(mode=0o700)
        for name, source in ((f"{wanted}.key", f"{keys}.key"), ("scheduler.pub", "scheduler.pub")):
            (place / name).write_bytes((folder / source).read_bytes())
            (place / name).chmod(0o600)
    with pytest.raises(RefusedError, match=words):
        greet(address, lambda: new_hello(role, os.urandom(16), client_bits=bits), 20, keys=str(place) if keys else None)


def test_a_session_is_not_gone_on_with_by_another_role(address: str, folder: Path) -> None:
    dealer, welcome = greet(
        address, lambda: new_hello(Role.CLUSTER, b"one", worker_names=("a",)), 20, keys=str(folder / "worker")
    )
    hello = new_hello(Role.CLIENT, b"other", client_bits=78)
    hello = type(hello)(**{name: getattr(hello, name) for name in hello.__slots__} | {"session": welcome.session})
    other, answer = greet(address, lambda: hello, 20, keys=str(folder / "client"))
    assert not answer.resumed
    other.close()
    dealer.leave()


def test_nothing_goes_in_clear(folder: Path) -> None:
    seen = bytearray()

    class Listener(Proxy):
        def on_data(self, data: bytes) -> None:
            seen.extend(data)

    ways: list[Proxy] = []

    def way(address: str) -> str:
        ways.append(Listener(address))
        return ways[-1].address

    for keys in (str(folder), None):
        seen.clear()
        options = {"keys": keys} if keys else {"insecure": True}
        with (
            RemoteCluster(1, way=way, workers={"keys": keys}, **options) as cluster,
            Listener(cluster.get_address()) as proxy,
            Client(proxy.address, keys=keys) as client,
        ):
            assert client.submit(bytes.upper, SECRET * 10).result(20) == (SECRET * 10).upper()
        assert (SECRET in seen) == (SECRET.upper() in seen) == (keys is None)
        assert (pickle.dumps(bytes.upper)[4:12] in seen) == (keys is None)
    for proxy in ways:
        proxy.close()


def test_programs_of_this_user_need_no_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCALER_CONNECTIONS", str(tmp_path / "connections"))  # where no other test's scheduler is
    monkeypatch.delenv("SCALER_ADDRESS", raising=False)
    with SchedulerClusterCombo(1) as combo, Client() as client:
        assert client.submit(calls.add_one, 1).result(20) == 2
        monkeypatch.setenv("SCALER_ADDRESS", combo.get_address())
        with Client() as other:
            assert other.submit(calls.add_one, 2).result(20) == 3
    monkeypatch.delenv("SCALER_ADDRESS")
    with pytest.raises(AddressError, match=r"no address was given.*start one with `scaler_scheduler"):
        Client()


def test_other_users_of_this_machine_get_no_session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Scheduler() as scheduler:
        monkeypatch.setenv("SCALER_CONNECTIONS", str(tmp_path / "of another user"))
        with pytest.raises(RefusedError, match="wants keys, and none were given"):
            Client(scheduler.get_address(), timeout_seconds=20)


@pytest.mark.parametrize("link", ["rings", "wire"])
def test_a_scheduler_that_is_started_again_has_other_keys_and_all_go_on(link: str) -> None:
    here = Restartable(link)
    with closing(here), Client(here.address, timeout_seconds=30) as client:
        futures = [client.submit(calls.sleep_for, 0.02) for _ in range(50)]
        here.restart()
        assert [future.result(60) for future in futures] == [0.02] * 50


def test_a_client_is_passed_on_with_its_keys(address: str, folder: Path) -> None:
    with (
        Client(address, keys=folder, timeout_seconds=20) as client,
        SchedulerClusterCombo(1) as combo,
        Client(combo.get_address()) as other,
    ):
        assert other.submit(nested_calls.fibonacci, client, 4).result(30) == 3


def test_a_folder_that_cannot_be_read_is_an_error_at_once(address: str, tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="there is no"):
        Client(address, keys=tmp_path / "none")
    with pytest.raises(ScalerError, match="there is no"):
        Scheduler(keys=str(tmp_path / "none"))
    with pytest.raises(ScalerError, match="there is no"):
        Cluster(address, 1, keys=str(tmp_path / "none"))


def test_beyond_this_machine_it_listens_with_keys_only(folder: Path) -> None:
    with pytest.raises(ScalerError, match=r"make keys with `scaler_keys FOLDER`.*--insecure"):
        Scheduler("tcp://0.0.0.0:0")
    with Scheduler("tcp://0.0.0.0:0", keys=str(folder)) as scheduler:
        there = scheduler.get_address().replace("0.0.0.0", "127.0.0.1")
        with Cluster(there, 1, keys=str(folder)), Client(there, keys=folder) as client:
            assert client.submit(calls.add_one, 1).result(20) == 2
