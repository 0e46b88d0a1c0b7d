"""Conversation: one side of a session on the wire. Bodies in, bodies out; no socket, no clock.

It numbers and keeps what is said (the ledger), cuts objects into chunks between other frames, and says when an
acknowledgement is due. Both the scheduler and a relay have one per session.

Rule 1: at most WINDOW_BYTES are under way; beyond that `has_room` is false and whoever posts batches waits.
Not here: what the bodies mean (scheduler.remote_peers, scaler.relay).
"""

from collections.abc import Callable

from scaler._native import Loan
from scaler.link.objects import IncomingObjects, OutgoingObjects
from scaler.protocol.frames import Body, Chunk, Frame
from scaler.protocol.ledger import Ledger

WINDOW_BYTES = 16 << 20
CHUNKS_AT_ONCE = 8


class Conversation:
    """`outbox` holds the frames to be sent now, in order; the shell empties it."""

    def __init__(self, incoming: IncomingObjects) -> None:
        self.ledger = Ledger()
        self.outbox: list[bytes] = []
        self.incoming = incoming
        self._outgoing = OutgoingObjects()

    @property
    def has_room(self) -> bool:
        return self.ledger.unacknowledged_bytes < WINDOW_BYTES

    @property
    def wants_to_go_on(self) -> bool:
        """There is more of an object to send, and room for it."""
        return bool(self._outgoing) and self.has_room

    def post(self, body: Body) -> None:
        """Say something that must arrive."""
        self.outbox.append(self.ledger.post(body))

    def say(self, body: Body | None = None) -> None:
        """Say something that need not, or merely acknowledge."""
        self.outbox.append(self.ledger.say(body))

    def post_object(self, loan: Loan) -> None:
        """Send an object, before whatever is done `after_objects`. OSError or ValueError if it is not to be had."""
        self._outgoing.add(loan)

    def after_objects(self, what: Callable[[], None]) -> None:
        """Do this once all objects that wait now are sent."""
        self._outgoing.after(what)

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
            return None
        return frame.body

    def resume(self, received: int) -> None:
        """The session goes on over another socket: say again what the other side has not taken."""
        self.outbox[:] = self.ledger.resume(received)

    def acknowledge(self) -> None:
        """Say what was taken, if nothing else has said it."""
        if self.ledger.owed:
            self.say()

    def close(self) -> None:
        self.incoming.close()
        self._outgoing.close()
