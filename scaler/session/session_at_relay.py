"""SessionAtRelay: a relay's half of a session. Records and bodies in and out; no socket, no clock, no thread.

What its peers say in their rings becomes bodies; what the scheduler says becomes records in their rings. Objects travel
in chunks, from the store of their maker into the store of the receiving host: here that is the relay's own.

Rule 1: what a peer said before a control record goes out before it, a function before the tasks that name it, an object
        before the record that brings it.
Not here: what the two say (client_at_relay, cluster_at_relay), who the peers are (client_relay, cluster_relay), the
socket (relay_thread).
"""

import logging
from abc import ABC, abstractmethod
from typing import Any

from scaler._native import (
    FLAG_INPUTS,
    KIND_RESULT,
    KIND_TASK,
    Mappings,
    RecordCopy,
    RecordRun,
    Relay,
    RelayPeer,
    Store,
    bare,
    keeper_of,
    maker_of,
    split_places,
)
from scaler.objects.incoming import IncomingObjects
from scaler.objects.naming import new_objects
from scaler.objects.relay_transport import RelayTransport
from scaler.program.sparing_log import SparingLog
from scaler.protocol.codec import decode
from scaler.protocol.frames import (
    FLAG_OBJECTS,
    Acknowledge,
    Body,
    Goodbye,
    Heartbeat,
    Refusal,
    Welcome,
)
from scaler.session.session_end import SessionEnd, with_payload

_sparing = SparingLog(logging.getLogger(__name__))
TRIM_S = 0.5


class SessionAtRelay(SessionEnd, ABC):
    """What the relay's ends of a client's and of a cluster's session have in common."""

    def __init__(self, relay: Relay, store: Store, mappings: Mappings, until_named: bool = True) -> None:
        super().__init__(IncomingObjects(store, until_named=until_named))
        self.relay = relay
        self.store, self.mappings = store, mappings
        self.peers: list[RelayPeer] = []
        self.unsaid: set[int] = set()  # tasks that wait for objects on their way, their own or their function's
        self.over: str | None = None  # why the session has ended for good
        self.functions_under_way = 0
        self._trim_s = 0.0  # when memory is looked after next

    def use(self, transport: RelayTransport | None) -> None:
        """Large objects go this way. To be said before anything else."""
        if transport is not None:
            self.talk.post(transport.serves())
            self.talk.use(transport)

    def on_frame(self, data: bytes) -> None:
        """Act on a message of the scheduler's. FrameError ends the session."""
        body = self.talk.take(decode(data))
        if isinstance(body, Refusal):
            self.over = body.reason
        elif body is not None and not isinstance(body, Acknowledge | Heartbeat | Welcome):
            self.on_body(body)

    def on_body(self, body: Body) -> None:
        """Act on what the scheduler says. FrameError ends the session."""
        self.handler_of(body)(self, body)

    def on_goodbye(self, body: Goodbye) -> None:
        self.over = body.reason

    @property
    def has_said_all(self) -> bool:
        """Nobody is here who could say more, and the scheduler has taken what was said."""
        return not (self.peers or self.unsaid or self.talk.ledger.unacknowledged)

    @abstractmethod
    def on_control(self, number: int, record: RecordCopy) -> None:
        """Act on a control record of a peer."""

    @abstractmethod
    def on_broken(self, peer: RelayPeer) -> None:
        """What this peer has written makes no sense: nothing more is taken from it."""

    def attend(self, now_s: float) -> float | None:
        """Do what is due; when there will be something to do that cannot wait until somebody has news."""
        if now_s >= self._trim_s:
            self._trim_s = now_s + TRIM_S
            self.store.trim(int(now_s * 1e9))
            self.mappings.trim(int(now_s * 1e9))
        return None

    def collect(self) -> None:
        """Say what the peers have said: what was set aside, then the rest in batches."""
        talk, relay = self.talk, self.relay
        talk.go_on()
        self._say_asides()
        runs = [(peer.number, peer.collected) for peer in self.peers]
        if not self.functions_under_way:
            while talk.has_room and self.post_runs(runs):
                pass
        relay.inputs_wait = bool(self.unsaid)
        relay.hold(bool(self.functions_under_way) or not talk.has_room)
        broken, relay.broken[:] = list(relay.broken), []
        for peer in broken:
            self.on_broken(peer)

    def _say_asides(self) -> None:
        relay = self.relay
        asides, relay.asides[:] = list(relay.asides), []
        for number, said in asides:
            try:
                self._say_aside(number, said)
            except (ValueError, TypeError, OSError) as error:
                _sparing.warning(number, "what peer %d has written cannot be sent: %s", number, error)
                peer = relay.find_peer(number)
                if peer is not None:
                    self.on_broken(peer)

    def _say_aside(self, number: int, said: Any) -> None:
        if isinstance(said, RecordRun):
            if self.functions_under_way:
                self._post_later(number, said)
            else:
                self.post_all([(number, said)])
        elif said.kind in (KIND_TASK, KIND_RESULT) and said.flags & FLAG_OBJECTS:
            self._send_with_objects(number, said)
        elif said.kind in (KIND_TASK, KIND_RESULT):
            self._send_after_others(number, said)
        else:
            self.on_control(number, said)

    def _post_later(self, number: int, run: RecordRun) -> None:
        """Say this after the functions that it may name."""
        tasks = run.tasks()
        self.unsaid.update(tasks)

        def post() -> None:
            self.unsaid.difference_update(tasks)
            self.post_all([(number, run)])

        self.talk.after_objects(post)

    def post_all(self, runs: list[tuple[int, RecordRun]]) -> None:
        """Say all that is in these runs, whatever the window."""
        while self.post_runs(runs):
            pass

    # objects

    def _send_with_objects(self, number: int, record: RecordCopy) -> None:
        self.send_objects(number, record.payload)
        self.on_sending(number, record)
        self.unsaid.add(record.task)
        named = [place[0] for place in split_places(record.payload)[0]]
        waits_for_all = self.functions_under_way or record.flags & FLAG_INPUTS

        def post() -> None:
            self.unsaid.discard(record.task)
            self.post_runs([(number, with_payload(record, bare(record.payload)))])
            self.on_sent(number, record)

        self.talk.after_objects(
            post, None if waits_for_all else named, [place[0] for place in new_objects(record.payload)]
        )

    def _send_after_others(self, number: int, record: RecordCopy) -> None:
        """A task that may need the results of those that wait for their objects: it must not be said before them."""
        self.unsaid.add(record.task)

        def post() -> None:
            self.unsaid.discard(record.task)
            self.post_runs([(number, with_payload(record, record.payload))])

        self.talk.after_objects(post)

    @abstractmethod
    def tag_of(self, number: int) -> int:
        """What the objects that this peer makes begin with, and whose store its segments are."""

    def send_objects(self, number: int, payload: bytes) -> None:
        """Send the objects that this payload of a peer brings. ValueError if one of them is not its own."""
        tag = self.tag_of(number)
        places = list(new_objects(payload))
        for object_id, segment, *_ in places:
            if maker_of(object_id) != tag or keeper_of(segment) != tag:
                raise ValueError(f"object {object_id:#x} in segment {segment:#x} is not of its own making")
        for place in places:
            self.talk.post_object(self.mappings.lend_at(place, False))

    def on_sending(self, number: int, record: RecordCopy) -> None:
        """The objects of this record are about to be sent."""

    def on_sent(self, number: int, record: RecordCopy) -> None:
        """The record and the objects that it brought are on their way."""
