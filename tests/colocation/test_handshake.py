"""The handshake: who is let in, what is said to nonsense, and what happens when there are no descriptors left."""

import asyncio
import json
import os
import resource
import secrets
import socket
import subprocess
import sys
import threading

import pytest

from scaler._native import LAYOUT_VERSION, Segment
from scaler.colocation import handshake as handshakes
from scaler.colocation import listener
from scaler.colocation.doorbell import new_doorbell
from scaler.colocation.handshake import NotCoLocated, Refused, handshake, pack_address
from scaler.colocation.listener import LocalListener, open_rings
from scaler.colocation.names import BellPage, new_epoch, segment_name
from scaler.exceptions import DisconnectedError
from scaler.program.sparing_log import SparingLog
from tests.processes import wait_until


class Host:
    """The owner of a listener, on a loop of its own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.bell = os.eventfd(0)
        self.address = f"scaler-test-{secrets.token_hex(8)}"
        self.epoch = new_epoch()
        self.page = BellPage(self.epoch)
        self.joined, self.left = [], []
        self.listener = LocalListener(self.loop, self.address, self.bell, self.join, self.left.append)

    def join(self, local_peer):
        int(local_peer.request.get("bits", 0)).to_bytes(3, "little")  # as the core fails
        self.joined.append(open_rings(local_peer.request, self.epoch))
        return {"slot": 0, "bell": self.page.name, "epoch": self.epoch, "tag": 7, "memory": ("/tmp", 0)}

    def turn(self, times=1):
        for _ in range(times):
            self.loop.run_until_complete(asyncio.sleep(0))

    def close(self):
        self.listener.close()
        self.loop.close()
        self.page.close()
        os.close(self.bell)


@pytest.fixture
def host():
    made = Host()
    yield made
    made.close()


def visit(host):
    local_peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    local_peer.settimeout(20)
    local_peer.connect(pack_address(host.address))
    return local_peer


def answer_to(host, packet, doorbell=None, more=()):
    """What the listener says to a process that says this, and hands in these descriptors besides its doorbell."""
    doorbell = new_doorbell() if doorbell is None else doorbell
    with visit(host) as local_peer:
        socket.send_fds(local_peer, [packet], [doorbell, *more])
        os.close(doorbell)
        host.turn(10)
        said, descriptors, _, _ = socket.recv_fds(local_peer, 65536, 1)
    for descriptor in descriptors:
        os.close(descriptor)
    host.turn(10)
    answer = json.loads(said)
    assert len(descriptors) == answer["ok"]  # nobody else gets the owner's bell
    return answer


def request_of(name):
    """What a client asks whose rings are in this segment."""
    request = {"role": "client", "segment": name, "nonce": "00" * 16, "layout": LAYOUT_VERSION, "bits": 5}
    return {**request, "python": list(sys.version_info[:2])}


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": 3},
        {"nonce": "00"},
        {"segment": None},
        {"layout": LAYOUT_VERSION + 1},
        {"python": 3},
        {"python": [2, "seven"]},
        {"bits": []},
        {"bits": "many"},
        {"bits": -1},
        {"bits": 1 << 70},
    ],
)
def test_a_request_that_makes_no_sense_is_answered_with_a_sentence(host, wrong):
    name = segment_name(host.epoch)
    Segment.create(name, 4096)
    try:
        request = request_of(name)
        answer = answer_to(host, json.dumps({**request, **wrong}).encode())
        assert answer_to(host, json.dumps(request).encode())["ok"]
    finally:
        Segment.unlink(name)
    assert not answer["ok"]
    assert answer["why"]
    assert not host.listener.peers


@pytest.mark.parametrize(
    "doorbell",
    [
        lambda: os.eventfd(0, os.EFD_NONBLOCK),
        lambda: os.open(os.devnull, os.O_RDWR),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach(),
        lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).detach(),
    ],
)
def test_a_doorbell_that_could_make_the_owner_wait_is_refused_with_a_sentence(host, doorbell):
    name = segment_name(host.epoch)
    Segment.create(name, 4096)
    try:
        request = request_of(name)
        answer = answer_to(host, json.dumps(request).encode(), doorbell())
    finally:
        Segment.unlink(name)
    assert not answer["ok"]
    assert "doorbell" in answer["why"]
    assert not host.joined
    assert not host.listener.peers


def test_a_name_that_no_message_can_carry_is_put_right(host):
    name = segment_name(host.epoch)
    Segment.create(name, 4096)
    try:
        request = {"role": "client", "segment": name, "nonce": "00" * 16, "layout": LAYOUT_VERSION}
        request |= {"python": list(sys.version_info[:2]), "name": "a\ud800b"}
        assert answer_to(host, json.dumps(request).encode())["ok"]
    finally:
        Segment.unlink(name)
    assert [local_peer.request["name"] for local_peer in host.left] == ["a?b"]


@pytest.mark.parametrize("packet", [b"no json", b"[]", b"[" * 60_000, b"\xff"])
def test_a_packet_that_is_no_request_is_answered_with_a_sentence(host, packet):
    assert not answer_to(host, packet)["ok"]
    assert not host.listener.peers


def test_a_listener_without_descriptors_says_so_once_and_opens_again(host, caplog, monkeypatch):
    monkeypatch.setattr(listener, "PAUSE_S", 0.2)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with visit(host) as local_peer:
        lowest_free = os.dup(local_peer.fileno())
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
        try:
            host.turn(50)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert len(caplog.records) == 1
        assert not host.listener.peers
        host.loop.run_until_complete(asyncio.wait_for(until(lambda: host.listener.peers), 20))


async def until(condition):
    while not condition():
        await asyncio.sleep(0.01)


def is_hung_up(local_peer):
    local_peer.setblocking(False)
    try:
        return local_peer.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False


def test_of_visitors_that_say_nothing_only_so_many_may_wait_and_the_oldest_are_hung_up_on(host, monkeypatch):
    monkeypatch.setattr(listener, "MOST_SILENT", 3)
    local_peers = []
    for _ in range(5):
        local_peers.append(visit(host))
        host.turn(10)
    assert [is_hung_up(local_peer) for local_peer in local_peers] == [True, True, False, False, False]
    assert answer_to(host, b"{}")["why"]  # others are still heard
    for local_peer in local_peers:
        local_peer.close()
    host.turn(10)
    assert not host.listener.peers


def test_a_visitor_that_says_nothing_for_too_long_is_hung_up_on(host, monkeypatch):
    monkeypatch.setattr(listener, "PATIENCE_S", 0.05)
    with visit(host) as silent:
        host.turn(10)
        assert len(host.listener.peers) == 1
        wait_until(lambda: host.turn() or is_hung_up(silent))
    assert not host.listener.peers
    handshakes = host.loop.run_in_executor(None, handshake, host.address, host.epoch, "client", 4096)
    entry = host.loop.run_until_complete(handshakes)
    host.loop.run_until_complete(asyncio.sleep(0.2))
    assert len(host.listener.peers) == 1  # one that was let in may be silent as long as it likes
    entry.close()
    host.loop.run_until_complete(asyncio.wait_for(until(lambda: host.left), 20))


def test_a_visitor_of_another_user_is_hung_up_on_before_it_says_anything(host, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 2**31)
    with visit(host) as local_peer:
        host.turn(10)
        assert not host.listener.peers
        assert local_peer.recv(10) == b""


def test_knocking_gives_rings_and_hanging_up_takes_them_back(host):
    handshakes = host.loop.run_in_executor(None, handshake, host.address, host.epoch, "client", 4096)
    entry = host.loop.run_until_complete(handshakes)
    assert len(host.joined) == 1
    entry.close()
    host.loop.run_until_complete(asyncio.wait_for(until(lambda: host.left), 20))
    assert not host.listener.peers


def test_what_means_nothing_is_counted_and_logged_and_the_visitor_stays(host, caplog, monkeypatch):
    monkeypatch.setattr(
        listener, "_sparing", SparingLog(listener._log)
    )  # another test's process may have said something odd
    handshakes = host.loop.run_in_executor(None, handshake, host.address, host.epoch, "client", 4096)
    entry = host.loop.run_until_complete(handshakes)
    for odd in (b"no json", b"[]", b"{}", b'{"said in a version to come": 1}', b"[" * 60_000, b"\xff"):
        entry.connection.send(odd)
    socket.send_fds(entry.connection, [b"{}"], [0, 1, 2])
    host.loop.run_until_complete(asyncio.wait_for(until(lambda: host.listener.odd == 7), 20))
    assert len(host.listener.peers) == 1
    assert not host.left
    assert "says what means nothing to the listener" in caplog.text
    entry.close()
    host.loop.run_until_complete(asyncio.wait_for(until(lambda: host.left), 20))


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "/dev/zero",
        "../x",
        "",
        "scaler-{epoch}-bell",
        "scaler-{epoch}-000005-1",
        "/tmp/scaler-{other}-{hex}",
    ],
)
def test_nothing_is_opened_that_is_no_segment_for_rings_of_this_life(host, name):
    request = {"role": "client", "nonce": "00" * 16, "layout": LAYOUT_VERSION, "python": list(sys.version_info[:2])}
    request["segment"] = name.format(epoch=host.epoch, other=new_epoch(), hex="0" * 16)
    answer = answer_to(host, json.dumps(request).encode())
    assert not answer["ok"]
    assert "no segment for rings of this scheduler" in answer["why"]


@pytest.mark.parametrize("count", [5, 30, 250])
def test_a_packet_with_more_descriptors_than_it_may_have_is_answered_and_leaves_none(host, count):
    before = len(os.listdir("/proc/self/fd"))
    with visit(host) as local_peer:
        socket.send_fds(local_peer, [b"{}"], [0] * count)
        host.turn(10)
        assert b"descriptors" in local_peer.recv(65536)
        assert local_peer.recv(10) == b""
    assert len(os.listdir("/proc/self/fd")) == before
    assert not host.listener.peers


class FalseListener:
    """Answers every local_peer with this packet."""

    def __init__(self, packet, descriptors):
        self.address = f"scaler-test-{secrets.token_hex(8)}"
        self.packet, self.descriptors = packet, descriptors
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.bind(pack_address(self.address))
        self.socket.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        connection, _ = self.socket.accept()
        with connection, self.socket:
            connection.recv(65536)
            socket.send_fds(connection, [self.packet], [0] * self.descriptors)
            connection.recv(1)


ANSWER = {
    "ok": True,
    "slot": 0,
    "bell": "scaler-" + "0" * 16 + "-bell",
    "epoch": "0" * 16,
    "tag": 7,
    "memory": ["/tmp", 0],
}


@pytest.mark.parametrize(
    ("answer", "descriptors", "error"),
    [
        ({**ANSWER, "bell": "/etc/passwd"}, 1, DisconnectedError),
        ({**ANSWER, "bell": "scaler-" + "1" * 16 + "-bell"}, 1, DisconnectedError),
        ({**ANSWER, "epoch": "1" * 16, "bell": "scaler-" + "1" * 16 + "-bell"}, 1, DisconnectedError),
        ({**ANSWER, "slot": "x"}, 1, DisconnectedError),
        ({**ANSWER, "slot": True}, 1, DisconnectedError),
        ({**ANSWER, "memory": "/tmp"}, 1, DisconnectedError),
        ({**ANSWER, "memory": [0, "/tmp"]}, 1, DisconnectedError),
        (ANSWER, 0, DisconnectedError),
        (ANSWER, 3, DisconnectedError),
        (ANSWER, 1, DisconnectedError),  # there is no such bell page
        ({"ok": True}, 1, DisconnectedError),
        ([], 1, DisconnectedError),
        (None, 1, DisconnectedError),
        ({}, 1, Refused),
        ({"ok": False, "why": ["odd"]}, 1, Refused),
        ({"ok": False, "elsewhere": 1}, 0, NotCoLocated),
    ],
)
def test_what_answers_as_no_listener_does_is_taken_for_nobody_and_nothing_is_left(answer, descriptors, error):
    before = len(os.listdir("/proc/self/fd"))
    listener = FalseListener(b"\xff" if answer is None else json.dumps(answer).encode(), descriptors)
    with pytest.raises(error):
        handshake(listener.address, "0" * 16, "client", 4096, keeps_memory=True)
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_rings_in_a_file_are_handed_to_nobody_whose_bell_cannot_be_seen(host, tmp_path, monkeypatch):
    monkeypatch.setattr(handshakes, "make_segment", lambda name, size: Segment.create(f"{tmp_path}/{name}", size))
    with pytest.raises(NotCoLocated, match="no shared memory in common"):
        handshake(host.address, new_epoch(), "client", 4096)
    assert host.joined == []
    assert os.listdir(tmp_path) == []


def test_what_is_no_descriptor_of_a_process_is_refused_as_one(host):
    name = segment_name(host.epoch)
    Segment.create(name, 4096)
    packet = json.dumps(request_of(name)).encode()
    others = [os.eventfd(0), os.open("/proc/self", os.O_RDONLY), os.open("/dev/null", os.O_RDONLY)]
    try:
        for other in others:
            answer = answer_to(host, packet, more=[other])
            assert (answer["ok"], answer["why"]) == (False, "what it says is a descriptor of its process is none")
        assert not host.listener.peers
    finally:
        Segment.unlink(name)
        for other in others:
            os.close(other)


def test_the_end_of_a_process_is_heard_though_somebody_holds_its_connection_open(host):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        name = segment_name(host.epoch)
        Segment.create(name, 4096)
        pidfd = os.pidfd_open(process.pid)
        request = {"role": "client", "segment": name, "nonce": "00" * 16, "layout": LAYOUT_VERSION}
        packet = json.dumps({**request, "python": list(sys.version_info[:2]), "pid": 1}).encode()
        doorbell = new_doorbell()
        with visit(host) as local_peer:
            socket.send_fds(local_peer, [packet], [doorbell, pidfd])
            host.turn(10)
            Segment.unlink(name)
            assert len(host.joined) == 1
            process.kill()
            host.loop.run_until_complete(asyncio.wait_for(until(lambda: host.left), 20))
        for descriptor in (doorbell, pidfd):
            os.close(descriptor)
