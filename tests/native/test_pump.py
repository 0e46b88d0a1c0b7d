"""The pump with real rings and no processes: what it takes, whom it wakes, and whom it wants to be shut out."""

import os
import random
import signal
import struct
import time
from hashlib import blake2b

import pytest

from scaler._native import (
    CHILDREN_BYTES,
    FLAG_OBJECTS,
    HEADERS_OFFSET,
    KIND_CANCEL,
    KIND_FUNCTION,
    KIND_RELEASE,
    KIND_RESULT,
    KIND_TASK,
    PAGE,
    PLACE_HELD,
    PLACE_NEW,
    RECORD_HEADER_BYTES,
    RING_HEADER_BYTES,
    Pump,
    SchedulerCore,
    Segment,
    join_places,
    lay_out_peer,
    peer_segment_bytes,
)
from scaler.colocation.doorbell import new_doorbell
from scaler.colocation.names import new_epoch, segment_name
from tests.effort import seeds
from tests.processes import in_child
from tests.sim.wire import CONTROL_BYTES, Rings

SLEEPING = 64  # in a peer's page and in the bell page
NEWS = 64  # in the bell page
RAISED, REFUSED = 1, 3  # statuses


class Scheduler:
    """A pump, which the test lets run."""

    def __init__(self):
        self.bell = Segment.private(PAGE)
        self.descriptors = [os.eventfd(0, os.EFD_NONBLOCK)]
        self.core = SchedulerCore()
        self.pump = Pump(self.core, self.bell, self.descriptors[0])

    def run(self, look_everywhere=False):
        while self.pump.run(look_everywhere):
            pass

    def close(self):
        for descriptor in self.descriptors:
            os.close(descriptor)


class Peer:
    """A client's or a worker's ends of its rings."""

    def __init__(self, scheduler, bits=0, ring_bytes=65536, control_bytes=CONTROL_BYTES):
        self.scheduler, self.bits, self.next = scheduler, bits, 1
        self.rings = Rings(ring_bytes, control_bytes)
        self.doorbell = new_doorbell()
        scheduler.descriptors.append(self.doorbell)
        self.peer = scheduler.pump.add(self.rings.memory, not bits, self.doorbell, client_bits=bits)

    def tell(self):
        """Say that there is news."""
        word = memoryview(self.scheduler.bell).cast("B")[NEWS : NEWS + 8].cast("Q")
        word[0] |= 1 << self.peer.slot

    def sleep(self):
        memoryview(self.rings.memory)[SLEEPING] = 1

    def is_woken(self):
        try:
            return bool(os.read(self.doorbell, 1))
        except BlockingIOError:
            return False

    # a client's

    def announce(self, number, code=b"function"):
        digest = blake2b(code, digest_size=16).digest()
        assert self.rings.up.write(KIND_FUNCTION, 0, digest + code, function=number) is not None

    def submit(self, payload=b"", function=1, flags=0):
        task, self.next = self.bits << 40 | self.next, self.next + 1
        assert self.rings.tasks.write(KIND_TASK, task, payload, function=function, flags=flags) is not None
        return task

    def answers(self):
        found = []
        while (record := self.rings.results.read()) is not None:
            found.append((record[1], record[5]))
        return found

    # a worker's

    def work(self):
        """Answer all there is with what it was asked; the tasks."""
        tasks = []
        while (record := self.rings.tasks.read(claim=True)) is not None:
            tasks.append(record[1])
            written = self.rings.results.write(KIND_RESULT, record[1], record[2], attempt=record[6], items=record[7])
            assert written is not None
        if tasks:
            self.tell()
        return tasks


@pytest.fixture
def scheduler():
    made = Scheduler()
    yield made
    made.close()


def test_many_control_records_behind_an_unknown_function_are_taken_one_after_the_other(scheduler):
    client, worker = Peer(scheduler, 5, control_bytes=1 << 24), Peer(scheduler)
    task = client.submit(function=2)
    for _ in range(200_000):
        assert client.rings.up.write(KIND_CANCEL, 5 << 40 | 77) is not None
    client.announce(2)
    cancelled = client.submit(function=2)
    assert client.rings.up.write(KIND_CANCEL, cancelled) is not None
    client.tell()
    scheduler.run()
    assert worker.work() == [task]
    scheduler.run()
    assert client.answers() == [(task, 0)]
    assert scheduler.core.counts()["rows"] == 0


def test_a_task_of_a_function_that_is_never_announced_is_refused_though_something_is_cancelled(scheduler):
    client = Peer(scheduler, 5)
    task = client.submit()
    assert client.rings.up.write(KIND_CANCEL, 5 << 40 | 77) is not None
    client.tell()
    scheduler.run()
    assert client.answers() == [(task, REFUSED)]


