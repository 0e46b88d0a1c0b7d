"""The worker's loop with rings in private memory: what it reads, what it writes, whom it tells."""

import os
import pickle
import struct
from functools import partial

import pytest

from scaler._native import (
    FLAG_INPUTS,
    HEADERS_OFFSET,
    PAGE,
    PLACE_INPUT,
    PLACE_NEW,
    PLACE_STREAM,
    RING_HEADER_BYTES,
    Interrupts,
    Mappings,
    Segment,
    Store,
    Unreadable,
    Upkeep,
    WorkerLoop,
    join_places,
)
from scaler.colocation.doorbell import new_doorbell
from scaler.colocation.names import sweep
from scaler.values import payload
from scaler.values.failures import Carried
from scaler.worker.running import function_loader
from tests.native.runners import make_runner
from tests.processes import in_child
from tests.sim.wire import Rings

TASK, FUNCTION, RELEASE, FORGET = 1, 3, 5, 12
OBJECTS, KEYWORDS, CHUNK = 1, 4, 8  # flags
RAISED, UNREADABLE = 1, 4
RING_BYTES = 65536
LIFE = "0123456789abcdef"
LIFE_AFTER, LIFE_OFFSET = 77, 72  # of another scheduler; in the worker's page, then from where on what is its own
# Where a ring says that its producer waits for room.
WAITING_IN_TASKS = HEADERS_OFFSET + 72
WAITING_IN_DOWN = WAITING_IN_TASKS + 3 * RING_HEADER_BYTES


class Worker:
    """The scheduler's ends of a worker's rings. Its loop runs in this thread until there is nothing more to do."""

    def __init__(self, upkeep=None, on_word=None, **options):
        rings = Rings(RING_BYTES)
        self.memory, self.tasks, self.results, self.down = rings.memory, rings.tasks, rings.results, rings.down
        self.bell = Segment.private(PAGE)
        self.supervisor = os.pipe()
        self.bells = [new_doorbell(), os.eventfd(0, os.EFD_NONBLOCK)]
        self.scheduler: tuple[int, ...] = os.pipe()
        watched = [self.scheduler[0], self.supervisor[0]] if on_word else [self.supervisor[0]]
        mappings = Mappings(LIFE, "/tmp")
        self.store = Store(LIFE, 5, "/tmp")  # of a client
        load_carrying = function_loader(mappings)
        self.loop = WorkerLoop(
            self.memory, self.bells[0], self.bell, 3, self.bells[1], watched,
            Store(LIFE, 9, "/tmp"), mappings, make_runner(), Interrupts(self.memory, **options),
            load_function=lambda data, flags: load_carrying(data, flags) if flags else load_function(data, flags),
            upkeep=upkeep or Upkeep(),
        )  # fmt: skip
        self.loop.on_word = on_word
        os.close(self.supervisor[1])  # the supervisor has gone: it ends when it would sleep

    def run(self):
        """What it has answered: (status, the payload unpickled) each."""
        self.loop.run()
        answers = []
        while (record := self.results.read()) is not None:
            answers.append((record[5], pickle.loads(record[2])))
        return answers

    def is_told(self):
        """Whether the scheduler was told to look, since it was asked last."""
        told = memoryview(self.bell)[64] == 1 << 3
        memoryview(self.bell)[64] = 0
        return told

    def note(self, waiting):
        """The scheduler waits for room in a ring of its own."""
        memoryview(self.memory)[waiting] = 1

    def cut_off(self):
        """The scheduler has gone, and no other has taken over."""
        os.close(self.scheduler[1])
        self.scheduler = self.scheduler[:1]

    def close(self):
        self.store.close()
        for descriptor in (self.supervisor[0], *self.scheduler, *self.bells):
            os.close(descriptor)


def load_function(data, flags):
    try:
        return pickle.loads(data)
    except BaseException as error:
        return Unreadable(error)


