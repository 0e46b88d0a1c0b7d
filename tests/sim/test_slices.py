"""One frame never holds the scheduler up, and few bytes never make it keep many."""

import os
from array import array
from collections.abc import Callable
from dataclasses import replace

import pytest

from scaler.protocol import frames
from scaler.protocol.bounds import FRAME_LIMIT_BYTES
from scaler.protocol.codec import encode
from scaler.protocol.frames import ROWS_PER_SLICE, Body, Chunk, Clear, Frame, Function, Functions, Shutdown, Tasks
from scaler.session.link import MOST_UNACKNOWLEDGED
from tests.sim.test_bounds import RING_BYTES, announce, digest
from tests.sim.test_wire import settle
from tests.sim.wire import RemoteClient, RemoteCluster, World

MANY = 40_000
BITS = 6


def ids(count=MANY, first=1):
    return array("Q", (BITS << 40 | first + i for i in range(count))).tobytes()


LARGE: dict[str, tuple[bool, Callable[[], Body]]] = {
    "cancel": (False, lambda: frames.Cancel(tasks=ids())),
    "wait": (False, lambda: frames.Wait(tasks=ids())),
    "returned": (False, lambda: frames.Returned(tasks=ids(), took=b"\1" * MANY)),
    "release": (False, lambda: frames.Release(objects=ids())),
    "forget": (False, lambda: frames.Forget(numbers=array("I", range(1, MANY + 1)).tobytes())),
    "functions": (
        False,
        lambda: Functions.of([Function(0, 2 + i, digest(b"%d" % i), 0, b"%d" % i) for i in range(MANY)]),
    ),
    "tasks": (False, lambda: Tasks(tasks=ids(), functions=array("I", [1] * MANY).tobytes())),
    "tasks without a function": (False, lambda: Tasks(tasks=ids())),
    "withdrawn": (True, lambda: frames.Withdrawn(tasks=ids(), took=bytes(MANY))),
    "results": (True, lambda: frames.Results(tasks=ids())),
}


@pytest.mark.parametrize("what", LARGE)
def test_a_large_frame_is_done_in_slices_while_others_are_served(what):
    is_clusters, make = LARGE[what]
    world = World()
    other, helper = RemoteClient(world, 5), RemoteCluster(world, 1)
    peer = RemoteCluster(world, 0) if is_clusters else RemoteClient(world, BITS, RING_BYTES)
    clients, clusters = ([other], [helper, peer]) if is_clusters else ([other, peer], [helper])
    settle(world, clients, clusters, 2)
    if not is_clusters:
        announce(peer)
        settle(world, clients, clusters, 2)
    link = world.remote._links[peer.link.routing_id]
    peer.link.side.talk.post(make())
    peer.link.side.talk.post(Clear() if not is_clusters else frames.Withdrawn(tasks=ids(1)))
    peer.link.speak()
    peer.link.carry_up()
    peer.link.carry_up()
    assert link.is_busy
    task = other.submit(0, b"abc")
    for _ in range(6):
        settle(world, [other], [helper], 1)
    assert link.is_busy
    if what != "tasks":  # of those the helper has some to do first
        assert other.answers == [(task, b"cba")]
    turns = 0
    while link.is_busy:
        world.flush()
        turns += 1
    assert turns > MANY // ROWS_PER_SLICE - 50
    assert world.remote.dropped == 0
    assert link.session.talk.ledger.received == peer.link.side.talk.ledger.sent
    world.left_over(*clients, *clusters)