def test_what_waited_for_room_is_delivered_as_soon_as_its_client_says_that_there_is_some(scheduler):
    client, worker = Peer(scheduler, 5, ring_bytes=4096), Peer(scheduler)
    client.announce(1)
    client.tell()
    tasks = []
    while not scheduler.core.counts()["ready"]:  # until the client is held for having no room
        tasks += [client.submit(b"x" * 400) for _ in range(4)]
        client.tell()
        for _ in range(4):
            scheduler.run()
            worker.work()
            scheduler.run()
    answers = client.answers()
    client.sleep()
    worker.sleep()
    assert not client.is_woken()
    client.tell()
    scheduler.run()
    assert client.is_woken()
    assert worker.is_woken()
    for _ in range(20):
        answers += client.answers()
        client.tell()
        worker.work()
        scheduler.run()
    assert answers == [(task, 0) for task in tasks]
    assert scheduler.pump.missed == 0


def test_a_worker_that_says_there_is_room_for_functions_again_is_given_what_waited_for_it(scheduler):
    client, worker = Peer(scheduler, 5, control_bytes=65536), Peer(scheduler)
    tasks = []
    for number in range(20):
        client.announce(number, b"%d" % number * 200)
        tasks.append(client.submit(function=number))
    client.tell()
    done = []
    for _ in range(40):
        scheduler.run()
        done += worker.work()
        scheduler.run()
    assert len(done) < len(tasks)  # the control ring is full
    while worker.rings.down.read() is not None:
        pass
    worker.tell()
    scheduler.run()
    assert len(worker.work()) == 1


@pytest.mark.parametrize("length", [3, 40_000])  # shorter, and longer, than any record
def test_whoever_writes_nonsense_is_named_once_and_its_tasks_are_run_elsewhere(scheduler, length):
    client, broken, other = Peer(scheduler, 5), Peer(scheduler), Peer(scheduler)
    client.announce(1)
    tasks = [client.submit() for _ in range(2)]
    client.tell()
    scheduler.run()
    assert broken.rings.results.write(KIND_RESULT) is not None
    memory = memoryview(broken.rings.memory).cast("B")
    struct.pack_into("<I", memory, PAGE + 65536, length)
    struct.pack_into("<Q", memory, HEADERS_OFFSET + RING_HEADER_BYTES, max(length, RECORD_HEADER_BYTES) + 7 & ~7)
    broken.tell()
    scheduler.run()
    scheduler.run(True)
    assert scheduler.pump.broken == [broken.peer]
    scheduler.pump.remove(broken.peer)
    done = []
    for _ in range(3):
        done += other.work()
        scheduler.run()
    assert sorted(done) == tasks


def write_over_tasks(worker):
    """The records in its ring have no lengths any more."""
    memoryview(worker.rings.memory)[PAGE : PAGE + 65536] = bytes(65536)


def test_a_worker_whose_tasks_make_no_sense_when_one_is_to_be_stopped_is_named_though_it_says_nothing(scheduler):
    client, broken = Peer(scheduler, 5), Peer(scheduler)
    client.announce(1)
    task = client.submit()
    client.tell()
    scheduler.run()
    write_over_tasks(broken)
    assert in_child(lambda: broken.peer.running.is_it(task, 1)) is False
    assert not broken.peer.running.is_it(task, 1)
    scheduler.run()
    assert scheduler.pump.broken == [broken.peer]
    other = Peer(scheduler)
    scheduler.pump.remove(broken.peer)
    assert other.work() == [task]


def test_a_worker_that_comes_over_with_tasks_that_make_no_sense_is_named(scheduler):
    client, before = Peer(scheduler, 5), Peer(scheduler)
    client.announce(1)
    client.submit()
    client.tell()
    scheduler.run()
    write_over_tasks(before)
    assert in_child(lambda: bool(scheduler.pump.add(before.rings.memory, True, -1, tag=77)))
    after = scheduler.pump.add(before.rings.memory, True, -1, tag=77)
    scheduler.run()
    assert scheduler.pump.broken == [after]
    assert scheduler.core.counts()["running_on"] == 0


def test_a_worker_that_comes_over_with_positions_that_make_no_sense_is_not_taken_up(scheduler):
    rings = Rings(65536)
    struct.pack_into("<Q", memoryview(rings.memory), HEADERS_OFFSET, 65533)
    with pytest.raises(ValueError, match="no records between"):
        scheduler.pump.add(rings.memory, True, -1, tag=77)
    assert scheduler.core.counts()["workers"] == 0