@pytest.fixture
def worker():
    made = Worker()
    yield made
    made.close()


def announce(worker, number, data):
    assert worker.down.write(FUNCTION, 0, bytes(16) + data, function=number) is not None


def test_a_function_that_cannot_be_unpickled_says_so_each_time_in_the_same_words(worker):
    announce(worker, 1, b"no pickle")
    lengths = set()
    for _ in range(200):
        worker.tasks.write(TASK, 1, pickle.dumps(()), function=1)
        [(status, (_, text))] = worker.run()
        assert status == UNREADABLE
        lengths.add(len(text))
    assert len(lengths) == 1
    assert "load_function" in text


@pytest.mark.parametrize("arguments", [5, None, object])
def test_arguments_that_are_no_tuple_are_an_error_of_the_call(worker, arguments):
    announce(worker, 1, pickle.dumps(bool))
    data = pickle.dumps(arguments)
    worker.tasks.write(TASK, 1, data, function=1)
    worker.tasks.write(TASK, 2, pickle.dumps(arguments, 1), function=1)  # not as the plain ones are written
    worker.tasks.write(TASK, 3, pickle.dumps((arguments, {})), function=1, flags=KEYWORDS)
    worker.tasks.write(TASK, 4, pickle.dumps(((), arguments)), function=1, flags=KEYWORDS)
    worker.tasks.write(TASK, 5, data, function=1, flags=KEYWORDS)
    answers = worker.run()
    assert [status for status, _ in answers] == [RAISED] * 5
    assert {type(error) for _, (error, _) in answers} == {TypeError}
    worker.tasks.write(TASK, 6, len(data).to_bytes(4, "little") + data, function=1, flags=CHUNK, items=1)
    worker.loop.run()
    payload = worker.results.read().payload
    assert payload[4] == RAISED
    assert type(pickle.loads(payload[5:])[0]) is TypeError


ENTRY = struct.pack("<II", 1, 0) + b"a"  # an input of one byte, which is to be filled up to 8
SECTIONS_THAT_END_TOO_SOON = {
    "no entry": (b"", 1),
    "half an entry's header": (b"1234", 1),
    "an entry that is not filled up": (ENTRY, 1),
    "another behind one that is not filled up": (ENTRY, 3),
    "fewer entries than inputs": (ENTRY + bytes(7), 2),
    "an entry longer than all": (struct.pack("<II", 2**32 - 1, 0) + bytes(8), 1),
    "an input that is an object, which the task does not name": (struct.pack("<II", 0, OBJECTS), 1),
    "more inputs than anybody has": (ENTRY + bytes(7), 2**32 - 1),
}


@pytest.mark.parametrize("is_object", [False, True], ids=["in its record", "as an object"])
@pytest.mark.parametrize("name", SECTIONS_THAT_END_TOO_SOON)
def test_inputs_that_do_not_lie_in_their_section_are_not_read(worker, name, is_object):
    section, count = SECTIONS_THAT_END_TOO_SOON[name]
    announce(worker, 1, pickle.dumps(len))
    if is_object:
        before = worker.store.put(struct.pack("<II", 8, 0) * 512, PLACE_NEW)  # what lay in that slot
        worker.store.free(before[0])
        place = worker.store.put(section or b"1", PLACE_NEW)
        places = [(*place[:4], PLACE_STREAM | PLACE_INPUT)]
        payload = join_places(places, struct.pack("<II", count, 0) + pickle.dumps(()))
    else:
        payload = struct.pack("<II", count, len(section)) + section
    flags = FLAG_INPUTS | OBJECTS if is_object else FLAG_INPUTS
    worker.tasks.write(TASK, (5 << 40) | 1, payload, function=1, flags=flags, attempt=1)
    ((status, (error, _)),) = worker.run()
    assert status == UNREADABLE
    assert "ValueError" in str(error)
    sweep(LIFE)


