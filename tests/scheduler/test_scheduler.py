"""SchedulerServer on a loop in this process, with local_peers played by the test."""

import asyncio
import json
import os
import struct
import time
from hashlib import blake2b
from types import SimpleNamespace

import pytest

from scaler._native import (
    CHILDREN_BYTES,
    HEADERS_OFFSET,
    KIND_FREED,
    KIND_FUNCTION,
    KIND_RESULT,
    KIND_TASK,
    KIND_WORKERS,
    PAGE,
    RING_HEADER_BYTES,
    STATUS_WORKER_DIED,
    Ring,
    TaskOptions,
)
from scaler.address import Address
from scaler.colocation.handshake import CONTROL_RING_BYTES, Refused, handshake
from scaler.colocation.voucher import voucher_of
from scaler.scheduler import scheduler
from scaler.scheduler.scheduler import SchedulerServer
from scaler.scheduler.selector import PumpSelector

RING_BYTES = 65536


class Host:
    """A scheduler and its loop, which runs only while the test waits for something."""

    def __init__(self):
        self.server = SchedulerServer()
        selector = PumpSelector(self.server.pump, self.server.after_run)
        self.loop = asyncio.SelectorEventLoop(selector)
        self.server.open(self.loop, Address.parse("tcp://127.0.0.1:0"), selector.watch)
        self.local_peers = []

    def let_in(self, role, **about):
        local_address = self.server._local.local.address
        what = about.pop("children_bytes", 0)
        made = LocalPeer(
            self.run(asyncio.to_thread(handshake, local_address, self.server.epoch, role, RING_BYTES, what, **about))
        )
        self.local_peers.append(made)
        return made

    def run(self, what):
        return self.loop.run_until_complete(asyncio.wait_for(what, 20))

    def wait_until(self, condition):
        async def wait():
            while not condition():
                await asyncio.sleep(0.01)

        self.run(wait())

    def close(self):
        for local_peer in self.local_peers:
            local_peer.entry.close()
        self.server.close()
        self.loop.close()


class LocalPeer:
    """A peer's ends of its rings."""

    def __init__(self, entry):
        self.entry = entry
        made, offset = [], PAGE
        for i, size in enumerate((RING_BYTES, RING_BYTES, CONTROL_RING_BYTES, CONTROL_RING_BYTES)):
            made.append(Ring(entry.memory, HEADERS_OFFSET + i * RING_HEADER_BYTES, size, offset))
            offset += size
        self.tasks, self.results, self.up, self.down = made
        entry.connection.setblocking(False)

    def tell(self):
        """Say that there is news."""
        word = memoryview(self.entry.bell).cast("B")[64:72].cast("Q")
        word[0] |= 1 << self.entry.slot
        os.eventfd_write(self.entry.bell_eventfd, 1)

    def is_hung_up_on(self):
        try:
            return self.entry.connection.recv(1) == b""
        except BlockingIOError:
            return False


@pytest.fixture
def host():
    made = Host()
    yield made
    made.close()


def test_a_worker_that_writes_nonsense_is_shut_out_and_its_task_is_run_elsewhere(host):
    client, broken = host.let_in("client", bits=5), host.let_in("worker")
    client.up.write(KIND_FUNCTION, 0, blake2b(b"function", digest_size=16).digest() + b"function")
    client.tasks.write(KIND_TASK, 5 << 40 | 1, b"payload")
    client.tell()
    host.wait_until(lambda: broken.tasks.read() is not None)
    other = host.let_in("worker")
    broken.results.write(KIND_RESULT)
    struct.pack_into("<I", memoryview(broken.entry.memory).cast("B"), PAGE + RING_BYTES, 3)
    broken.tell()
    host.wait_until(lambda: other.tasks.read() is not None)
    host.wait_until(broken.is_hung_up_on)
    assert not client.is_hung_up_on()
    assert not other.is_hung_up_on()


@pytest.mark.parametrize(
    "facts",
    [
        {"pid": []}, {"pid": {}}, {"pid": float("inf")}, {"pid": None}, [], "x", {"output": "\ud800"}, {"code": [[[]]]},
        {"worker": 5, "output": "\\" * 20_000},
    ],
    ids=lambda facts: str(facts)[:20].encode("ascii", "replace").decode(),
)  # fmt: skip
@pytest.mark.parametrize("is_early", [True, False])
def test_what_is_said_of_a_death_to_the_listener_may_be_anything(host, facts, is_early):
    """By a supervisor that no cluster has: about a worker that is about to end, or has ended."""
    cluster, client = host.let_in("cluster"), host.let_in("client", bits=5)
    client.up.write(KIND_FUNCTION, 0, blake2b(b"function", digest_size=16).digest() + b"function")
    client.tasks.write(KIND_TASK, 5 << 40 | 1, b"payload", options=TaskOptions(retries=0))
    worker = host.let_in("worker", name="\ud800")  # of this process, which is therefore the one that has died
    client.tell()
    host.wait_until(lambda: worker.tasks.read(claim=True, stays=True) is not None)

    def say():
        if isinstance(facts, dict):
            facts.setdefault("pid", os.getpid())
        cluster.entry.connection.send(json.dumps({"died": facts}).encode())
        host.run(asyncio.sleep(0.05))

    if is_early:
        say()
    worker.entry.close()
    host.wait_until(lambda: host.server.core.counts()["workers"] == 0)
    if not is_early:
        say()
    answers = []

    def is_answered():
        answers.extend(iter(client.results.read, None))
        return answers

    host.wait_until(is_answered)
    assert [answer[:2] for answer in answers] == [(KIND_RESULT, 5 << 40 | 1)]
    assert answers[0][5] == STATUS_WORKER_DIED
    assert json.loads(answers[0][2])["tries"] == 1
    other = host.let_in("worker")
    client.tasks.write(KIND_TASK, 5 << 40 | 2, b"payload")
    client.tell()
    host.wait_until(lambda: other.tasks.read() is not None)


def test_what_remote_peers_have_left_in_memory_is_given_back_though_none_is_there(host, monkeypatch):
    store = host.server._store
    store.free(store.put(b"x" * 100)[0])
    assert store.kept_bytes > 0
    later = SimpleNamespace(monotonic=time.monotonic, monotonic_ns=lambda: time.monotonic_ns() + 120 * 10**9)
    monkeypatch.setattr(scheduler, "time", later)
    host.wait_until(lambda: store.kept_bytes == 0)


def test_a_client_whose_control_ring_is_full_hears_later_how_many_workers_there_are(host):
    client = host.let_in("client", bits=5)
    (peer,) = host.server._local.clients
    while host.server.pump.control(peer, KIND_FREED):
        pass
    host.let_in("worker")
    said = []

    def is_told():
        while (record := client.down.read()) is not None:
            said.append(record)
        return said and said[-1][0] == KIND_WORKERS and said[-1][7] == 1

    host.wait_until(lambda: host.server.core.pool.present == 1)
    host.wait_until(is_told)


def test_only_who_has_a_workers_voucher_is_the_client_of_its_tasks(host):
    worker, other = host.let_in("worker"), host.let_in("worker")
    about = {"bits": 5, "worker_tag": worker.entry.tag, "children_bytes": CHILDREN_BYTES}
    for wrong in ({}, {"voucher": "00" * 16}, {"voucher": voucher_of(other.entry.memory).hex()}, {"voucher": 3}):
        with pytest.raises(Refused, match="says that it is the client of a worker's tasks"):
            host.let_in("client", **about, **wrong)
    nested = host.let_in("client", **about, voucher=voucher_of(worker.entry.memory).hex())
    assert nested.entry.tag == 5
