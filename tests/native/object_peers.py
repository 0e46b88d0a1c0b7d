"""Clients and workers that name objects, for tests of who holds them: rings in private memory, and no store."""

from scaler._native import (
    FLAG_OBJECTS,
    KIND_FREED,
    KIND_RESULT,
    KIND_TASK,
    PLACE_HELD,
    PLACE_NEW,
    Ring,
    RingOutlet,
    Segment,
    join_places,
    split_places,
)
from tests.native.model import digest_of

NEW_AND_HELD = PLACE_NEW | PLACE_HELD
LIFE, FOLDER = "fedcba9876543210", "/nowhere"


def ring_pair(capacity=65536):
    memory = Segment.private(4096 + capacity)
    return Ring(memory, 0, capacity), Ring(memory, 0, capacity)


def read_all(ring):
    while (record := ring.read()) is not None:
        yield record


def read_freed(control):
    """The ids that its peer was told."""
    return [
        object_id
        for record in read_all(control)
        if record.kind == KIND_FREED
        for object_id in memoryview(record.payload).cast("Q")
    ]


class Maker:
    """Names places in a store that there is not."""

    def __init__(self, tag):
        self.tag = tag
        self.made = 0

    def place(self, flags=PLACE_NEW, size=1000):
        """A new one."""
        self.made += 1
        return self.tag << 40 | self.made, self.tag << 32 | 1, 4096 * self.made, size, flags

    def segment_name(self):
        return f"scaler-{LIFE}-{self.tag:06x}-1"


class FakeClient(Maker):
    def __init__(self, core, bits, capacity=65536):
        super().__init__(bits)
        self.submits_in, self.submits_out = ring_pair()
        results, self.results = ring_pair(capacity)
        control, self.control = ring_pair(1024)
        self.core, self.tasks = core, 0
        self.index = core.on_client_joined(bits, RingOutlet(results), RingOutlet(control))
        core.on_function(self.index, 0, digest_of(b"function"), 0, b"function")

    def submit(self, *places, payload=None, function=0):
        self.tasks += 1
        task = self.tag << 40 | self.tasks
        payload = join_places(places, b"stream") if payload is None else payload
        self.submits_out.write(KIND_TASK, task, payload, function=function, flags=FLAG_OBJECTS)
        self.core.feed_client(self.index, self.submits_in)
        self.core.step(0)
        self.core.check()
        return task

    def answers(self):
        """(task, status, places) of the results that have come."""
        found = list(read_all(self.results))
        self.core.deliver(self.index)
        found += read_all(self.results)
        return [
            (record.task, record.status, split_places(record.payload)[0] if record.flags & FLAG_OBJECTS else [])
            for record in found
        ]

    def release(self, *objects):
        self.core.on_client_release(self.index, objects)
        self.core.step(0)

    def leave(self):
        names = self.core.on_client_left(self.index, 0)
        self.core.step(0)
        self.core.check()
        return names

    def freed(self):
        return read_freed(self.control)


class FakeWorker(Maker):
    def __init__(self, core):
        tasks, self.tasks = ring_pair()
        control, self.control = ring_pair(1024)
        self.results_out, self.results_in = ring_pair()
        self.core, self.running = core, None
        self.index = core.on_worker_joined(RingOutlet(tasks), RingOutlet(control))
        super().__init__(core.worker_tag(self.index))

    def begin(self):
        """The places that the next task names; None if there is no task."""
        if self.running is None:
            self.core.step(0)
            self.running = self.tasks.read(claim=True)
        return None if self.running is None else split_places(self.running.payload)[0]

    def finish(self, *places, kept=0, payload=None):
        assert self.running is not None
        ran, self.running = self.running, None
        self.answer(ran.task, ran.attempt, *places, kept=kept, payload=payload, function=ran.function, items=ran.items)

    def answer(self, task, attempt, *places, kept=0, payload=None, function=0, items=0):
        if payload is None:
            payload = join_places(places) if places else b"small"
        flags = FLAG_OBJECTS if places or payload != b"small" else 0
        self.results_out.write(
            KIND_RESULT, task, payload, function=function, attempt=attempt, items=items, flags=flags, detail=kept
        )
        self.core.feed_worker(self.index, self.results_in, 0)
        self.core.step(0)
        self.core.check()

    def work(self, *places, kept=0):
        named = self.begin()
        self.finish(*places, kept=kept)
        return named

    def release(self, *objects):
        self.core.on_worker_release(self.index, objects)
        self.core.step(0)
        self.core.check()

    def leave(self):
        names = self.core.on_worker_left(self.index, 0)
        self.core.step(0)
        self.core.check()
        return names

    def freed(self):
        return read_freed(self.control)


def is_empty(core):
    core.check()
    return (len(core.objects), core.objects.bytes, core.counts()["rows"]) == (0, 0, 0)
