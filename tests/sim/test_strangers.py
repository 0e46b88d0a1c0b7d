"""Who says hello and no more, nonsense only, or reads nothing: what the scheduler keeps for that is bounded."""

import secrets
import sys
from hashlib import blake2b

import pytest

from scaler.protocol.codec import decode, encode
from scaler.protocol.frames import (
    Acknowledge,
    Frame,
    Function,
    Functions,
    Goodbye,
    Heartbeat,
    Hello,
    Joined,
    Left,
    Refusal,
    Role,
    Tasks,
    Unable,
    Welcome,
    column,
)
from scaler.session.conversation import WINDOW_BYTES
from scaler.session.remote_peers import BEGIN_S, MOST_UNBEGUN, WARNING_S
from scaler.session.silence import AT_ONCE
from scaler.session.strangers import MOST_REFUSALS
from tests.sim.wire import World


class Strangers:
    """Who has a socket, and says what the test says."""

    def __init__(self):
        self.world = World()
        self.heard = []
        self.world.remote._send = self.hear

    def hear(self, routing_id, data):
        self.heard.append((routing_id, decode(data).body))
        return True

    def hello(self, number, role=Role.CLIENT):
        here = sys.version_info
        bits = number if role == Role.CLIENT else 0
        hello = Hello(int(role), here[0], here[1], secrets.token_bytes(16), bits)
        self.say(number, encode(Frame(hello)))

    def say(self, number, data):
        self.world.remote.on_message(b"peer%d" % number, [data], self.world.now_s)

    def bodies_for(self, number):
        """What this one has heard since it was last asked."""
        bodies = [body for routing_id, body in self.heard if routing_id == b"peer%d" % number]
        self.heard.clear()
        return bodies

    def refused(self):
        return [routing_id for routing_id, body in self.heard if isinstance(body, Refusal)]


@pytest.mark.parametrize("role", [Role.CLIENT, Role.CLUSTER])
def test_of_those_that_say_hello_and_no_more_the_oldest_go_first(role):
    strangers = Strangers()
    for number in range(1, MOST_UNBEGUN + 11):
        strangers.hello(number, role)
    assert strangers.refused() == [b"peer%d" % number for number in range(1, 11)]
    assert len(strangers.world.remote._by_token) == MOST_UNBEGUN
    assert strangers.world.core.objects.hosts == (MOST_UNBEGUN if role == Role.CLUSTER else 0)


def test_who_says_hello_and_no_more_is_waited_for_no_longer_than_it_may_take():
    strangers = Strangers()
    for number in (1, 2):
        strangers.hello(number)
    strangers.say(2, encode(Frame(Unable("no reason"), 1)))  # nonsense from a client: that is how its session ends
    strangers.hello(3, Role.CLUSTER)
    strangers.say(3, encode(Frame(Unable(""), 1)))
    strangers.world.remote.on_tick(strangers.world.now_s)
    assert len(strangers.world.remote._by_token) == 2
    strangers.world.now_s = BEGIN_S + 1
    for number in (1, 3):  # its ZeroMQ lives, and says something
        strangers.world.remote._links[b"peer%d" % number].heard_s = strangers.world.now_s
    strangers.heard.clear()
    strangers.world.remote.on_tick(strangers.world.now_s)
    assert strangers.refused() == [b"peer1"]
    assert [link.routing_id for link in strangers.world.remote._by_token.values()] == [b"peer3"]


def test_who_was_given_up_for_saying_nothing_may_come_again():
    strangers = Strangers()
    for number in range(1, MOST_UNBEGUN + 2):
        strangers.hello(number)
    strangers.heard.clear()
    strangers.hello(1)
    assert isinstance(strangers.heard[-1][1], Welcome)


def test_nonsense_is_answered_now_and_then_and_no_more():
    strangers = Strangers()
    for number in range(10 * MOST_REFUSALS):
        strangers.say(number, b"nonsense")
    assert len(strangers.refused()) == MOST_REFUSALS
    strangers.world.now_s += WARNING_S
    strangers.say(1, b"nonsense")
    assert len(strangers.refused()) == MOST_REFUSALS + 1


def test_a_host_that_reads_nothing_is_told_of_no_more_functions_than_the_window_lets_out_and_of_all_in_the_end():
    count = 2500  # one for each worker, since nobody knows how long they take
    strangers = Strangers()
    world = strangers.world
    strangers.hello(1, Role.CLUSTER)
    for number in range(count):
        strangers.say(1, encode(Frame(Joined(number, "w", 1), number + 1)))
    strangers.hello(2)
    for number in range(1, count + 1):
        strangers.say(2, encode(Frame(Functions.of([function(number)]), number)))
    numbers = range(1, count + 1)
    batch = Tasks(tasks=column("Q", [2 << 40 | number for number in numbers]), functions=column("I", numbers))
    strangers.say(2, encode(Frame(batch, count + 1)))
    ledger = world.remote._links[b"peer1"].session.talk.ledger
    told, given = set(), set()
    for _ in range(100):
        for _ in range(20):
            world.core.step(0)
            world.flush()
        assert ledger.unacknowledged_bytes < WINDOW_BYTES + (1 << 20)
        for body in strangers.bodies_for(1):
            if isinstance(body, Functions):
                told.update((row.peer, row.number) for row in body.rows())
            elif isinstance(body, Tasks):
                rows = zip(
                    memoryview(body.peers or bytes(4)).cast("I"), memoryview(body.functions).cast("I"), strict=True
                )
                given.update(rows)
                assert given <= told
        if len(given) == count:
            break
        strangers.say(1, encode(Frame(Acknowledge(), 0, ledger.sent)))
    assert len(told) == len(given) == count


