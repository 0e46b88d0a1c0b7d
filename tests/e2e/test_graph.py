"""Client.get: graphs in both forms, compared with what plain Python makes of them."""

import functools
import graphlib
import os
import random
import signal
import threading
import time
from operator import add
from types import MappingProxyType
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

from scaler import Client
from scaler.exceptions import WorkerDiedError
from tests.e2e import calls
from tests.e2e.test_future_arguments import Reversing, die, fail, nap_and_echo
from tests.effort import seeds


def inc(x):
    return x + 1


def total(*values):
    return sum(values)


def nested(value):
    return value


def test_the_form_of_old(client):
    graph = {"a": 2, "b": 2, "c": (inc, "a"), "d": (add, "a", "b"), "e": (add, "d", "c"), "f": (), "g": None, "h": [1]}
    assert client.get(graph, ["e", "a", "f", "g", "h"]) == {"e": 7, "a": 2, "f": (), "g": None, "h": [1]}
    assert list(client.get(graph, ["e", "a", "c"])) == ["e", "a", "c"]
    assert client.get(graph, ["h"])["h"] is graph["h"]


def test_what_is_not_needed_is_not_computed(client):
    assert client.get({"a": (fail, 1), "b": (inc, 1), "c": (inc, "a"), "d": (no_function, 1)}, ["b"]) == {"b": 2}


no_function = "not callable, but then it is data"


def test_the_same_node_twice_as_argument(client):
    assert client.get({"c": (inc, 0.5), "d": (add, "c", "c"), "e": (add, "d", "d")}, ["e"]) == {"e": 6}


def test_any_hashable_key(client):
    graph = {("x", 0): (inc, 0.5), 7: (inc, ("x", 0)), None: (add, 7, ("x", 0)), b"k": (inc, None)}
    assert client.get(graph, [b"k", None]) == {b"k": 5.0, None: 4.0}


def test_literals_and_nesting(client):
    graph = {
        "a": (inc, 0.5),
        "b": (nested, ["a", ("a", {"k": "a", "l": 7})]),
        "c": (total, (inc, (inc, "a")), 3),
        "d": (nested, {"deep": [[(inc, "a")]]}),
        "e": (sum, [1, 2, "a"]),
        "f": (nested, np.arange(3)),
    }
    made = client.get(graph, list(graph))
    assert made["b"] == [1.5, (1.5, {"k": 1.5, "l": 7})]
    assert (made["c"], made["d"], made["e"]) == (6.5, {"deep": [[2.5]]}, 4.5)
    assert made["f"].tolist() == [0, 1, 2]


def test_a_reference_is_data_and_an_argument(client):
    reference = client.send_object(np.arange(1000))
    graph = {"r": reference, "s": (np.sum, "r"), "t": (np.max, reference)}
    assert client.get(graph, ["s", "t", "r"]) == {"s": 499_500, "t": 999, "r": reference}


def test_futures_in_graphs(client):
    two = client.submit(nap_and_echo, 2)
    assert client.get({"a": (inc, two), "b": (sum, ["a", two])}, ["b"]) == {"b": 5}
    failed = client.submit(fail, "no")
    with pytest.raises(KeyError):
        client.get({"a": (inc, failed), "b": (inc, "a")}, ["b"])
    assert failed.exception(20) is not None
    with pytest.raises(KeyError):
        client.get({"a": (inc, failed), "b": (inc, "a")}, ["b"])


def test_errors_before_anything_is_sent(client):
    with pytest.raises(graphlib.CycleError, match="cycle"):
        client.get({"a": (inc, "a")}, ["a"])
    with pytest.raises(graphlib.CycleError) as cycle:
        client.get({"a": (inc, "b"), "b": (add, 1, "c"), "c": (inc, "a"), "d": (inc, "c")}, ["d"])
    assert sorted(cycle.value.args[1][:-1]) == ["a", "b", "c"]
    with pytest.raises(KeyError, match="'a' needs 'zz'"):
        client.get({"a": (inc, "zz")}, ["a"])
    with pytest.raises(KeyError, match="'x'"):
        client.get({"a": 1}, ["x"])
    with pytest.raises(KeyError, match="twice"):
        client.get({"a": 1}, ["a", "a"])
    with pytest.raises(TypeError):
        client.get({"a": 1}, [{}])
    with pytest.raises(TypeError, match="dict"):
        client.get([1], ["a"])


