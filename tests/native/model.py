"""A model of the scheduler: where each task must be, by what its peers can see of the core's outlets.

The model does not decide who gets a task; it looks into the rings as their readers could and keeps what follows from
the events. So it knows for each task whether the core must still have a row, must have it ready, or must never speak of
it again. `check` compares that with the core.

What it holds of fairness (scheduler/dispatcher.pyx): no task waits while a worker is open; no worker gets more than
the credit and one task; nothing of a lower priority is placed while a higher one waits; and who waits sees each other
client of that priority have one turn at most before it has its own (Turns), where what a task has submitted counts as
its root's, and is placed before that, the deeper the sooner.

The peers here do what real ones do (claim before looking inside, skip what was withdrawn, read the control ring when
idle), but only when told to.
"""

import struct
from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import blake2b

from scaler._native import (
    FLAG_OBJECTS,
    KIND_FORGET,
    KIND_FREED,
    KIND_FUNCTION,
    KIND_RESULT,
    KIND_TASK,
    PLACE_HELD,
    PLACE_NEW,
    STATUS_OK,
    STATUS_STOPPED,
    STATUS_WORKER_DIED,
    Ring,
    RingOutlet,
    RunOutlet,
    SchedulerCore,
    Segment,
    TaskOptions,
    join_places,
    split_places,
)

MS = 1_000_000


def digest_of(code):
    return blake2b(code, digest_size=16).digest()


RING_HEADER_BYTES = 128
RECORD_HEADER_BYTES = 56
CLAIM_WITHDRAWN = 2
MOST_DEATHS = 3
CREDIT_NS, TURN_NS, QUICK_NS, LEAST_TASK_NS = 4 * MS, 5 * MS, MS, 500
ROOM_BYTES = 400  # a ring with so much room takes whatever is written here


class VisibleRing:
    """Both ends of a ring in private memory, and a way to see what stands in it."""

    def __init__(self, capacity):
        self.memory, self.capacity = Segment.private(4096 + capacity), capacity
        self.producer, self.consumer = Ring(self.memory, 0, capacity), Ring(self.memory, 0, capacity)

    def has_room(self):
        """Whether there is room for any record that is written here, where it would wrap, too."""
        head, tail = (struct.unpack_from("<Q", memoryview(self.memory), at)[0] for at in (0, 64))
        return self.capacity - (head - tail) >= ROOM_BYTES

    def unread(self):
        """(task, attempt, function) of each record that is neither read nor withdrawn."""
        view = memoryview(self.memory)
        at, head = struct.unpack_from("<Q", view, 64)[0], struct.unpack_from("<Q", view, 0)[0]
        found = []
        while at < head:
            offset = RING_HEADER_BYTES + at % self.capacity
            size, kind, _, _, claim, function, task, attempt = struct.unpack_from("<IBBHIIQQ", view, offset)
            if kind == KIND_RESULT or (kind == KIND_TASK and claim & 3 != CLAIM_WITHDRAWN):
                found.append((task, attempt, function))
            at += (size + 7) & ~7
        return found

    def unread_functions(self):
        """(number, the objects it carries) of each announcement that is not read."""
        view = memoryview(self.memory)
        at, head = struct.unpack_from("<Q", view, 64)[0], struct.unpack_from("<Q", view, 0)[0]
        found = []
        while at < head:
            offset = RING_HEADER_BYTES + at % self.capacity
            size, kind, flags, _, _, number = struct.unpack_from("<IBBHII", view, offset)
            if kind == KIND_FUNCTION:
                payload = bytes(view[offset + RECORD_HEADER_BYTES : offset + size])
                found.append((number, Object.ids_in(payload[16:]) if flags else []))
            at += (size + 7) & ~7
        return found

    def set_duration(self, position, duration_ns):
        offset = RING_HEADER_BYTES + position % self.capacity
        struct.pack_into("<Q", memoryview(self.memory), offset + 40, duration_ns)


@dataclass(eq=False)
class Object:
    """What the model knows of an object: who holds it besides the tasks that name it."""

    id: int
    maker: object  # a client or a worker
    is_held_by_maker: bool = False
    is_result: bool = False
    is_kept_by_client: bool = False
    kept_by_workers: list["ModelWorker"] = field(default_factory=list)
    told: int = 0  # how often its maker was told that it may be freed

    @property
    def place(self):
        """Where its maker says that it lies; nobody looks there."""
        return self.id, (self.id >> 40) << 32 | 1, 0, 1000

    @staticmethod
    def ids_in(payload):
        return [place[0] for place in split_places(payload)[0]]


