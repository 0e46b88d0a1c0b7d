"""The scheduler's core, by every event that its shell may call: clients and workers that come, go and say anything.

A client's records are written into a ring of its own and fed to the core as they are, so every flag, number and length
is drawn. A worker reads what it is given and answers it, answers what it was not given, or leaves. Some workers are of
other hosts: those have a RunOutlet, and a relay that answers when it likes.

What the shell promises is kept: an index is that of a peer that is here, and time does not go back.

Held: what the core checks of itself, in every build and in the checked one (a state that cannot become another ends the
process); no client is answered more often than it has submitted a task; and when all have left every table is empty.
"""

import random
import struct
from collections import Counter
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, cast

from scaler._native import (
    KIND_RESULT,
    KIND_TASK,
    PLACE_NEW,
    RecordCopy,
    Recorder,
    RecordRun,
    Ring,
    RingOutlet,
    RunOutlet,
    SchedulerCore,
    Segment,
    Store,
    TaskOptions,
    demand_of,
    idle_times_ns,
    join_places,
    note_worker_usage,
    pack_supply,
    worker_indices,
)
from scaler.monitor.codec import decode, encode
from scaler.monitor.report import TOPICS, Report, task_topic
from scaler.scheduler.reporter import Reporter, Usages

EVENTS = 2000  # of an episode
SOMEWHERE = (
    "waiting", "ready", "held_back", "placed", "lent", "doomed", "succeeded", "failed", "cancelled",
)  # fmt: skip
CHECK_EVERY = 100  # events, since it looks at everything
MS = 1_000_000
MOST_CLIENTS, MOST_WORKERS = 4, 4
NOISE = random.Random(0).randbytes(1 << 16)
CODES = [b"code %d" % number for number in range(4)]
DIGESTS = [blake2b(code, digest_size=16).digest() for code in CODES]
ODD_COUNTS = (5, 63, 400, 401, 2**16, 2**31, 2**32 - 1)
ODD_NUMBERS = (0, 1, 2**31, 2**32 - 1)
FACTS = (b"{}", b'{"pid": 3}', b'{"output": "%s"}' % (b"x" * 7000))  # as the shell hands them in, checked
SIZES = (0, 1, 1000, 2**20, 2**40, 2**64 - 1)


def ring_pair(capacity: int) -> tuple[Ring, Ring]:
    memory = Segment.private(4096 + capacity)
    return Ring(memory, 0, capacity), Ring(memory, 0, capacity)


class SpillStore:
    """Where the core puts inputs that are too large for a record: what lies there nobody looks at."""

    def __init__(self, tag: int, chance: random.Random) -> None:
        self.tag, self.chance, self.number = tag, chance, 0
        self.sizes: dict[int, list[int]] = {}  # of each, and how much of it is there

    def reserve(self, number: int, size: int) -> tuple[int, int, int, int, int]:
        if self.chance.random() < 0.1:
            raise OSError("no room")
        self.number += 1
        self.sizes[self.number] = [size, 0]
        return self.place_of(self.tag << 40 | self.number)

    def place_of(self, number: int) -> tuple[int, int, int, int, int]:
        return number, self.tag << 32 | 1, 0, self.sizes[number & 0xFFFFFFFFFF][0], 0

    def fill(self, number: int, offset: int, data: bytes) -> None:
        size, have = self.sizes[number & 0xFFFFFFFFFF]
        assert offset == have
        assert offset + len(data) <= size
        if self.chance.random() < 0.02:
            raise OSError("no room")
        self.sizes[number & 0xFFFFFFFFFF][1] += len(data)

    def free(self, number: int) -> bool:
        del self.sizes[number & 0xFFFFFFFFFF]  # KeyError if that is not there
        return True


