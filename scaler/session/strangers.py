"""Strangers: how many answers those get that have no session: a process that sends nonsense and reads nothing is not to
fill the scheduler's memory with refusals.

Rule 1: the first hello of a connection is always answered. Many peers come at once after a restart, each waits for its
        answer before it tries again, and one answer per connection fills no memory.
Not here: what the answers are (remote_peers).
"""

WINDOW_S = 1.0
MOST_REFUSALS = 64  # within WINDOW_S
MOST_ANSWERED = 1 << 14  # connections of which it is known that a hello was answered


class Strangers:
    """Decides whether to answer."""

    def __init__(self) -> None:
        self._answered: dict[bytes, None] = {}  # connections on which a hello was answered without a session to follow
        self._refusals = 0
        self._next_refusals_s = 0.0  # when more may be said

    def may_answer(self, routing_id: bytes, is_hello: bool, now_s: float) -> bool:
        """Whether to answer on this connection; if so, that is counted."""
        if is_hello and routing_id not in self._answered:
            self._answered[routing_id] = None
            if len(self._answered) > MOST_ANSWERED:
                del self._answered[next(iter(self._answered))]
            return True
        if now_s >= self._next_refusals_s:
            self._refusals, self._next_refusals_s = 0, now_s + WINDOW_S
        self._refusals += 1
        return self._refusals <= MOST_REFUSALS

    def on_session(self, routing_id: bytes) -> None:
        """The connection has a session now."""
        self._answered.pop(routing_id, None)
