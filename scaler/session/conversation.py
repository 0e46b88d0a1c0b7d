"""Conversation: one side of a session on the wire. Bodies in, bodies out; no socket, no clock.

It numbers and keeps what is said (the ledger), cuts objects into chunks between other frames, and says when an
acknowledgement is due. Both the scheduler and a relay have one per session.

Rule 1: at most WINDOW_BYTES are under way, and WINDOW_FRAMES; beyond that `has_room` is false, and code that posts
        batches or functions waits.
Not here: what the bodies mean (session.remote_peers, session.session_at_relay).
"""

from collections.abc import Callable, Iterable
from functools import partial

from scaler._native import Loan
from scaler.objects.incoming import IncomingObjects
from scaler.objects.outgoing import OutgoingObjects
from scaler.objects.transport import LEAST_OFFERED_BYTES, Transport
from scaler.protocol.frames import Body, Chunk, Fetched, Frame, Offer
from scaler.session.ledger import Ledger

WINDOW_BYTES = 16 << 20
WINDOW_FRAMES = 1 << 14  # small ones cost memory besides their bytes, here and in ZeroMQ
CHUNK_WINDOW_BYTES = 2 << 20  # of these for chunks: what is under way is what other frames wait behind
CHUNKS_AT_ONCE = 8
OWED_CHUNKS = 4  # taken, before that is said


class Conversation:
    """`outbox` holds the frames to be sent now, in order; the shell empties it."""

    def __init__(self, incoming: IncomingObjects) -> None:
        self.transport: Transport | None = None
        self.ledger = Ledger()
        self.outbox: list[bytes] = []
        self.incoming = incoming
        self._outgoing = OutgoingObjects()

    def use(self, transport: Transport | None) -> None:
        """From here on large objects go this way: the other side can do that too."""
        self.transport = self.incoming.transport = transport

    @property
    def has_room(self) -> bool:
        ledger = self.ledger
        return ledger.unacknowledged_bytes < WINDOW_BYTES and ledger.unacknowledged < WINDOW_FRAMES

    @property
    def wants_to_go_on(self) -> bool:
        """There is more of an object to send, and room for it."""
        return self._outgoing.has_chunks and self.ledger.unacknowledged_bytes < CHUNK_WINDOW_BYTES

    def post(self, body: Body) -> None:
        """Say something that must arrive."""
        self.outbox.append(self.ledger.post(body))

    def say(self, body: Body | None = None) -> None:
        """Say something that need not, or merely acknowledge."""
        self.outbox.append(self.ledger.say(body))

    def post_object(self, loan: Loan, name: int = 0) -> None:
        """Send an object, before whatever is done `after_objects`. OSError or ValueError if it is not to be had.

        With a `name` the other side is to know it by that.
        """
        view, name = memoryview(loan.open(False)), name or loan.object
        transport = self.transport
        offer = None
        if transport is not None and transport.is_usable and view.nbytes >= LEAST_OFFERED_BYTES:
            offer = partial(self._offer, transport, name, view)
        self._outgoing.add(name, view, offer)

    def _offer(self, transport: Transport, object_id: int, view: memoryview, done: Callable[[bool], None]) -> None:
        self.post(transport.offer(object_id, view, done))

    def after_objects(
        self, what: Callable[[], None], objects: Iterable[int] | None = None, brings: Iterable[int] = ()
    ) -> None:
        """Do this once the other side has these objects; by default all that wait now, and what was to be done then.

        It `brings` some that nothing else names before.
        """
        self._outgoing.after(what, objects, brings)

    def drop_object(self, object_id: int) -> None:
        """Nobody wants this any more: if it is still under way it need not get there."""
        self._outgoing.drop(object_id)
        if self.transport is not None:
            self.transport.forget_offered(object_id)

    def go_on(self) -> None:
        """Send some more of the objects."""
        for _ in range(CHUNKS_AT_ONCE):
            if not self.wants_to_go_on:
                return
            self._outgoing.send_next(self.post)

    def take(self, frame: Frame) -> Body | None:
        """Book a frame. What is to be done about it, None if nothing is. FrameError ends the session."""
        if not self.ledger.take(frame):
            return None
        if isinstance(frame.body, Chunk):
            self.incoming.add(frame.body)
            if self.ledger.owed >= OWED_CHUNKS:
                self.acknowledge()
            return None
        if isinstance(frame.body, Offer):
            self._take_offer(frame.body)
            return None
        if isinstance(frame.body, Fetched):
            if self.transport is not None:
                self.transport.on_fetched(frame.body.object, frame.body.is_there)
            return None
        return frame.body

    def _take_offer(self, offer: Offer) -> None:
        arrival = self.incoming.expect(offer)
        if self.transport is None:
            self.post(Fetched(offer.object, False))
        else:
            self.transport.expect(offer, arrival, partial(self._say_fetched, offer.object))

    def _say_fetched(self, object_id: int, ok: bool) -> None:
        if ok:
            self.incoming.on_come(object_id)
        self.post(Fetched(object_id, ok))

    def resume(self, received: int) -> None:
        """The session goes on over another socket: say again what the other side has not taken."""
        self.outbox[:] = self.ledger.resume(received)

    def acknowledge(self) -> None:
        """Say what was taken, if nothing else has said it."""
        if self.ledger.owed:
            self.say()

    def close(self) -> None:
        self._outgoing.close()
        self.incoming.close()
        if self.transport is not None:
            self.transport.close()