def function(number):
    code = bytes(8000) + b"%d" % number
    return Function(0, number, blake2b(code, digest_size=16).digest(), 0, code)


def test_only_who_has_the_voucher_of_a_worker_that_is_there_is_the_client_of_its_tasks():
    strangers, voucher = Strangers(), secrets.token_bytes(16)

    def is_let_in(number, shown):
        strangers.heard.clear()
        here = sys.version_info
        nested = Hello(int(Role.CLIENT), here[0], here[1], b"me", number, is_nested=True, voucher=shown)
        strangers.say(number, encode(Frame(nested)))
        ((_, body),) = strangers.heard
        assert isinstance(body, Welcome) or (isinstance(body, Refusal) and body.is_temporary)
        return isinstance(body, Welcome)

    assert not is_let_in(1, voucher)
    strangers.hello(9, Role.CLUSTER)
    strangers.say(9, encode(Frame(Joined(0, "w", 1), 1)))
    assert not is_let_in(1, b"")  # of that one, which has none
    strangers.say(9, encode(Frame(Joined(1, "w", 1, voucher=voucher), 2)))
    assert not is_let_in(1, secrets.token_bytes(16))
    assert is_let_in(1, voucher)
    assert not is_let_in(2, b"")
    strangers.say(9, encode(Frame(Left(1, 0, ""), 3)))
    assert not is_let_in(3, voucher)
    strangers.say(9, encode(Frame(Joined(2, "w", 1, voucher=voucher), 4)))
    assert is_let_in(4, voucher)
    strangers.say(9, encode(Frame(Goodbye(), 5)))
    assert not is_let_in(5, voucher)


def nested_hello(bits, voucher, session=b""):
    here = sys.version_info
    return encode(
        Frame(Hello(int(Role.CLIENT), here[0], here[1], b"me", bits, session, is_nested=True, voucher=voucher))
    )


def test_each_of_many_that_come_too_early_is_told_so_on_each_connection():
    strangers, many = Strangers(), 5 * MOST_REFUSALS
    for number in range(1, many + 1):
        strangers.say(number, nested_hello(number, secrets.token_bytes(16)))
    assert strangers.refused() == [b"peer%d" % number for number in range(1, many + 1)]
    strangers.heard.clear()
    for _ in range(many):  # on one that it has already been told on, it is not to fill memory
        strangers.say(1, nested_hello(1, secrets.token_bytes(16)))
    assert len(strangers.refused()) == MOST_REFUSALS


@pytest.mark.parametrize("is_in_use", [False, True])
def test_who_comes_back_to_a_scheduler_that_was_restarted_hears_that_though_it_could_not_have_a_new_session(is_in_use):
    strangers = Strangers()
    if is_in_use:
        strangers.hello(1)
    strangers.heard.clear()
    strangers.say(2, nested_hello(1, secrets.token_bytes(16), secrets.token_bytes(16)))
    ((_, body),) = strangers.heard
    assert isinstance(body, Welcome)
    assert not body.resumed
    assert b"peer2" not in strangers.world.remote._links
    strangers.say(2, encode(Frame(Joined(0, "w", 1), 1)))  # and has none
    assert b"peer2" not in strangers.world.remote._links


def test_many_peers_are_told_some_at_a_time_and_all_of_them_the_last_word():
    strangers = Strangers()
    world, many = strangers.world, 3 * AT_ONCE
    for number in range(1, many + 1):
        strangers.hello(number)
        strangers.say(number, encode(Frame(Joined(0, "c", 1), 1)))
    for count in (1, 2):
        world.remote.tell_workers(count)
        strangers.heard.clear()
        world.flush()
        assert len(strangers.heard) == AT_ONCE
    while world.remote.can_go_on:
        world.flush()
    assert [body.count for _, body in strangers.heard] == [2] * many
    assert len({routing_id for routing_id, _ in strangers.heard}) == many
    strangers.heard.clear()
    turns = 0
    while not turns or world.remote.next_tick_s(1.0) == 1.0:
        before = len(strangers.heard)
        world.remote.on_tick(1.0)
        assert len(strangers.heard) - before <= 2 * AT_ONCE  # what was taken is acknowledged, and a heartbeat
        turns += 1
    beaten = [routing_id for routing_id, body in strangers.heard if isinstance(body, Heartbeat)]
    assert len(beaten) == len(set(beaten)) == many
