"""Subscriber: a viewer's connection to the monitor address of a scheduler.

It goes on over a restart of the scheduler: ZeroMQ connects again by itself and says the subscriptions once more. A
viewer that reads too slowly loses reports and nothing else; `Report.number` and `Events.first` say how much.

Rule 1: what cannot be read raises no error in the middle of a program that shows things. It is counted, and the last
        one's sentence is kept for the viewer to show (`last_problem`).
Not here: what a viewer keeps and shows.
"""

import os
import select
import socket
import time
from collections.abc import Iterable

import zmq

from scaler.address import Address
from scaler.exceptions import KeysError, ScalerError
from scaler.keys.doorkeeper import show
from scaler.keys.find import find_viewer_keys
from scaler.monitor.codec import REPORT_LIMIT_BYTES, ReportError, decode
from scaler.monitor.report import Report

QUEUE_MESSAGES = 64
HANDSHAKE_MS = 5_000  # for ZeroMQ's own, on each connection
LOOK_AGAIN_S = 1.0


class MonitorError(ScalerError, ConnectionError):
    """No scheduler publishes reports at this address; the message says what was tried and what to do."""


class Subscriber:
    """What comes from one monitor address. Not for several threads at a time.

    `keys` is a folder of keys; without one they are looked for (keys.find). A scheduler that was started again may have
    others, so they are looked at once more when nothing has come for a while.

    `topics` are those of `report.TOPICS`, or `report.task_topic(...)`. `last_bytes` is for those that
    write what they read elsewhere as well (a recording).
    """

    def __init__(self, address: str | Address, topics: Iterable[str] = ("summary",), keys: str | None = None) -> None:
        parsed = Address.parse(address) if isinstance(address, str) else address
        self.address = str(parsed.check_connectable())
        self._parsed, self._folder = parsed, keys
        self._keys = find_viewer_keys(parsed, keys)
        self.problems = 0
        self.last_problem = ""
        self.last_bytes = b""
        """Of the report that `read` gave last."""
        self._topics: set[str] = set()
        self._context = zmq.Context()
        self._epoll = select.epoll()  # one descriptor, whichever socket there is
        self._look_s = time.monotonic() + LOOK_AGAIN_S  # when keys are looked at again
        self._socket = self._connect()
        self.subscribe(topics)

    def _connect(self) -> "zmq.Socket[bytes]":
        made = self._context.socket(zmq.SUB)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.RCVHWM, QUEUE_MESSAGES),
            (zmq.MAXMSGSIZE, REPORT_LIMIT_BYTES),
            (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            (zmq.RECONNECT_IVL, 100),
            (zmq.RECONNECT_IVL_MAX, 1000),
            (zmq.IPV6, 1),
        ):
            made.setsockopt(option, value)
        if self._keys is not None:
            show(made, self._keys)
        made.connect(self.address)
        self._epoll.register(int(made.getsockopt(zmq.FD)), select.EPOLLIN)
        return made

    @property
    def descriptor(self) -> int:
        """Readable when `read` may have something; ZeroMQ's is edge-triggered, so read until there is nothing."""
        return self._epoll.fileno()

    def subscribe(self, topics: Iterable[str]) -> None:
        """These topics and no others from now on."""
        wanted = set(topics)
        for topic in self._topics - wanted:
            self._socket.setsockopt(zmq.UNSUBSCRIBE, topic.encode())
        for topic in wanted - self._topics:
            self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        self._topics = wanted

    def read(self, timeout_s: float | None = 0) -> Report | None:
        """The next report; None if there is none within this time. None as a time is for ever."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = LOOK_AGAIN_S if deadline is None else max(0.0, deadline - time.monotonic())
            if self._socket.poll(int(min(left_s, LOOK_AGAIN_S) * 1000)):
                self._look_s = time.monotonic() + LOOK_AGAIN_S
                report = self._take()
                if report is not None:
                    return report
            else:
                self._look_for_other_keys()
                if deadline is not None and time.monotonic() >= deadline:
                    return None

    def _look_for_other_keys(self) -> None:
        """Nothing has come: if that is so for a while, and there are other keys by now, connect anew with these."""
        if time.monotonic() < self._look_s:
            return
        self._look_s = time.monotonic() + LOOK_AGAIN_S
        try:
            keys = find_viewer_keys(self._parsed, self._folder)
        except KeysError as error:
            self.last_problem = str(error)
            return
        if keys != self._keys:
            self._keys = keys
            self._epoll.unregister(int(self._socket.getsockopt(zmq.FD)))
            self._socket.close(0)
            topics, self._topics = self._topics, set()
            self._socket = self._connect()
            self.subscribe(topics)

    def read_first(self, timeout_s: float) -> Report:
        """The first report. MonitorError, with what is known, if there is none within this time."""
        report = self.read(timeout_s)
        if report is None:
            raise self.nothing(timeout_s)
        return report

    def nothing(self, waited_s: float) -> MonitorError:
        """What to say if no report has come within this time."""
        return MonitorError(f"{self._why_nothing()} (waited for {waited_s:g} s)")

    def _take(self) -> Report | None:
        parts = self._socket.recv_multipart(zmq.NOBLOCK)
        try:
            if len(parts) != 2:
                raise ReportError("this is not a report of a scaler scheduler")
            topic = parts[0].decode("utf-8", "replace")
            if topic not in self._topics:
                return None
            report = decode(parts[1])
            self.last_bytes = parts[1]
            return report
        except ReportError as error:
            self.problems += 1
            self.last_problem = str(error)
            return None

    def _why_nothing(self) -> str:
        if self.last_problem:
            return f"what {self.address} publishes cannot be read: {self.last_problem}"
        advice = "use the monitor address that the scheduler logs at its start"
        address = Address.parse(self.address)
        if address.is_ipc:
            if os.path.exists(address.path):
                return f"{self.address} is there, but publishes nothing: {advice}"
            return f"there is no {self.address}: {advice}"
        try:
            with socket.create_connection((address.host, address.port), timeout=1):
                if self._keys is None:
                    advice += "; if it wants keys, give them (--keys FOLDER, or SCALER_KEYS), or run as its user"
                return f"something listens at {self.address}, but publishes no reports: {advice}"
        except OSError as error:
            return f"nothing listens at {self.address} ({error.strerror or error}): {advice}"

    def close(self) -> None:
        """Idempotent."""
        if not self._socket.closed:
            self._socket.close(0)
            self._epoll.close()
            self._context.term()

    def __enter__(self) -> "Subscriber":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
