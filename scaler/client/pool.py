"""ClientPool: a client in the shape of `multiprocessing.Pool`, for programs and libraries that take one.

`map` and its kin call func(item), whatever an item is; a chunk size of None, or 1 for `imap`, leaves it to us how many
calls travel together. A map whose calls fail is done to its end, and then raises what the first of them has raised. Of
a failing item in an `imap` the exception is raised in its place, and the iterator goes on after it. Everything else is
as in the standard library, down to which exception says what; but nothing is forked, and what runs when a pool is
terminated is stopped without ending its worker.

Not here: a pool with workers of its own (scaler.pool).
"""

import multiprocessing
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from scaler.client.executor import await_all
from scaler.client.mapping import MapRun, run_map
from scaler.client.set_up import SetUp
from scaler.values.payload import Failed, Outcomes

if TYPE_CHECKING:
    from scaler.client.client import Client

MOST_CHUNKS = 16  # per worker that were sent and have not been read
_NOTHING = object()
RUN, CLOSE, TERMINATE = "RUN", "CLOSE", "TERMINATE"


class ClientPool:
    """Made by `Client.pool`. Closing or terminating it ends neither the client nor its workers."""

    def __init__(
        self, client: "Client", initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = ()
    ) -> None:
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._client = client.options()
        self._options = self._client._options.native
        self._state = RUN
        self._set_up: SetUp | None = None
        if initializer is not None:
            self._set_up = SetUp(secrets.token_bytes(16), initializer, tuple(initargs))

    @property
    def _processes(self) -> int:
        """How many workers there are."""
        return max(1, self._client._rings.count_workers())

    def _function(self, func: Callable[..., Any]) -> Callable[..., Any]:
        if self._state != RUN:
            raise ValueError("Pool not running")
        return func if self._set_up is None else self._set_up.wrap(func)

    # one call

    def apply(self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: Mapping[str, Any] = {}) -> Any:
        """func(*args, **kwds), and wait for it."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> "ApplyResult":
        """func(*args, **kwds), somewhere; one of the callbacks is called with what comes of it."""
        return ApplyResult(self._client.submit(self._function(func), *args, **kwds), callback, error_callback)

    # maps

    def map(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = None) -> list[Any]:
        """func(item) for each item, in order."""
        return _run_all(*self._client._start_each(self._function(func), (iterable,), None, chunksize))

    def starmap(
        self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[Any]:
        """func(*item) for each item, in order."""
        return _run_all(*self._client._start_rows(self._function(func), map(tuple, iterable), chunksize))

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> "MapResult":
        """`map`, whose list comes later. The iterable is read at once."""
        run, load = self._client._start_each(self._function(func), (iterable,), None, chunksize)
        return MapResult(run, load, callback, error_callback)

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> "MapResult":
        """`starmap`, whose list comes later. The iterable is read at once."""
        run, load = self._client._start_rows(self._function(func), map(tuple, iterable), chunksize)
        return MapResult(run, load, callback, error_callback)

    def imap(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1) -> "ResultIterator":
        """func(item) for each item, read one by one, in order. The iterable may be endless."""
        return self._imap(func, iterable, chunksize, True)

    def imap_unordered(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int = 1
    ) -> "ResultIterator":
        """The same in the order in which they come."""
        return self._imap(func, iterable, chunksize, False)

    def _imap(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int, is_ordered: bool
    ) -> "ResultIterator":
        function = self._function(func)
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        size = None if chunksize == 1 else chunksize
        return ResultIterator(*self._client._start_each(function, (iterable,), None, size, is_ordered))

    # the end

    def close(self) -> None:
        """Take no more calls."""
        if self._state == RUN:
            self._state = CLOSE

    def terminate(self) -> None:
        """Take no more calls, and stop those that were made."""
        self._state = TERMINATE
        for future in self._client._rings.open_with(self._options):
            future.cancel()

    def join(self) -> None:
        """Wait until all calls are done; `close` or `terminate` comes first."""
        if self._state == RUN:
            raise ValueError("Pool is still running")
        await_all(self._client._rings, self._options)

    def __enter__(self) -> Self:
        if self._state != RUN:
            raise ValueError("Pool not running")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.terminate()

    def __reduce__(self) -> NoReturn:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")


class ApplyResult:
    """What comes of one call."""

    def __init__(
        self,
        future: Any,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> None:
        self._future = future
        self._told: threading.Event | None = None  # set once the callback has returned
        if callback is not None or error_callback is not None:
            told = self._told = threading.Event()

            def tell(_: Any) -> None:
                try:
                    _tell(_outcome_of(future), callback, error_callback)
                finally:
                    told.set()

            future.add_done_callback(tell)

    def ready(self) -> bool:
        """Whether it is done."""
        is_done: bool = self._future.done() if self._told is None else self._told.is_set()
        return is_done

    def successful(self) -> bool:
        """Whether it gave a result. ValueError while it is not done."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return not self._future.cancelled() and self._future.exception() is None

    def wait(self, timeout: float | None = None) -> None:
        """Until it is done, or so many seconds."""
        if self._told is not None:
            self._told.wait(timeout)
            return
        try:
            self._future.exception(timeout)
        except (TimeoutError, CancelledError):
            pass

    def get(self, timeout: float | None = None) -> Any:
        """The result. multiprocessing.TimeoutError if it is not there after so many seconds."""
        self.wait(timeout)
        if not self.ready():
            raise multiprocessing.TimeoutError
        return self._future.result()


