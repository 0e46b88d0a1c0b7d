"""ClientSide: the relay of one client, which is a thread of the client's own process."""

from typing import Any

from scaler._native import (
    KIND_CANCEL,
    KIND_CLEAR,
    KIND_FUNCTION,
    KIND_MAPPED,
    KIND_REFUSED,
    KIND_SHUTDOWN,
    KIND_WORKERS,
    Relay,
    RelayPeer,
    Segment,
)
from scaler.link.single import with_payload
from scaler.protocol.frames import (
    MOST_INLINE_BYTES,
    Body,
    Cancel,
    Clear,
    FrameError,
    Goodbye,
    Joined,
    Mapped,
    Results,
    Shutdown,
    ShutdownAnswer,
    Workers,
)
from scaler.relay.relay import RelaySide


class ClientSide(RelaySide):
    """Submits out, results in."""

    def __init__(self, relay: Relay, life: str, client_bits: int, peer: RelayPeer, name: str, pid: int) -> None:
        super().__init__(relay, life)
        self._client_bits = client_bits
        self.peers.append(peer)
        self.talk.post(Joined(peer.slot, name, pid))
        self._held: dict[int, str] = {}  # segments of results until the client has mapped them, by task

    def on_control(self, slot: int, record: tuple[Any, ...]) -> None:
        kind, task = record[0], record[1]
        if kind == KIND_FUNCTION:
            self.send_function(record)
        elif kind == KIND_CANCEL:
            self._cancel(task)
        elif kind == KIND_CLEAR:
            self.talk.post(Clear())
            for unsaid in self.unsaid:
                self._cancel(unsaid)
        elif kind == KIND_MAPPED:
            name = self._held.pop(task, None)
            if name is not None:
                Segment.unlink(name)
        elif kind == KIND_SHUTDOWN:
            self.talk.post(Shutdown())

    def on_broken(self, peer: RelayPeer) -> None:
        self.over = "this client has written a record that makes no sense"

    def _cancel(self, task: int) -> None:
        if task in self.unsaid:  # the scheduler has not heard of it yet
            self.talk.after_objects(lambda: self.talk.post(Cancel.of([(0, task, 0)])))
        else:
            self.talk.post(Cancel.of([(0, task, 0)]))

    def on_body(self, body: Body) -> None:
        if isinstance(body, Results):
            self.batch.put_results(body, peers=1, client_bits=self._client_bits, largest_payload=MOST_INLINE_BYTES)
            for slot, record in self.relay.deliver(self.batch):
                place = self.place_of(record)
                self._held[record[1]] = place[8:].decode("ascii")
                self.talk.post(Mapped.of([(0, record[1], 0)]))
                self.relay.deliver_one(slot, with_payload(record, place))
        elif isinstance(body, Workers):
            self.relay.tell(0, KIND_WORKERS, items=body.count)
        elif isinstance(body, ShutdownAnswer):
            self.relay.tell(0, KIND_REFUSED if body.reason else KIND_SHUTDOWN, body.reason.encode())
        elif isinstance(body, Goodbye):
            self.over = body.reason
        else:
            raise FrameError(f"a scheduler does not say {type(body).__name__} to a client")
