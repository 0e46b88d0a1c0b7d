"""RelayThread: the thread that drives a SessionAtRelay: rings, socket, and the clock.

A connection that breaks is replaced and the session goes on; if the scheduler does not know the session any more, or
nobody answers for `timeout_s`, the relay is over and says so once.

Rule 1: all of a SessionAtRelay happens in this thread; others hand in what is to be done with `call`.
Rule 2: whatever ends the thread, its owner hears of it: `on_over` is called when the session was not stopped from here.
Rule 3: what the thread uses (rings, bells, segments) its owner gives up with `give_up`: at once if the thread has
        ended, else the thread does that as the last thing. A closed descriptor's number may be a stranger's.
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from scaler.exceptions import ScalerError
from scaler.program.threads import GivenUpLast, await_ends, new_thread
from scaler.protocol.frames import FrameError, Goodbye, Heartbeat, Hello, Welcome
from scaler.session.contexts import held_context
from scaler.session.dealer import Dealer, greet
from scaler.session.session_at_relay import SessionAtRelay

_log = logging.getLogger(__name__)
LONGEST_WAIT_S = 0.1
ACKNOWLEDGE_S = 0.02
STOP_S = 2.0
LEAST_SILENCE_S, SILENT_HEARTBEATS = 2.0, 5  # after which a connection is taken for broken


class RelayThread:
    """`on_over(reason)` is called in the thread when the session has ended and was not stopped from here."""

    def __init__(
        self,
        address: str,
        dealer: Dealer,
        hello: Hello,
        welcome: Welcome,
        side: SessionAtRelay,
        *,
        timeout_s: float,
        on_over: Callable[[str], None],
        keys: str | None = None,
    ) -> None:
        self._address, self._dealer, self._hello, self._welcome = address, dealer, hello, welcome
        self._side, self._timeout_s, self._on_over = side, timeout_s, on_over
        self._keys = keys
        self._calls: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._end_s = 0.0  # when it ends at the latest, if it is stopping
        self.lost_s: float | None = None  # when the connection broke last
        self._heard_s = time.monotonic()
        self._next_heartbeat_s = 0.0
        self._thread = new_thread("scaler-relay", self._run)
        self._used = GivenUpLast()

    def start(self, first: Callable[[], None] | None = None) -> None:
        """From here on all of the side happens in the thread, `first` before all else. RuntimeError if it can't be."""
        if first is not None:
            self._calls.appendleft(first)
        self._dealer.wait_for_too(self._side.relay.eventfd)
        self._used.begin()
        self._thread.start()

    def call(self, what: Callable[[], None]) -> None:
        """Have the thread do something."""
        self._calls.append(what)
        self._side.relay.ring()

    def stop(self, finish_s: float = 0.0) -> None:
        """Say goodbye and end, but for up to `finish_s` not before the scheduler has taken all that there was to say.
        Then `give_up`: the thread may take longer than is waited for, or be the caller."""
        self._end_s = time.monotonic() + finish_s
        self._stopping = True
        self._side.relay.ring()
        await_ends([self._thread], STOP_S + finish_s)

    def give_up(self, what: Callable[[], object]) -> None:
        """The owner needs no more what the thread uses: `what` is called when the thread does not either."""
        self._used.leave(what)

    def join(self) -> None:
        """Wait for the end of a session that is over."""
        self._thread.join()

    # the thread

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            self._used.end()

    def _serve(self) -> None:
        reason = "the relay failed"
        with ExitStack() as last:  # all of it, whatever part of it fails
            last.callback(lambda: self._report(reason))
            last.callback(self._side.talk.close)
            last.callback(lambda: self._dealer.close(500))
            try:
                while self._side.over is None and not self._may_end():
                    self._turn()
                    if self._dealer.is_broken:
                        self._receive()  # what came before it broke: perhaps that the scheduler stops its workers
                    elif not self._is_silent() or self._dealer.has_message:
                        continue
                    if self._side.over is None:
                        self._reconnect()
                reason = self._side.over or "the session was ended"
                if self._side.over is None:
                    self._side.talk.post(Goodbye())
                    self._send()
            except (ScalerError, FrameError) as error:
                reason = str(error)
                if not self._stopping:
                    _log.warning("the connection to %s is over: %s", self._address, reason)
            except Exception as error:
                reason = f"the relay failed: {type(error).__name__}: {error}"
                _log.exception("the relay to %s has failed", self._address)

    def _may_end(self) -> bool:
        return self._stopping and (time.monotonic() >= self._end_s or self._side.has_said_all)

    def _report(self, reason: str) -> None:
        if not self._stopping:
            self._on_over(reason)

    def _turn(self) -> None:
        side, dealer = self._side, self._dealer
        while self._calls:
            self._calls.popleft()()
        side.relay.run()
        if dealer.has_message:
            self._receive()
        now_s = time.monotonic()
        due_s = side.attend(now_s)
        side.collect()
        self._keep_alive(now_s)
        self._send()
        if side.talk.wants_to_go_on or not side.relay.armed:
            wait_s = 0.0
        else:
            wait_s = ACKNOWLEDGE_S if side.talk.ledger.owed else LONGEST_WAIT_S
            if due_s is not None:
                wait_s = min(wait_s, max(0.0, due_s - now_s))
        if dealer.wait(wait_s):
            side.relay.quiet()
        elif wait_s:
            side.relay.run(True)
            side.talk.acknowledge()

    def _receive(self) -> None:
        while (data := self._dealer.receive()) is not None:
            self._heard_s = time.monotonic()
            self._side.on_frame(data)

    def _send(self) -> None:
        outbox = self._side.talk.outbox
        for data in outbox:
            self._dealer.send(data)
        outbox.clear()

    def _keep_alive(self, now_s: float) -> None:
        if now_s >= self._next_heartbeat_s:
            self._next_heartbeat_s = now_s + self._heartbeat_s
            self._side.talk.say(Heartbeat(int(now_s * 1e9)))

    def _is_silent(self) -> bool:
        return time.monotonic() - self._heard_s > max(LEAST_SILENCE_S, SILENT_HEARTBEATS * self._heartbeat_s)

    @property
    def _heartbeat_s(self) -> float:
        return self._welcome.heartbeat_ms / 1000

    def _reconnect(self) -> None:
        """Go on with the session over a fresh socket. ScalerError if that cannot be."""
        with held_context():
            self._connect_anew()

    def _connect_anew(self) -> None:
        self._dealer.close()
        self.lost_s = time.monotonic()
        talk = self._side.talk
        _log.info("the connection to %s broke: trying to go on", self._address)
        self._dealer, welcome = greet(
            self._address,
            lambda: replace(self._hello, session=self._welcome.session, received=talk.ledger.received),
            self._timeout_s,
            lambda: self._stopping,
            keys=self._keys,
        )
        if not welcome.resumed:
            raise ScalerError(f"the scheduler at {self._address} was restarted")
        self._welcome = welcome
        self._dealer.wait_for_too(self._side.relay.eventfd)
        self._heard_s = time.monotonic()
        talk.resume(welcome.received)