@pytest.mark.parametrize("payload", [b"", b"1", bytes(7), struct.pack("<II", 0, 1), struct.pack("<II", 1, 2**32 - 1)])
@pytest.mark.parametrize("flags", [0, OBJECTS])
def test_a_payload_too_short_for_its_inputs_is_not_read(worker, payload, flags):
    announce(worker, 1, pickle.dumps(len))
    worker.tasks.write(TASK, (5 << 40) | 1, payload, function=1, flags=FLAG_INPUTS | flags, attempt=1)
    ((status, (error, _)),) = worker.run()
    assert status == UNREADABLE
    assert "ValueError" in str(error)


class Mute(Exception):
    """Whatever is asked of it ends in SystemExit."""

    def __str__(self):
        raise SystemExit(1)

    def __reduce__(self):
        return (quit, (1,))


def raise_mute():
    raise Mute


class Unloadable:
    def __reduce__(self):
        return (raise_mute, ())


def test_an_exception_that_cannot_speak_for_itself_is_answered_and_the_worker_goes_on(worker):
    announce(worker, 1, pickle.dumps(raise_mute))
    announce(worker, 2, pickle.dumps(Unloadable()))
    for number in (1, 2, 1):
        worker.tasks.write(TASK, 1, pickle.dumps(()), function=number)
    answers = worker.run()
    assert [status for status, _ in answers] == [RAISED, UNREADABLE, RAISED]
    errors = [error.open() if isinstance(error, Carried) else error for _, (error, _) in answers]
    assert all("Mute: <str() of it failed>" in str(error) for error in errors)


def test_whoever_waits_for_room_in_the_task_ring_is_told_though_nothing_ran(worker):
    places = []
    while (place := worker.tasks.write(TASK, 1, bytes(1000))) is not None:
        places.append(place)
    assert all(map(worker.tasks.take_back, places))
    assert worker.run() == []
    assert not worker.is_told()
    assert worker.tasks.take_back(worker.tasks.write(TASK, 1))
    worker.note(WAITING_IN_TASKS)
    assert worker.run() == []
    assert worker.is_told()


def test_whoever_waits_for_room_in_the_control_ring_is_told(worker):
    announce(worker, 1, b"function")
    assert worker.run() == []
    assert not worker.is_told()
    announce(worker, 2, b"function")
    worker.note(WAITING_IN_DOWN)
    assert worker.run() == []
    assert worker.is_told()


def test_a_worker_that_is_never_idle_collects_garbage_between_its_tasks():
    worker = Worker(Upkeep(1e-9))
    announce(worker, 1, pickle.dumps(bool))
    try:
        for number in range(3):
            worker.tasks.write(TASK, number, pickle.dumps(()), function=1)
        assert worker.run() == [(0, False)] * 3
        assert worker.loop.upkeep.collections == 3
    finally:
        worker.close()


def forget(worker, number):
    assert worker.down.write(FORGET, 0, function=number) is not None


def carrying(worker, n_bytes):
    """The payload of a function that carries bytes, and the id of these."""
    place = worker.store.put(bytes(n_bytes), PLACE_NEW)
    buffers = payload.Buffers()
    data = payload.dumps(partial(len, View(bytes(n_bytes))), buffers)
    return join_places([place], data), place[0]


class View:
    """Looks at bytes that it leaves out of the pickle."""

    def __init__(self, data):
        self.data = memoryview(data)

    def __len__(self):
        return len(self.data)

    def __reduce__(self):
        return View, (pickle.PickleBuffer(self.data),)


def given_back(worker):
    """The ids that it holds no more."""
    ids = []
    while (record := worker.results.read()) is not None:
        if record[0] == RELEASE:
            ids += memoryview(record[2]).cast("Q").tolist()
    return ids


