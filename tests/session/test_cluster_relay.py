"""ClusterRelay: a session that cannot be begun leaves nothing, takes no worker along, and may be tried again."""

import asyncio
import threading
from contextlib import closing
from typing import cast

import pytest
import zmq

from scaler.cluster import supervisor
from scaler.cluster.supervisor import Supervisor
from scaler.colocation.handshake import handshake
from scaler.colocation.memory import object_memory
from scaler.config.table import ClusterConfig
from scaler.config.values import make_config
from scaler.protocol.frames import Hello, Welcome
from scaler.session import cluster_relay
from scaler.session.cluster_relay import ClusterRelay, new_bell_page
from scaler.session.dealer import Dealer
from scaler.session.relay_thread import RelayThread
from tests.processes import open_descriptors, wait_until


@pytest.fixture
def address():
    """Where somebody listens and never answers."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.LINGER, 0)
        yield f"tcp://127.0.0.1:{router.bind_to_random_port('tcp://127.0.0.1')}"


def welcome_of(epoch):
    return Welcome(epoch=epoch, session=b"s" * 16, heartbeat_ms=60_000)


def new_relay(address, loop, over):
    return ClusterRelay(
        loop, address, Dealer(address), Hello(), welcome_of(1), new_bell_page("/tmp"), memory=object_memory(None, 0),
        timeout_s=5, facts_of=lambda key: {}, on_kill=lambda key: None, on_over=over.append,
        on_stack_wanted=lambda key, answer: None, on_output_wanted=lambda client, answer: None,
    )  # fmt: skip


def our_threads():
    return sum(thread.name.startswith("scaler") for thread in threading.enumerate())


def fail_with(error):
    def fail(*_, **__):
        raise error

    return fail


WANT = [
    (cluster_relay, "open_transport", OSError(24, "no descriptors")),
    (cluster_relay, "Store", OSError(12, "no memory")),
    (RelayThread, "start", RuntimeError("can't start new thread")),
]


async def until(condition):
    await asyncio.to_thread(wait_until, condition)


@pytest.mark.parametrize(("where", "name", "error"), WANT)
def test_a_next_session_that_cannot_be_begun_keeps_the_workers_and_is_begun_later(
    address, monkeypatch, where, name, error
):
    over = []

    async def play():
        relay = new_relay(address, asyncio.get_running_loop(), over)
        entry = await asyncio.to_thread(handshake, relay.local_address, relay.epoch, "worker", 65536)
        with closing(entry):
            await until(lambda: len(relay._session.peers) == 1)
            relay._call(lambda: setattr(relay._session, "over", "its scheduler has died"))
            await until(lambda: over)
            before, threads = open_descriptors(), our_threads()
            with monkeypatch.context() as patched:
                patched.setattr(where, name, fail_with(error))
                for _ in range(3):
                    with pytest.raises(type(error), match=str(error.args[-1])):
                        await relay.go_on(Dealer(address), Hello(), welcome_of(2))
            await until(lambda: our_threads() <= threads)
            await until(lambda: len(open_descriptors()) <= len(before))
            await relay.go_on(Dealer(address), Hello(), welcome_of(2))
            await until(lambda: len(relay._session.peers) == 1)
            assert entry.connection.fileno() >= 0
            entry.connection.setblocking(False)
            with pytest.raises(BlockingIOError):  # nobody has hung up
                entry.connection.recv(1)
            await relay.close()

    asyncio.run(play())
    assert over == ["its scheduler has died"]


@pytest.mark.parametrize(("where", "name", "error"), [*WANT, (cluster_relay, "LocalPeers", OSError(24, "no sockets"))])
def test_a_relay_that_cannot_be_made_leaves_nothing(address, monkeypatch, where, name, error):
    async def play():
        before, threads = open_descriptors(), our_threads()
        with monkeypatch.context() as patched:
            patched.setattr(where, name, fail_with(error))
            with pytest.raises(type(error)):
                new_relay(address, asyncio.get_running_loop(), [])
        await until(lambda: our_threads() <= threads)
        await until(lambda: len(open_descriptors()) <= len(before))

    asyncio.run(play())


def test_a_supervisor_that_cannot_go_on_for_want_of_something_tries_again_and_serves(monkeypatch):
    monkeypatch.setattr(supervisor, "AGAIN_S", 0.01)

    async def play():
        config = make_config(ClusterConfig, {"address": "tcp://127.0.0.1:9"})
        made = Supervisor(config, ["a"], memory=object_memory(None, 0))
        tries = []

        class Relay:
            async def go_on(self, dealer, hello, welcome):
                tries.append(welcome.epoch)
                if len(tries) < 3:
                    raise RuntimeError("can't start new thread")

            local_address = epoch = "there"

        async def find(hello):
            return object(), welcome_of(2), None

        monkeypatch.setattr(made._search, "find", find)
        made._relay, made._scheduler_epoch = cast(ClusterRelay, Relay()), f"{1:016x}"
        made._search.has_found = True
        await made._connect_in_the_end()
        assert tries == [2, 2, 2]
        assert made._scheduler_epoch == f"{2:016x}"
        made._search.has_found, made._relay = (
            False,
            None,
        )  # one that has not worked for any yet says what is wrong, at once
        monkeypatch.setattr(made._search, "find", fail_with(OSError(24, "no descriptors")))
        with pytest.raises(OSError, match="no descriptors"):
            await made._connect_in_the_end()

    asyncio.run(play())
