"""Supervisor: what is done with a worker that cannot be started. Its real processes are tried in tests/e2e."""

import asyncio
import contextlib
import errno
import json
import os
import secrets
import signal
import socket
import time
from types import SimpleNamespace
from typing import cast

import pytest
import zmq

from scaler.cluster import supervisor
from scaler.cluster.roster import State
from scaler.cluster.spawn import Child
from scaler.cluster.supervisor import Supervisor
from scaler.colocation.handover import Handle, NewOwner, tell_worker
from scaler.colocation.handshake import LocalConnection, pack_address
from scaler.colocation.memory import object_memory
from scaler.config.table import ClusterConfig
from scaler.config.values import make_config
from scaler.program.descriptors import has_packet
from scaler.protocol.codec import decode, encode
from scaler.protocol.frames import Frame, Goodbye, Welcome
from tests.processes import open_descriptors


class Fake:
    """Stands for a process that was started; `ended` once somebody has seen to that."""

    def __init__(self, module, settings, stderr, variables, inherited, fork):
        assert fork is None
        self.pid, self.ended = os.getpid(), False
        self.link, self.other = os.pipe()
        self.key = "key"
        FAKES.append(self)

    def tell(self, message):
        assert message["process"] == self.key

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


def config_of(port):
    return make_config(ClusterConfig, {"address": f"tcp://127.0.0.1:{port}"})


def fail_at_first(times, function):
    """The function, which fails with EAGAIN the first few times."""
    left = [times]

    def call(*arguments):
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(errno.EAGAIN, "not just now")
        return function(*arguments)

    return call


def test_what_means_nothing_to_a_supervisor_is_counted_and_logged_and_stops_nobody(caplog):
    async def hear():
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            made = Supervisor(config_of(9), ["a"], memory=object_memory(None, 0))
            made._entry = cast(LocalConnection, SimpleNamespace(connection=ours))
            made._loop.add_reader(ours, made._on_scheduler_says)
            odd = (
                b"no json",
                b"[]",
                b"{}",
                b'{"shutdown": false}',
                b'{"said in a version to come": 1}',
                b'{"killed": []}',
            )
            for packet in odd:
                theirs.send(packet)
            made._on_scheduler_says()
            assert made.odd == len(odd)
            assert not made._stopping.is_set()
            assert not made._gone.is_set()
            assert "the scheduler says what means nothing here" in caplog.text
            theirs.send(b'{"shutdown": true}')
            made._on_scheduler_says()
            assert made._stopping.is_set()
            assert made._gone.is_set()

    asyncio.run(hear())


def test_what_means_nothing_from_a_worker_is_counted_and_what_it_brings_is_closed():
    async def hear():
        made = Supervisor(config_of(9), ["a"], memory=object_memory(None, 0))
        child = Child("tests.cluster.odd_child")
        made._children[0] = child
        before = len(open_descriptors())
        for _ in range(4):
            assert has_packet(child.link, 20)
            made._on_report(0)
        assert made.odd == 4
        child.end()
        assert len(open_descriptors()) == before - 1  # its link

    asyncio.run(hear())


@contextlib.contextmanager
def listening():
    """(a local address at which the test listens, its socket)."""
    local_address = f"scaler-test-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(pack_address(local_address))
        listener.listen()
        listener.settimeout(20)
        yield local_address, listener


def survivor(local_address, names=("a",)):
    """A supervisor with workers that have outlived their scheduler, and may be handed over at this address."""
    made = Supervisor(config_of(9), list(names), memory=object_memory(None, 0))
    made._local_address, made._template = local_address, None
    for index in range(len(names)):
        made._children[index] = child = Child("tests.cluster.odd_child")
        made._pidfds[index] = os.pidfd_open(child.pid)
        made._pipes[index] = made._stderr.open()
        made._pipes[index].started()
        made._handles[index] = Handle(os.memfd_create("rings"), os.eventfd(0), 7)
        made._loop.add_reader(made._pidfds[index], made._on_exit, index)
        made._roster.members[index].state = State.JOINED
    return made


def test_while_a_scheduler_does_not_answer_a_worker_s_end_is_noticed_and_a_stop_heard():
    async def hand_over():
        with listening() as (local_address, listener):
            made = survivor(local_address, ["a", "b"])
            handing_over = asyncio.create_task(made._hand_over())
            await asyncio.sleep(0)
            connection, _ = await asyncio.to_thread(listener.accept)
            assert has_packet(connection, 20)
            made._children[0].signal(signal.SIGKILL)
            while 0 in made._children:
                await asyncio.sleep(0.01)
            assert not handing_over.done()
            made.stop()
            assert await asyncio.wait_for(handing_over, 20) == {1}
            connection.close()
            await made._leave()
            made._stderr.close()

    before = len(open_descriptors())
    asyncio.run(hand_over())
    assert len(open_descriptors()) <= before


async def end(made):
    made.stop()
    await made._leave()
    made._stderr.close()


def fail_once(times, error, function):
    """The function, of which this one call fails."""
    calls = iter(range(1000))

    def call(*arguments):
        if next(calls) == times:
            raise error
        return function(*arguments)

    return call


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(supervisor, "AGAIN_S", 0.05)


