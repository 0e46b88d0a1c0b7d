"""Calls of a map that wait for networks, many at a time in one worker."""

import asyncio
import os
from functools import partial

import pytest

from scaler.exceptions import ProcessorDiedError, TaskTimeoutError
from tests.e2e import calls
from tests.processes import wait_until


async def wait_and_say(number, seconds=0.05):
    """What most programs do that wait for networks."""
    await asyncio.sleep(seconds)
    return number, os.getpid()


class Together:
    """How many are there at a time, in this worker."""

    here = 0


async def count_the_others(_):
    Together.here += 1
    await asyncio.sleep(0.02)
    there = Together.here
    Together.here -= 1
    return there


def test_as_many_calls_wait_at_the_same_time_as_may_and_results_come_in_order(client):
    found = client.options(concurrency=50).map_each(wait_and_say, range(100))
    assert [number for number, _ in found] == list(range(100))
    for way in (client.options(concurrency=7), client.options(concurrency=7, retry_on=ValueError)):
        assert 1 < max(way.map_each(count_the_others, range(40))) <= 7
        assert 1 < max(way.imap_unordered(count_the_others, range(40))) <= 7


def test_by_default_calls_of_coroutines_wait_one_after_the_other(client):
    assert max(client.map_each(count_the_others, range(10))) == 1


async def fail_if_odd(number):
    await asyncio.sleep(0.001 * (number % 5))
    if number % 2:
        raise LookupError(number)
    return number


def test_each_call_has_a_result_or_an_exception_of_its_own(client):
    many = client.options(concurrency=10)
    outcomes = many.map_each(fail_if_odd, range(50), return_exceptions=True)
    assert [outcome if type(outcome) is int else outcome.args[0] for outcome in outcomes] == list(range(50))
    assert {type(outcome) for outcome in outcomes[1::2]} == {LookupError}
    assert "fail_if_odd" in str(outcomes[1].__cause__)
    with pytest.raises(LookupError, match="1"):
        many.map_each(fail_if_odd, range(50))
    assert many.map_each(calls.add_one, range(30)) == list(range(1, 31))  # no coroutines: one after the other


async def give_array(n):
    import numpy

    await asyncio.sleep(0)
    return numpy.full(n, float(n))


async def exit_or_not(number):
    if number == 3:
        raise SystemExit(3)
    if number == 5:
        raise asyncio.CancelledError
    if number == 7:
        return lambda: asyncio.get_running_loop()
    return number


def test_results_of_any_size_and_what_coroutines_raise_that_is_no_exception(client):
    many = client.options(concurrency=20)
    sizes = [10, 100_000, 5, 200_000]
    assert [array.sum() for array in many.map_each(give_array, sizes)] == [float(n) * n for n in sizes]
    outcomes = many.map_each(exit_or_not, range(8), return_exceptions=True)
    assert type(outcomes[3]) is SystemExit
    assert isinstance(outcomes[5], asyncio.CancelledError)
    assert [outcomes[number] for number in (0, 1, 2, 4, 6)] == [0, 1, 2, 4, 6]
    assert callable(outcomes[7])


async def wait_for_ever(log, number):
    calls.note(log, number)
    try:
        await asyncio.sleep(600)
    finally:
        calls.note(log, -1 - number)


def noted(path):
    return sorted(map(int, path.read_text().split())) if path.exists() else []


def is_noted(path, numbers):
    return noted(path) == numbers


def test_a_map_that_is_given_up_stops_all_of_them_and_finally_blocks_run(client, tmp_path):
    log = tmp_path / "log"
    many = client.options(concurrency=10)
    with pytest.raises(TimeoutError):
        many.map(wait_for_ever, [(str(log), number) for number in range(20)], timeout=2)
    wait_until(lambda: len(noted(log)) == 40)
    assert noted(log) == list(range(-20, 20))
    assert client.map_each(wait_and_say, range(4))[3][0] == 3  # nothing of it is left in the loop


def test_a_coroutine_by_itself_that_is_cancelled_leaves_nothing_either(client, tmp_path):
    for number in range(3):
        log = tmp_path / f"log {number}"
        future = client.submit(wait_for_ever, str(log), 0)
        wait_until(log.exists)
        assert future.cancel()
        wait_until(partial(is_noted, log, [-1, 0]))
    pids = {client.submit(tasks_in_loop).result(20) for _ in range(10)}
    assert pids == {1}


async def tasks_in_loop():
    return len(asyncio.all_tasks())


async def wait_or_compute(log, number):
    if number == 2:
        await asyncio.sleep(600)
    return number


def test_a_time_limit_stops_those_that_have_not_ended_and_no_other(client, tmp_path):
    many = client.options(concurrency=10, timeout=0.5)
    outcomes = many.map(wait_or_compute, [(str(tmp_path), number) for number in range(4)], return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [int, int, TaskTimeoutError, int]
    assert many.map_each(wait_and_say, range(10))[9][0] == 9


async def die_at(log, number, deadly):
    calls.note(log, number)
    await asyncio.sleep(0.01)
    if number == deadly:
        calls.die()
    return number


def test_of_calls_whose_worker_dies_the_one_that_kills_it_fails_alone(client, tmp_path):
    log = tmp_path / "log"
    many = client.options(concurrency=10, retries=2)
    outcomes = many.map(die_at, [(str(log), number, 4) for number in range(10)], return_exceptions=True)
    assert type(outcomes.pop(4)) is ProcessorDiedError
    assert outcomes == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert noted(log).count(4) == 3


def ask_inside(client):
    """A map of a task, run in place of waiting for it or by another worker."""
    found = client.options(concurrency=5).map_each(fail_if_odd, range(0, 20, 2))
    return [*found, *client.submit(ask_below, client).result()]


def ask_below(client):
    return client.options(concurrency=5).map_each(fail_if_odd, range(20, 40, 2))


async def ask_in_a_coroutine(client):
    return await asyncio.to_thread(ask_below, client)


def test_in_tasks_it_is_the_same(client):
    assert client.submit(ask_inside, client).result(30) == list(range(0, 40, 2))
    assert client.submit(ask_in_a_coroutine, client).result(30) == list(range(20, 40, 2))


def test_what_has_state_and_calls_that_are_made_again(client, tmp_path):
    many = client.options(concurrency=5, retry_on=KeyError, retries=3)
    outcomes = many.map(calls.fail_times_later, [(str(tmp_path / f"n{i}"), 2) for i in range(10)])
    assert outcomes == [[1]] * 10
    counter = Counter()
    assert client.options(concurrency=5).map_each(counter.count, range(10)) == [1] * 10


class Counter:
    def __init__(self):
        self.calls = 0

    async def count(self, _):
        await asyncio.sleep(0)
        self.calls += 1
        return self.calls


def test_single_calls_and_graphs_with_it_are_errors_that_say_so(client):
    many = client.options(concurrency=2)
    with many.executor() as executor:
        for call, *arguments in ((many.submit, abs, 1), (many.get, {"a": (abs, 1)}, ["a"]), (executor.submit, abs, 1)):
            with pytest.raises(TypeError, match="concurrency is for maps"):
                call(*arguments)
        assert list(executor.map(abs, [-1, 2])) == [1, 2]
    with pytest.raises(ValueError, match="wants retries of 1 or more"):
        client.options(concurrency=2, retries=0)
    with pytest.raises(ValueError, match="concurrency is a whole number from 1 to 10000"):
        client.options(concurrency=0)
