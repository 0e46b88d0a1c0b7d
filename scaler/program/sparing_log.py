"""SparingLog: lines that somebody else brings about, as often as that likes.

What a peer does is logged, and a peer that goes on doing it must neither fill the log with that nor keep the scheduler
busy with writing. So of each kind of line there is one per peer in a while. As a peer can come again under another
name, there is a bound on each kind of line for all peers, too.

Rule 1: a kind of line is its text before anything is put in; the levels of logging apply as always.
Rule 2: what is left out is counted, and the next line of its kind that is written says how many that were.
Not here: where lines go (logs).
"""

import logging
import threading
import time
from collections.abc import Callable, Hashable

PERIOD_S = 10.0  # in which there is one line of a kind about one peer
MOST_LINES = 100  # of a kind in that time, whomever they are about


class _Kind:
    """What was said under one text in the present period."""

    def __init__(self) -> None:
        self.ends_s = 0.0
        self.peers: set[Hashable] = set()
        self.left_out = 0


class SparingLog:
    """A logger for what peers bring about. `peer` is whatever tells one from another."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock = log, clock
        self._kinds: dict[str, _Kind] = {}
        self._lock = threading.Lock()

    def info(self, peer: Hashable, text: str, *args: object) -> None:
        self._say(logging.INFO, peer, text, args)

    def warning(self, peer: Hashable, text: str, *args: object) -> None:
        self._say(logging.WARNING, peer, text, args)

    def error(self, peer: Hashable, text: str, *args: object) -> None:
        self._say(logging.ERROR, peer, text, args)

    def _say(self, level: int, peer: Hashable, text: str, args: tuple[object, ...]) -> None:
        if not self._log.isEnabledFor(level):
            return
        with self._lock:
            kind = self._kinds.setdefault(text, _Kind())
            now_s = self._clock()
            if now_s >= kind.ends_s:
                kind.ends_s = now_s + PERIOD_S
                kind.peers.clear()
            if peer in kind.peers or len(kind.peers) >= MOST_LINES:
                kind.left_out += 1
                return
            kind.peers.add(peer)
            left_out, kind.left_out = kind.left_out, 0
        if left_out:
            text, args = text + " (%d more lines like it were left out before this one)", (*args, left_out)
        self._log.log(level, text, *args)
