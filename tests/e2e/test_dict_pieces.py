"""Client.get of dicts that run in pieces: what a caller sees is what it sees of nodes that are sent one by one."""

import functools
import graphlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import CancelledError
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaler import Client, SchedulerClusterCombo
from scaler.client.graph import dict_run
from scaler.client.graph import run as run_module
from scaler.client.graph.pieces import Pieces
from scaler.exceptions import TaskTimeoutError, WorkerDiedError
from tests.e2e import calls
from tests.e2e.test_graph import inc, reference_values, total
from tests.e2e.test_matrix_graph import FlakyOnce, append, die_at, note, runs
from tests.effort import seeds
from tests.restartable import Restartable


@pytest.fixture(scope="module")
def combo() -> Iterator[SchedulerClusterCombo]:
    with SchedulerClusterCombo(2) as made:
        yield made


@pytest.fixture
def client(combo: SchedulerClusterCombo) -> Iterator[Client]:
    with Client(combo.get_address()) as made:
        yield made


class Seen:
    """What became of graphs: how many ran in pieces, and of which the rest was handed over."""

    def __init__(self) -> None:
        self.begun = self.whole = self.pieces = 0


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """From here on every plain graph runs in pieces, however small."""
    made = Seen()
    run, send = dict_run.DictRun.run, Pieces.send

    def run_seen(self: dict_run.DictRun, *args: Any) -> bool:
        made.begun += 1
        is_whole = run(self, *args)
        made.whole += is_whole
        return is_whole

    def send_seen(self: Pieces) -> None:
        send(self)
        made.pieces = self._nodes.pieces

    monkeypatch.setattr(dict_run, "LEAST_NODES", 1)
    monkeypatch.setattr(dict_run.DictRun, "run", run_seen)
    monkeypatch.setattr(Pieces, "send", send_seen)
    return made


def fail(value: Any) -> Any:
    raise KeyError(value)


def test_a_large_graph_runs_in_pieces_and_a_small_one_does_not(client: Client, seen: Seen) -> None:
    chain: dict[Any, Any] = {"n0": (inc, 0.5)} | {f"n{i}": (inc, f"n{i - 1}") for i in range(1, 20_000)}
    assert client.get(chain, ["n19999", "n5000"]) == {"n19999": 20_000.5, "n5000": 5001.5}
    assert seen.begun == seen.whole == 1
    assert seen.pieces < 200


def test_fewer_nodes_than_are_worth_it_are_sent_one_by_one(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dict_run, "as_graph_matrix", None)
    graph: dict[Any, Any] = {f"n{i}": (inc, i + 0.5) for i in range(dict_run.LEAST_NODES - 1)}
    assert client.get(graph, ["n7"]) == {"n7": 8.5}


