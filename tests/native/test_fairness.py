"""Nobody waits for another's flood: ten tasks beside a flood of longer, shorter, unknown, nested ones come back about
as soon as if the clients took turns, task by task.

The measure: `by_turns`, where two workers that have just begun with the flood take a task of either client in turn, and
nothing costs time. The engine gives its workers some milliseconds of work ahead: it may take twice as long and 10 ms.
Virtual time, so these are no timings: they come out the same on any machine.
"""

import heapq

import pytest

from scaler._native import FLAG_INPUTS, TaskOptions, pack_inputs
from tests.native.played import MS, US, Host, Player, PlayerElsewhere

LENGTHS = [50 * US, 500 * US, 5 * MS, 50 * MS]
TEN = 10
SLACK_NS = 10 * MS
FLOODING, TAUGHT = 1, 2  # functions
AHEAD = 3000  # tasks of the flood that wait at any time


def by_turns(duration, flood, workers=2, count=TEN):
    """How long each of `count` tasks takes to come back beside a flood, the clients taking turns."""
    free = [flood] * workers
    waits = []
    is_floods_turn = False
    while len(waits) < count:
        now = heapq.heappop(free)
        end = now + (flood if is_floods_turn else duration)
        heapq.heappush(free, end)
        if not is_floods_turn:
            waits.append(end)
        is_floods_turn = not is_floods_turn
    return waits


class Flood:
    """A client that always has more tasks waiting."""

    def __init__(self, host, client, duration, **fields):
        self.host, self.client, self.duration, self.fields = host, client, duration, fields
        host.on_answers.append(self.on_answers)
        client.submit(FLOODING, [duration] * AHEAD, **fields)

    def on_answers(self, client, answers):
        if client is self.client:
            client.submit(FLOODING, [self.duration] * len(answers), **self.fields)


def teach(host, client, function, duration, **fields):
    """Have the core know how long this function takes."""
    tasks = client.submit(function, [duration] * 40, **fields)
    host.pass_time(lambda: tasks[-1] in client.answers)


def check(host, client, tasks, duration, flood):
    """From now on they must come back soon."""
    turns = max(by_turns(duration, flood))
    end = host.now + 2 * turns + SLACK_NS
    host.pass_time(lambda: all(task in client.answers for task in tasks) or host.now > end)
    back = sum(task in client.answers for task in tasks)
    assert host.now <= end, (
        f"of ten tasks of {duration / MS} ms beside a flood of {flood / MS} ms {back} are back after "
        f"{(2 * turns + SLACK_NS) / MS:.1f} ms; by turns it takes {turns / MS:.1f} for all"
    )


def ten_of(client, duration, **fields):
    """Submits ten tasks of a function."""
    return lambda function: (client, client.submit(function, [duration] * TEN, **fields))


