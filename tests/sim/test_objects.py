"""Objects between hosts over connections of their own, which may fail at any moment: each gets there, none stays."""

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler._native import FLAG_OBJECTS, KIND_RESULT, PLACE_NEW, Segment, area_name, join_places
from scaler.colocation.names import object_folder
from scaler.objects.outgoing import OutgoingObjects
from scaler.protocol.codec import decode, encode
from scaler.protocol.frames import Fetched, Frame, Offer, Serves, Tasks
from scaler.session.cluster_end import worker_tag
from tests.effort import rounds
from tests.sim.test_wire import settle, talk
from tests.sim.wire import Port, RemoteClient, RemoteCluster, World

LARGE = 300_000


def make_world(n_clusters=1, n_workers=1):
    world = World()
    client = RemoteClient(world, 5)
    client.link.carry_objects(None, client.host.relay_store)
    clusters = [RemoteCluster(world, n_workers) for _ in range(n_clusters)]
    for number, cluster in enumerate(clusters, 1):
        cluster.link.carry_objects(Port(number), cluster.host.relay_store)
    return world, client, clusters


def frames_of(messages):
    return [decode(data).body for data in messages]


@given(st.integers(0, 2**32))
@settings(max_examples=rounds(30))
def test_each_task_is_answered_once_whatever_becomes_of_transfers_and_links(seed):
    chance = random.Random(seed)
    world, client, clusters = make_world(3)
    world.transfers_end = False
    workers = [worker for cluster in clusters for worker in cluster.workers]
    links = [client.link, *(cluster.link for cluster in clusters)]
    wanted, held = {}, b""
    for _ in range(400):
        what = chance.random()
        if what < 0.15:
            if client.held is not None and client.functions and chance.random() < 0.5:
                payload, task = held, client.submit_held()
            else:
                payload = chance.randbytes(chance.choice((1, 900, 100_000, LARGE, LARGE)))
                hold = chance.random() < 0.3
                task = client.submit(chance.choice((0, 1, 100)), payload, hold)
                held = payload if hold and task is not None else held
            if task is not None:
                wanted[task] = payload[::-1]
        elif what < 0.19:
            answered = {task for task, _ in client.answers}
            open_tasks = [task for task in wanted if task not in answered]
            if open_tasks and client.cancel(task := chance.choice(open_tasks)):
                del wanted[task]
        elif what < 0.3:
            chance.choice(workers).step()
        elif what < 0.35:
            client.step()
        elif what < 0.5:
            chance.choice(links).speak()
        elif what < 0.65:
            chance.choice(links).carry_up()
        elif what < 0.8:
            chance.choice(links).carry_down()
        elif what < 0.95:
            chance.choice(links).dialer.step(chance.random() < 0.7, chance.randrange(100))
        elif what < 0.97:
            chance.choice(links).cut()
        else:
            world.tick()
    world.transfers_end = True
    settle(world, [client], clusters, 200)
    client.release_held()
    while client.functions:
        assert client.forget(next(iter(client.functions)))
    settle(world, [client], clusters, 200)
    answers = dict(client.answers)
    assert len(answers) == len(client.answers)
    assert {task: answers.get(task) for task in wanted} == wanted
    assert world.core.counts()["rows"] == 0
    assert not any(world.left_over(client, *clusters))
    assert len(world.objects.directory) == 0
    for port in world.ports.values():
        assert not port.served
        assert not port.expected


def test_a_small_object_overtakes_a_large_one():
    world, client, clusters = make_world()
    world.transfers_end = False
    settle(world, [client], clusters, 2)
    large = client.submit(0, bytes(LARGE))
    small = client.submit(0, bytes(9000))
    settle(world, [client], clusters)
    assert [task for task, _ in client.answers] == [small]
    world.transfers_end = True
    settle(world, [client], clusters)
    assert [task for task, _ in client.answers] == [small, large]
    world.left_over(client, *clusters)


def test_nobody_names_an_object_before_the_task_that_brings_it():
    world, client, clusters = make_world()
    world.transfers_end = False
    settle(world, [client], clusters, 2)
    first = client.submit(0, bytes(LARGE), hold=True)
    second = client.submit_held()
    settle(world, [client], clusters)
    assert client.answers == []
    world.transfers_end = True
    settle(world, [client], clusters)
    assert {task: len(answer) for task, answer in client.answers} == {first: LARGE, second: LARGE}
    client.release_held()
    settle(world, [client], clusters)
    assert not any(world.left_over(client, *clusters))


def test_several_tasks_of_a_host_share_one_transfer():
    world, client, clusters = make_world(n_workers=2)
    settle(world, [client], clusters, 2)
    client.submit(0, bytes(LARGE), hold=True)
    for _ in range(5):
        client.submit_held()
    offered = []
    for _ in range(40):
        client.link.speak()
        client.link.carry_up()
        client.link.carry_down()
        offered += [body for body in frames_of(clusters[0].link.down) if isinstance(body, Offer)]
        settle(world, [], clusters, 1)
        client.step()
    assert len(client.answers) == 6
    assert len({offer.object for offer in offered}) == 1
    world.left_over(client, *clusters)


