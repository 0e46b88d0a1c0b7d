"""Link: one remote peer's session at the scheduler, where it can be reached just now, and what of it waits for a turn.

No frame holds the scheduler up. What is to be done about one is done in slices, one at a time while others have their
turn. What comes from the same peer meanwhile waits behind it, unacknowledged, in a queue of that session, which is
bounded: a peer that goes on sending though nothing is acknowledged is shut out. Of some frames that wait a part is done
early (`EARLY`): in their own turn nothing is left to be done early, since what was said later may have been done then.

| what is kept for later | what it is | until |
| --- | --- | --- |
| `steps` | the rest of the last frame that was taken | it is done |
| `untaken` | numbered frames that wait behind that | their turn; a new connection, on which they come again |
| `early` | by number, what can be done already about those | done; their turn; a new connection |
| `returned` | by number, what was done early of a Returned, or is | its turn, also on a new connection: done once |

Not here: which link a message belongs to (remote_peers), which peer has gone (silence).
"""

from collections import deque
from dataclasses import dataclass, field

from scaler.protocol.frames import Cancel, Clear, Frame, FrameError, Returned, Wait
from scaler.session.conversation import WINDOW_BYTES, WINDOW_FRAMES
from scaler.session.session_at_scheduler import SessionAtScheduler, Steps, Waiting

MOST_UNTAKEN_BYTES = 4 * WINDOW_BYTES
WAITING_BYTES = 512  # what a frame that waits takes besides its bytes
MOST_EARLY = 1000  # frames of one session of which something is still to be done before their turn
MOST_RETURNED = WINDOW_FRAMES  # of one session, done before their turn
MOST_UNACKNOWLEDGED = 1 << 17  # frames that one session is told and does not acknowledge
MOST_UNACKNOWLEDGED_BYTES = 4 * WINDOW_BYTES  # the same in bytes: what does not wait for the window is far less
EARLY = (Cancel, Clear, Wait, Returned)
DONE = object()  # what a generator that is over is said to have yielded


@dataclass(eq=False)
class Link:
    """A session and where it can be reached just now."""

    session: SessionAtScheduler
    token: bytes
    routing_id: bytes
    heard_s: float
    came_s: float
    shown: str = ""  # the role of the key that its connection has shown; empty where there are no keys
    has_begun: bool = False  # said anything after its hello
    is_reachable: bool = True  # there is a connection, as far as ZeroMQ knows
    closed_s: float | None = None  # when the connection was found to have been closed, and not for its silence
    steps: Steps | None = None  # what is still to be done about the last frame that was taken
    early: dict[int, Steps] = field(default_factory=dict)  # what can be done already about those that wait, by number
    returned: dict[int, Steps] = field(default_factory=dict)  # what was done early or is being done, of a Returned
    untaken: deque[Waiting] = field(default_factory=deque)  # frames that wait behind it
    untaken_bytes: int = 0

    @property
    def is_busy(self) -> bool:
        """What comes now has to wait."""
        return self.steps is not None or bool(self.untaken)

    @property
    def can_go_on(self) -> bool:
        """There is something to be done for it that waits for nothing but its turn."""
        return bool(self.early) or (self.is_busy and not self.session.is_full)

    def do_early(self, frame: Frame) -> None:
        """Have done what can be done now about a frame that has to wait for its turn."""
        if frame.number in self.early or frame.number in self.returned or len(self.early) >= MOST_EARLY:
            return
        body = frame.body
        if isinstance(body, Returned) and len(self.returned) >= MOST_RETURNED:
            return
        before = list(self.untaken) if isinstance(body, Clear) else ()
        steps = self.early[frame.number] = self.session.do_early(body, before)
        if isinstance(body, Returned):
            self.returned[frame.number] = steps

    def go_on_early(self) -> None:
        """A slice of that."""
        if self.early:
            number = next(iter(self.early))
            if next(self.early[number], DONE) is DONE:
                del self.early[number]

    def on_connected_again(self) -> None:
        """What was not taken comes again, and is done once all the same."""
        self.untaken.clear()
        self.untaken_bytes = 0
        self.early = {number: steps for number, steps in self.early.items() if number in self.returned}

    def put_off(self, frame: Frame, size: int) -> None:
        """Have this frame wait for its turn. FrameError if more waits than may."""
        if self.untaken_bytes > MOST_UNTAKEN_BYTES:
            raise FrameError("it goes on sending though nothing was acknowledged")
        self.untaken.append(Waiting(frame, size))
        self.untaken_bytes += size + WAITING_BYTES

    def next_untaken(self) -> Waiting:
        """The first frame that waits, which does so no more."""
        waiting = self.untaken.popleft()
        self.untaken_bytes -= waiting.size + WAITING_BYTES
        return waiting

    def check_unacknowledged(self) -> None:
        """FrameError if what is kept for the other side, until it says that it has it, is too much."""
        ledger = self.session.talk.ledger
        if ledger.unacknowledged > MOST_UNACKNOWLEDGED or ledger.unacknowledged_bytes > MOST_UNACKNOWLEDGED_BYTES:
            raise FrameError("it acknowledges nothing of what it is told")