@pytest.mark.parametrize("want", [0, 1, 2, "thread"])
def test_a_worker_that_cannot_be_handed_over_for_want_of_a_descriptor_or_a_thread_stays_and_is_later(
    monkeypatch, quick, want
):
    async def hand_over():
        with listening() as (local_address, listener):
            made = survivor(local_address)
            before = len(open_descriptors())
            with monkeypatch.context() as patch:
                if want == "thread":
                    patch.setattr(asyncio, "to_thread", fail_once(0, RuntimeError("can't start new thread"), None))
                else:
                    patch.setattr(os, "dup", fail_once(want, OSError(errno.EMFILE, "too many"), os.dup))
                assert await made._hand_over() == {0}
            assert len(open_descriptors()) == before
            working = asyncio.create_task(made._until_gone())
            connection, _ = await asyncio.to_thread(listener.accept)
            with connection:
                assert await asyncio.to_thread(has_packet, connection, 20)
            assert list(made._children) == [0]
            made.stop()
            await working
            await end(made)

    asyncio.run(hand_over())


def test_a_worker_that_a_scheduler_has_not_taken_in_is_handed_over_again_while_that_lives(quick):
    async def hand_over():
        with listening() as (local_address, listener):
            made = survivor(local_address, ["a", "b"])
            handing_over = asyncio.create_task(made._hand_over())
            for _ in range(2):
                (await asyncio.to_thread(listener.accept))[0].close()
            assert await handing_over == {0, 1}
            working = asyncio.create_task(made._until_gone())
            for _ in range(4):
                (await asyncio.to_thread(listener.accept))[0].close()
            started: list[int] = []
            connection, _ = await asyncio.to_thread(listener.accept)
            with connection:  # now it refuses: there is another worker in its place
                made._roster.running, made._start_worker = True, started.append
                no = {"ok": False, "why": "not this one"}
                await asyncio.to_thread(has_packet, connection, 20)
                connection.send(json.dumps(no).encode())
                deadline = time.monotonic() + 20
                while not started:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.01)
            assert {*started, *made._children} == {0, 1}
            made.stop()
            await working
            await end(made)

    asyncio.run(hand_over())


def test_a_worker_that_reads_nothing_of_what_it_is_told_is_not_waited_for():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        told = 0
        while tell_worker(ours, NewOwner({"local_address": "there"}, socket.socket(), os.eventfd(0))):
            told += 1
            assert told < 100_000
        assert told
        theirs.close()
        assert tell_worker(ours, NewOwner({}, socket.socket(), os.eventfd(0)))  # gone, which is noticed otherwise


@pytest.mark.parametrize("ends", ["hang-up", "stop", "cancel"])
def test_a_scheduler_of_this_host_that_does_not_open_is_greeted_again_and_nothing_is_left(quick, ends):
    async def connect():
        with listening() as (local_address, listener), zmq.Context() as context, context.socket(zmq.ROUTER) as router:
            port = router.bind_to_random_port("tcp://127.0.0.1")

            async def greet():
                assert await asyncio.to_thread(router.poll, 20_000)
                routing_id, *_ = router.recv_multipart()
                welcome = Welcome(1, bytes(16), local_address=local_address, heartbeat_ms=200)
                router.send_multipart([routing_id, encode(Frame(welcome))])

            made = Supervisor(config_of(port), ["a"], memory=object_memory(None, 0))
            serving = asyncio.create_task(made.serve())
            for _ in range(2 if ends == "hang-up" else 0):
                await greet()
                (await asyncio.to_thread(listener.accept))[0].close()
                assert await asyncio.to_thread(router.poll, 20_000)
                assert isinstance(decode(router.recv_multipart()[1]).body, Goodbye)
            assert made._relay is None
            await greet()
            connection, _ = await asyncio.to_thread(listener.accept)
            assert await asyncio.to_thread(has_packet, connection, 20)
            if ends == "cancel":
                serving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await serving
            else:
                made.stop()
                await serving
            connection.close()

    before = len(open_descriptors())
    asyncio.run(connect())
    assert len(open_descriptors()) <= before


@pytest.mark.parametrize("place", ["process", "pidfd"])
def test_a_worker_that_cannot_be_started_is_tried_again(monkeypatch, place):
    monkeypatch.setattr(supervisor, "Child", fail_at_first(3, Fake) if place == "process" else Fake)
    if place == "pidfd":
        monkeypatch.setattr(os, "pidfd_open", fail_at_first(3, os.pidfd_open))

    async def start():
        made = Supervisor(config_of(9), ["a", "b"], memory=object_memory(None, 0))
        made._template = None
        made._start(made._roster.on_connected(time.monotonic()))
        deadline = time.monotonic() + 20
        while len(made._children) < 2:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert [at.state for at in made._roster.members if not at.is_spare] == [State.STARTING] * 2
        assert made._timer is None
        for index in (0, 1):
            assert not cast(Fake, made._forget(index)).ended

    asyncio.run(start())
    assert [fake.ended for fake in FAKES].count(False) == 2
