"""Client.get of matrix graphs: real workers, who fail, die and are too slow."""

import functools
import graphlib
import os
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

from scaler import Client, MatrixGraph, SchedulerClusterCombo
from scaler.exceptions import TaskTimeoutError, WorkerDiedError
from tests.e2e import calls
from tests.e2e.test_future_arguments import Reversing
from tests.restartable import Restartable


@pytest.fixture(scope="module")
def combo() -> Iterator[SchedulerClusterCombo]:
    with SchedulerClusterCombo(2) as made:
        yield made


@pytest.fixture
def client(combo: SchedulerClusterCombo) -> Iterator[Client]:
    with Client(combo.get_address()) as made:
        yield made


def chain(count: int) -> Any:
    return np.arange(count)[:, None] - 1


def tree(leaves: int) -> tuple[Any, Any]:
    """(inputs, which): node 0 is the root, leaves call function 1."""
    count = 2 * leaves - 1
    inputs = 2 * np.arange(count)[:, None] + [1, 2]
    inputs[inputs >= count] = -1
    return inputs, (np.arange(count) >= leaves - 1).astype(int)


def one() -> int:
    return 1


def inc(*below: int) -> int:
    return 1 + sum(below)


def append(*below: list[Any]) -> list[Any]:
    made = list(below[0]) if below else []
    for each in below:
        each.append("changed")
    return [*made, len(below)]


def note(path: str, *given: int) -> int:
    return calls.note(path, given[-1])


def runs(path: Path) -> Counter[int]:
    return Counter(map(int, path.read_text().split())) if path.exists() else Counter()


def test_a_tree_is_computed_and_a_number_gives_its_value(client: Client) -> None:
    inputs, which = tree(20_000)
    assert client.get(MatrixGraph(inputs, [add, one], which), 0) == 20_000


def test_keys_and_dtype_say_what_the_values_come_in(client: Client) -> None:
    graph = MatrixGraph(chain(1000), inc)
    assert client.get(graph, slice(0, 3)) == [1, 2, 3]
    assert client.get(graph, [999, 0, 0]) == [1000, 1, 1]
    assert client.get(graph, np.arange(1000) % 500 == 0) == [1, 501]
    for dtype in ("float64", "float32", "int64", "int16", "complex128", object):
        values = client.get(graph, slice(None), dtype=dtype)
        assert values.dtype == dtype
        assert values.tolist() == list(range(1, 1001))
    assert client.get(graph, 4, dtype="float32") == np.float32(5)
    with pytest.raises(OverflowError, match="from 1 to 1000 do not fit int8"):
        client.get(graph, slice(None), dtype="int8")


def test_any_values_come_as_they_are(client: Client) -> None:
    values = [1, 1.5, True, None, "text", b"bytes", 10**40, [1], {"a": (2,)}, np.arange(3), float("inf"), 2 + 1j]
    graph = MatrixGraph(np.empty((len(values), 0), int), calls.echo, arguments={0: (values,)})
    found = client.get(graph, slice(None))
    assert list(map(type, found)) == list(map(type, values))
    assert found[9].tolist() == [0, 1, 2]
    assert found[:9] == values[:9]
    assert found[10:] == values[10:]
    with pytest.raises(TypeError, match="node 4 gives str 'text', which is no float64"):
        client.get(graph, [0, 4], dtype=float)
    with pytest.raises(TypeError, match="node 1 gives float"):
        client.get(graph, [0, 1], dtype=int)


def test_columns_and_partials_give_arguments(client: Client) -> None:
    graph = MatrixGraph(
        [[-1], [-1], [0], [1]],
        [functools.partial(calls.describe_call, "f"), calls.describe_call],
        [0, 1, 1, 0],
        {0: (np.array([7, 8]),), 1: (np.array([0.5, 1.5], "float32"), ["a", "b"])},
    )
    zero = (("f", 7), {})
    one_ = ((0.5, "a"), {})
    assert client.get(graph, slice(None)) == [zero, one_, ((zero, 1.5, "b"), {}), (("f", one_, 8), {})]