def test_a_burst_is_drained_without_a_look_at_all_rings(scheduler):
    clients = [Peer(scheduler, bits, ring_bytes=262144) for bits in (5, 6)]
    workers = [Peer(scheduler, ring_bytes=262144) for _ in range(2)]
    for client in clients:
        client.announce(1)
        client.tell()
    wanted = {client: [client.submit() for _ in range(3000)] for client in clients}
    answers = {client: [] for client in clients}
    for client in clients:
        client.tell()
    while any(len(answers[client]) < 3000 for client in clients):
        scheduler.run()
        for worker in workers:
            worker.work()
        scheduler.run()
        for client in clients:
            answers[client] += client.answers()
    for client in clients:
        assert sorted(answers[client]) == [(task, 0) for task in wanted[client]]
    scheduler.run(True)
    assert scheduler.pump.missed == 0


@pytest.mark.parametrize("seed", seeds(30))
def test_nonsense_in_rings_hurts_only_who_wrote_it(scheduler, seed):
    chance = random.Random(seed)
    client, worker = Peer(scheduler, 5), Peer(scheduler)
    hostile = [Peer(scheduler, 6), Peer(scheduler)]
    client.announce(1)
    client.tell()
    for _ in range(300):
        peer = chance.choice(hostile)
        ring = chance.choice((peer.rings.tasks, peer.rings.results, peer.rings.up))
        task = chance.choice((5, 6, 7)) << 40 | chance.choice((0, 1, 2, 1 << 39, (1 << 40) - 1))
        ring.write(
            chance.randrange(12), task, chance.randbytes(chance.randrange(60)),
            function=chance.choice((0, 1, 1 << 20, (1 << 32) - 1)), flags=chance.randrange(256) & ~1,
            status=chance.randrange(65536), attempt=chance.getrandbits(64), items=chance.getrandbits(32),
            detail=chance.getrandbits(32),
        )  # fmt: skip
        if chance.random() < 0.01:
            offset = PAGE + chance.randrange(2 * 65536 + CONTROL_BYTES) // 8 * 8
            memoryview(peer.rings.memory).cast("B")[offset : offset + RECORD_HEADER_BYTES] = chance.randbytes(
                RECORD_HEADER_BYTES
            )
        peer.tell()
        if chance.random() < 0.3:
            scheduler.run()
    scheduler.run()
    scheduler.pump.controls.clear()
    for peer in hostile:
        scheduler.pump.remove(peer.peer)
    tasks = [client.submit(b"abc") for _ in range(5)]
    client.tell()
    answers = []
    for _ in range(10):
        scheduler.run()
        worker.work()
        scheduler.run()
        answers += client.answers()
    assert answers == [(task, 0) for task in tasks]


def test_a_client_that_says_there_is_room_for_what_was_freed_is_told_the_rest(scheduler):
    client = Peer(scheduler, 5, control_bytes=1024)
    places = []
    for number in range(1, 1025):
        places.append(join_places([(5 << 40 | number, 5 << 32 | 1, 0, 100, PLACE_NEW | PLACE_HELD)]))
    client.announce(1)
    tasks = []
    for place in places:
        tasks.append(client.submit(place, flags=FLAG_OBJECTS))
        client.tell()
        scheduler.run()
        assert client.rings.up.write(KIND_CANCEL, tasks[-1]) is not None
        client.tell()
        scheduler.run()
    ids = b"".join((5 << 40 | number).to_bytes(8, "little") for number in range(1, 1025))
    for start in range(0, len(ids), 800):
        assert client.rings.tasks.write(KIND_RELEASE, 0, ids[start : start + 800]) is not None
    client.tell()
    scheduler.run()
    freed = []
    while len(freed) < 1024:
        before = len(freed)
        while (said := client.rings.down.read()) is not None:
            freed += memoryview(said[2]).cast("Q").tolist()
        assert len(freed) > before
        client.tell()
        scheduler.run()
    assert sorted(freed) == [5 << 40 | number for number in range(1, 1025)]


def test_a_flood_of_control_records_is_taken_in_turn_with_what_others_have_said(scheduler):
    flooder, other, worker = Peer(scheduler, 5, control_bytes=1 << 22), Peer(scheduler, 6), Peer(scheduler)
    for _ in range(50_000):
        assert flooder.rings.up.write(KIND_CANCEL, 5 << 40 | 77) is not None
    other.announce(1)
    task = other.submit()
    flooder.tell()
    other.tell()
    assert scheduler.pump.run(False, 0)  # one pass
    assert worker.work() == [task]
    head, tail = flooder.rings.up.positions
    assert 0 < tail < head
    scheduler.run()
    assert flooder.rings.up.positions == (head, head)
    assert other.answers() == [(task, 0)]


