"""Tasks over links that break at any moment: each is answered once, with its own result, and nothing is left."""

import gc
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler._native import (
    FLAG_OBJECTS,
    KIND_REFUSED,
    KIND_RELEASE,
    KIND_RESULT,
    KIND_SHUTDOWN,
    NEWS_WORDS,
    PLACE_NEW,
    RecordRun,
    RelayPeer,
    RunOutlet,
    bare,
    join_places,
    runs_to_result_columns,
)
from scaler.protocol.codec import decode, encode
from scaler.protocol.frames import Clear, Frame, FrameError, Goodbye, Hello, Refusal, Results, Role, Tasks
from scaler.session import conversation
from scaler.session.cluster_end import worker_tag
from scaler.session.link import WAITING_BYTES
from tests.effort import rounds
from tests.sim.wire import RemoteClient, RemoteCluster, RemoteWorker, Rings, World, hello


def settle(world, clients, clusters, turns=20):
    """Everybody does all there is to do, and nothing breaks any more."""
    for _ in range(turns):
        talk(world, (*clients, *clusters), 1)
        for cluster in clusters:
            for worker in cluster.workers:
                for _ in range(8):
                    worker.step()
        for client in clients:
            for _ in range(20):
                client.step()


def talk(world, peers, turns):
    """What is said gets there, and nobody does anything about it."""
    for _ in range(turns):
        for peer in peers:
            peer.link.speak()
            while peer.link.up or peer.link.down:
                peer.link.carry_up()
                peer.link.carry_down()
        world.tick()


@given(st.integers(0, 2**32))
@settings(max_examples=rounds(30))
def test_each_task_is_answered_once_whatever_the_links_lose(seed):
    chance = random.Random(seed)
    world = World()
    clients = [RemoteClient(world, bits) for bits in (5, 9)]
    clusters = [RemoteCluster(world, 2), RemoteCluster(world, 1)]
    wanted = {client: {} for client in clients}
    held = {}
    workers = [worker for cluster in clusters for worker in cluster.workers]
    links = [*(client.link for client in clients), *(cluster.link for cluster in clusters)]
    for _ in range(400):
        what = chance.random()
        if what < 0.2:
            client = chance.choice(clients)
            size = chance.choice((1, 30, 900, 3000, 300_000))
            payload = chance.randbytes(size)
            if client.held is not None and client.functions and chance.random() < 0.3:
                payload = held[client]
                task = client.submit_held()
            else:
                hold = chance.random() < 0.2
                task = client.submit(chance.choice((0, 1, 2, 100, 101)), payload, hold)
                if hold and task is not None:
                    held[client] = payload
            if task is not None:
                wanted[client][task] = payload[::-1]
        elif what < 0.23:
            client = chance.choice(clients)
            answered = {task for task, _ in client.answers}
            open_tasks = [task for task in wanted[client] if task not in answered]
            if open_tasks:
                task = chance.choice(open_tasks)
                if client.cancel(task):
                    del wanted[client][task]
        elif what < 0.26:
            client = chance.choice(clients)
            if client.functions:
                client.forget(chance.choice(list(client.functions)))
        elif what < 0.45:
            chance.choice(workers).step()
        elif what < 0.5:
            chance.choice(clients).step()
        elif what < 0.7:
            chance.choice(links).speak()
        elif what < 0.83:
            chance.choice(links).carry_up()
        elif what < 0.96:
            chance.choice(links).carry_down()
        elif what < 0.97:
            chance.choice(links).cut()
        else:
            world.tick()
    settle(world, clients, clusters, 200)
    for client in clients:
        client.release_held()
        while client.functions:
            assert client.forget(next(iter(client.functions)))
    settle(world, clients, clusters, 200)
    for client in clients:
        tasks = [task for task, _ in client.answers]
        assert len(tasks) == len(set(tasks))
        answers = dict(client.answers)
        assert {task: answers.get(task) for task in wanted[client]} == wanted[client]
    ran = [task for worker in workers for task in worker.ran]
    assert len(ran) == len(set(ran))
    assert world.core.counts()["rows"] == world.core.counts()["functions"] == 0
    assert not any(worker.functions for worker in workers)
    assert not any(world.left_over(*clients, *clusters))