def test_sparse_matrices_are_graphs(client: Client) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    matrix = sparse.csr_array(([3, 2, 1], ([1, 2, 2], [0, 0, 1])), shape=(3, 3))
    graph = MatrixGraph(matrix, [one, calls.describe_call], [0, 1, 1])
    assert client.get(graph, slice(None)) == [1, ((1, 1), {}), ((((1, 1), {}), 1), {})]


def test_empty_graphs_and_empty_keys_give_nothing(client: Client) -> None:
    assert client.get(MatrixGraph(np.empty((0, 1), int), inc), slice(None)) == []
    assert client.get(MatrixGraph(chain(3), calls.fail), []) == []
    assert client.get(MatrixGraph(chain(3), calls.fail), [], dtype=float).shape == (0,)
    assert client.get(MatrixGraph(chain(3), calls.fail), [], errors="collect") == ([], {})


def test_a_cycle_is_named_before_anything_runs(client: Client, tmp_path: Path) -> None:
    path = str(tmp_path / "ran")
    graph = MatrixGraph([[-1], [2], [1]], functools.partial(note, path), arguments={0: (range(3),)})
    with pytest.raises(graphlib.CycleError) as caught:
        client.get(graph, slice(None))
    assert caught.value.args[1] == [1, 2, 1]
    assert runs(tmp_path / "ran") == {}
    assert client.get(graph, 0) == 0  # which does not need them


def test_only_what_is_needed_runs(client: Client, tmp_path: Path) -> None:
    graph = MatrixGraph(
        [[-1], [0], [0], [1]], functools.partial(note, str(tmp_path / "ran")), arguments={0: (range(4),)}
    )
    assert client.get(graph, 3) == 3
    assert runs(tmp_path / "ran") == {0: 1, 1: 1, 3: 1}


def test_no_task_sees_what_another_did_to_a_value(client: Client) -> None:
    count = 3000
    inputs = np.full((count, 2), -1)
    inputs[1::3, 0] = inputs[2::3, 0] = inputs[2::3, 1] = np.arange(0, count, 3)
    assert client.get(MatrixGraph(inputs, append), slice(None)) == [[0], [0, 1], [0, 2]] * 1000


def test_a_function_with_state_begins_anew_with_each_node(client: Client) -> None:
    class Counting:
        def __init__(self) -> None:
            self.count = 0

        def __call__(self, *_: Any) -> int:
            self.count += 1
            return self.count

    assert set(client.get(MatrixGraph(np.full((2000, 1), -1), Counting()), slice(None))) == {1}
    held: list[int] = []
    graph = MatrixGraph(np.full((200, 1), -1), functools.partial(calls.append_to, held, 1))
    assert client.get(graph, slice(None)) == [[1]] * 200


def test_a_partial_may_have_a_reference(client: Client) -> None:
    table = client.send_object(np.arange(100))
    graph = MatrixGraph(np.empty((50, 0), int), functools.partial(np.take, table), arguments={0: (range(50),)})
    assert client.get(graph, slice(None), dtype=int).tolist() == list(range(50))


def test_coroutines_are_awaited(client: Client) -> None:
    async def later(*below: int) -> int:
        return 1 + sum(below)

    assert client.get(MatrixGraph(chain(500), later), 499) == 500


# failures