@pytest.fixture(params=["followed", "scanned"])
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Graphs are read from the keys on, or gone through as a whole once one in eight of their nodes is needed."""
    monkeypatch.setattr(run_module, "LEAST_SCANNED", 1 if request.param == "scanned" else 1 << 40)
    return str(request.param)


@pytest.mark.parametrize("seed", seeds(12))
def test_random_graphs_give_what_plain_python_gives(client: Client, seen: Seen, reading: str, seed: int) -> None:
    chance = random.Random(seed)
    graph: dict[str, Any] = {}
    for i in range(chance.randrange(1, 400)):
        below = [f"n{chance.randrange(i)}" for _ in range(chance.randrange(4))] if i else []
        graph[f"n{i}"] = (inc, below[0]) if len(below) == 1 else (total, *below, i + 0.5)
    wanted = reference_values(graph)
    keys = chance.sample(list(graph), chance.randrange(1, len(graph) + 1))
    assert client.get(graph, keys) == {key: wanted[key] for key in keys}
    assert seen.begun == 1


def test_values_of_all_kinds_come_as_they_are(client: Client, seen: Seen, reading: str) -> None:
    values = [1, 1.5, True, None, b"bytes", 10**40, [1], {"a": (2,)}, float("inf"), 2 + 1j, ["text"], ()]
    graph: dict[Any, Any] = {("v", i): (calls.echo, value) for i, value in enumerate(values)}
    graph |= {("d", i): value for i, value in enumerate(values)}
    found = client.get(graph, list(graph))
    assert list(found.values()) == values * 2
    assert list(map(type, found.values())) == list(map(type, values * 2))
    assert seen.whole == 1


def test_no_task_sees_what_another_did_to_a_value(client: Client, seen: Seen) -> None:
    graph: dict[Any, Any] = {"make": (append,), "one": (append, "make"), "two": (append, "make")}
    graph |= {"both": (append, "make", "make"), "deep": (calls.echo, ["make", {"k": "one"}])}
    found = client.get(graph, list(graph))
    assert found["make"] == [0]
    assert found["one"] == found["two"] == [0, 1]
    assert found["both"] == [0, 2]
    assert found["deep"] == [[0], {"k": [0, 1]}]
    assert seen.whole == 1


def test_the_failure_of_the_first_key_that_fails_is_raised_and_names_its_node(
    client: Client, seen: Seen, reading: str
) -> None:
    graph: dict[Any, Any] = {("n", i): (inc, i + 0.5) for i in range(100)}
    graph |= {"late": (fail, 1.5), "bad": (fail, 2.5), "needs": (inc, "bad"), "well": (inc, ("n", 3))}
    with pytest.raises(KeyError, match=r"2\.5") as caught:
        client.get(graph, ["well", "needs", "late", ("n", 5)])
    assert caught.value.__notes__[-1] == "This was node 'bad' of a graph."
    assert "in fail" in "".join(caught.value.__notes__) or caught.value.__cause__ is not None
    assert client.get(graph, ["well", ("n", 99)]) == {"well": 4.5 + 1, ("n", 99): 100.5}
    assert seen.begun == 2


def test_a_key_whose_node_does_not_fail_is_waited_for_before_one_that_does(client: Client, seen: Seen, tmp_path: Path):
    path = str(tmp_path / "ran")
    graph = {"slow": (calls.note_slowly, path.encode(), 7, 0.5), "bad": (fail, 2.5)}
    with pytest.raises(KeyError):
        client.get(graph, ["slow", "bad"])
    assert runs(tmp_path / "ran") == Counter({7: 1})


def test_cycles_and_missing_keys_are_named_as_ever(client: Client, seen: Seen, reading: str) -> None:
    with pytest.raises(graphlib.CycleError) as cycle:
        client.get({"a": (inc, "b"), "b": (add, 1, "c"), "c": (inc, "a"), "d": (inc, "c")}, ["d"])
    assert sorted(cycle.value.args[1][:-1]) == ["a", "b", "c"]
    with pytest.raises(KeyError, match="'a' needs 'zz'"):
        client.get({"a": (inc, "zz")}, ["a"])
    assert seen.begun == 0


def big_or_sum(*values: Any) -> Any:
    return np.full(50_000, len(values)) if not values or isinstance(values[0], float) else sum(map(np.sum, values))


def test_of_a_graph_with_large_results_the_rest_is_handed_over(client: Client, seen: Seen, reading: str) -> None:
    graph: dict[Any, Any] = {f"n{i}": (big_or_sum, 0.5) for i in range(40)}
    graph |= {f"s{i}": (big_or_sum, f"n{i}", f"n{(i + 1) % 40}") for i in range(40)}
    keys = [*(f"s{i}" for i in range(40)), "n7", "n39"]
    found = client.get(graph, keys)
    assert [found[key] for key in keys[:40]] == [100_000] * 40
    assert found["n7"].tolist() == found["n39"].tolist() == [1] * 50_000
    assert (seen.begun, seen.whole) == (1, 0)


def slow_inc(*values: float) -> float:
    time.sleep(0.003)
    return 1.5 + sum(values)


def test_of_a_graph_of_slow_calls_the_rest_is_handed_over(client: Client, seen: Seen, tmp_path: Path) -> None:
    graph: dict[Any, Any] = {f"n{i}": (slow_inc, *([f"n{i - 4}"] if i > 3 else [])) for i in range(200)}
    expected: list[float] = []
    for i in range(200):
        expected.append(1.5 + (expected[i - 4] if i > 3 else 0))
    assert list(client.get(graph, list(graph)).values()) == expected
    assert (seen.begun, seen.whole) == (1, 0)


def test_what_is_handed_over_is_not_run_again(client: Client, seen: Seen, tmp_path: Path) -> None:
    path = str(tmp_path / "ran").encode()
    graph: dict[Any, Any] = {("n", i): (calls.note_slowly, path, i, 0.005) for i in range(150)}
    assert list(client.get(graph, list(graph)).values()) == list(range(150))
    assert (seen.begun, seen.whole) == (1, 0)
    assert set(runs(tmp_path / "ran").values()) == {1}


def test_a_failure_after_the_handing_over_is_raised_as_well(client: Client, seen: Seen) -> None:
    graph: dict[Any, Any] = {f"n{i}": (slow_inc, *([f"n{i - 4}"] if i > 3 else [])) for i in range(120)}
    graph["end"] = (fail, "n119")
    with pytest.raises(KeyError):
        client.get(graph, ["n3", "end"])


def test_what_is_not_plain_is_sent_node_by_node(client: Client, seen: Seen, reading: str) -> None:
    reference = client.send_object(np.arange(1000))
    two = client.submit(inc, 1)
    assert client.get({"a": (np.sum, reference), "b": (inc, "a")}, ["b"]) == {"b": 499_501}
    assert client.get({"a": (inc, two), "b": (inc, "a")}, ["b"]) == {"b": 4}
    assert client.get({"a": np.arange(5), "b": (np.sum, "a")}, ["b"]) == {"b": 10}
    assert client.options(retries=0).get({"a": (inc, 1)}, ["a"]) == {"a": 2}
    futures = client.get({"a": (inc, 1.5)}, ["a"], block=False)
    assert futures["a"].result(20) == 2.5
    assert futures["a"].task_id
    with pytest.raises(TypeError):
        client.get({"a": (inc, 1.5), "b": (add, "a", threading.Lock())}, ["b"])
    with pytest.raises(TypeError):
        client.get({"a": (functools.partial(add, threading.Lock()), 1.5)}, ["a"])
    assert seen.begun == 0


def test_a_node_that_kills_its_worker_fails_alone_after_its_tries(client: Client, seen: Seen, tmp_path: Path) -> None:
    path, bad, retries = tmp_path / "ran", 1500, 1
    function = functools.partial(die_at, str(path))
    graph: dict[Any, Any] = {("n", i): (function, i, bad) for i in range(2000)}
    with pytest.raises(WorkerDiedError) as caught:
        client.options(retries=retries).get(graph, list(graph))
    assert caught.value.__notes__[-1] == f"This was node {('n', bad)!r} of a graph."
    ran = runs(path)
    assert ran[bad] == 1 + retries
    assert max(ran.values()) <= 1 + retries
    assert set(range(bad)) <= set(ran), "a key before the one that fails is done when that is raised"


def kill_once(path: str, number: int) -> int:
    """The third one kills its worker when it is run for the first time."""
    note(path, number)
    if number == 3 and runs(Path(path))[3] == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_only_the_node_that_ran_when_its_worker_died_uses_up_a_try(
    client: Client, seen: Seen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retried: list[int] = []
    blamed: list[int] = []
    take = Pieces._take

    def take_seen(self: Pieces, future: Any, piece: Any) -> int | None:
        if piece.is_retried:
            retried.append(piece.first)
        if future.exception() is not None:
            blamed.append(future.exception().piece_node)
        return take(self, future, piece)

    monkeypatch.setattr(Pieces, "_take", take_seen)
    path = tmp_path / "ran"
    client.get({("m", i): (calls.echo, i) for i in range(3)}, [("m", 0)])
    function = functools.partial(kill_once, str(path))
    graph: dict[Any, Any] = {("n", i): (function, i + 10) for i in range(3000)} | {"bad": (function, 3)}
    expected: dict[Any, Any] = {("n", i): i + 10 for i in range(3000)} | {"bad": 3}
    assert client.get(graph, list(graph)) == expected
    assert len(retried) <= 1, "nodes that had run, or had not begun, are not blamed"
    assert all(node is not None for node in blamed)
    assert runs(path)[3] == 2


def test_a_node_has_a_time_limit_of_its_own(client: Client, seen: Seen) -> None:
    graph: dict[Any, Any] = {f"n{i}": (calls.echo, i) for i in range(1000)} | {"slow": (calls.sleep_for, 30.5)}
    with pytest.raises(TaskTimeoutError):
        client.options(timeout=1).get(graph, list(graph))


def flaky(path: bytes, number: int) -> int:
    return FlakyOnce()(path.decode(), number)


def test_retry_on_is_each_nodes(client: Client, seen: Seen, tmp_path: Path) -> None:
    graph: dict[Any, Any] = {f"n{i}": (flaky, str(tmp_path / str(i)).encode(), i) for i in range(20)}
    found = client.options(retry_on=ConnectionError).get(graph, list(graph))
    assert list(found.values()) == list(range(20))
    assert seen.begun == 1


def test_clear_ends_it(client: Client, seen: Seen) -> None:
    timer = threading.Timer(0.5, client.clear)
    timer.start()
    with pytest.raises(CancelledError):
        client.get({f"n{i}": (calls.sleep_for, 0.2) for i in range(200)}, ["n199", *(f"n{i}" for i in range(199))])
    timer.join()
    assert client.get({"a": (inc, 1.5)}, ["a"]) == {"a": 2.5}


def test_graphs_of_several_threads_run_at_once(client: Client, seen: Seen) -> None:
    found: dict[int, Any] = {}

    def run(number: int) -> None:
        graph: dict[Any, Any] = {f"n{i}": (add, i + 0.5, number + 1000) for i in range(500)} | {
            "all": (sum, [f"n{i}" for i in range(500)])
        }
        found[number] = client.get(graph, "all")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: sum(i + 1000.5 + n for i in range(500)) for n in range(4)}


def test_values_from_elsewhere_come_as_well(stage: Restartable, seen: Seen) -> None:
    graph: dict[Any, Any] = {f"n{i}": (add, f"n{2 * i + 1}", f"n{2 * i + 2}") for i in range(5000)}
    graph |= {f"n{i}": (add, 0.5, 0.5) for i in range(5000, 10_001)}
    with Client(stage.address, timeout_seconds=40) as client:
        assert client.get(graph, "n0") == 5001
    assert seen.whole == 1


def slow_enough(*below: float) -> float:
    time.sleep(0.0005)
    return 1.5 + sum(below)


def test_killed_workers_and_schedulers_cost_nothing_but_time(stage: Restartable, seen: Seen) -> None:
    graph: dict[Any, Any] = {f"n{i}": (slow_enough, *([f"n{i - 4}"] if i > 3 else [])) for i in range(4000)}
    found: list[Any] = []
    with Client(stage.address, timeout_seconds=40) as client:
        thread = threading.Thread(target=lambda: found.append(client.get(graph, [f"n{i}" for i in range(3996, 4000)])))
        thread.start()
        time.sleep(0.4)
        for pid in sorted(stage.workers())[:1]:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.4)
        stage.restart()
        thread.join(120)
    assert [list(values.values()) for values in found] == [[1500.0] * 4]


def is_there_in_time(path):
    deadline = time.monotonic() + 20
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.01)
    return os.path.exists(path)


def touch(path, before=None):
    open(path, "w").close()


def test_quick_nodes_do_not_wait_for_a_slow_one_that_has_nothing_to_do_with_them(client, tmp_path):
    paths = [os.fsencode(tmp_path / str(i)) for i in range(600)]  # a text would be the key of a node
    graph: dict[Any, Any] = {"slow": (is_there_in_time, paths[-1])}
    graph |= {i: (touch, path, i - 1) if i else (touch, path) for i, path in enumerate(paths)}
    assert client.get(graph, ["slow", 599]) == {"slow": True, 599: None}


def test_what_only_workers_can_unpickle_is_handed_over_without_it(client, tmp_path, monkeypatch):
    """The rest goes node by node, and what it needs of the others is made once more."""
    module = tmp_path / "of_workers_only.py"
    module.write_text("class Box:\n    def __init__(self, x):\n        self.x = x\n")
    graph: dict[Any, Any] = {("box", i): (make_box, os.fsencode(tmp_path), i) for i in range(600)}
    graph |= {("x", i): (open_box, ("box", i)) for i in range(600)}
    assert client.get(graph, [("x", i) for i in range(600)]) == {("x", i): i for i in range(600)}


def make_box(folder, i):
    import sys

    if os.fsdecode(folder) not in sys.path:
        sys.path.insert(0, os.fsdecode(folder))
    time.sleep(0.003)  # so slow that pieces gain nothing
    return sys.modules.get("of_workers_only", __import__("of_workers_only")).Box(i)


def open_box(box):
    return box.x