def ten_beside_a_flood(host, submit, duration, flood, is_known, moments=3):
    """`submit(function)` submits ten, at several moments; each time their waits must be short."""
    function = TAUGHT
    for moment in range(moments):
        host.pass_time(host.now + 8 * flood + 20 * MS + moment * (flood // 3 + 700 * US))
        function += not is_known
        client, tasks = submit(function)
        check(host, client, tasks, duration, flood)


each_cell = pytest.mark.parametrize(
    ("duration", "flood", "is_known"),
    [(duration, flood, is_known) for duration in LENGTHS for flood in LENGTHS for is_known in (False, True)],
)


def two_clients(players, duration, is_known, **fields):
    host = Host(players)
    flooder, client = host.add_client(), host.add_client()
    if is_known:
        teach(host, client, TAUGHT, duration, **fields)
    return host, flooder, client


@each_cell
@pytest.mark.parametrize("player", [Player, PlayerElsewhere])
def test_ten_tasks_beside_a_flood_take_turns_with_it(player, duration, flood, is_known):
    host, flooder, client = two_clients([player, player], duration, is_known)
    Flood(host, flooder, flood)
    ten_beside_a_flood(host, ten_of(client, duration), duration, flood, is_known)


@pytest.mark.parametrize("duration", [50 * US, 500 * US])
@pytest.mark.parametrize("flood", [5 * MS, 50 * MS])
def test_ten_quick_tasks_beside_long_ones_are_a_turn_or_two_and_not_ten(duration, flood):
    host, flooder, client = two_clients([1, 1], duration, True)
    Flood(host, flooder, flood)
    host.pass_time(host.now + 8 * flood)
    start, tasks = host.now, client.submit(TAUGHT, [duration] * TEN)
    host.pass_time(lambda: all(task in client.answers for task in tasks))
    assert host.now - start <= 1.2 * (flood + TEN * duration) + 2 * MS


@each_cell
def test_a_flood_that_nobody_has_timed_yet(duration, flood, is_known):
    host, flooder, client = two_clients([1, 1], duration, is_known)
    Flood(host, flooder, flood)
    host.settle()
    check(host, client, client.submit(TAUGHT, [duration] * TEN), duration, flood)


@each_cell
def test_chunks_of_maps_are_tasks_like_others(duration, flood, is_known):
    host, flooder, client = two_clients([1, 1], duration, is_known, items=5)
    Flood(host, flooder, flood, items=20)
    ten_beside_a_flood(host, ten_of(client, duration, items=5), duration, flood, is_known)


@each_cell
def test_a_higher_priority_waits_for_no_more_than_what_was_placed(duration, flood, is_known):
    host, flooder, client = two_clients([1, 1], duration, is_known)
    Flood(host, flooder, flood, options=TaskOptions(priority=-3))
    ten_beside_a_flood(host, ten_of(client, duration), duration, flood, is_known)


@each_cell
def test_a_task_s_children_take_turns_with_what_others_submit(duration, flood, is_known):
    """The task runs on a third worker. It has sent its children to the scheduler."""
    host, flooder, client = two_clients([1, 1, 1], duration, is_known)
    parent = client.submit(100, [3600_000 * MS])[0]
    host.settle()
    worker = next(player for player in host.alive if player.running and player.running.task == parent)
    nested = host.add_client(worker)
    host.pass_time(host.now + 100 * MS)
    Flood(host, flooder, flood)
    ten_beside_a_flood(host, ten_of(nested, duration), duration, flood, is_known)


@each_cell
def test_a_flood_of_a_task_s_children_takes_its_root_s_turns(duration, flood, is_known):
    """Two tasks of one client submit them, each in a worker of its own; elsewhere they would be two clients' turns."""
    host, flooder, client = two_clients([1, 1, 1, 1], duration, is_known)
    parents = flooder.submit(100, [3600_000 * MS] * 2)
    host.settle()
    for player in host.alive:
        if player.running and player.running.task in parents:
            nested = host.add_client(player)
            host.pass_time(host.now + 100 * MS)
            Flood(host, nested, flood, detail=flooder.bits << 8 | 1)
    ten_beside_a_flood(host, ten_of(client, duration), duration, flood, is_known)


@each_cell
def test_ten_whose_input_has_just_come(duration, flood, is_known):
    host, flooder, client = two_clients([1, 1], duration, is_known)
    Flood(host, flooder, flood)

    def submit(function):
        first = client.submit(101, [flood])
        head = pack_inputs(first, 0, 0, False)
        tasks = client.submit(function, [duration] * TEN, head + b"rest", flags=FLAG_INPUTS)
        host.pass_time(lambda: first[0] in client.answers)
        return client, tasks

    ten_beside_a_flood(host, submit, duration, flood, is_known)


@each_cell
def test_a_flood_whose_inputs_have_just_come(duration, flood, is_known):
    """Who has just been completed stands before its client's other tasks, not before those of others."""
    host, flooder, client = two_clients([1, 1], duration, is_known)
    teach(host, flooder, FLOODING, flood)
    first = flooder.submit(101, [1 * MS])
    count = 20 + 2 * (TEN * (duration + flood) + 100 * MS) // flood
    flooder.submit(FLOODING, [flood] * count, pack_inputs(first, 0, 0, False), flags=FLAG_INPUTS)
    host.pass_time(lambda: first[0] in flooder.answers)
    ten_beside_a_flood(host, ten_of(client, duration), duration, flood, is_known, moments=1)


@each_cell
def test_payloads_that_need_room_in_a_ring_that_small_ones_keep_full(duration, flood, is_known):
    host, flooder, client = two_clients([], duration, False)
    for _ in range(2):
        host.join(Player, ring_bytes=4096)
    if is_known:
        teach(host, client, TAUGHT, duration)
    Flood(host, flooder, flood)
    ten_beside_a_flood(
        host,
        ten_of(client, duration, payload=bytes(400)),
        duration,
        flood,
        is_known,
    )
