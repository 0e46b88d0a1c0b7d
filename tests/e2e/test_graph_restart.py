"""The scheduler is killed in the midst of a graph and started again: every target has its value.

The results between the nodes are lost with it: what open targets need of them is made again, and nothing else.
"""

import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaler import Client
from tests.e2e import calls
from tests.e2e.test_graph import inc, total
from tests.effort import seeds
from tests.processes import wait_until
from tests.restartable import Restartable


@pytest.fixture
def client(stage: Restartable) -> Iterator[Client]:
    with Client(stage.address, timeout_seconds=40) as made:
        yield made


def noted_total(path: Path, number: int, *values: int) -> int:
    """The sum, once it has been noted that this was run."""
    calls.note(str(path), number)
    return sum(values)


def noted_when_open(path: Path, number: int, gate: Path, *values: int) -> int:
    """The same, which ends when the test makes the file `gate`."""
    calls.note(str(path), number)
    calls.wait_for(str(gate))
    return sum(values)


def runs(path: Path) -> Counter:
    return Counter(map(int, path.read_text().split())) if path.exists() else Counter()


def random_graph(chance: random.Random, size: int) -> dict:
    graph: dict[str, Any] = {}
    for i in range(size):
        below = [f"n{chance.randrange(max(0, i - 60), i)}" for _ in range(chance.randrange(4))] if i else []
        if len(below) == 1 and chance.random() < 0.7:
            graph[f"n{i}"] = (inc, below[0])
        else:
            graph[f"n{i}"] = (nap_and_total, i % 3 / 1000, *below, i)
    return graph


def nap_and_total(seconds: float, *values: int) -> int:
    calls.sleep_for(seconds)
    return sum(values)


def values_of(graph: dict) -> dict:
    made: dict = {}
    for key, (function, *args) in graph.items():
        given = [made[arg] if type(arg) is str else arg for arg in args]
        made[key] = inc(*given) if function is inc else sum(given[1:])
    return made


@pytest.mark.parametrize("seed", seeds(2))
def test_random_graphs_go_on(stage, client, seed):
    chance = random.Random(seed)
    graph = random_graph(chance, 600)
    wanted = values_of(graph)
    keys = chance.sample(list(graph), 40)
    futures = client.get(graph, keys, block=False)
    for _ in range(1 + seed % 2):
        wait_until(lambda: any(future.done() for future in futures.values()))
        stage.restart()
    assert {key: future.result(60) for key, future in futures.items()} == {key: wanted[key] for key in keys}


def test_what_is_done_is_handed_in_and_not_made_again(stage, client, tmp_path):
    log, gate = tmp_path / "log", tmp_path / "gate"
    graph = {
        "leaf": (noted_total, log, 0, 1),
        "made": (noted_total, log, 1, "leaf", 10),
        "other": (noted_total, log, 2, 100),
        "open": (noted_when_open, log, 3, gate, "made", "other"),
        "top": (noted_total, log, 4, "open", "made", "other"),
        "done": (noted_total, log, 5, "leaf", 1000),
    }
    futures = client.get(graph, ["made", "top", "done"], block=False)
    assert (futures["made"].result(20), futures["done"].result(20)) == (11, 1001)
    wait_until(lambda: runs(log)[3] == 1)
    stage.restart()
    gate.touch()
    assert futures["top"].result(60) == 111 + 11 + 100
    counts = runs(log)
    assert (counts[0], counts[1], counts[4], counts[5]) == (1, 1, 1, 1)
    assert counts[2] == 2  # nobody but the scheduler had its result
    assert counts[3] == 1  # its worker went on with it


def test_what_was_cancelled_is_made_again_for_others_only(stage, client, tmp_path):
    log, gate = tmp_path / "log", tmp_path / "gate"
    graph = {
        "a": (noted_total, log, 0, 1),
        "b": (noted_when_open, log, 1, gate, "a"),
        "c": (noted_total, log, 2, "b", 5),
        "d": (noted_when_open, log, 3, tmp_path / "never"),
        "e": (noted_total, log, 4, "d", 5),
    }
    futures = client.get(graph, ["b", "c", "e"], block=False)
    wait_until(lambda: {1, 3} <= set(runs(log)))
    stage.end()
    stage.await_noticed(client)
    assert futures["b"].cancel()
    assert futures["e"].cancel()
    stage.start()
    gate.touch()
    assert futures["c"].result(60) == 6
    assert futures["b"].cancelled()
    assert futures["e"].cancelled()
    assert runs(log)[4] == 0


def test_futures_of_other_calls_in_a_graph(stage, client, tmp_path):
    gate = tmp_path / "gate"
    done = client.submit(add, 1, 2)
    assert done.result(20) == 3
    before = client.submit(calls.wait_for, str(gate))
    graph = {"a": (total, 10, done), "b": (joined, before, "a"), "c": (joined, before, "b")}
    futures = client.get(graph, ["b", "c"], block=False)
    after = client.submit(joined, futures["c"], "!")
    stage.restart()
    gate.touch()
    assert futures["b"].result(60) == f"{gate} 13"
    assert futures["c"].result(20) == f"{gate} {gate} 13"
    assert after.result(20) == f"{gate} {gate} 13 !"


def joined(*values: object) -> str:
    return " ".join(map(str, values))


def test_large_arrays_between_nodes_and_as_arguments(stage, client):
    given = np.arange(200_000.0)
    graph: dict = {"given": given}
    for i in range(30):
        graph[f"a{i}"] = (scaled, "given", float(i))
    graph["sum"] = (sum_of_all, [f"a{i}" for i in range(30)])
    futures = client.get(graph, ["sum", "a7"], block=False)
    wait_until(futures["a7"].done)
    stage.restart()
    assert futures["sum"].result(60) == pytest.approx(given.sum() * sum(range(30)))
    assert (futures["a7"].result(20) == given * 7).all()


def scaled(array: np.ndarray, factor: float) -> np.ndarray:
    calls.sleep_for(0.01)
    return array * factor


def sum_of_all(arrays: list) -> float:
    return float(sum(array.sum() for array in arrays))


def test_a_graph_that_is_just_being_sent(stage, client, tmp_path):
    """Far more nodes than there is room for in rings, so that the client is in the midst of them."""
    log = tmp_path / "log"
    graph: dict = {f"n{i}": (add, i, 1) for i in range(200_000)} | {"n0": (calls.note, log, 1)}
    graph |= {f"sum {k}": (sum, [f"n{i}" for i in range(k, 200_000, 1000)]) for k in range(1000)}

    def restart_when_it_has_begun() -> None:
        wait_until(lambda: runs(log))
        stage.restart()

    restarting = threading.Thread(target=restart_when_it_has_begun)
    restarting.start()
    futures = client.get(graph, [f"sum {k}" for k in range(1000)], block=False)
    assert not restarting.is_alive(), "the scheduler came back only when all had been sent"
    for k in range(1000):
        assert futures[f"sum {k}"].result(60) == sum(i + 1 for i in range(k, 200_000, 1000))


def test_functions_that_only_the_graph_has(stage, client):
    graph: dict = {"n0": (eval("lambda: 0"),)}
    for i in range(1, 40):
        function = eval(f"lambda a, b: (__import__('time').sleep(0.01), a + b + {i})[1]")
        graph[f"n{i}"] = (function, f"n{i - 1}", f"n{i - 1}")
    wanted = 0
    for i in range(1, 40):
        wanted = 2 * wanted + i
    future = client.get(graph, ["n39"], block=False)["n39"]
    del graph, function
    assert client.submit(inc, 1).result(20) == 2
    stage.restart(signal.SIGTERM)
    assert future.result(60) == wanted
