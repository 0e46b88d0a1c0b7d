"""When a peer that says nothing is taken for dead, and when not."""

import pytest

from scaler.protocol.codec import decode
from scaler.protocol.frames import Refusal
from scaler.session.silence import CLOSED_S, HUNG_TIMES
from tests.sim.test_wire import settle
from tests.sim.wire import RemoteClient, RemoteCluster, World

HEARTBEAT_S = 2.0
TIMEOUT_S = 60.0


@pytest.fixture
def world():
    return World()


def pass_time(world, seconds, *talking):
    """Heartbeats of the scheduler; these say something meanwhile."""
    end_s = world.now_s + seconds
    while world.now_s < end_s:
        world.now_s = min(end_s, world.now_s + HEARTBEAT_S)
        for peer in talking:
            peer.link.side.talk.say()
            peer.link.speak()
            while peer.link.up:
                peer.link.carry_up()
        world.remote.on_tick(world.now_s)


def vanish(world, peer):
    """Its connection is no more."""
    del world.links[peer.link.routing_id]


def workers(world):
    return world.core.counts()["workers"]


def test_a_host_whose_connection_was_closed_and_that_does_not_come_back_is_given_up_soon(world):
    cluster, other = RemoteCluster(world, 2), RemoteCluster(world, 1)
    settle(world, [], [cluster, other], 2)
    vanish(world, cluster)
    pass_time(world, CLOSED_S, other)
    assert workers(world) == 3
    pass_time(world, 2 * HEARTBEAT_S + 1, other)
    assert workers(world) == 1


def test_a_host_that_comes_back_in_time_is_not_given_up(world):
    cluster = RemoteCluster(world, 2)
    settle(world, [], [cluster], 2)
    cluster.link.cut()
    pass_time(world, CLOSED_S)
    settle(world, [], [cluster], 2)
    pass_time(world, 2 * CLOSED_S, cluster)
    assert workers(world) == 2


def test_a_client_whose_connection_was_closed_has_all_the_time_out(world):
    client = RemoteClient(world, 5)
    settle(world, [client], [], 2)
    vanish(world, client)
    pass_time(world, TIMEOUT_S - HEARTBEAT_S)
    assert world.core.has_client(5)
    pass_time(world, 2 * HEARTBEAT_S)
    assert not world.core.has_client(5)


def test_silence_is_a_death_when_pings_are_not_answered_either(world):
    cluster = RemoteCluster(world, 2)
    settle(world, [], [cluster], 2)
    pass_time(world, TIMEOUT_S / 2 + HEARTBEAT_S)  # then ZeroMQ closes the connection
    vanish(world, cluster)
    pass_time(world, TIMEOUT_S / 2 - 2 * HEARTBEAT_S)
    assert workers(world) == 2
    pass_time(world, 2 * HEARTBEAT_S)
    assert workers(world) == 0


def test_a_process_whose_interpreter_is_held_is_given_longer(world):
    client = RemoteClient(world, 5)
    settle(world, [client], [], 2)
    pass_time(world, 5 * TIMEOUT_S)
    assert world.core.has_client(5)
    pass_time(world, HUNG_TIMES * TIMEOUT_S)
    assert not world.core.has_client(5)
    client.link.down.clear()
    assert not world.remote


def test_who_is_given_up_is_told_so(world):
    cluster = RemoteCluster(world, 1)
    settle(world, [], [cluster], 2)
    pass_time(world, HUNG_TIMES * TIMEOUT_S + HEARTBEAT_S)
    body = decode(cluster.link.down[-1]).body
    assert isinstance(body, Refusal)
    assert body.is_temporary
    assert "nothing was heard" in body.reason


def test_time_that_the_scheduler_itself_did_not_run_is_nobodys_silence(world):
    client, cluster = RemoteClient(world, 5), RemoteCluster(world, 2)
    settle(world, [client], [cluster], 2)
    pass_time(world, HEARTBEAT_S)
    vanish(world, client)
    vanish(world, cluster)
    world.now_s += 10 * TIMEOUT_S
    world.remote.on_tick(world.now_s)
    assert workers(world) == 2
    assert world.core.has_client(5)
    pass_time(world, TIMEOUT_S + 2 * HEARTBEAT_S)
    assert not world.remote
