"""Exactly once and in order, whatever the link loses; and each error by itself."""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scaler.protocol.codec import decode
from scaler.protocol.frames import Acknowledge, Clear, Frame, FrameError, Heartbeat, Left
from scaler.session.ledger import Ledger
from tests.effort import rounds


def test_frames_are_numbered_from_one_and_kept_until_acknowledged():
    here, there = Ledger(), Ledger()
    frames = [decode(here.post(Left(peer=i))) for i in range(3)]
    assert [frame.number for frame in frames] == [1, 2, 3]
    assert all(there.take(frame) for frame in frames)
    assert there.owed == 3
    assert here.unacknowledged == 3
    assert here.unacknowledged_bytes > 0
    assert here.take(decode(there.say()))
    assert (here.unacknowledged, here.unacknowledged_bytes, here.acknowledged) == (0, 0, 3)
    assert there.owed == 0


def test_whatever_goes_back_acknowledges():
    here, there = Ledger(), Ledger()
    there.take(decode(here.post(Clear())))
    assert here.take(decode(there.post(Clear())))
    assert here.unacknowledged == 0
    there.take(decode(here.post(Clear())))
    assert here.take(decode(there.say(Heartbeat(time_ns=5))))
    assert here.unacknowledged == 0


def test_a_number_seen_before_is_dropped_but_its_acknowledgement_counts():
    ledger = Ledger()
    ledger.post(Clear())
    assert ledger.take(Frame(Clear(), 1, 0))
    assert not ledger.take(Frame(Clear(), 1, 1))
    assert ledger.unacknowledged == 0


def test_an_old_acknowledgement_changes_nothing():
    ledger = Ledger()
    ledger.post(Clear())
    ledger.post(Clear())
    ledger.take(Frame(Acknowledge(), 0, 2))
    ledger.take(Frame(Acknowledge(), 0, 1))
    assert ledger.acknowledged == 2


@pytest.mark.parametrize(
    ("frame", "words"),
    [(Frame(Clear(), 3, 1), "frames are missing"), (Frame(Clear(), 2, 2), "only 1 were sent")],
)
def test_an_error_changes_nothing(frame, words):
    ledger = Ledger()
    ledger.post(Clear())
    ledger.take(Frame(Clear(), 1, 0))
    with pytest.raises(FrameError, match=words):
        ledger.take(frame)
    assert (ledger.received, ledger.unacknowledged) == (1, 1)


def test_only_a_possible_session_is_resumed():
    ledger = Ledger()
    frames = [ledger.post(Clear()) for _ in range(3)]
    ledger.take(Frame(Acknowledge(), 0, 1))
    for received in (0, 4):
        with pytest.raises(FrameError, match="can't go on"):
            ledger.resume(received)
    assert ledger.resume(2) == frames[2:]
    assert ledger.resume(3) == []


class Side:
    """A ledger, what it posted, and what it was given."""

    def __init__(self):
        self.ledger = Ledger()
        self.posted = 0
        self.given = []
        self.came = []


class LossyLink(RuleBasedStateMachine):
    """A peer and a scheduler over sessions that end at any moment, each time losing all that was in flight.

    Both directions are queues of bytes; HELLO and WELCOME stand for the frames that begin a session.
    """

    def __init__(self):
        super().__init__()
        self.peer, self.scheduler = Side(), Side()
        self.to_scheduler, self.to_peer = deque(), deque()
        self.peer_is_up = self.scheduler_is_up = self.hello_is_out = False

    def post(self, side, queue, is_up):
        data = side.ledger.post(Left(peer=side.posted))
        side.posted += 1
        if is_up:
            queue.append(data)

    @rule()
    def peer_posts(self):
        self.post(self.peer, self.to_scheduler, self.peer_is_up)

    @rule()
    def scheduler_posts(self):
        self.post(self.scheduler, self.to_peer, self.scheduler_is_up)

    @precondition(lambda self: self.peer_is_up)
    @rule()
    def peer_acknowledges(self):
        self.to_scheduler.append(self.peer.ledger.say())

    @precondition(lambda self: self.scheduler_is_up)
    @rule()
    def scheduler_acknowledges(self):
        self.to_peer.append(self.scheduler.ledger.say())

    @precondition(lambda self: not self.hello_is_out)
    @rule()
    def peer_says_hello(self):
        self.to_scheduler.append(("hello", self.peer.ledger.received))
        self.hello_is_out = True

    @precondition(lambda self: self.to_scheduler)
    @rule(count=st.integers(1, 5))
    def scheduler_receives(self, count):
        while self.to_scheduler and count:
            count -= 1
            data = self.to_scheduler.popleft()
            if isinstance(data, tuple):
                self.to_peer.append(("welcome", self.scheduler.ledger.received))
                self.to_peer.extend(self.scheduler.ledger.resume(data[1]))
                self.scheduler_is_up = True
            else:
                self.give(self.scheduler, data)

    @precondition(lambda self: self.to_peer)
    @rule(count=st.integers(1, 5))
    def peer_receives(self, count):
        while self.to_peer and count:
            count -= 1
            data = self.to_peer.popleft()
            if isinstance(data, tuple):
                self.to_scheduler.extend(self.peer.ledger.resume(data[1]))
                self.peer_is_up = True
            else:
                self.give(self.peer, data)

    @precondition(lambda self: self.scheduler.came or self.peer.came)
    @rule(data=st.data())
    def a_frame_comes_again(self, data):
        """As when a router hands over what the socket of an earlier session had sent."""
        side = self.scheduler if self.scheduler.came else self.peer
        self.give(side, data.draw(st.sampled_from(side.came)))

    def give(self, side, data):
        frame = decode(data)
        side.came.append(data)
        if side.ledger.take(frame) and frame.number:
            assert isinstance(frame.body, Left)
            side.given.append(frame.body.peer)

    @precondition(lambda self: self.hello_is_out)
    @rule()
    def session_is_cut(self):
        self.to_scheduler.clear()
        self.to_peer.clear()
        self.peer_is_up = self.scheduler_is_up = self.hello_is_out = False

    @invariant()
    def each_side_was_given_a_prefix(self):
        for side, other in ((self.peer, self.scheduler), (self.scheduler, self.peer)):
            assert side.given == list(range(len(side.given)))
            assert len(side.given) <= other.posted
            assert other.ledger.unacknowledged == other.posted - other.ledger.acknowledged
            assert other.ledger.acknowledged <= len(side.given)
            assert (other.ledger.unacknowledged == 0) == (other.ledger.unacknowledged_bytes == 0)

    def teardown(self):
        """With a link that holds, all arrives and nothing stays."""
        if self.hello_is_out:
            self.session_is_cut()
        self.peer_says_hello()
        while self.to_scheduler or self.to_peer:
            if self.to_scheduler:
                self.scheduler_receives(1)
            if self.to_peer:
                self.peer_receives(1)
        self.peer.ledger.take(decode(self.scheduler.ledger.say()))
        self.scheduler.ledger.take(decode(self.peer.ledger.say()))
        assert self.peer.given == list(range(self.scheduler.posted))
        assert self.scheduler.given == list(range(self.peer.posted))
        assert self.peer.ledger.unacknowledged == self.scheduler.ledger.unacknowledged == 0


TestLossyLink = LossyLink.TestCase
TestLossyLink.settings = settings(max_examples=rounds(50), stateful_step_count=60)
