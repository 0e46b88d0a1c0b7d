"""ClusterAtScheduler: the scheduler's side of another host's workers, behind their supervisor's relay.

Rule 1: a worker goes by its relay's number, which counts up; what comes of one that has gone is late, and passed over.
Not here: what all sessions have in common, their rules included (session_at_scheduler).
"""

from collections import Counter
from functools import partial
from typing import Any

from scaler._native import (
    KIND_FORGET,
    KIND_FUNCTION,
    MOST_NUMBERS,
    NEWS_WORDS,
    STATUS_OK,
    RecordCopy,
    RunOutlet,
    SchedulerCore,
    bare,
    feed_one,
    feed_results,
    idle_times_ns,
    note_worker_process,
    note_worker_usage,
    split_places,
)
from scaler.objects.incoming import IncomingObjects
from scaler.objects.naming import new_objects
from scaler.protocol.bounds import CHUNK_BYTES, MOST_FUNCTION_BYTES, parts_of
from scaler.protocol.frames import (
    ROWS_PER_SLICE,
    Body,
    Cancel,
    Demand,
    Forget,
    FrameError,
    Freed,
    Function,
    Functions,
    Hello,
    Joined,
    Leaving,
    Left,
    Release,
    Results,
    Taken,
    Unable,
    Usage,
    Verdict,
    Withdraw,
    Withdrawn,
    slices_of,
    values,
)
from scaler.session.session_at_scheduler import HostObjects, SessionAtScheduler, Steps
from scaler.session.session_end import announced, with_payload
from scaler.values.death_facts import pack_facts, read_facts
from scaler.values.usage import HostUsage, KnownHost, KnownWorker, restarts_from

MOST_WORKERS = NEWS_WORDS * 64  # of one host at a time
MOST_IDLE = 1024  # workers that are said to have nothing to do
FUNCTIONS_AT_ONCE = CHUNK_BYTES // MOST_FUNCTION_BYTES  # in one frame


