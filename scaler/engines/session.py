"""ClusterOfSeats: the session of an engine with the scheduler, which takes it for a cluster, and its slots for workers.

Tasks come in frames, wait at their seats (seats), go to the engine in jobs (job), and their answers go back in frames:
there are no rings, since no worker of ours is there to read them.

| what happens | what the scheduler is told |
| --- | --- |
| a job is answered | its results; a large one as an object of the seat's own store |
| a job's process has died | that the worker has left with what it had begun; another one joins in its place |
| a job was taken back, or lost without its fault | nothing, it waits again; what is unwanted by now was stopped |
| the engine could not run it | that its tasks raised EngineError, with what the engine said |
| a task runs on, long after its limit | that it ran too long; its worker leaves, and joins again when it has ended |

Rule 1: all of this happens in the session's thread. The engine's answers come through the mailbox.
Rule 2: what a job needs is copied into it: when it is submitted nothing of it need stay here.
Rule 3: a result counts once. What comes a second time, or after its seat has left, is passed over.
Not here: numbers and frames (conversation), the thread (relay_thread), what tasks do (run).
"""

import logging
import os
import socket
import time
from collections.abc import Iterable
from functools import partial
from itertools import count

from scaler._native import (
    FLAG_OBJECTS,
    KIND_RESULT,
    MOST_NUMBERS,
    PLACE_NEW,
    STATUS_MISSING,
    STATUS_RAISED,
    STATUS_STOPPED,
    Mappings,
    RecordCopy,
    Store,
    join_places,
    split_places,
)
from scaler.colocation.names import warn_of_files
from scaler.engines.engine import Engine, JobCancelled, JobInterrupted, JobLost
from scaler.engines.job import Context, Job, JobFunction, JobResult, JobTask, Missing, pack_job, unpack_answer
from scaler.engines.mailbox import Mailbox
from scaler.engines.seats import Item, Running, Seat, Seats
from scaler.exceptions import EngineError, TaskTimeoutError
from scaler.program.sparing_log import SparingLog
from scaler.protocol.bounds import MOST_PAYLOAD_BYTES, plain_text
from scaler.protocol.frames import (
    Answer,
    Cancel,
    Forget,
    Freed,
    Functions,
    Joined,
    Question,
    Release,
    Tasks,
    Unable,
    Withdraw,
    Withdrawn,
    values,
)
from scaler.protocol.questions import What
from scaler.session.cluster_end import ClusterEnd, worker_tag
from scaler.session.session_end import odd_columns
from scaler.values import payload
from scaler.values.death_facts import pack_facts

_log = logging.getLogger(__name__)
_sparing = SparingLog(_log)
LOOK_S = 1.0  # at how many slots the engine has, and at what should have come back
UNANSWERED_S = 5.0  # beyond its time limit and the grace period, before a job is given up
MOST_INTERRUPTIONS = 10  # of one task, before they count as deaths
_NOT_SEEN = "the engine runs it, and what its code does cannot be seen from here"


