"""Supervisor: what is done with a worker that cannot be started. Its real processes are tried in tests/e2e."""

import asyncio
import errno
import os
import time

import pytest

from scaler.cluster import supervisor
from scaler.cluster.roster import State
from scaler.cluster.supervisor import Supervisor, WorkerSettings
from scaler.link.memory import object_memory


class Fake:
    """Stands for a process that was started; `ended` once somebody has seen to that."""

    def __init__(self, module, settings, stderr, variables):
        self.pid, self.ended = os.getpid(), False
        self.link, self.other = os.pipe()
        FAKES.append(self)

    def end(self, grace_s):
        self.ended = True


FAKES = []


@pytest.fixture(autouse=True)
def no_fakes():
    FAKES.clear()
    yield
    for fake in FAKES:
        os.close(fake.link)
        os.close(fake.other)


def fail_at_first(times, function):
    """The function, which fails with EAGAIN the first few times."""
    left = [times]

    def call(*arguments):
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(errno.EAGAIN, "not just now")
        return function(*arguments)

    return call


@pytest.mark.parametrize("place", ["process", "pidfd"])
def test_a_worker_that_cannot_be_started_is_tried_again(monkeypatch, place):
    monkeypatch.setattr(supervisor, "Child", fail_at_first(3, Fake) if place == "process" else Fake)
    if place == "pidfd":
        monkeypatch.setattr(os, "pidfd_open", fail_at_first(3, os.pidfd_open))

    async def start():
        made = Supervisor("tcp://127.0.0.1:9", ["a", "b"], WorkerSettings(), memory=object_memory(None, 0))
        made._start(made._roster.on_connected(time.monotonic()))
        deadline = time.monotonic() + 20
        while len(made._children) < 2:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert [at.state for at in made._roster.places if not at.is_spare] == [State.STARTING] * 2
        assert made._timer is None
        for index in (0, 1):
            assert not made._forget(index).ended

    asyncio.run(start())
    assert [fake.ended for fake in FAKES].count(False) == 2
