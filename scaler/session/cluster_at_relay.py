"""ClusterAtRelay: the session of a host's workers, at their relay, which is a thread of their supervisor's process.

The other end is cluster_at_scheduler; what all ends have in common says session_end.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from scaler._native import (
    KIND_FORGET,
    KIND_FREED,
    KIND_FUNCTION,
    KIND_RELEASE,
    Mappings,
    RecordCopy,
    RecordRun,
    Relay,
    RelayPeer,
    Store,
    join_places,
    split_places,
)
from scaler.objects.naming import pack_ids, unpack_ids
from scaler.objects.relay_transport import RelayTransport
from scaler.program.stack_dump import NOT_BEGUN
from scaler.protocol.bounds import MOST_ANSWER_LENGTH, plain_text
from scaler.protocol.frames import (
    FLAG_OBJECTS,
    TASK_NUMBER_BITS,
    Answer,
    Cancel,
    Demand,
    Forget,
    Functions,
    Joined,
    Leaving,
    Question,
    Release,
    Results,
    Tasks,
    Unable,
    Withdraw,
    Withdrawn,
)
from scaler.protocol.questions import What
from scaler.session.cluster_end import ClusterEnd, worker_tag
from scaler.session.session_end import odd_columns, with_payload
from scaler.values.death_facts import pack_facts, read_facts

# Has a worker asked, in any thread; the other function is called in the relay's, with a text or why there is none.
AskStack = Callable[[RelayPeer, Callable[[str, str], None]], None]
# The same for all that tasks of the client with these bits have written.
AskOutput = Callable[[int, Callable[[str, str], None]], None]


# What the scheduler says of its work, and for how long those of the workers have had nothing to do that have nothing.
OnDemand = Callable[[Demand, dict[RelayPeer, int]], object]


class Stopping(Protocol):
    """What stops the tasks of workers (scaler.cancellation.stopper)."""

    def stop(self, worker: RelayPeer, task: int, attempt: int) -> None: ...
    def find_final(self, worker: RelayPeer) -> tuple[int, int] | None: ...
    def find_piece_node(self, worker: RelayPeer) -> int | None: ...
    def remove(self, worker: RelayPeer) -> RecordRun | None: ...
    def attend(self, now_s: float) -> None: ...
    @property
    def next_due_s(self) -> float | None: ...


class ClusterAtRelay(ClusterEnd):
    """Tasks in, results out. `dismiss(peer)` is to hang up on a worker: on_left follows."""

    def __init__(
        self,
        relay: Relay,
        epoch: str,
        folder: str,
        store: Store,
        mappings: Mappings,
        dismiss: Callable[[RelayPeer], None],
        stopper: Stopping,
        ask_stack: AskStack | None = None,
        ask_output: AskOutput | None = None,
        on_demand: OnDemand = lambda demand, idle_ns: None,
    ) -> None:
        super().__init__(relay, epoch, folder, store, mappings)
        self._dismiss, self._stopper = dismiss, stopper
        self._ask_stack, self._ask_output, self._on_demand_said = ask_stack, ask_output, on_demand
        self._numbers = 0  # all below it have been given to workers
        self._sending: dict[int, tuple[int, RecordCopy]] = {}  # results whose objects are on their way, by task
        self._about: dict[RelayPeer, tuple[str, int, bytes, str]] = {}  # names, processes, vouchers, resources
        self._leaving: set[int] = set()  # workers that have gone, which is still to be said
        self._survivors: dict[RelayPeer, tuple[int, int]] = {}  # what they run for a scheduler before
        self._old_stores: list[Store] = []  # that tasks of these may still look at

    def use(self, transport: RelayTransport | None) -> None:
        super().use(transport)
        self._kept_results.transport = transport
        if transport is None:
            self.talk.post(
                Unable("")
            )  # its workers may take long to start, and a peer that says nothing is not waited for

    @property
    def has_said_all(self) -> bool:
        return super().has_said_all and not self._leaving

    def on_leaving(self, numbers: list[int]) -> None:
        """These workers end once they have done what they run: what they have not begun is to be given to others."""
        self.talk.post(Leaving.of(numbers))

    def _tell_freed(self, number: int, ids: Iterable[int]) -> None:
        self.relay.tell(number, KIND_FREED, pack_ids(ids))

    def on_control(self, number: int, record: RecordCopy) -> None:
        if record.kind != KIND_RELEASE:
            peer = self.relay.find_peer(number)
            if peer is not None:  # workers have nothing else to say there
                self.on_broken(peer)
            return
        ids = unpack_ids(record.payload)
        self.talk.after_objects(lambda: self.talk.post(Release.of(ids, number)))

    def on_broken(self, peer: RelayPeer) -> None:
        self._dismiss(peer)

    def on_sending(self, number: int, record: RecordCopy) -> None:
        self._sending[record.task] = number, record

    def on_sent(self, number: int, record: RecordCopy) -> None:
        self._sending.pop(record.task, None)
        super().on_sent(number, record)

    def take_back_all(self, peer: RelayPeer) -> None:
        """This worker will be killed: what it has not begun goes elsewhere."""
        taken = self.relay.take_back_all(peer.number)
        if taken:
            self.talk.post(Withdrawn.of([(peer.number, task, attempt, True) for task, attempt in taken]))

    def attend(self, now_s: float) -> float | None:
        super().attend(now_s)
        if self._survivors or self._old_stores:
            self._look_after_survivors()
        self._stopper.attend(now_s)
        return self._stopper.next_due_s

    def on_joined(self, peer: RelayPeer, name: str, pid: int, voucher: bytes = b"", resources: str = "") -> None:
        """A worker has handed in its rings; called in the order of the peers' numbers."""
        self.peers.append(peer)
        self._numbers = peer.number + 1
        name = plain_text(name)
        self._about[peer] = name, pid, voucher, resources
        self.talk.post(Joined(peer.number, name, pid, voucher=voucher, resources=resources))

    def on_left(self, peer: RelayPeer, exit_code: int, reason: str) -> None:
        """A worker has gone. What it said is said before that, and nobody else maps what it was sent."""
        self.peers.remove(peer)
        del self._about[peer]
        self._survivors.pop(peer, None)
        if self._stopper.find_final(peer) is not None:
            reason = pack_facts({**read_facts(reason), "final": True}).decode()
        piece_node = self._stopper.find_piece_node(peer)
        if piece_node is not None:
            reason = pack_facts({**read_facts(reason), "piece_node": piece_node}).decode()
        answer = self._stopper.remove(peer)
        rest = self.relay.remove(peer)
        self._say_asides()
        self.post_all([(peer.number, rest)])
        if answer is not None:
            self.post_all([(peer.number, answer)])
        self._leaving.add(peer.number)

        def say_left() -> None:
            self._leaving.remove(peer.number)
            self.say_left(peer.number, exit_code, reason, peer.claimed)

        self.talk.after_objects(say_left)

    # another scheduler

    def take_over(self, before: "ClusterAtRelay", epoch: int) -> None:
        """Go on with the workers of a session whose scheduler has gone; `epoch` is that of the next one.

        Called once, before anything else is said. They go on with what they run; what they have not begun is taken
        back, since its client sends it again. Results that the other scheduler may not have taken are sent again.
        """
        runs = dict(self.relay.take_over(epoch))
        for peer in before.peers:
            name, pid, voucher, resources = self._about[peer] = before._about[peer]
            self.peers.append(peer)
            self._numbers = peer.number + 1
            task, attempt = runs[peer] or (0, 0)
            if task:
                self._survivors[peer] = task, attempt
            self.talk.post(Joined(peer.number, name, pid, True, task, attempt, voucher, resources))
        for body in before.talk.ledger.unacknowledged_bodies():
            if isinstance(body, Results) and not any(flags & FLAG_OBJECTS for flags in body.flags):
                self.talk.post(body)
        present = {peer.number for peer in self.peers}
        unheard = self._kept_results.take_over(before._kept_results, present)
        sending = [(number, record) for number, record in before._sending.values() if number in present]
        self.relay.asides[:0] = [*unheard, *sending]
        for number in before._leaving:
            self._kept_results.on_left(number, worker_tag(number))
        self._old_stores = [*before._old_stores, before.store]

    def _look_after_survivors(self) -> None:
        """Say which workers have ended what they ran for another scheduler: the result may have gone to that one."""
        for peer, (task, attempt) in list(self._survivors.items()):
            if not peer.running.is_it(task, attempt):
                del self._survivors[peer]
                self.talk.after_objects(partial(self._say_idle, peer.number, task, attempt))
        if not self._survivors:
            self.close_old_stores()

    def _say_idle(self, number: int, task: int, attempt: int) -> None:
        self.talk.post(Withdrawn.of([(number, task, attempt, False)]))

    def close_old_stores(self) -> None:
        """Nobody will open an object of a session before any more. A worker that has one open keeps it."""
        while self._old_stores:
            self._old_stores.pop().close()
        self._kept_results.free_outdated()

    # what the scheduler says

    def _on_tasks(self, body: Tasks) -> None:
        with odd_columns():
            self.batch.put_tasks(body, peers=self._numbers)
        for number, record in self.relay.deliver(self.batch):
            self.relay.deliver_one(number, with_payload(record, self._placed(record.payload)))

    def _on_functions(self, body: Functions) -> None:
        for row in body.rows():
            payload = self._placed(row.payload) if row.flags & FLAG_OBJECTS else row.payload
            self.relay.tell(row.peer, KIND_FUNCTION, row.digest + payload, function=row.number, flags=row.flags)

    def _on_question(self, question: Question) -> None:
        """The code of a task is not shown if the worker is at another one by now."""
        if question.what == What.OUTPUT and self._ask_output is not None:
            client = question.task >> TASK_NUMBER_BITS
            self._ask_output(client, lambda text, problem: self.talk.post(Answer(question.number, text, problem)))
            return
        peer = self.relay.find_peer(question.peer)

        def is_at_it() -> bool:
            return not question.attempt or (peer in self.peers and peer.running.is_it(question.task, question.attempt))

        def answer(text: str, problem: str) -> None:
            if not is_at_it() and not problem:
                text, problem = "", "it has just ended"
            self.talk.post(Answer(question.number, plain_text(text, MOST_ANSWER_LENGTH), plain_text(problem)))

        if peer is None or self._ask_stack is None:
            answer("", "its worker has just gone")
        elif not is_at_it():
            answer("", f"worker {self._about[peer][0] if peer in self._about else ''} {NOT_BEGUN}")
        else:
            self._ask_stack(peer, answer)

    def _placed(self, payload: bytes) -> bytes:
        """The payload, saying where on this host its objects lie; one that is not here has no place."""
        places, stream = split_places(payload)
        found = []
        for object_id, _, _, size, flags in places:
            here = self._find(object_id)
            found.append((object_id, 0, 0, size, flags) if here is None else (object_id, *here[1:4], flags))
        return join_places(found, stream)

    def _on_forget(self, body: Forget) -> None:
        for number, function_number in body.rows():
            self.relay.tell(number, KIND_FORGET, function=function_number)

    def _on_withdraw(self, body: Withdraw) -> None:
        self.talk.post(Withdrawn.of([(*row, bool(self.relay.withdraw(*row))) for row in body.rows()]))

    def _on_demand(self, body: Demand) -> None:
        idle = dict(body.rows())
        self._on_demand_said(body, {peer: idle[peer.number] for peer in self.peers if peer.number in idle})

    def _on_cancel(self, body: Cancel) -> None:
        """Nobody wants these any more. What had not begun was asked back before."""
        for number, task, attempt in body.rows():
            peer = self.relay.find_peer(number)
            if peer is not None:
                self._stopper.stop(peer, task, attempt)

    handlers = {
        **ClusterEnd.handlers,
        Tasks: _on_tasks,
        Functions: _on_functions,
        Forget: _on_forget,
        Withdraw: _on_withdraw,
        Cancel: _on_cancel,
        Question: _on_question,
        Demand: _on_demand,
    }
