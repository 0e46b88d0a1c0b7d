"""Listener: the reports of a scheduler, from its monitor address into the history, and into a recording if wanted.

It reads whenever the socket has something, on the program's event loop: a round of a thousand workers takes some
milliseconds. It goes on over restarts of the scheduler, and remembers when it last heard of one.

Rule 1: all topics are subscribed to from the beginning, so that a browser that comes later finds its history; topics
        about single tasks only while a browser asks.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from scaler.address import Address
from scaler.monitor.page.history import History
from scaler.monitor.recording import Recorder
from scaler.monitor.report import TOPICS
from scaler.monitor.subscriber import Subscriber

LOOK_EVERY_S = 0.25
STALE_S = 5.0
_MOST_AT_ONCE_S = 0.05
_log = logging.getLogger(__name__)


class Listener:
    """Open from `start` to `close`. `on_round` is called after each batch of reports that came together."""

    def __init__(
        self, address: Address, history: History, recorder: Recorder | None = None, keys: str | None = None
    ) -> None:
        self.history = history
        self.problem = ""
        """Why what comes last could not be read; empty: it could."""
        self.record_problem = ""
        """Why the recording has ended; empty: it has not."""
        self._subscriber = Subscriber(address, TOPICS, keys)
        self.address = self._subscriber.address
        self._recorder = recorder
        self._asked: frozenset[str] = frozenset()
        self._heard: float | None = None
        self._began = time.monotonic()
        self._said_trouble = ""
        self._problems = 0
        self._on_round: Callable[[], None] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def trouble(self) -> str:
        """Why what is shown is not what is, in a sentence; empty: it is."""
        if self.problem or self.record_problem:
            return self.problem or self.record_problem
        silent_s = time.monotonic() - (self._began if self._heard is None else self._heard)
        if silent_s < STALE_S:
            return ""
        if self._heard is None:
            return f"nothing has come from {self.address} yet: is that the scheduler's monitor address?"
        return f"nothing has come from {self.address} for {silent_s:,.0f} s"

    def start(self, loop: asyncio.AbstractEventLoop, on_round: Callable[[], None]) -> None:
        self._loop, self._on_round = loop, on_round
        loop.add_reader(self._subscriber.descriptor, self._read)
        self._look()

    def ask(self, topics: Iterable[str]) -> None:
        """Subscribe to these topics about tasks, and to no others any more."""
        wanted = frozenset(topics)
        if wanted != self._asked:
            self._asked = wanted
            self._subscriber.subscribe([*TOPICS, *wanted])

    def close(self) -> None:
        """Idempotent."""
        if self._loop is not None:
            self._loop.remove_reader(self._subscriber.descriptor)
            self._loop = None
        if self._timer is not None:
            self._timer.cancel()
        self._subscriber.close()
        if self._recorder is not None:
            self._recorder.close()

    def _look(self) -> None:
        # ZeroMQ's descriptor tells of a change once, and may do so while it is read: so it is looked at besides.
        self._read()
        if self.trouble != self._said_trouble:  # browsers wait for news, and that none comes is news, too
            self._said_trouble = self.trouble
            self._on_round()
        if self._loop is not None:
            self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)

    def _read(self) -> None:
        if self._loop is None:
            return
        came = 0
        until = time.monotonic() + _MOST_AT_ONCE_S
        while (report := self._subscriber.read(0)) is not None:
            came += 1
            self.history.add(report)
            self._record(self._subscriber.last_bytes)
            if time.monotonic() > until:
                self._loop.call_soon(self._read)  # browsers want their answers meanwhile
                break
        if self._subscriber.problems != self._problems:
            self._problems = self._subscriber.problems
            self._say(self._subscriber.last_problem)
        elif came:
            self.problem = ""
        if came:
            self._heard = time.monotonic()
            self._on_round()

    def _record(self, data: bytes) -> None:
        if self._recorder is None:
            return
        try:
            self._recorder.add(data)
        except OSError as error:
            recorder, self._recorder = self._recorder, None
            self.record_problem = f"recording into {recorder.path} has ended: {error.strerror}"
            _log.error("%s", self.record_problem)

    def _say(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            _log.warning("%s", problem)
