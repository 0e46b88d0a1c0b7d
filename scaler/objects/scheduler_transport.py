"""SchedulerTransport: the scheduler's end of large objects' way to and from a remote peer, which connects to its port.

What it is to have is served there until it says that it has it, or can't get it; what it has is expected there until a
record names it.

Not here: chunks, which are what is left when that does not work (incoming, outgoing).
"""

from collections.abc import Callable

from scaler.objects.arrival import Arrival
from scaler.objects.directory import Host, ObjectDirectory, Source
from scaler.objects.port import ObjectPort
from scaler.objects.stream import token_for
from scaler.protocol.frames import Offer


class SchedulerTransport:
    """`peer` is the other side. What it gets it can give to others, if `keeps` says so and it has an address.

    `number` is by what it is known where connections are sealed.
    """

    def __init__(self, port: ObjectPort, directory: ObjectDirectory, peer: Host, keeps: bool, number: int) -> None:
        self._port, self._directory, self._peer, self._keeps = port, directory, peer, keeps
        self._number = number
        self._offered: dict[int, tuple[Callable[[bool], None], Source | None]] = {}
        self._expected: set[int] = set()

    @property
    def is_usable(self) -> bool:
        return True

    def offer(self, object_id: int, view: memoryview, done: Callable[[bool], None]) -> Offer:
        source = self._directory.choose(object_id)
        self._offered[object_id] = done, source
        token = self._port.serve(object_id, view)
        if source is None:
            return Offer(object_id, view.nbytes, token)
        return Offer(
            object_id, view.nbytes, token, source.host.address, source.token(object_id), source.key_for(self._number)
        )

    def on_fetched(self, object_id: int, is_there: bool) -> None:
        """The peer has it, or can't get it this way."""
        done = self._end_offer(object_id)
        if done is None:
            return
        if is_there and self._keeps:
            self._directory.note(object_id, Source(self._peer))
        done(is_there)

    def on_made(self, object_id: int, result_id: int) -> None:
        """A worker of the peer has made this, under that id, and the peer keeps it."""
        self._directory.note(object_id, Source(self._peer, result_id))

    def _end_offer(self, object_id: int) -> Callable[[bool], None] | None:
        if object_id not in self._offered:
            return None
        done, source = self._offered.pop(object_id)
        self._port.withdraw(object_id)
        self._directory.on_given(source)
        return done

    def expect(self, offer: Offer, arrival: Arrival, done: Callable[[bool], None]) -> None:
        self._expected.add(offer.object)
        self._port.expect(token_for(self._peer.key, offer.object), arrival)

    def forget_offered(self, object_id: int) -> None:
        self._end_offer(object_id)

    def forget_expected(self, object_id: int) -> None:
        if object_id in self._expected:
            self._expected.remove(object_id)
            self._port.forget(token_for(self._peer.key, object_id))

    def close(self) -> None:
        for object_id in list(self._offered):
            self._end_offer(object_id)
        for object_id in list(self._expected):
            self.forget_expected(object_id)
        self._directory.on_left(self._peer)