@pytest.mark.parametrize("key", ["total", b"total", 7, None, ("x", 0), ("a", 0), 1.5, frozenset("ab")])
def test_one_key_that_is_missing_is_named_as_one(client, key):
    with pytest.raises(KeyError) as error:
        client.get({"a": 1, "t": 2, "o": 3}, key if type(key) is not frozenset else [key])
    assert repr(key) in str(error.value)


def test_keys_may_come_as_any_collection(client):
    graph = {"a": 1, "b": (inc, "a"), ("a", "b"): 7}
    assert client.get(graph, ("b", "a")) == {"b": 2, "a": 1}
    assert client.get(graph, ("a", "b")) == 7
    assert client.get(graph, {"a", "b"}) == client.get(graph, frozenset("ab")) == {"a": 1, "b": 2}
    assert client.get(graph, (key for key in "ba")) == client.get(graph, {"b": 0, "a": 0}.keys()) == {"b": 2, "a": 1}


def deep_list(depth):
    made = []
    for _ in range(depth):
        made = [made]
    return [made]


def depth_of(value, *_):
    depth = 0
    while value:
        depth, value = depth + 1, value[0]
    return depth


def are_one(first, others):
    return first is others[0] is others[1][0] is others[2]["k"]


def test_a_call_beside_an_input_leaves_the_input_as_it_is(client):
    graph = {
        "list": (list, (range, 3)),
        "same": (are_one, "list", ["list", ("list", (inc, 1)), {"k": "list", "n": (inc, 2)}]),
        "deep": (deep_list, 480),
        "depth": (depth_of, "deep", (inc, 1)),
        "depth of a list": (depth_of, ["deep", [(inc, 1)]]),
        "made": (nested, [(inc, 0.5), ((inc, 1),), {"k": (inc, 2), "l": "list"}]),
    }
    expected = {"same": True, "depth": 481, "depth of a list": 482, "made": [1.5, (2,), {"k": 3, "l": [0, 1, 2]}]}
    assert client.get(graph, list(expected)) == expected
    form = MappingProxyType({**graph, "listed": [(inc, 1), "list"], "calls": [(inc, 1)]})
    assert client.get(form, [*expected, "listed", "calls"]) == (*expected.values(), [2, [0, 1, 2]], [2])


def test_an_argument_that_cannot_be_pickled(client):
    with pytest.raises(TypeError):
        client.get({"a": (inc, 1.5), "b": (add, "a", threading.Lock()), "c": (inc, "b")}, ["c"])
    assert client.get({"a": (inc, 1.5)}, ["a"]) == {"a": 2.5}


def test_failure_reaches_exactly_those_that_need_it(client):
    graph = {"bad": (fail, 1.5), "b": (inc, "bad"), "c": (add, "b", "ok"), "ok": (nap_and_echo, 3.5), "d": (inc, "ok")}
    futures = client.get(graph, ["c", "b", "d", "ok"], block=False)
    for key in ("b", "c"):
        with pytest.raises(KeyError, match=r"1\.5"):
            futures[key].result(20)
    assert (futures["d"].result(20), futures["ok"].result(20)) == (4.5, 3.5)
    with pytest.raises(KeyError):
        client.get(graph, ["d", "c"])


def test_a_node_that_kills_its_worker(client):
    futures = client.get({"a": (die,), "b": (nested, "a"), "c": (inc, 1.5)}, ["b", "c"], block=False)
    with pytest.raises(WorkerDiedError):
        futures["b"].result(60)
    assert futures["c"].result(20) == 2.5


def make_unpicklable():
    return threading.Lock()


