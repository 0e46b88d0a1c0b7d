"""The order of graphs: right on random ones, and the same whether plain calls are read in C or by the reader."""

import itertools
import sys
from graphlib import CycleError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler._native import PLAIN_ARGUMENTS, Call, GraphTable, InputSlot
from scaler.client.graph.order import Order, arrange
from scaler.client.graph.read import Reader, Slots

KEYS = [*(f"k{i}" for i in range(8)), 5, ("t", 1), b"b", 2.5]


class Text(str):
    """Equal to a text, and no str itself."""


def literal() -> st.SearchStrategy[Any]:
    return st.one_of(st.integers(100, 120), st.just(1.5), st.none(), st.just([1]), st.just(b"x"))


@st.composite
def graphs(draw: st.DrawFn) -> dict[Any, Any]:
    """Each node names earlier keys, any number of times, beside literals."""
    graph: dict[Any, Any] = {}
    for key in KEYS[: draw(st.integers(1, len(KEYS)))]:
        earlier = st.sampled_from(list(graph)) if graph else literal()
        if draw(st.integers(0, 5)):
            graph[key] = (max, *draw(st.lists(st.one_of(earlier, literal()), max_size=PLAIN_ARGUMENTS + 3)))
        else:
            graph[key] = draw(literal())
    return graph


def order_of(graph: dict[Any, Any], targets: list[Any], is_read_in_c: bool) -> Order:
    reader = Reader(graph, False, Slots())
    if is_read_in_c:
        return arrange(reader, targets)
    table = GraphTable()
    wanted = table.read(targets, reader.read, None, reader.slots.first(PLAIN_ARGUMENTS))
    assert wanted is not None
    return Order(table, wanted, table.order(wanted))


def needs(order: Order, number: int) -> list[Any]:
    return [order.table.keys[one] for one in order.table.inputs_of(number)]


def described(order: Order) -> dict[Any, Any]:
    """What each node says, by its key: the numbers depend on who has read it."""
    table = order.table
    made: dict[Any, Any] = {}
    for number, key in enumerate(table.keys):
        node = table.node(number)
        if type(node) is Call:
            args = [("input", arg.number) if type(arg) is InputSlot else arg for arg in node.args]
            made[key] = (node.function, args, node.is_flat, needs(order, number), table.uses_of(number))
        else:
            made[key] = (node.value, table.uses_of(number))
    return made


@given(graphs(), st.data())
def test_inputs_come_first_and_nothing_is_sent_that_is_not_needed(graph: dict[Any, Any], data: st.DataObject) -> None:
    targets = data.draw(st.lists(st.sampled_from(list(graph)), min_size=1, unique=True))
    order = order_of(graph, targets, True)
    table = order.table
    sent = [table.keys[number] for number in order.numbers]
    assert len(sent) == len(set(sent))
    for number in order.numbers:
        before = sent[: sent.index(table.keys[number])]
        assert set(needs(order, number)) <= set(before)
        height = table.height_of(number)
        assert height == max((1 + table.height_of(one) for one in table.inputs_of(number)), default=0)

    needed, todo = set(), list(targets)
    while todo:
        key = todo.pop()
        if key not in needed and type(graph[key]) is tuple:
            needed.add(key)
            # A list, the only literal that cannot be hashed, is no key.
            todo += [arg for arg in graph[key][1:] if type(arg) is not list and arg in graph]
    assert set(sent) == needed
    assert [table.keys[number] for number in order.targets] == targets


@given(graphs())
def test_plain_calls_read_in_c_are_what_the_reader_makes_of_them(graph: dict[Any, Any]) -> None:
    targets = list(graph)
    assert described(order_of(graph, targets, True)) == described(order_of(graph, targets, False))


@given(graphs(), st.data())
def test_a_cycle_is_found_and_named(graph: dict[Any, Any], data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.sampled_from(list(graph)), min_size=1, max_size=4, unique=True))
    for key, follower in zip(keys, [*keys[1:], keys[0]], strict=True):
        graph[key] = (max, 1, follower)
    with pytest.raises(CycleError) as caught:
        order_of(graph, [keys[-1]], True)
    named = caught.value.args[1]
    assert named[0] == named[-1]
    assert set(named) == set(keys)
    for key, follower in itertools.pairwise(named):
        assert graph[key] == (max, 1, follower)


def test_the_longest_way_comes_first() -> None:
    graph: dict[Any, Any] = {"short": (abs, 1), "low": (abs, 1), "long": (abs, "low"), "sum": (max, "short", "long")}
    order = order_of(graph, ["sum"], True)
    assert [order.table.keys[number] for number in order.numbers] == ["low", "long", "short", "sum"]


def test_the_longest_way_comes_first_among_many() -> None:
    graph: dict[Any, Any] = {f"s{i}": (abs, i) for i in range(100)} | {"low": (abs, 1), "long": (abs, "low")}
    graph["sum"] = (sum, [*(f"s{i}" for i in range(100)), "long"])
    order = order_of(graph, ["sum"], True)
    assert [order.table.keys[number] for number in order.numbers[:2]] == ["low", "long"]


def test_depth_costs_no_stack() -> None:
    graph: dict[Any, Any] = {0: (abs, -1)} | {i: (max, i - 1, max(i - 2, 0)) for i in range(1, 300_000)}
    order = order_of(graph, [299_999], True)
    assert [order.table.keys[number] for number in order.numbers] == list(range(300_000))


def test_one_tuple_may_be_the_call_of_many_keys() -> None:
    """They are told apart by their keys, those of equal hashes too."""
    call = (max, 1, 2)
    modulus = sys.hash_info.modulus
    first, last = [text for text in map(str, range(1000)) if 0 < hash(text) < modulus][:2]
    alike = [3, 3 + modulus, hash(first), first, hash(last), float("nan"), b"a", ("a", 3)]
    assert hash(alike[0]) == hash(alike[1])
    assert hash(alike[2]) == hash(alike[3])
    keys = [*alike, last, *(f"k{i}" for i in range(10_000)), *(i * modulus for i in range(2, 100))]
    graph: dict[Any, Any] = dict.fromkeys(keys, call)
    graph["all"] = (max, *alike[:6], last, "k9999", "k9999")
    order = order_of(graph, [*keys, *reversed(keys), "all"], True)
    assert order.table.keys == [*keys, "all"]
    assert order.targets == [*range(len(keys)), *reversed(range(len(keys))), len(keys)]
    assert needs(order, len(keys)) == [*alike[:6], last, "k9999"]


def test_an_equal_key_is_the_same_key() -> None:
    graph: dict[Any, Any] = {1: (abs, -1), "one": (abs, -1), "sum": (max, 1.0, 1, "one", Text("one"))}
    order = order_of(graph, ["sum", True, Text("one")], True)
    assert order.table.keys == ["sum", True, "one"]
