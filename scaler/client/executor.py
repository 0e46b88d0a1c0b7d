"""ClientExecutor: a client as a `concurrent.futures.Executor`, for programs and libraries that take one.

Its calls are the client's own, under options that nobody else has: by these it knows them again when it is shut down,
and keeps no list of them.

What differs from ProcessPoolExecutor: nothing has to be picklable by name, and no `if __name__ == "__main__"` is
needed. `running()` is true from submit on, and `cancel()` works on what runs, too: it is stopped.
`shutdown(cancel_futures=True)` cancels only what has not begun, as it must.

Rule 1: a call that was accepted is done, whatever happens to the executor after that: shut down without waiting, not
        referred to any more, or at the program's end.
Not here: an executor with workers of its own (scaler.integrations.executor).
"""

import atexit
import secrets
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from scaler._native import ClientRings, TaskOptions
from scaler.client.future import ScalerFuture
from scaler.client.imap import read_later
from scaler.client.set_up import SetUp

if TYPE_CHECKING:
    from scaler.client.client import Client

_open: "weakref.WeakSet[ClientExecutor]" = weakref.WeakSet()
P = ParamSpec("P")
T = TypeVar("T")
_AFTER_SHUTDOWN = "cannot schedule new futures after shutdown"
_AT_EXIT = "cannot schedule new futures after interpreter shutdown"


class ClientExecutor(Executor):
    """Made by `Client.executor`. Shutting it down does not end the client."""

    def __init__(
        self, client: "Client", initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = ()
    ) -> None:
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._client = client.options()
        self._options = self._client._options.native
        self._submit = self._client._bind_submit()
        self._set_up: SetUp | None = None
        self._refusal: Exception | None = None
        _open.add(self)
        if initializer is not None:
            self._begin_with(initializer, initargs)

    def _begin_with(self, initializer: Callable[..., object], initargs: tuple[Any, ...]) -> None:
        self._set_up = SetUp(secrets.token_bytes(16), initializer, initargs)
        executor = weakref.ref(self)

        def look(future: Any) -> None:
            error = None if future.cancelled() else future.exception()
            found = executor()
            if isinstance(error, BrokenExecutor) and found is not None:
                found._refusal = error

        self.submit(int).add_done_callback(look)

    @property
    def _broken(self) -> str | bool:
        """Why, where ProcessPoolExecutor says so, too."""
        return str(self._refusal) if isinstance(self._refusal, BrokenExecutor) else False

    @property
    def _max_workers(self) -> int:
        """How many workers there are: some libraries cut their work by this attribute of the standard executors."""
        return max(1, self._client._rings.count_workers())

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> ScalerFuture[T]:
        """As Client.submit. RuntimeError after `shutdown`, BrokenExecutor after an initializer has failed."""
        if self._refusal is not None:
            raise type(self._refusal)(*self._refusal.args)
        return self._submit(fn if self._set_up is None else self._set_up.wrap(fn), args, kwargs)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """The built-in map, whose calls are all submitted at once, or so many ahead of what has been read as
        `buffersize` says.

        With a `chunksize` of 1 calls travel together where they are known to be quick, else so many as it says.
        TimeoutError from the iterator if a result is not there `timeout` seconds after this call.
        """
        if self._refusal is not None:
            raise type(self._refusal)(*self._refusal.args)
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if not iterables:
            return iter(())
        if self._set_up is not None:
            fn = self._set_up.wrap(fn)
        size = None if chunksize == 1 else chunksize
        if buffersize is not None:
            return self._client.imap(fn, *iterables, chunksize=size, buffersize=buffersize, timeout=timeout)
        run, load = self._client._start_each(fn, iterables, timeout, size)
        run.send_all()
        if run.error is not None:
            run.cancel()
            raise run.error
        return read_later(run, load)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; wait for those that were made, or, with `cancel_futures`, for those that have begun."""
        if not isinstance(self._refusal, RuntimeError):
            self._refusal = RuntimeError(_AFTER_SHUTDOWN)
        rings = self._client._rings
        if cancel_futures:
            rings.recall(rings.open_with(self._options))
        if wait:
            await_all(rings, self._options)
            _open.discard(self)

    def _end(self) -> None:
        """At the program's end."""
        self._refusal = RuntimeError(_AT_EXIT)
        self.shutdown()


def await_all(rings: ClientRings, options: TaskOptions) -> None:
    """Wait for all calls that were made with these options."""
    while still_open := rings.open_with(options):
        for future in still_open:
            try:
                future.exception()
            except CancelledError:
                pass


def _end_all() -> None:
    for executor in list(_open):
        executor._end()


atexit.register(_end_all)