def test_a_node_whose_result_cannot_be_pickled(client):
    with pytest.raises(TypeError, match="pickle"):
        client.get({"a": (make_unpicklable,), "b": (nested, "a"), "c": (nested, "a"), "d": (add, "b", "c")}, ["d"])


def test_a_cancelled_graph_stops(client, tmp_path):
    mark = str(tmp_path / "mark")
    note = functools.partial(calls.note, mark)
    graph: dict[str, Any] = {"a": (nap_and_echo, 1.5, 1.0)}
    for i in range(50):
        graph[f"b{i}"] = (note, "a") if i % 2 else (add, "a", "a")
    graph["end"] = (sum, [f"b{i}" for i in range(50)])
    futures = client.get(graph, ["end"], block=False)
    assert futures["end"].cancel()
    assert client.get({"x": (inc, 1.5)}, ["x"]) == {"x": 2.5}
    time.sleep(1.5)  # by then what was not cancelled would have run
    assert not os.path.exists(mark)


def test_workers_killed_in_the_middle(client):
    pids = {client.submit(calls.process_id).result(20) for _ in range(20)}
    graph: dict[int, Any] = {i: (add, 2 * i + 1, 2 * i + 2) for i in range(255)}
    graph |= {i: (nap_and_echo, 1.5, 0.01) for i in range(255, 511)}
    futures = client.get(graph, [0], block=False)
    time.sleep(0.3)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    assert futures[0].result(60) == 256 * 1.5


def test_a_chain_and_a_wide_fan(client):
    chain = {0: (inc, 0.5)} | {i: (inc, i - 1) for i in range(1, 3000)}
    assert client.get(chain, [2999, 1500]) == {2999: 3000.5, 1500: 1501.5}
    fan = {i: (inc, i + 0.5) for i in range(1500)} | {"sum": (sum, list(range(1500)))}
    assert client.get(fan, ["sum"])["sum"] == sum(i + 1.5 for i in range(1500))


def test_large_results_between_nodes(client):
    graph: dict[Any, Any] = {i: (np.full, 50_000, i + 0.5) for i in range(8)}
    graph["all"] = (np.concatenate, list(range(8)))
    graph["sum"] = (np.sum, "all")
    assert client.get(graph, ["sum"])["sum"] == 50_000 * 32


def test_two_graphs_at_once_and_with_options(client):
    graph = {i: (add, 2 * i + 1, 2 * i + 2) for i in range(127)} | {i: (inc, 0.5) for i in range(127, 255)}
    first, second = (view.get(graph, [0], block=False) for view in (client, client.options(priority=3)))
    assert first[0].result(20) == second[0].result(20) == 128 * 1.5


def test_with_a_serializer(cluster):
    with Client(cluster.get_address(), timeout_seconds=20, serializer=Reversing) as client:
        graph = {"a": (inc, 0.5), "b": (inc, "a"), "c": (add, "a", "b"), "d": (sum, ["c", 1])}
        assert client.get(graph, ["d", "a"]) == {"d": 5.0, "a": 1.5}
        fan = {i: (inc, i + 0.5) for i in range(500)} | {"sum": (sum, list(range(500)))}
        assert client.get(fan, ["sum"])["sum"] == sum(i + 1.5 for i in range(500))


def reference_values(graph):
    """What a plain evaluation gives: a value or an exception, by key."""
    made = {}
    for key, (function, *args) in graph.items():
        given = [made[arg] if type(arg) is str else arg for arg in args]
        failed = [value for value in given if isinstance(value, BaseException)]
        try:
            made[key] = failed[0] if failed else function(*given)
        except Exception as error:
            made[key] = error
    return made


