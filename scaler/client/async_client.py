"""AsyncClient: a client for coroutines, whose calls give the event loop's own futures.

A ScalerFuture can be awaited in any loop, but each tells its loop by itself, through a lock and a condition. Here
one thread hears of all ends of this client's calls, as a map hears of its chunks', and tells the loop of many in one
step; what is awaited is a plain asyncio.Future.

Rule 1: it belongs to the loop in which it was entered, or first used, and is called from that loop's thread only.
Rule 2: an asyncio.Future that is cancelled cancels its call, which is stopped where it runs.
Rule 3: nothing here blocks the loop: connecting, maps and leaving happen in threads. `submit` may, for as long as the
        scheduler has more of this client than it wants to keep.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from scaler._native import Completions, PendingFuture, WakeUp
from scaler.client.client import Client
from scaler.client.serializer import Serializer
from scaler.program.threads import new_thread

T = TypeVar("T")
LOOK_S = 0.1  # how often the thread looks whether it is still wanted


class AsyncClient:
    """Made from an address and a Client's options, or around a `client` that is there, which stays when this ends.

    `async with AsyncClient(address) as client: print(await client.submit(pow, 2, 10))`
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        client: Client | None = None,
        timeout_seconds: float = 60,
        serializer: Serializer | type[Serializer] | None = None,
        **options: Any,
    ) -> None:
        if (address is None) == (client is None):
            raise TypeError("AsyncClient takes an address, or client=, and not both")
        self._client = client
        self._is_owner = client is None
        self._connect: Callable[[], Client] = lambda: Client(
            str(address), timeout_seconds=timeout_seconds, serializer=serializer, **options
        )
        self._hearing: _Hearing | None = None

    async def __aenter__(self) -> Self:
        if self._client is None:
            self._client = await asyncio.to_thread(self._connect)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.disconnect()

    @property
    def client(self) -> Client:
        """The client that this one is around."""
        if self._client is None:
            raise RuntimeError("this AsyncClient is not connected yet: `async with AsyncClient(...) as client`")
        return self._client

    @property
    def _any(self) -> Any:
        """The client, for what passes on arguments as they are."""
        return self.client

    @overload
    def submit(
        self, fn: Callable[..., Coroutine[Any, Any, T]], /, *args: Any, **kwargs: Any
    ) -> "asyncio.Future[T]": ...
    @overload
    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> "asyncio.Future[T]": ...
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "asyncio.Future[Any]":
        """Have a worker call fn(*args, **kwargs); the loop's own future of its result.

        Arguments are as in Client.submit, but that a future of this client is no argument: await it.
        """
        hearing = self._hearing
        if hearing is None:
            hearing = self._hearing = _Hearing(self.client, asyncio.get_running_loop())
        return hearing.hear_of(hearing.submit(fn, args, kwargs))

    async def map(self, fn: Callable[..., Any], iterable: Iterable[Any], *iterables: Iterable[Any], **how: Any) -> Any:
        """Client.map, in a thread."""
        return await asyncio.to_thread(self._any.map, fn, iterable, *iterables, **how)

    async def map_each(
        self, fn: Callable[..., Any], iterable: Iterable[Any], *iterables: Iterable[Any], **how: Any
    ) -> Any:
        """Client.map_each, in a thread."""
        return await asyncio.to_thread(self._any.map_each, fn, iterable, *iterables, **how)

    async def imap(
        self, fn: Callable[..., Any], iterable: Iterable[Any], *iterables: Iterable[Any], **how: Any
    ) -> AsyncIterator[Any]:
        """Client.imap, read in a thread."""
        results = await asyncio.to_thread(self._any.imap, fn, iterable, *iterables, **how)
        nothing = object()
        while (result := await asyncio.to_thread(next, results, nothing)) is not nothing:
            yield result

    async def get(self, graph: Any, keys: Any, **keywords: Any) -> Any:
        """Client.get, in a thread, with its keywords for matrix graphs."""
        return await asyncio.to_thread(self.client.get, graph, keys, **keywords)

    async def send_object(self, obj: Any, name: bytes | None = None) -> Any:
        """Client.send_object, in a thread."""
        return await asyncio.to_thread(self.client.send_object, obj, name)

    async def disconnect(self) -> None:
        """Cancel everything that is not done, and leave; idempotent. A client that was there before stays."""
        hearing, self._hearing = self._hearing, None
        if hearing is not None:
            hearing.end()
        if self._is_owner and self._client is not None:
            await asyncio.to_thread(self._client.disconnect)


class _Promise(asyncio.Future[Any]):
    """Of one call, which ends with it."""

    call: PendingFuture

    def cancel(self, msg: Any = None) -> bool:
        if self.done():
            return False
        self.call.cancel()
        return super().cancel(msg)


class _Hearing:
    """Hears of the ends of calls in a thread, and tells the loop."""

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self.submit = loop, client._bind_submit()
        self._completions = Completions(client._rings)
        self._waiting: dict[PendingFuture, _Promise] = {}
        self._is_ending = False
        self._wake = WakeUp()
        self._thread = new_thread("scaler-async", self._serve, runs_others=True)
        self._thread.start()

    def hear_of(self, future: PendingFuture) -> "asyncio.Future[Any]":
        promise = _Promise(loop=self._loop)
        promise.call = future
        was_idle = not self._waiting
        self._waiting[future] = promise
        self._completions.watch((future,))
        if was_idle:
            self._wake.set()
        return promise

    def _serve(self) -> None:
        completions = self._completions
        while not self._is_ending:
            if not completions.open:
                self._wake.wait(LOOK_S)
                continue
            try:
                ended = completions.wait(LOOK_S)
            except TimeoutError:
                continue
            except Exception:  # the client has left: its futures are cancelled, and heard of
                self._wake.wait(LOOK_S)
                continue
            try:
                self._loop.call_soon_threadsafe(self._tell, ended)
            except RuntimeError:  # the loop is closed
                return

    def _tell(self, ended: list[PendingFuture]) -> None:
        for future in ended:
            promise = self._waiting.pop(future, None)
            if promise is not None and not promise.done():
                _settle(promise, future)

    def end(self) -> None:
        """What is open is cancelled."""
        self._is_ending = True
        self._wake.set()
        for future in list(self._waiting):
            future.cancel()
        self._tell(list(self._waiting))
        self._completions.let_go()


def _settle(promise: "asyncio.Future[Any]", future: PendingFuture) -> None:
    """What the call has come to, as a coroutine raises it."""
    if future.cancelled():
        promise.cancel("the call was cancelled")
        return
    try:
        result = future.result()
    except StopIteration as error:  # which no coroutine can raise
        replacement = RuntimeError(f"task {future.task_id:#x} raised {type(error).__name__}: {error}")
        replacement.__cause__ = error
        promise.set_exception(replacement)
    except BaseException as error:
        promise.set_exception(error)
    else:
        promise.set_result(result)
