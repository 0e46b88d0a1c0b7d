"""A scheduler's core with clients and workers that are played, in virtual time: hours of work in a second, and no luck.

Time goes on from event to event. A worker on the scheduler's host has rings and is told of things at once; one
elsewhere has a relay, which hears of everything, and is heard, `WIRE_NS` later. Both do what real ones do: claim, run
one task after the other, answer with how long that took.

Not here: what must come of it (test_balancing, test_fairness).
"""

import heapq
from hashlib import blake2b

from scaler._native import Ring, RingOutlet, RunOutlet, SchedulerCore, Segment

TASK, RESULT, KIND_RUN_HERE = 1, 2, 14
US, MS, S = 1_000, 1_000_000, 1_000_000_000
TICK_NS = 10 * MS
WIRE_NS = 200 * US
RING_BYTES = 262144


def ring_pair(capacity=RING_BYTES):
    memory = Segment.private(4096 + capacity)
    return Ring(memory, 0, capacity), Ring(memory, 0, capacity)


class Player:
    """A worker of the scheduler's host that takes `factor` times as long as a task says."""

    def __init__(self, host, factor=1, ring_bytes=RING_BYTES):
        self.host, self.factor, self.running = host, factor, None
        self.results_out, self.results_in = ring_pair()
        self.join(ring_bytes)

    def join(self, ring_bytes):
        tasks, self.tasks = ring_pair(ring_bytes)
        control, self.control = ring_pair(ring_bytes)
        self.index = self.host.core.on_worker_joined(RingOutlet(tasks), RingOutlet(control))

    def look(self):
        """Begin with the next task if there is none."""
        if self.running is None and (record := self.next_record()) is not None:
            self.running = record
            self.host.begin(self, record)

    def next_record(self):
        record = self.tasks.read(claim=True)
        if record is None:
            while self.control.read() is not None:
                pass
        self.host.core.on_worker_room(self.index)
        return record

    def end(self, record):
        self.running = None
        self.say(record)

    def say(self, record):
        self.results_out.write(
            RESULT, record[1], function=record[3], attempt=record[6], items=record[7],
            duration_ns=self.host.duration_of(self, record),
        )  # fmt: skip
        self.host.core.feed_worker(self.index, self.results_in, self.host.now)


class PlayerElsewhere(Player):
    def join(self, ring_bytes):
        self.asks, self.queue = [], []
        self.outlet = RunOutlet(0, [], self.asks, [], stops=[])
        self.control = RunOutlet(0, [], [], [])
        self.index = self.host.core.on_worker_joined(self.outlet, self.control, host=1)

    def look(self):
        """What has been written, and asked, is under way now."""
        while self.control.run.read() is not None:
            pass
        while (record := self.outlet.run.read()) is not None:
            self.host.after(WIRE_NS, self.arrive, record)
        asks, self.asks[:] = list(self.asks), []
        for _, task, attempt in asks:
            self.host.after(WIRE_NS, self.asked, task, attempt)

    def arrive(self, record):
        self.queue.append(record)
        self.go_on()

    def go_on(self):
        if self.running is None and self.queue:
            self.running = self.queue.pop(0)
            self.host.begin(self, self.running)

    def asked(self, task, attempt):
        took = [record for record in self.queue if (record[1], record[6]) == (task, attempt)]
        self.queue = [record for record in self.queue if record not in took]
        self.host.after(WIRE_NS, self.answer, task, attempt, bool(took))

    def answer(self, task, attempt, took):
        self.host.core.on_withdrawn(self.index, task, attempt, took, self.host.now)

    def end(self, record):
        self.running = None
        self.host.after(WIRE_NS, self.say, record)
        self.go_on()


class PlayedClient:
    """A program's client, or with `worker` that of the tasks that run there."""

    def __init__(self, host, bits, worker=None):
        self.host, self.bits, self.next = host, bits, 1
        self.submits_in, self.submits = ring_pair()
        results, self.results = ring_pair()
        control, _ = ring_pair()
        tag = host.core.worker_tag(worker.index) if worker else 0
        self.index = host.core.on_client_joined(bits, RingOutlet(results), RingOutlet(control), tag)
        self.functions = set()
        self.answers = {}  # task -> when it came

    def submit(self, function, durations, payload=b"", **fields):
        """One task for each duration; their ids. The scheduler has them at once, and places them with its next step."""
        if function not in self.functions:
            self.functions.add(function)
            code = b"%d" % function
            self.host.core.on_function(self.index, function, blake2b(code, digest_size=16).digest(), 0, code)
        tasks = []
        for duration in durations:
            task = self.bits << 40 | self.next
            self.next += 1
            self.host.durations[task] = duration
            while self.submits.write(TASK, task, payload, function=function, **fields) is None:
                self.host.core.feed_client(self.index, self.submits_in, self.host.now)
            tasks.append(task)
        self.host.core.feed_client(self.index, self.submits_in, self.host.now)
        return tasks

    def read(self):
        """Take what answers there are: their tasks."""
        read, before = [], -1
        while len(read) != before:
            before = len(read)
            while (answer := self.results.read()) is not None:
                assert answer.task not in self.answers
                assert answer.status == 0, answer
                self.answers[answer.task] = self.host.now
                read.append(answer.task)
            self.host.core.deliver(self.index)
        return read


class Host:
    """The core, its players and clients, and the time."""

    def __init__(self, players):
        """`players`: one worker for each factor, or for each class of Player."""
        self.core = SchedulerCore()
        self.now = 0
        self.events = []  # (when, number, what to call, its arguments)
        self.number = 0
        self.durations, self.runs = {}, {}
        self.clients = []
        self.alive = []
        self.on_answers = []  # called with a client and the tasks that have come back
        for player in players:
            self.join(player)
        self.after(TICK_NS, self.tick)

    def after(self, duration, call, *arguments):
        self.number += 1
        heapq.heappush(self.events, (self.now + duration, self.number, call, arguments))

    def tick(self):
        self.core.on_tick(self.now)
        self.after(TICK_NS, self.tick)

    def join(self, player=1, **options):
        made = player(self, **options) if isinstance(player, type) else Player(self, player, **options)
        self.alive.append(made)
        return made

    def add_client(self, worker=None):
        made = PlayedClient(self, len(self.clients) + 1, worker)
        self.clients.append(made)
        return made

    def die(self, player):
        self.alive.remove(player)
        self.core.on_worker_left(player.index, self.now)

    def duration_of(self, player, record):
        return int(self.durations[record[1]] * player.factor)

    def begin(self, player, record):
        self.runs[record[1]] = self.runs.get(record[1], 0) + 1
        self.after(self.duration_of(player, record), self.end, player, record)

    def end(self, player, record):
        if player in self.alive and player.running is record:
            player.end(record)

    def settle(self):
        """Let the core place, workers begin, and clients read."""
        self.core.step(self.now)
        for player in self.alive:
            player.look()
        for client in self.clients:
            answers = client.read()
            for call in self.on_answers if answers else ():
                call(client, answers)
        self.core.step(self.now)
        for player in self.alive:
            player.look()

    def pass_time(self, until):
        """Until then, or until `until()` is true."""
        self.settle()
        while not until() if callable(until) else self.now < until:
            when = self.events[0][0]
            assert when < 24 * 3600 * S, "some tasks are never run"
            self.now = when
            while self.events and self.events[0][0] <= self.now:
                _, _, call, arguments = heapq.heappop(self.events)
                call(*arguments)
            self.settle()
