"""Functions that the tests of nested tasks have workers run."""

import asyncio
import concurrent.futures
import gc
import os
import signal
import threading
import time
from typing import Any

import numpy as np

from scaler import Client, current_client
from scaler._native import QuickCallback, WorkerClientRings
from scaler.exceptions import TaskTimeoutError
from tests.e2e.calls import fail_times, note_and_die
from tests.e2e.stoppable import last_for_ever, sleep_item

Tree = tuple[str, list[Any]]


def add_one(x: int) -> int:
    return x + 1


def fibonacci(client: Client, n: int) -> int:
    if n < 2:
        return n
    first, second = client.submit(fibonacci, client, n - 1), client.submit(fibonacci, client, n - 2)
    return int(first.result()) + int(second.result())


def chain(client: Client, depth: int) -> int:
    return 0 if depth == 0 else 1 + int(client.submit(chain, client, depth - 1).result())


def add_in_child(x: int) -> int:
    return int(current_client().submit(add_one, x).result())


def map_inside(client: Client, count: int) -> int:
    return sum(client.map(add_one, [(i,) for i in range(count)]))


def maps_inside(client: Client, maps: int, count: int) -> int:
    return sum(client.map(map_inside, [(client, count)] * maps))


def wait_for_many(client: Client, count: int) -> int:
    futures = [client.submit(add_one, i) for i in range(count)]
    return sum(future.result() for future in futures)


def wait_as_completed(client: Client, count: int) -> int:
    futures = [client.submit(add_one, i) for i in range(count)]
    return sum(future.result() for future in concurrent.futures.as_completed(futures))


def wait_with_the_standard_library(client: Client, count: int) -> int:
    done, left = concurrent.futures.wait([client.submit(add_one, i) for i in range(count)])
    assert not left
    return len(done)


def wait_in_one_another(client: Client, depth: int) -> int:
    """At each level one child that waits likewise and two leaves, after a moment in which others may begin them."""
    if depth == 0:
        return 0
    futures = [client.submit(wait_in_one_another, client, depth - 1)]
    futures += [client.submit(add_one, 0) for _ in range(2)]
    time.sleep(0.002)
    return 1 + sum(future.result() for future in concurrent.futures.as_completed(futures))


def call_back(client: Client, count: int) -> int:
    results: list[int] = []
    over = threading.Event()

    def on_done(future: Any) -> None:
        results.append(future.result())
        if len(results) == count:
            over.set()

    for i in range(count):
        client.submit(add_one, i).add_done_callback(on_done)
    assert over.wait(60)
    return sum(results)


def from_threads(client: Client, count: int) -> int:
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda i=i: results.append(client.submit(add_one, i).result())) for i in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(results)


async def add_later(x: int) -> int:
    await asyncio.sleep(0.001)
    return x + 1


async def gather_inside(client: Client, count: int) -> int:
    return sum(await asyncio.gather(*[client.submit(add_later, i) for i in range(count)]))


def doubled(array: Any) -> Any:
    return array * 2


def arrays_inside(client: Client) -> float:
    array = np.arange(100_000.0)
    double = client.submit(doubled, array).result()
    double[0] = 5  # its own
    return float(double.sum() - 2 * array.sum())


def reference_inside(client: Client) -> float:
    reference = client.send_object(np.ones(100_000))
    return float(client.submit(np.sum, reference).result())


def fail(text: str) -> None:
    raise ValueError(text)


def futures_as_arguments(client: Client) -> int:
    first = client.submit(add_one, 1)
    second = client.submit(add_one, first)
    return int(client.submit(sum, [first, second, 10]).result())


def graph_inside(client: Client, width: int) -> dict[Any, Any]:
    """Of every kind of node: data, a call in a call, inputs in a list, one that many need, one that is a target too."""
    graph: dict[Any, Any] = {"a": 1, "b": (add_one, "a"), "c": (add_one, (add_one, "b")), "unneeded": (fail, "a")}
    graph.update({("leaf", i): (pow, "b", i) for i in range(width)})
    graph["sum"] = (sum, [("leaf", i) for i in range(width)])
    return client.get(graph, ["sum", "c", "a", "b"])


def failing_graph_inside(client: Client) -> tuple[str, int]:
    """What the targets that need a failed node raise; the others have their results."""
    graph = {"why": "in a node", "bad": (fail, "why"), "needs": (add_one, "bad"), "other": (add_one, 1)}
    needs, other = client.get(graph, ["needs", "other"], block=False).values()
    return str(needs.exception()), other.result()


