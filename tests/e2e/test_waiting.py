"""Waiting for futures in the ways that programs have: asyncio, callbacks, futures that outlive their client."""

import asyncio
import concurrent.futures
import gc
import os
import queue
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest

from scaler import Client, current_client
from scaler.exceptions import ClientQuitException
from tests.e2e import calls
from tests.processes import wait_until


class OutOfItems(StopIteration):
    """What a library may derive from it."""


class Unloadable:
    """What raises something else than an Exception where it is unpickled."""

    def __reduce__(self):
        return calls.raise_here, (GeneratorExit, "unpickled")


async def outcome_of(awaitable) -> Any:
    """What it gives or raises. Not awaited here: a GeneratorExit would close whatever coroutine awaits it."""
    outcome = asyncio.ensure_future(awaitable)
    done, _ = await asyncio.wait([outcome], timeout=20)
    assert done, "it is waited for without an end"
    if outcome.cancelled():
        return asyncio.CancelledError()
    return outcome.exception() or outcome.result()


@pytest.mark.parametrize("way", [asyncio.ensure_future, asyncio.wrap_future, asyncio.shield])
@pytest.mark.parametrize("kind", [StopIteration, OutOfItems])
def test_a_task_that_raises_stop_iteration_is_a_runtime_error_to_who_awaits_it(client, kind, way):
    async def main():
        future = client.submit(calls.raise_here, kind, "no more")
        return await outcome_of(way(future if way is asyncio.wrap_future else awaited(future))), future

    async def awaited(future):
        return await future

    error, future = asyncio.run(main())
    assert type(error) is RuntimeError
    assert "no more" in str(error)
    assert type(error.__cause__) is kind
    with pytest.raises(StopIteration, match="no more") as raised:
        future.result(20)
    assert raised.type is kind


@pytest.mark.parametrize("kind", [StopAsyncIteration, GeneratorExit, asyncio.CancelledError, TimeoutError, KeyError])
def test_what_a_coroutine_may_raise_reaches_who_awaits_the_task_that_raised_it(client, kind):
    async def main():
        future = client.submit(calls.raise_here, kind, "so")
        return [await outcome_of(asyncio.wrap_future(future)), await outcome_of(awaited(future))]

    async def awaited(future):
        return await future

    errors = asyncio.run(main())
    assert [type(error) for error in errors] == [kind, kind]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_ends_the_event_loop_that_awaits_it_as_a_coroutine_would(client, kind):
    async def main():
        await client.submit(calls.raise_here, kind, 3)

    with pytest.raises(kind):
        asyncio.run(main())
    assert client.submit(calls.add_one, 1).result(20) == 2


def test_a_result_that_raises_anything_where_it_is_unpickled_is_no_wait_without_an_end(client):
    async def main():
        return await outcome_of(asyncio.wrap_future(client.submit(Unloadable)))

    assert type(asyncio.run(main())) is GeneratorExit


# callbacks


def wait_by_result(client):
    assert client.submit(calls.add_one, 1).result(20) == 2


def wait_by_wait(client):
    assert not concurrent.futures.wait([client.submit(calls.add_one, i) for i in range(5)], 20).not_done


def wait_by_as_completed(client):
    futures = [client.submit(calls.add_one, i) for i in range(5)]
    assert len(list(concurrent.futures.as_completed(futures, 20))) == 5


def wait_by_map(client):
    assert client.map(calls.add_one, [(1,), (2,)]) == [2, 3]


def wait_by_get(client):
    assert client.get({"a": (calls.add_one, 1), "b": (calls.add_one, "a")}, "b") == 3


def wait_by_await(client):
    async def main():
        return await asyncio.wait_for(asyncio.gather(*(client.submit(calls.add_one, i) for i in range(3))), 20)

    assert asyncio.run(main()) == [1, 2, 3]


WAITS = [wait_by_result, wait_by_wait, wait_by_as_completed, wait_by_map, wait_by_get, wait_by_await]
each_wait = pytest.mark.parametrize("wait", WAITS, ids=lambda wait: wait.__name__)


@each_wait
def test_a_callback_that_does_not_come_back_stops_nobody_who_waits(client, wait):
    begun, goes_on = threading.Event(), threading.Event()

    def stay(_):
        begun.set()
        goes_on.wait(60)

    client.submit(calls.add_one, 1).add_done_callback(stay)
    try:
        assert begun.wait(20)
        wait(client)
    finally:
        goes_on.set()


@each_wait
def test_a_callback_may_wait(client, wait):
    outcomes = queue.SimpleQueue()

    def try_it(_):
        try:
            outcomes.put(wait(client))
        except BaseException as error:
            outcomes.put(error)

    client.submit(calls.add_one, 1).add_done_callback(try_it)
    assert outcomes.get(timeout=30) is None