def test_a_failure_reaches_what_needs_it_and_nothing_else(client: Client) -> None:
    inputs = [[-1], [-1], [0], [1], [2]]
    graph = MatrixGraph(inputs, [inc, calls.fail], [0, 1, 0, 0, 0], {1: (["no luck"],)})
    assert client.get(graph, [0, 2, 4]) == [1, 2, 3]
    with pytest.raises(ValueError, match="no luck") as caught:
        client.get(graph, slice(None))
    assert "calls.py" in str(caught.value.__cause__)
    assert caught.value.__notes__ == ["This was node 1 of a matrix graph."]
    values, errors = client.get(graph, slice(None), errors="collect")
    assert values == [1, None, 2, None, 3]
    assert sorted(errors) == [1, 3]
    assert errors[3] is errors[1]
    assert str(errors[1]) == "no luck"
    numbers, errors = client.get(graph, [3, 4], dtype=float, errors="collect")
    assert np.isnan(numbers[0])
    assert numbers[1] == 3
    assert list(errors) == [3]
    assert client.get(graph, 3, errors="collect")[0] is None


def divide(number: int, *below: int) -> float:
    return 1 / (number % 100)


def test_one_in_a_hundred_fails_and_all_others_have_their_values(client: Client) -> None:
    count = 20_000
    graph = MatrixGraph(np.empty((count, 0), int), divide, arguments={0: (range(count),)})
    values, errors = client.get(graph, slice(None), dtype=float, errors="collect")
    assert sorted(errors) == list(range(0, count, 100))
    assert all(type(error) is ZeroDivisionError for error in errors.values())
    good = np.arange(count) % 100 > 0
    assert (values[good] == 1 / (np.arange(count)[good] % 100)).all()


def test_what_exits_fails_alone(client: Client) -> None:
    graph = MatrixGraph(chain(300) * 0 - 1, [inc, calls.exit_process], (np.arange(300) == 200).astype(int))
    values, errors = client.get(graph, slice(None), errors="collect")
    assert list(errors) == [200]
    assert isinstance(errors[200], SystemExit)
    assert values == [1] * 200 + [None] + [1] * 99


def die_at(path: str, number: int, last: int, *_: Any) -> int:
    note(path, number)
    if number == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_the_node_that_kills_its_worker_fails_alone_after_its_tries(client: Client, tmp_path: Path) -> None:
    count, retries, bad = 3000, 1, 2500
    graph = MatrixGraph(
        np.empty((count, 0), int),
        functools.partial(die_at, str(tmp_path / "ran")),
        arguments={0: (range(count), np.full(count, bad))},
    )
    values, errors = client.options(retries=retries).get(graph, slice(None), errors="collect")
    assert list(errors) == [bad]
    assert isinstance(errors[bad], WorkerDiedError)
    assert [value for value in values if value is not None] == [i for i in range(count) if i != bad]
    ran = runs(tmp_path / "ran")
    assert ran[bad] == 1 + retries
    assert max(ran.values()) <= 1 + retries


def test_what_may_not_be_run_again_is_not(client: Client, tmp_path: Path) -> None:
    count, bad = 300, 100
    graph = MatrixGraph(
        np.empty((count, 0), int),
        functools.partial(die_at, str(tmp_path / "ran")),
        arguments={0: (range(count), np.full(count, bad))},
    )
    _, errors = client.options(retries=0).get(graph, slice(None), errors="collect")
    assert isinstance(errors[bad], WorkerDiedError)
    assert max(runs(tmp_path / "ran").values()) == 1


def sleep_at(number: int, *_: Any) -> int:
    if number == 1500:
        time.sleep(60)
    return number


def test_a_node_has_a_time_limit_of_its_own(client: Client) -> None:
    graph = MatrixGraph(np.empty((2000, 0), int), sleep_at, arguments={0: (range(2000),)})
    client.get(graph, slice(0, 1000))  # importing this module counts, too
    values, errors = client.options(timeout=2).get(graph, slice(None), errors="collect")
    assert list(errors) == [1500]
    assert isinstance(errors[1500], TaskTimeoutError)
    assert sum(value is not None for value in values) == 1999


class FlakyOnce:
    def __init__(self) -> None:
        self.is_first = True

    def __call__(self, path: str, number: int) -> int:
        note(path, number)
        if len(Path(path).read_text().split()) % 3:
            raise ConnectionError("try again")
        return number


