"""Visitors: the connections of a port for objects, and which of them has to go. No socket, no clock, no thread.

A connection that has proved nothing costs whoever opens it nothing, so there may be but a few of these, and one that is
to be let in takes the place of another. The place is taken from the address that has most of them, so that one address
that opens many keeps out nobody but its own; there it is the oldest, since a host that is meant to come needs a moment
only. Those that have proved who they are have a bound for each peer, and one for all. The one goes that has had nothing
to do for longest, which does no harm, as a dialer connects again.

Rule 1: each connection has one limit at a time: the time by which it must have got on (`wait`).
Not here: sockets and threads (port), what is said over a connection (visit).
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, Protocol, TypeVar

PREFIX_BITS = 64  # of an IPv6 address: who has one such address has them all


class Visitor(Protocol):
    """What is known of a connection here."""

    address: str  # as `address_of` gives it
    peer: Hashable  # whose it is, once it has proved that; None before
    is_idle: bool  # has nothing to do just now


def address_of(host: str) -> str:
    """What counts as one address."""
    if ":" not in host:
        return host
    return str(ipaddress.IPv6Network((host.partition("%")[0], PREFIX_BITS), strict=False).network_address)


V = TypeVar("V", bound=Visitor)


class Visitors(Generic[V]):
    """`most_unproved` of all, `most_of_peer` of those of one peer, `most` in all."""

    def __init__(self, most_unproved: int, most_of_peer: int, most: int) -> None:
        self.most_unproved, self.most_of_peer, self.most = most_unproved, most_of_peer, most
        self._all: dict[V, None] = {}
        self._unproved: dict[str, OrderedDict[V, None]] = {}
        self._count_unproved = 0
        self._peers: dict[Hashable, dict[V, None]] = {}
        self._idle: OrderedDict[V, None] = OrderedDict()
        self._limits: dict[float, OrderedDict[V, float]] = {}  # by length: what waits with it, the next one due first
        self._limit_of: dict[V, float] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[V]:
        return iter(list(self._all))

    @property
    def unproved(self) -> int:
        return self._count_unproved

    def add(self, visitor: V) -> V | None:
        """A new connection, which has proved nothing. Which one has to go for it: maybe itself."""
        goes = None
        if self._count_unproved >= self.most_unproved:
            goes = self.find_unproved()
        elif len(self._all) >= self.most:
            goes = self.find_dispensable()
            if goes is None:
                return visitor
        self._all[visitor] = None
        self._unproved.setdefault(visitor.address, OrderedDict())[visitor] = None
        self._count_unproved += 1
        return goes

    def find_unproved(self) -> V | None:
        """The oldest that has proved nothing, of the address that has most of these."""
        if not self._unproved:
            return None
        most = max(map(len, self._unproved.values()))
        return next(next(iter(visitors)) for visitors in self._unproved.values() if len(visitors) == most)

    def find_dispensable(self) -> V | None:
        """The connection that can best be done without: one that has proved nothing, or has nothing to do."""
        return self.find_unproved() or next(iter(self._idle), None)

    def prove(self, visitor: V, peer: Hashable) -> V | None:
        """It has proved that it is this peer's. Which one has to go for it: maybe itself."""
        if visitor.peer is not None:
            return None
        self._forget_unproved(visitor)
        visitor.peer = peer
        others = self._peers.setdefault(peer, {})
        goes = None
        if len(others) >= self.most_of_peer:
            goes = next((other for other in others if other.is_idle), visitor)
        others[visitor] = None
        return goes

    def of_peer(self, peer: Hashable) -> list[V]:
        return list(self._peers.get(peer, ()))

    def wait(self, visitor: V, limit_s: float, now_s: float) -> None:
        """It has to get on within so long; what it had to before does not count any more."""
        self._forget_limit(visitor)
        self._limit_of[visitor] = limit_s
        self._limits.setdefault(limit_s, OrderedDict())[visitor] = now_s + limit_s
        if visitor.is_idle and visitor.peer is not None:
            self._idle[visitor] = None
            self._idle.move_to_end(visitor)
        else:
            self._idle.pop(visitor, None)

    def take_due(self, now_s: float) -> list[V]:
        """Those that have not got on in time. They have no limit then."""
        due = []
        for waiting in self._limits.values():
            while waiting and next(iter(waiting.values())) <= now_s:
                due.append(next(iter(waiting)))
                self._forget_limit(due[-1])
        return due

    def next_due_s(self) -> float | None:
        """When the next one has to have got on; None if none has to."""
        return min((next(iter(waiting.values())) for waiting in self._limits.values() if waiting), default=None)

    def remove(self, visitor: V) -> None:
        if visitor not in self._all:
            return
        del self._all[visitor]
        self._forget_limit(visitor)
        self._idle.pop(visitor, None)
        if visitor.peer is None:
            self._forget_unproved(visitor)
            return
        others = self._peers[visitor.peer]
        del others[visitor]
        if not others:
            del self._peers[visitor.peer]

    def _forget_unproved(self, visitor: V) -> None:
        of_address = self._unproved[visitor.address]
        del of_address[visitor]
        self._count_unproved -= 1
        if not of_address:
            del self._unproved[visitor.address]

    def _forget_limit(self, visitor: V) -> None:
        limit_s = self._limit_of.pop(visitor, None)
        if limit_s is not None:
            del self._limits[limit_s][visitor]
