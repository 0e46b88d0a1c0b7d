"""GraphMatrix: a dict that was read, run as a matrix by one process, gives what plain Python makes of it."""

import pickle
import random
from operator import add
from typing import Any

import numpy as np
import pytest

from scaler._native import GraphScan, GraphTable, NodeRange, as_graph_matrix, scan_graph
from scaler.client.graph import dict_run
from scaler.client.graph.order import order_table, read_table
from scaler.client.graph.read import Data, Reader, Slots
from scaler.values.pieces import Filled
from tests.effort import seeds
from tests.native.client.test_matrix_nodes import run_all


def read(graph: dict[Any, Any], keys: list[Any]) -> tuple[GraphTable, list[int]]:
    return read_table(Reader(graph, False, Slots()), keys)


def as_matrix(table: GraphTable) -> Any:
    return as_graph_matrix(table, pickle.dumps, dict_run._pack, dict_run._pack_holes)


def scan_of(graph: dict[Any, Any]) -> GraphScan:
    scan = scan_graph(graph, Reader(graph, False, Slots()).read, pickle.dumps, dict_run._pack, dict_run._pack_holes)
    assert scan is not None
    return scan


def values_of(graph: dict[Any, Any], keys: list[Any]) -> list[Any]:
    """What comes of it, whether it is followed from the keys or gone through as a whole."""
    table, targets = read(graph, keys)
    matrix = as_matrix(table)
    assert matrix is not None
    found = run_matrix(matrix, targets, table.is_call, lambda number: table.node(number).value)
    scan = scan_of(graph)
    assert scan.odd == []
    numbers = [scan.number(key) for key in keys]
    assert run_matrix(scan.matrix, numbers, scan.is_call, scan.value) == found
    return found


def run_matrix(matrix: Any, targets: list[Any], is_call_of: Any, value_of: Any) -> list[Any]:
    nodes = matrix.nodes()
    called = [number for number in targets if is_call_of(number)]
    nodes.ask(NodeRange(len(called), numbers=np.array(called, np.int64)))
    run_all(nodes, *[Filled(function) if is_filled else function for function, is_filled in matrix.functions])
    return [nodes.value(number, pickle.loads) if is_call_of(number) else value_of(number) for number in targets]


def pack(*given: Any) -> list[Any]:
    return [repr(given)[-200:], len(given)]


def change(*given: Any) -> Any:
    for one in given:
        if isinstance(one, list):
            one.append("changed")
    return list(map(str, given))[-3:]


LITERALS = [7, -1, 2.5, None, True, b"bytes", 1 << 70, "x", [], [1, [2]], {"k": (1, None)}, 1j]


def random_graph(chance: random.Random, count: int) -> dict[Any, Any]:
    graph: dict[Any, Any] = {}
    for i in range(count):

        def argument(below: int = i) -> Any:
            roll = chance.random()
            if below and roll < 0.6:
                return ("n", chance.randrange(max(0, below - 30), below))
            if below and roll < 0.7:
                return [("n", chance.randrange(below)), 3, {"k": ("n", chance.randrange(below))}]
            literal = chance.choice(LITERALS)
            return pickle.loads(pickle.dumps(literal if literal != "x" else [literal]))

        roll = chance.random()
        if roll < 0.1:
            graph["n", i] = chance.choice([value for value in LITERALS if not isinstance(value, list | dict)])
        else:
            graph["n", i] = (chance.choice([pack, change]), *[argument() for _ in range(chance.randrange(5))])
    return graph


def expected(graph: dict[Any, Any]) -> dict[Any, Any]:
    made: dict[Any, Any] = {}

    def with_data(value: Any) -> Any:
        if is_key(value):
            return value if is_call(graph[value]) else graph[value]
        if type(value) is list:
            return [with_data(item) for item in value]
        return {key: with_data(item) for key, item in value.items()} if type(value) is dict else value

    def fill(value: Any, seen: dict[Any, Any]) -> Any:
        """A node is one object for one call, wherever that has it."""
        if is_key(value):
            return seen.setdefault(value, pickle.loads(pickle.dumps(made[value])))
        if type(value) is list:
            return [fill(item, seen) for item in value]
        return {key: fill(item, seen) for key, item in value.items()} if type(value) is dict else value

    for key, value in graph.items():
        if is_call(value):
            seen: dict[Any, Any] = {}
            made[key] = value[0](*[fill(arg, seen) for arg in pickle.loads(pickle.dumps(with_data(list(value[1:]))))])
        else:
            made[key] = value
    return made


