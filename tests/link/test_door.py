"""The door: who is let in, what is said to nonsense, and what happens when there are no descriptors left."""

import asyncio
import json
import os
import resource
import secrets
import socket
import sys

import pytest

from scaler._native import LAYOUT_VERSION, Segment
from scaler.link import door
from scaler.link.door import Door, open_rings
from scaler.link.doorbell import new_doorbell
from scaler.link.knock import knock, pack_address
from scaler.link.names import new_life, segment_name


class Host:
    """The owner of a door, on a loop of its own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.bell = os.eventfd(0)
        self.address = f"scaler-test-{secrets.token_hex(8)}"
        self.joined, self.left = [], []
        self.door = Door(self.loop, self.address, self.bell, self.join, self.left.append)

    def join(self, visitor):
        int(visitor.request.get("bits", 0)).to_bytes(3, "little")  # as the core fails
        self.joined.append(open_rings(visitor.request))
        return {"slot": 0, "bell": self.joined[-1].name, "life": "", "tag": 7, "memory": ("/tmp", 0)}

    def turn(self, times=1):
        for _ in range(times):
            self.loop.run_until_complete(asyncio.sleep(0))

    def close(self):
        self.door.close()
        self.loop.close()
        os.close(self.bell)


@pytest.fixture
def host():
    made = Host()
    yield made
    made.close()


def visit(host):
    visitor = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    visitor.settimeout(20)
    visitor.connect(pack_address(host.address))
    return visitor


def answer_to(host, packet, doorbell=None):
    """What the door says to a visitor that says this."""
    doorbell = new_doorbell() if doorbell is None else doorbell
    with visit(host) as visitor:
        socket.send_fds(visitor, [packet], [doorbell])
        os.close(doorbell)
        host.turn(10)
        said, descriptors, _, _ = socket.recv_fds(visitor, 65536, 1)
    for descriptor in descriptors:
        os.close(descriptor)
    host.turn(10)
    return json.loads(said)


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
    name = segment_name(new_life())
    Segment.create(name, 4096)
    try:
        request = {"role": "client", "segment": name, "nonce": "00" * 16, "layout": LAYOUT_VERSION, "bits": 5}
        request["python"] = list(sys.version_info[:2])
        answer = answer_to(host, json.dumps({**request, **wrong}).encode())
        assert answer_to(host, json.dumps(request).encode())["ok"]
    finally:
        Segment.unlink(name)
    assert not answer["ok"]
    assert answer["why"]
    assert not host.door.visitors


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
    name = segment_name(new_life())
    Segment.create(name, 4096)
    try:
        request = {"role": "client", "segment": name, "nonce": "00" * 16, "layout": LAYOUT_VERSION, "bits": 5}
        request["python"] = list(sys.version_info[:2])
        answer = answer_to(host, json.dumps(request).encode(), doorbell())
    finally:
        Segment.unlink(name)
    assert not answer["ok"]
    assert "doorbell" in answer["why"]
    assert not host.joined
    assert not host.door.visitors


def test_a_name_that_no_message_can_carry_is_put_right(host):
    name = segment_name(new_life())
    Segment.create(name, 4096)
    try:
        request = {"role": "client", "segment": name, "nonce": "00" * 16, "layout": LAYOUT_VERSION}
        request |= {"python": list(sys.version_info[:2]), "name": "a\ud800b"}
        assert answer_to(host, json.dumps(request).encode())["ok"]
    finally:
        Segment.unlink(name)
    assert [visitor.request["name"] for visitor in host.left] == ["a?b"]


@pytest.mark.parametrize("packet", [b"no json", b"[]", b"[" * 60_000, b"\xff"])
def test_a_packet_that_is_no_request_is_answered_with_a_sentence(host, packet):
    assert not answer_to(host, packet)["ok"]
    assert not host.door.visitors


def test_a_door_without_descriptors_says_so_once_and_opens_again(host, caplog, monkeypatch):
    monkeypatch.setattr(door, "PAUSE_S", 0.2)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with visit(host) as visitor:
        lowest_free = os.dup(visitor.fileno())
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
        try:
            host.turn(50)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert len(caplog.records) == 1
        assert not host.door.visitors
        host.loop.run_until_complete(asyncio.wait_for(until(lambda: host.door.visitors), 20))


async def until(condition):
    while not condition():
        await asyncio.sleep(0.01)


def test_a_visitor_of_another_user_is_hung_up_on_before_it_says_anything(host, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 2**31)
    with visit(host) as visitor:
        host.turn(10)
        assert not host.door.visitors
        assert visitor.recv(10) == b""


def test_knocking_gives_rings_and_hanging_up_takes_them_back(host):
    knocking = host.loop.run_in_executor(None, knock, host.address, new_life(), "client", 4096)
    entry = host.loop.run_until_complete(knocking)
    assert len(host.joined) == 1
    entry.close()
    host.loop.run_until_complete(asyncio.wait_for(until(lambda: host.left), 20))
    assert not host.door.visitors