def test_what_is_said_after_a_large_frame_is_done_after_it():
    world = World()
    client = RemoteClient(world, BITS, RING_BYTES)
    settle(world, [client], [], 2)
    announce(client)
    say, functions = client.link.side.talk.post, array("I", [1] * MANY).tobytes()
    say(Tasks(tasks=ids(), functions=functions))
    say(frames.Cancel(tasks=ids()))
    say(Tasks(tasks=ids(10, MANY + 1), functions=functions[:40]))
    client.link.speak()
    while client.link.up:
        client.link.carry_up()
    for _ in range(2 * MANY // ROWS_PER_SLICE + 10):
        world.flush()
    assert world.core.counts()["accepted"] == MANY + 10
    assert world.core.counts()["rows"] == 10
    world.left_over(client)


def test_a_client_with_many_tasks_is_cleared_in_slices_and_goes_on_behind_that():
    world = World()
    client = RemoteClient(world, BITS, RING_BYTES)
    settle(world, [client], [], 2)
    announce(client)
    functions = array("I", [1] * MANY).tobytes()
    client.link.side.talk.post(Tasks(tasks=ids(), functions=functions))
    settle(world, [client], [], MANY // ROWS_PER_SLICE)
    assert world.core.counts()["rows"] == MANY
    client.link.side.talk.post(Clear())
    client.link.side.talk.post(Tasks(tasks=ids(10, MANY + 1), functions=functions[:40]))
    client.link.speak()
    client.link.carry_up()
    client.link.carry_up()
    assert MANY // 4 < world.core.counts()["rows"] < MANY
    assert world.core.counts()["accepted"] == MANY
    while world.remote.can_go_on:
        world.flush()
    assert world.core.counts()["accepted"] == MANY + 10
    assert world.core.counts()["rows"] == 10
    world.left_over(client)


def small_frames_behind_a_large_one(bodies, count=MANY):
    """(a world, a client): the client has said these in one go, and the large one is still being done."""
    world = World()
    client = RemoteClient(world, BITS, RING_BYTES)
    settle(world, [client], [], 2)
    announce(client)
    settle(world, [client], [], 2)
    client.link.side.talk.post(Tasks(tasks=ids(count), functions=array("I", [1] * count).tobytes()))
    for body in bodies:
        client.link.side.talk.post(body)
    client.link.speak()
    while client.link.up:
        world.remote.on_message(client.link.routing_id, [client.link.up.popleft()], world.now_s)
    return world, client


def test_what_is_submitted_after_a_clear_stays_however_much_was_cancelled_before():
    count = 4 * ROWS_PER_SLICE
    late = ids(10, count + 1)
    bodies: list[Body] = [frames.Cancel(tasks=ids(1, number)) for number in range(1, 40)]
    bodies += [Clear(), Tasks(tasks=late, functions=array("I", [1] * 10).tobytes())]
    world, client = small_frames_behind_a_large_one(bodies, count)
    for _ in range(200):
        world.flush()
        world.core.step(0)
    assert world.core.counts()["rows"] == 10
    cluster = RemoteCluster(world, 1)
    settle(world, [client], [cluster])
    assert sorted(task for task, _ in client.answers) == memoryview(late).cast("Q").tolist()
    world.left_over(client, cluster)


def test_what_was_cancelled_in_its_turn_is_not_noted_as_still_to_be_cancelled():
    bodies = [frames.Cancel(tasks=ids(1, number)) for number in range(1, 200)]
    world, client = small_frames_behind_a_large_one(bodies, 4 * ROWS_PER_SLICE)
    session = world.remote._links[client.link.routing_id].session
    for _ in range(400):
        world.flush()
    assert not session._cancelled_early
    world.left_over(client)


@pytest.mark.parametrize("turns", [0, 1, 2, 8])
@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("frame_rows", [1, 3 * ROWS_PER_SLICE])
def test_what_is_given_back_before_its_turn_is_given_back_once_even_if_the_connection_breaks(turns, is_cut, frame_rows):
    bodies = [frames.Returned(tasks=ids(frame_rows), took=b"\1" * frame_rows)]
    world, client = small_frames_behind_a_large_one(bodies, 8 * ROWS_PER_SLICE)
    link = world.remote._links[client.link.routing_id]
    returned, session = [], link.session
    session.core = CountingReturns(session.core, returned)
    for _ in range(turns):
        world.flush()
    if is_cut:
        client.link.cut()
        settle(world, [client], [], 2)
    while link.is_busy or link.early:
        world.flush()
    session.core = world.core
    assert returned == memoryview(ids(frame_rows)).cast("Q").tolist()
    assert not link.returned
    world.left_over(client)


class CountingReturns:
    """The core, and what it is told to have been given back."""

    def __init__(self, core, returned):
        self._core, self._returned = core, returned

    def __getattr__(self, name):
        return getattr(self._core, name)

    def on_return(self, index, task, took, now):
        self._returned.append(task)
        self._core.on_return(index, task, took, now)


def test_a_frame_over_the_limit_ends_the_session():
    world = World()
    client = RemoteClient(world, BITS, RING_BYTES)
    settle(world, [client], [], 2)
    client.link.is_hostile = True
    client.link.side.talk.post(frames.Cancel(tasks=bytes(FRAME_LIMIT_BYTES)))
    client.link.speak()
    client.link.carry_up()
    assert world.remote.dropped == 1
    world.left_over(client)


def test_one_that_asks_and_acknowledges_nothing_is_shut_out():
    world = World()
    client = RemoteClient(world, BITS)
    settle(world, [client], [], 2)
    client.link.is_hostile = True
    link, number = world.remote._links[client.link.routing_id], client.link.side.talk.ledger.sent
    for asked in range(MOST_UNACKNOWLEDGED + 10):
        if client.link.routing_id not in world.remote._links:
            break
        frame = encode(Frame(Shutdown(), number + asked + 1, 0))
        world.remote.on_message(client.link.routing_id, [frame], 0.0)
        if asked % 1000 == 0:
            world.flush()
            client.link.down.clear()
    assert client.link.routing_id not in world.remote._links
    assert link.session.talk.ledger.unacknowledged <= MOST_UNACKNOWLEDGED + 2
    world.left_over(client)


@pytest.mark.parametrize("total", [1 << 20, 1 << 29])
def test_memory_is_taken_as_an_object_comes_and_not_at_the_word_of_its_sender(total):
    world = World()
    client = RemoteClient(world, BITS)
    settle(world, [client], [], 2)
    for number in range(1, 41):
        client.link.side.talk.post(Chunk(BITS << 40 | number, 0, total, bytes(1000)))
    before = used_in_shm(world)
    client.link.speak()
    while client.link.up:
        client.link.carry_up()
    assert world.remote.dropped == 0
    assert used_in_shm(world) - before <= 40 * 8192
    world.left_over(client)


def used_in_shm(world):
    """What the scheduler's segments take: pages, not how large they are."""
    names = [name for name in os.listdir("/dev/shm") if name.startswith(f"scaler-{world.epoch}-")]
    return sum(os.stat(f"/dev/shm/{name}").st_blocks * 512 for name in names)


def test_a_client_elsewhere_that_says_it_is_a_tasks_has_a_quota_like_any_other():
    world = World()
    world.core.client_queue_bytes = 100_000
    cluster, voucher = RemoteCluster(world, 1), b"v" * 16
    settle(world, [], [cluster], 2)
    cluster.link.side.talk.post(frames.Joined(50, "its worker", 1, voucher=voucher))
    settle(world, [], [cluster], 2)
    client = RemoteClient(world, BITS, RING_BYTES)
    client.link.hello = replace(client.link.hello, is_nested=True, voucher=voucher)
    client.link.up.clear()
    client.link.connect()
    settle(world, [client], [], 2)
    announce(client)
    payload = bytes(1000)
    for number in range(1, 400):
        ends, task = (1000).to_bytes(4, "little"), (BITS << 40 | number).to_bytes(8, "little")
        client.link.side.talk.post(Tasks(tasks=task, functions=b"\1\0\0\0", ends=ends, payload=payload))
    settle(world, [client], [], 20)
    assert world.core.counts()["rows"] < 120
    world.left_over(client)


def test_a_client_elsewhere_of_many_functions_waits_for_its_tasks_and_none_is_refused():
    """Each is announced, used once and forgotten, and together they are more than a client may have."""
    world = World()
    world.core.client_queue_bytes = 16 << 20
    client = RemoteClient(world, BITS, 1 << 20)
    settle(world, [client], [], 2)
    for number in range(100, 500):
        code = b"code %d" % number + bytes(4000)
        task = BITS << 40 | number
        client.link.side.talk.post(Functions.of([Function(0, number, digest(code), 0, code)]))
        client.link.side.talk.post(
            Tasks(tasks=task.to_bytes(8, "little"), functions=number.to_bytes(4, "little"), ends=bytes(4))
        )
        client.link.side.talk.post(frames.Forget.of([(0, number)]))
    for _ in range(20):
        settle(world, [client], [], 20)
    assert 100 < world.core.counts()["functions"] < 300
    world.core.check()
    world.core.on_clear(0, 0)
    for _ in range(20):
        settle(world, [client], [], 20)
    assert world.core.counts()["refused"] == 0
    assert world.core.counts()["accepted"] == 400
    world.left_over(client)