@pytest.mark.parametrize("seed", seeds(12))
def test_random_graphs(client, seed):
    chance = random.Random(seed)
    graph: dict[str, Any] = {}
    for i in range(chance.randrange(1, 150)):
        below = [f"n{chance.randrange(i)}" for _ in range(chance.randrange(4))] if i else []
        if below and chance.random() < 0.03:
            graph[f"n{i}"] = (fail, below[0])
        elif len(below) == 1 and chance.random() < 0.7:
            graph[f"n{i}"] = (inc, below[0])
        else:
            graph[f"n{i}"] = (total, *below, i + 0.5)
    wanted = reference_values(graph)
    keys = chance.sample(list(graph), chance.randrange(1, len(graph) + 1))
    futures = client.get(graph, keys, block=False)
    for key in keys:
        if isinstance(wanted[key], BaseException):
            assert isinstance(futures[key].exception(30), KeyError)
        else:
            assert futures[key].result(30) == wanted[key]


# Dask


def test_dask_arrays(client):
    x = da.from_array(np.arange(10_000.0).reshape(100, 100), chunks=30)
    made = ((x @ x.T) + 1)[::3].sum(axis=0), da.tensordot(x, x, axes=1), x.std()
    for ours, theirs in zip(dask.compute(*made, scheduler=client), dask.compute(*made, scheduler="sync"), strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_dask_dataframes(client):
    frame = pd.DataFrame({"a": [1, 2, 3, 1] * 250, "b": range(1000), "c": ["x", "y"] * 500})
    made = dd.from_pandas(frame, npartitions=7)
    queries = [made.groupby("a").b.sum(), made.groupby("c").b.mean(), made[made.b > 10].b.describe(), made.merge(made)]
    for query in queries:
        ours, theirs = query.compute(scheduler=client.get), query.compute(scheduler="sync")
        if isinstance(ours, pd.DataFrame):
            ours, theirs = (frame.sort_values("b", ignore_index=True) for frame in (ours, theirs))
            pd.testing.assert_frame_equal(ours, theirs)
        else:
            pd.testing.assert_series_equal(ours.sort_index(), theirs.sort_index())


def test_dask_delayed_and_bags(client):
    one = dask.delayed(inc)(0)
    made = dask.delayed(sum)([one, dask.delayed(inc)(one), 3])
    assert dask.compute(made, 5, {"k": one}, scheduler=client) == (6, 5, {"k": 1})
    bag = db.from_sequence(range(100), npartitions=9).map(inc).filter(lambda v: v % 2).fold(add)
    assert bag.compute(scheduler=client) == sum(v for v in range(1, 101) if v % 2)


def test_dask_with_options_of_calls(client):
    one = dask.delayed(inc)(0)
    with_options = client.options(timeout=9, retries=1)
    assert dask.compute(one, scheduler=with_options) == (1,)
    assert dask.compute(one, scheduler=with_options.options(priority=1)) == (1,)
    with dask.config.set(scheduler=with_options):
        assert one.compute() == 1
    assert one.persist(scheduler=with_options).compute(scheduler="sync") == 1
    with pytest.raises(TimeoutError, match="limit"):
        dask.delayed(calls.sleep_for)(5).compute(scheduler=client.options(timeout=0.2))


def test_data_that_is_asked_for_and_needed(client):
    graph = MappingProxyType({"a": [1, 2], "b": (sum, "a"), "c": "b"})
    assert client.get(graph, ["a", "c", "b"]) == ([1, 2], 3, 3)


def test_lists_of_keys_give_tuples(client):
    graph = {"a": 1, "b": (inc, "a"), "c": (inc, "b")}
    assert client.get(graph, [["c", ["a"]], "b"]) == ((3, (1,)), 2)
    assert client.get(graph, "c") == 3
    assert client.get(graph, ["c"], num_workers=4, optimize_graph=False) == {"c": 3}
    assert client.asynchronous is False


def first_of(array):
    return float(array[0])


def last_of(array):
    return float(array[-1])


def size_of(array):
    return array.size


def test_what_needs_a_large_input_does_not_overtake_it(client):
    big = np.arange(200_000.0)
    graph = {"a": big, "b": (first_of, "a"), "c": (last_of, "a"), "n": (size_of, "a"), "d": (max, "b", "c", "n")}
    for _ in range(5):
        assert client.get(graph, ["b", "c", "d"]) == {"b": 0.0, "c": 199_999.0, "d": 200_000}