@dataclass
class Task:
    """What the model knows of an accepted task."""

    client: "ModelClient"
    payload: bytes
    flags: int
    code: int  # which function
    priority: int = 0
    root: "ModelClient | None" = None  # in whose turns it is placed: its client's, or of whose task it was submitted
    depth: int = 0  # on that task's stack; -1: it is its client's own
    wanted: bool = True  # its client waits for it
    deaths: int = 0
    result: tuple[int, bytes] | None = None  # (status, payload) that must reach the client
    result_object: Object | None = None

    @property
    def arguments(self):
        return Object.ids_in(self.payload) if self.flags else []


class ModelClient:
    def __init__(self, model, bits, results_bytes, worker=None):
        """With `worker` it is the client of the tasks that run there."""
        self.model, self.core, self.bits, self.next = model, model.core, bits, 1
        self.is_nested = worker is not None
        self.submits, self.results, self.control = VisibleRing(1 << 16), VisibleRing(results_bytes), VisibleRing(1024)
        self.index = self.core.on_client_joined(
            bits, RingOutlet(self.results.producer), RingOutlet(self.control.producer),
            self.core.worker_tag(worker.index) if worker else 0,
        )  # fmt: skip
        self.numbers = {}  # of functions it has announced, by which they are
        self.next_number = 1
        self.next_object = 1
        self.held_objects = []  # that it may name again
        self.read = {}  # task -> (status, payload), as read from its ring

    def id_of(self, number):
        return self.bits << 40 | number

    def announce(self, function):
        """Every third function carries an object."""
        if function in self.numbers:
            return
        code, flags, made = b"function %d" % function, 0, None
        digest = digest_of(code)
        if function % 3 == 0:
            made = self.make_object()
            code, flags = join_places([(*made.place, PLACE_NEW)], code), FLAG_OBJECTS
        self.model.live_functions.setdefault(function, made)
        self.numbers[function] = self.next_number
        self.core.on_function(self.index, self.next_number, digest, flags, code)
        self.next_number += 1

    def make_object(self):
        self.next_object += 1
        return self.model.make_object(self, self.bits << 40 | self.next_object - 1)

    def forget(self, function):
        self.core.on_forget(self.index, self.numbers.pop(function))

    def submit(self, function, size, objects, priority=0, root=None, depth=0):
        """`root` is whose task submits it, if this is a worker's client.

        `objects`: "none", "new", "held" (new, and held to be named again) or "old" (one that is held).
        """
        self.announce(function)
        task, self.next = self.id_of(self.next), self.next + 1
        payload, flags = bytes([self.next % 251]) * size, 0
        if objects == "old" and self.held_objects:
            payload, flags = join_places([(*self.held_objects[-1].place, 0)], payload), FLAG_OBJECTS
        elif objects in ("new", "held"):
            made = self.make_object()
            place_flags = PLACE_NEW
            if objects == "held":
                made.is_held_by_maker = True
                self.held_objects.append(made)
                place_flags |= PLACE_HELD
            payload, flags = join_places([(*made.place, place_flags)], payload), FLAG_OBJECTS
        known = root if self.is_nested and root in self.model.clients else self
        self.model.tasks[task] = Task(self, payload, flags, function, priority, known, depth if self.is_nested else -1)
        self._write(task, payload, function, flags, priority, (root.bits << 8 if root else 0) | depth)
        return task

    def release_held(self):
        """It will not name its oldest object again."""
        made = self.held_objects.pop(0)
        made.is_held_by_maker = False
        self.core.on_client_release(self.index, [made.id])

    def release_result(self, number):
        """Nobody looks at this result any more."""
        made = self.model.tasks[number].result_object
        if made is not None:
            made.is_kept_by_client = False
            self.core.on_client_release(self.index, [made.id])

    def hear(self):
        while (said := self.control.consumer.read()) is not None:
            assert said.kind == KIND_FREED
            self.model.on_freed(self, memoryview(said.payload).cast("Q").tolist())

    def submit_again(self, task):
        """A second task of the same id: refused without a word."""
        self._write(task, b"again", next(iter(self.numbers)), 0)

    def _write(self, task, payload, function, flags, priority=0, detail=0):
        position = self.submits.producer.write(
            KIND_TASK, task, payload, function=self.numbers[function], flags=flags, detail=detail,
            options=TaskOptions(priority=priority),
        )  # fmt: skip
        assert position is not None
        self.core.feed_client(self.index, self.submits.consumer)

    def read_ring(self):
        """Take what results there are. False if there were none."""
        read_any = False
        while (record := self.results.consumer.read()) is not None:
            read_any = True
            self._on_result(record)
        return read_any

    def drain(self):
        """Take all results, those that did not fit before included."""
        self.read_ring()
        self.core.deliver(self.index)
        while self.read_ring():
            self.core.deliver(self.index)

    def _on_result(self, record):
        assert record.kind == KIND_RESULT
        known = self.model.tasks[record.task]
        assert known.client is self
        assert record.task not in self.read, "answered twice"
        answer = record.status, record.payload
        assert answer == known.result or record.status == STATUS_WORKER_DIED == known.result[0]
        self.read[record.task] = answer

    def undelivered(self):
        """Tasks whose results the core must keep, since there is no room for them here."""
        there = {task for task, _, _ in self.results.unread()}
        return [
            number
            for number, task in self.model.tasks.items()
            if task.client is self and task.wanted and task.result and number not in self.read and number not in there
        ]


