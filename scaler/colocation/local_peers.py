"""LocalPeers: the processes of a host that have handed their rings to the scheduler or relay of that host.

The scheduler has one, and so has the relay of each cluster elsewhere. What is the same for both stands here: the
listener, opening the segment that a process names, the answer that it gets, which process belongs to which rings, and
hanging up on one whose rings make no sense. What is done with the rings says their owner.

Rule 1: all of it happens on the event loop.
Rule 2: `RingOwner.on_left` is called once for each process that was taken in, whatever ended its connection.
Not here: the handshake itself (listener), what records mean (the core, session.cluster_at_relay), the two owners
(scheduler.pump_peers, session.cluster_relay).
"""

import asyncio
import logging
import secrets
from collections.abc import Hashable
from typing import Any, Generic, Protocol, TypeVar

from scaler._native import Segment, is_supply
from scaler.colocation.handshake import Refused
from scaler.colocation.listener import LocalListener, LocalPeer, rings_of
from scaler.colocation.memory import ObjectMemory
from scaler.colocation.voucher import voucher_of
from scaler.program.sparing_log import SparingLog

_sparing = SparingLog(logging.getLogger(__name__))
Rings = TypeVar("Rings", bound=Hashable)


class RingOwner(Protocol[Rings]):
    """What reads the rings: the scheduler's pump, or a relay."""

    def take_in(self, peer: LocalPeer, memory: Segment) -> Rings | None:
        """Read these rings from now on; None if they are not needed. Refused if such a process is not wanted."""
        ...

    def place_of(self, rings: Rings) -> tuple[int, int]:
        """(slot in the bell page, tag of the objects that the process makes)."""
        ...

    def on_joined(self, peer: LocalPeer) -> None:
        """It is known by its rings now."""
        ...

    def on_left(self, peer: LocalPeer) -> None:
        """It has gone, or was hung up on."""
        ...

    def on_said(self, peer: LocalPeer, message: dict[str, Any]) -> bool:
        """A message of it. False if that means nothing."""
        ...

    def on_shut_out(self, peer: LocalPeer) -> None:
        """It will be hung up on, since its rings make no sense: if it is a worker, it is to be killed."""
        ...


class LocalPeers(Generic[Rings]):
    """`bell_name` is the bell page's, and `eventfd` what a process rings. `memory` is where its objects go."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        owner: RingOwner[Rings],
        *,
        epoch: str,
        bell_name: str,
        eventfd: int,
        memory: ObjectMemory,
    ) -> None:
        self._owner, self._epoch, self._bell_name, self._memory = owner, epoch, bell_name, memory
        self.by_rings: dict[Rings, LocalPeer] = {}
        self.listener = LocalListener(
            loop, f"scaler-{epoch}-{secrets.token_hex(4)}", eventfd, self._take_in, self._on_left, owner.on_said
        )

    @property
    def address(self) -> str:
        """Where processes of this host hand in their rings."""
        return self.listener.address

    def _take_in(self, peer: LocalPeer) -> dict[str, Any]:
        memory = rings_of(peer, self._epoch)
        if peer.request["role"] == "worker":
            peer.voucher = voucher_of(memory)
        rings = self._owner.take_in(peer, memory)
        slot = tag = 0
        if rings is not None:
            slot, tag = self._owner.place_of(rings)
            peer.rings = rings
            self.by_rings[rings] = peer
            self._owner.on_joined(peer)
        return {"slot": slot, "bell": self._bell_name, "epoch": self._epoch, "tag": tag, "memory": self._memory}

    def _on_left(self, peer: LocalPeer) -> None:
        if peer.rings is not None:
            del self.by_rings[peer.rings]
        self._owner.on_left(peer)

    def with_role(self, role: str) -> list[LocalPeer]:
        """Those that were taken in as this, whether their rings are read or not."""
        return [peer for peer in self.listener.peers if peer.accepted and peer.request["role"] == role]

    def tell(self, peer: LocalPeer, message: dict[str, Any]) -> None:
        """Send it a message, if it reads."""
        self.listener.tell(peer, message)

    def shut_out(self, rings: Rings) -> None:
        """Hang up on the process with these rings: what it has written makes no sense."""
        peer = self.by_rings.get(rings)
        if peer is None:
            return  # it has left meanwhile
        _sparing.error(
            peer.pid,
            "%s %s (process %d) wrote a record that makes no sense: it is shut out",
            peer.request["role"], peer.request.get("name", ""), peer.pid,
        )  # fmt: skip
        self._owner.on_shut_out(peer)
        self.listener.dismiss(peer)

    def close(self) -> None:
        """Hang up on all."""
        self.listener.close()


def supply_in(request: dict[str, Any]) -> bytes:
    """What a worker says that it has for tasks that ask for resources. Refused if that makes no sense."""
    text = request.get("resources", "")
    try:
        supply = text.encode()
    except (AttributeError, UnicodeEncodeError):
        supply = b"="
    if supply and not is_supply(supply):
        raise Refused("what it says of its resources makes no sense")
    return bytes(supply)


def refuse_role(role: object, reader: str) -> Refused:
    """What to raise for a process that this reader of rings has no use for."""
    return Refused(f"{role!r} is no kind of process whose rings {reader} reads")