class MapResult:
    """What comes of a map whose calls were all sent."""

    def __init__(
        self,
        run: MapRun,
        load: Callable[..., list[Any]],
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> None:
        self._run, self._load = run, load
        self._lock = threading.Lock()
        self._results: list[Any] = []
        self._error: BaseException | None = None
        self._tells = callback, error_callback
        self._told = threading.Event()  # set once the callback has returned, or at once where there is none
        run.send_all()
        if run.error is not None:
            run.cancel()
            self._error = run.error
            self._tell()
        elif callback is not None or error_callback is not None:
            chunks = list(run.sent)
            self._count = len(chunks)
            if not chunks:
                self._tell()
            for chunk in chunks:
                chunk.add_done_callback(self._on_chunk)
        else:
            self._told.set()

    def _on_chunk(self, _: Any) -> None:
        self._count -= 1  # they are called one after the other
        if not self._count:
            self._read_on(None)
            self._tell()

    def _tell(self) -> None:
        try:
            _tell((self._results,) if self._error is None else Failed(self._error), *self._tells)
        finally:
            self._told.set()

    def _advance(self, timeout: float | None) -> None:
        """Read what has come, and wait so long for the rest."""
        run = self._run
        while True:
            while (chunk := run.take()) is not None:
                self._read(chunk)
            if run.is_over:
                return
            run.set_timeout(timeout)
            before = time.monotonic()
            run.wait()
            if timeout is not None:
                timeout -= time.monotonic() - before

    def _read(self, chunk: Any) -> None:
        try:
            outcomes = chunk.read_with(self._load)
        except BaseException as error:  # it was cancelled, or its client has left
            self._error = self._error or error
            return
        if self._error is None and type(outcomes) is Outcomes:
            self._error = next((item.error for item in outcomes if type(item) is Failed), None)
        self._results += outcomes

    def ready(self) -> bool:
        """Whether it is done."""
        self.wait(0)
        return self._told.is_set() and self._run.is_over

    def successful(self) -> bool:
        """Whether all calls gave results. ValueError while they are not done."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._error is None

    def wait(self, timeout: float | None = None) -> None:
        """Until it is done, or so many seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._read_on(timeout)
        self._told.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))

    def _read_on(self, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._lock.acquire(timeout=-1 if timeout is None else max(0, timeout)):
            return
        try:
            self._advance(None if deadline is None else max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            pass
        finally:
            self._lock.release()

    def get(self, timeout: float | None = None) -> list[Any]:
        """The results. multiprocessing.TimeoutError if they are not there after so many seconds."""
        self.wait(timeout)
        if not self._told.is_set() or not self._run.is_over:
            raise multiprocessing.TimeoutError
        if self._error is not None:
            raise self._error
        return self._results


AsyncResult = ApplyResult


class ResultIterator:
    """The results of an `imap`. One that has failed raises in its place, and those after it still come."""

    def __init__(self, run: MapRun, load: Callable[..., list[Any]]) -> None:
        self._run, self._load = run, load
        self._ready: Iterator[Any] = iter(())
        self._lock = threading.Lock()
        self._is_over = False
        run.send_more(MOST_CHUNKS)

    def __iter__(self) -> Self:
        return self

    def next(self, timeout: float | None = None) -> Any:
        """The next result. multiprocessing.TimeoutError if it is not there after so many seconds."""
        with self._lock:
            outcome = next(self._ready, _NOTHING)
            if outcome is _NOTHING:
                outcome = self._read_on(timeout)
        if type(outcome) is Failed:
            raise outcome.error
        return outcome

    __next__ = next

    def _read_on(self, timeout: float | None) -> Any:
        run = self._run
        while True:
            chunk = run.take()
            run.send_more(MOST_CHUNKS)
            if chunk is not None:
                self._ready = iter(chunk.read_with(self._load))
                return next(self._ready)
            if run.is_over:
                if run.error is not None and not self._is_over:
                    self._is_over = True
                    raise run.error
                raise StopIteration
            run.set_timeout(timeout)
            try:
                run.wait()
            except TimeoutError:
                raise multiprocessing.TimeoutError from None

    def __del__(self) -> None:
        if hasattr(self, "_run"):
            self._run.cancel()


def _run_all(run: MapRun, load: Callable[..., list[Any]]) -> list[Any]:
    """All results. What the first call that failed has raised is raised when all others are done, too."""
    errors: list[BaseException] = []

    def read(chunk: Any) -> list[Any]:
        outcomes: list[Any] = chunk.read_with(load)
        if type(outcomes) is Outcomes:
            errors.extend(item.error for item in outcomes if type(item) is Failed)
        return outcomes

    results = run_map(run, read)
    if errors:
        raise errors[0]
    return results


def _outcome_of(future: Any) -> Failed | tuple[Any]:
    try:
        return (future.result(),)
    except BaseException as error:
        return Failed(error)


def _tell(
    outcome: Failed | tuple[Any],
    callback: Callable[[Any], object] | None,
    error_callback: Callable[[BaseException], object] | None,
) -> None:
    if isinstance(outcome, Failed):
        if error_callback is not None:
            error_callback(outcome.error)
    elif callback is not None:
        callback(outcome[0])
