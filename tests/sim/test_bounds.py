"""Whatever one peer says, no other is sent what it must refuse: it is answered, or its sender shut out, at the door."""

import json
import os
import random
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler._native import (
    FLAG_INPUTS,
    FLAG_NAMED,
    FLAG_OBJECTS,
    KIND_FUNCTION,
    KIND_RELEASE,
    KIND_RESULT,
    KIND_TASK,
    MOST_FUNCTION_BYTES,
    MOST_PAYLOAD_BYTES,
    PLACE_HELD,
    PLACE_NEW,
    PLACE_PACKED,
    STATUS_MISSING,
    STATUS_OK,
    STATUS_RAISED,
    STATUS_REFUSED,
    STATUS_STOPPED,
    STATUS_WORKER_DIED,
    Pump,
    Segment,
    join_places,
    pack_inputs,
    pack_supply,
)
from scaler.protocol.bounds import MOST_FACTS_LENGTH
from scaler.protocol.frames import Chunk, Function, Functions, Left, Tasks, column
from scaler.values.died import died_error
from tests.effort import rounds
from tests.sim.test_wire import settle, talk
from tests.sim.wire import RemoteClient, RemoteCluster, Rings, World, read

RING_BYTES = 65536
LOCAL_BITS = 7


def ids(*numbers):
    return column("Q", numbers)


def tasks(*rows):
    """Rows of (task, flags, payload), all of function 1."""
    ends, payload = [], b""
    for _, _, one in rows:
        payload += one
        ends.append(len(payload))
    return Tasks(
        tasks=ids(*(task for task, _, _ in rows)), functions=column("I", [1] * len(rows)),
        flags=bytes(flags for _, flags, _ in rows), ends=column("I", ends), payload=payload,
    )  # fmt: skip


def announce(client, code=b"code"):
    client.link.side.talk.post(Functions.of([Function(0, 1, digest(code), 0, code)]))


def digest(code):
    return blake2b(code, digest_size=16).digest()


def make_world():
    world = World()
    world.core.edges.store = world.store
    return world, RemoteClient(world, 6, RING_BYTES), RemoteCluster(world, 1)


# what a client elsewhere says


@pytest.mark.parametrize(("places", "is_good"), [(300, True), (780, False)])
def test_a_task_that_its_inputs_make_too_large_for_a_record_is_answered_and_not_sent(places, is_good):
    world, client, cluster = make_world()
    settle(world, [client], [cluster], 2)
    announce(client)
    say, first = client.link.side.talk.post, 6 << 40
    held, result = (first | 1, 0, 0, 1000, PLACE_NEW | PLACE_HELD), (first | 5, 0, 0, 900, PLACE_NEW | PLACE_PACKED)
    say(Chunk(first | 1, 0, 1000, bytes(1000)))
    say(tasks((first | 1, FLAG_OBJECTS, join_places([held], b"x"))))
    many = join_places([(first | 1, 0, 0, 1000, 0)] * places, pack_inputs([first | 2] * 60, 0, 0, False) + b"do")
    assert len(many) < MOST_PAYLOAD_BYTES
    say(tasks((first | 3, FLAG_OBJECTS | FLAG_INPUTS, many)))
    say(Chunk(first | 5, 0, 900, bytes(900)))
    say(tasks((first | 2, FLAG_OBJECTS | FLAG_INPUTS, join_places([result], pack_supply(STATUS_OK)))))
    rings, sent = cluster.workers[0].rings, []
    for _ in range(2):  # of a function that nobody has timed a worker has one at a time
        talk(world, [client, cluster], 10)
        for record in take_all(rings.tasks):
            sent.append(record.task)
            rings.results.write(KIND_RESULT, record.task, b"done", attempt=record.attempt)
    talk(world, [client, cluster], 10)
    answers = [(record.task, record.status) for record in take_all(client.rings.results)]
    assert sent == ([first | 1, first | 3] if is_good else [first | 1])
    assert sorted(answers) == [(first | 1, STATUS_OK), (first | 3, STATUS_OK if is_good else STATUS_REFUSED)]
    world.left_over(client, cluster)


def take_all(ring):
    taken = []
    while (record := read(ring)) is not None:
        taken.append(record)
    return taken


