"""BlockingCall: what its thread uses is closed once, and what it brings goes to whoever wants it, or is dropped."""

import asyncio
import threading

import pytest

from scaler.program.blocking_call import BlockingCall, in_thread
from tests.processes import wait_until


class Kept:
    """What a call uses, what was dropped, and a call that ends when the test says so."""

    def __init__(self):
        self.closed, self.dropped = 0, []
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def close(self):
        self.closed += 1

    def do(self, is_given_up):
        self.has_begun.set()
        assert self.may_end.wait(20)
        return is_given_up()

    def blocking_call(self):
        return BlockingCall(self.do, drop=self.dropped.append, close=self.close)


def test_who_awaits_it_has_what_it_brings():
    kept = Kept()
    kept.may_end.set()
    assert asyncio.run(kept.blocking_call().outcome()) is False
    assert (kept.closed, kept.dropped) == (1, [])


def test_what_its_thread_uses_stays_open_when_nobody_awaits_it_any_more_and_what_it_brings_is_dropped():
    kept = Kept()

    async def cancel():
        waiting = asyncio.create_task(kept.blocking_call().outcome())
        await asyncio.to_thread(kept.has_begun.wait, 20)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert kept.closed == 0
        kept.may_end.set()

    asyncio.run(cancel())
    wait_until(lambda: kept.dropped)
    assert (kept.closed, kept.dropped) == (1, [True])


def test_one_that_has_come_and_is_not_wanted_is_dropped_once():
    kept = Kept()
    kept.may_end.set()
    blocking_call = kept.blocking_call()
    asyncio.run(blocking_call.outcome())
    blocking_call.give_up()
    blocking_call.give_up()
    assert (kept.closed, kept.dropped) == (1, [False])


def test_where_no_thread_can_be_started_it_is_closed_at_once_and_not_done_later(monkeypatch):
    kept = Kept()
    kept.may_end.set()
    start = threading.Thread.start

    async def fail():
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="can't start"):
                await kept.blocking_call().outcome()
        assert (kept.closed, kept.has_begun.is_set()) == (1, False)
        assert threading.Thread.start is start
        await asyncio.to_thread(lambda: None)  # which has the pool's first thread take what was queued

    asyncio.run(fail())
    assert (kept.closed, kept.dropped, kept.has_begun.is_set()) == (1, [], False)


def test_one_that_fails_is_closed_once():
    kept = Kept()

    def fail(_):
        raise ValueError("not today")

    with pytest.raises(ValueError, match="not today"):
        asyncio.run(BlockingCall(fail, drop=kept.dropped.append, close=kept.close).outcome())
    assert (kept.closed, kept.dropped) == (1, [])


@pytest.mark.parametrize("has_thread", [True, False])
def test_what_must_be_done_is_done_here_where_no_thread_can_be_started(monkeypatch, has_thread):
    done = []

    async def do():
        with monkeypatch.context() as patch:
            if not has_thread:
                patch.setattr(threading.Thread, "start", refuse)
            await in_thread(lambda word: done.append((word, threading.current_thread())), "a word")

    asyncio.run(do())
    assert [word for word, _ in done][:1] == ["a word"]
    assert (done[0][1] is threading.main_thread()) is not has_thread


def refuse(*_):
    raise RuntimeError("can't start new thread")
