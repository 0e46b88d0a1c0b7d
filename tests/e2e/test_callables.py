"""Callables and their state: each call gets the callable as it was sent, and a submit sends what is there now."""

import functools
import gc
import importlib
import itertools
import json
import random
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from scaler import Client, current_client
from scaler.exceptions import DeserializeObjectError
from tests.e2e import stateful
from tests.processes import wait_until

PROGRAM = Path(__file__).with_name("callables_program.py")


def results(client, function, *args, calls=6):
    """What so many calls of it give: one by one, at once, and as a map."""
    singly = [client.submit(function, *args).result(60) for _ in range(calls)]
    at_once = [future.result(60) for future in [client.submit(function, *args) for _ in range(calls)]]
    return {*singly, *at_once, *client.map(function, [args] * (8 * calls))}


def with_a_list(found=[]):  # noqa: B006
    found.append(1)
    return len(found)


def make_counter():
    count = 0

    def step():
        nonlocal count
        count += 1
        return count

    return step


def make_sharing():
    """Two functions that share a list by their closure."""
    found: list[int] = []

    def step():
        found.append(1)
        return len(found)

    return step


def by_value(function):
    """The function as if it had been written in __main__: it is not found by its name."""
    made = types.FunctionType(
        function.__code__, {**function.__globals__}, function.__name__, function.__defaults__, function.__closure__
    )
    made.__module__ = "__main__"
    return made


def call(function, *args):
    return function(*args)


STATEFUL = {
    "bound method": lambda: stateful.Steps().step,
    "callable object": stateful.Steps,
    "partial with a dict": lambda: functools.partial(stateful.tally, {}),
    "partial of a partial": lambda: functools.partial(functools.partial(stateful.tally, {}), 7),
    "iterator": lambda: iter(range(1, 100)).__next__,
    "iterator of C": lambda: itertools.count(1).__next__,
    "builtin method": lambda: functools.partial(len_after_append, []),
    "default list": lambda: by_value(with_a_list),
    "nonlocal": make_counter,
    "shared closure": make_sharing,
    "object of a local class": lambda: make_local_steps().step,
}


def len_after_append(found):
    found.append(1)
    return len(found)


def make_local_steps():
    class Local:
        def __init__(self):
            self.count = 0

        def step(self):
            self.count += 1
            return self.count

    return Local()


@pytest.mark.parametrize("what", STATEFUL)
def test_each_call_gets_the_callable_as_it_was_sent(client, what):
    function = STATEFUL[what]()
    args = (1,) if what == "partial with a dict" else ()
    assert results(client, function, *args) == {1}


def test_each_call_gets_the_callable_as_it_was_sent_where_it_runs_in_place(client):
    assert client.submit(call_in_place, stateful.Steps().step).result(60) == [1] * 8
    assert client.submit(call_in_place, functools.partial(stateful.tally, {}, 1)).result(60) == [1] * 8


def call_in_place(function):
    here = current_client()
    return [here.submit(function).result() for _ in range(4)] + here.map(function, [()] * 4)


def test_each_call_gets_the_callable_as_it_was_sent_in_graphs(client):
    step, tally = stateful.Steps().step, functools.partial(stateful.tally, {}, 1)
    graph: dict[str, Any] = {
        f"{name}{n}": (function,) for name, function in (("s", step), ("t", tally)) for n in range(6)
    }
    graph |= {f"chain{n}": (stateful.same, f"s{n}") for n in range(6)}
    assert set(client.get(graph, list(graph)).values()) == {1}
    assert set(client.get(graph, [f"chain{n}" for n in range(6)]).values()) == {1}
    assert set(client.options(retry_on=OSError).get(graph, [f"chain{n}" for n in range(6)]).values()) == {1}


def test_dask_gets_the_callable_as_it_was_sent(client):
    delayed = pytest.importorskip("dask").delayed
    step = delayed(stateful.Steps().step, pure=False)
    [values] = pytest.importorskip("dask").compute([step() for _ in range(8)], scheduler=client)
    assert values == [1] * 8


def test_a_call_that_is_made_again_gets_the_callable_as_it_was_sent(client):
    flaky = client.options(retry_on=OSError, retries=3)
    with pytest.raises(OSError, match="state 1"):
        flaky.submit(stateful.Failing().fail).result(60)
    with pytest.raises(OSError, match="state 1"):
        flaky.submit(functools.partial(stateful.fail_with_state, {"state": 0})).result(60)


def test_a_task_whose_worker_died_gets_the_callable_as_it_was_sent(client, tmp_path):
    mark = tmp_path / "died once"
    assert client.submit(stateful.Steps().step_and_die_once, str(mark)).result(60) == 1