def test_callbacks_run_in_the_order_in_which_they_were_added_and_what_they_raise_is_logged(client, caplog):
    called, last = [], threading.Event()
    future = client.submit(calls.sleep_for, 0.1)
    for number in range(3):
        future.add_done_callback(lambda _, number=number: called.append(number))
    future.add_done_callback(lambda _: 1 // 0)
    future.add_done_callback(lambda _: last.set())
    assert last.wait(20)
    assert called == [0, 1, 2]
    assert f"a callback of task {future.task_id:#x} failed" in caplog.text
    future.add_done_callback(lambda _: called.append(threading.current_thread()))
    assert called[3] is threading.current_thread()  # since it is done


def test_callbacks_of_what_is_cancelled_run_where_it_is_cancelled(client):
    called = []
    future = client.submit(calls.sleep_for, 30)
    future.add_done_callback(lambda _: called.append(threading.current_thread()))
    assert future.cancel()
    assert called == [threading.current_thread()]


def test_a_client_without_callbacks_has_no_thread_for_them(cluster):
    with Client(cluster.get_address(), timeout_seconds=20) as client:
        for wait in WAITS:
            wait(client)
        assert "scaler-callbacks" not in [thread.name for thread in threading.enumerate()]


def test_no_callback_is_lost_when_the_client_leaves(cluster):
    called = queue.SimpleQueue()

    def take_long(future):
        time.sleep(0.1)
        called.put(future)

    with Client(cluster.get_address(), timeout_seconds=20) as client:
        futures = [client.submit(calls.sleep_for, 0.2 if i < 2 else 0.0) for i in range(20)]
        futures += [client.submit(calls.sleep_for, 60) for _ in range(5)]
        for future in futures:
            future.add_done_callback(take_long)
        assert [future.result(20) for future in futures[:20]] == [0.2] * 2 + [0.0] * 18
    assert {called.get(timeout=20) for _ in futures} == set(futures)
    assert all(future.cancelled() for future in futures[20:])


def run_program(cluster, text):
    text = f"""
import threading, time, sys
from scaler import Client, current_client
from tests.e2e import calls
client = Client({cluster.get_address()!r}, timeout_seconds=20)
{text}"""
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("end", ["", "client.disconnect()", "del client", "sys.exit(0)"])
def test_a_program_does_not_end_before_its_callbacks_have_run(cluster, end):
    ended = run_program(
        cluster,
        f"""
def take_long(future):
    time.sleep(0.4)
    print(future.cancelled(), flush=True)
futures = [client.submit(calls.sleep_for, seconds) for seconds in (0.1, 0.2, 60)]
for future in futures:
    future.add_done_callback(take_long)
assert futures[1].result(20) == 0.2
del future, futures
{end}
""",
    )
    assert ended.returncode == 0, ended.stderr
    assert sorted(ended.stdout.split()) == ["False", "False", "True"]


# futures that outlive their client


def connect(cluster) -> Client:
    return Client(cluster.get_address(), timeout_seconds=20)


def threads_of_clients():
    return [thread for thread in threading.enumerate() if thread.name.startswith("scaler-")]


@pytest.fixture
def none_stay():
    before = len(threads_of_clients())
    yield
    gc.collect()
    wait_until(lambda: len(threads_of_clients()) == before)


def submit_and_forget(cluster):
    client = connect(cluster)
    return [client.submit(calls.sleep_for, 0.05) for _ in range(5)], client.map(calls.add_one, [(1,)])


@pytest.mark.usefixtures("none_stay")
def test_a_future_holds_its_connection_until_it_is_done(cluster):
    assert connect(cluster).submit(calls.sleep_for, 0.1).result(20) == 0.1
    assert connect(cluster).options(timeout=20).submit(calls.sleep_for, 0.1).result(20) == 0.1
    assert asyncio.run(outcome_of(asyncio_of(lambda: connect(cluster).submit(calls.sleep_for, 0.1)))) == 0.1
    futures, mapped = submit_and_forget(cluster)
    assert mapped == [2]
    assert not concurrent.futures.wait(futures, 20).not_done
    assert [future.result() for future in futures] == [0.05] * 5
    graph = {"a": (calls.sleep_for, 0.1), "b": (calls.add_one, "a")}
    assert connect(cluster).get(graph, ["b"], block=False)["b"].result(20) == 1.1
    called = queue.SimpleQueue()
    connect(cluster).submit(calls.sleep_for, 0.1).add_done_callback(lambda future: called.put(future.result()))
    assert called.get(timeout=20) == 0.1


async def asyncio_of(make):
    return await make()


@pytest.mark.usefixtures("none_stay")
@pytest.mark.parametrize("n", [10, 100_000, 3_000_000])
def test_a_large_result_may_be_read_later(cluster, n):
    future = connect(cluster).submit(np.arange, n)
    wait_until(future.done)
    time.sleep(0.2)
    assert future.result()[-1] == n - 1


@pytest.mark.usefixtures("none_stay")
def test_what_nobody_refers_to_is_cancelled_with_its_client(cluster):
    connect(cluster).submit(calls.sleep_for, 60)
    held = connect(cluster).submit(calls.sleep_for, 60)
    assert not held.done()
    del held


@pytest.mark.usefixtures("none_stay")
def test_a_client_that_is_found_by_the_collector_stays_as_well(cluster):
    def make():
        client = connect(cluster)
        client.__dict__["itself"] = client
        return client.submit(calls.sleep_for, 0.5)

    future = make()
    gc.collect()
    assert future.result(20) == 0.5


def why_cancelled(future):
    with pytest.raises(concurrent.futures.CancelledError) as by_result:
        future.result(20)
    with pytest.raises(concurrent.futures.CancelledError) as by_exception:
        future.exception(20)
    assert str(by_result.value) == str(by_exception.value)
    return str(by_result.value).removeprefix(f"task {future.task_id:#x} was cancelled")


def test_what_is_cancelled_says_why(cluster):
    client = connect(cluster)
    first = client.submit(calls.sleep_for, 60)
    second = client.submit(calls.echo, first)
    third = client.submit(calls.echo, [second])
    first.cancel()
    assert why_cancelled(first) == ""
    assert why_cancelled(second) == f": task {first.task_id:#x}, whose result it needs, was cancelled"
    assert why_cancelled(third) == f": task {second.task_id:#x}, whose result it needs, was cancelled"
    late = client.submit(calls.echo, first)
    assert why_cancelled(late) == f": task {first.task_id:#x}, whose result it needs, was cancelled"
    cleared = client.submit(calls.sleep_for, 60)
    client.clear()
    assert why_cancelled(cleared) == ": its client was cleared"
    left = client.submit(calls.sleep_for, 60)
    client.disconnect()
    assert why_cancelled(left) == ": its client has disconnected"
    with connect(cluster) as client:
        left = client.submit(calls.sleep_for, 60)
    assert why_cancelled(left) == ": its client's with block has ended"
    begun = threading.Event()

    def map_it(client):
        begun.set()
        return client.map(calls.sleep_for, [(60,)] * 3)

    with concurrent.futures.ThreadPoolExecutor() as executor, connect(cluster) as client:
        mapped = executor.submit(map_it, client)
        assert begun.wait(20)
        wait_until(lambda: client._rings.open_tasks)
        client.disconnect()
        with pytest.raises((concurrent.futures.CancelledError, ClientQuitException), match="disconnected"):
            mapped.result(20)


def test_what_is_open_when_a_program_ends_says_why(cluster):
    ended = run_program(
        cluster,
        """
future = client.submit(calls.sleep_for, 60)
def say_why(future):
    try:
        future.result()
    except BaseException as error:
        print(error, flush=True)
future.add_done_callback(say_why)
""",
    )
    assert ended.stdout.strip().endswith("was cancelled: its program has ended"), ended.stderr


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_while_a_client_stays_for_its_futures_leaves_it_to_the_parent(cluster):
    future = connect(cluster).submit(calls.sleep_for, 0.5)
    child = os.fork()
    if not child:
        try:
            future.result(5)
        except concurrent.futures.CancelledError as error:
            os._exit(7 if "belongs to the process that forked" in str(error) else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert future.result(20) == 0.5


# futures and references where they cannot be


def make_future():
    return current_client().submit(abs, -1)


def make_reference():
    return current_client().send_object([1])


def make_and_wrap(make, wraps):
    made = make()
    return {"a": [made]} if wraps else made


def try_inside(make, wraps):
    try:
        return repr(current_client().submit(make_and_wrap, make, wraps).result())
    except TypeError as error:
        return str(error)


@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize(("make", "name"), [(make_future, "a future cannot be"), (make_reference, "ObjectReference")])
def test_a_future_or_a_reference_that_a_task_returns_is_a_type_error(client, make, name, wraps):
    with pytest.raises(TypeError, match=name) as error:
        client.submit(make_and_wrap, make, wraps).result(20)
    assert "what a task returns" in str(error.value)
    with pytest.raises(TypeError, match=name):
        client.map(make_and_wrap, [(make, wraps)] * 3)
    assert name in client.submit(try_inside, make, wraps).result(20)
    assert client.submit(calls.add_one, 1).result(20) == 2


@pytest.mark.parametrize("wrap", [lambda thing: thing, lambda thing: [thing], lambda thing: {"a": (1, thing)}])
def test_what_is_sent_as_an_object_holds_no_future_and_no_reference(client, wrap):
    reference, future = client.send_object([1]), client.submit(abs, -2)
    with pytest.raises(TypeError, match="an ObjectReference cannot be part of what send_object sends"):
        client.send_object(wrap(reference))
    for _ in range(2):
        with pytest.raises(TypeError, match="a future cannot be part of what send_object sends"):
            client.send_object(wrap(future))
        future.result(20)
    assert client.submit(calls.echo, [reference, future]).result(20) == [[1], 2]