@pytest.mark.parametrize("status", [STATUS_STOPPED + 1, 65535])
def test_a_supply_with_a_status_that_there_is_not_is_refused(status):
    world, client, cluster = make_world()
    settle(world, [client], [cluster], 2)
    announce(client)
    first = 6 << 40
    client.link.side.talk.post(tasks((first | 3, FLAG_INPUTS, pack_inputs([first | 2], 0, 0, False) + b"do")))
    client.link.side.talk.post(tasks((first | 2, FLAG_INPUTS, pack_supply(status) + b"abc")))
    talk(world, [client, cluster], 10)
    assert client.link.side.over is None
    world.left_over(client, cluster)


def test_each_task_that_fails_as_its_input_did_has_the_exception_though_that_is_an_object():
    world, client, cluster = make_world()
    settle(world, [client], [cluster], 2)
    announce(client)
    say, first = client.link.side.talk.post, 6 << 40
    say(tasks((first | 1, FLAG_INPUTS, pack_inputs([], 0, 2, False) + b"raise")))
    needs = pack_inputs([first | 1], 1, 0, False) + b"do"
    say(tasks((first | 2, FLAG_INPUTS, needs), (first | 3, FLAG_INPUTS, needs)))
    talk(world, [client, cluster], 10)
    worker = cluster.workers[0]
    (given,) = take_all(worker.rings.tasks)
    error = bytes(range(256)) * 300
    payload = join_places([worker.store.put(error, PLACE_NEW | PLACE_PACKED)])
    worker.rings.results.write(
        KIND_RESULT,
        given.task,
        payload,
        function=given.function,
        flags=FLAG_OBJECTS,
        status=STATUS_RAISED,
        attempt=given.attempt,
    )
    settle(world, [client], [cluster])
    assert sorted(client.answers) == [(first | number, error) for number in (1, 2, 3)]
    assert set(client.statuses.values()) == {STATUS_RAISED}
    assert not any(world.left_over(client, cluster))


# what a worker elsewhere says


def test_what_is_told_of_a_death_reaches_its_client_however_long_and_odd_it_is():
    facts = {"output": "\x01" * 9999, "worker": "\x02" * 999, "host": "é" * 999, "pid": True, "peak_bytes": 1 << 70}
    for reason in (
        json.dumps(facts)[:MOST_FACTS_LENGTH],
        json.dumps({"output": "\x01" * 4096, "worker": "\x02" * 999, "pid": True}),
        "x" * MOST_FACTS_LENGTH,
    ):
        world, client, cluster = make_world()
        settle(world, [client], [cluster], 2)
        announce(client)
        client.link.side.talk.post(tasks((6 << 40 | 1, 0, b"kill")))
        peer, side = cluster.workers[0].peer.number, cluster.link.side
        for _ in range(4):
            talk(world, [client, cluster], 5)
            (given,) = take_all(cluster.workers[0].rings.tasks)
            side.talk.post(Left(peer, -9, reason, tasks=ids(given.task), attempts=ids(given.attempt)))
            cluster.workers.append(type(cluster.workers[0])(cluster, RING_BYTES))
            del cluster.workers[0]
            peer = cluster.workers[0].peer.number
            side.on_joined(cluster.workers[0].peer, "a worker \ud800", 1)
        settle(world, [client], [cluster])
        ((_, payload),) = client.answers
        assert client.statuses == {6 << 40 | 1: STATUS_WORKER_DIED}
        assert "ended by SIGKILL" in str(died_error(1, payload, "f"))
        world.left_over(client, cluster)