def test_state_in_large_arrays_is_each_calls_own_and_the_rest_of_them_is_not_copied(client):
    np = pytest.importorskip("numpy")
    for n in (10_000, 1_000_000):
        function = functools.partial(stateful.add_to_first, np.zeros(n))
        assert results(client, function, calls=3) == {1.0}


def test_clients_that_send_equal_bytes_have_callables_of_their_own(cluster, client):
    seen = by_value(stateful.mark_function)
    with Client(cluster.get_address(), timeout_seconds=20) as other:
        for _ in range(8):
            client.submit(seen, "first").result(60)
            assert "first" not in other.submit(seen, "second").result(60)


def test_functions_of_a_module_that_draw_from_its_state_go_by_name(client):
    drawn = [client.submit(random.random) for _ in range(100)]
    assert len({future.result(60) for future in drawn} | set(client.map(random.getrandbits, [(64,)] * 100))) == 200
    passed = [client.submit(call, random.randint, 0, 1 << 60).result(60) for _ in range(50)]
    randint = random.randint
    used = [client.submit(lambda: randint(0, 1 << 60)).result(60) for _ in range(50)]
    assert len({*passed, *used}) == 100


def test_functions_of_numpy_that_draw_from_its_state_go_by_name(client):
    np = pytest.importorskip("numpy")
    assert len({client.submit(np.random.rand).result(60) for _ in range(50)}) == 50
    assert len(set(client.map(np.random.rand, [()] * 50))) == 50


def test_the_method_of_an_object_that_a_module_merely_has_travels_with_its_state(client):
    stateful.shared_steps.count = 5
    try:
        assert results(client, stateful.shared_steps.step) == {6}
    finally:
        stateful.shared_steps.count = 0


def test_a_program_sees_what_it_has_changed_since_the_last_submit(cluster, tmp_path):
    """Written as people write them: in __main__, from another folder than the workers'."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.read_text())
    done = subprocess.run(
        [sys.executable, str(program), cluster.get_address()], capture_output=True, text=True, timeout=100, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        what, found, expected = json.loads(line)
        assert (what, found) == (what, expected)
    assert len(done.stdout.splitlines()) > 20


@pytest.fixture
def later_place(tmp_path, monkeypatch):
    """A folder that is put into sys.path after the cluster was started."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    names = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - names:
        del sys.modules[name]


def test_a_place_that_was_added_to_sys_path_is_known_to_workers_with_the_next_function(client, later_place):
    def import_it(name):
        return importlib.import_module(name).VALUE

    (later_place / "came_later.py").write_text("VALUE = 7\ndef value(): return VALUE\nclass Value: number = 8\n")
    import came_later  # type: ignore[import-not-found]

    assert client.submit(came_later.value).result(60) == 7
    assert client.submit(import_it, "came_later").result(60) == 7
    assert client.submit(lambda given: given.number, came_later.Value()).result(60) == 8
    more = later_place / "more"
    more.mkdir()
    (more / "came_last.py").write_text("VALUE = 9\n")
    sys.path.insert(0, str(more))
    assert client.submit(import_it, "came_last").result(60) == 9


def test_a_place_that_another_host_has_not_is_harmless(client, monkeypatch):
    monkeypatch.setattr(sys, "path", ["/is/nowhere", *sys.path])
    assert client.submit(stateful.same, 3).result(60) == 3


def test_a_module_that_is_loaded_anew_is_loaded_anew_by_workers(client, later_place):
    module = later_place / "changing.py"
    user = later_place / "using.py"
    module.write_text("def value(): return 'first'\n")
    user.write_text("import changing\ndef value(): return changing.value()\n")
    import changing  # type: ignore[import-not-found]
    import using  # type: ignore[import-not-found]

    def ask():
        return changing.value()

    def all_say():
        return {
            *(client.submit(changing.value).result(60) for _ in range(8)),
            *(client.submit(ask).result(60) for _ in range(8)),
            *client.map(using.value, [()] * 8),
        }

    assert all_say() == {"first"}
    module.write_text("def value(): return 'second version'\n")
    importlib.invalidate_caches()
    importlib.reload(changing)
    assert all_say() == {"second version"}
    module.write_text("def value(): return 'and the third one'\n")
    importlib.invalidate_caches()
    importlib.reload(changing)
    assert all_say() == {"and the third one"}


numbers = itertools.count()


def run_children(function, count):
    client = current_client()
    return [future.result(60) for future in [client.submit(function) for _ in range(count)]]


