"""Futures that are done, and how threads and callbacks hear of it."""

import threading

import pytest

from scaler._native import (
    QuickCallback,
)
from scaler.client.background import BackgroundThread
from tests.native.client.played_scheduler import Waiter, watch
from tests.processes import wait_until

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


def test_a_waiter_that_raises_keeps_no_other_from_hearing(scheduler):
    future, second = scheduler.submit(), Waiter()
    watch(future, Waiter(MemoryError()), second)
    scheduler.answer(future, 1)
    with pytest.raises(MemoryError):
        scheduler.client.look() or scheduler.client.call_back()
    assert second.heard == [future]
    assert future._state == "FINISHED"


def test_only_the_background_thread_tells_what_the_standard_library_waits_with(scheduler):
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


def test_a_thread_that_holds_a_futures_condition_holds_up_no_thread_that_reads_results(scheduler):
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


def test_code_that_runs_as_a_waiter_is_told_finds_every_result_there(scheduler):
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
    scheduler.client.notifier.run_callbacks()
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
    assert scheduler.client.notifier.needs_caller
    scheduler.client.notifier.run_callbacks()
    assert called == ["quick", "slow", "slower"]
    assert not scheduler.client.notifier.needs_caller


def test_there_is_a_thread_for_callbacks_from_the_first_that_is_due(scheduler):
    before = set(threading.enumerate())

    def names():
        return [thread.name for thread in threading.enumerate() if thread not in before]

    called = []
    future, awaited = scheduler.submit(), scheduler.submit()
    background = BackgroundThread(scheduler.client, scheduler.event)
    awaited.add_done_callback(QuickCallback(called.append))
    scheduler.answer(awaited, 1)
    wait_until(lambda: called == [awaited])
    assert names() == ["scaler-client"]
    future.add_done_callback(lambda _: called.append(threading.current_thread().name))
    scheduler.answer(future, 1)
    wait_until(lambda: len(called) == 2)
    assert called[1] == "scaler-callbacks"
    background.stop()
    assert names() == []


def test_without_a_thread_for_callbacks_they_run_in_the_background_thread(scheduler, monkeypatch):
    background = BackgroundThread(scheduler.client, scheduler.event)

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
    background.stop()


def test_a_callback_that_is_added_while_its_future_ends_is_not_lost(scheduler):
    called = []
    for _ in range(300):
        future = scheduler.submit()
        adder = threading.Thread(target=future.add_done_callback, args=(called.append,))
        adder.start()
        scheduler.answer(future, 1)
        assert future.result(20) == 1
        adder.join()
        scheduler.client.notifier.run_callbacks()
        assert called.pop() is future


def test_a_callback_that_raises_to_end_its_thread_keeps_no_other_from_being_called(scheduler, caplog):
    def leave(future):
        raise SystemExit

    called = []
    first, second = scheduler.submit(), scheduler.submit()
    for future in (first, second):
        future.add_done_callback(leave)
        future.add_done_callback(called.append)
    background = BackgroundThread(scheduler.client, scheduler.event)
    scheduler.answer(first, 1)
    wait_until(lambda: first in called)
    scheduler.answer(second, 2)
    wait_until(lambda: second in called)
    background.stop()
    assert "SystemExit" in caplog.text


def test_the_background_thread_goes_on_though_something_raises(scheduler, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Condition", interrupted_by(RuntimeError("no")))
        first = scheduler.submit()
        called = []
        first.add_done_callback(called.append)
    second = scheduler.submit()
    second.add_done_callback(called.append)
    background = BackgroundThread(scheduler.client, scheduler.event)
    scheduler.answer(first, 1)
    wait_until(lambda: first in called)
    scheduler.answer(second, 2)
    wait_until(lambda: second in called)
    background.stop()
    assert "begins anew" in caplog.text