@given(st.binary(max_size=300) | st.lists(st.binary(max_size=40), max_size=3), st.booleans())
@settings(max_examples=rounds(250))
def test_random_bytes_are_refused_and_counted_and_hurt_nobody(data, known):
    world = World()
    client, cluster = RemoteClient(world, 5), RemoteCluster(world, 1)
    task = client.submit(0, b"abc")
    settle(world, [client], [cluster])
    stranger = RemoteClient(world, 6)
    if known:
        settle(world, [stranger], [], 1)
    parts = data if isinstance(data, list) else [data]
    stranger.link.is_hostile = True
    world.remote.on_message(stranger.link.routing_id, parts, world.now_s)
    assert world.remote.dropped == 1
    assert isinstance(decode(stranger.link.down[-1]).body, Refusal)
    assert client.submit(0, b"def") is not None
    settle(world, [client], [cluster])
    assert [answer for _, answer in client.answers] == [b"cba", b"fed"]
    assert task is not None


@given(st.integers(0, 2**32))
@settings(max_examples=rounds(150))
def test_damaged_frames_of_a_session_hurt_only_that_session(seed):
    chance = random.Random(seed)
    world = World()
    client, cluster, broken = RemoteClient(world, 5), RemoteCluster(world, 1), RemoteClient(world, 6)
    for number in range(5):
        broken.submit(0, b"payload %d" % number)
    broken.link.carry_up()
    broken.link.carry_down()
    broken.link.speak()
    broken.link.is_hostile = True
    for data in list(broken.link.up):
        damaged = bytearray(data)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        world.remote.on_message(broken.link.routing_id, [bytes(damaged)[: chance.randrange(len(data) + 1)]], 0.0)
        world.remote.on_message(broken.link.routing_id, [bytes(damaged)], 0.0)
    world.core.step(0)
    assert client.submit(0, b"abc") is not None
    settle(world, [client], [cluster])
    assert [answer for _, answer in client.answers] == [b"cba"]


def test_a_damaged_frame_that_had_to_wait_for_its_turn_hurts_only_its_session():
    world = World()
    client, cluster, broken = RemoteClient(world, 5), RemoteCluster(world, 1), RemoteClient(world, 6)
    settle(world, [client, broken], [cluster], 2)
    quota, world.core.client_queue_bytes = world.core.client_queue_bytes, 0  # of several tasks one is taken
    for _ in range(3):
        broken.submit(0, b"abc")
    broken.link.speak()
    while broken.link.up:
        broken.link.carry_up()
    broken.link.is_hostile = True
    ids = b"".join((7 << 40 | number).to_bytes(8, "little") for number in (1, 2))  # another client's
    number = broken.link.side.talk.ledger.sent + 1
    world.remote.on_message(broken.link.routing_id, [encode(Frame(Tasks(tasks=ids), number))], world.now_s)
    assert world.remote.dropped == 0
    world.core.client_queue_bytes = quota
    world.remote.flush(world.now_s)
    assert world.remote.dropped == 1
    assert isinstance(decode(broken.link.down[-1]).body, Refusal)
    assert client.submit(0, b"abc") is not None
    settle(world, [client], [cluster])
    assert [answer for _, answer in client.answers] == [b"cba"]


def test_a_cluster_that_is_told_to_stop_says_goodbye():
    world = World()
    cluster = RemoteCluster(world, 1)
    settle(world, [], [cluster], 2)
    world.remote.shut_down_clusters()
    world.remote.flush(world.now_s)
    side = cluster.link.side
    while cluster.link.down:
        side.on_frame(cluster.link.down.popleft())
    assert side.over is not None
    assert isinstance(decode(side.talk.outbox[-1]).body, Goodbye)


def say_hello(world, said: Hello):
    """What the scheduler answers to a hello."""
    peer = RemoteClient(world, 77)
    peer.link.up.clear()
    peer.link.up.append(encode(Frame(said)))
    peer.link.carry_up()
    return decode(peer.link.down.popleft()).body


def test_another_python_is_refused_with_a_sentence_that_says_what_to_do():
    answer = say_hello(World(), Hello(0, 3, 8, b"identity", 3))
    assert isinstance(answer, Refusal)
    assert "Python 3.8" in answer.reason
    assert not answer.is_temporary


def test_a_client_number_in_use_is_refused_until_another_is_drawn():
    world = World()
    client = RemoteClient(world, 5)
    settle(world, [client], [], 2)
    answer = say_hello(world, hello(Role.CLIENT, 5))
    assert isinstance(answer, Refusal)
    assert answer.is_temporary


def test_a_task_of_another_client_ends_the_session_that_named_it():
    world = World()
    client = RemoteClient(world, 5)
    settle(world, [client], [], 2)
    foreign = Tasks(tasks=(9 << 40 | 1).to_bytes(8, "little"), functions=bytes(4), ends=bytes(4))
    client.link.is_hostile = True
    client.link.side.talk.post(foreign)
    client.link.speak()
    client.link.carry_up()
    assert world.remote.dropped == 1
    assert isinstance(decode(client.link.down[-1]).body, Refusal)


