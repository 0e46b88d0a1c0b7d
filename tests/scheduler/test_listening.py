"""Binding: where the scheduler came to listen, and what was in the way."""

import errno
import fcntl
import os
import socket
import stat

import pytest
import zmq

from scaler.address import Address
from scaler.exceptions import AddressInUseError, ListenError
from scaler.protocol.bounds import FRAME_LIMIT_BYTES, MOST_MESSAGE_BYTES
from scaler.scheduler.listening import MOST_FRAMES_WAITING, limit, listen


@pytest.fixture
def router():
    context = zmq.Context()
    made = context.socket(zmq.ROUTER)
    yield made
    made.close(0)
    context.term()


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:0", "tcp://localhost:*", "tcp://*:0"])
def test_any_port_becomes_a_real_one(router, text):
    bound = listen(router, Address.parse(text)).address
    assert bound.port
    with socket.create_connection(("127.0.0.1", bound.port), 5):
        pass


def test_ipv6(router):
    bound = listen(router, Address.parse("tcp://[::1]:0")).address
    assert (bound.host, bound.is_loopback) == ("::1", True)
    with socket.create_connection(("::1", bound.port), 5):
        pass


def test_ipc_path_is_for_this_user_only_and_leaves_nothing(router, tmp_path):
    path = tmp_path / "scheduler"
    mask = os.umask(0)
    try:
        listening = listen(router, Address(path=str(path)))
        assert os.umask(0) == 0
    finally:
        os.umask(mask)
    assert listening.address == Address(path=str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / ".scheduler.scaler-lock").stat().st_mode) == 0o600
    listening.leave()
    assert os.listdir(tmp_path) == []
    listening.leave()


def test_port_in_use(router):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(AddressInUseError, match=rf"cannot listen at {address}: it is in use"):
            listen(router, address)


def test_ipc_path_in_use_is_left_alone(router, tmp_path):
    path = str(tmp_path / "scheduler")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as taken:
        taken.bind(path)
        taken.listen()
        with pytest.raises(AddressInUseError, match="in use"):
            listen(router, Address(path=path))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
            other.connect(path)
    listening = listen(router, Address(path=path))  # its owner has gone and left it
    listening.leave()


def test_a_path_whose_socket_was_removed_is_still_its_schedulers(router, tmp_path):
    address = Address(path=str(tmp_path / "scheduler"))
    listening = listen(router, address)
    os.unlink(address.path)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as second:
        with pytest.raises(AddressInUseError, match=r"in use.*its socket has been removed.*stop that scheduler first"):
            listen(second, address)
        listening.leave()
        listen(second, address).leave()
    assert os.listdir(tmp_path) == []


def test_a_scheduler_that_leaves_removes_no_socket_that_somebody_else_has_put_at_its_path(router, tmp_path):
    address = Address(path=str(tmp_path / "scheduler"))
    listening = listen(router, address)
    os.unlink(address.path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(address.path)
        listening.leave()
        assert os.path.exists(address.path)


def test_where_the_file_system_knows_no_locks_a_scheduler_listens_without_one(router, tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    listening = listen(router, Address(path=str(tmp_path / "scheduler")))
    listening.leave()
    assert os.listdir(tmp_path) == []


def test_a_lock_of_the_users_own_beside_the_path_is_in_nobodys_way_and_stays(router, tmp_path):
    path = tmp_path / "scheduler.lock"
    with path.open("w") as own:
        fcntl.flock(own, fcntl.LOCK_EX)
        listen(router, Address(path=str(tmp_path / "scheduler"))).leave()
    assert os.listdir(tmp_path) == ["scheduler.lock"]


@pytest.mark.parametrize("what", ["file", "pipe", "folder", "link"])
def test_what_has_the_name_of_the_lock_and_is_none_is_left_alone(router, tmp_path, what):
    path = tmp_path / ".scheduler.scaler-lock"
    if what == "file":
        path.write_text("data")
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    before = path.lstat()
    with pytest.raises(ListenError, match=r"\.scheduler\.scaler-lock is no lock of this user's schedulers"):
        listen(router, Address(path=str(tmp_path / "scheduler")))
    assert os.path.samestat(path.lstat(), before)
    assert os.listdir(tmp_path) == [".scheduler.scaler-lock"]


@pytest.mark.parametrize("what", ["file", "socket", "bind"])
def test_a_scheduler_that_cannot_listen_leaves_no_lock(router, tmp_path, what):
    path = tmp_path / "scheduler"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        if what == "file":
            path.write_text("data")
        elif what == "socket":
            other.bind(str(path))
            other.listen()
        else:
            router.close(0)
        before = os.listdir(tmp_path)
        with pytest.raises(ListenError):
            listen(router, Address(path=str(path)))
    assert os.listdir(tmp_path) == before


def test_a_file_at_the_path_is_left_alone(router, tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ListenError, match="something else than a socket"):
        listen(router, Address(path=str(path)))
    assert path.read_text() == "data"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tcp://192.0.2.1:0", "no interface of this machine has that address"),
        ("tcp://nowhere.invalid:0", "no interface of this machine has that name"),
        ("ipc:///nonexistent/folder/scheduler", "the folder of the path does not exist"),
    ],
)
def test_what_is_in_the_way_is_said(router, text, why):
    with pytest.raises(ListenError, match=why) as raised:
        listen(router, Address.parse(text))
    assert isinstance(raised.value, OSError)