class Client:
    """A client's rings, and how often it has said and heard what."""

    def __init__(self, fuzz: "CoreFuzz", bits: int, worker_tag: int) -> None:
        chance = fuzz.chance
        self.bits, self.worker_tag = bits, worker_tag
        self.next = chance.choice((1, 1, 4090, 8190, 2**20 - 3, 2**40 - 60))
        self.submits, self.submits_in = ring_pair(chance.choice(fuzz.ring_bytes))
        results, self.results = ring_pair(chance.choice(fuzz.ring_bytes))
        control, self.control = ring_pair(chance.choice((1024, 4096)))
        self.most = self.submits.capacity // 8 - 56
        self.said: Counter[int] = Counter()
        self.index = fuzz.core.on_client_joined(bits, RingOutlet(results), RingOutlet(control), worker_tag)
        fuzz.core.on_function(self.index, 0, DIGESTS[0], 0, CODES[0])

    def id_of(self, number: int) -> int:
        return self.bits << 40 | number & 0xFFFFFFFFFF


class Worker:
    """What a worker was given and has not answered: (task, attempt, function, items) each."""

    def __init__(self, fuzz: "CoreFuzz", tag: int) -> None:
        chance, core = fuzz.chance, fuzz.core
        self.held: list[tuple[int, int, int, int]] = []
        self.asks: list[tuple[int, int, int]] = []
        self.large: list[tuple[int, Any]] = []  # (peer, record)
        self.is_remote = tag == 0 and chance.random() < 0.4
        self.results, self.results_in = ring_pair(chance.choice(fuzz.ring_bytes))
        self.most = self.results.capacity // 8 - 56
        queue_size = chance.choice((1, 2, 5, 1000))
        if self.is_remote:
            self.outlet = RunOutlet(0, [], self.asks, self.large, stops=[])
            control = RunOutlet(0, [], [], [])
            self.control: RecordRun | Ring = control.run
            self.index = core.on_worker_joined(self.outlet, control, queue_size, host=fuzz.host())
        else:
            tasks, self.tasks = ring_pair(chance.choice(fuzz.ring_bytes))
            control_in, self.control = ring_pair(chance.choice((1024, 4096)))
            self.index = core.on_worker_joined(RingOutlet(tasks, stops=[]), RingOutlet(control_in), queue_size, tag=tag)
        self.tag = core.worker_tag(self.index)
        self.maker = core.own_tag if self.is_remote else self.tag

    def take(self) -> None:
        """Begin with what there is, one task."""
        record: RecordCopy | None
        if self.is_remote:
            record = self.outlet.run.read()
            if record is None and self.large:
                _, record = self.large.pop(0)
                self.outlet.leaves(record.task, record.attempt)
        else:
            record = self.tasks.read(claim=True)
        if record is not None:
            self.held.append((record.task, record.attempt, record.function, record.items))

    def hear(self) -> None:
        while self.control.read() is not None:
            pass