class ClusterAtScheduler(SessionAtScheduler):
    """The workers of another host, behind their supervisor's relay."""

    says_tasks = True

    keeps = True

    def __init__(
        self,
        core: SchedulerCore,
        hello: Hello,
        objects: HostObjects,
        ready: set[SessionAtScheduler],
        number: int,
        queue_size: int,
        vouchers: set[bytes],
    ) -> None:
        super().__init__(core, hello, objects, IncomingObjects(objects.store, renames=True), ready, number)
        self._queue_size = queue_size
        self._all_vouchers = vouchers  # of all workers of all hosts
        self._vouchers: dict[int, bytes] = {}  # by the relay's number
        self._voucher_uses: Counter[bytes] = Counter()  # several workers may have the same
        self._host = core.objects.add_host()
        self.workers: dict[int, int] = {}  # by the relay's number; what comes of one that is not here is late
        self._outlets: dict[int, RunOutlet] = {}  # of their tasks, the same way
        self._next_number = 0  # none below it joins any more
        self._functions_under_way = 0
        self._large_functions: list[tuple[int, RecordCopy]] = []
        self.unable = ""  # why no worker can start there
        self.known: dict[int, KnownWorker] = {}  # its workers, by their indices in the core
        self.usage: HostUsage | None = None  # what its supervisor has said last of its host
        self._leaving: set[int] = (
            set()
        )  # those that end when they have done what they run, by their indices in the core
        self._present: set[int] = set()  # objects that its host has, or that are on their way there

    def on_body(self, body: Body, is_cleared: bool = False) -> Steps:
        yield from self.handler_of(body)(self, body)

    def _on_unable(self, body: Unable) -> Steps:
        self.unable = body.reason
        yield from ()

    def _on_usage(self, body: Usage) -> Steps:
        body.rows(slice(0, 0))
        counts = values("restarts", "Q", body.restarts, len(body.reasons))
        self.usage = HostUsage(
            body.cores, body.agent_pid, body.agent_cpu_share, body.agent_rss_bytes, body.memory_total_bytes,
            body.memory_free_bytes, body.shared_memory_total_bytes, body.shared_memory_free_bytes,
            restarts_from(dict(zip(body.reasons, counts, strict=True))),
        )  # fmt: skip
        for at in range(0, body.n_rows(), ROWS_PER_SLICE):
            for peer, pid, cpu_share, rss_bytes, in_place in body.rows(slice(at, at + ROWS_PER_SLICE)):
                worker = self.workers.get(peer)
                if worker is not None:
                    note_worker_usage(self.core, worker, pid, cpu_share, rss_bytes, in_place)
            yield

    def _on_results(self, body: Results) -> Steps:
        self.batch.put_results(body, peers=MOST_NUMBERS)
        while len(self.batch):
            taken: list[tuple[int, int, int]] = []
            for peer, record in feed_results(self.core, self.workers, self.batch, self.now_ns, ROWS_PER_SLICE):
                taken += self._take_large(peer, record, self.now_ns)
            if taken:
                self.talk.post(Taken.of(taken))
            if len(self.batch):
                yield
        self.batch.trim()

    def _on_withdrawn(self, body: Withdrawn) -> Steps:
        for verdicts in slices_of(body):
            for verdict in verdicts:
                self._on_verdict(verdict)
            yield

    def _on_release(self, body: Release) -> Steps:
        for released in slices_of(body):
            for peer, object_id in released:
                worker = self.workers.get(peer)
                if worker is not None:
                    self.core.on_worker_release(worker, [object_id])
            yield

    def _on_leaving(self, body: Leaving) -> Steps:
        for peers in slices_of(body):
            for peer in peers:
                worker = self.workers.get(peer)
                if worker is not None:
                    self._leaving.add(worker)
                    self.core.on_worker_leaves(worker, self.now_ns)
            yield

    def _on_left(self, body: Left) -> Steps:
        claimed, facts = body.claimed(), self._facts_of(body)  # an error in these leaves the worker here
        worker = self.workers.pop(body.peer, None)
        if worker is not None:
            self._leaving.discard(worker)
            del self._outlets[body.peer], self.known[worker]
            self._forget_voucher(self._vouchers.pop(body.peer))
            if facts.pop("final", False) and any([self.core.on_final_run(worker, *begun) for begun in claimed]):
                facts["final"] = True
            self.core.on_worker_left(worker, self.now_ns, claimed, pack_facts(facts))
        yield from ()

    def _forget_voucher(self, voucher: bytes) -> None:
        self._voucher_uses[voucher] -= 1
        if self._voucher_uses[voucher] <= 0:
            del self._voucher_uses[voucher]
            self._all_vouchers.discard(voucher)

    def _on_verdict(self, verdict: Verdict) -> None:
        worker = self.workers.get(verdict.peer)
        if worker is None:
            return
        self.core.on_withdrawn(worker, verdict.task, verdict.attempt, verdict.took, self.now_ns)
        if not verdict.took:  # nobody asked: what it ran for another scheduler has ended
            self.core.on_survivor_idle(worker, verdict.task, verdict.attempt)

    def _take_large(self, peer: int, record: RecordCopy, now_ns: int) -> list[tuple[int, int, int]]:
        """Take a result that brings an object: what its maker is to hear of that, as a Taken has it."""
        payload = self.talk.incoming.take(record.payload)
        worker = self.workers.get(peer)
        theirs, ours = ([place[0] for place in new_objects(each)] for each in (record.payload, payload))
        if worker is None:
            for object_id in ours:
                self.objects.store.free(object_id)
            return [(peer, object_id, 0) for object_id in theirs]
        is_input = record.status == STATUS_OK and self.core.has_dependants(record.task)
        feed_one(self.core, worker, with_payload(record, payload), now_ns)
        return [
            (peer, result_id, name if is_input and self._stays(name, result_id) else 0)
            for result_id, name in zip(theirs, ours, strict=True)
        ]

    def _stays(self, object_id: int, result_id: int) -> bool:
        """Tasks to come need this object, which a worker there has made: its host is to keep it. False if none does."""
        if not self.core.objects.note_at(object_id, self._host):
            return False
        self._present.add(object_id)
        if self.transport is not None:
            self.transport.on_made(object_id, result_id)
        return True

    def _facts_of(self, body: Left) -> dict[str, Any]:
        """How a worker has died: a relay says it as facts, another implementation perhaps as a sentence."""
        facts = read_facts(body.reason) or {"output": body.reason}
        code = {"code": body.return_code} if body.return_code else {}
        return {"host": self.hello.host_name, **code, **facts}

    def _on_joined(self, body: Joined) -> Steps:
        if not self._next_number <= body.peer < MOST_NUMBERS:
            raise FrameError(f"worker {body.peer} joined after number {self._next_number - 1}")
        if len(self.workers) >= MOST_WORKERS:
            raise FrameError(f"worker {body.peer} joined when {len(self.workers)} others were there")
        self._next_number = body.peer + 1
        self._vouchers[body.peer] = body.voucher
        if body.voucher:
            self._voucher_uses[body.voucher] += 1
            self._all_vouchers.add(body.voucher)
        tasks = RunOutlet(body.peer, self._dirty, self._asks, self._large, self.ready, self, stops=self._stops)
        control = RunOutlet(body.peer, self._dirty_control, [], self._large_functions, self.ready, self)
        self._outlets[body.peer] = tasks
        worker = self.workers[body.peer] = self.core.on_worker_joined(
            tasks, control, self._queue_size, host=self._host, now=self.now_ns, supply=body.resources.encode(),
            is_picky=not self.hello.has_python,
        )  # fmt: skip
        self.known[worker] = KnownWorker(body.name, self._host)
        note_worker_process(self.core, worker, body.pid)
        if body.outlived:
            self.core.on_survivor(worker, (body.task, body.attempt) if body.task else None)
        yield from ()

    def tell_demand(self, demand: Demand) -> None:
        """Tell it, and which of its workers have nothing to do: those that have had nothing for longest."""
        times_ns = idle_times_ns(self.core, self.workers.values(), self.now_ns)
        idle = [(peer, time_ns) for peer, time_ns in zip(self.workers, times_ns, strict=True) if time_ns]
        idle.sort(key=lambda row: -row[1])
        self.talk.say(demand.for_cluster(self.hello.cluster_name, idle[:MOST_IDLE]))

    def known_host(self) -> KnownHost:
        return KnownHost(self._host, self.hello.host_name, self.hello.cluster_name, self.hello.pid)

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
            elif record.kind == KIND_FUNCTION:
                rows.append(announced(outlet.peer, record))
            elif record.kind == KIND_FORGET:
                forgotten.append((outlet.peer, record.function))
            if len(rows) == FUNCTIONS_AT_ONCE:
                self.talk.post(Functions.of(rows))
                rows = []
        if rows:
            self.talk.post(Functions.of(rows))
        for peer, record in self._large_functions:
            self._functions_under_way += 1
            function = announced(peer, record)
            self.send_objects(function.payload)
            self.talk.after_objects(partial(self._post_function, function._replace(payload=bare(function.payload))))
        self._large_functions.clear()
        for numbers in parts_of(forgotten):  # after the functions, which may wait for what they carry
            self.talk.after_objects(partial(self._post_forget, numbers))

    def _post_forget(self, numbers: list[tuple[int, int]]) -> None:
        self.talk.post(Forget.of(numbers))

    def _post_function(self, function: Function) -> None:
        self._functions_under_way -= 1
        self.talk.post(Functions.of([function]))

    def send_large(self, peer: int, record: RecordCopy) -> None:
        outlet = self._outlets.get(peer)
        if outlet is None or (record.task, record.attempt) not in outlet.waiting:
            return  # it has been taken back meanwhile
        self.send_objects(record.payload)
        named = [place[0] for place in split_places(record.payload)[0]]
        self.talk.after_objects(partial(self._post_task, peer, record), named)

    def send_objects(self, payload: bytes) -> None:
        """Send the objects that this payload names and the host does not have."""
        for place in split_places(payload)[0]:
            if place[0] not in self._present and self.send_object(place):
                self._present.add(place[0])
                self.core.objects.note_at(place[0], self._host)

    def _post_task(self, peer: int, record: RecordCopy) -> None:
        """Say this one, whose objects are there."""
        task, attempt, outlet = record.task, record.attempt, self._outlets.get(peer)
        position = None if outlet is None else outlet.leaves(task, attempt)
        if position is not None:
            self.core.on_task_sent(self.workers[peer], task, attempt, position)
            self.post_runs([(peer, with_payload(record, bare(record.payload)))])

    def on_gone(self, objects: list[int]) -> None:
        """Nobody holds these any more: its host need not keep them."""
        gone = [object_id for object_id in objects if object_id in self._present]
        if gone:
            self._present.difference_update(gone)
            for object_id in gone:
                self.talk.drop_object(object_id)
            for part in parts_of(gone):
                self.talk.post(Freed.of(part))

    def on_left(self) -> Steps:
        facts = {"host": self.hello.host_name, "lost": True}
        others = [worker for worker in self.workers.values() if worker not in self._leaving]
        self.core.on_workers_left(others, self.now_ns, pack_facts(facts))
        # After those, since these are given nothing of what the others had.
        self.core.on_workers_left(list(self._leaving), self.now_ns, pack_facts({**facts, "leaving": True}))
        self.core.objects.remove_host(self._host)
        self._all_vouchers.difference_update(self._vouchers.values())
        self.workers.clear()
        self._outlets.clear()
        self.talk.close()
        yield from ()

    other_side = "a cluster"
    handlers = {
        Unable: _on_unable,
        Results: _on_results,
        Withdrawn: _on_withdrawn,
        Release: _on_release,
        Joined: _on_joined,
        Leaving: _on_leaving,
        Left: _on_left,
        Usage: _on_usage,
    }