def test_what_is_released_in_long_records_is_taken_in_turn_with_what_others_have_said(scheduler):
    flooder, other, worker = Peer(scheduler, 5, ring_bytes=1 << 22), Peer(scheduler, 6), Peer(scheduler)
    while flooder.rings.tasks.write(KIND_RELEASE, 0, bytes(32000)) is not None:
        pass
    other.announce(1)
    task = other.submit()
    flooder.tell()
    other.tell()
    assert scheduler.pump.run(False, 0)
    assert worker.work() == [task]
    head, tail = flooder.rings.tasks.positions
    assert 0 < tail < head


def test_a_cancel_waits_for_the_tasks_before_it_though_they_take_several_turns(scheduler):
    client, worker = Peer(scheduler, 5, ring_bytes=1 << 20), Peer(scheduler)
    client.announce(1)
    tasks = [client.submit() for _ in range(5000)]
    assert client.rings.up.write(KIND_CANCEL, tasks[-1]) is not None
    client.tell()
    later = client.submit()
    answers = []
    while scheduler.core.counts()["rows"] or not answers:
        scheduler.run()
        worker.work()
        scheduler.run()
        answers += client.answers()
        client.tell()
    assert answers == [(task, 0) for task in [*tasks[:-1], later]]


def flood(pump, write):
    """One pass of the pump while another process does this to the memory of a peer. Whether there was more to do."""
    flooder = os.fork()
    if flooder == 0:
        while True:
            write()
    try:
        return in_child(lambda: pump.run(True, 0))
    finally:
        os.kill(flooder, signal.SIGKILL)
        os.waitpid(flooder, 0)


def shared_peer_memory(children_bytes=0):
    name = segment_name(new_epoch())
    memory = Segment.create(name, peer_segment_bytes(65536, 65536, children_bytes))
    Segment.unlink(name)
    lay_out_peer(memory, bytes(16), 65536, 65536, children_bytes)
    return memory


def test_children_that_are_offered_again_as_fast_as_they_are_taken_do_not_hold_a_pass(scheduler):
    worker, memory = Peer(scheduler), shared_peer_memory(CHILDREN_BYTES)
    scheduler.pump.add(memory, False, worker.doorbell, client_bits=7, worker_tag=worker.peer.tag)
    start = PAGE + 4 * 65536
    offered = struct.pack("<256Q", *[i << 2 | 1 for i in range(1, 257)])
    record = struct.pack("<IBBHIIQQIIQII", 56, KIND_TASK, 0, 0, 0, 0, 99 << 40 | 1, 0, 0, 0, 0, 0, 0)  # of nobody
    view = memoryview(memory).cast("B")
    for slot in range(256):
        view[start + 2048 + 512 * slot :][:56] = record
    words = view[start : start + 2048]
    words[:] = offered
    assert flood(scheduler.pump, lambda: words.__setitem__(slice(None), offered))
    words.release()
    view.release()


def test_a_control_ring_that_is_filled_as_fast_as_it_is_read_does_not_hold_a_pass(scheduler):
    memory = shared_peer_memory()
    doorbell = new_doorbell()
    scheduler.descriptors.append(doorbell)
    scheduler.pump.add(memory, False, doorbell, client_bits=7)
    view = memoryview(memory).cast("B")
    record = struct.pack("<IBBHIIQQIIQII", 64, KIND_CANCEL, 0, 0, 0, 0, 7 << 40 | 1, 0, 0, 0, 0, 0, 0) + bytes(8)
    view[PAGE + 2 * 65536 :][:65536] = record * 1024
    header = HEADERS_OFFSET + 2 * RING_HEADER_BYTES
    heads, tails = view[header : header + 8].cast("Q"), view[header + 64 : header + 72].cast("Q")

    def write():
        heads[0] = tails[0] + 32768

    write()
    assert flood(scheduler.pump, write)
    heads.release()
    tails.release()
    view.release()


def test_a_ring_whose_news_another_peer_has_cleared_is_looked_at_though_the_bell_never_rests(scheduler):
    client, worker = Peer(scheduler, 5), Peer(scheduler)
    client.announce(1)
    task = client.submit()
    client.sleep()
    deadline = time.monotonic() + 20
    while not (tasks := worker.work()):  # nobody says that there is news
        assert not scheduler.pump.run(limit_ns=20 * 10**9)  # however long this process is held up meanwhile
        assert time.monotonic() < deadline, "it was never looked at"
    assert tasks == [task]
    assert scheduler.pump.missed == 0  # nobody has slept
