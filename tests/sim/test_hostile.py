"""Frames that are well formed and make no sense: they end the session that sent them, and hurt nobody else."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from scaler._native import join_places
from scaler.protocol import frames
from scaler.protocol.codec import encode
from scaler.protocol.frames import UNNUMBERED, Body, Frame, Function
from tests.effort import rounds
from tests.sim.wire import RemoteClient, RemoteCluster, World


def nonsense(chance: random.Random) -> Body:
    """Any body, about tasks, workers, functions and objects that may be another's, or nobody's."""
    noise = chance.randbytes
    tasks = b"".join((chance.choice((5, 6, 7)) << 40 | chance.randrange(6)).to_bytes(8, "little") for _ in range(2))
    peers = bytes((chance.randrange(3), 0, 0, 0)) * 2
    place = join_places([(chance.choice((5, 6, 7)) << 40 | chance.randrange(3), 0, 0, 10, chance.randrange(32))], b"a")
    payload = noise(3) + place
    ends = bytes((3, 0, 0, 0, len(payload), 0, 0, 0))
    flags = bytes((chance.randrange(32), 0))
    number = chance.choice((0, 1, 2, 2**31, 2**32 - 1))
    size = chance.choice((10, 20, 2**41, 2**63))
    return chance.choice(
        (
            frames.Tasks(tasks=tasks, functions=noise(8), flags=flags, items=noise(8), ends=ends, payload=payload),
            frames.Results(
                peers=peers,
                tasks=tasks,
                attempts=noise(16),
                flags=flags,
                statuses=noise(4),
                ends=ends,
                payload=payload,
            ),
            frames.Cancel(tasks=tasks),
            frames.Release(peers=peers, objects=tasks),
            frames.Freed(objects=tasks),
            frames.Taken(peers=peers, objects=tasks),
            frames.Withdraw(tasks=tasks),
            frames.Withdrawn(peers=peers, tasks=tasks, attempts=noise(16), took=b"\1\0"),
            frames.Functions.of([Function(0, number, noise(16), chance.randrange(32), chance.choice((place, b"")))]),
            frames.Joined(number, "worker", 3),
            frames.Left(number, 3, "gone"),
            frames.Chunk(number, chance.choice((0, 10, 2**40)), size, noise(10)),
            frames.Leaving(peers),
            frames.Demand(1, 2, 3, 4, peers, noise(chance.randrange(17))),
            frames.Leaving(noise(chance.randrange(7))),
            frames.Clear(),
            frames.Shutdown(),
            frames.ShutdownAnswer("no"),
            frames.Unable("none starts"),
            frames.Workers(3),
            frames.Goodbye("bye"),
            frames.Heartbeat(1),
            frames.Refusal("no"),
            frames.Welcome(1, bytes(16), heartbeat_ms=1),
        )
    )


@given(st.integers(0, 2**32))
@settings(max_examples=rounds(90))
def test_well_formed_nonsense_hurts_only_who_says_it(seed):
    chance = random.Random(seed)
    world = World()
    client, cluster = RemoteClient(world, 5), RemoteCluster(world, 1)
    hostile: list[RemoteClient | RemoteCluster] = [RemoteClient(world, 6), RemoteCluster(world, 1)]
    everybody = [client, cluster, *hostile]
    for peer in everybody:
        peer.link.carry_up()
        peer.link.carry_down()
        peer.link.speak()
        while peer.link.up:
            peer.link.carry_up()
    numbers = {peer: peer.link.side.talk.ledger.sent for peer in hostile}
    for peer in hostile:
        peer.link.is_hostile = True
    for _ in range(30):
        peer, body = chance.choice(hostile), nonsense(chance)
        if type(body) not in UNNUMBERED:
            numbers[peer] += 1
        try:
            data = bytearray(encode(Frame(body, 0 if type(body) in UNNUMBERED else numbers[peer], 0)))
        except Exception:
            continue  # a value that no frame can carry
        if chance.random() < 0.1:
            data[chance.randrange(len(data))] = chance.randrange(256)
        world.remote.on_message(peer.link.routing_id, [bytes(data)], 0.0)
        world.core.step(0)
        world.remote.flush(world.now_s)
        world.core.check()
    task = client.submit(0, b"abc")
    # The hostile cluster's worker may have been given the task before it is found silent.
    world.remote.on_message(hostile[1].link.routing_id, [b"nonsense"], 0.0)
    for _ in range(20):
        for peer in (client, cluster):
            peer.link.speak()
            while peer.link.up or peer.link.down:
                peer.link.carry_up()
                peer.link.carry_down()
        cluster.workers[0].step()
        client.step()
        world.tick()
    assert client.answers == [(task, b"cba")]
    for peer in hostile:  # whatever they brought goes with them
        world.remote.on_message(peer.link.routing_id, [b"nonsense"], 0.0)
    world.tick()
    assert world.core.counts()["rows"] == 0
    assert not any(world.left_over(client, cluster, *hostile))