@dataclass
class Running:
    task: int
    attempt: int
    function: int
    payload: bytes


class ModelWorker:
    """What local and remote workers have in common. `held`: the tasks the core must count as theirs, oldest first."""

    index: int  # under which the core knows it
    maker: int  # the tag of what makes its objects

    def __init__(self, model, queue_size):
        self.model, self.core, self.queue_size = model, model.core, queue_size
        self.results = VisibleRing(4096)
        self.running: Running | None = None
        self.last_result: tuple[int, bytes, int, int] | None = None
        self.held = []
        self.charges = {}  # (task, attempt) that it holds -> what it was charged for that
        self.overdue = set()  # of these, what it held when time passed: it may be charged for more since
        self.knows = {}  # number -> (which function, the objects it carries)
        self.ever_known = set()
        self.stops = []  # (whose, task, attempt) that the core wants stopped, ever
        self.stops_checked = 0

    def finish(self, duration_ns, makes_object, keeps=False):
        running, self.running = self.running, None
        assert running is not None
        task = self.model.tasks[running.task]
        payload, flags = running.payload[::-1], 0
        if makes_object:
            made = self.model.make_object(self, self.maker << 40 | self.model.next_result)
            made.is_result = True
            self.model.next_result += 1
            payload, flags = join_places([(*made.place, PLACE_NEW)]), FLAG_OBJECTS
        if task.wanted:
            task.result = STATUS_OK, payload
            task.result_object = made if makes_object else None
        if keeps:
            for number in task.arguments:
                self.model.objects[number].kept_by_workers.append(self)
        self.last_result = (running.task, running.payload[::-1], running.function, running.attempt)
        self.model.on_duration(running.function, duration_ns)
        self.held.remove(running.task)
        self._send(running.task, payload, running.function, running.attempt, duration_ns, flags, int(keeps))

    def stop(self):
        """Give up what it runs, since nobody wants it."""
        running, self.running = self.running, None
        assert running is not None
        self.last_result = (running.task, b"", running.function, running.attempt)
        self.held.remove(running.task)
        self._send(running.task, b"", running.function, running.attempt, 1, status=STATUS_STOPPED)

    def has_room(self):
        """Whether a record more fits into what the core writes for it."""
        raise NotImplementedError

    def is_open(self):
        """Whether it may be given any one more task, for all that is known here."""
        return (
            sum(self.charges.values()) < CREDIT_NS
            and len(self.held) < self.queue_size
            and not self.overdue & self.charges.keys()
            and self.has_room()
        )

    def runs_unwanted(self):
        return self.running is not None and not self.model.tasks[self.running.task].wanted

    def check_stops(self):
        """What it runs is stopped if it is not wanted, once, and nothing else is."""
        stops = [(task, attempt) for _, task, attempt in self.stops]
        assert len(set(stops)) == len(stops)
        for task, _ in stops[self.stops_checked :]:
            assert task in self.held
            assert not self.model.tasks[task].wanted
        self.stops_checked = len(stops)
        if self.runs_unwanted():
            assert self.running is not None
            assert (self.running.task, self.running.attempt) in stops

    def release(self):
        """Nobody looks any more at what it has kept."""
        kept = [number for number, made in self.model.objects.items() for one in made.kept_by_workers if one is self]
        for number in kept:
            self.model.objects[number].kept_by_workers.remove(self)
        self.core.on_worker_release(self.index, kept)

    def send_late(self, task, payload, function, attempt):
        """A result that must not count: of an attempt this worker does not hold."""
        self._send(task, payload, function, attempt)

    def _send(self, task, payload, function, attempt, duration_ns=0, flags=0, detail=0, status=STATUS_OK):
        position = self.results.producer.write(
            KIND_RESULT, task, payload, function=function, attempt=attempt, flags=flags, status=status, detail=detail
        )
        self.results.set_duration(position, duration_ns)
        self.core.feed_worker(self.index, self.results.consumer, self.model.now)

    def _begin(self, task, payload, function, attempt):
        assert function in self.knows, "a task came before its function, or after its end"
        assert self.knows[function][0] == self.model.tasks[task].code
        assert payload == self.model.tasks[task].payload
        self.running = Running(task, attempt, function, payload)

    def _learn(self, record):
        if record.kind == KIND_FREED:
            self.model.on_freed(self, memoryview(record.payload).cast("Q").tolist())
            return
        if record.kind == KIND_FORGET:
            assert self.running is None or self.running.function != record.function
            self.core.on_worker_release(self.index, self.knows.pop(record.function)[1])
            return
        assert record.kind == KIND_FUNCTION
        assert record.function not in self.ever_known
        self.ever_known.add(record.function)
        carried = Object.ids_in(record.payload[16:]) if record.flags else []
        code = split_places(record.payload[16:])[1] if record.flags else record.payload[16:]
        assert record.payload[:16] == digest_of(code)
        self.knows[record.function] = int(code.split()[1]), carried

    def carried(self):
        """The objects of the functions that it has been told of."""
        return [number for _, ids in self.knows.values() for number in ids]


