"""ClientAtRelay: the relay of one client, which is a thread of the client's own process."""

from scaler._native import (
    KIND_CANCEL,
    KIND_CLEAR,
    KIND_FORGET,
    KIND_FREED,
    KIND_FUNCTION,
    KIND_REFUSED,
    KIND_RELEASE,
    KIND_RETURN,
    KIND_RUN_HERE,
    KIND_SHUTDOWN,
    KIND_WAIT,
    KIND_WORKERS,
    Mappings,
    RecordCopy,
    Relay,
    RelayPeer,
    Store,
)
from scaler.objects.naming import pack_ids, unpack_ids
from scaler.protocol.frames import (
    Body,
    Cancel,
    Clear,
    Forget,
    FrameError,
    Freed,
    Goodbye,
    Joined,
    Release,
    Results,
    Returned,
    RunHere,
    Shutdown,
    ShutdownAnswer,
    Wait,
    Workers,
)
from scaler.session.session_at_relay import SessionAtRelay, odd_columns
from scaler.session.single import with_payload

MOST_IDS = 128  # of one control record


class ClientAtRelay(SessionAtRelay):
    """Submits out, results in."""

    def __init__(
        self, relay: Relay, store: Store, mappings: Mappings, client_bits: int, peer: RelayPeer, name: str, pid: int
    ) -> None:
        super().__init__(relay, store, mappings)
        self._client_bits = client_bits
        self.peers.append(peer)
        self.talk.post(Joined(peer.number, name, pid))

    def on_control(self, number: int, record: RecordCopy) -> None:
        kind, task = record.kind, record.task
        if kind == KIND_FUNCTION:
            self.send_function(record)
        elif kind == KIND_CANCEL:
            self._cancel(task)
        elif kind == KIND_CLEAR:
            self.talk.post(Clear())
            for unsaid in self.unsaid:
                self._cancel(unsaid)
        elif kind == KIND_RELEASE:
            ids = unpack_ids(record.payload)
            for object_id in ids:
                self.store.free(object_id)  # a result; what the client has made is in its own store
            self.talk.after_objects(lambda: self.talk.post(Release.of(ids)))
        elif kind == KIND_FORGET:
            self.talk.after_objects(lambda: self.talk.post(Forget.of([(0, record.function)])))
        elif kind == KIND_SHUTDOWN:
            self.talk.post(Shutdown())
        elif kind == KIND_WAIT:
            self._say_of(task, Wait.of([(0, task, 0)]))
        elif kind == KIND_RETURN:
            self.talk.post(Returned.of([(0, task, 0, not record.flags)]))

    def tag_of(self, number: int) -> int:
        return self._client_bits

    def on_broken(self, peer: RelayPeer) -> None:
        self.over = "this client has written a record that makes no sense"

    def _cancel(self, task: int) -> None:
        self._say_of(task, Cancel.of([(0, task, 0)]))

    def _say_of(self, task: int, body: Body) -> None:
        """Say this of a task, behind the task itself."""
        if task in self.unsaid or self.has_functions_under_way:  # the scheduler may not have heard of it yet
            self.talk.after_objects(lambda: self.talk.post(body))
        else:
            self.talk.post(body)

    def on_body(self, body: Body) -> None:
        if isinstance(body, Results):
            with odd_columns():
                self.batch.put_results(body, peers=1, client_bits=self._client_bits)
            for number, record in self.relay.deliver(self.batch):
                self.relay.deliver_one(number, with_payload(record, self.talk.incoming.take(record.payload)))
        elif isinstance(body, Freed):
            ids = [object_id for _, object_id in body.rows()]
            for at in range(0, len(ids), MOST_IDS):
                self.relay.tell(0, KIND_FREED, pack_ids(ids[at : at + MOST_IDS]))
        elif isinstance(body, RunHere):
            for choice in body.rows():  # without room it is asked for again
                self.relay.tell(0, KIND_RUN_HERE, task=choice.task, waits=False)
        elif isinstance(body, Workers):
            self.relay.tell(0, KIND_WORKERS, items=body.count)
        elif isinstance(body, ShutdownAnswer):
            self.relay.tell(0, KIND_REFUSED if body.reason else KIND_SHUTDOWN, body.reason.encode())
        elif isinstance(body, Goodbye):
            self.over = body.reason
        else:
            raise FrameError(f"a scheduler does not say {type(body).__name__} to a client")
