"""One ZeroMQ context for a process, as long as anything of it talks to a scheduler."""

import os
import threading

import pytest
import zmq

from scaler.exceptions import SchedulerTimeoutError
from scaler.protocol.frames import Role
from scaler.session import contexts
from scaler.session.contexts import held_context, release_context, take_context
from scaler.session.dealer import Dealer, greet, new_hello


def test_all_that_hold_it_have_the_same_and_it_goes_with_the_last() -> None:
    first = take_context()
    assert take_context() is first
    release_context(first)
    assert not first.closed
    release_context(first)
    assert first.closed
    with held_context():
        assert take_context() is not first
        release_context(contexts._context)
    assert contexts._context is None


def test_all_attempts_to_reach_a_scheduler_are_made_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    new = zmq.Context

    def count() -> contexts.Context:
        made.append(new())
        return made[-1]

    monkeypatch.setattr(zmq, "Context", count)
    threads = threading.active_count()
    with pytest.raises(SchedulerTimeoutError):
        greet("tcp://127.0.0.1:1", lambda: new_hello(Role.CLIENT, b"one", client_bits=1), 1.0)
    assert len(made) == 1
    assert made[0].closed
    assert threading.active_count() == threads


def test_what_cannot_be_connected_to_keeps_nothing() -> None:
    with pytest.raises(ValueError, match="is no address to connect to"):
        Dealer("tcp://nothing")
    assert contexts._context is None


def test_a_forked_child_has_one_of_its_own() -> None:
    context = take_context()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        mine = take_context()
        release_context(context)  # its parent's: nothing happens
        answer = mine is not context and not mine.closed
        release_context(mine)
        os.write(writer, b"y" if answer and mine.closed else b"n")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1) == b"y"
    os.close(reader)
    os.close(writer)
    assert not context.closed
    release_context(context)
