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
        self._unwanted: set[int] = set()  # cancelled tasks; forgotten with the next quiet moment

    def on_control(self, slot: int, record: tuple[Any, ...]) -> None:
        kind, task = record[0], record[1]
        if kind == KIND_FUNCTION:
            self.send_function(record)
        elif kind == KIND_CANCEL:
            if self.talk.wants_to_go_on:
                self._unwanted.add(task)
            self.talk.post(Cancel.of([(0, task, 0)]))
        elif kind == KIND_CLEAR:
            self.talk.post(Clear())
        elif kind == KIND_MAPPED:
            name = self._held.pop(task, None)
            if name is not None:
                Segment.unlink(name)
        elif kind == KIND_SHUTDOWN:
            self.talk.post(Shutdown())

    def is_wanted(self, record: tuple[Any, ...]) -> bool:
        return record[1] not in self._unwanted

    def on_body(self, body: Body) -> None:
        if isinstance(body, Results):
            self.batch.put_results(body, peers=1, client_bits=self._client_bits)
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
