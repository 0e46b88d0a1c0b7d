"""Relays to which a scheduler says what makes no sense: their session is over with an error, and that is all."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.exceptions import ScalerError
from scaler.protocol.codec import encode
from scaler.protocol.frames import UNNUMBERED, Frame
from tests.effort import rounds
from tests.sim.test_hostile import nonsense
from tests.sim.test_wire import settle
from tests.sim.wire import RemoteClient, RemoteCluster, World


@pytest.mark.parametrize("peer_class", [RemoteClient, RemoteCluster])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=rounds(100))
def test_nonsense_ends_the_session_with_an_error_and_nothing_else(peer_class, seed):
    chance = random.Random(seed)
    world = World()
    peer = RemoteClient(world, 5) if peer_class is RemoteClient else RemoteCluster(world, 1)
    other = RemoteCluster(world, 1) if peer_class is RemoteClient else RemoteClient(world, 6)
    settle(world, [each for each in (peer, other) if isinstance(each, RemoteClient)],
           [each for each in (peer, other) if isinstance(each, RemoteCluster)], 2)  # fmt: skip
    side = peer.link.side
    number = side.talk.ledger.received
    for _ in range(30):
        body = nonsense(chance)
        is_numbered = type(body) not in UNNUMBERED
        try:
            data = bytearray(encode(Frame(body, number + 1 if is_numbered else 0, 0)))
        except Exception:
            continue  # a value that no frame can carry
        if chance.random() < 0.1:
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            side.on_frame(bytes(data))
            number = side.talk.ledger.received
            peer.link.speak()
        except (ScalerError, ValueError):
            break  # as relay_thread has it: the session is over
        if side.over is not None:
            break
    side.talk.close()
    world.left_over(*(each for each in (peer, other)))


@given(data=st.binary(max_size=400))
@settings(max_examples=rounds(200))
def test_random_bytes_end_the_session_with_an_error(data):
    world = World()
    client = RemoteClient(world, 5)
    settle(world, [client], [], 1)
    with pytest.raises((ScalerError, ValueError)):
        client.link.side.on_frame(data)
    world.left_over(client)