def test_workers_do_not_have_each_other_load_modules_anew(client, later_place, tmp_path):
    name = f"counted_{next(numbers)}"  # what has been loaded anew is so until the program ends
    (later_place / f"{name}.py").write_text(
        f"import os, time\nopen({str(tmp_path / 'loads')!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        "def value():\n    time.sleep(0.005)\n    return 1\n"
    )
    counted = importlib.import_module(name)
    for _ in range(2):
        for _ in range(10):
            assert client.map(run_children, [(counted.value, 8)] * 4) == [[1] * 8] * 4
        importlib.reload(counted)
    for _ in range(10):
        assert client.map(run_children, [(counted.value, 8)] * 4) == [[1] * 8] * 4
    loads = (tmp_path / "loads").read_text().split()
    assert max(loads.count(process) for process in loads) <= 3, loads


def test_a_module_that_cannot_be_loaded_anew_fails_each_function_until_it_can(client, later_place):
    module = later_place / "failing.py"
    module.write_text("def value(): return 'first'\n")
    import failing  # type: ignore[import-not-found]

    assert set(client.map(failing.value, [()] * 16)) == {"first"}
    module.write_text(
        "from scaler.worker import context\nif context.here: raise OSError('not here')\ndef value(): return 2\n"
    )
    importlib.invalidate_caches()
    importlib.reload(failing)
    for function in (failing.value, stateful.same, failing.value):
        with pytest.raises(DeserializeObjectError, match="OSError: not here"):
            client.submit(function, *([1] if function is stateful.same else [])).result(60)
    module.write_text("def value(): return 'the third one'\n")
    importlib.invalidate_caches()
    importlib.reload(failing)
    assert set(client.map(failing.value, [()] * 16)) == {"the third one"}


def test_what_is_registered_to_travel_by_value_does(client, later_place):
    text = "BASE = 3\ndef add(n): return BASE + n\nclass Pair:\n  def __init__(self, n): self.n = n\n"
    (later_place / "only_here.py").write_text(text)
    import only_here  # type: ignore[import-not-found]

    sys.path.remove(str(later_place))  # workers cannot import it
    cloudpickle.register_pickle_by_value(only_here)
    try:
        assert client.submit(only_here.add, 1).result(60) == 4
        assert client.map(only_here.add, [(n,) for n in range(20)]) == list(range(3, 23))
        assert client.submit(lambda pair: pair.n, only_here.Pair(5)).result(60) == 5
        assert client.submit(call, only_here.add, 1).result(60) == 4
        only_here.BASE = 10
        assert client.submit(only_here.add, 1).result(60) == 11
    finally:
        cloudpickle.unregister_pickle_by_value(only_here)


def test_a_function_that_is_registered_after_its_first_submit_travels_by_value_from_then_on(client):
    assert client.submit(stateful.read_value).result(60) == 1
    stateful.VALUE = 2
    try:
        assert client.submit(stateful.read_value).result(60) == 1  # the workers' own module
        cloudpickle.register_pickle_by_value(stateful)
        assert client.submit(stateful.read_value).result(60) == 2
    finally:
        stateful.VALUE = 1
        if stateful.__name__ in cloudpickle.list_registry_pickle_by_value():
            cloudpickle.unregister_pickle_by_value(stateful)


@pytest.mark.parametrize("is_listed", [False, True])
def test_what_a_module_made_by_hand_has_travels(client, monkeypatch, is_listed):
    made: Any = types.ModuleType("made_by_hand")
    exec("K = 5\ndef add(n): return n + K\nclass Pair:\n  def __init__(self, n): self.n = n\n", made.__dict__)
    if is_listed:
        monkeypatch.setitem(sys.modules, "made_by_hand", made)
    assert client.submit(made.add, 1).result(60) == 6
    assert client.map(made.add, [(n,) for n in range(20)]) == list(range(5, 25))
    assert client.submit(lambda pair: pair.n, made.Pair(5)).result(60) == 5
    assert client.submit(lambda n: made.add(n), 1).result(60) == 6
    made.K = 7
    assert client.submit(made.add, 1).result(60) == 8
    if is_listed:
        cloudpickle.unregister_pickle_by_value(made)


def test_a_function_that_nobody_has_any_more_is_let_go_though_its_parts_were_watched(client):
    def make(n):
        found = [n]

        def recursive(m):
            return found[0] if m == 0 else recursive(m - 1)

        return recursive

    for n in range(1100):
        client.submit(make(n), 3)
    assert client.submit(make(7), 3).result(60) == 7
    gc.collect()
    wait_until(lambda: len(client._functions) <= 1001)
