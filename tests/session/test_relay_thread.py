"""The relay's thread: its owner hears of whatever ends it, and nothing is taken away while it may still use it."""

import os
import threading

import pytest
import zmq

from scaler._native import Mappings, Relay, Segment, Store
from scaler.colocation.names import new_epoch, object_folder
from scaler.protocol.frames import Hello, Tasks, Welcome
from scaler.session import relay_thread
from scaler.session.client_relay import RELAY_TAG
from scaler.session.cluster_at_relay import ClusterAtRelay
from scaler.session.dealer import Dealer
from scaler.session.relay_thread import RelayThread
from tests.processes import wait_until
from tests.sim.wire import Stopper


@pytest.fixture
def address():
    """Where somebody listens and never answers."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.LINGER, 0)
        port = router.bind_to_random_port("tcp://127.0.0.1")
        yield f"tcp://127.0.0.1:{port}"


@pytest.fixture
def over():
    return []


@pytest.fixture
def thread(address, over):
    epoch, bell = new_epoch(), os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    relay = Relay(Segment.private(4096), bell, False)
    store, mappings = Store(epoch, RELAY_TAG, object_folder()), Mappings(epoch, object_folder())
    side = ClusterAtRelay(relay, epoch, object_folder(), store, mappings, lambda peer: None, Stopper())
    welcome = Welcome(epoch=1, session=b"s" * 16, heartbeat_ms=60_000)
    made = RelayThread(address, Dealer(address), Hello(), welcome, side, timeout_s=5, on_over=over.append)
    made.start()
    yield made
    made.stop()
    wait_until(lambda: not made._thread.is_alive())
    os.close(bell)


@pytest.mark.parametrize("error", [RuntimeError("odd"), ValueError("odd"), MemoryError("odd")])
def test_whatever_ends_the_thread_its_owner_hears_of_it_and_the_log_says_where(thread, over, caplog, error):
    def fail():
        raise error

    thread.call(fail)
    wait_until(lambda: over)
    assert over == [f"the relay failed: {type(error).__name__}: odd"]
    assert caplog.text.count("in fail") == 1


def test_its_owner_hears_of_it_though_the_end_fails_too(thread, over, caplog, monkeypatch):
    real_close = thread._dealer.close

    def close(linger_ms=0):
        real_close(linger_ms)
        raise OSError("odd, too")

    monkeypatch.setattr(thread._dealer, "close", close)
    thread.call(lambda: 1 / 0)
    wait_until(lambda: over)
    assert "ZeroDivisionError" in over[0]
    wait_until(lambda: "odd, too" in caplog.text)


def test_what_a_thread_that_does_not_end_in_time_uses_is_given_up_by_that(thread, over, monkeypatch, caplog):
    monkeypatch.setattr(relay_thread, "STOP_S", 0.05)
    begun, gate, given_up = threading.Event(), threading.Event(), []
    thread.call(lambda: (begun.set(), gate.wait(20)))
    assert begun.wait(20)
    thread.stop()
    thread.give_up(lambda: given_up.append(threading.current_thread().name))
    assert given_up == []
    assert "scaler-relay" in caplog.text
    gate.set()
    wait_until(lambda: given_up)
    assert given_up == ["scaler-relay"]
    assert over == []  # it was stopped from here


def test_what_a_thread_that_has_ended_used_is_given_up_at_once(thread):
    given_up = []
    thread.stop()
    thread.give_up(lambda: given_up.append(threading.current_thread()))
    assert given_up == [threading.current_thread()]


def test_a_thread_may_stop_itself_and_gives_up_what_it_uses_as_the_last(thread, over):
    given_up = []

    def stop():
        thread.stop()
        thread.give_up(lambda: given_up.append(threading.current_thread().name))
        assert given_up == []

    thread.call(stop)
    wait_until(lambda: given_up)
    assert given_up == ["scaler-relay"]
    assert over == []


def test_a_batch_that_makes_no_sense_ends_the_session_with_a_sentence(thread, over, caplog):
    thread.call(lambda: thread._side.on_body(Tasks(tasks=bytes(8))))
    wait_until(lambda: over)
    assert over[0] == "row 0: peers: a number that was never given out"
    assert [record.exc_info for record in caplog.records if record.name == "scaler.session.relay_thread"] == [None]