# what ZeroMQ keeps of what nobody has read yet

KERNEL_BYTES = 16 << 20  # what both ends of a connection may have in the kernel, with room to spare


@pytest.fixture
def dealer():
    context = zmq.Context()
    made = context.socket(zmq.DEALER)
    made.setsockopt(zmq.SNDHWM, 1)
    made.setsockopt(zmq.SNDTIMEO, 1000)
    made.setsockopt(zmq.RECONNECT_IVL, -1)
    yield made
    made.close(0)
    context.term()


def send_all(dealer, messages):
    """How many of them found room before the other side had read any."""
    for sent, message in enumerate(messages):
        try:
            dealer.send(message)
        except zmq.Again:
            return sent
    return len(messages)


def test_a_peer_that_is_not_read_has_to_wait_and_nothing_that_it_sends_is_lost(router, dealer):
    limit(router)
    dealer.connect(str(listen(router, Address.parse("tcp://127.0.0.1:0")).address))
    frame = bytes(1 << 20)
    messages = [b"%d" % number + frame for number in range(100)]
    sent = send_all(dealer, messages)
    assert MOST_FRAMES_WAITING <= sent < MOST_FRAMES_WAITING + KERNEL_BYTES // len(frame) + 2
    heard = []
    while len(heard) < 100:
        assert router.poll(10_000)
        heard.append(router.recv_multipart()[1])
        if sent < 100:
            sent += send_all(dealer, messages[sent : sent + 1])
    assert heard == messages


def test_one_that_is_not_read_holds_nobody_else_up(router, dealer):
    limit(router)
    address = str(listen(router, Address.parse("tcp://127.0.0.1:0")).address)
    dealer.connect(address)
    send_all(dealer, [bytes(1 << 20)] * 100)
    with zmq.Context() as context, context.socket(zmq.DEALER) as other:
        other.connect(address)
        other.send(b"a word")
        for _ in range(100):
            assert router.poll(10_000)
            if router.recv_multipart()[1] == b"a word":
                break
        else:
            pytest.fail("the other one was not heard")


def test_the_largest_frame_comes_through_and_one_far_above_it_ends_its_connection(router, dealer):
    limit(router)
    dealer.connect(str(listen(router, Address.parse("tcp://127.0.0.1:0")).address))
    for size in (FRAME_LIMIT_BYTES, MOST_MESSAGE_BYTES):  # the latter is refused, with a sentence, by who reads it
        dealer.send(bytes(size))
        assert router.poll(10_000)
        assert len(router.recv_multipart()[1]) == size
    broken = dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    dealer.send(bytes(MOST_MESSAGE_BYTES + 1))
    assert broken.poll(10_000)
    assert not router.poll(100)
    dealer.disable_monitor()
    broken.close(0)
