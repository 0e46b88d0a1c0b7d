"""Transport: how a large object goes to another host: over a TCP connection of its own, beside the session.

A session works with either of two, and sees no difference. At the scheduler it is SchedulerTransport, which serves a
port; at a relay it is RelayTransport, which connects to that port, and to the ports of other relays.

Not here: objects that go in chunks between a session's frames, since they are small or no connection can be had
(outgoing, incoming).
"""

from collections.abc import Callable
from typing import Protocol

from scaler.objects.arrival import Arrival
from scaler.protocol.frames import Offer

LEAST_OFFERED_BYTES = 256 << 10  # what is smaller costs less in chunks than the two frames and the wake-ups


class Transport(Protocol):
    """Another way for objects than chunks: connections of their own, if they can be had."""

    @property
    def is_usable(self) -> bool: ...

    def offer(self, object_id: int, view: memoryview, done: Callable[[bool], None]) -> Offer:
        """The other side is to have this: what to tell it. `done` is called, later, with whether it has."""
        ...

    def expect(self, offer: Offer, arrival: Arrival, done: Callable[[bool], None]) -> None:
        """The other side has this. `done` is called, later, with whether it came, if this side fetches it."""
        ...

    def on_fetched(self, object_id: int, is_there: bool) -> None:
        """The other side has fetched what was offered, or cannot."""
        ...

    def forget_offered(self, object_id: int) -> None:
        """The other side need not have it any more."""
        ...

    def forget_expected(self, object_id: int) -> None:
        """It is not wanted here any more, or a record has named it."""
        ...

    def close(self) -> None: ...
