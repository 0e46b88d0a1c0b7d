"""Silence: which remote peer has gone, by what the scheduler has not heard of it.

Silence for the time-out is a death, but not while ZeroMQ's own threads at the other end still answer its pings: that
process lives, and something holds its interpreter (a call into C that keeps Python's lock for minutes). Then it is
given HUNG_TIMES as long. A host whose connection was closed is not waited for so long: one that lives comes back at
once. Time during which this process itself did not run (it was stopped, or the machine slept) is nobody's silence.

All peers hear a heartbeat in each round, and are looked at then, some at a time.

Not here: what is done with a peer that has gone (remote_peers).
"""

from collections import deque
from collections.abc import Iterable, Iterator

from scaler.protocol.frames import Role
from scaler.session.link import Link

HUNG_TIMES = 10
CLOSED_S = 10.0
AT_ONCE = 256  # of all peers that something is said to, in one turn


class Silence:
    """`ping_timeout_s`: after so long without an answer to its pings ZeroMQ closes a connection."""

    def __init__(
        self, client_timeout_s: float, worker_timeout_s: float, heartbeat_s: float, ping_timeout_s: float
    ) -> None:
        self._client_timeout_s, self._worker_timeout_s = client_timeout_s, worker_timeout_s
        self._heartbeat_s, self._ping_timeout_s = heartbeat_s, ping_timeout_s
        self._to_hear: deque[Link] = deque()  # that have not heard a heartbeat in this round
        self._slept_s = 0.0  # how long this process did not run before the round
        self._next_round_s = self._last_round_s = 0.0

    @property
    def is_amid_round(self) -> bool:
        """Some have not heard this round's heartbeat."""
        return bool(self._to_hear)

    @property
    def next_round_s(self) -> float:
        return self._next_round_s

    def begin_round(self, links: Iterable[Link], now_s: float) -> None:
        """All are to hear a heartbeat, and to be looked at."""
        self._slept_s = max(0.0, now_s - self._last_round_s - 2 * self._heartbeat_s)
        self._next_round_s, self._last_round_s = now_s + self._heartbeat_s, now_s
        self._to_hear.extend(links)

    def next_links(self, now_s: float) -> Iterator[Link]:
        """The next ones of the round; what this process has slept through is not counted as their silence."""
        for _ in range(min(len(self._to_hear), AT_ONCE)):
            link = self._to_hear.popleft()
            link.heard_s = min(now_s, link.heard_s + self._slept_s)
            yield link

    def why_gone(self, link: Link, now_s: float) -> str:
        """Why the other side is taken for gone, as the beginning of a sentence; empty if it is not."""
        is_client = link.session.hello.role == Role.CLIENT
        timeout_s = self._client_timeout_s if is_client else self._worker_timeout_s
        silent_s = now_s - link.heard_s
        if not link.is_reachable and link.closed_s is None and silent_s < self._ping_timeout_s:
            link.closed_s = now_s
        if silent_s > timeout_s * (HUNG_TIMES if link.is_reachable else 1):
            return f"nothing was heard from it for {silent_s:.0f} s"
        if link.closed_s is not None and not is_client and now_s - link.closed_s > min(CLOSED_S, timeout_s):
            return f"its connection was closed, and it has not come back for {now_s - link.closed_s:.0f} s"
        return ""