def is_key(value: Any) -> bool:
    return type(value) is tuple and len(value) == 2 and value[0] == "n"


def is_call(value: Any) -> bool:
    return type(value) is tuple and len(value) > 0 and callable(value[0])


@pytest.mark.parametrize("seed", seeds(60))
def test_a_random_dict_gives_what_plain_python_makes_of_it(seed: int) -> None:
    chance = random.Random(seed)
    graph = random_graph(chance, chance.randrange(1, 150))
    keys = chance.sample(list(graph), chance.randrange(1, len(graph) + 1))
    found = values_of(graph, keys)
    assert found == [expected(graph)[key] for key in keys]


def test_literals_stand_where_they_are_written_and_keep_their_kinds() -> None:
    graph = {"a": (pack, 1, 2.5, None), "b": (pack, True, "a", b"x", "a"), "c": (pack, 1 << 80, "b", 3, "a")}
    assert values_of(graph, ["b", "c"]) == list(map(expected(text_keys(graph)).get, [("n", "b"), ("n", "c")]))


def text_keys(graph: dict[str, Any]) -> dict[Any, Any]:
    return {
        ("n", key): (call[0], *[("n", arg) if type(arg) is str else arg for arg in call[1:]])
        for key, call in graph.items()
    }


def test_data_that_may_be_changed_is_each_users_own() -> None:
    graph = {"data": [1], "a": (change, "data"), "b": (pack, "data"), "c": (change, "data", [1])}
    assert values_of(graph, ["a", "b", "c", "data"]) == [
        ["[1, 'changed']"], ["([1],)", 1], ["[1, 'changed']"] * 2, [1],
    ]  # fmt: skip


def test_a_list_that_a_call_has_twice_makes_no_matrix() -> None:
    same = [1]
    for graph in (
        {"data": same, "c": (change, "data", "data")},
        {"c": (change, same, [same])},
        {"b": (add, 0.5, 1), "c": (change, ["b", same], {"k": same})},
    ):
        assert as_matrix(read(graph, ["c"])[0]) is None


def test_a_call_of_many_arguments_and_one_of_none() -> None:
    graph: dict[Any, Any] = {f"n{i}": (add, i + 0.5, 1) for i in range(100)}
    graph |= {"all": (pack, *graph), "list": (sum, list(graph)), "none": (pack,)}
    all_of, listed, none = values_of(graph, ["all", "list", "none"])
    assert all_of[1] == 100
    assert listed == sum(i + 1.5 for i in range(100))
    assert none == ["()", 0]


@pytest.mark.parametrize(
    "literal",
    [np.arange(3), b"x" * 10_000, ["x" * 10_000], object(), np.float64(1.5), {1: {2}}, [[[[[[[[[[[1]]]]]]]]]]]],
    ids=lambda literal: type(literal).__name__,
)
def test_what_is_not_plain_makes_no_matrix(literal: Any) -> None:
    for graph in ({"a": (pack, 0.5, literal)}, {"a": literal, "b": (pack, "a")}, {"a": 1, "b": (pack, ["a", literal])}):
        table, _ = read(graph, list(graph))
        assert as_matrix(table) is None


def test_data_that_nothing_needs_may_be_anything() -> None:
    big = np.arange(3)
    assert values_of({"a": big, "b": (add, 1, 2)}, ["a", "b"])[0] is big


def test_more_functions_than_a_worker_should_be_sent_at_once_make_no_matrix() -> None:
    for count, is_one in ((256, True), (257, False)):
        table, _ = read({i: ((lambda i=i: i),) for i in range(count)}, list(range(count)))
        assert (as_matrix(table) is not None) is is_one


