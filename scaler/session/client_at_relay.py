"""ClientAtRelay: a client's session, at its relay, which is a thread of the client's own process.

The other end is client_at_scheduler; what all ends have in common says session_end.
"""

from scaler._native import (
    KIND_ANSWER,
    KIND_CANCEL,
    KIND_CLEAR,
    KIND_FORGET,
    KIND_FREED,
    KIND_FUNCTION,
    KIND_OUTPUT,
    KIND_QUESTION,
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
    bare,
)
from scaler.objects.naming import pack_ids, unpack_ids
from scaler.protocol.frames import (
    FLAG_NAMED,
    FLAG_OBJECTS,
    FLAG_REQUEST,
    NAMED_MINOR,
    PROTOCOL_MINOR,
    PROTOCOL_VERSION,
    RESOURCES_MINOR,
    Answer,
    Body,
    Cancel,
    Clear,
    Forget,
    Freed,
    Functions,
    Goodbye,
    Joined,
    Output,
    Question,
    Release,
    Results,
    Returned,
    RunHere,
    Shutdown,
    ShutdownAnswer,
    Wait,
    Workers,
)
from scaler.protocol.questions import PART_BYTES, pack_answer, parts_of_output, read_question
from scaler.session.session_at_relay import SessionAtRelay
from scaler.session.session_end import announced, odd_columns, with_payload

_TOO_OLD = (
    "the scheduler is older than {}, which version "
    f"{PROTOCOL_VERSION}.{{}} of the protocol has brought: install this version of scaler there, too"
)
MOST_IDS = 128  # of one control record


class ClientAtRelay(SessionAtRelay):
    """Submits out, results in."""

    says_tasks = True

    def __init__(
        self, relay: Relay, store: Store, mappings: Mappings, client_bits: int, peer: RelayPeer, name: str, pid: int
    ) -> None:
        super().__init__(relay, store, mappings)
        self._client_bits = client_bits
        self.scheduler_minor = PROTOCOL_MINOR  # of the version that the scheduler speaks
        self.peers.append(peer)
        self.talk.post(Joined(peer.number, name, pid))

    def on_control(self, number: int, record: RecordCopy) -> None:
        kind, task = record.kind, record.task
        if kind == KIND_FUNCTION:
            self._send_function(record)
        elif kind == KIND_CANCEL:
            self._cancel(task, record.flags)
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
        elif kind == KIND_QUESTION:
            self._say_of(task, Question(*read_question(record.payload), task))

    def tag_of(self, number: int) -> int:
        return self._client_bits

    def on_broken(self, peer: RelayPeer) -> None:
        self.over = "this client has written a record that makes no sense"

    def _cancel(self, task: int, flags: int = 0) -> None:
        self._say_of(task, Cancel.of([(0, task, flags)]))

    def _say_of(self, task: int, body: Body) -> None:
        """Say this of a task, behind the task itself."""
        if task in self.unsaid or self.functions_under_way:  # the scheduler may not have heard of it yet
            self.talk.after_objects(lambda: self.talk.post(body))
        else:
            self.talk.post(body)

    def _send_function(self, record: RecordCopy) -> None:
        """Announce a function that the client announces."""
        function = announced(0, record)
        if function.flags & FLAG_NAMED and self.scheduler_minor < NAMED_MINOR:
            self.over = _TOO_OLD.format("named functions", NAMED_MINOR)
            return
        if function.flags & FLAG_REQUEST and self.scheduler_minor < RESOURCES_MINOR:
            self.over = _TOO_OLD.format("calls that ask for resources", RESOURCES_MINOR)
            return
        if function.flags & FLAG_OBJECTS:
            self.send_objects(0, function.payload)
            function = function._replace(payload=bare(function.payload))
        elif not self.functions_under_way:  # else after those: numbers count up
            self.talk.post(Functions.of([function]))
            return
        self.functions_under_way += 1

        def post() -> None:
            self.functions_under_way -= 1
            self.talk.post(Functions.of([function]))

        self.talk.after_objects(post)

    # what the scheduler says

    def _on_results(self, body: Results) -> None:
        with odd_columns():
            self.batch.put_results(body, peers=1, client_bits=self._client_bits)
        for number, record in self.relay.deliver(self.batch):
            self.relay.deliver_one(number, with_payload(record, self.talk.incoming.take(record.payload)))

    def _on_freed(self, body: Freed) -> None:
        ids = [object_id for _, object_id in body.rows()]
        for at in range(0, len(ids), MOST_IDS):
            self.relay.tell(0, KIND_FREED, pack_ids(ids[at : at + MOST_IDS]))

    def _on_run_here(self, body: RunHere) -> None:
        for choice in body.rows():  # without room it is asked for again
            self.relay.tell(0, KIND_RUN_HERE, task=choice.task, waits=False)

    def _on_workers(self, body: Workers) -> None:
        self.relay.tell(0, KIND_WORKERS, items=body.count)

    def _on_shutdown_answer(self, body: ShutdownAnswer) -> None:
        self.relay.tell(0, KIND_REFUSED if body.reason else KIND_SHUTDOWN, body.reason.encode()[:PART_BYTES])

    def _on_answer(self, body: Answer) -> None:
        for part in pack_answer(body.number, body.text, body.problem):
            self.relay.tell(0, KIND_ANSWER, part)

    def _on_output(self, body: Output) -> None:
        for part in parts_of_output(body.text):
            self.relay.tell(0, KIND_OUTPUT, part)

    other_side = "a scheduler to a client"
    handlers = {
        Results: _on_results,
        Freed: _on_freed,
        RunHere: _on_run_here,
        Workers: _on_workers,
        ShutdownAnswer: _on_shutdown_answer,
        Answer: _on_answer,
        Output: _on_output,
        Goodbye: SessionAtRelay.on_goodbye,
    }
