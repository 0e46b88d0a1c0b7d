"""SessionAtScheduler: the scheduler's side of one remote client or cluster. Bodies in, bodies out; no socket, no clock.

The core writes into RunOutlets as it writes into rings; `flush` turns what has piled up into column batches, so that a
batch is as large as the scheduler was busy, and never waits to become larger.

Rule 1: a function goes out before the first task that names it and is forgotten after the last, an object goes out
        before the first record that names it. A host gets each object once, however many of its workers need it, and
        keeps it as long as anybody holds it.
Rule 2: a client that has too much queued is not read on: its frames wait here unacknowledged, which stops its relay.
Rule 3: no frame holds the scheduler up: what is to be done about one is a generator that yields after each slice, and
        is gone on with when others have had their turn. Order within a session is kept.
Not here: what a client says (client_at_scheduler) and what a cluster says (cluster_at_scheduler), which session a frame
belongs to (remote_peers), numbering (conversation).
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from scaler._native import (
    Mappings,
    RecordCopy,
    RunOutlet,
    SchedulerCore,
    Store,
)
from scaler.objects.directory import Host, ObjectDirectory
from scaler.objects.incoming import IncomingObjects
from scaler.objects.naming import Place
from scaler.objects.port import ObjectPort
from scaler.objects.scheduler_transport import SchedulerTransport
from scaler.program.sparing_log import SparingLog
from scaler.protocol.frames import (
    Body,
    Frame,
    FrameError,
    Hello,
    Serves,
)
from scaler.session.session_end import SessionEnd

_sparing = SparingLog(logging.getLogger(__name__))
Steps = Iterator[None]


@dataclass(eq=False)
class HostObjects:
    """Where objects lie on the scheduler's host, and how they go to others."""

    store: Store  # of those that came over the wire
    mappings: Mappings
    directory: ObjectDirectory = field(default_factory=ObjectDirectory)
    port: ObjectPort | None = None  # None: objects go in chunks


@dataclass(eq=False)
class Waiting:
    """A frame that has come, and what it takes."""

    frame: Frame
    size: int
    is_cleared: bool = False  # tasks that nobody wants any more when they are fed


class SessionAtScheduler(SessionEnd, ABC):
    """What the scheduler's ends of a client's and of a cluster's session have in common.

    It is in `ready` while there may be something to flush.
    """

    keeps = False  # what was sent to it for others to have from there

    def __init__(
        self,
        core: SchedulerCore,
        hello: Hello,
        objects: HostObjects,
        incoming: IncomingObjects,
        ready: "set[SessionAtScheduler]",
        number: int,
    ) -> None:
        super().__init__(incoming)
        self.core = core
        self.ready = ready
        self.hello = hello
        self.objects = objects
        self.transport: SchedulerTransport | None = None
        self.number = number  # which no other of this scheduler has
        self.is_over = False
        self.dropped_output = 0  # lines that tasks have written and that could not be told
        self.now_ns = 0  # as the caller's clock has it
        self._dirty: list[RunOutlet] = []
        self._dirty_control: list[RunOutlet] = []
        self._asks: list[tuple[int, int, int]] = []
        self._stops: list[tuple[int, int, int]] = []
        self._large: list[tuple[int, RecordCopy]] = []

    @abstractmethod
    def on_body(self, body: Body, is_cleared: bool = False) -> Steps:
        """Act on what the other side says, slice by slice. FrameError ends the session.

        `is_cleared`: nobody wants the tasks of this one any more.
        """

    def on_serves(self, body: Serves) -> None:
        """The other side can come to the port here. What a cluster has got from there others can have from it."""
        if self.objects.port is None:
            return
        if self.transport is not None:
            raise FrameError("it has said before how objects go to it")
        if body.address and bool(body.seal) != bool(self.objects.port.seal):
            raise FrameError("connections for objects are sealed to both ports or to none")
        host = Host(body.key, body.address, body.seal)
        self.transport = SchedulerTransport(self.objects.port, self.objects.directory, host, self.keeps, self.number)
        self.talk.use(self.transport)

    @abstractmethod
    def on_left(self) -> Steps:
        """The other side has gone for good."""

    @property
    def is_full(self) -> bool:
        """It has as much queued as it may: what is being done about its last frame waits for room."""
        return False

    def do_early(self, body: Body, waiting: "Iterable[Waiting]") -> Steps:
        """Do what can be done now about a body that waits behind others."""
        yield from ()

    @property
    def has_more(self) -> bool:
        """There is something to flush."""
        return bool(
            self._dirty or self._dirty_control or self._asks or self._stops or self._large or self.talk.wants_to_go_on
        )

    @property
    def can_go_on(self) -> bool:
        """The window lets more of it out already now."""
        return self.has_more and self.talk.has_room

    def flush(self) -> None:
        """Say what has piled up, as far as the window allows."""
        self.talk.go_on()
        self._send_large()
        if self._dirty and self.talk.has_room:
            self._send_runs()

    def _send_runs(self) -> None:
        runs = [(outlet.peer, outlet.run) for outlet in self._dirty]
        while self.talk.has_room:
            if not self.post_runs(runs):
                for outlet in self._dirty:
                    outlet.clean()
                self._dirty.clear()
                return

    def _send_large(self) -> None:
        large, self._large[:] = list(self._large), []
        for peer, record in large:
            self.send_large(peer, record)

    @abstractmethod
    def send_large(self, peer: int, record: RecordCopy) -> None:
        """Send the objects that this record names and the other side does not have, and say it when they are there."""

    def send_object(self, place: Place, name: int = 0) -> bool:
        """Send one object, maybe under another name. False if it is not to be had: the other side will miss it."""
        try:
            self.talk.post_object(self.objects.mappings.lend_at(place, False), name)
        except (OSError, ValueError) as error:
            _sparing.warning(
                self.hello.host_name, "object %#x cannot be sent to %s: %s", place[0], self.hello.host_name, error
            )
            return False
        return True
