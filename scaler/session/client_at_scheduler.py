"""ClientAtScheduler: the scheduler's side of a client behind a relay of its own.

Rule 1: what a client says is done in order, but for what makes room or lets waiting tasks get on: that is done as soon
        as it has come, though what came before still waits (`do_early`).
Not here: what all sessions have in common, their rules included (session_at_scheduler).
"""

from collections.abc import Iterable
from functools import partial

from scaler._native import (
    CANCEL_UNBEGUN,
    FLAG_REQUEST,
    KIND_FREED,
    KIND_RESULT,
    KIND_RUN_HERE,
    REQUEST_BYTES,
    STATUS_MISSING,
    RecordCopy,
    RecordRun,
    RunOutlet,
    SchedulerCore,
    feed_one,
    feed_tasks,
    join_places,
    split_places,
)
from scaler.objects.incoming import IncomingObjects
from scaler.objects.naming import unpack_ids
from scaler.protocol.bounds import parts_of
from scaler.protocol.frames import (
    FLAG_NAMED,
    FLAG_OBJECTS,
    ROWS_PER_SLICE,
    Body,
    Cancel,
    Clear,
    Forget,
    FrameError,
    Freed,
    Functions,
    Hello,
    Joined,
    Release,
    Returned,
    RunHere,
    Tasks,
    Wait,
    slices_of,
)
from scaler.session.free_notices import FreeNotices
from scaler.session.session_at_scheduler import HostObjects, SessionAtScheduler, Steps, Waiting
from scaler.session.session_end import with_payload

MOST_CANCELLED_EARLY = 100_000  # of more, what waits to be fed is cancelled in its turn
_LOST = b"the object that has its result is not to be had any more"
SOME_WORKER = 1 << 24  # stands for the worker of a nested client elsewhere: no worker's tag is as large


class ClientAtScheduler(SessionAtScheduler):
    """A client behind a relay of its own."""

    says_tasks = False

    def __init__(
        self, core: SchedulerCore, hello: Hello, objects: HostObjects, ready: set[SessionAtScheduler], number: int
    ) -> None:
        incoming = IncomingObjects(objects.store, client_bits=hello.client_bits)
        super().__init__(core, hello, objects, incoming, ready, number)
        self.index: int | None = None
        self._outlet: RunOutlet | None = None  # of its results
        self._has_room_again = False  # for results that wait in the core
        self._is_full = False
        self._batch_is_cleared = False  # nobody wants the tasks of the batch that is being fed
        self._cancelled_early: set[int] = set()  # what is still to come of it ends as it is fed
        self._freed = FreeNotices()
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
            self.index = self.core.on_client_joined(self.hello.client_bits, results, control, worker_tag, self.now_ns)
        if isinstance(body, Tasks):
            self._batch_is_cleared = is_cleared  # else it says so of tasks that are being fed
        yield from self.handler_of(body)(self, body)

    def _on_functions(self, body: Functions) -> Steps:
        assert self.index is not None
        for functions in slices_of(body):
            for row in functions:
                if not self.hello.has_python and not row.flags & FLAG_NAMED:
                    raise FrameError(
                        "functions: a client that makes no pickles announces functions by their names only"
                    )
                n_bytes = len(row.payload) + (REQUEST_BYTES if row.flags & FLAG_REQUEST else 0)
                while self.core.has_to_announce_later(self.index, n_bytes):
                    self._is_full = True
                    yield
                self._is_full = False
                payload = self.talk.incoming.take(row.payload) if row.flags & FLAG_OBJECTS else row.payload
                self.core.on_function(self.index, row.number, row.digest, row.flags, payload)
            yield

    def _on_forget(self, body: Forget) -> Steps:
        assert self.index is not None
        for numbers in slices_of(body):
            for _, number in numbers:
                self.core.on_forget(self.index, number)
            yield

    def _on_cancel(self, body: Cancel) -> Steps:
        assert self.index is not None
        for choices in slices_of(body):
            for choice in choices:
                if choice.attempt == CANCEL_UNBEGUN:
                    self.core.on_recall(self.index, choice.task, self.now_ns)
                    continue
                self.core.on_cancel(self.index, choice.task, self.now_ns)
                self._cancelled_early.discard(choice.task)
            yield

    def _on_wait(self, body: Wait) -> Steps:
        assert self.index is not None
        for choices in slices_of(body):
            for choice in choices:
                self.core.on_wait(self.index, choice.task, self.now_ns)
            yield

    def _on_returned(self, body: Returned) -> Steps:
        assert self.index is not None
        for verdicts in slices_of(body):
            for verdict in verdicts:
                self.core.on_return(self.index, verdict.task, verdict.took, self.now_ns)
            yield

    def _on_release(self, body: Release) -> Steps:
        for released in slices_of(body):
            self._release([object_id for _, object_id in released])
            yield

    def _on_clear(self, body: Clear) -> Steps:
        yield from self._clear()
        self._cancelled_early.clear()

    def _on_joined(self, body: Joined) -> Steps:
        """That it is there: it was to say something."""
        yield from ()

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
                    if choice.attempt == CANCEL_UNBEGUN:
                        continue  # it is answered, so it has to be there
                    self.core.on_cancel(self.index, choice.task, self.now_ns)
                    if len(self._cancelled_early) < MOST_CANCELLED_EARLY:
                        self._cancelled_early.add(choice.task)
                yield

    def _feed(self, body: Tasks) -> Steps:
        assert self.index is not None
        core, index, batch = self.core, self.index, self.batch
        batch.put_tasks(body, client_bits=self.hello.client_bits)
        in_slice = 0
        while left := len(batch):
            record = feed_tasks(core, index, batch, self.now_ns, ROWS_PER_SLICE)
            if record is not None:
                payload = self.talk.incoming.take(record.payload)
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

    def send_large(self, peer: int, record: RecordCopy) -> None:
        number = self._freed.on_large_begun()
        (place,), rest = split_places(record.payload)  # a result brings just one
        object_id, _, _, size, flags = place
        name = self._name_of(object_id)
        if self.send_object(place, name):
            said = with_payload(record, join_places([(name, 0, 0, size, flags)], rest))
            self.talk.after_objects(partial(self._say_large, number, record, said), [name])
        else:
            self._release([name])
            said = RecordRun()
            said.write(KIND_RESULT, record.task, _LOST, status=STATUS_MISSING, items=record.items)
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

    def _say_large(self, number: int, record: RecordCopy, said: RecordRun) -> None:
        self._freed.on_large_said(number)
        self.post_runs([(0, said)])
        assert self._outlet is not None
        self._outlet.result_leaves(record.payload)
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
                if record.kind == KIND_FREED and self._outlet is not None:
                    self._freed.add(unpack_ids(record.payload), self._outlet.run.end)
                elif record.kind == KIND_RUN_HERE:
                    self.talk.post(RunHere.of([(0, record.task, 0)]))
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

    other_side = "a client"
    handlers = {
        Tasks: _feed,
        Functions: _on_functions,
        Forget: _on_forget,
        Cancel: _on_cancel,
        Wait: _on_wait,
        Returned: _on_returned,
        Release: _on_release,
        Clear: _on_clear,
        Joined: _on_joined,
    }