def test_a_function_that_is_forgotten_is_dropped(worker):
    announce(worker, 1, pickle.dumps(bool))
    worker.tasks.write(TASK, 1, pickle.dumps(()), function=1)
    assert worker.run() == [(0, False)]
    forget(worker, 1)
    announce(worker, 2, pickle.dumps(int))
    worker.tasks.write(TASK, 2, pickle.dumps(()), function=2)
    assert worker.run() == [(0, 0)]
    worker.tasks.write(TASK, 3, pickle.dumps(()), function=1)
    [(status, (error, _))] = worker.run()
    assert status == UNREADABLE
    assert "never announced" in str(error)


@pytest.mark.parametrize("is_loaded", [False, True])
@pytest.mark.parametrize("is_readable", [True, False])
@pytest.mark.parametrize("n_bytes", [40_000, 3_000_000])
def test_what_a_forgotten_function_carries_is_given_back_once(worker, is_loaded, is_readable, n_bytes):
    data, carried = carrying(worker, n_bytes)
    if not is_readable:
        data = data[:-2]
    assert worker.down.write(FUNCTION, 0, bytes(16) + data, function=1, flags=OBJECTS) is not None
    worker.loop.run()
    ids = given_back(worker)
    assert ids == []
    if is_loaded:
        worker.tasks.write(TASK, 1, pickle.dumps(()), function=1)
        worker.loop.run()
        ids += given_back(worker)
        # A small one is copied; of one that cannot be read nothing is looked at.
        assert ids == ([carried] if n_bytes == 40_000 or not is_readable else [])
    forget(worker, 1)
    for _ in range(2):
        worker.loop.run()
        ids += given_back(worker)
    assert ids == [carried]


@pytest.mark.parametrize("is_loaded", [False, True])
@pytest.mark.parametrize("carries", [False, True])
def test_a_function_whose_objects_may_have_gone_with_the_scheduler_waits_for_the_next(carries, is_loaded):
    worker = Worker(on_word=lambda: False)  # no next one comes
    try:
        data, flags = (carrying(worker, 3_000_000)[0], OBJECTS) if carries else (pickle.dumps(partial(len, "abc")), 0)
        assert worker.down.write(FUNCTION, 0, bytes(16) + data, function=1, flags=flags) is not None
        if is_loaded:
            worker.tasks.write(TASK, 1, pickle.dumps(()), function=1)
            assert len(worker.run()) == 1
        worker.cut_off()
        worker.tasks.write(TASK, 2, pickle.dumps(()), function=1)
        answers = worker.run()
        assert answers == ([] if carries and not is_loaded else [(0, 3_000_000 if carries else 3)])
    finally:
        worker.close()


@pytest.mark.parametrize("length", [0, 8, 1 << 31])
def test_a_worker_whose_unread_results_were_written_over_goes_on_with_another_scheduler(length):
    worker: Worker
    words = iter((False, True, False))  # it is moved when it looks for the second time

    def on_word():
        is_moved = next(words)
        if is_moved:
            worker.loop.move(None, 3, worker.bells[1], -1, f"{LIFE_AFTER:016x}", "/tmp", 0)
        return is_moved

    worker = Worker(on_word=on_word)
    try:
        announce(worker, 1, pickle.dumps(partial(bytes, 100_000)))
        worker.tasks.write(TASK, 1, pickle.dumps(()), function=1)
        worker.loop.run()
        memory = memoryview(worker.memory)
        struct.pack_into("<I", memory, PAGE + RING_BYTES, length)
        head = worker.tasks.positions[0]
        struct.pack_into("<QQQQ", memory, LIFE_OFFSET, LIFE_AFTER, head, worker.down.positions[0], 0)
        announce(worker, 1, pickle.dumps(partial(len, "abc")))
        worker.tasks.write(TASK, 2, pickle.dumps(()), function=1)
        worker.results.start_at(worker.results.positions[0])  # of what it says from here on
        assert in_child(worker.run) == [(0, 3)]
    finally:
        worker.close()
        sweep(f"{LIFE_AFTER:016x}", "/tmp")  # the child's
