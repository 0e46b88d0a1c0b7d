"""Ledger: what was said to the other side and not yet taken, and what was taken from it, across sessions.

ZeroMQ loses what a cut connection had in flight. So each direction numbers its frames from 1, and each frame carries
back the highest number taken, which stands for all below. What is not acknowledged is kept as bytes; after a cut the
next session begins by telling both sides what the other has taken, and the rest is sent again. What was taken already
is dropped by its number. Within a session nothing is lost or overtakes, so a gap is an error and never repaired.

Rule 1: a numbered body is given to the receiver exactly once and in order, however often sessions are cut, as long as
        both ledgers live. If one is gone the other is of no use: begin again with a new one.
Rule 2: an error changes nothing.
Not here: sockets and time. That an acknowledgement is owed is said here; when it is sent is the shell's business.
"""

from collections import deque
from collections.abc import Iterator

from scaler.protocol.codec import decode, encode
from scaler.protocol.frames import Acknowledge, Body, Frame, FrameError


class NumberError(FrameError):
    """A frame whose numbers do not fit what was said: something was lost, or the other side is another one now."""


class Ledger:
    """One side's book of a session and of those that go on with it."""

    __slots__ = ("_kept", "_told", "received", "sent", "unacknowledged_bytes")

    def __init__(self) -> None:
        self._kept: deque[bytes] = deque()  # frames from `acknowledged` + 1 to `sent`
        self._told = 0  # what the other side knows of `received`, if nothing was lost
        self.sent = 0
        self.received = 0
        self.unacknowledged_bytes = 0

    @property
    def acknowledged(self) -> int:
        """The highest of our numbers that the other side has taken."""
        return self.sent - len(self._kept)

    @property
    def unacknowledged(self) -> int:
        """How many frames are kept."""
        return len(self._kept)

    def unacknowledged_bodies(self) -> Iterator[Body]:
        """What the other side may not have taken, in order: for another session, if this one cannot go on."""
        for data in self._kept:
            yield decode(data).body

    @property
    def owed(self) -> int:
        """How many frames were taken since the other side was last told."""
        return self.received - self._told

    def post(self, body: Body) -> bytes:
        """A numbered body as the next frame, which is kept. Without a session, don't send it: resume will."""
        data = encode(Frame(body, self.sent + 1, self.received))
        self.sent += 1
        self._told = self.received
        self._kept.append(data)
        self.unacknowledged_bytes += len(data)
        return data

    def say(self, body: Body | None = None) -> bytes:
        """An unnumbered body as a frame, which is not kept; without a body a bare acknowledgement."""
        self._told = self.received
        return encode(Frame(Acknowledge() if body is None else body, 0, self.received))

    def take(self, frame: Frame) -> bool:
        """Book a frame that came in. True if its body is to be acted on, False if it was taken before.

        NumberError if a number is missing, or if it acknowledges what was never sent: end the session.
        """
        if frame.acknowledged > self.sent:
            raise NumberError(f"number {frame.acknowledged} is acknowledged, but only {self.sent} were sent")
        if frame.number > self.received + 1:
            raise NumberError(f"number {frame.number} came after {self.received}: frames are missing")
        self._release(frame.acknowledged)
        if not frame.number:
            return True
        if frame.number <= self.received:
            return False
        self.received = frame.number
        return True

    def resume(self, received: int) -> list[bytes]:
        """A new session goes on with the old one, of which the other side took so many: the frames to send again.

        NumberError if the other side has forgotten what it acknowledged, or took what was never sent: it is not the
        side this ledger is about.
        """
        if not self.acknowledged <= received <= self.sent:
            raise NumberError(
                f"a session can't go on after number {received}: "
                f"{self.acknowledged} was acknowledged and {self.sent} sent"
            )
        self._release(received)
        return list(self._kept)

    def _release(self, acknowledged: int) -> None:
        for _ in range(acknowledged - self.acknowledged):
            self.unacknowledged_bytes -= len(self._kept.popleft())
