"""The handshake of a scheduler or relay, in which anybody of this host says anything, with any descriptors.

Sockets are real, the owner's loop is this one's. A stranger sends packets that are drawn, once or more often, with none
to five descriptors that are eventfds, pipes, files or memory, and hangs up or stays.

Held: nothing is raised in the loop; who was let in is said to have left, once; no descriptor is left; and an honest
local_peer is let in at the end.
"""

import array
import asyncio
import json
import os
import random
import secrets
import socket
import sys
from collections.abc import Callable
from typing import Any

from scaler._native import LAYOUT_VERSION, Segment, lay_out_peer, peer_segment_bytes
from scaler.colocation.doorbell import new_doorbell
from scaler.colocation.handshake import pack_address
from scaler.colocation.listener import LocalListener, LocalPeer, rings_of
from scaler.colocation.names import make_segment, new_epoch, segment_name, sweep

EVENTS = 100  # of an episode
VALUES: tuple[Any, ...] = (
    0, 1, -1, 2**40, 2**70, 1.5, 1e999, None, True, "", "a", "worker", "client", "\ud800", [], {}, [3, 11], ["3"],
    "0" * 32, "/etc/passwd", "../x", "x" * 3000, [[[[]]]],
)  # fmt: skip
KEYS = ("segment", "nonce", "role", "layout", "python", "pid", "bits", "tag", "name", "died", "facts", "worker")
PACKETS = (b"", b"{", b"[]", b"5", b"null", b"\xff\xfe", b"[" * 5000, b'{"a":' * 3000, b"{}" * 30000, b'{"ok": NaN}')


class HandshakeFuzz:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.loop = asyncio.new_event_loop()
        self.faults: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda loop, context: self.faults.append(context))
        self.bell = os.eventfd(0, os.EFD_NONBLOCK)
        self.epoch = new_epoch()
        self.joined: list[LocalPeer] = []
        self.left: list[LocalPeer] = []
        self.address = f"scaler-fuzz-{secrets.token_hex(8)}"
        self.listener = LocalListener(
            self.loop, self.address, self.bell, self.join, self.left.append, lambda local_peer, said: bool(said)
        )
        self.strangers: list[socket.socket] = []
        self.segment, self.nonce = segment_name(self.epoch), os.urandom(16)
        memory = make_segment(self.segment, peer_segment_bytes(4096, 1024))
        lay_out_peer(memory, self.nonce, 4096, 1024)
        self.memory: Segment | None = memory

    def join(self, local_peer: LocalPeer) -> dict[str, Any]:
        rings_of(local_peer, self.epoch)
        self.joined.append(local_peer)
        return {"slot": 0}

    def good(self) -> dict[str, Any]:
        return {
            "segment": self.segment, "nonce": self.nonce.hex(), "role": "client", "layout": LAYOUT_VERSION,
            "python": list(sys.version_info[:2]), "bits": 5,
        }  # fmt: skip

    def descriptors(self) -> list[int]:
        """Any, of which the caller closes its copies."""
        chance, made = self.chance, []
        for _ in range(chance.choice((0, 1, 1, 1, 1, 2, 2, 3, 5))):
            luck = chance.random()
            if luck < 0.5:
                made.append(new_doorbell())
            elif luck < 0.6:
                made.append(os.eventfd(0))  # one at which a writer may have to wait
            elif luck < 0.75:
                made.append(os.memfd_create("fuzz"))
                os.truncate(made[-1], chance.choice((0, 100, 4096, 70000)))
            elif luck < 0.9:
                made += os.pipe()
            else:
                made.append(os.open("/dev/null", os.O_RDWR))
        return made

    def packet(self) -> bytes:
        chance = self.chance
        if chance.random() < 0.15:
            return chance.choice(PACKETS)
        said = self.good() if chance.random() < 0.9 else {}
        for _ in range(chance.choice((0, 0, 1, 1, 2))):
            said[chance.choice(KEYS)] = chance.choice(VALUES)
        if chance.random() < 0.05:
            said.pop(chance.choice(KEYS), None)
        return json.dumps(said).encode()

    def event(self) -> None:
        chance = self.chance
        if not self.strangers or (len(self.strangers) < 5 and chance.random() < 0.5):
            stranger = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            stranger.setblocking(False)
            stranger.connect(pack_address(self.address))
            self.strangers.append(stranger)
        stranger = chance.choice(self.strangers)
        if chance.random() < 0.2:
            self.strangers.remove(stranger)
            stranger.close()
        else:
            given = self.descriptors()
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", given))] if given else []
            try:
                stranger.sendmsg([self.packet()], rights)
            except OSError:  # it was hung up on, or a packet is too large
                pass
            for descriptor in given:
                os.close(descriptor)
        self.turn(chance.choice((0, 1, 3)))

    def turn(self, times: int) -> None:
        for _ in range(times):
            self.loop.run_until_complete(asyncio.sleep(0))
        assert not self.faults, self.faults

    def take_down(self) -> None:
        before = len(self.joined)
        honest, bell = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET), new_doorbell()
        with honest:
            honest.settimeout(10)
            honest.connect(pack_address(self.address))
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [bell]))]
            honest.sendmsg([json.dumps(self.good()).encode()], rights)
            self.turn(20)
            answer, descriptors, _, _ = socket.recv_fds(honest, 65536, 4)
            assert json.loads(answer)["ok"], answer
            for descriptor in (*descriptors, bell):
                os.close(descriptor)
        assert len(self.joined) > before
        for stranger in self.strangers:
            stranger.close()
        self.turn(20)
        self.listener.close()
        self.loop.close()
        os.close(self.bell)
        self.memory = None
        sweep(self.epoch)
        assert sorted(map(id, self.left)) == sorted(map(id, self.joined)), "who was let in leaves once"


def episode(seed: int, events: int, on_event: Callable[[int], None]) -> None:
    before = set(os.listdir("/proc/self/fd"))
    fuzz = HandshakeFuzz(seed)
    for number in range(events):
        on_event(number)
        fuzz.event()
    on_event(events)
    fuzz.take_down()
    left = set(os.listdir("/proc/self/fd")) - before
    names = [os.readlink(f"/proc/self/fd/{each}") for each in left if os.path.exists(f"/proc/self/fd/{each}")]
    assert len(left) <= 1, f"descriptors that nobody has closed: {names}"  # the listing's own
