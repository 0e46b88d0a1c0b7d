"""The client in C++ and its connection: one that breaks, a scheduler that is started again, keys, and nobody there."""

import signal
import subprocess
import time

import pytest

from scaler.exceptions import RefusedError
from scaler.keys.folder import make_folder, split_folder
from scaler.protocol.codec import decode, encode
from scaler.protocol.frames import (
    FLAG_NAMED,
    PROTOCOL_MINOR,
    Frame,
    Function,
    Functions,
    Hello,
    Refusal,
    Welcome,
)
from scaler.session.dealer import Dealer, greet
from scaler.values.named import digest_of
from tests.cpp.programs import Driver, Refused, program
from tests.elsewhere import RemoteCluster
from tests.processes import wait_until
from tests.proxy import Proxy
from tests.restartable import Restartable

HERE = "tests.cpp.functions"


@pytest.fixture(scope="module")
def remote():
    program("driver")
    with RemoteCluster(2, insecure=True) as made:
        yield made


def test_nothing_is_lost_or_doubled_when_the_connection_breaks(remote, tmp_path):
    with Proxy(remote.get_address()) as proxy, Driver(proxy.address) as client:
        log = tmp_path / "log"
        calls, cuts = [], 0
        for number in range(2000):
            calls.append(client.submit(f"{HERE}:note", [str(log), number]))
            if number % 250 == 125:
                cuts += proxy.cut()
                time.sleep(0.05)
        large = client.submit("builtins:len", ["x" * 5_000_000])
        cuts += proxy.cut()
        assert [client.get(call) for call in calls] == list(range(2000))
        assert client.get(large) == 5_000_000
        assert cuts >= 5
        assert sorted(map(int, log.read_text().split())) == list(range(2000))


@pytest.mark.parametrize("link", ["rings", "wire"])
def test_it_goes_on_with_a_scheduler_that_was_killed_and_started_again(link, tmp_path):
    program("driver")
    cluster = Restartable(link)
    try:
        with Driver(cluster.address, timeout_s=30) as client:
            log = tmp_path / "log"
            assert client.call("math:sqrt", [4]) == 2
            calls = [client.submit(f"{HERE}:note", [str(log), number, 0.02]) for number in range(100)]
            wait_until(lambda: log.exists() and len(log.read_text().split()) > 10)
            large = client.submit("builtins:len", ["x" * 1_000_000])
            cluster.restart(signal.SIGKILL)
            assert [client.get(call) for call in calls] == list(range(100))
            assert client.get(large) == 1_000_000
            assert client.call(f"{HERE}:echo", [1])["args"] == [1]
    finally:
        cluster.close()


def test_its_open_calls_end_when_its_scheduler_does_not_come_back():
    program("driver")
    cluster = RemoteCluster(1)
    with Driver(cluster.get_address(), timeout_s=2) as client:
        call = client.submit(f"{HERE}:sleep", [60])
        cluster.scheduler.kill()
        with pytest.raises(Refused) as raised:
            client.get(call)
        assert raised.value.said["error"] == "DisconnectedError"
        with pytest.raises(Refused, match="no scheduler answered") as raised:
            client.submit("math:sqrt", [4])
        assert raised.value.said["error"] == "DisconnectedError"
    cluster.cluster.shutdown()
    cluster.scheduler.communicate()


def test_keys_let_a_client_in_and_nobody_else(tmp_path, monkeypatch):
    program("driver")
    keys, others = make_folder(tmp_path / "keys"), make_folder(tmp_path / "others")
    split_folder(keys)
    with RemoteCluster(1, keys=str(keys), workers={"keys": str(keys)}) as cluster:
        address = cluster.get_address()
        monkeypatch.setenv("SCALER_CONNECTIONS", str(tmp_path / "none"))  # else the scheduler's file names its folder
        with Driver(address, str(keys / "client")) as client:
            assert client.call("math:sqrt", [4]) == 2
            assert client.call("builtins:len", ["x" * 1_000_000]) == 1_000_000
        for given, words in (
            (str(others), "this is not the scheduler of these keys"),
            ("", "the scheduler wants keys, and none were given"),
            (str(tmp_path / "nothing"), "there is no .*: `scaler_keys FOLDER` makes keys"),
        ):
            with pytest.raises(Refused, match=words):
                Driver(address, given, timeout_s=10)
        (keys / "client").chmod(0o755)
        with pytest.raises(Refused, match="is open to others: chmod 700 it"):
            Driver(address, str(keys / "client"))


def test_it_finds_the_keys_of_this_users_scheduler():
    program("driver")
    with RemoteCluster(1) as cluster, Driver(cluster.get_address()) as client:
        assert client.call("math:sqrt", [4]) == 2


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("tcp://127.0.0.1:9", "no scheduler answered at tcp://127.0.0.1:9 in time: nobody listens there"),
        ("nonsense", "nonsense is no address to connect to"),
    ],
)
def test_where_nobody_is_it_says_so_in_time(address, words):
    with pytest.raises(Refused, match=words) as raised:
        Driver(address, timeout_s=1)
    assert raised.value.said["error"] == "ConnectionError"


def test_it_leaves_without_a_trace_when_its_program_is_killed(remote):
    client = Driver(remote.get_address())
    client.submit(f"{HERE}:sleep", [0.1])
    client._program.kill()
    client._program.communicate()
    with Driver(remote.get_address()) as other:
        assert other.call("math:sqrt", [4]) == 2


def test_the_examples_programs_do_what_they_say(remote):
    said = subprocess.run(
        [program("price_client"), remote.get_address()], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert said.splitlines() == ["the root of 2 is 1.4142135623730951", "of -1: ValueError, math domain error"]


# what the scheduler says to those that make no pickles


def hello(**said: object) -> Hello:
    return Hello(identity=b"somebody", minor=PROTOCOL_MINOR, **said)  # type: ignore[arg-type]


def answer_to(dealer: Dealer) -> object:
    while True:
        dealer.wait(5)
        data = dealer.receive()
        assert data is not None, "no answer"
        body = decode(data).body
        if isinstance(body, Refusal | Welcome):
            return body


def test_a_peer_without_python_may_announce_names_and_no_pickles(remote):
    dealer, welcome = greet(remote.get_address(), lambda: hello(client_bits=77), 10)
    assert welcome.minor == PROTOCOL_MINOR
    name = Functions.of([Function(0, 1, digest_of("math:sqrt"), FLAG_NAMED, b"math:sqrt")])
    dealer.send(encode(Frame(name, 1)))
    dealer.send(encode(Frame(Functions.of([Function(0, 2, bytes(16), 0, b"\x80\x05N.")]), 2)))
    said = answer_to(dealer)
    assert isinstance(said, Refusal)
    assert "announces functions by their names only" in said.reason
    dealer.close()


def test_a_peer_of_another_python_is_still_refused(remote):
    with pytest.raises(RefusedError, match=r"this side runs Python 3\.2"):
        greet(remote.get_address(), lambda: hello(client_bits=78, python_major=3, python_minor=2), 10)