def test_a_clear_leaves_what_was_submitted_after_it():
    world = World()
    client, cluster = RemoteClient(world, 5), RemoteCluster(world, 1)
    client.submit(0, b"early")
    settle(world, [client], [], 2)
    client.link.side.talk.post(Clear())
    late = client.submit(0, b"late")
    settle(world, [client], [cluster])
    assert client.answers == [(late, b"etal")]


def test_an_error_of_the_scheduler_ends_a_relays_session():
    world = World()
    client = RemoteClient(world, 5)
    settle(world, [client], [], 2)
    with pytest.raises(FrameError, match="Tasks to a client"):
        client.link.side.on_frame(encode(Frame(Tasks(tasks=bytes(8), ends=bytes(4)), 1)))


def test_a_client_that_has_too_much_queued_is_stopped_and_then_goes_on():
    world = World()
    world.core.client_queue_bytes = 80_000
    client = RemoteClient(world, 5, ring_bytes=1 << 20)
    payloads = [b"%d" % number + bytes(900) for number in range(600)]
    for payload in payloads:
        assert client.submit(0, payload) is not None
        settle(world, [client], [], 1)
    (link,) = world.remote._links.values()
    assert len(link.untaken) > 0
    assert world.core.counts()["accepted"] < 30
    assert client.link.side.talk.ledger.unacknowledged_bytes > 0
    cluster = RemoteCluster(world, 2)
    counted = []
    for _ in range(400):
        settle(world, [client], [cluster], 1)
        assert link.untaken_bytes == sum(waiting.size + WAITING_BYTES for waiting in link.untaken)
        counted.append(link.untaken_bytes)
    assert len(set(counted)) > 2  # it was not merely emptied at a stroke
    assert sorted(answer for _, answer in client.answers) == sorted(payload[::-1] for payload in payloads)
    assert not link.untaken
    assert link.untaken_bytes == 0
    world.left_over(client, cluster)


def with_too_much_queued(world):
    """(a client over its quota, its link, its tasks); no worker is there."""
    world.core.client_queue_bytes = 80_000
    client = RemoteClient(world, 5, ring_bytes=1 << 20)
    tasks = []
    for number in range(300):
        tasks.append(client.submit(0, b"%d" % number + bytes(900)))
        settle(world, [client], [], 1)
    (link,) = world.remote._links.values()
    assert link.untaken
    return client, link, tasks


@pytest.mark.parametrize("by_clear", [False, True])
def test_what_a_client_that_has_too_much_queued_cancels_goes_at_once_and_makes_room(by_clear):
    world = World()
    client, link, tasks = with_too_much_queued(world)
    assert world.core.counts()["rows"] > 0
    kept = tasks.pop()
    if by_clear:
        client.link.side.talk.post(Clear())
        kept = client.submit(0, b"after it")
    else:
        for task in tasks:
            client.cancel(task)
            settle(world, [client], [], 1)
    settle(world, [client], [], 400)  # and no worker is there
    assert not link.untaken
    assert world.core.counts()["rows"] == 1
    cluster = RemoteCluster(world, 1)
    settle(world, [client], [cluster], 20)
    assert [task for task, _ in client.answers] == [kept]
    world.left_over(client, cluster)


def test_a_client_that_has_too_much_queued_is_heard_when_it_stops_the_scheduler():
    world = World()
    client, _, tasks = with_too_much_queued(world)
    assert client.rings.up.write(KIND_SHUTDOWN) is not None
    client.link.speak()
    while client.link.up or client.link.down:
        client.link.carry_up()
        client.link.carry_down()
    assert client.rings.down.read()[:3] == (KIND_REFUSED, 0, b"not here")
    cluster = RemoteCluster(world, 1)
    settle(world, [client], [cluster], 400)
    assert len(client.answers) == len(tasks)
    world.left_over(client, cluster)


def test_a_worker_that_writes_nonsense_is_hung_up_on_and_its_host_goes_on():
    world = World()
    client, cluster = RemoteClient(world, 5), RemoteCluster(world, 2)
    settle(world, [client], [cluster], 2)
    bad = cluster.workers[0]
    assert bad.rings.results.write(KIND_RELEASE, 0, b"12345") is not None
    tag = worker_tag(bad.peer.number)
    gone = join_places([(tag << 40 | 1, tag << 32 | 99, 0, 10, PLACE_NEW)])
    assert bad.rings.results.write(KIND_RESULT, 1, gone, flags=FLAG_OBJECTS) is not None
    cluster.link.speak()
    assert bad.peer in cluster.broken
    assert cluster.link.side.over is None