class ClusterOfSeats(ClusterEnd):
    """`name` is what its seats are called after; `voucher` lets the clients of its tasks in."""

    def __init__(
        self,
        mailbox: Mailbox,
        engine: Engine,
        *,
        epoch: str,
        folder: str,
        most_bytes: int,
        store: Store,
        mappings: Mappings,
        name: str,
        address: str,
        scheduler_epoch: int,
        voucher: bytes,
        limit_ms: int,
        grace_s: float,
    ) -> None:
        super().__init__(mailbox, epoch, folder, store, mappings)  # type: ignore[arg-type]
        self._mailbox, self._engine, self._name = mailbox, engine, name
        self._own_epoch, self._folder, self._most_bytes = epoch, folder, most_bytes
        self._context = Context(address, scheduler_epoch, voucher, name, limit_ms)
        self._grace_s = grace_s
        self._seats = Seats(
            most_tasks=engine.most_tasks, shares_fate=engine.shares_fate, base_concurrency=engine.base_concurrency
        )
        self._numbers = count()
        self._next_number = 0
        self._names = 0
        self._running: set[Running] = set()
        self._sent_objects: set[int] = set()  # that some job has brought
        self._look_s = 0.0
        self._trouble = ""
        mailbox.take = self._on_outcome

    # seats

    def begin(self) -> None:
        """The first thing that is done: as many workers join as the engine has slots."""
        self._resize()

    def _resize(self) -> None:
        trouble = self._engine.trouble()
        if trouble != self._trouble:
            self._trouble = trouble
            self.talk.post(Unable(plain_text(trouble)))
        wanted = self._engine.capacity() - sum(job.is_over for job in self._running)  # these hold their slots still
        while len(self.peers) < wanted:
            self._names += 1
            self._join(f"{self._name}-{self._names}")
        for seat in list(self._seats.by_number.values())[wanted:]:
            if not seat.jobs:
                self._leave(seat, "")

    def _join(self, name: str) -> None:
        number = next(self._numbers)
        if number >= MOST_NUMBERS:
            self.over = f"{MOST_NUMBERS} workers have joined from here: start the command anew"
            return
        self._next_number = number + 1
        seat = Seat(number, name)
        self._seats.add(seat)
        self.peers.append(seat)  # type: ignore[arg-type]
        self.talk.post(Joined(number, plain_text(name), os.getpid(), voucher=self._context.voucher))

    def _leave(self, seat: Seat, why: str) -> None:
        """It is a worker no more. What had begun there is run again elsewhere, and charged with its death."""
        self._say_asides()
        self.post_all([(seat.number, seat.collected)])
        begun = self._seats.remove(seat)
        self.peers.remove(seat)  # type: ignore[arg-type]
        claimed = [(item.task, item.attempt) for item in begun]
        facts = pack_facts({"worker": seat.name, "host": socket.gethostname(), "output": why}) if why else b""
        self.talk.after_objects(partial(self.say_left, seat.number, 0, facts.decode(), claimed))
        for job in seat.jobs:
            job.is_over = True

    def attend(self, now_s: float) -> float | None:
        super().attend(now_s)
        if now_s >= self._look_s:
            self._look_s = now_s + LOOK_S
            self._resize()
            self._give_up_overdue(now_s)
        self._submit_all()
        return self._look_s

    def give_up(self) -> None:
        """The session is over: what the engine has not begun it need not begin."""
        for job in list(self._running):
            job.is_over = True
            if job.handle is not None:
                job.handle.stop()
        for seat in self._seats.by_number.values():
            if seat.store is not None:
                seat.store.close()

    # what the scheduler says

    def _on_tasks(self, body: Tasks) -> None:
        with odd_columns():
            rows = self.batch.put_tasks(body, peers=self._next_number)
        options = values("options", "I", body.options, rows)
        limits = values("limitsMs", "I", body.limits_ms, rows)
        for word, limit_ms in zip(options, limits, strict=True):
            read = self.batch.read()
            assert read is not None
            number, record = read
            seat = self._seats.by_number.get(number)
            if seat is not None:
                item = Item(
                    seat, record.task, record.attempt, record.function, record.flags, record.items, record.detail, word,
                    limit_ms, record.payload,
                )  # fmt: skip
                self._seats.put(item)
        self.batch.trim()

    def _on_functions(self, body: Functions) -> None:
        for row in body.rows():
            seat = self._seats.by_number.get(row.peer)
            if seat is not None:
                seat.functions[row.number] = JobFunction(row.digest, row.flags, row.payload)

    def _on_forget(self, body: Forget) -> None:
        for number, function_number in body.rows():
            seat = self._seats.by_number.get(number)
            function = None if seat is None else seat.functions.pop(function_number, None)
            if function is not None and function.flags & FLAG_OBJECTS:
                names = [place[0] for place in split_places(function.payload)[0]]
                self.talk.after_objects(partial(self.talk.post, Release.of(names, number)))

    def _on_withdraw(self, body: Withdraw) -> None:
        rows = [(*row, self._take_back(*row)) for row in body.rows()]
        self.talk.post(Withdrawn.of(rows))

    def _take_back(self, number: int, task: int, attempt: int) -> bool:
        """Whether this will not run."""
        item = self._seats.find(number, task, attempt)
        if item is None:
            return False
        if item.job is not None and not self._recall(item.job):
            return False
        self._seats.drop(item)
        return True

    def _recall(self, job: Running) -> bool:
        """Have the engine give the job back, if it has not begun it. True if what is in it waits here again."""
        if job.is_over or job.handle is None or not job.handle.take_back():
            return False
        self._end(job)
        self._seats.put_back([item for item in job.items if self._seats.is_open(item)])
        return True

    def _on_cancel(self, body: Cancel) -> None:
        """Nobody wants these any more. A job that has begun and cannot be stopped keeps its slot until it has ended."""
        for number, task, attempt in body.rows():
            item = self._seats.find(number, task, attempt)
            if item is None:
                continue
            item.is_wanted = False
            job = item.job
            if job is None:
                self._seats.drop(item)
                self._say_status(item, STATUS_STOPPED, b"")
            elif job.handle is not None and not any(one.is_wanted for one in job.items if self._seats.is_open(one)):
                job.handle.stop()

    def _on_freed(self, body: Freed) -> None:
        self._sent_objects.difference_update(object_id for _, object_id in body.rows())
        super()._on_freed(body)

    def _on_question(self, question: Question) -> None:
        is_output = question.what == What.OUTPUT  # what tasks write goes where the engine's own output goes
        self.talk.post(Answer(question.number, "all of it" if is_output else "", "" if is_output else _NOT_SEEN))

    # jobs

    def _submit_all(self) -> None:
        while not self._engine.trouble() and (job := self._seats.next_job()) is not None:
            self._submit(job)

    def _submit(self, job: Running) -> None:
        self._running.add(job)
        missing = [item for item in job.items if not self._has_objects(item)]
        for item in missing:
            self._answer(item, STATUS_MISSING, b"an object that it needs is not here")
        if len(missing) == len(job.items):
            self._end(job)
            return
        job.items = [item for item in job.items if item not in missing]
        try:
            data = self._pack(job)
            handle = self._engine.submit(data, partial(self._done, job))
        except BaseException as error:
            self._mailbox.put((job, error))
            return
        job.handle = handle
        limit_ms = max((item.limit_ms or self._context.limit_ms) * max(1, item.items) for item in job.items)
        if limit_ms:
            job.due_s = time.monotonic() + limit_ms / 1000 + self._grace_s + UNANSWERED_S

    def _done(self, job: Running, outcome: "bytes | BaseException") -> None:
        """In any thread."""
        self._mailbox.put((job, outcome))

    def _pack(self, job: Running) -> bytes:
        functions: dict[int, JobFunction] = {}
        names: dict[int, None] = {}
        tasks = []
        for item in job.items:
            if item.function not in functions:
                function = functions[item.function] = job.seat.functions[item.function]
                if function.flags & FLAG_OBJECTS:
                    names.update((place[0], None) for place in split_places(function.payload)[0])
            if item.flags & FLAG_OBJECTS:
                names.update((place[0], None) for place in split_places(item.payload)[0])
            task = JobTask(
                item.task, item.function, item.flags, item.items, item.detail, item.options, item.limit_ms, item.payload
            )
            tasks.append(task)
        known = set() if job.has_all_objects else self._sent_objects
        objects = {name: None if name in known else self._bytes_of(name) for name in names}
        self._sent_objects.update(names)
        job.has_all_objects = all(data is not None for data in objects.values())
        return pack_job(Job(self._context._replace(worker=job.seat.name), functions, objects, tasks))

    def _has_objects(self, item: Item) -> bool:
        function = item.seat.functions.get(item.function)
        payloads = [item.payload] if item.flags & FLAG_OBJECTS else []
        if function is not None and function.flags & FLAG_OBJECTS:
            payloads.append(function.payload)
        return function is not None and all(
            self._find(place[0]) is not None for one in payloads for place in split_places(one)[0]
        )

    def _bytes_of(self, object_id: int) -> bytes:
        place = self._find(object_id)
        assert place is not None
        return bytes(memoryview(self.mappings.lend_at(place, False).open(False)))

    # answers

    def _on_outcome(self, came: "tuple[Running, bytes | BaseException]") -> None:
        job, outcome = came
        if job not in self._running:
            return  # a second answer
        if job.is_over:
            self._end(job)
            return
        if isinstance(outcome, JobLost) or (isinstance(outcome, JobInterrupted) and not self._may_go_on(job)):
            self._end(job)
            job.seat.jobs.append(job)  # it is what the seat had begun
            self._leave(job.seat, str(outcome))
            self._join(job.seat.name)
        elif isinstance(outcome, JobInterrupted) and self._may_go_on(job):
            self._end(job)
            for item in job.items:
                item.interruptions += 1
            self._on_cancelled(job)
        elif isinstance(outcome, JobCancelled):
            self._end(job)
            self._on_cancelled(job)
        elif isinstance(outcome, BaseException):
            self._end(job)
            self._fail(job, outcome)
        else:
            self._on_answer(job, outcome)

    def _end(self, job: Running) -> None:
        job.is_over = True
        self._running.discard(job)
        self._seats.end(job)

    def _may_go_on(self, job: Running) -> bool:
        """Whether what the engine has lost may simply be tried again."""
        return all(item.may_be_tried_again and item.interruptions < MOST_INTERRUPTIONS for item in job.items)

    def _on_cancelled(self, job: Running) -> None:
        """It was stopped, or has never begun. What of it is still wanted waits again."""
        still = [item for item in job.items if self._seats.is_open(item)]
        for item in still:
            if not item.is_wanted:
                self._answer(item, STATUS_STOPPED, b"")
        wanted = [item for item in still if item.is_wanted]
        if wanted:
            self._seats.put_back(wanted)

    def _fail(self, job: Running, error: BaseException) -> None:
        text = f"{self._engine.name} could not run it: {type(error).__name__}: {error}"
        _sparing.warning(type(error).__name__, "a job of %d tasks failed: %s", len(job.items), text)
        said = EngineError(text)
        said.__cause__ = error
        described = payload.describe(said, False)
        for item in job.items:
            self._answer(item, STATUS_RAISED, described)

    def _on_answer(self, job: Running, data: bytes) -> None:
        try:
            answer = unpack_answer(data)
            if not isinstance(answer, Missing) and len(answer) != len(job.items):
                raise ValueError(f"{len(answer)} results for {len(job.items)} tasks")
            if isinstance(answer, Missing) and job.has_all_objects:
                raise ValueError("objects are missing that the job had brought")
        except ValueError as error:
            self._end(job)
            self._fail(job, error)
            return
        if isinstance(answer, Missing):
            self._running.discard(job)
            job.has_all_objects = True
            self._submit(job)
            return
        self._end(job)
        for item, result in zip(job.items, answer, strict=True):
            if self._seats.is_open(item):
                self._seats.drop(item)
                self._say(item, result)

    def _answer(self, item: Item, status: int, data: bytes) -> None:
        if self._seats.is_open(item):
            self._seats.drop(item)
            self._say_status(item, status, data)

    def _say_status(self, item: Item, status: int, data: bytes) -> None:
        self._say(item, JobResult(status, 0, 0, data, []))

    def _say(self, item: Item, result: JobResult) -> None:
        if not item.is_wanted:
            result = JobResult(STATUS_STOPPED, 0, 0, b"", [], result.duration_ns)
        flags, data = result.flags, result.payload
        if result.buffers or len(data) > MOST_PAYLOAD_BYTES:
            try:
                views = [memoryview(one) for one in result.buffers]
                data = join_places([self._store_of(item.seat).put_packed(data, views, PLACE_NEW)])
                flags |= FLAG_OBJECTS
            except OSError as error:
                result = JobResult(STATUS_RAISED, 0, 0, payload.describe(error, False), [])
                flags, data = 0, result.payload
        record = RecordCopy(
            KIND_RESULT, item.task, data, result.failed, flags, result.status, item.attempt, item.items, 0,
            result.duration_ns, result.cpu_us, result.memory_peak_kib,
        )  # fmt: skip
        if flags & FLAG_OBJECTS:
            self._mailbox.asides.append((item.seat.number, record))
        else:
            item.seat.collected.write(
                record.kind, record.task, record.payload, function=record.function, flags=record.flags,
                status=record.status, attempt=record.attempt, items=record.items, duration_ns=record.duration_ns,
                cpu_us=record.cpu_us, memory_peak_kib=record.memory_peak_kib,
            )  # fmt: skip

    def _store_of(self, seat: Seat) -> Store:
        if seat.store is None:
            tag = worker_tag(seat.number)
            seat.store = Store(self._own_epoch, tag, self._folder, warn_of_files, self._most_bytes)
        return seat.store

    def _tell_freed(self, number: int, ids: Iterable[int]) -> None:
        seat = self._seats.by_number.get(number)
        if seat is not None and seat.store is not None:
            for object_id in ids:
                seat.store.free(object_id)

    def _give_up_overdue(self, now_s: float) -> None:
        """A job that does not come back long after its time limit is answered from here. It keeps its slot."""
        for job in list(self._running):
            if job.due_s is None or now_s < job.due_s or job.is_over:
                continue
            for item in job.items:
                limit_s = (item.limit_ms or self._context.limit_ms) / 1000
                text = (
                    f"it ran longer than its limit of {limit_s:g} s on worker {job.seat.name}, and {self._engine.name} "
                    "cannot stop it: it keeps its slot until it ends"
                )
                self._answer(item, STATUS_RAISED, payload.describe(TaskTimeoutError(text), False))
            if job.handle is not None:
                job.handle.stop()
            self._leave(job.seat, "")

    # what a relay's end has to have

    def on_control(self, number: int, record: RecordCopy) -> None:
        """Seats say nothing but results."""

    def on_broken(self, peer: object) -> None:
        """No peer writes here by itself."""

    handlers = {
        **ClusterEnd.handlers,
        Tasks: _on_tasks,
        Functions: _on_functions,
        Forget: _on_forget,
        Withdraw: _on_withdraw,
        Freed: _on_freed,
        Cancel: _on_cancel,
        Question: _on_question,
    }
