"""What a cluster says of its workers' deaths may be anything: the worker has left, and nobody else's task is lost."""

import json

import pytest

from scaler._native import FLAG_CHUNK, STATUS_WORKER_DIED
from scaler.protocol import frames
from tests.sim.hostile_peer import HostilePeer, as_u64, functions_of, tasks_of
from tests.sim.wire import RemoteClient, RemoteCluster, World

DEEP = 990  # what json reads and, a few frames further down, would not write
REASONS = {
    "half of a surrogate pair": '{"output":"\\ud800"}',
    "nested": '{"a":' + "[" * DEEP + "]" * DEEP + "}",
    "nested too deeply": "[" * 100_000,
    "odd types": '{"pid":[],"code":{},"oom":"yes","tries":-1,"worker":5,"host":null,"output":[1]}',
    "no number": '{"pid":1e999,"code":NaN}',
    "a huge number": '{"code":' + "9" * 4000 + "}",
    "no object": "[1]",
    "a sentence": "killed by its user",
    "long": json.dumps({"output": "\\" * 100_000}),
    "nothing": "",
}


@pytest.mark.parametrize("attempts", [b"1234567", bytes(16)])
def test_a_death_with_columns_that_do_not_fit_ends_the_session_and_all_its_workers(attempts):
    world = World()
    client, cluster, other = RemoteClient(world, 5), RemoteCluster(world, 2), RemoteCluster(world, 1)
    says, hears, helper = (HostilePeer(world, peer.link) for peer in (client, cluster, other))
    says.say(functions_of(1, b"code"))
    for number in range(1, 10):
        says.say(tasks_of((5 << 40 | number, 1, 0, b"x" * 40)))
    hears.say(frames.Left(0, -11, "", tasks=as_u64(5 << 40 | 1), attempts=attempts))
    assert not hears.is_there
    assert world.core.counts()["workers"] == 1
    for _ in range(20):
        for task, attempt in helper.tasks_given():
            helper.say(
                frames.Results(tasks=as_u64(task), attempts=as_u64(attempt), ends=bytes((1, 0, 0, 0)), payload=b"r")
            )
    assert sorted(task & 0xFF for task, _, _ in says.answers()) == list(range(1, 10))
    assert not any(world.left_over(client, cluster, other))


@pytest.mark.parametrize("name", REASONS)
def test_a_worker_that_is_said_to_have_died_oddly_has_died_and_no_more(name):
    world = World()
    client, cluster = RemoteClient(world, 5), RemoteCluster(world, 1)
    says, hears = HostilePeer(world, client.link), HostilePeer(world, cluster.link)
    says.say(functions_of(1, b"code"))
    given = []
    for number in range(1, 14):  # quick ones, so that the worker is given several at a time
        says.say(tasks_of((5 << 40 | number, 1, 0, b"x" * 40)))
        given += hears.tasks_given()
        task, attempt = given.pop()
        hears.say(frames.Results(tasks=as_u64(task), attempts=as_u64(attempt), ends=bytes((1, 0, 0, 0)), payload=b"r"))
    chunk = 5 << 40 | 14
    says.say(tasks_of((chunk, 1, FLAG_CHUNK, b"x" * 40, 3)))
    for number in range(15, 40):
        says.say(tasks_of((5 << 40 | number, 1, 0, b"x" * 40)))
    given = hears.tasks_given()
    assert len(given) > 2
    assert given[0][0] == chunk
    hears.say(frames.Left(0, -11, REASONS[name], tasks=as_u64(chunk), attempts=as_u64(given[0][1])))
    assert hears.is_there
    assert world.core.counts()["workers"] == 0
    assert world.core.counts()["rows"] == world.core.counts()["ready"] == 25
    told = [answer for answer in says.answers() if answer[0] == chunk]
    assert [status for _, status, _ in told] == [STATUS_WORKER_DIED]
    facts = json.loads(told[0][2])
    assert facts["tries"] == 1
    assert facts.get("code") == -11 or "code" in REASONS[name]
    other = RemoteCluster(world, 1)
    helper = HostilePeer(world, other.link)
    for _ in range(25):
        for task, attempt in helper.tasks_given():
            helper.say(
                frames.Results(tasks=as_u64(task), attempts=as_u64(attempt), ends=bytes((1, 0, 0, 0)), payload=b"r")
            )
    assert sorted(task & 0xFF for task, status, _ in says.answers() if status == 0) == list(range(15, 40))
    assert world.core.counts()["rows"] == 0
    assert not any(world.left_over(client, cluster, other))