ODD_RESULTS: dict[str, tuple[int, Any, int, int]] = {
    "nothing released": (KIND_RELEASE, b"", 0, 0),
    "half an id released": (KIND_RELEASE, b"1234", 0, 0),
    "two objects": (KIND_RESULT, lambda a, b: join_places([a, b]), FLAG_OBJECTS, 0),
    "an object twice": (KIND_RESULT, lambda a, b: join_places([a, a]), FLAG_OBJECTS, 0),
    "no object": (KIND_RESULT, join_places([]), FLAG_OBJECTS, 0),
    "no places": (KIND_RESULT, b"abc", FLAG_OBJECTS, 0),
    "an old object": (KIND_RESULT, lambda a, b: join_places([(*a[:4], 0)]), FLAG_OBJECTS, 0),
    "an object of nothing": (KIND_RESULT, lambda a, b: join_places([(*a[:3], 0, PLACE_NEW)]), FLAG_OBJECTS, 0),
    "another's object": (KIND_RESULT, lambda a, b: join_places([(9, *a[1:])]), FLAG_OBJECTS, 0),
    "nowhere": (KIND_RESULT, lambda a, b: join_places([(a[0], 99 << 32 | 77, *a[2:])]), FLAG_OBJECTS, 0),
    "a flag": (KIND_RESULT, b"abc", 64, 0),
    "a status": (KIND_RESULT, b"abc", 0, STATUS_STOPPED + 1),
}


@pytest.mark.parametrize("what", ODD_RESULTS)
def test_a_worker_that_writes_what_the_scheduler_refuses_ends_alone_and_not_with_its_host(what):
    kind, payload, flags, status = ODD_RESULTS[what]
    world, client, _ = make_world()
    cluster = RemoteCluster(world, 2)
    settle(world, [client], [cluster], 2)
    odd = cluster.workers[0]
    if callable(payload):
        payload = payload(odd.store.put(b"abc" * 100, PLACE_NEW), odd.store.put(b"def" * 100, PLACE_NEW))
    odd.rings.results.write(kind, 6 << 40 | 1, payload, flags=flags, status=status)
    talk(world, [client, cluster], 3)
    assert cluster.broken == [odd.peer]
    assert world.remote.dropped == 0
    world.left_over(client, cluster)


# what peers of the scheduler's own host say


class LocalPeer:
    """A client or a worker of the scheduler's host: its ends of the rings, and the pump's idea of it."""

    def __init__(self, world, pump, is_worker, bits=LOCAL_BITS):
        self.rings = Rings(262144, 262144)
        self.peer = pump.add(self.rings.memory, is_worker, -1, client_bits=0 if is_worker else bits)
        self.pump = pump

    @property
    def is_shut_out(self):
        return self.peer in self.pump.broken


def make_pump(world):
    return Pump(world.core, Segment.private(4096), os.eventfd(0, os.EFD_NONBLOCK))


ODD_SAID = {
    "places that are none": (KIND_TASK, b"abc", FLAG_OBJECTS),
    "a name with an object": (KIND_FUNCTION, digest(b"f") + b"f", FLAG_NAMED | FLAG_OBJECTS),
    "a long function": (KIND_FUNCTION, digest(bytes(MOST_FUNCTION_BYTES + 1)) + bytes(MOST_FUNCTION_BYTES + 1), 0),
    "a function without a digest": (KIND_FUNCTION, b"f", 0),
}


@pytest.mark.parametrize("what", ODD_SAID)
def test_a_client_here_that_writes_what_others_refuse_is_shut_out(what):
    kind, payload, flags = ODD_SAID[what]
    world, client, cluster = make_world()
    settle(world, [client], [cluster], 2)
    pump = make_pump(world)
    local = LocalPeer(world, pump, False)
    if kind == KIND_FUNCTION:
        local.rings.up.write(kind, 0, payload, function=1, flags=flags)
    else:
        local.rings.up.write(KIND_FUNCTION, 0, digest(b"f") + b"f", function=1)
        local.rings.tasks.write(kind, LOCAL_BITS << 40 | 1, payload, function=1, flags=flags)
    pump.run(True)
    assert local.is_shut_out
    settle(world, [client], [cluster], 3)
    assert not take_all(cluster.workers[0].rings.tasks)
    world.left_over(client, cluster)


def test_a_result_whose_object_is_not_to_be_had_is_answered_with_that():
    world, client, _ = make_world()
    settle(world, [client], [], 2)
    pump = make_pump(world)
    worker = LocalPeer(world, pump, True)
    announce(client)
    client.link.side.talk.post(tasks((6 << 40 | 1, 0, b"do")))
    talk(world, [client], 5)
    (given,) = take_all(worker.rings.tasks)
    tag = worker.peer.tag
    nowhere = join_places([(tag << 40 | 1, tag << 32 | 77, 0, 100, PLACE_NEW | PLACE_PACKED)])
    worker.rings.results.write(KIND_RESULT, given.task, nowhere, flags=FLAG_OBJECTS, attempt=given.attempt)
    pump.run(True)
    settle(world, [client], [])
    assert client.statuses == {given.task: STATUS_MISSING}
    assert len(world.core.objects) == 0
    world.left_over(client)