def catch_inside(client: Client) -> str:
    try:
        client.submit(fail, "in the child").result()
    except ValueError as error:
        return str(error)
    return "nothing was raised"


def append_one(items: list[int]) -> list[int]:
    items.append(1)
    return items


def child_and_own_list(client: Client) -> tuple[list[int], list[int]]:
    mine: list[int] = []
    return client.submit(append_one, mine).result(), mine


class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count


def method_of_own_object(client: Client) -> tuple[int, int]:
    counter = Counter()
    return client.submit(counter.add).result(), counter.count


def write_later(path: str, text: str) -> None:
    with open(path, "a") as file:
        file.write(text)


def never_wait(client: Client, path: str, count: int) -> str:
    for _ in range(count):
        client.submit(write_later, path, "x")
    return "left them"


def begin_and_sleep(client: Client, path: str) -> None:
    for _ in range(20):
        client.submit(time.sleep, 300)
    with open(path, "x"):
        time.sleep(300)


def cancel_inside(client: Client) -> tuple[bool, bool]:
    with _lock:
        future = client.submit(want_lock)
        return future.cancel(), future.cancelled()


def die_once(path: str) -> int:
    if not os.path.exists(path):
        with open(path, "w"):
            pass
        os._exit(1)
    return 7


def child_that_dies(client: Client, path: str) -> int:
    return int(client.submit(die_once, path).result())


def die_with_children(client: Client, path: str) -> int:
    children = [client.submit(add_one, i) for i in range(10)]
    die_once(path)
    return sum(child.result() for child in children)


def hold_a_lock(client: Client) -> int:
    """A sibling that wants the lock must not be run on the stack of who holds it."""
    first, second = client.submit(add_one, 1), client.submit(want_lock)
    with _lock:
        value = int(first.result())
    return value + int(second.result())


_lock = threading.Lock()


def want_lock() -> int:
    with _lock:
        return 10


def wait_elsewhere(client: Client, log: str, gate: str) -> int:
    """For a child that another worker has begun, which waits for the gate."""
    child = client.submit(wait_for_gate, log, gate)
    while not os.path.exists(log):
        time.sleep(0.01)
    return int(child.result())


def wait_for_gate(log: str, gate: str) -> int:
    open(log, "w").close()
    while not os.path.exists(gate):
        time.sleep(0.01)
    return 5


def wait_impatiently(client: Client, patience: float, seconds: float) -> None:
    """For a child that another worker has begun."""
    assert isinstance(client._rings, WorkerClientRings)
    client._rings.set_patience(patience)
    child = client.submit(time.sleep, seconds)
    time.sleep(0.3)
    child.result()


def wait_a_moment(client: Client, seconds: float, timeout: float) -> str:
    future = client.submit(time.sleep, seconds)
    time.sleep(0.3)  # somebody else may have begun it
    try:
        future.result(timeout)
    except concurrent.futures.TimeoutError:
        return "timeout"
    return "done"


def run_tree(client: Client, tree: Tree) -> int:
    """How many tasks the tree has, its root included; each kind of node waits for its children in its own way."""
    how, children = tree
    if how == "graph":
        graph: dict[Any, Any] = {("tree", i): child for i, child in enumerate(children)}
        graph.update({("size", i): (run_tree_here, ("tree", i)) for i in range(len(children))})
        graph["sum"] = (sum, [("size", i) for i in range(len(children))])
        return 1 + int(client.get(graph, "sum"))
    if how == "map":
        return 1 + sum(client.map(run_tree, [(client, child) for child in children]))
    futures = [client.submit(run_tree, client, child) for child in children]
    if how == "last first":
        futures.reverse()
    elif how == "as completed":
        return 1 + sum(future.result() for future in concurrent.futures.as_completed(futures))
    elif how == "thread":
        thread = threading.Thread(target=lambda: [future.exception() for future in futures])
        thread.start()
        thread.join()
    elif how == "time-outs":
        return 1 + sum(_patiently(future) for future in futures)
    elif how == "raise":
        for future in futures:
            future.result()
        raise ValueError("a node that raises")
    elif how == "catch":
        return 1 + sum(_or_zero(future) for future in futures)
    elif how == "cancel":
        for future in futures:
            future.cancel()
        return 1
    return 1 + sum(future.result() for future in futures)


def run_tree_here(tree: Tree) -> int:
    return run_tree(current_client(), tree)


