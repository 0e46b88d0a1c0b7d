"""Coroutines: futures that are awaited, and the client whose calls are the loop's own futures."""

import asyncio
import time

import pytest

from scaler import AsyncClient
from tests.e2e import calls
from tests.e2e.test_executor import odd_fails


def stop_iterating():
    raise StopIteration(5)


def run(client, coroutine, **options):
    async def main():
        async with AsyncClient(client=client, **options) as made:
            return await coroutine(made)

    return asyncio.run(main())


def test_a_scaler_future_can_be_awaited_and_gathered(client):
    async def main():
        assert await client.submit(calls.add_one, 1) == 2
        return await asyncio.gather(*(client.submit(calls.add_one, i) for i in range(500)))

    assert asyncio.run(main()) == list(range(1, 501))


def test_calls_are_futures_of_the_loop(client):
    async def work(made):
        one = made.submit(calls.add_one, 1)
        assert isinstance(one, asyncio.Future)
        assert await one == 2
        return await asyncio.gather(*(made.submit(calls.add_one, i) for i in range(3000)))

    assert run(client, work) == list(range(1, 3001))
    assert client.submit(calls.add_one, 1).result() == 2


def test_it_connects_and_leaves_by_itself(cluster):
    async def main():
        async with AsyncClient(cluster.get_address(), timeout_seconds=20) as made:
            results = [await made.submit(pow, 2, exp=i) for i in range(5)]
            assert await made.map(pow, [(2, 3)]) == [8]
            assert await made.map_each(calls.add_one, range(100), timeout=20) == list(range(1, 101))
            assert [result async for result in made.imap(calls.add_one, range(10))] == list(range(1, 11))
            assert await made.get({"a": 1, "b": (calls.add_one, "a")}, ["b"]) == {"b": 2}
            reference = await made.send_object([1, 2])
            assert await made.submit(sum, reference) == 3
            return results, made.client

    results, inner = asyncio.run(main())
    assert results == [1, 2, 4, 8, 16]
    assert not inner.is_usable


def test_what_a_call_raises_is_raised_where_it_is_awaited(client):
    async def work(made):
        with pytest.raises(ValueError, match="no") as raised:
            await made.submit(calls.fail, "no")
        assert "Traceback" in str(raised.value.__cause__)
        with pytest.raises(RuntimeError, match="raised StopIteration: 5"):
            await made.submit(stop_iterating)
        return await asyncio.gather(*(made.submit(odd_fails, i) for i in range(10)), return_exceptions=True)

    results = run(client, work)
    assert results[::2] == [0, 2, 4, 6, 8]
    assert all(isinstance(error, ValueError) for error in results[1::2])


def test_what_is_cancelled_is_stopped_where_it_runs(client):
    async def work(made):
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(made.submit(time.sleep, 60), 0.2)
        assert client._rings.open_tasks == 0
        left = made.submit(time.sleep, 60)
        assert await made.submit(calls.add_one, 1) == 2
        return left

    left = run(client, work)
    assert left.cancelled()
    assert client._rings.open_tasks == 0
    assert client.submit(calls.add_one, 1).result() == 2


def test_a_call_that_is_cancelled_from_outside_is_cancelled_where_it_is_awaited(client):
    async def work(made):
        waiting = made.submit(time.sleep, 60)
        client.clear()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(client, work)


def test_it_is_used_as_it_is_meant():
    with pytest.raises(TypeError, match="an address, or client="):
        AsyncClient()
    with pytest.raises(RuntimeError, match="not connected yet"):
        AsyncClient("tcp://127.0.0.1:1").client