def test_what_a_worker_has_answered_is_not_run_again_though_the_window_was_full_when_it_went(monkeypatch):
    world = World()
    client, cluster = RemoteClient(world, 5), RemoteCluster(world, 2)
    settle(world, [client], [cluster], 2)
    for number in range(20):
        assert client.submit(0, b"task %d" % number) is not None
    settle(world, [client], [], 2)
    while cluster.link.down:
        cluster.link.carry_down()
    gone = cluster.workers.pop(0)
    with monkeypatch.context() as patch:
        patch.setattr(conversation, "WINDOW_BYTES", 0)
        cluster.link.speak()
        gone.step()
        assert gone.ran
        cluster.link.speak()
        cluster.side.on_left(gone.peer, 0, "")
    settle(world, [client], [cluster])
    assert len(client.answers) == 20
    assert not set(gone.ran) & set(cluster.workers[0].ran)


def count_peers() -> tuple[int, int]:
    """How many peers of relays there are, and how many outlets."""
    gc.collect()
    there = gc.get_objects()
    peers, outlets = (sum(isinstance(each, kind) for each in there) for kind in (RelayPeer, RunOutlet))
    return peers, outlets


def test_workers_come_and_go_in_one_session_without_end():
    peers, outlets = count_peers()
    world = World()
    client, cluster = RemoteClient(world, 5), RemoteCluster(world, 1)
    settle(world, [client], [cluster], 2)
    side, rings = cluster.side, Rings(8192)
    for _ in range(NEWS_WORDS * 64):  # as many as there are slots have come and gone
        side.relay.remove(side.relay.add(rings.memory, -1))
    tasks, ran = [], []
    for number in range(3000):
        tasks.append(client.submit(0, b"task %d" % number + bytes(9000 if number % 100 == 0 else 0)))
        settle(world, [client], [cluster], 1)
        gone = cluster.workers.pop()
        ran += gone.ran
        side.on_left(gone.peer, 0, "")
        cluster.workers.append(RemoteWorker(cluster, 65536))
        side.on_joined(cluster.workers[0].peer, "worker", 1)
    settle(world, [client], [cluster])
    assert sorted(task for task, _ in client.answers) == tasks
    assert sorted(ran + cluster.workers[0].ran) == tasks, "some have run twice"
    assert world.core.counts()["workers"] == 1
    peers_now, outlets_now = count_peers()
    assert peers_now - peers <= 3, "the client, the worker, the one before it"
    assert outlets_now - outlets <= 6, "two each"
    assert not any(world.left_over(client, cluster))


def test_what_workers_have_said_that_went_before_the_session_began_is_passed_over():
    world = World()
    client, cluster = RemoteClient(world, 5), RemoteCluster(world, 1)
    settle(world, [client], [cluster], 2)
    place = cluster.workers[0].store.put(bytes(90_000), PLACE_NEW)
    for payload, flags in ((b"a", 0), (join_places([place]), FLAG_OBJECTS)):
        said = RecordRun()
        said.write(KIND_RESULT, 5 << 40 | 1, payload, flags=flags, attempt=1)
        aside = said.read() if flags else said
        assert aside is not None
        cluster.link.side.relay.asides.append((7, aside))
    task = client.submit(0, b"abc")
    settle(world, [client], [cluster])
    assert world.remote.dropped == 0
    assert client.answers == [(task, b"cba")]
    assert len(world.store) == 0
    assert cluster.workers[0].store.free(place[0])
    assert not any(world.left_over(client, cluster))


def test_an_object_that_never_came_cannot_be_named():
    world = World()
    client, cluster = RemoteClient(world, 5), RemoteCluster(world, 1)
    settle(world, [client], [cluster], 2)
    nothing = bare(join_places([(world.core.own_tag << 40 | 1, 0, 0, 0, PLACE_NEW)]))
    columns = RecordRun()
    columns.write(KIND_RESULT, 5 << 40 | 1, nothing, flags=FLAG_OBJECTS)
    cluster.link.is_hostile = True
    results = runs_to_result_columns([(0, columns)])
    assert results is not None
    cluster.link.side.talk.post(Results(*results))
    cluster.link.speak()
    cluster.link.carry_up()
    assert world.remote.dropped == 1
    assert isinstance(decode(cluster.link.down[-1]).body, Refusal)