def _patiently(future: Any) -> int:
    while True:
        try:
            return int(future.result(0.001))
        except concurrent.futures.TimeoutError:
            pass


def _or_zero(future: Any) -> int:
    try:
        return int(future.result())
    except ValueError:
        return 0


def size_of(tree: Tree) -> int:
    """What run_tree gives; ValueError if that raises."""
    how, children = tree
    if how == "cancel":
        return 1
    if how == "catch":
        return 1 + sum(_size_or_zero(child) for child in children)
    total = 1 + sum(size_of(child) for child in children)
    if how == "raise":
        raise ValueError("a node that raises")
    return total


def _size_or_zero(tree: Tree) -> int:
    try:
        return size_of(tree)
    except ValueError:
        return 0


def limit_child(client: Client, folder: str, way: str, seconds: float = 0.3) -> tuple[str, int]:
    """What a child says that takes too long, and what one says that is submitted after it."""
    view = client.options(timeout=seconds)
    try:
        said = view.submit(last_for_ever, folder, way).result()
    except TaskTimeoutError as error:
        said = str(error)
    time.sleep(0.4)  # longer than the child's limit, which is not ours
    return said, client.submit(add_one, 0).result()


def limit_map(client: Client, seconds: float) -> list[int]:
    """Calls that take longer than their limit together, but for one."""
    items = [(i, seconds if i == 20 else 0.04) for i in range(40)]
    return client.options(timeout=1.0).map(sleep_item, items)


def limit_below(client: Client, folder: str) -> str:
    return client.submit(last_for_ever, folder, "sleep").result()


def limit_chain(client: Client, folder: str) -> str:
    """What a child with a limit says that waits for one without."""
    try:
        return client.options(timeout=0.3).submit(limit_below, client, folder).result()
    except TaskTimeoutError as error:
        return str(error)


def retry_child(client: Client, path: str, how: str) -> list[int]:
    """A child that succeeds when it is called for the third time."""
    view, args = client.options(retries=2, retry_on=KeyError), (path, 2, "KeyError", [])
    if how == "submit":
        return view.submit(fail_times, *args).result()
    if how == "map":
        return view.map(fail_times, [args])[0]
    return view.get({path: path, "KeyError": "KeyError", "node": (fail_times, *args)}, "node")


def lose_a_child_for_good(client: Client, path: str, way: str, retries: int = 0) -> None:
    """Wait for a child that kills its worker, and may be run again so many times."""
    view = client.options(retries=retries)
    if way == "submit":
        view.submit(note_and_die, path, 1).result()
    else:
        view.map(note_and_die, [(path, 1)])


def die_after_child(client: Client, path: str) -> None:
    """A child that may not be run again is over when the worker dies."""
    assert client.options(retries=0).submit(add_one, 1).result() == 2
    note_and_die(path, 2)


def wait_for_what_is_below(client: Client, way: str, how: str) -> str:
    """What code is told that waits for the very task that it has interrupted. Tried until that runs in this thread."""
    said: list[str] = []

    def wait(*_: Any) -> None:
        try:
            if how == "result":
                future.result(60)
            elif how == "standard":
                concurrent.futures.wait([future])
            else:
                next(concurrent.futures.as_completed([future]))
        except RuntimeError as error:
            said.append(str(error))

    _interruption[:] = [wait]
    before = signal.signal(signal.SIGALRM, wait)
    while not said:
        future = client.submit(be_interrupted, way)
        assert future.result() == "went on"
    signal.signal(signal.SIGALRM, before)
    _interruption.clear()
    return said[0]


_interruption: list[Any] = []  # in the process where it is to come


class _Garbage:
    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        _interruption[0]()


def be_interrupted(way: str) -> str:
    if _interruption and threading.current_thread() is threading.main_thread():
        if way == "signal":
            signal.raise_signal(signal.SIGALRM)
        else:
            _Garbage()
            gc.collect()
    return "went on"


def run_in_own_threads(client: Client) -> list[str]:
    """What is said to code in the background thread that waits to be told by it; and that it may wait by itself."""
    said: list[str] = []
    over = threading.Event()
    first, second = client.submit(time.sleep, 0.1), client.submit(time.sleep, 0.3)

    def call_back(_: Any) -> None:
        try:
            concurrent.futures.wait([second])
        except RuntimeError as error:
            said.append(str(error))
        said.append(str(second.result(60)))
        over.set()

    first.add_done_callback(QuickCallback(call_back))
    assert over.wait(60)
    return said
