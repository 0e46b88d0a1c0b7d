"""Monitoring: what the scheduler has for those who look: the recorder's memory, the reporter and the publisher.

Rule 1: a scheduler that cannot be looked at works all the same. Only a monitor address that was asked for and cannot be
        had is an error.
Not here: what is said (reporter), to whom (publisher), what is counted (the core).
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import zmq

from scaler._native import MOST_EVENTS, RECORDER_HEADER_BYTES, Pump, Recorder, Segment, totals
from scaler.address import Address
from scaler.colocation.names import recorder_name
from scaler.keys.folder import SchedulerKeys
from scaler.monitor.events import EVENT_BYTES
from scaler.scheduler.alarms import Alarms
from scaler.scheduler.gate import Gate
from scaler.scheduler.publisher import Publisher
from scaler.scheduler.pump_peers import PumpPeers
from scaler.scheduler.questions import Questions
from scaler.scheduler.reporter import Reporter, Usages
from scaler.session.remote_peers import RemotePeers

_log = logging.getLogger(__name__)
_RECORDER_BYTES = RECORDER_HEADER_BYTES + MOST_EVENTS * EVENT_BYTES


def new_recorder(epoch: str) -> Recorder:
    """In shared memory, where viewers of this host can follow it; if none is to be had, in this process alone."""
    try:
        return Recorder(Segment.create(recorder_name(epoch), _RECORDER_BYTES, grows=True), int(epoch, 16))
    except OSError as error:
        _log.info("viewers cannot follow the recorder in shared memory, and get events by reports: %s", error)
        return Recorder(Segment.private(_RECORDER_BYTES), int(epoch, 16))


class Monitoring:
    """`peers` are PumpPeers and RemotePeers; `open` before the scheduler says welcome to anybody."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: "zmq.Context[zmq.Socket[bytes]]",
        epoch: str,
        pump: Pump,
        local: PumpPeers,
        remote: RemotePeers,
        usages: Usages,
        address: Address,
        questions: Questions,
        alarms: Alarms,
        refused: Callable[[], dict[str, int]],
        keys: SchedulerKeys | None = None,
    ) -> None:
        self._pump, self._local, self._remote, self._usages = pump, local, remote, usages
        self._alarms, self._refused = alarms, refused
        self._publisher = Publisher(loop, context, int(epoch, 16), self._make, questions.ask_stack, keys)
        self._reporter = Reporter(
            pump.core,
            address=str(address),
            monitor_address=lambda: self._publisher.address,
            peers=(local, remote),
            usage=usages,
            lag_ns=self._publisher.take_lag_ns,
            messages=self._messages,
            warnings=self._warnings,
        )

    def open(self, scheduler: Address, asked: Address | None, is_expected: bool) -> str:
        """Where; empty if there is no monitoring. ListenError if the address that was asked for cannot be had. The
        usual one `is_expected` if the scheduler's own was given."""
        self._publisher.open(scheduler, asked, is_expected)
        self._remote.monitor = self._publisher.address
        return self._publisher.address

    def let_stand(self, gate: Gate) -> None:
        """Have the gate look at those who come to look."""
        self._publisher.let_stand(gate)

    def _make(self, topic: str) -> Any:
        if topic in ("summary", "hosts"):
            for host, teller, usage in self._remote.usages():
                self._usages.note(host, teller, usage)
        return self._reporter.make(topic)

    def _messages(self) -> dict[str, int]:
        counts = self._pump.core.counts()
        frames = {f"received {kind}": count for kind, count in sorted(self._remote.received.items())}
        return {
            "tasks accepted": counts["accepted"],
            "results delivered": counts["answered"],
            "tasks withdrawn": counts["withdrawn"],
            "passes over the rings": self._pump.passes,
            "wake-ups": self._pump.wakes,
            **frames,
            "frames dropped": self._remote.dropped,
            **{f"connections refused: {why}": count for why, count in sorted(self._refused().items())},
        }

    def _warnings(self) -> list[str]:
        core = self._pump.core
        what, calls = totals(core), core.call_counts()
        found = [why for why in (*self._local.why_unable(), *self._remote.why_unable()) if why]
        found += self._alarms.sentences(time.monotonic())
        if not what["workers"] and calls["ready"]:
            found.append(f"there is no worker, and {calls['ready']} calls wait for one")
        if calls["unread"]:
            found.append(f"{calls['unread']} results wait for clients that do not read theirs")
        if self._pump.missed:
            found.append(f"{self._pump.missed} wake-ups were lost, and made good a tenth of a second later")
        return found

    def close(self) -> None:
        self._publisher.close()
