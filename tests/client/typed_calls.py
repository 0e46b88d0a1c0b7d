"""What a type checker knows of calls: `make check` has mypy read this, and nobody runs it.

Results are typed; arguments are not, since a future may stand for any of them.
"""

import asyncio
from collections.abc import Iterator
from typing import assert_type

from scaler import AsyncClient, Client, ScalerExecutor, ScalerFuture, as_completed


def length(text: str) -> int:
    return len(text)


async def length_later(text: str) -> int:
    return len(text)


def submits(client: Client) -> None:
    assert_type(client.submit(length, "four"), ScalerFuture[int])
    assert_type(client.submit(length, client.submit(str, 5)), ScalerFuture[int])
    assert_type(client.submit(length, text="four").result(), int)
    assert_type(client.submit(length_later, "four"), ScalerFuture[int])
    assert_type(client.options(retries=1).submit(length, "four"), ScalerFuture[int])
    for future in as_completed([client.submit(length, "four")]):
        assert_type(future, ScalerFuture[int])


def maps(client: Client) -> None:
    assert_type(client.map(length, [("four",)]), list[int])
    assert_type(client.map(length, ["four"], ["five"], timeout=5), list[int])
    assert_type(client.map_each(length, ["four"]), list[int])
    assert_type(client.map_each(length, ["four"], return_exceptions=True), list[int | BaseException])
    assert_type(client.starmap(length, [("four",)]), list[int])
    assert_type(client.imap(length, ["four"]), Iterator[int])
    assert_type(client.imap_unordered(length, ["four"], return_exceptions=True), Iterator[int | BaseException])


def executors(executor: ScalerExecutor) -> None:
    assert_type(executor.submit(length, "four"), ScalerFuture[int])
    assert_type(executor.map(length, ["four"]), Iterator[int])


async def awaits(client: Client, other: AsyncClient) -> None:
    assert_type(await client.submit(length, "four"), int)
    assert_type(other.submit(length, "four"), asyncio.Future[int])
    assert_type(await other.submit(length_later, "four"), int)