class CoreFuzz:
    """One core and all that happens to it."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.core = core = SchedulerCore(chance.choice((1, 2, 2**32 - 1)), "fuzz", "/nowhere")
        core.recorder = Recorder(Segment.private(4096 + 32 * 4096))
        self.reporter = Reporter(
            core, address="", monitor_address=str, peers=[], usage=Usages(), lag_ns=int, messages=dict, warnings=list
        )
        self.spilled = SpillStore(core.own_tag, chance)
        core.edges.store = cast(Store, self.spilled)
        core.most_waiting = chance.choice((-1, -1, -1, 0, 3))
        core.client_queue_bytes = chance.choice((1 << 31, 200_000, 10_000))
        self.now = 1
        self.clients: list[Client] = []
        self.workers: list[Worker] = []
        self.hosts: list[int] = []
        self.dead: list[int] = []  # tags
        self.last_bits = self.last_object = 0
        self.small = chance.choice((0.95, 0.85, 0.5))  # how much of what has a length is short
        self.ring_bytes = chance.choice(((1024,), (1024, 4096), (4096, 16384), (65536,)))
        self.before = [(chance.randrange(1, 9) << 40 | chance.randrange(20), 77 << 32 | n) for n in range(4)]
        self.join_client()
        self.join_worker()
        self.events = self.weighted()

    def weighted(self) -> list[Callable[[], None]]:
        weights: dict[Callable[[], None], int] = {
            self.submit: 500,
            self.supply: 10,
            self.submit_bulky: 4,
            self.work: 220,
            self.take: 100,
            self.answer_anything: 30,
            self.read: 60,
            self.cancel: 30,
            self.clear: 2,
            self.wait: 12,
            self.come_back: 12,
            self.release: 20,
            self.worker_releases: 12,
            self.announce: 15,
            self.forget: 10,
            self.answer_relay: 20,
            self.task_sent: 4,
            self.step: 80,
            self.tick: 30,
            self.hear: 25,
            self.join_client: 8,
            self.join_worker: 10,
            self.client_leaves: 3,
            self.worker_leaves: 6,
            self.host_leaves: 2,
            self.death_told: 5,
            self.survivor_comes: 4,
            self.survivor_idle: 4,
            self.take_back_all: 3,
            self.begin_to_leave: 3,
            self.no_worker_can_start: 2,
            self.look: 5,
            self.view: 6,
        }
        return [event for event, weight in weights.items() for _ in range(weight)]

    def view(self) -> None:
        """A viewer has subscribed to everything, and asks about one task."""
        core, chance = self.core, self.chance
        if self.workers:
            note_worker_usage(
                core, self.worker().index, 1, chance.random(), chance.getrandbits(64), chance.getrandbits(64)
            )
        task = self.task_of(self.client()) if self.clients else chance.getrandbits(64)
        for topic in (*TOPICS, task_topic("task", task)):
            body = self.reporter.make(topic)
            if body is None:
                assert topic == "events"
                continue
            decode(encode(Report(1, 1, self.now, self.now, body)))
        _, _, staying = demand_of(core)
        assert staying <= len(idle_times_ns(core, worker_indices(core), self.now))
        counts = core.call_counts()
        assert counts["submitted"] == sum(counts[name] for name in SOMEWHERE)

    # drawing

    def client(self) -> Client:
        return self.clients[int(self.chance.random() * len(self.clients))]

    def worker(self) -> Worker:
        return self.workers[int(self.chance.random() * len(self.workers))]

    def host(self) -> int:
        if not self.hosts or (len(self.hosts) < 2 and self.chance.random() < 0.5):
            self.hosts.append(self.core.objects.add_host())
        return self.chance.choice(self.hosts)

    def task_of(self, client: Client) -> int:
        """The id of a task that it may have."""
        luck = self.chance.random()
        if luck < 0.9:
            return client.id_of(max(0, client.next - 1 - int(self.chance.random() * 14)))
        if luck < 0.95:
            return client.id_of(self.chance.getrandbits(40))
        return self.client().id_of(self.client().next)

    def noise(self, most: int) -> bytes:
        luck = self.chance.random()
        size = int(luck * 60) if luck < self.small else int(self.chance.random() * (most + 1))
        at = self.chance.getrandbits(14)
        return NOISE[at : at + min(size, max(most, 0))]

    def place(self, tag: int) -> tuple[int, int, int, int, int]:
        chance = self.chance
        bits = chance.getrandbits(6)
        luck = chance.random()
        if luck < 0.6:
            self.last_object += 1
            object_id, bits = tag << 40 | self.last_object, bits | PLACE_NEW
        elif luck < 0.95:
            object_id = tag << 40 | max(0, self.last_object - int(chance.random() * 8))
        else:
            object_id = chance.getrandbits(64)
        segment = tag << 32 | 1 if chance.random() < 0.9 else chance.choice((0, 1, 1 << 63 | tag << 32, 5 << 32 | 1))
        return object_id, segment, 0, chance.choice(SIZES) if bits & 32 else 100, bits

    def places(self, tag: int) -> bytes:
        chance = self.chance
        luck = chance.random()
        if luck < 0.06:
            return self.noise(100)
        made = join_places([self.place(tag) for _ in range(1 + (luck > 0.5) + (luck > 0.8))])
        if luck > 0.97:
            return struct.pack("<I", chance.choice(ODD_COUNTS)) + made[4:]
        return made

    def inputs(self, client: Client) -> bytes:
        chance = self.chance
        luck = chance.random()
        count = int(luck * 5) if luck < self.small else int(chance.random() * 20)
        ids = [self.task_of(client) for _ in range(count)]
        if ids and luck > 0.7:
            ids[-1] = ids[0]
        said = count if chance.random() < 0.97 else chance.choice(ODD_COUNTS)
        expected = 0 if luck < 0.3 or luck > 0.9 else min(said, int(chance.random() * (count + 1)))
        expected = expected if chance.random() < 0.97 else 2**32 - 1
        promised = chance.choice((0, 0, 1, 1, 2, 3, 2**32 - 1))
        about = chance.choice((0, 0, 0, 1, 1, 2, 2, 4, 8, 9, chance.getrandbits(16)))
        status = chance.choice((0, 0, 0, 1, 4, 0xFFFF))
        return struct.pack(f"<IIII{count}Q", said, expected, promised, about | status << 16, *ids)

    # clients

    def submit(self) -> None:
        if not self.clients:
            return
        chance, client = self.chance, self.client()
        flags = chance.getrandbits(8) if chance.random() < 0.5 else chance.choice((0, 0, 32, 32, 33, 1, 128, 160))
        parts = []
        if flags & 1:
            parts.append(self.places(client.bits))
        if flags & 32:
            parts.append(self.inputs(client))
        if chance.random() < 0.02:
            parts.clear()
        payload = b"".join(parts)
        payload += self.noise(client.most - len(payload))
        luck = chance.random()
        if luck < 0.85:
            task = client.id_of(client.next)
            client.next += 1 if luck > 0.01 else chance.choice((4096, 5000))
        else:
            task = self.task_of(client)
        function = 0 if chance.random() < 0.9 else chance.choice((1, 2, 3, *ODD_NUMBERS))
        written = client.submits.write(
            KIND_TASK if luck < 0.99 else chance.getrandbits(8), task, payload[: client.most], function=function,
            flags=flags, attempt=0, items=chance.choice((0, 1, 1, 2, 1000)),
            detail=chance.choice((0, 1, 60, 2**32 - 1)), options=self.options() if chance.random() < 0.3 else None,
        )  # fmt: skip
        if written is None:
            self.feed(client)
            return
        client.said[task] += 1
        if chance.random() < 0.7:
            self.feed(client)

    def supply(self) -> None:
        """The client hands in all results that tasks of its may wait for."""
        if not self.clients:
            return
        client = self.client()
        for number in range(max(0, client.next - 15), client.next):
            result = pack_supply(0) + self.noise(client.most - 16)
            client.submits.write(KIND_TASK, client.id_of(number), result, flags=32)
            self.feed(client)

    def submit_bulky(self) -> None:
        """A task whose inputs are together about as large as a record may be."""
        if not self.clients or (client := self.client()).most < 5000:
            return
        count = 32 * 1024 // (client.most // 2) + self.chance.randrange(3)
        ids = [client.id_of(client.next + number) for number in range(count)]
        client.next += count + 1
        said = client.id_of(client.next - 1)
        payload = struct.pack(f"<IIII{count}Q", count, 0, 0, 0, *ids)
        if client.submits.write(KIND_TASK, said, payload, flags=32) is not None:
            client.said[said] += 1
        for task in ids:
            client.submits.write(KIND_TASK, task, pack_supply(0) + NOISE[: client.most // 2], flags=32)
            self.feed(client)

    def options(self) -> TaskOptions:
        chance = self.chance
        retries, priority = chance.choice((0, 1, 254)), chance.randrange(-15, 16)
        return TaskOptions(retries=retries, priority=priority, limit_ms=chance.choice((0, 1, 2**31)))

    def feed(self, client: Client) -> None:
        self.core.feed_client(client.index, client.submits_in, self.now)

    def read(self) -> None:
        if self.clients:
            self.read_results(self.client(), self.chance.choice((1, 3, 100)))

    def read_results(self, client: Client, most: int) -> None:
        for _ in range(most):
            record = client.results.read()
            if record is None:
                break
            client.said[record.task] -= 1
            assert record.kind == KIND_RESULT
            assert client.said[record.task] >= 0, f"task {record.task:#x} was answered more often than it was submitted"
        self.core.deliver(client.index)

    def cancel(self) -> None:
        if self.clients:
            client = self.client()
            self.core.on_cancel(client.index, self.task_of(client), self.now)

    def clear(self) -> None:
        if self.clients:
            client = self.client()
            if self.chance.random() < 0.7:
                self.core.on_clear(client.index, self.now, self.task_of(client))
            else:
                self.core.on_clear(client.index, self.now)

    def wait(self) -> None:
        if self.clients:
            client = self.client()
            self.core.on_wait(client.index, self.task_of(client), self.now)

    def come_back(self) -> None:
        """A task that was lent to its client is over, or is not."""
        if self.clients:
            client = self.client()
            self.core.on_return(client.index, self.task_of(client), self.chance.random() < 0.5, self.now)

    def release(self) -> None:
        if self.clients:
            client = self.client()
            tag = client.bits if self.chance.random() < 0.5 else self.any_tag()
            self.core.on_client_release(client.index, [self.any_object(tag)])

    def any_object(self, tag: int) -> int:
        return tag << 40 | max(0, self.last_object - int(self.chance.random() * 12))

    def any_tag(self) -> int:
        if self.workers:
            return self.worker().maker
        return self.core.own_tag

    def announce(self) -> None:
        if not self.clients:
            return
        chance, client = self.chance, self.client()
        which = int(chance.random() * len(CODES))
        flags = chance.choice((0, 0, 0, 1, chance.getrandbits(8)))
        payload = self.places(client.bits) if flags & 1 else CODES[which] if chance.random() < 0.9 else b"other"
        number = chance.choice((0, 0, 0, 1, 2, 3)) if chance.random() < 0.95 else chance.choice(ODD_NUMBERS)
        self.core.on_function(client.index, number, DIGESTS[which], flags, payload)

    def forget(self) -> None:
        if self.clients:
            self.core.on_forget(self.client().index, self.chance.choice((0, 1, 1, 2, 2, 3, 3)))

    def join_client(self) -> None:
        if len(self.clients) < MOST_CLIENTS:
            self.last_bits += 1
            tag = self.worker().tag if self.workers and self.chance.random() < 0.4 else 0
            self.clients.append(Client(self, self.last_bits, tag))

    def client_leaves(self) -> None:
        if self.clients:
            client = self.clients.pop(int(self.chance.random() * len(self.clients)))
            self.core.on_client_left(client.index, self.now)

    # workers

    def take(self) -> None:
        if self.workers:
            self.worker().take()

    def work(self) -> None:
        """Answer one of the tasks that a worker has, as it should, or nearly."""
        if not self.workers:
            return
        worker = self.worker()
        if not worker.held:
            worker.take()
        if worker.held:
            task, attempt, function, items = worker.held.pop(int(self.chance.random() * len(worker.held)))
            self.answer(worker, task, attempt, function, items)

    def answer(self, worker: Worker, task: int, attempt: int, function: int, items: int) -> None:
        chance = self.chance
        flags = 0 if chance.random() < 0.6 else 1 if chance.random() < 0.6 else chance.getrandbits(8)
        status = 0 if chance.random() < 0.8 else chance.choice((1, 2, 3, 4, 6, 7, 8, 0xFFFF))
        is_object = flags & 1 and chance.random() < 0.8
        payload = join_places([self.place(worker.maker)]) if is_object else self.noise(worker.most)
        written = worker.results.write(
            KIND_RESULT, task, payload[: worker.most], function=function, flags=flags, status=status, attempt=attempt,
            items=items, detail=chance.choice((0, 0, 1, 3, 2**32 - 1)),
            duration_ns=chance.choice((0, 1000, MS, 50 * MS, 2**63, 2**64 - 1)),
        )  # fmt: skip
        if written is None or chance.random() < 0.8:
            self.core.feed_worker(worker.index, worker.results_in, self.now)

    def answer_anything(self) -> None:
        """A result of another's task, of another attempt, of no task, or of another scheduler's."""
        if not self.workers:
            return
        chance, worker = self.chance, self.worker()
        luck = chance.random()
        if luck < 0.3:
            task, attempt = chance.choice(self.before)
        elif luck < 0.6 and (other := self.worker()).held:
            task, attempt, _, _ = other.held[0]
            attempt += chance.choice((0, 0, 1, -1, 1 << 32))
        elif self.clients:
            task, attempt = self.task_of(self.client()), chance.getrandbits(34)
        else:
            task, attempt = chance.getrandbits(64), chance.getrandbits(64)
        self.answer(worker, task, attempt & 0xFFFFFFFFFFFFFFFF, 0, 1)

    def worker_releases(self) -> None:
        if self.workers:
            worker = self.worker()
            tag = self.client().bits if self.clients and self.chance.random() < 0.7 else worker.tag
            self.core.on_worker_release(worker.index, [self.any_object(tag)])

    def hear(self) -> None:
        if self.workers:
            self.worker().hear()
        if self.clients:
            client = self.client()
            while client.control.read() is not None:
                pass

    def answer_relay(self) -> None:
        if not self.workers:
            return
        chance, worker = self.chance, self.worker()
        if worker.asks:
            _, task, attempt = worker.asks.pop(0)
        elif worker.held:
            task, attempt, _, _ = worker.held[0]
        else:
            return
        took = chance.random() < 0.6
        if took:
            worker.held = [held for held in worker.held if held[:2] != (task, attempt)]
        self.core.on_withdrawn(worker.index, task, attempt, took, self.now)

    def task_sent(self) -> None:
        if self.workers and (worker := self.worker()).held:
            task, attempt, _, _ = worker.held[-1]
            self.core.on_task_sent(worker.index, task, attempt, self.chance.getrandbits(12) & ~7)

    def join_worker(self, tag: int = 0) -> None:
        if len(self.workers) < MOST_WORKERS:
            self.workers.append(Worker(self, tag))

    def worker_leaves(self) -> None:
        if not self.workers:
            return
        chance = self.chance
        worker = self.workers.pop(int(chance.random() * len(self.workers)))
        claimed = [held[:2] for held in worker.held[:2]] if worker.is_remote else []
        if chance.random() < 0.1:
            claimed.append((chance.getrandbits(64), chance.getrandbits(64)))
        self.dead.append(worker.tag)
        self.core.on_worker_left(worker.index, self.now, claimed, chance.choice(FACTS), chance.random() < 0.5)

    def host_leaves(self) -> None:
        if not self.hosts:
            return
        gone = [worker for worker in self.workers if worker.is_remote and self.chance.random() < 0.7]
        for worker in gone:
            self.workers.remove(worker)
        self.core.on_workers_left([worker.index for worker in gone], self.now)
        if not any(worker.is_remote for worker in self.workers):
            for number in self.hosts:
                self.core.objects.remove_host(number)
            self.hosts.clear()

    def death_told(self) -> None:
        tag = self.chance.choice(self.dead) if self.dead else 3
        self.core.awaits_death(tag)
        self.core.on_death_told(tag, self.chance.choice(FACTS), self.now)

    def take_back_all(self) -> None:
        if self.workers:
            self.core.take_back_all(self.worker().index)

    def begin_to_leave(self) -> None:
        if self.workers:
            self.core.on_worker_leaves(self.worker().index, self.now)

    def no_worker_can_start(self) -> None:
        self.core.fail_waiting(b"none can start", self.chance.choice((1, 3, 500)))

    def survivor_comes(self) -> None:
        if len(self.workers) < MOST_WORKERS:
            tag = 1000 + self.chance.getrandbits(8) if self.chance.random() < 0.1 else 0
            if tag and any(self.core.worker_tag(worker.index) == tag for worker in self.workers):
                return  # two have never the same: the shell is refused the second one
            self.join_worker(tag)
            running = self.chance.choice(self.before) if self.chance.random() < 0.8 else None
            self.core.on_survivor(self.workers[-1].index, running)

    def survivor_idle(self) -> None:
        if self.workers:
            self.core.on_survivor_idle(self.worker().index, *self.chance.choice(self.before))

    # the loop

    def step(self) -> None:
        self.now += self.chance.choice((0, 1, MS))
        self.core.step(self.now)

    def tick(self) -> None:
        self.now += self.chance.choice((0, MS, 25 * MS, 1100 * MS, 31_000 * MS))
        self.core.on_tick(self.now)

    def look(self) -> None:
        core = self.core
        for number in core.take_freed():
            if number & 0xFFFFFFFFFF in self.spilled.sizes:  # else a worker of another host's
                self.spilled.free(number)
        core.take_gone()
        core.unlink.clear()
        core.counts()
        if self.clients:
            core.has_dependants(self.task_of(self.client()))
        core.objects.note_at(self.any_tag() << 40 | 3, self.chance.randrange(3))

    # the end

    def take_down(self) -> None:
        """Everybody leaves, in any order, after having worked on or not."""
        chance = self.chance
        if chance.random() < 0.5:
            self.work_off()
        while self.clients or self.workers:
            self.client_leaves() if self.workers == [] or chance.random() < 0.5 else self.worker_leaves()
            self.step()
        self.host_leaves()
        for _ in range(3):
            self.now += 40_000 * MS
            self.core.on_tick(self.now)
        self.look()
        self.core.check()
        core, counts = self.core, self.core.counts()
        left = {
            name: counts[name]
            for name in ("rows", "ready", "workers", "held_back", "kept_results", "running_on", "functions")
        }
        left.update(
            objects=len(core.objects), object_bytes=core.objects.bytes, nodes=core.edges.nodes, blobs=core.edges.blobs,
            blob_bytes=core.edges.blob_bytes, spilled=len(self.spilled.sizes), payload_bytes=core.table.payload_bytes,
        )  # fmt: skip
        assert not any(left.values()), {name: count for name, count in left.items() if count}

    def work_off(self) -> None:
        """Workers do all they are given and clients read all they are told, until no task is left that nobody wants."""
        if not self.workers:
            self.join_worker()
        for client in self.clients:
            self.feed(client)
            self.core.on_clear(client.index, self.now)
        for _ in range(200):
            for worker in self.workers:
                worker.hear()
                while worker.asks:
                    _, task, attempt = worker.asks.pop()
                    self.core.on_withdrawn(worker.index, task, attempt, False, self.now)
                worker.take()
                for task, attempt, function, items in worker.held:
                    worker.results.write(KIND_RESULT, task, b"x", function=function, attempt=attempt, items=items)
                    self.core.feed_worker(worker.index, worker.results_in, self.now)
                worker.held.clear()
            for client in self.clients:
                self.read_results(client, 1000)
            self.step()
            if not self.core.counts()["rows"]:
                break


def episode(seed: int, events: int, on_event: Callable[[int], None]) -> None:
    fuzz = CoreFuzz(seed)
    random_bits, table = fuzz.chance.random, fuzz.events
    count = len(table)
    for number in range(events):
        on_event(number)
        table[int(random_bits() * count)]()
        if number % CHECK_EVERY == 0:
            fuzz.core.check()
    on_event(events)
    fuzz.take_down()