def test_retry_on_is_each_nodes(client: Client, tmp_path: Path) -> None:
    paths = [str(tmp_path / str(i)) for i in range(20)]
    graph = MatrixGraph(np.empty((20, 0), int), FlakyOnce(), arguments={0: (paths, range(20))})
    assert client.options(retry_on=ConnectionError).get(graph, slice(None)) == list(range(20))
    with pytest.raises(ConnectionError):
        client.get(MatrixGraph(np.empty((1, 0), int), FlakyOnce(), arguments={0: ([str(tmp_path / "x")], [1])}), 0)


# futures, progress, keywords


def test_without_block_there_is_a_future(client: Client) -> None:
    future = client.get(MatrixGraph(chain(2000), inc), slice(1998, None), block=False)
    assert future.result(60) == [1999, 2000]
    failing = client.get(MatrixGraph(chain(20), calls.fail), 3, block=False)
    assert isinstance(failing.exception(60), TypeError)


def test_a_future_that_is_cancelled_stops_what_runs(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "ran"
    graph = MatrixGraph(
        chain(100),
        functools.partial(slow_note, str(path)),
        arguments={0: (range(100),)},
    )
    future = client.get(graph, 99, block=False)
    calls.wait_for(str(path))
    assert future.cancel()
    assert future.cancelled()
    with pytest.raises(CancelledError):
        future.result()
    assert client.submit(inc).result(30) == 1
    before = sum(runs(path).values())
    assert before < 100
    time.sleep(0.5)
    assert sum(runs(path).values()) <= before + 1


def slow_note(path: str, *given: int) -> int:
    calls.note_slowly(path, given[-1], 0.1)
    return given[-1]


def wait_for(path: str, *given: int) -> int:
    """The last node waits until a file is there."""
    if given[-1] == 99:
        while not os.path.exists(path):
            time.sleep(0.01)
    return given[-1]


def test_futures_of_slices_are_done_as_soon_as_their_own_nodes_are(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "go"
    graph = MatrixGraph(np.empty((100, 0), int), functools.partial(wait_for, str(path)), arguments={0: (range(100),)})
    first, one_, last = client.get(graph, [slice(0, 3), 7, np.array([99, 0])], block=False)
    assert first.result(20) == [0, 1, 2]
    assert one_.result(20) == 7
    assert not last.done()
    path.touch()
    assert last.result(20) == [99, 0]
    assert client.get(graph, [slice(0, 2), 5], dtype=float)[0].tolist() == [0.0, 1.0]


def test_a_future_of_a_slice_fails_with_the_first_of_its_own_nodes(client: Client) -> None:
    graph = MatrixGraph(np.empty((300, 0), int), fail_at, arguments={0: (np.arange(300),)})
    well, bad = client.get(graph, [slice(0, 150), slice(150, 300)], block=False)
    assert well.result(20) == list(range(150))
    with pytest.raises(ValueError, match="200") as caught:
        bad.result(20)
    assert caught.value.__notes__[-1] == "This was node 200 of a matrix graph."
    parts = client.get(graph, [slice(199, 202), slice(0, 2)], block=False, errors="collect")
    values, errors = parts[0].result(20)
    assert (values, list(errors)) == ([199, None, 201], [200])
    assert parts[1].result(20) == ([0, 1], {})


def fail_at(number: int) -> int:
    if number in (200, 250):
        raise ValueError(number)
    return number


def test_the_last_part_that_is_cancelled_stops_what_runs(client: Client, tmp_path: Path) -> None:
    graph = MatrixGraph(
        np.empty((100, 0), int), functools.partial(wait_for, str(tmp_path / "never")), arguments={0: (range(100),)}
    )
    first, last, also = client.get(graph, [slice(0, 3), 99, np.array([98, 99])], block=False)
    assert first.result(20) == [0, 1, 2]
    assert last.cancel()
    assert not also.done()
    assert also.cancel()
    assert client.get(MatrixGraph(chain(10), inc), 9) == 10


def test_a_client_with_a_serializer_says_what_it_refuses_and_why(combo: SchedulerClusterCombo) -> None:
    with (
        Client(combo.get_address(), serializer=Reversing) as client,
        pytest.raises(TypeError, match="the serializer would see none"),
    ):
        client.get(MatrixGraph(chain(10), inc), 9)


def test_clear_ends_it(client: Client) -> None:
    future = client.get(MatrixGraph(chain(100), functools.partial(calls.sleep_for, 0.2)), 99, block=False)
    time.sleep(0.3)
    client.clear()
    with pytest.raises((CancelledError, TypeError)):
        future.result(30)


def test_progress_counts_nodes(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    assert client.get(MatrixGraph(chain(3000), inc), 2999, progress=True) == 3000
    assert "3000/3000" in capsys.readouterr().err


def test_keywords_that_mean_nothing_are_refused(client: Client) -> None:
    graph = MatrixGraph(chain(3), inc)
    with pytest.raises(TypeError, match="no keyword 'dtyp'; did you mean 'dtype'"):
        client.get(graph, 0, dtyp=float)
    with pytest.raises(TypeError, match="no keyword 'blok'; did you mean 'block'"):
        client.get({"a": 1}, "a", blok=True)
    with pytest.raises(TypeError, match="for a MatrixGraph"):
        client.get({"a": 1}, "a", dtype=float)
    with pytest.raises(ValueError, match="not 'no'"):
        client.get(graph, 0, errors="no")  # type: ignore[arg-type]
    assert client.get({"a": 1}, "a", num_workers=3) == 1  # Dask's


def test_graphs_of_several_threads_run_at_once(client: Client) -> None:
    graph = MatrixGraph(chain(2000), inc)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(client.get(graph, 1999))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2000] * 4


def get_inside(client: Client, count: int) -> int:
    return int(client.get(MatrixGraph(chain(count), inc), count - 1))


def test_a_task_may_get_one(client: Client) -> None:
    assert client.submit(get_inside, client, 3000).result(60) == 3000
    assert [client.submit(get_inside, client, 300) for _ in range(4)][-1].result(60) == 300


# what goes wrong around it


def slow_inc(*below: int) -> int:
    time.sleep(0.002)
    return 1 + sum(below)


def test_a_killed_scheduler_costs_nothing_but_time(stage: Restartable) -> None:
    inputs = np.full((3000, 2), -1)
    inputs[300:] = np.arange(2700)[:, None] + [0, 150]
    with Client(stage.address, timeout_seconds=40) as client:
        graph = MatrixGraph(inputs, slow_inc)
        future = client.get(graph, slice(None), dtype=float, block=False)
        time.sleep(1.0)
        stage.restart()
        values = future.result(120)
    expected = np.ones(3000)
    for i in range(300, 3000):
        expected[i] = 1 + expected[i - 300] + expected[i - 150]
    assert (values == expected).all()


def test_killed_workers_cost_nothing_but_time(stage: Restartable) -> None:
    with Client(stage.address, timeout_seconds=40) as client:
        graph = MatrixGraph(np.maximum(np.arange(2000)[:, None] - 4, -1), slow_inc)
        future = client.get(graph, slice(None), dtype=int, block=False)
        for _ in range(3):
            time.sleep(0.4)
            for pid in sorted(stage.workers())[:1]:
                os.kill(pid, signal.SIGKILL)
        assert future.result(120).tolist() == [1 + i // 4 for i in range(2000)]


def test_values_from_elsewhere_come_as_well(stage: Restartable) -> None:
    inputs, which = tree(5000)
    with Client(stage.address, timeout_seconds=40) as client:
        assert client.get(MatrixGraph(inputs, [add, one], which), 0) == 5000
        values = client.get(MatrixGraph(np.empty((300, 0), int), functools.partial(calls.big, 10_000)), slice(None))
        assert set(map(len, values)) == {10_000}
