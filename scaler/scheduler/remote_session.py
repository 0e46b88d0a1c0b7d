"""RemoteSession: the scheduler's side of one remote client or cluster. Bodies in, bodies out; no socket, no clock.

The core writes into RunOutlets as it writes into rings; `flush` turns what has piled up into column batches, so that a
batch is as large as the scheduler was busy, and never waits to become larger.

Rule 1: a function goes out before the first task that names it and is forgotten after the last, an object goes out
        before the first record that names it. A host gets each object once, however many of its workers need it, and
        keeps it as long as anybody holds it.
Rule 2: a client that has too much queued is not read on: its frames wait here unacknowledged, which stops its relay.
Rule 3: no frame holds the scheduler up: what is to be done about one is a generator that yields after each slice, and
        is gone on with when others have had their turn. Order within a session is kept.
Not here: which session a frame belongs to (remote_peers), numbering (link.conversation).
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from scaler._native import (
    KIND_FORGET,
    KIND_FREED,
    KIND_FUNCTION,
    KIND_RESULT,
    KIND_RUN_HERE,
    MOST_NUMBERS,
    NEWS_WORDS,
    STATUS_MISSING,
    STATUS_OK,
    Mappings,
    RecordBatch,
    RecordRun,
    RunOutlet,
    SchedulerCore,
    Store,
    bare,
    feed_one,
    feed_results,
    feed_tasks,
    join_places,
    runs_to_result_columns,
    runs_to_task_columns,
    split_places,
)
from scaler.death_facts import pack_facts, read_facts
from scaler.link.conversation import Conversation
from scaler.link.object_port import ObjectPort
from scaler.link.objects import IncomingObjects, Place, new_objects, unpack_ids
from scaler.link.single import with_payload
from scaler.protocol.bounds import CHUNK_BYTES, DIGEST_BYTES, MOST_FUNCTION_BYTES, parts_of
from scaler.protocol.frames import (
    FLAG_OBJECTS,
    ROWS_PER_SLICE,
    Body,
    Cancel,
    Clear,
    Forget,
    Frame,
    FrameError,
    Freed,
    Function,
    Functions,
    Hello,
    Joined,
    Left,
    Release,
    Results,
    Returned,
    RunHere,
    Serves,
    Taken,
    Tasks,
    Unable,
    Verdict,
    Wait,
    Withdraw,
    Withdrawn,
    slices_of,
)
from scaler.scheduler.freed_in_order import FreedInOrder
from scaler.scheduler.object_directory import Host, ObjectDirectory
from scaler.scheduler.port_carrier import PortCarrier
from scaler.sparing_log import SparingLog

_sparing = SparingLog(logging.getLogger(__name__))
Steps = Iterator[None]
MOST_CANCELLED_EARLY = 100_000  # of more, what waits to be fed is cancelled in its turn
MOST_WORKERS = NEWS_WORDS * 64  # of one host at a time
FUNCTIONS_AT_ONCE = CHUNK_BYTES // MOST_FUNCTION_BYTES  # in one frame
_LOST = b"the object that has its result is not to be had any more"
SOME_WORKER = 1 << 24  # stands for the worker of a nested client elsewhere: no worker's tag is as large


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


class RemoteSession(ABC):
    """What clients and clusters have in common. It is in `ready` while there may be something to flush."""

    def __init__(
        self,
        core: SchedulerCore,
        hello: Hello,
        objects: HostObjects,
        incoming: IncomingObjects,
        ready: "set[RemoteSession]",
    ) -> None:
        self.core = core
        self.ready = ready
        self.hello = hello
        self.objects = objects
        self.talk = Conversation(incoming)
        self.carrier: PortCarrier | None = None
        self.is_over = False
        self.now_ns = 0  # as the caller's clock has it
        self._batch = RecordBatch()
        self._dirty: list[RunOutlet] = []
        self._dirty_control: list[RunOutlet] = []
        self._asks: list[tuple[int, int, int]] = []
        self._stops: list[tuple[int, int, int]] = []
        self._large: list[tuple[int, tuple[Any, ...]]] = []

    @abstractmethod
    def on_body(self, body: Body, is_cleared: bool = False) -> Steps:
        """Act on what the other side says, slice by slice. FrameError ends the session.

        `is_cleared`: nobody wants the tasks of this one any more.
        """

    def on_serves(self, body: Serves) -> None:
        """The other side can come to the port here. What a cluster has got from there others can have from it."""
        if self.objects.port is None:
            return
        if self.carrier is not None:
            raise FrameError("it has said before how objects go to it")
        host, keeps = Host(body.key, body.address), isinstance(self, RemoteCluster)
        self.carrier = PortCarrier(self.objects.port, self.objects.directory, host, keeps)
        self.talk.use(self.carrier)

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
            if not self._post_runs(runs):
                for outlet in self._dirty:
                    outlet.clean()
                self._dirty.clear()
                return

    @abstractmethod
    def _post_runs(self, runs: list[tuple[int, Any]]) -> bool:
        """Post one batch out of the runs. False if they are empty."""

    def _send_large(self) -> None:
        large, self._large[:] = list(self._large), []
        for peer, record in large:
            self.send_large(peer, record)

    @abstractmethod
    def send_large(self, peer: int, record: tuple[Any, ...]) -> None:
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


class RemoteClient(RemoteSession):
    """A client behind a relay of its own."""

    def __init__(self, core: SchedulerCore, hello: Hello, objects: HostObjects, ready: set[RemoteSession]) -> None:
        super().__init__(core, hello, objects, IncomingObjects(objects.store, client_bits=hello.client_bits), ready)
        self.index: int | None = None
        self._outlet: RunOutlet | None = None  # of its results
        self._has_room_again = False  # for results that wait in the core
        self._is_full = False
        self._batch_is_cleared = False  # nobody wants the tasks of the batch that is being fed
        self._cancelled_early: set[int] = set()  # what is still to come of it ends as it is fed
        self._freed = FreedInOrder()
        self._lent: set[int] = set()  # objects that it was given, under the names they have here
        self._names: dict[int, int] = {}  # other names -> objects: of what it was given more than once
        self._last_name = objects.store.tag << 40 | 1 << 39  # the store's own count up from 1

    @property
    def is_full(self) -> bool:
        return self._is_full

    def on_body(self, body: Body, is_cleared: bool = False) -> Steps:
        if self.index is None:
            results = RunOutlet(0, self._dirty, self._asks, self._large, self.ready, self)
            control = RunOutlet(0, self._dirty_control, [], [], self.ready, self)
            self._outlet = results
            worker_tag = SOME_WORKER if self.hello.is_nested else 0
            self.index = self.core.on_client_joined(self.hello.client_bits, results, control, worker_tag)
        core, index = self.core, self.index
        if isinstance(body, Tasks):
            self._batch_is_cleared = is_cleared
            yield from self._feed(body)
        elif isinstance(body, Functions):
            for functions in slices_of(body):
                for row in functions:
                    payload = self.talk.incoming.take(row.payload) if row.flags & FLAG_OBJECTS else row.payload
                    core.on_function(index, row.number, row.digest, row.flags, payload)
                yield
        elif isinstance(body, Forget):
            for numbers in slices_of(body):
                for _, number in numbers:
                    core.on_forget(index, number)
                yield
        elif isinstance(body, Cancel):
            for choices in slices_of(body):
                for choice in choices:
                    core.on_cancel(index, choice.task, self.now_ns)
                    self._cancelled_early.discard(choice.task)
                yield
        elif isinstance(body, Wait):
            for choices in slices_of(body):
                for choice in choices:
                    core.on_wait(index, choice.task, self.now_ns)
                yield
        elif isinstance(body, Returned):
            for verdicts in slices_of(body):
                for verdict in verdicts:
                    core.on_return(index, verdict.task, verdict.took, self.now_ns)
                yield
        elif isinstance(body, Release):
            for released in slices_of(body):
                self._release([object_id for _, object_id in released])
                yield
        elif isinstance(body, Clear):
            yield from self._clear()
            self._cancelled_early.clear()
        elif not isinstance(body, Joined):
            raise FrameError(f"a client does not say {type(body).__name__}")

    def _clear(self) -> Steps:
        assert self.index is not None
        self.core.on_clear(self.index, self.now_ns)
        while self.core.is_clearing(self.index):  # else what is said next would be cleared, too
            yield
            self.core.go_on(self.now_ns)

    def do_early(self, body: Body, waiting: Iterable[Waiting]) -> Steps:
        """Cancel what is in the core, and what is still to be fed as it is fed: a client gets room by cancelling.

        What it waits for, and what it gives back, is the way on for tasks that hold workers.
        """
        if isinstance(body, Clear):
            for one in waiting:
                one.is_cleared = True
            self._batch_is_cleared = True
            yield from self._clear()
        elif isinstance(body, Wait | Returned):
            yield from self.on_body(body)
        elif isinstance(body, Cancel):
            assert self.index is not None
            for choices in slices_of(body):
                for choice in choices:
                    self.core.on_cancel(self.index, choice.task, self.now_ns)
                    if len(self._cancelled_early) < MOST_CANCELLED_EARLY:
                        self._cancelled_early.add(choice.task)
                yield

    def _feed(self, body: Tasks) -> Steps:
        assert self.index is not None
        core, index, batch = self.core, self.index, self._batch
        batch.put_tasks(body, client_bits=self.hello.client_bits)
        in_slice = 0
        while left := len(batch):
            record = feed_tasks(core, index, batch, self.now_ns, ROWS_PER_SLICE)
            if record is not None:
                payload = self.talk.incoming.take(record[2])
                feed_one(core, index, with_payload(record, payload), self.now_ns)
            fed = left - len(batch)
            if self._batch_is_cleared or self._cancelled_early:
                tasks = memoryview(body.tasks).cast("Q")
                for task in tasks[len(tasks) - left : len(tasks) - left + fed]:
                    if self._batch_is_cleared or task in self._cancelled_early:
                        core.on_cancel(index, task, self.now_ns)
            self._is_full = not fed
            in_slice += fed
            if in_slice >= ROWS_PER_SLICE or not fed:
                in_slice = 0
                yield
        batch.trim()

    def _post_runs(self, runs: list[tuple[int, Any]]) -> bool:
        columns = runs_to_result_columns(runs)
        if columns is not None:
            self.talk.post(Results(*columns))
        return columns is not None

    def send_large(self, peer: int, record: tuple[Any, ...]) -> None:
        number = self._freed.on_large_begun()
        (place,), rest = split_places(record[2])  # a result brings just one
        object_id, _, _, size, flags = place
        name = self._name_of(object_id)
        if self.send_object(place, name):
            said = with_payload(record, join_places([(name, 0, 0, size, flags)], rest))
            self.talk.after_objects(partial(self._say_large, number, record, said), [name])
        else:
            self._release([name])
            said = RecordRun()
            said.write(KIND_RESULT, record[1], _LOST, status=STATUS_MISSING, items=record[7])
            self._say_large(number, record, said)

    def _name_of(self, object_id: int) -> int:
        """What the client is to call an object that it is given: it may have that already, or have made it itself."""
        if object_id not in self._lent and object_id >> 40 != self.hello.client_bits:
            self._lent.add(object_id)
            return object_id
        self._last_name += 1
        self._names[self._last_name] = object_id
        return self._last_name

    def _release(self, names: list[int]) -> None:
        assert self.index is not None
        self._lent.difference_update(names)
        self.core.on_client_release(self.index, [self._names.pop(name, name) for name in names])

    def _say_large(self, number: int, record: tuple[Any, ...], said: RecordRun) -> None:
        self._freed.on_large_said(number)
        self._post_runs([(0, said)])
        assert self._outlet is not None
        self._outlet.result_leaves(record[2])
        self._has_room_again = True
        self.ready.add(self)

    @property
    def has_more(self) -> bool:
        return super().has_more or self._has_room_again

    def flush(self) -> None:
        super().flush()
        for outlet in self._dirty_control:
            outlet.clean()
            while (record := outlet.run.read()) is not None:
                if record[0] == KIND_FREED and self._outlet is not None:
                    self._freed.add(unpack_ids(record[2]), self._outlet.run.end)
                elif record[0] == KIND_RUN_HERE:
                    self.talk.post(RunHere.of([(0, record[1], 0)]))
        self._dirty_control.clear()
        if self._outlet is not None and (freed := self._freed.take(self._outlet.run.left)):
            for part in parts_of(freed):
                self.talk.post(Freed.of(part))
        if self.index is not None and self.talk.has_room:
            self._has_room_again = False
            self.core.deliver(self.index)

    def on_left(self) -> Steps:
        self.talk.close()
        if self.index is not None:
            self.core.on_client_left(self.index, self.now_ns)
            self.index = None
        yield from ()


class RemoteCluster(RemoteSession):
    """The workers of another host, behind their supervisor's relay."""

    def __init__(
        self,
        core: SchedulerCore,
        hello: Hello,
        objects: HostObjects,
        ready: set[RemoteSession],
        queue_size: int,
        vouchers: set[bytes],
    ) -> None:
        super().__init__(core, hello, objects, IncomingObjects(objects.store, renames=True), ready)
        self._queue_size = queue_size
        self._all_vouchers = vouchers  # of all workers of all hosts
        self._vouchers: dict[int, bytes] = {}  # by the relay's number
        self._host = core.objects.add_host()
        self.workers: dict[int, int] = {}  # by the relay's number; what comes of one that is not here is late
        self._outlets: dict[int, RunOutlet] = {}  # of their tasks, the same way
        self._next_number = 0  # none below it joins any more
        self._functions_under_way = 0
        self._large_functions: list[tuple[int, tuple[Any, ...]]] = []
        self.unable = ""  # why no worker can start there
        self._present: set[int] = set()  # objects that its host has, or that are on their way there

    def on_body(self, body: Body, is_cleared: bool = False) -> Steps:
        if isinstance(body, Unable):
            self.unable = body.reason
        elif isinstance(body, Results):
            self._batch.put_results(body, peers=MOST_NUMBERS)
            while len(self._batch):
                taken: list[tuple[int, int, int]] = []
                for peer, record in feed_results(self.core, self.workers, self._batch, self.now_ns, ROWS_PER_SLICE):
                    taken += self._take_large(peer, record, self.now_ns)
                if taken:
                    self.talk.post(Taken.of(taken))
                if len(self._batch):
                    yield
            self._batch.trim()
        elif isinstance(body, Withdrawn):
            for verdicts in slices_of(body):
                for verdict in verdicts:
                    self._on_verdict(verdict)
                yield
        elif isinstance(body, Release):
            for released in slices_of(body):
                for peer, object_id in released:
                    worker = self.workers.get(peer)
                    if worker is not None:
                        self.core.on_worker_release(worker, [object_id])
                yield
        elif isinstance(body, Joined):
            self._on_joined(body)
        elif isinstance(body, Left):
            claimed, facts = body.claimed(), self._facts_of(body)  # an error in these leaves the worker here
            worker = self.workers.pop(body.peer, None)
            if worker is not None:
                del self._outlets[body.peer]
                self._all_vouchers.discard(self._vouchers.pop(body.peer))
                if facts.pop("final", False) and any([self.core.on_final_run(worker, *begun) for begun in claimed]):
                    facts["final"] = True
                self.core.on_worker_left(worker, self.now_ns, claimed, pack_facts(facts))
        else:
            raise FrameError(f"a cluster does not say {type(body).__name__}")

    def _on_verdict(self, verdict: Verdict) -> None:
        worker = self.workers.get(verdict.peer)
        if worker is None:
            return
        self.core.on_withdrawn(worker, verdict.task, verdict.attempt, verdict.took, self.now_ns)
        if not verdict.took:  # nobody asked: what it ran for another scheduler has ended
            self.core.on_survivor_idle(worker, verdict.task, verdict.attempt)

    def _take_large(self, peer: int, record: tuple[Any, ...], now_ns: int) -> list[tuple[int, int, int]]:
        """Take a result that brings an object: what its maker is to hear of that, as a Taken has it."""
        payload = self.talk.incoming.take(record[2])
        worker = self.workers.get(peer)
        theirs, ours = ([place[0] for place in new_objects(each)] for each in (record[2], payload))
        if worker is None:
            for object_id in ours:
                self.objects.store.free(object_id)
            return [(peer, object_id, 0) for object_id in theirs]
        is_input = record[5] == STATUS_OK and self.core.has_dependants(record[1])
        feed_one(self.core, worker, with_payload(record, payload), now_ns)
        return [
            (peer, made_as, name if is_input and self._stays(name, made_as) else 0)
            for made_as, name in zip(theirs, ours, strict=True)
        ]

    def _stays(self, object_id: int, made_as: int) -> bool:
        """Tasks to come need this object, which a worker there has made: its host is to keep it. False if none does."""
        if not self.core.objects.note_at(object_id, self._host):
            return False
        self._present.add(object_id)
        if self.carrier is not None:
            self.carrier.on_made(object_id, made_as)
        return True

    def _facts_of(self, body: Left) -> dict[str, Any]:
        """How a worker has died: a relay says it as facts, another implementation perhaps as a sentence."""
        facts = read_facts(body.reason) or {"output": body.reason}
        code = {"code": body.return_code} if body.return_code else {}
        return {"host": self.hello.host_name, **code, **facts}

    def _on_joined(self, body: Joined) -> None:
        if not self._next_number <= body.peer < MOST_NUMBERS:
            raise FrameError(f"worker {body.peer} joined after number {self._next_number - 1}")
        if len(self.workers) >= MOST_WORKERS:
            raise FrameError(f"worker {body.peer} joined when {len(self.workers)} others were there")
        self._next_number = body.peer + 1
        self._vouchers[body.peer] = body.voucher
        if body.voucher:
            self._all_vouchers.add(body.voucher)
        tasks = RunOutlet(body.peer, self._dirty, self._asks, self._large, self.ready, self, stops=self._stops)
        control = RunOutlet(body.peer, self._dirty_control, [], self._large_functions, self.ready, self)
        self._outlets[body.peer] = tasks
        worker = self.workers[body.peer] = self.core.on_worker_joined(tasks, control, self._queue_size, host=self._host)
        if body.outlived:
            self.core.on_survivor(worker, (body.task, body.attempt) if body.task else None)

    @property
    def has_more(self) -> bool:
        return super().has_more or bool(self._large_functions)

    @property
    def has_unsaid_functions(self) -> bool:
        """Workers have not been told of functions that tasks may name: what is said of these waits."""
        return bool(self._functions_under_way or self._dirty_control)

    def flush(self) -> None:
        self._send_functions()
        for asks in parts_of(self._asks):
            self.talk.post(Withdraw.of(asks))
        self._asks.clear()
        for stops in parts_of(self._stops):
            self.talk.post(Cancel.of(stops))
        self._stops.clear()
        if self.has_unsaid_functions:
            self.talk.go_on()
        else:
            super().flush()

    def _send_functions(self) -> None:
        """Announce and forget as much as the window lets out: each worker is told of each function."""
        forgotten: list[tuple[int, int]] = []
        rows: list[Function] = []
        while self._dirty_control and self.talk.has_room:
            outlet = self._dirty_control[-1]
            record = outlet.run.read()
            if record is None:
                outlet.clean()
                self._dirty_control.pop()
            elif record[0] == KIND_FUNCTION:
                data = record[2]
                rows.append(Function(outlet.peer, record[3], data[:DIGEST_BYTES], record[4], data[DIGEST_BYTES:]))
            elif record[0] == KIND_FORGET:
                forgotten.append((outlet.peer, record[3]))
            if len(rows) == FUNCTIONS_AT_ONCE:
                self.talk.post(Functions.of(rows))
                rows = []
        if rows:
            self.talk.post(Functions.of(rows))
        for peer, record in self._large_functions:
            self._functions_under_way += 1
            self.send_objects(record[2][DIGEST_BYTES:])
            self.talk.after_objects(partial(self._post_function, peer, record))
        self._large_functions.clear()
        for numbers in parts_of(forgotten):  # after the functions, which may wait for what they carry
            self.talk.after_objects(partial(self._post_forget, numbers))

    def _post_forget(self, numbers: list[tuple[int, int]]) -> None:
        self.talk.post(Forget.of(numbers))

    def _post_function(self, peer: int, record: tuple[Any, ...]) -> None:
        self._functions_under_way -= 1
        digest, payload = record[2][:DIGEST_BYTES], bare(record[2][DIGEST_BYTES:])
        self.talk.post(Functions.of([Function(peer, record[3], digest, record[4], payload)]))

    def send_large(self, peer: int, record: tuple[Any, ...]) -> None:
        outlet = self._outlets.get(peer)
        if outlet is None or (record[1], record[6]) not in outlet.waiting:
            return  # it has been taken back meanwhile
        self.send_objects(record[2])
        named = [place[0] for place in split_places(record[2])[0]]
        self.talk.after_objects(partial(self._post_task, peer, record), named)

    def send_objects(self, payload: bytes) -> None:
        """Send the objects that this payload names and the host does not have."""
        for place in split_places(payload)[0]:
            if place[0] not in self._present and self.send_object(place):
                self._present.add(place[0])
                self.core.objects.note_at(place[0], self._host)

    def _post_task(self, peer: int, record: tuple[Any, ...]) -> None:
        """Say this one, whose objects are there."""
        task, attempt, outlet = record[1], record[6], self._outlets.get(peer)
        position = None if outlet is None else outlet.leaves(task, attempt)
        if position is not None:
            self.core.on_task_sent(self.workers[peer], task, attempt, position)
            self._post_runs([(peer, with_payload(record, bare(record[2])))])

    def on_gone(self, objects: list[int]) -> None:
        """Nobody holds these any more: its host need not keep them."""
        gone = [object_id for object_id in objects if object_id in self._present]
        if gone:
            self._present.difference_update(gone)
            for object_id in gone:
                self.talk.drop_object(object_id)
            for part in parts_of(gone):
                self.talk.post(Freed.of(part))

    def _post_runs(self, runs: list[tuple[int, Any]]) -> bool:
        columns = runs_to_task_columns(runs)
        if columns is not None:
            self.talk.post(Tasks(*columns))
        return columns is not None

    def on_left(self) -> Steps:
        facts = pack_facts({"host": self.hello.host_name, "lost": True})
        self.core.on_workers_left(list(self.workers.values()), self.now_ns, facts)
        self.core.objects.remove_host(self._host)
        self._all_vouchers.difference_update(self._vouchers.values())
        self.workers.clear()
        self._outlets.clear()
        self.talk.close()
        yield from ()