class LocalWorker(ModelWorker):
    """The core writes into its rings."""

    def __init__(self, model, queue_size):
        super().__init__(model, queue_size)
        self.tasks, self.control = VisibleRing(1024), VisibleRing(1024)
        self.index = self.core.on_worker_joined(
            RingOutlet(self.tasks.producer, stops=self.stops, owner=self), RingOutlet(self.control.producer), queue_size
        )
        self.maker = self.core.worker_tag(self.index)

    def take_back_all(self):
        self.core.take_back_all(self.index)

    def has_room(self):
        return self.tasks.has_room() and self.control.has_room()

    def see(self):
        """What stands in the ring now as (task, attempt, function): what the core has placed, in that order."""
        seen = self.tasks.unread()
        if self.running:
            seen.insert(0, (self.running.task, self.running.attempt, self.running.function))
        return seen

    def claim(self):
        """Take the next task, as a worker does that has none."""
        record = self.tasks.consumer.read(claim=True)
        if record is None or record.function not in self.knows:
            while (said := self.control.consumer.read()) is not None:
                self._learn(said)
        if record is not None:
            self._begin(record.task, record.payload, record.function, record.attempt)
        self.core.on_worker_room(self.index)
        return record

    def carried(self):
        return super().carried() + [number for _, ids in self.control.unread_functions() for number in ids]

    def charged_if_it_dies(self):
        return [self.running.task] if self.running else []

    def die(self):
        self.core.on_worker_left(self.index, self.model.now)


