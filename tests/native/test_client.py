"""A client's side of its rings, with the scheduler played by the test."""

import concurrent.futures
import gc
import os
import pickle
import threading
import time

import pytest

from scaler._native import (
    CHILDREN_BYTES,
    FLAG_PLAIN,
    HEADERS_OFFSET,
    PAGE,
    PLACE_NEW,
    RECORD_HEADER_BYTES,
    RING_HEADER_BYTES,
    Children,
    ClientRings,
    Mappings,
    Nest,
    QuickCallback,
    Segment,
    Store,
    WakeUp,
    join_places,
    lay_out_peer,
    pack_inputs,
    pack_supply,
    peer_segment_bytes,
)
from scaler.client.attendant import Attendant
from scaler.client.future import ScalerFuture
from scaler.client.objects import WithInputs
from scaler.colocation.doorbell import new_doorbell
from scaler.exceptions import DisconnectedError
from scaler.values import payload
from tests.processes import wait_until
from tests.sim.wire import CONTROL_BYTES, Rings

CANCEL, RESULT, CLEAR, WORKERS, FREED = 4, 2, 6, 9, 11
OBJECTS = 1
LIFE = "0123456789abcdef"


class Scheduler:
    """The other end of a client's rings."""

    children: Children  # of a client in a worker

    def __init__(self, ring_bytes=65536, nest=None):
        self.rings = Rings(ring_bytes)
        self.lifeline, self.line = os.pipe()
        self.bells = [new_doorbell(), os.eventfd(0, os.EFD_NONBLOCK)]
        self.event, self.store = WakeUp(), Store(LIFE, 5, "/tmp")
        self.client = ClientRings(
            self.rings.memory, self.bells[0], Segment.private(PAGE), 0, self.bells[1], self.lifeline, 5,
            ScalerFuture, self.store, Mappings(LIFE, "/tmp"),
            load=payload.load_result, callback_error=lambda future: None, watched_event=self.event,
            scheduler_gone=lambda: DisconnectedError("gone"), nest=nest,
        )  # fmt: skip

    def submit(self):
        """A task, whose record is taken at once."""
        future = self.client.submit(1, (), None, lambda value, most_bytes: pickle.dumps(value))
        while self.rings.tasks.read() is not None:
            pass
        return future

    def answer(self, future, value, flags=0):
        data = value if isinstance(value, bytes) else pickle.dumps(value)
        assert self.rings.results.write(RESULT, future.task_id, data, flags=flags) is not None

    def is_waited_for(self, ring):
        """Whether the client waits for room in this ring: 0 of tasks, 2 of what it says besides."""
        return memoryview(self.rings.memory)[HEADERS_OFFSET + 72 + ring * RING_HEADER_BYTES] == 1

    def die(self):
        os.close(self.line)
        self.line = -1

    def close(self):
        self.client.leave(DisconnectedError("the test is over"))
        self.store.close()
        for descriptor in (self.lifeline, self.line, *self.bells):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def scheduler():
    made = Scheduler()
    yield made
    made.close()