@given(st.integers(0, 2**32))
@settings(max_examples=rounds(60))
def test_whatever_peers_here_write_nobody_elsewhere_is_sent_what_it_refuses(seed):
    """The links of the peers elsewhere fail the test if they refuse anything."""
    chance = random.Random(seed)
    world, client, cluster = make_world()
    settle(world, [client], [cluster], 2)
    announce(client)
    pump = make_pump(world)
    local, worker, first = LocalPeer(world, pump, False), LocalPeer(world, pump, True), LOCAL_BITS << 40
    for number in range(1, 61):
        if local.is_shut_out:
            pump.remove(local.peer)
            first += 1 << 40
            local = LocalPeer(world, pump, False, first >> 40)
        if worker.is_shut_out:
            pump.remove(worker.peer)
            worker = LocalPeer(world, pump, True)
        if chance.random() < 0.2:
            code = chance.choice((b"f", b"g", bytes(9000)))
            flags = chance.choice((0, 0, 0, 2, chance.randrange(256)))
            local.rings.up.write(KIND_FUNCTION, 0, digest(code) + code, function=chance.randrange(1, 4), flags=flags)
        payload, flags = odd_payload(chance, first, number)
        local.rings.tasks.write(
            KIND_TASK, first | number, payload, function=chance.randrange(1, 4), flags=flags, items=chance.randrange(3)
        )
        client.link.side.talk.post(tasks((6 << 40 | number, 0, b"do")))
        pump.run(True)
        talk(world, [client, cluster], 1)
        for record in take_all(cluster.workers[0].rings.tasks):
            cluster.workers[0].rings.results.write(KIND_RESULT, record.task, b"done", attempt=record.attempt)
        for record in take_all(worker.rings.tasks):
            payload, flags = odd_result(chance, worker.peer.tag << 40 | number)
            status = chance.choice((0, 0, 1, chance.randrange(12)))
            worker.rings.results.write(
                KIND_RESULT, record.task, payload, flags=flags, status=status, attempt=record.attempt
            )
        pump.run(True)
        talk(world, [client, cluster], 1)
        client.step()
        while local.rings.results.read() is not None:
            pass
    world.left_over(client, cluster)


def odd_result(chance, object_id):
    flags = chance.choice((0, 0, 2, FLAG_OBJECTS, chance.randrange(256)))
    place = object_id, chance.randrange(3), 0, chance.randrange(3), chance.randrange(64)
    return join_places([place] * chance.randrange(3)) if flags & FLAG_OBJECTS else b"abc", flags


def odd_payload(chance, first, number):
    """The payload of a task that names objects, and other tasks, that are there or not; or a result handed in."""
    inputs = chance.randrange(4) * chance.choice((1, 100))
    named = [first | max(1, number - chance.randrange(1, 6)) for _ in range(inputs)]
    both = FLAG_OBJECTS | FLAG_INPUTS
    flags = chance.choice((0, 0, FLAG_INPUTS, FLAG_INPUTS, FLAG_OBJECTS, both, chance.randrange(256)))
    stream = b"do" * chance.choice((1, 300))
    if flags & FLAG_INPUTS and chance.random() < 0.2:
        stream = pack_supply(chance.randrange(12)) + bytes(chance.choice((3, 20_000)))
    elif flags & FLAG_INPUTS:
        expected, promised, is_inner = chance.randrange(inputs + 1), chance.randrange(3), chance.random() < 0.3
        stream = pack_inputs(named, expected, promised, is_inner) + stream
    if flags & FLAG_OBJECTS:
        size, how = chance.choice((0, 1, 100, 1 << 41)), chance.choice((1, 3, 9, 11, chance.randrange(64)))
        stream = join_places([(first | number, 1, 0, size, how)] * chance.choice((0, 1, 1, 600)), stream)
    return stream[:MOST_PAYLOAD_BYTES], flags
