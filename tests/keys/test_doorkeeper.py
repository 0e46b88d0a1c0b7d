"""Who gets in: every kind of key, over real sockets. What is refused reaches nobody."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from scaler.keys.doorkeeper import MONITORS, SESSIONS, Doorkeeper, guard, role_shown, show, why_doubtful, why_refused
from scaler.keys.folder import PeerKeys, make_folder, peer_keys, scheduler_keys

Socket = zmq.Socket[bytes]
WAIT_MS = 5000
REFUSED_MS = 500
EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
EVENTS |= zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_DISCONNECTED


class Guarded:
    """A socket that listens with these keys, and its doorkeeper."""

    def __init__(self, folder: Path, purpose: str = SESSIONS) -> None:
        self.context: zmq.Context[Socket] = zmq.Context()
        keys = scheduler_keys(folder)
        self.doorkeeper = Doorkeeper(self.context, keys.roles)
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.HANDSHAKE_IVL, 2000)
        guard(self.socket, keys, purpose)
        self.socket.bind("tcp://127.0.0.1:*")
        self.address = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def close(self) -> None:
        self.doorkeeper.close()
        self.context.destroy(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "keys")


@pytest.fixture
def scheduler(folder: Path) -> Iterator[Guarded]:
    made = Guarded(folder)
    yield made
    made.close()


class Visit:
    """A peer that connects with these keys, or none, and says something."""

    def __init__(self, address: str, keys: PeerKeys | None) -> None:
        self.context: zmq.Context[Socket] = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        for option in (zmq.LINGER, zmq.RECONNECT_IVL):
            self.socket.setsockopt(option, 0 if option == zmq.LINGER else -1)
        if keys is not None:
            show(self.socket, keys)
        self.monitor = self.socket.get_monitor_socket(EVENTS)
        self.socket.connect(address)
        self.socket.send(b"hello")

    def event(self) -> int:
        assert self.monitor.poll(WAIT_MS)
        return int(recv_monitor_message(self.monitor)["event"])

    def __enter__(self) -> "Visit":
        return self

    def __exit__(self, *_: object) -> None:
        self.context.destroy(0)


@pytest.mark.parametrize("role", ["client", "worker"])
def test_a_known_key_gets_in_with_its_role(folder: Path, scheduler: Guarded, role: str) -> None:
    with Visit(scheduler.address, peer_keys(folder, role)) as visit:
        assert scheduler.socket.poll(WAIT_MS)
        frames = scheduler.socket.recv_multipart(copy=False)
        assert frames[-1].bytes == b"hello"
        assert role_shown(frames[-1]) == role
        assert visit.event() == zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert scheduler.doorkeeper.refused == {}


def test_a_monitors_key_is_refused_where_sessions_are(folder: Path, scheduler: Guarded) -> None:
    with Visit(scheduler.address, peer_keys(folder, "monitor")):
        assert not scheduler.socket.poll(REFUSED_MS)
    assert scheduler.doorkeeper.refused == {"the key of a monitor": 1}


@pytest.mark.parametrize("role", ["client", "worker", "monitor"])
def test_every_key_may_look(folder: Path, role: str) -> None:
    scheduler = Guarded(folder, MONITORS)
    with Visit(scheduler.address, peer_keys(folder, role)):
        assert scheduler.socket.poll(WAIT_MS)
    scheduler.close()


def test_an_unknown_key_is_refused_and_told_so(folder: Path, scheduler: Guarded, tmp_path: Path) -> None:
    stranger = peer_keys(make_folder(tmp_path / "other"), "client")
    keys = PeerKeys("client", stranger.own, peer_keys(folder, "client").scheduler)
    with Visit(scheduler.address, keys) as visit:
        assert "does not know this key" in str(why_refused(visit.event(), keys))
        assert not scheduler.socket.poll(REFUSED_MS)
    assert scheduler.doorkeeper.refused == {"unknown key": 1}


def test_without_keys_nothing_gets_through(scheduler: Guarded) -> None:
    with Visit(scheduler.address, None) as visit:
        # ZeroMQ says that the two speak differently, or only that it is over if the other end was quicker to hang up.
        event = visit.event()
        assert "wants keys, and none were given" in str(why_refused(event, None) or why_doubtful(event, None))
        assert not scheduler.socket.poll(REFUSED_MS)


def test_the_keys_of_another_scheduler_are_refused(scheduler: Guarded, tmp_path: Path) -> None:
    keys = peer_keys(make_folder(tmp_path / "other"), "client")
    with Visit(scheduler.address, keys):
        assert not scheduler.socket.poll(REFUSED_MS)


def test_if_the_doorkeeper_is_gone_nobody_gets_in(folder: Path, scheduler: Guarded) -> None:
    scheduler.doorkeeper.close()
    with Visit(scheduler.address, peer_keys(folder, "client")):
        assert not scheduler.socket.poll(REFUSED_MS)


def test_what_is_no_question_is_answered_with_a_refusal(folder: Path, scheduler: Guarded) -> None:
    asking = scheduler.context.socket(zmq.REQ)
    asking.setsockopt(zmq.LINGER, 0)
    asking.connect("inproc://zeromq.zap.01")
    questions = (
        [b""], [b"1.0"], [b"9", b"7", b"scaler", b"", b"", b"CURVE", bytes(32)],
        [b"1.0", b"7", b"another", b"", b"", b"CURVE", bytes(32)], [b"1.0", b"7", b"scaler", b"", b"", b"NULL", b""],
        [b"1.0", b"7", b"scaler", b"", b"", b"CURVE", b"short"], [b"x"] * 50,
    )  # fmt: skip
    for question in questions:
        asking.send_multipart(question)
        assert asking.poll(WAIT_MS)
        assert asking.recv_multipart()[2] == b"400"
    asking.close(0)
    with Visit(scheduler.address, peer_keys(folder, "client")):
        assert scheduler.socket.poll(WAIT_MS)
