"""Waiting for futures in the ways that programs have: asyncio, callbacks, futures that outlive their client."""

import asyncio
from typing import Any

import pytest

from tests.e2e import calls


class OutOfItems(StopIteration):
    """What a library may derive from it."""


class Unloadable:
    """What raises something else than an Exception where it is unpickled."""

    def __reduce__(self):
        return calls.raise_here, (GeneratorExit, "unpickled")


async def outcome_of(awaitable) -> Any:
    try:
        return await asyncio.wait_for(awaitable, 20)
    except BaseException as error:
        return error


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