def test_a_cycle_is_named_by_its_nodes() -> None:
    table, targets = read({"a": (add, "b", 1), "b": (add, "a", 1)}, ["a"])
    nodes = as_matrix(table).nodes()
    nodes.ask(NodeRange(1, targets[0]))
    assert [table.keys[number] for number in nodes.prepare()] in (["a", "b", "a"], ["b", "a", "b"])


def test_what_is_odd_in_a_graph_that_is_gone_through_is_noted_and_no_error() -> None:
    graph = {
        "well": (add, 1, 2), "missing": (add, "nothing", 1), "big": (len, np.arange(9)), "data": object(),
        "of data": (len, "data"), "needs": (add, "well", 1), "deep": (sum, ["well", "nothing"]), "list": (len, [{}]),
    }  # fmt: skip
    scan = scan_of(graph)
    assert [scan.key(number) for number in scan.odd] == ["missing", "big", "of data"]
    assert scan.key(5) == "needs"
    nodes = scan.matrix.nodes()
    nodes.ask(NodeRange(1, 5))
    assert nodes.prepare() is None
    assert [nodes.is_needed(number) for number in range(8)] == [True, *[False] * 4, True, False, False]


class Odd:
    """A key whose comparison empties the graph that is being gone through."""

    def __init__(self, graph: dict[Any, Any]) -> None:
        self.graph = graph

    def __hash__(self) -> int:
        return hash("n1")

    def __eq__(self, other: object) -> bool:
        self.graph.clear()
        return False


def test_a_key_that_changes_the_graph_meanwhile_does_no_harm() -> None:
    graph: dict[Any, Any] = {f"n{i}": (add, f"n{max(0, i - 1)}", i) for i in range(1, 100)} | {"n0": (add, 0.5, 1)}
    graph["odd"] = (add, Odd(graph), "n1")
    graph[Odd(graph)] = (add, 0.5, 2)
    graph |= {f"m{i}": (add, f"n{i}", i) for i in range(100)}
    scan = scan_graph(dict(graph), lambda key: key, pickle.dumps, dict_run._pack, dict_run._pack_holes)
    assert scan is not None
    assert len(scan) >= 100


KEYS = [1, 1.5, "1", b"1", None, True, ("a", 1), ("a", ("b", 2)), frozenset([1]), 0, "a", -1, 1 << 70]


@pytest.mark.parametrize("seed", seeds(20))
def test_keys_may_be_whatever_a_dict_takes(seed: int) -> None:
    chance = random.Random(seed)
    keys = list(dict.fromkeys(chance.sample(KEYS, chance.randrange(2, len(KEYS)))))
    graph: dict[Any, Any] = {keys[0]: (pack, 0.25)}
    for place, key in enumerate(keys[1:], 1):
        graph[key] = (pack, *[chance.choice(keys[:place]) for _ in range(chance.randrange(3))], 0.25)
    scan = scan_of(graph)
    if not scan.odd:
        assert values_of(graph, keys)
    assert [scan.number(key) for key in keys] == list(range(len(keys)))


@pytest.mark.parametrize("seed", seeds(20))
def test_a_table_that_begins_again_is_what_is_left_of_it(seed: int) -> None:
    chance = random.Random(seed)
    graph: dict[Any, Any] = {
        f"n{i}": (pack, *[f"n{chance.randrange(i)}" for _ in range(chance.randrange(3)) if i], 0.5) for i in range(80)
    }
    keys = list(graph)[-10:]
    table, targets = read(graph, keys)
    order = order_table(table, targets)
    done = set(list(order.numbers)[: chance.randrange(len(order.numbers))])
    rest = [number for number in targets if number not in done]
    table.begin_again(rest, lambda number: Data(f"value {number}") if number in done else None)
    left = order_table(table, rest)
    assert not done & {number for number in left.numbers if table.is_call(number)}
    uses: dict[int, int] = {}
    for number in left.numbers:
        assert all(one in left.numbers for one in table.inputs_of(number))
        for one in table.inputs_of(number):
            uses[one] = uses.get(one, 0) + 1
        if number in done:
            assert table.node(number).value == f"value {number}"
    assert {number: table.uses_of(number) for number in left.numbers if table.uses_of(number)} == uses
    assert [number for number in left.numbers if table.is_target(number)] == [n for n in left.numbers if n in rest]