def test_the_second_host_is_sent_to_the_first_while_the_scheduler_is_busy():
    world, client, clusters = make_world(2)
    settle(world, [client], clusters, 2)
    directory, ports = world.objects.directory, world.ports
    client.submit(0, bytes(LARGE), hold=True)
    settle(world, [client], clusters)
    assert len(directory) == 1
    (object_id,) = directory._sources
    first = directory.choose(object_id)
    second = directory.choose(object_id)
    assert first is None
    assert second.host.address in ("cluster:1", "cluster:2")
    assert [bool(port.served) for port in ports.values()].count(True) == 1  # whoever has fetched it serves it
    client.release_held()
    settle(world, [client], clusters)
    assert len(directory) == 0
    assert not any(port.served for port in ports.values())
    assert not any(world.left_over(client, *clusters))


def segments_of(worker):
    """Names of the segments that there are of this worker's store."""
    prefix = f"scaler-{worker.host.epoch}-{worker.store.tag:06x}-"
    return [name for name in os.listdir("/dev/shm") if name.startswith(prefix)]


def fetches_of(link):
    """What the jobs of this host's dialer fetch, as they are added: (where it is tried first, its token)."""
    fetches = []
    fetch = link.dialer.fetch

    def note(arrival, places, done):
        fetches.append(places[0][:2])
        fetch(arrival, places, done)

    link.dialer.fetch = note
    return fetches


def test_what_a_worker_has_made_does_not_come_back_to_its_host():
    world, client, (cluster,) = make_world()
    settle(world, [client], [cluster], 2)
    payload = random.randbytes(LARGE)
    first, second = client.submit_pair(0, payload)
    fetches = fetches_of(cluster.link)
    settle(world, [client], [cluster])
    assert dict(client.answers) == {first: payload[::-1], second: payload}
    assert len(fetches) == 1  # the first one's argument
    assert not any(world.left_over(client, cluster))
    assert not any(port.served for port in world.ports.values())


def test_what_a_worker_had_made_goes_to_others_from_its_host_though_it_has_gone():
    world, client, clusters = make_world(2)
    settle(world, [client], clusters, 2)
    payload = random.randbytes(LARGE)
    first, second = client.submit_pair(0, payload)
    talk(world, [client, *clusters], 5)
    for cluster in clusters:
        cluster.workers[0].begin()
    maker, other = sorted(clusters, key=lambda cluster: cluster.workers[0].running is None)
    maker.workers[0].finish()
    talk(world, [client, *clusters], 5)
    (object_id,) = maker.link.side._kept_results._named
    assert world.objects.directory.choose(object_id) is None  # so the scheduler's host has something to do
    fetches = fetches_of(other.link)
    gone = maker.workers.pop()
    maker.link.side.on_left(gone.peer, -9, "")
    settle(world, [client], clusters)
    assert dict(client.answers) == {first: payload[::-1], second: payload}
    assert [place for place, _ in fetches] == [("cluster", clusters.index(maker) + 1)]
    assert not segments_of(gone)
    assert not any(world.left_over(client, *clusters))
    assert not any(port.served for port in world.ports.values())


def test_nothing_stays_of_a_worker_whose_end_had_not_been_said_when_the_scheduler_died():
    world, client, (cluster,) = make_world(n_workers=2)
    settle(world, [client], [cluster], 3)
    payloads = [random.randbytes(LARGE) for _ in range(2)]
    tasks = [client.submit(0, payload) for payload in payloads]
    talk(world, [client, cluster], 5)
    world.transfers_end = False
    for worker in cluster.workers:
        worker.step()
    talk(world, [client, cluster], 3)
    gone = cluster.workers.pop(0)
    cluster.link.side.on_left(gone.peer, -9, "")  # which waits until its result has been brought
    talk(world, [client, cluster], 3)
    assert segments_of(gone)
    world.transfers_end = True
    world.start()
    client.come_back()
    cluster.go_on()
    for _ in range(40):
        settle(world, [client], [cluster], 3)
        world.now_s += 1
        world.core.on_tick(int(world.now_s * 1e9))
    assert dict(client.answers) == {task: payload[::-1] for task, payload in zip(tasks, payloads, strict=True)}
    assert not segments_of(gone)
    assert not any(world.left_over(client, cluster))


def test_what_cannot_be_fetched_comes_in_chunks(monkeypatch):
    world, client, clusters = make_world()
    world.transfers_end = False
    settle(world, [client], clusters, 2)
    chunks, send_next = [], OutgoingObjects.send_next

    def note(outgoing, post):
        chunks.append(outgoing)
        send_next(outgoing, post)

    monkeypatch.setattr(OutgoingObjects, "send_next", note)
    task = client.submit(0, bytes(LARGE))
    for _ in range(60):
        settle(world, [client], clusters, 1)
        for peer in (client, *clusters):
            peer.link.dialer.step(False)
    assert client.answers == [(task, bytes(LARGE))]
    assert len(set(chunks)) == 4  # there and back, each in two steps
    assert not any(world.left_over(client, *clusters))


