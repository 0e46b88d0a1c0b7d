"""RelaySide: a relay's half of a session. Records and bodies in and out; no socket, no clock, no thread.

What its peers say in their rings becomes bodies; what the scheduler says becomes records in their rings. Payloads in
segments travel in chunks and lie in a segment of the receiving host on the other side.

Rule 1: what a peer said before a control record goes out before it, a function before the tasks that name it.
Not here: who the peers are (client_relay, cluster_relay), the socket (relay_thread).
"""

from abc import ABC, abstractmethod
from typing import Any

from scaler._native import (
    KIND_FUNCTION,
    RecordBatch,
    RecordRun,
    Relay,
    RelayPeer,
    Segment,
    runs_to_result_columns,
    runs_to_task_columns,
)
from scaler.link.conversation import Conversation
from scaler.link.objects import object_name, open_place
from scaler.link.single import with_payload
from scaler.protocol.codec import decode
from scaler.protocol.frames import (
    DIGEST_BYTES,
    FLAG_OBJECT,
    Acknowledge,
    Body,
    Function,
    Functions,
    Heartbeat,
    Refusal,
    Results,
    Tasks,
    Welcome,
)


class RelaySide(ABC):
    """What relays of clients and of clusters have in common."""

    def __init__(self, relay: Relay, life: str) -> None:
        self.relay = relay
        self.talk = Conversation(life)
        self.batch = RecordBatch()
        self.peers: list[RelayPeer] = []
        self.unsaid: set[int] = set()  # tasks whose payload is on its way and that are named after it
        self.over: str | None = None  # why the session has ended for good
        self._functions_under_way = 0

    def on_frame(self, data: bytes) -> None:
        """Act on a message of the scheduler's. FrameError ends the session."""
        body = self.talk.take(decode(data))
        if isinstance(body, Refusal):
            self.over = body.reason
        elif body is not None and not isinstance(body, Acknowledge | Heartbeat | Welcome):
            self.on_body(body)

    @abstractmethod
    def on_body(self, body: Body) -> None:
        """Act on what the scheduler says. FrameError ends the session."""

    @abstractmethod
    def on_control(self, slot: int, record: tuple[Any, ...]) -> None:
        """Act on a control record of a peer."""

    @abstractmethod
    def on_broken(self, peer: RelayPeer) -> None:
        """What this peer has written makes no sense: nothing more is taken from it."""

    def read_on(self) -> None:  # noqa: B027  (only a cluster's has something to wait for)
        """Act on what could not be acted on when it came."""

    def collect(self) -> None:
        """Say what the peers have said: control records and large payloads, then the rest in batches."""
        talk, relay = self.talk, self.relay
        talk.go_on()
        self._say_asides()
        runs = [(peer.slot, peer.collected) for peer in self.peers]
        if not self._functions_under_way:
            while talk.has_room and self._post_runs(runs):
                pass
        relay.hold(bool(self._functions_under_way) or not talk.has_room)
        broken, relay.broken[:] = list(relay.broken), []
        for peer in broken:
            self.on_broken(peer)

    def _say_asides(self) -> None:
        relay = self.relay
        controls, relay.controls[:] = list(relay.controls), []
        for slot, said in controls:
            if isinstance(said, RecordRun):
                self.post_all([(slot, said)])
            else:
                self.on_control(slot, said)
        large, relay.large[:] = list(relay.large), []
        for slot, record in large:
            self._send_large(slot, record)

    def post_all(self, runs: list[tuple[int, RecordRun]]) -> None:
        """Say all that is in these runs, whatever the window."""
        while self._post_runs(runs):
            pass

    def _post_runs(self, runs: list[tuple[int, RecordRun]]) -> bool:
        """Post one batch. False if there was nothing."""
        if self.relay.is_client:
            columns = runs_to_task_columns(runs)
            if columns is not None:
                self.talk.post(Tasks(*columns))
        else:
            columns = runs_to_result_columns(runs)
            if columns is not None:
                self.talk.post(Results(*columns))
        return columns is not None

    # large payloads

    def _send_large(self, slot: int, record: tuple[Any, ...]) -> None:
        segment = open_place(record[2])
        Segment.unlink(segment.name)  # from here on it is the other side's copy that counts

        def post(number: int, size: int) -> None:
            self.unsaid.discard(record[1])
            self._post_runs([(slot, with_payload(record, object_name(number, size)))])

        self.unsaid.add(record[1])
        self.talk.post_object(segment, post)

    def send_function(self, record: tuple[Any, ...]) -> None:
        """Announce a function that a peer announced."""
        digest, payload, number = record[2][:DIGEST_BYTES], record[2][DIGEST_BYTES:], record[3]
        if not record[4]:
            self.talk.post(Functions.of([Function(0, number, digest, 0, payload)]))
            return
        segment = open_place(payload)
        Segment.unlink(segment.name)
        self._functions_under_way += 1

        def post(object_number: int, size: int) -> None:
            self._functions_under_way -= 1
            name = object_name(object_number, size)
            self.talk.post(Functions.of([Function(0, number, digest, FLAG_OBJECT, name)]))

        self.talk.post_object(segment, post)

    def place_of(self, record: tuple[Any, ...]) -> bytes:
        """Where the object that a record names lies on this host."""
        return self.talk.incoming.take(record[2])

    def tell_function(self, row: Function) -> bool:
        """Announce a function to a worker. False if its control ring is full."""
        payload = self.talk.incoming.take(row.payload) if row.flags & FLAG_OBJECT else row.payload
        return bool(
            self.relay.tell(row.peer, KIND_FUNCTION, row.digest + payload, function=row.number, flags=row.flags)
        )