class RemoteWorker(ModelWorker):
    """The core writes into a run; a relay, which is here, has the ring and answers what it is asked for later."""

    def __init__(self, model, queue_size):
        super().__init__(model, queue_size)
        self.asks, self.large, self.large_functions, self.queue = [], [], [], []
        self.set_aside = []  # tasks whose objects have not come
        self.outlet = RunOutlet(0, [], self.asks, self.large, stops=self.stops)
        self.control = RunOutlet(0, [], [], self.large_functions)
        self.index = self.core.on_worker_joined(self.outlet, self.control, queue_size, host=1)
        self.maker = self.core.own_tag

    def has_room(self):
        return True

    def see(self):
        """The relay takes what there is at once."""
        while (record := self.outlet.run.read()) is not None:
            self.queue.append(record)
        self.set_aside += [record for _, record in self.large]
        self.large.clear()
        self.set_aside = [record for record in self.set_aside if (record.task, record.attempt) in self.outlet.waiting]
        large, self.large_functions[:] = list(self.large_functions), []
        for _, said in large:
            self._learn(said)
        while (said := self.control.run.read()) is not None:
            self._learn(said)
        seen = [(record.task, record.attempt, record.function) for record in self.queue + self.set_aside]
        return [(self.running.task, self.running.attempt, self.running.function), *seen] if self.running else seen

    def take_back_all(self):
        """The relay takes back what it has, unasked."""
        taken, self.queue[:] = list(self.queue), []
        for record in taken:
            self.held.remove(record.task)
            self.core.on_withdrawn(self.index, record.task, record.attempt, True, self.model.now)

    def objects_come(self):
        """Those of the task that was set aside first: it leaves."""
        record = self.set_aside.pop(0)
        position = self.outlet.leaves(record.task, record.attempt)
        self.core.on_task_sent(self.index, record.task, record.attempt, position)
        self.queue.append(record)

    def claim(self):
        if not self.queue and self.set_aside:
            self.objects_come()
        if not self.queue:
            return None
        record = self.queue.pop(0)
        self._begin(record.task, record.payload, record.function, record.attempt)
        return record

    def answer(self):
        """The relay answers the oldest thing it was asked for."""
        _, task, attempt = self.asks.pop(0)
        took = [record for record in self.queue if (record.task, record.attempt) == (task, attempt)]
        for record in took:
            self.queue.remove(record)
            self.held.remove(task)
        self.core.on_withdrawn(self.index, task, attempt, bool(took), self.model.now)

    def charged_if_it_dies(self):
        return [self.running.task] if self.running else []

    def die(self):
        claimed = [(self.running.task, self.running.attempt)] if self.running else []
        self.core.on_worker_left(self.index, self.model.now, claimed)

    def charged_if_its_host_dies(self):
        """What left first, as far as anybody knows there."""
        return [self.running.task] if self.running else [record.task for record in self.queue[:1]]