def fill_up_ring(scheduler):
    for _ in range(CONTROL_BYTES // RECORD_HEADER_BYTES):
        scheduler.client.control(CANCEL)


def test_thousands_are_cancelled_though_who_reads_that_is_a_thread_of_this_process(scheduler):
    futures = [scheduler.submit() for _ in range(5000)]
    heard = []

    def read():
        while len(heard) < len(futures):
            record = scheduler.rings.up.read()
            if record is not None:
                heard.append(record[1])

    reader = threading.Thread(target=read)
    reader.start()
    assert all(future.cancel() for future in futures)
    while reader.is_alive():
        scheduler.client.tend()
    reader.join(60)
    assert heard == [future.task_id for future in futures]


def test_a_cancel_never_waits_and_is_said_when_there_is_room(scheduler):
    futures = [scheduler.submit() for _ in range(5000)]
    called = []
    futures[0].add_done_callback(called.append)
    fill_up_ring(scheduler)
    assert all(future.cancel() for future in futures)  # nobody reads
    assert called == [futures[0]]
    heard = []
    attendant = Attendant(scheduler.client, scheduler.event)
    while len(heard) < len(futures):
        record = scheduler.rings.up.read()
        if record is not None and record[1]:
            heard.append(record[1])
    attendant.stop()
    assert heard == [future.task_id for future in futures]


def test_a_cancel_after_the_scheduler_has_gone_is_no_error(scheduler):
    future, other = scheduler.submit(), scheduler.submit()
    fill_up_ring(scheduler)
    scheduler.die()
    assert future.cancel()
    scheduler.client.check_scheduler()
    assert future.cancelled()
    assert isinstance(other.exception(0), DisconnectedError)
    assert not other.cancel()


def test_results_are_taken_by_who_submits_when_the_ring_is_half_full(scheduler):
    first = scheduler.submit()
    scheduler.answer(first, 1)
    assert first.result(20) == 1
    futures = [scheduler.submit() for _ in range(5)]
    for future in futures:
        scheduler.answer(future, b"x" * (scheduler.rings.most_inline - 8), FLAG_PLAIN)
    scheduler.submit()
    assert all(future.is_over for future in futures)


def test_pages_of_futures_go_though_one_task_stays_open(scheduler):
    def work():
        future = scheduler.submit()
        scheduler.answer(future, 1)
        assert future.done()

    open_task = scheduler.submit()
    for _ in range(4096 * 5):
        work()
    assert scheduler.client.page_count == 2
    assert scheduler.client.open_tasks == 1
    scheduler.answer(open_task, 2)
    assert open_task.result(20) == 2
    assert scheduler.client.page_count == 1


def test_a_result_that_makes_no_sense_is_its_futures_failure(scheduler):
    broken, good = scheduler.submit(), scheduler.submit()
    scheduler.answer(broken, b"\x80\x05\x8c\x02\xff\xff.", FLAG_PLAIN)  # no UTF-8
    scheduler.answer(good, 1)
    assert good.result(20) == 1
    assert isinstance(broken.exception(20), ValueError)


Condition = threading.Condition


class Interrupted:
    """A Condition that a signal interrupts as those who wait are to be told for the first time."""

    def __init__(self):
        self.condition, self.told = Condition(), 0

    def __enter__(self):
        return self.condition.__enter__()

    def __exit__(self, *about):
        return self.condition.__exit__(*about)

    def notify_all(self):
        self.told += 1
        if self.told == 1:
            raise self.error
        self.condition.notify_all()

    def __getattr__(self, name):
        return getattr(self.condition, name)


def interrupted_by(error):
    return type("InterruptedBy", (Interrupted,), {"error": error})


class Waiter:
    """What the standard library waits with."""

    def __init__(self, error=None):
        self.event, self.heard, self._error = threading.Event(), [], error
        self.lock = threading.Lock()

    def add_result(self, future):
        if self._error is not None:
            raise self._error
        with self.lock:
            self.heard.append(future)


def watch(future, *waiters):
    with future._condition:
        future._waiters.extend(waiters)


def test_a_waiter_that_raises_keeps_no_other_from_hearing(scheduler):
    future, second = scheduler.submit(), Waiter()
    watch(future, Waiter(MemoryError()), second)
    scheduler.answer(future, 1)
    with pytest.raises(MemoryError):
        scheduler.client.look() or scheduler.client.call_back()
    assert second.heard == [future]
    assert future._state == "FINISHED"


def test_only_the_clients_own_thread_tells_what_the_standard_library_waits_with(scheduler):
    future, waiter = scheduler.submit(), Waiter()
    watch(future, waiter)
    scheduler.answer(future, 1)
    assert future.done()
    assert (future._state, waiter.heard) == ("RUNNING", [])
    with waiter.lock:  # as the code has it that is interrupted
        scheduler.client.call_back()
    assert (future._state, waiter.heard) == ("RUNNING", [])
    with future._condition:
        scheduler.client.call_back()
    assert (future._state, waiter.heard) == ("RUNNING", [])
    scheduler.client.call_back()
    assert (future._state, waiter.heard) == ("FINISHED", [future])


def test_who_holds_a_futures_condition_holds_up_nobody_who_reads_results(scheduler):
    held, other = scheduler.submit(), scheduler.submit()
    taken, done = threading.Event(), threading.Event()

    def hold():
        with held._condition:
            taken.set()
            assert done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(20)
    scheduler.answer(held, 1)
    scheduler.answer(other, 2)
    assert other.result(20) == 2
    assert held.result(20) == 1
    assert held._state == "RUNNING"  # to those who look under its condition
    done.set()
    thread.join()
    scheduler.client.look()
    assert held._state == "FINISHED"


def test_code_that_runs_as_who_waits_is_told_finds_every_result_there(scheduler):
    inner = []

    class Nosy(Waiter):
        def add_result(self, future):
            scheduler.answer(other, 2)
            inner.append((future.result(20), other.result(20)))
            super().add_result(future)

    future, other, nosy, last = scheduler.submit(), scheduler.submit(), Nosy(), Waiter()
    watch(future, nosy)
    watch(other, last)
    scheduler.answer(future, 1)
    assert future.result(20) == 1
    scheduler.client.call_back()
    assert inner == [(1, 2)]
    scheduler.client.call_back()
    assert (nosy.heard, last.heard) == ([future], [other])


def test_a_finalizer_that_submits_as_a_page_of_futures_is_made_loses_none(scheduler):
    futures = []

    class Finalized:
        def __init__(self):
            self.itself = self

        def __del__(self):
            futures.append(scheduler.submit())

    threshold = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        while scheduler.client.page_count < 3:
            Finalized()
            futures.append(scheduler.submit())
    finally:
        gc.set_threshold(*threshold)
    assert len({future.task_id for future in futures}) == len(futures) == scheduler.client.open_tasks


def test_an_interrupt_in_the_midst_of_draining_loses_no_result(scheduler, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Condition", interrupted_by(KeyboardInterrupt()))
        future = scheduler.submit()
        called = []
        future.add_done_callback(called.append)
    scheduler.answer(future, 1)
    with pytest.raises(KeyboardInterrupt):
        future.done()
    assert future.result(20) == 1
    scheduler.client.look()
    assert scheduler.client.strays == 0
    assert len(set(scheduler.rings.results.positions)) == 1
    scheduler.client.run_callbacks()
    assert called == [future]


def test_only_quick_callbacks_run_in_the_thread_that_serves_everybody(scheduler):
    future, called = scheduler.submit(), []
    future.add_done_callback(lambda _: called.append("slow"))
    future.add_done_callback(QuickCallback(lambda _: called.append("quick")))
    future.add_done_callback(lambda _: called.append("slower"))
    scheduler.answer(future, 1)
    assert future.done()
    scheduler.client.call_back()
    assert called == ["quick"]
    assert scheduler.client.needs_caller
    scheduler.client.run_callbacks()
    assert called == ["quick", "slow", "slower"]
    assert not scheduler.client.needs_caller


def test_there_is_a_thread_for_callbacks_from_the_first_that_is_due(scheduler):
    before = set(threading.enumerate())

    def names():
        return [thread.name for thread in threading.enumerate() if thread not in before]

    called = []
    future, awaited = scheduler.submit(), scheduler.submit()
    attendant = Attendant(scheduler.client, scheduler.event)
    awaited.add_done_callback(QuickCallback(called.append))
    scheduler.answer(awaited, 1)
    wait_until(lambda: called == [awaited])
    assert names() == ["scaler-client"]
    future.add_done_callback(lambda _: called.append(threading.current_thread().name))
    scheduler.answer(future, 1)
    wait_until(lambda: len(called) == 2)
    assert called[1] == "scaler-callbacks"
    attendant.stop()
    assert names() == []


def test_without_a_thread_for_callbacks_they_run_in_the_clients_own(scheduler, monkeypatch):
    attendant = Attendant(scheduler.client, scheduler.event)

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    called = []
    future = scheduler.submit()
    future.add_done_callback(lambda _: called.append(threading.current_thread().name))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        scheduler.answer(future, 1)
        wait_until(lambda: called)
    assert called == ["scaler-client"]
    attendant.stop()


def test_a_callback_that_is_added_while_its_future_ends_is_not_lost(scheduler):
    called = []
    for _ in range(300):
        future = scheduler.submit()
        adder = threading.Thread(target=future.add_done_callback, args=(called.append,))
        adder.start()
        scheduler.answer(future, 1)
        assert future.result(20) == 1
        adder.join()
        scheduler.client.run_callbacks()
        assert called.pop() is future


def test_a_callback_that_raises_to_end_its_thread_keeps_no_other_from_being_called(scheduler, caplog):
    def leave(future):
        raise SystemExit

    called = []
    first, second = scheduler.submit(), scheduler.submit()
    for future in (first, second):
        future.add_done_callback(leave)
        future.add_done_callback(called.append)
    attendant = Attendant(scheduler.client, scheduler.event)
    scheduler.answer(first, 1)
    wait_until(lambda: first in called)
    scheduler.answer(second, 2)
    wait_until(lambda: second in called)
    attendant.stop()
    assert "SystemExit" in caplog.text


def test_the_clients_thread_goes_on_though_something_raises(scheduler, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Condition", interrupted_by(RuntimeError("no")))
        first = scheduler.submit()
        called = []
        first.add_done_callback(called.append)
    second = scheduler.submit()
    second.add_done_callback(called.append)
    attendant = Attendant(scheduler.client, scheduler.event)
    scheduler.answer(first, 1)
    wait_until(lambda: first in called)
    scheduler.answer(second, 2)
    wait_until(lambda: second in called)
    attendant.stop()
    assert "begins anew" in caplog.text


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_finds_its_parents_futures_cancelled_and_leaves_the_rings_alone(scheduler):
    plain, waited_for, locked, answered = (scheduler.submit() for _ in range(4))
    called = []
    waited_for.add_done_callback(called.append)
    scheduler.answer(answered, 1)
    with locked._condition:  # by a thread of the parent, as far as the child can tell
        child = os.fork()
    if child == 0:
        status = 1
        try:
            scheduler.client.abandon()
            scheduler.client.leave(DisconnectedError("forked"))
            plain.cancel()
            assert answered.done()
            assert concurrent.futures.wait([plain, waited_for, locked, answered], 20).not_done == set()
            assert all(future.cancelled() for future in (plain, waited_for, locked, answered))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    scheduler.answer(waited_for, 2)
    assert [answered.result(20), waited_for.result(20)] == [1, 2]
    assert scheduler.rings.up.read() is None


# calls are cancelled while others are made


def test_what_is_submitted_while_a_clear_waits_for_room_is_not_cleared(scheduler):
    before = scheduler.submit()
    fill_up_ring(scheduler)
    clearing = threading.Thread(target=scheduler.client.clear)
    clearing.start()
    wait_until(lambda: scheduler.is_waited_for(2))
    after = scheduler.submit()
    while (record := scheduler.rings.up.read()) is None or record[0] != CLEAR:
        pass
    clearing.join()
    assert before.cancelled()
    assert before.task_id < record[1] <= after.task_id
    assert not after.done()
    scheduler.answer(after, 7)
    assert after.result(0) == 7


# objects that are free


def test_an_object_is_freed_once_the_results_have_been_taken_that_came_before(scheduler):
    store = scheduler.store
    objects = [store.put(bytes(100_000), PLACE_NEW)[0] for _ in range(2)]
    future = scheduler.submit()
    assert scheduler.rings.results.write(RESULT, future.task_id, pickle.dumps(7)) is not None
    assert scheduler.rings.down.write(FREED, 0, objects[0].to_bytes(8, "little")) is not None
    scheduler.client.count_workers()  # reads what the scheduler says besides
    assert is_there(store, objects[0])
    assert future.result(0) == 7
    assert not is_there(store, objects[0])
    assert scheduler.rings.down.write(FREED, 0, objects[1].to_bytes(8, "little")) is not None
    scheduler.client.count_workers()
    assert not is_there(store, objects[1])


def test_nothing_is_freed_any_more_when_a_result_went_with_the_scheduler(scheduler):
    """Its task is sent again to the next one, and may name what this one says is free."""
    kept = scheduler.store.put(bytes(100_000), PLACE_NEW)[0]
    future = scheduler.submit()
    gone = join_places([(7 << 40 | 1, 7 << 32 | 1, 0, 100_000, PLACE_NEW)])
    scheduler.answer(future, gone, OBJECTS)
    scheduler.die()
    assert scheduler.rings.down.write(FREED, 0, kept.to_bytes(8, "little")) is not None
    scheduler.client.look()
    scheduler.client.count_workers()
    assert not future.done()
    assert is_there(scheduler.store, kept)


def is_there(store, object_id):
    try:
        store.place_of(object_id)
    except KeyError:
        return False
    return True


# results that are handed in


def test_who_comes_while_a_result_is_handed_in_gets_it_too(scheduler):
    future = scheduler.submit()
    late = []

    class Supply:
        """As `ClientObjects.pack_result` makes it; another thread submits while it is tidied away."""

        payload, flags, is_written = pack_supply(0) + b"value", 0, False

        def end(self):
            if not late:
                late.append(scheduler.client.submit(1, (future,), None, name_future))

    def name_future(value, most_bytes):
        return WithInputs(pack_inputs([future.task_id], 0, 0, False) + b"rest", {future: 0})

    scheduler.client.pack_value = lambda *_: Supply()
    first = scheduler.client.submit(1, (future,), None, name_future)
    scheduler.answer(future, 1)
    assert future.result(0) == 1
    for _ in range(3):
        scheduler.client.call_back()
    supplied = [record[1] for record in iter(scheduler.rings.tasks.read, None)]
    assert supplied.count(future.task_id) == 2
    assert supplied.index(first.task_id) < supplied.index(future.task_id) < supplied.index(late[0].task_id)
    assert supplied[-1] == future.task_id


# children


@pytest.fixture
def parent():
    """The client of a worker's tasks, whose children go to a scheduler elsewhere."""
    memory = Segment.private(peer_segment_bytes(4096, 4096, CHILDREN_BYTES))
    lay_out_peer(memory, bytes(16), 4096, 4096, CHILDREN_BYTES)
    nest = Nest(
        memory, Mappings(LIFE, "/tmp"), loads=pickle.loads, loads_parcel=lambda data, loan, buffers: pickle.loads(data),
        dumps=payload.dumps_result, describe=payload.describe, finish=lambda value: value,
        load_function=lambda data, flags, copy: pickle.loads(data),
        stop_with=KeyboardInterrupt, sends_old=True,
    )  # fmt: skip
    made = Scheduler(1024, nest)
    made.children = Children(memory)
    yield made
    made.close()


def test_each_child_is_sent_once_whoever_submits_while_there_is_no_room(parent):
    client = parent.client
    futures = [client.submit(1, (number,), None, None) for number in range(30)]
    assert parent.rings.down.write(WORKERS, items=50) is not None  # so many are sent at a time, and one
    client.serve_nest()  # from now on these are old
    time.sleep(0.06)
    sending = threading.Thread(target=client.serve_nest)
    sending.start()
    wait_until(lambda: parent.is_waited_for(0))
    futures += [client.submit(1, (number,), None, None) for number in range(20)]
    sent = []
    while len(sent) < len(futures):
        sent += [record[1] for record in iter(parent.rings.tasks.read, None)]
        if not sending.is_alive():
            sending = threading.Thread(target=client.serve_nest)
            sending.start()
    sending.join()
    assert sorted(sent) == [future.task_id for future in futures]
    assert parent.children.steal() is None


def test_children_that_are_cleared_are_for_nobody(parent):
    futures = [parent.client.submit(1, (number,), None, None) for number in range(5)]
    parent.client.clear()
    assert all(future.cancelled() for future in futures)
    assert parent.children.steal() is None
