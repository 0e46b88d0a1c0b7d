"""Publisher: the scheduler's monitor address, an XPUB socket on which it says how it is.

It makes what somebody has subscribed to, and nothing else: without a viewer there is no timer and no report. A second
is cut into SLOTS, and each table has one of them, so that no two are made in a row: neither the tasks nor ZeroMQ's
queue see more than one table at a time. What is newly subscribed to is said at once as well, but a topic twice within
AT_ONCE_S only if its second has come. Questions (task/<id>) are answered within a tenth of a second, and again each
second; there is a bound on the time that this may take, since nobody knows how many are asked.

A viewer that does not read (stopped, or on a bad line) holds at most MOST_QUEUED messages here and what the kernel's
buffer has: ZeroMQ drops the rest, and the viewer sees by the numbers that something is missing.

Rule 1: nobody is waited for, and whatever a viewer says is a topic or is passed over. At most MOST_QUESTIONS
        questions are answered; topics that mean nothing are forgotten at once.
Rule 2: a report that cannot be made is one line in the log, and no reason to stop.
Not here: what stands in a report (reporter), its bytes (scaler.monitor.codec).
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

import zmq
from zmq.backend import Socket as PlainSocket

from scaler.address import Address
from scaler.exceptions import AddressError, ListenError
from scaler.keys.doorkeeper import MONITORS, guard
from scaler.keys.folder import SchedulerKeys
from scaler.monitor.codec import encode
from scaler.monitor.report import TOPICS, Body, Report, Stack
from scaler.program.sparing_log import SparingLog
from scaler.scheduler.gate import Gate
from scaler.scheduler.listening import HANDSHAKE_MS, Listening, listen
from scaler.session.dealer import EVENTS, KEEP_ALIVE, NOBLOCK, POLLIN

_log = logging.getLogger(__name__)
_sparing = SparingLog(_log)
SLOTS = 10
SLOT_S = 0.1
AT_ONCE_S = 0.2
NEXT_S = 0.005  # between two of those
MOST_QUEUED = 2  # reports on their way to one viewer
MOST_TOPIC_BYTES = 256
MOST_SEALED_BYTES = 2048  # with keys: the messages of their handshake are longer than a topic
MOST_QUESTIONS = 64
QUESTIONS_S = 0.003  # that answers may take in each tenth of a second; the last one may take longer
AGAIN_S = 0.95  # before a question is answered again
MOST_HEARD = 256  # subscriptions, before the tasks have their turn
SEND_BUFFER_BYTES = 1 << 18
SEND_MORE = int(zmq.SNDMORE | zmq.NOBLOCK)
EVENTS_TOPIC = "events"
_SLOT_OF = {topic: slot for slot, topic in enumerate(TOPICS)}


class Publisher:
    """`make(topic)` is the body of a report, or None if there is none of this topic; `ask_stack(task, answer)` has
    `answer(text, problem)` called once it is known what the task's code does."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, context: "zmq.Context[zmq.Socket[bytes]]", epoch: int,
        make: Callable[[str], Body | None],
        ask_stack: Callable[[int, Callable[[str, str], object]], object] | None = None,
        keys: SchedulerKeys | None = None,
    ) -> None:  # fmt: skip
        self._loop, self._epoch, self._make = loop, epoch, make
        self._ask_stack = ask_stack
        self._topics: set[str] = set()
        self._questions: set[str] = set()
        self._said_s: dict[str, float] = {}
        self._at_once: deque[str] = deque()
        self._answered_s = 0.0  # when questions were last looked at
        self._slot = self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._lag_s = 0.0
        self._socket = context.socket(zmq.XPUB)
        for option, value in (
            (zmq.LINGER, 0), (zmq.SNDHWM, MOST_QUEUED),
            (zmq.MAXMSGSIZE, MOST_TOPIC_BYTES if keys is None else MOST_SEALED_BYTES),
            (zmq.SNDBUF, SEND_BUFFER_BYTES), (zmq.HANDSHAKE_IVL, HANDSHAKE_MS), (zmq.XPUB_VERBOSE, 1), *KEEP_ALIVE,
        ):  # fmt: skip
            self._socket.setsockopt(option, value)
        if keys is not None:
            guard(self._socket, keys, MONITORS)
        self._listening: Listening | None = None
        self._descriptor = int(self._socket.getsockopt(zmq.FD))

    # where

    def open(self, scheduler: Address, asked: Address | None, is_expected: bool = True) -> Address | None:
        """Listen at the address that was asked for (ListenError says why not), or at the usual one beside the
        scheduler's, or if that is taken at another: where, or None if there is none. That it is another is a warning if
        the usual one `is_expected`: not where the scheduler's own port is whichever was free."""
        level = logging.WARNING if is_expected else logging.INFO
        self._listening = listen(self._socket, asked) if asked is not None else self._listen_beside(scheduler, level)
        if self._listening is None:
            return None
        self._loop.add_reader(self._descriptor, self._read)
        return self._listening.address

    def _listen_beside(self, scheduler: Address, level: int) -> Listening | None:
        try:
            return listen(self._socket, scheduler.default_monitor())
        except (ListenError, AddressError) as error:
            why = error
        if not scheduler.is_ipc:
            try:
                found = listen(self._socket, Address(scheduler.host))
                _log.log(level, "monitoring is at %s, since the usual address cannot be had: %s", found.address, why)
                return found
            except ListenError as error:
                why = error
        _log.warning("there is no monitoring: %s; choose another address for it with --monitor-address", why)
        return None

    @property
    def address(self) -> str:
        """As viewers are told it; empty if there is none."""
        return "" if self._listening is None else str(self._listening.address)

    def let_stand(self, gate: Gate) -> None:
        """Have the gate look at those who come."""
        if self._listening is not None:
            gate.stand_at(self._socket, self._listening.address)

    # who listens

    def _read(self) -> None:
        """What viewers subscribe to, and do not any more."""
        for _ in range(MOST_HEARD):
            try:
                if not int(PlainSocket.get(self._socket, EVENTS)) & POLLIN:
                    break
                said = PlainSocket.recv(self._socket, NOBLOCK)
            except zmq.ZMQError:
                break
            self._hear(bytes(said))
        else:
            self._loop.call_soon(self._read)
        if (self._topics or self._questions) and self._timer is None:
            self._due_s = self._loop.time() + SLOT_S
            self._timer = self._loop.call_at(self._due_s, self._on_timer)

    def _hear(self, said: bytes) -> None:
        if not said or said[0] > 1:
            return
        topic = said[1:].decode("utf-8", "replace")
        known = self._topics if topic in _SLOT_OF else self._questions
        if said[0] == 0:
            known.discard(topic)
            self._said_s.pop(topic, None)
            return
        is_new = known is self._questions and topic not in known
        if is_new and (not _is_question(topic) or len(known) >= MOST_QUESTIONS):
            return
        known.add(topic)
        now_s = time.monotonic()
        if known is self._questions:
            if now_s - self._answered_s >= SLOT_S:
                self._answered_s = now_s
                self._loop.call_soon(self._answer)
            return
        if now_s - self._said_s.get(topic, 0.0) >= AT_ONCE_S:
            self._said_s[topic] = now_s
            self._at_once.append(topic)
            if len(self._at_once) == 1:
                self._loop.call_soon(self._say_next)

    # what is said

    def _answer(self) -> None:
        """Questions that have not been answered for a second, as long as QUESTIONS_S have not been spent on that."""
        self._answered_s = now_s = time.monotonic()
        for topic in sorted(self._questions, key=lambda topic: self._said_s.get(topic, 0.0)):
            if now_s - self._said_s.get(topic, 0.0) < AGAIN_S or time.monotonic() > self._answered_s + QUESTIONS_S:
                break
            self._said_s[topic] = now_s
            self._say(topic)

    def _say_next(self) -> None:
        """One of those that were just subscribed to: a viewer of them all has room for MOST_QUEUED at a time."""
        self._say(self._at_once.popleft())
        if self._at_once and not self._socket.closed:
            self._loop.call_later(NEXT_S, self._say_next)

    def _on_timer(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        self._lag_s = max(self._lag_s, now_s - self._due_s)
        self._slot = (self._slot + 1) % SLOTS
        if self._slot == 0:
            self._number += 1
        for topic in self._due():
            self._say(topic)
        self._answer()
        if self._topics or self._questions:
            self._due_s = max(self._due_s + SLOT_S, now_s)
            self._timer = self._loop.call_at(self._due_s, self._on_timer)
        self._read()  # a send may have consumed the event by which the socket says that there is something to read

    def _due(self) -> list[str]:
        due = [topic for topic in self._topics if _SLOT_OF[topic] == self._slot and topic != EVENTS_TOPIC]
        return (
            [*due, EVENTS_TOPIC] if EVENTS_TOPIC in self._topics else due
        )  # in each slot, if there are many (reporter)

    def _say(self, topic: str) -> None:
        if self._socket.closed or (topic not in self._topics and topic not in self._questions):
            return
        kind, _, task = topic.partition("/")
        try:
            if kind == "stack" and self._ask_stack is not None:
                number = int(task, 16)
                self._ask_stack(number, lambda text, problem: self._send(topic, Stack(number, text, problem)))
            else:
                self._send(topic, self._make(topic))
        except Exception as error:
            _sparing.error(topic, "a report for those who look (%s) could not be made: %r", topic, error)
            _log.debug("where that was", exc_info=True)

    def _send(self, topic: str, body: Body | None) -> None:
        if body is None or self._socket.closed:
            return
        try:
            report = Report(self._epoch, self._number, time.time_ns(), time.monotonic_ns(), body)
            data = encode(report)
            PlainSocket.send(self._socket, topic.encode(), SEND_MORE)
            PlainSocket.send(self._socket, data, NOBLOCK)
        except zmq.ZMQError:
            return  # it has no room, or nobody is there any more

    def take_lag_ns(self) -> int:
        """How late a timer of the scheduler's was at most since this was last asked."""
        lag_s, self._lag_s = self._lag_s, 0.0
        return max(0, round(lag_s * 1e9))

    def close(self) -> None:
        """Idempotent."""
        if self._socket.closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        if self._listening is not None:
            self._loop.remove_reader(self._descriptor)
            self._listening.leave()
        self._socket.disable_monitor()
        self._socket.close(0)


def _is_question(topic: str) -> bool:
    kind, _, task = topic.partition("/")
    return kind in ("task", "stack") and len(task) == 16 and not set(task) - set("0123456789abcdef")
