"""Which connections a port keeps: rules without sockets."""

from collections.abc import Hashable
from dataclasses import dataclass

from scaler.objects.visitors import Visitors, address_of


@dataclass(eq=False)
class Played:
    address: str = "a"
    peer: Hashable = None
    is_idle: bool = False


def visitors(most_unproved: int = 3, most_of_peer: int = 2, most: int = 100) -> Visitors[Played]:
    return Visitors(most_unproved, most_of_peer, most)


def proved(known: Visitors[Played], peer: int, *, is_idle: bool = False) -> Played:
    made = Played()
    assert known.add(made) is None
    made.is_idle = is_idle
    assert known.prove(made, peer) is None
    known.wait(made, 60.0, 0.0)
    return made


def test_of_those_that_have_proved_nothing_the_oldest_of_the_address_with_most_goes() -> None:
    known = visitors()
    quiet, *flood = Played("b"), Played(), Played()
    for one in (quiet, *flood):
        assert known.add(one) is None
    for _ in range(5):
        newest = Played()
        oldest = flood.pop(0)
        assert known.add(newest) is oldest
        known.remove(oldest)
        flood.append(newest)
        assert known.unproved == 3
    assert quiet in list(known)


def test_who_has_proved_who_it_is_does_not_go_for_strangers() -> None:
    known = visitors()
    peer = proved(known, 7)
    strangers = [Played() for _ in range(4)]
    assert [known.add(one) for one in strangers] == [None, None, None, strangers[0]]
    assert known.of_peer(7) == [peer]


def test_of_one_peer_the_one_that_is_idle_goes_else_the_newcomer() -> None:
    known = visitors()
    idle, busy, third, fourth = proved(known, 7, is_idle=True), proved(known, 7), Played(), Played()
    known.add(third)
    assert known.prove(third, 7) is idle
    known.remove(idle)
    known.add(fourth)
    assert known.prove(fourth, 7) is fourth
    known.remove(fourth)
    assert known.of_peer(7) == [busy, third]


def test_when_all_places_are_taken_the_one_that_has_been_idle_for_longest_goes() -> None:
    known = visitors(most_of_peer=9, most=3)
    first, second, busy = (proved(known, peer, is_idle=peer < 3) for peer in (1, 2, 3))
    known.wait(first, 60.0, 1.0)  # it has asked for something meanwhile
    newcomer = Played()
    assert known.add(newcomer) is second
    for one in (first, second, newcomer):
        known.remove(one)
    for peer in (4, 5):
        proved(known, peer)
    last = Played()
    assert known.add(last) is last
    assert busy in list(known)


def test_what_has_not_got_on_in_time_is_due_once() -> None:
    known = visitors()
    first, second, third = Played(), Played(), Played()
    for number, one in enumerate((first, second, third)):
        known.add(one)
        known.wait(one, 5.0, float(number))
    known.wait(first, 60.0, 3.0)
    assert known.next_due_s() == 6.0
    known.remove(third)
    assert known.take_due(5.9) == []
    assert known.take_due(100.0) == [second, first]
    assert known.take_due(100.0) == []
    assert known.next_due_s() is None
    for one in (first, second, third):
        known.remove(one)
    assert (len(known), known.unproved) == (0, 0)


def test_all_addresses_of_one_ipv6_network_are_one() -> None:
    assert address_of("2001:db8::1") == address_of("2001:db8::ffff:2") != address_of("2001:db8:0:1::1")
    assert address_of("fe80::1%eth0") == address_of("fe80::2")
    assert address_of("127.0.0.1") != address_of("127.0.0.2")