@dataclass
class FunctionModel:
    """How long its tasks take, as far as their results say."""

    mean_ns: int = 0
    floor_ns: int = CREDIT_NS

    @property
    def charge_ns(self):
        return max(self.mean_ns, self.floor_ns)

    @property
    def cost_ns(self):
        """Of the turn in which it is placed."""
        return max(self.mean_ns, self.floor_ns // 2)

    def note(self, duration_ns):
        self.mean_ns = (self.mean_ns * 7 + duration_ns) // 8 if self.mean_ns else duration_ns
        self.mean_ns = max(self.mean_ns, LEAST_TASK_NS)
        if duration_ns < QUICK_NS:
            self.floor_ns = max(self.floor_ns // 2, LEAST_TASK_NS)


class Turns:
    """Who has been passed over by whom, as long as both wait at the same priority."""

    def __init__(self):
        self.passed = {}  # (who waits, priority) -> {another client: what its tasks cost that were placed}

    def forget(self):
        """Something was placed that nobody looked at."""
        self.passed.clear()

    def on_placed(self, waited, wait, placed):
        """One dispatch: who waited before, who does after it ((root, priority) each), and what was placed."""
        costs = defaultdict(list)
        for task, cost in placed:
            costs[task.root, task.priority].append(cost)
        for client, priority in waited & wait:
            known = self.passed.setdefault((client, priority), {})
            if (client, priority) in costs:
                known.clear()
                continue
            for (other, level), more in costs.items():
                if level == priority:
                    known[other] = [*known.get(other, ()), *more]
                    assert sum(known[other]) - max(known[other]) < TURN_NS, "passed over for more than a turn"
        for key in self.passed.keys() - (waited & wait):
            del self.passed[key]
        lowest = min((task.priority for task, _ in placed), default=0)
        assert not placed or all(priority <= lowest for _, priority in wait), "a higher priority was passed over"


@dataclass
class Model:
    core: SchedulerCore
    now: int = 0
    tasks: dict[int, Task] = field(default_factory=dict)
    clients: list[ModelClient] = field(default_factory=list)
    workers: list["LocalWorker | RemoteWorker"] = field(default_factory=list)
    functions: dict[int, FunctionModel] = field(default_factory=dict)  # by the core's number
    live_functions: dict[int, Object | None] = field(default_factory=dict)  # that have users: what each carries
    objects: dict[int, Object] = field(default_factory=dict)
    next_result: int = 1
    delivered: list[Object] = field(default_factory=list)  # results that have reached their clients
    gone: set[int] = field(default_factory=set)  # bits of clients that left
    turns: Turns = field(default_factory=Turns)

    # what follows from an event

    def on_duration(self, function, duration_ns):
        self.functions.setdefault(function, FunctionModel()).note(duration_ns)

    def make_object(self, maker, number):
        made = self.objects[number] = Object(number, maker)
        return made

    def on_freed(self, maker, numbers):
        """A maker was told that it may free these."""
        for number in numbers:
            made = self.objects[number]
            assert made.maker is maker or maker is None
            made.told += 1

    def see_results(self):
        """What has reached a client's ring is held by the client."""
        for client in self.clients:
            undelivered = set(client.undelivered())
            for number, task in self.tasks.items():
                made = task.result_object
                is_there = task.client is client and task.wanted and number not in undelivered
                if is_there and made is not None and made not in self.delivered:
                    self.delivered.append(made)
                    made.is_kept_by_client = True

    def on_unwanted(self, number):
        """Its client has cancelled it, or left."""
        self.see_results()
        self.tasks[number].wanted = False

    def on_client_left(self, client):
        self.clients.remove(client)
        for made in self.objects.values():
            if made.maker is client:
                made.is_held_by_maker = False
        for task in self.tasks.values():
            if task.client is client and task.result_object is not None:
                task.result_object.is_kept_by_client = False
            if task.root is client:
                task.root = task.client
        self.core.on_client_left(client.index, self.now)

    def on_worker_died(self, worker, with_its_host=False):
        for number in worker.charged_if_its_host_dies() if with_its_host else worker.charged_if_it_dies():
            task = self.tasks[number]
            task.deaths += 1
            if task.deaths > MOST_DEATHS and task.wanted:
                task.result = (STATUS_WORKER_DIED, b"")
        self.workers.remove(worker)
        for made in self.objects.values():
            made.kept_by_workers = [one for one in made.kept_by_workers if one is not worker]
        if with_its_host:
            self.core.on_workers_left([worker.index], self.now)
        else:
            worker.die()

    def on_worker_killed(self, worker):
        """It went on with what nobody wants: what it had not begun is taken back, and nobody is charged."""
        worker.take_back_all()
        self.settle()
        worker.stop()
        self.on_worker_died(worker)

    def settle(self):
        """The core places what it can, and the peers look."""
        self.place()
        for worker in self.workers:  # a worker that has nothing passes over what was withdrawn, and reads its functions
            if isinstance(worker, LocalWorker) and not worker.held:
                assert worker.claim() is None
        self.place()

    def place(self):
        if self.see():
            self.turns.forget()
        waited = {(task.root, task.priority) for task in self.placeable()}
        self.core.step(self.now)
        placed, waiting = self.see(), self.placeable()
        self.turns.on_placed(waited, {(task.root, task.priority) for task in waiting}, placed)
        deepest = {}
        for task in waiting:
            deepest[task.root, task.priority] = max(task.depth, deepest.get((task.root, task.priority), -1))
        for task, _ in placed:
            assert task.depth >= deepest.get((task.root, task.priority), -1), "somebody deeper waits"

    def see(self):
        """What has been placed since the last look: (task, what it costs of a turn)."""
        return [task for worker in self.workers for task in self._see(worker)]

    def _see(self, worker):
        seen = worker.see()
        tasks = [task for task, _, _ in seen]
        assert len(set(tasks)) == len(tasks), "a worker has a task twice"
        before = [task for task in worker.held if task in tasks]
        worker.held = before + [task for task in tasks if task not in before]
        charges, worker.charges, new = worker.charges, {}, []
        for task, attempt, function in seen:
            if (task, attempt) not in charges:
                known = self.functions.setdefault(function, FunctionModel())
                charges[task, attempt] = known.charge_ns
                new.append((self.tasks[task], known.cost_ns))
                assert not self.tasks[task].client.undelivered(), (
                    "a task is placed though its client's results do not fit"
                )
            worker.charges[task, attempt] = charges[task, attempt]
        return new

    def on_time(self, ms):
        self.now += ms * MS
        for worker in self.workers:
            worker.overdue = set(worker.charges)
        self.core.on_tick(self.now)

    def ready(self):
        held = {task for worker in self.workers for task in worker.held}
        return [
            (number, task)
            for number, task in self.tasks.items()
            if task.wanted and not task.result and number not in held
        ]

    def placeable(self):
        """Of what is ready, what is in a turn."""
        full = {client for client in self.clients if client.undelivered()}
        return [task for _, task in self.ready() if task.client not in full]

    # what must hold

    def check(self):
        self.core.check()
        held = [task for worker in self.workers for task in worker.held]
        assert len(set(held)) == len(held), "two workers hold the same task"
        undelivered = {client: client.undelivered() for client in self.clients}
        ready = [number for number, _ in self.ready()]
        kept = set(ready) | set(held) | {n for many in undelivered.values() for n in many}
        self.check_functions(kept)
        self.check_objects(kept, {n for many in undelivered.values() for n in many})
        counts = self.core.counts()
        assert counts["workers"] == len(self.workers)
        assert counts["ready"] == len(ready)
        assert counts["rows"] == len(kept)
        assert counts["accepted"] == len(self.tasks)

        if self.placeable():
            assert not any(worker.is_open() for worker in self.workers), "tasks wait though a worker is open"
            assert all(worker.held for worker in self.workers), "tasks wait though a worker is idle"
        for worker in self.workers:
            worker.check_stops()
            assert len(worker.held) <= worker.queue_size
            charges = list(worker.charges.values())
            assert not charges or sum(charges) - max(charges) < CREDIT_NS, "more than the credit and one task"

    def check_functions(self, rows):
        """A function is there as long as a client has announced it or a row names it."""
        used = {self.tasks[number].code for number in rows}
        for client in self.clients:
            used |= set(client.numbers)
        for code in set(self.live_functions) - used:
            del self.live_functions[code]
        assert set(self.live_functions) == used
        assert self.core.counts()["functions"] == len(used)

    def check_objects(self, rows, undelivered):
        """Each object has just the holders it must have, and its maker hears of its end once."""
        self.see_results()
        self.core.unlink.clear()
        holders = dict.fromkeys(self.objects, 0)
        for number in rows:
            task = self.tasks[number]
            if number in undelivered:
                if task.result_object is not None:
                    holders[task.result_object.id] += 1
            else:
                for argument in task.arguments:
                    holders[argument] += 1
        for made in self.live_functions.values():
            if made is not None:
                holders[made.id] += 1
        for worker in self.workers:
            for number in worker.carried():
                holders[number] += 1
        for number, made in self.objects.items():
            holders[number] += made.is_held_by_maker + made.is_kept_by_client + len(made.kept_by_workers)
            assert self.core.objects.holders_of(number) == holders[number]
            assert made.told == 0 or not holders[number], "freed while somebody holds it"
            assert made.told <= 1
        assert len(self.core.objects) == sum(1 for count in holders.values() if count)

    def hear(self):
        """Everybody hears what may be freed."""
        self.core.step(self.now)
        self.on_freed(None, self.core.take_freed())
        for client in self.clients:
            client.hear()
        for worker in self.workers:
            if isinstance(worker, RemoteWorker):
                worker.see()
            else:
                while (said := worker.control.consumer.read()) is not None:
                    worker._learn(said)

    def check_empty(self):
        """Everything is done and read: nothing is left anywhere."""
        counts = self.core.counts()
        assert counts["rows"] == counts["ready"] == 0
        assert self.core.table.payload_bytes == 0
        for number, task in self.tasks.items():
            assert (number in task.client.read) == bool(task.result) or not task.wanted
            assert not task.wanted or task.result
        for client in self.clients:
            for code in list(client.numbers):
                client.forget(code)
        for _ in range(50):
            self.hear()
        assert self.core.counts()["functions"] == 0
        assert not any(worker.knows for worker in self.workers)
        assert len(self.core.objects) == 0
        present = [*self.clients, *self.workers]
        for made in self.objects.values():
            assert made.told == 1 or made.maker not in present