def test_a_task_whose_object_is_under_way_is_cancelled_at_once_and_leaves_nothing():
    world, client, clusters = make_world()
    settle(world, [client], clusters, 2)
    world.transfers_end = False
    task = client.submit(0, bytes(LARGE))
    for _ in range(5):
        settle(world, [client], clusters, 1)
        client.link.dialer.step(True)
    assert clusters[0].link.dialer.jobs  # on its way to the worker's host
    assert world.core.counts()["rows"] == 1
    assert client.cancel(task)
    settle(world, [client], clusters)
    assert world.core.counts()["rows"] == 0
    assert not world.ports[0].served
    clusters[0].link.dialer.step(True)  # what comes of it is too late
    settle(world, [client], clusters)
    assert clusters[0].workers[0].ran == []
    assert not any(world.left_over(client, *clusters))


def test_a_host_that_ends_in_the_middle_leaves_nothing():
    world, client, clusters = make_world(2)
    world.transfers_end = False
    settle(world, [client], clusters, 2)
    task = client.submit(0, bytes(LARGE))
    for _ in range(5):
        settle(world, [client], clusters, 1)
        client.link.dialer.step(True)
    busy = [cluster for cluster in clusters if cluster.link.dialer.jobs]
    assert len(busy) == 1
    busy[0].link.is_hostile = True
    world.remote.on_message(busy[0].link.routing_id, [b"nonsense"], 0.0)
    busy[0].link.side.talk.close()
    world.transfers_end = True
    rest = [cluster for cluster in clusters if cluster is not busy[0]]
    settle(world, [client], rest)
    assert client.answers == [(task, bytes(LARGE))]
    assert not any(world.left_over(client, *clusters))
    assert not world.ports[0].served


@pytest.mark.parametrize(
    "body",
    [
        Offer(6 << 40 | 1, 10),
        Offer(5 << 40 | 1, 1 << 50),
        Serves(b"k" * 16, "nowhere:1"),
        Serves(b"k" * 16, "x" * 64 + ":1"),
        Tasks(tasks=(5 << 40 | 1).to_bytes(8, "little"), functions=bytes(3)),
    ],
    ids=["another's object", "too large", "said twice", "no address", "a wrong column"],
)
def test_nonsense_about_objects_ends_the_session_that_says_it(body):
    world, client, clusters = make_world()
    settle(world, [client], clusters, 2)
    client.link.is_hostile = True
    client.link.side.talk.post(body)
    client.link.speak()
    while client.link.up:
        client.link.carry_up()
    assert world.remote.dropped == 1
    world.left_over(client, *clusters)


@pytest.mark.parametrize("lies_about", ["the segment", "the object"])
def test_a_worker_that_names_anothers_memory_is_shut_out_and_the_other_keeps_it(lies_about):
    world, client, clusters = make_world(1, 2)
    side, host = clusters[0].link.side, clusters[0].host
    settle(world, [client], clusters, 2)
    task = client.submit(0, b"def")
    talk(world, (client, *clusters), 6)
    for worker in clusters[0].workers:
        worker.begin()
    (liar,) = (worker for worker in clusters[0].workers if worker.running is not None)
    (other,) = (worker for worker in clusters[0].workers if worker is not liar)
    place = other.store.put(b"v" * 5000, PLACE_NEW)
    name = area_name(host.epoch, object_folder(), place[1])
    record = liar.running[0]
    own = worker_tag(liar.peer.number) << 40 | 1
    named = (own, *place[1:]) if lies_about == "the segment" else place
    liar.rings.results.write(
        KIND_RESULT, record.task, join_places([named]), function=record.function, flags=FLAG_OBJECTS,
        attempt=record.attempt, items=record.items,
    )  # fmt: skip
    clusters[0].link.speak()
    assert clusters[0].broken == [liar.peer]
    side.on_left(liar.peer, -9, "{}")
    clusters[0].workers.remove(liar)
    settle(world, [client], clusters)
    assert (task, b"fed") in client.answers
    assert Segment.exists(name)
    assert host.read(join_places([place])) == b"v" * 5000
    other.store.free(place[0])
    assert not any(world.left_over(client, *clusters))


def test_an_answer_to_no_offer_means_nothing():
    world, client, clusters = make_world()
    settle(world, [client], clusters, 2)
    client.link.side.talk.post(Fetched(5 << 40 | 1, True))
    task = client.submit(0, bytes(LARGE))
    settle(world, [client], clusters)
    assert world.remote.dropped == 0
    assert client.answers == [(task, bytes(LARGE))]
    assert encode(Frame(Fetched(1, True), 1))
    assert not any(world.left_over(client, *clusters))
