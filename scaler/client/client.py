"""Client: what a program submits its tasks with.

The data path is native (native/client): `TaskSender` sends, and the thread that waits takes the results. Here is what
surrounds it: finding the scheduler, functions, the background thread, and the ways to end.
"""

import atexit
import logging
import operator
import os
import secrets
import sys
import time
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from scaler._native import (
    DEFAULT_RETRIES,
    KIND_REFUSED,
    KIND_SHUTDOWN,
    ClientRings,
    Mappings,
    Store,
    TaskSender,
    WakeUp,
    WorkerClientRings,
    WorkerTaskSender,
)
from scaler.address import Address
from scaler.client.background import BackgroundThread
from scaler.client.chunk_sizes import AtOnceSizes, ChunkSizes, FixedSizes
from scaler.client.current_client import connect_here, make_nested_tasks, restore, with_blocked_told
from scaler.client.executor import ClientExecutor
from scaler.client.functions import FunctionNumbers, callable_name
from scaler.client.future import ScalerFuture
from scaler.client.graph.inside import start_inside
from scaler.client.graph.matrix import MatrixGraph
from scaler.client.graph.run import GraphRun
from scaler.client.graph.wanted import Wanted, check_keywords
from scaler.client.imap import give_failure, raise_failure, start_imap
from scaler.client.mapping import Calls, MapRun, count_failed, run_map, with_exceptions
from scaler.client.objects import ClientObjects
from scaler.client.options import CallOptions
from scaler.client.output_printer import OutputPrinter
from scaler.client.parcel import InputEnded
from scaler.client.progress import shown_map
from scaler.client.questions import Questions
from scaler.client.reconnect import Reconnect
from scaler.client.serializer import (
    Serialized,
    SerializedCall,
    Serializer,
    deserialize_input,
    deserializing,
    wrap_call,
    wrap_item,
    wrap_node,
)
from scaler.colocation.handshake import LocalConnection
from scaler.colocation.names import is_over, warn_of_files
from scaler.exceptions import ClientQuitException, ClientShutdownException, ScalerError, SchedulerTimeoutError
from scaler.keys.find import find_address
from scaler.program.notebook import as_html
from scaler.values import neutral, payload
from scaler.values.at_once import AtOnce
from scaler.values.named import IsNamed, NamedFunction, check_travels, with_tag
from scaler.values.payload import Failed
from scaler.values.reference import ObjectReference
from scaler.values.resources import from_capabilities
from scaler.worker.context import Here

if TYPE_CHECKING:
    from scaler.client.explain import Explanation
    from scaler.client.pool import ClientPool
    from scaler.session.client_relay import ClientRelay

T = TypeVar("T")
_log = logging.getLogger(__name__)
_open_clients: "weakref.WeakSet[Client]" = weakref.WeakSet()
_staying: "set[Client]" = set()  # to which nobody refers any more, but to futures of theirs
_FORGOTTEN = "nobody referred to it nor to its client any more"


class Client:
    """A connection to a scheduler. Safe to use from many threads.

    Waits up to `timeout_seconds` for the scheduler, so a program may start its client first, then raises
    SchedulerTimeoutError. If the scheduler dies later, what is open waits as long for one at the same address and goes
    on there, or fails with DisconnectedError. A client that is not disconnected leaves when nobody refers to it any
    more, nor to a future of it that is not done: so `Client(address).submit(f).result()` works, and a function may
    return futures of a client that it has made.

    * `address` is `tcp://host:port` or `ipc://path`; without one it is SCALER_ADDRESS, or that of this user's newest
      scheduler of this machine.
    * `keys` is a folder of keys (`scaler_keys` makes one); without one it is SCALER_KEYS, or what a scheduler of this
      machine has left for this user.
    * `profiling=True` has CPU time and peak memory of every task measured, however short.
    * A `serializer` replaces pickle for this client's functions, arguments and results.
    * `retries`, `task_timeout_seconds` and `priority` are what `options` changes for some calls, for all of them.
    * With `stream_output` what tasks write to stdout and stderr comes to this program's stderr, line by line, each with
      function, task and worker before it, at most 1 MiB a second from each host; docs/looking.md says more.
    * `heartbeat_interval_seconds` is taken for 1.9.9's sake and has no effect: the scheduler says how often.
    """

    def __init__(
        self,
        address: str | None = None,
        profiling: bool = False,
        timeout_seconds: float = 60,
        heartbeat_interval_seconds: float = 2,
        serializer: Serializer | type[Serializer] | None = None,
        *,
        keys: str | os.PathLike[str] | None = None,
        retries: int = DEFAULT_RETRIES,
        task_timeout_seconds: float | None = None,
        priority: int = 0,
        stream_output: bool = False,
    ) -> None:
        from scaler.client.connect import connect

        self._streams_output = stream_output
        self._options = CallOptions(retries, task_timeout_seconds, priority)
        found = str(Address.parse(find_address(address)).check_connectable())
        self._note(found, profiling, timeout_seconds, serializer, None if keys is None else os.path.abspath(keys))
        entry, bits = connect(self._address, self._identity, timeout_seconds, keys=self._keys)
        self._start(entry, bits)

    @classmethod
    def _in_worker(
        cls, here: Here, serializer: Serializer | type[Serializer] | None, profiling: bool, timeout_s: float
    ) -> "Client":
        """The client of the tasks that run in this worker."""
        client = cls.__new__(cls)
        client._options, client._streams_output = CallOptions(), False  # what its tasks write goes to their root
        client._note(here.address, profiling, timeout_s, serializer)
        entry, bits = connect_here(here, client._identity, timeout_s)
        client._start(entry, bits, here)
        here.loop.clients.append(client._rings)
        return client

    def _note(
        self,
        address: str,
        profiling: bool,
        timeout_s: float,
        serializer: Serializer | type[Serializer] | None,
        keys: str | None = None,
    ) -> None:
        self._address, self._profiling, self._timeout_s = address, profiling, timeout_s
        self._identity = secrets.token_bytes(16)
        self._process = os.getpid()
        self._serializer, self._keys = serializer, keys

    def _start(self, entry: "LocalConnection | ClientRelay", bits: int, here: Here | None = None) -> None:
        serializer = self._serializer
        event = WakeUp()
        self._store = Store(entry.epoch, entry.tag, entry.folder, warn_of_files, entry.most_bytes)
        mappings = self._mappings = Mappings(entry.epoch, entry.folder)
        self._reconnect = Reconnect(
            self._address, self._identity, bits, self._timeout_s, entry, self._store, self._keys
        )
        ends = entry.memory, entry.doorbell, entry.bell, entry.slot, entry.bell_eventfd, entry.lifeline
        policy: dict[str, Any] = {
            "load": payload.load_result if serializer is None else deserializing(payload.load_result, serializer),
            "decode_plain": serializer is None,
            "callback_error": _on_callback_error,
            "background": event,
            "scheduler_gone": self._reconnect.on_gone,
        }
        calls: dict[str, Any] = {
            "profiling": self._profiling, "options": self._options.native, "streams_output": self._streams_output
        }  # fmt: skip
        if here is None:
            self._rings = ClientRings(*ends, bits, self._store, mappings, **policy)
            self._sender = TaskSender(self._rings, ScalerFuture, **calls)
            self._reconnect.rings = self._rings
        else:
            nested_tasks = make_nested_tasks(here, entry.memory, mappings)
            rings = self._rings = WorkerClientRings(
                *ends, bits, self._store, mappings, nested_tasks=nested_tasks, **policy
            )
            self._sender = WorkerTaskSender(rings, ScalerFuture, **calls)
        self._objects = ClientObjects(
            self._store, mappings, self._rings.make_room, self._rings.tend, self._rings, serializer
        )
        self._rings.use(self._objects)
        self._questions = Questions(self._rings)
        self._output = OutputPrinter(self._rings, self._questions.flush_output) if self._streams_output else None
        self._dumps = self._objects.dumps
        self._functions = FunctionNumbers(
            self._objects.begin, self._sender.announce, self._sender.forget_function, self._sender.most_function_bytes,
            self._rings.check_open, self._identity,
        )  # fmt: skip
        self._number_of = self._functions.number_of
        self._rings.name_of = self._functions.name_of
        self._submit = self._sender.submit
        tend = self._functions.tend if here is None else with_blocked_told(rings, here, self._functions.tend)
        self._background = BackgroundThread(self._rings, event, tend)
        _open_clients.add(self)

    @property
    def _entry(self) -> "LocalConnection | ClientRelay":
        """Where its rings lead to just now."""
        return self._reconnect.entry

    def _state(self) -> str:
        try:
            self._rings.check_open()
        except ScalerError as error:
            return f"closed: {error}"
        return "connected"

    def __repr__(self) -> str:
        return f"<Client of {self._address}, {self._state()}>"

    def _repr_html_(self) -> str:
        return as_html("Client", {"scheduler": self._address, "state": self._state()})

    @property
    def identity(self) -> bytes:
        """Unique among all clients there ever were."""
        return self._identity

    @overload  # a coroutine function's result is what its coroutine comes to
    def submit(self, fn: Callable[..., Coroutine[Any, Any, T]], /, *args: Any, **kwargs: Any) -> ScalerFuture[T]: ...
    @overload  # arguments are not checked: a future may stand for any of them
    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> ScalerFuture[T]: ...
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> ScalerFuture[Any]:
        """Have a worker call fn(*args, **kwargs); the future of its result.

        Arguments are pickled now: changing them afterwards changes nothing. A future of this client among them, at any
        depth, stands for its result: the call begins when that is there, and fails or is cancelled as it does. Waits
        while the scheduler has more than it wants to keep.
        """
        if self._serializer is not None:
            check_travels(fn)
            fn, args, kwargs = wrap_call(self._serializer, fn, args, kwargs)
        try:
            future: ScalerFuture[Any] = self._submit(self._number_of(fn), args, kwargs, self._dumps)
        except IsNamed as named:
            future = self._submit_named(named.function, args, kwargs)
        except InputEnded as ended:
            future = self._sender.ended_as(ended.future)
        return future

    def _submit_named(
        self, function: NamedFunction, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ScalerFuture[Any]:
        arguments = neutral.dumps_arguments(args, kwargs)
        number = self._functions.number_of_named(function.name, with_tag(function.name, self._options.request))
        future: ScalerFuture[Any] = self._sender.submit_named(
            number, arguments, self._objects.begin, self._options.native
        )
        return future

    def submit_verbose(
        self,
        fn: Callable[..., T],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        capabilities: Mapping[str, Any] | None = None,
    ) -> ScalerFuture[T]:
        """`submit` as programs for opengris-scaler 2 call it: capabilities are resources, -1 stands for any amount."""
        client = self.options(resources=from_capabilities(capabilities)) if capabilities else self
        return client.submit(fn, *args, **(kwargs or {}))

    @overload
    def map(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        return_exceptions: Literal[False] = False,
        progress: bool = False,
    ) -> list[T]: ...
    @overload
    def map(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        return_exceptions: bool,
        progress: bool = False,
    ) -> list[T | BaseException]: ...
    def map(
        self,
        fn: Callable[..., Any],
        iterable: Iterable[Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        return_exceptions: bool = False,
        progress: bool = False,
    ) -> list[Any]:
        """fn(*item) for each item of one iterable, or fn(x, y, ...) for two or more; blocks until all are there.

        The results come in the order of the items. Items of a single iterable are tuples or lists of positional
        arguments, whatever fn takes: `map_each` calls fn(item). Several iterables give one argument each, until the
        shortest ends. An endless or huge iterable is read as it is worked off. The first failure in input order is
        raised, once the calls before it are done; what has not started is cancelled. With `return_exceptions=True`
        exceptions take the places of results instead. TimeoutError after `timeout` seconds. `progress` shows a bar
        meanwhile, which needs `pip install scaler[progress]`.
        """
        if iterables:
            return self.map_each(
                fn, iterable, *iterables, timeout=timeout, return_exceptions=return_exceptions, progress=progress
            )
        return self._map(fn, Calls.tuples(iterable, self._wrap_item), timeout, return_exceptions, progress)

    @overload
    def starmap(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Any],
        *,
        timeout: float | None = None,
        return_exceptions: Literal[False] = False,
        progress: bool = False,
    ) -> list[T]: ...
    @overload
    def starmap(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Any],
        *,
        timeout: float | None = None,
        return_exceptions: bool,
        progress: bool = False,
    ) -> list[T | BaseException]: ...
    def starmap(
        self,
        fn: Callable[..., Any],
        iterable: Iterable[Any],
        *,
        timeout: float | None = None,
        return_exceptions: bool = False,
        progress: bool = False,
    ) -> list[Any]:
        """fn(*item) for each item: `map` of one iterable, under its standard name."""
        return self._map(fn, Calls.tuples(iterable, self._wrap_item), timeout, return_exceptions, progress)

    @overload
    def map_each(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        return_exceptions: Literal[False] = False,
        progress: bool = False,
    ) -> list[T]: ...
    @overload
    def map_each(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        return_exceptions: bool,
        progress: bool = False,
    ) -> list[T | BaseException]: ...
    def map_each(
        self,
        fn: Callable[..., Any],
        iterable: Iterable[Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        return_exceptions: bool = False,
        progress: bool = False,
    ) -> list[Any]:
        """The built-in `map`, as a list: fn(x) for each x of one iterable, fn(x, y, ...) for several.

        An item that is a tuple is one argument, too. All else is as in `map`.
        """
        return self._map(
            fn, Calls.zipped((iterable, *iterables), self._wrap_item), timeout, return_exceptions, progress
        )

    @overload
    def imap(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Any],
        *iterables: Iterable[Any],
        chunksize: int | None = None,
        buffersize: int | None = None,
        timeout: float | None = None,
        return_exceptions: Literal[False] = False,
    ) -> Iterator[T]: ...
    @overload
    def imap(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Any],
        *iterables: Iterable[Any],
        chunksize: int | None = None,
        buffersize: int | None = None,
        timeout: float | None = None,
        return_exceptions: bool,
    ) -> Iterator[T | BaseException]: ...
    def imap(
        self,
        fn: Callable[..., Any],
        iterable: Iterable[Any],
        *iterables: Iterable[Any],
        chunksize: int | None = None,
        buffersize: int | None = None,
        timeout: float | None = None,
        return_exceptions: bool = False,
    ) -> Iterator[Any]:
        """An iterator over what `map_each` would return, whose results can be read as they come, in order.

        The iterable may be endless: it is read ahead by what keeps the workers busy, at most by `buffersize` calls of
        which the result has not been read. `chunksize` calls travel together; without it, as many as measured
        durations suggest. The iterator ends with the first failure, after all results before it, and what is under way
        is cancelled when it goes. From it comes TimeoutError if a result is not there `timeout` seconds after `imap`
        was called.
        """
        failed = give_failure if return_exceptions else raise_failure
        return self._imap(fn, (iterable, *iterables), chunksize, buffersize, timeout, failed, True)

    @overload
    def imap_unordered(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Any],
        *iterables: Iterable[Any],
        chunksize: int | None = None,
        buffersize: int | None = None,
        timeout: float | None = None,
        return_exceptions: Literal[False] = False,
    ) -> Iterator[T]: ...
    @overload
    def imap_unordered(
        self,
        fn: Callable[..., T],
        iterable: Iterable[Any],
        *iterables: Iterable[Any],
        chunksize: int | None = None,
        buffersize: int | None = None,
        timeout: float | None = None,
        return_exceptions: bool,
    ) -> Iterator[T | BaseException]: ...
    def imap_unordered(
        self,
        fn: Callable[..., Any],
        iterable: Iterable[Any],
        *iterables: Iterable[Any],
        chunksize: int | None = None,
        buffersize: int | None = None,
        timeout: float | None = None,
        return_exceptions: bool = False,
    ) -> Iterator[Any]:
        """`imap`, whose results come as they are there, whatever the order of the items."""
        failed = give_failure if return_exceptions else raise_failure
        return self._imap(fn, (iterable, *iterables), chunksize, buffersize, timeout, failed, False)

    def _map(
        self, fn: Callable[..., Any], calls: Calls, timeout: float | None, return_exceptions: bool, progress: bool
    ) -> list[Any]:
        run = self._start_run(fn, calls, timeout)
        load = self._load_outcomes

        def read(chunk: Any) -> list[Any]:
            if not return_exceptions:
                return chunk.result()  # type: ignore[no-any-return]
            outcomes = chunk.read_with(load)
            run.failed_calls += count_failed(outcomes)
            return with_exceptions(outcomes)

        if not progress:
            return run_map(run, read)
        with shown_map(callable_name(fn), run.total_calls, lambda: (run.ended_calls, run.failed_calls)):
            return run_map(run, read)

    def _imap(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        chunksize: int | None,
        buffersize: int | None,
        timeout: float | None,
        failed: Callable[[Failed], Any],
        is_ordered: bool,
    ) -> Iterator[Any]:
        for name, value in (("chunksize", chunksize), ("buffersize", buffersize)):
            if value is not None and operator.index(value) < 1:
                raise ValueError(f"{name} is at least 1, or None, not {value}")
        run, load = self._start_each(fn, iterables, timeout, chunksize, is_ordered)
        return start_imap(run, load, buffersize, failed)

    def _start_each(
        self,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | None,
        chunksize: int | None = None,
        is_ordered: bool = True,
    ) -> tuple[MapRun, Callable[..., list[Any]]]:
        """A map in the built-in shape that has not begun, and what its chunks are read with."""
        calls = Calls.zipped(iterables, self._wrap_item)
        return self._start_run(fn, calls, timeout, chunksize, is_ordered), self._load_outcomes

    def _start_rows(
        self, fn: Callable[..., Any], rows: Iterable[Any], chunksize: int | None
    ) -> tuple[MapRun, Callable[..., list[Any]]]:
        """The same where each item is the arguments of a call."""
        return self._start_run(fn, Calls.tuples(rows, self._wrap_item), None, chunksize), self._load_outcomes

    def _start_run(
        self,
        fn: Callable[..., Any],
        calls: Calls,
        timeout: float | None,
        chunksize: int | None = None,
        is_ordered: bool = True,
    ) -> MapRun:
        at_once = self._options.concurrency
        if at_once > 1:
            return self._start_at_once(fn, calls, timeout, at_once, is_ordered)
        number = self._number_of(fn if self._serializer is None else SerializedCall(self._serializer, fn))
        sizes = ChunkSizes(1, self._functions.pace_of(number)) if chunksize is None else FixedSizes(chunksize)
        return MapRun(
            self._sender, number, calls, self._objects.begin, self._options.native, sizes, timeout, is_ordered
        )

    def _start_at_once(
        self, fn: Callable[..., Any], calls: Calls, timeout: float | None, most: int, is_ordered: bool
    ) -> MapRun:
        """A map whose calls wait together: those of one chunk, which is as large as they may be many."""
        if self._serializer is not None:
            raise TypeError("calls run at the same time with a client without a serializer: that has no coroutines")
        check_travels(fn)
        number = self._number_as_is(AtOnce(self._options.wrap(fn)))
        return MapRun(
            self._sender, number, calls, self._objects.begin, self._options.native, AtOnceSizes(most), timeout,
            is_ordered,
        )  # fmt: skip

    def _bind_submit(self) -> Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], ScalerFuture[Any]]:
        """`submit` with all that is looked up for each call looked up once: submit(fn, args, kwargs)."""
        if self._serializer is not None or self._options.wraps:
            return lambda fn, args, kwargs: self.submit(fn, *args, **kwargs)
        sender, number_of, dumps, options = self._sender, self._number_of, self._dumps, self._options.native
        submit = sender.submit

        def submit_bound(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> ScalerFuture[Any]:
            try:
                future: ScalerFuture[Any] = submit(number_of(fn), args, kwargs, dumps, options)
            except IsNamed as named:
                future = self._submit_named(named.function, args, kwargs)
            except InputEnded as ended:
                future = sender.ended_as(ended.future)
            return future

        return submit_bound

    @property
    def _wrap_item(self) -> Callable[[Any], Any] | None:
        return None if self._serializer is None else partial(wrap_item, self._serializer)

    @property
    def _load_outcomes(self) -> Callable[..., list[Any]]:
        serializer = self._serializer
        return payload.load_outcomes if serializer is None else deserializing(payload.load_outcomes, serializer)

    #: Dask asks whether `get` has to be awaited.
    asynchronous = False

    def get(
        self,
        graph: Any,
        keys: Any,
        block: bool = True,
        *,
        dtype: Any = None,
        errors: Literal["raise", "collect"] = "raise",
        progress: bool = False,
        **of_dask: Any,
    ) -> Any:
        """Compute these keys of a graph, and what they need of it; their values, or futures with `block=False`.

        A graph is a dict of nodes: a tuple whose first item is callable is a call, whose other items are keys,
        literals, and lists, tuples and dicts of these; anything else is data. A plain dict and a flat list of keys
        give a dict in the order of `keys`. Anything that Dask computes will do as well (`scheduler=client`), and gives
        a tuple in the shape of `keys`; so do nested lists of keys.

        KeyError for a key that is not there, or twice in `keys`; graphlib.CycleError for nodes that need each other. A
        node that fails does so for exactly the keys that need it. docs/graphs.md says how graphs are run.

        A `MatrixGraph` has numbers for keys: one number gives its value, a slice, mask or array of numbers a list, or
        an array of `dtype`, if one is given. With `errors="collect"` it gives (values, {node: exception}) instead of
        raising the first failure; with `block=False` the future of what it would give; `progress` shows a bar. These
        three are for matrix graphs. The keywords that Dask's own schedulers have are taken, and have no effect.
        """
        check_keywords(of_dask)
        if isinstance(graph, MatrixGraph):
            return self._get_matrix(graph, keys, block, dtype, errors, progress)
        if dtype is not None or errors != "raise" or progress:
            raise TypeError("`dtype`, `errors` and `progress` of `get` are for a MatrixGraph")
        self._options.check_single()
        wanted = Wanted(graph, keys)
        is_inside = isinstance(self._rings, WorkerClientRings)
        if block and self._serializer is None and not is_inside and not self._streams_output:
            return wanted.shape(self._graph_run().run(graph, wanted.keys, self._objects.begin, self._options))
        if is_inside:
            futures = start_inside(self._sender, self.submit, graph, wanted.keys)
        else:
            futures = self._graph_run().start(graph, wanted.keys)
        if not block:
            return wanted.shape(futures)
        try:
            return wanted.shape([future.result() for future in futures])
        finally:
            for future in futures:
                future.cancel()

    def _get_matrix(self, graph: MatrixGraph, keys: Any, block: bool, dtype: Any, errors: str, progress: bool) -> Any:
        from scaler.client.graph.matrix_keys import Asked
        from scaler.client.graph.matrix_run import MatrixRun

        if errors not in ("raise", "collect"):
            raise ValueError(f'`errors` is "raise" or "collect", not {errors!r}')
        self._options.check_single()
        if self._serializer is not None:
            raise TypeError(
                "this client has a serializer, and a matrix graph hands its values on as columns of numbers and as "
                "pickles, of which the serializer would see none: get it with a client without one, or as a dict"
            )
        asked = Asked(keys, len(graph), dtype)
        run = MatrixRun(
            graph, asked, self._sender, self._number_as_is, self._objects.begin, self._options,
            errors == "raise",
        )  # fmt: skip
        shown = (lambda: shown_map("graph", run.nodes.needed, lambda: run.counts)) if progress else nullcontext
        if not block:
            return run.start(shown)
        with shown():
            return run.run()

    def _graph_run(self) -> GraphRun:
        sender, serializer, options = self._sender, self._serializer, self._options
        again = options.wrap if options.wraps else None
        if serializer is None:
            return GraphRun(sender, self._number_as_is, self._objects.dumps_node, options.native, again=again)
        return GraphRun(
            sender, self._number_as_is, self._objects.dumps_node, options.native,
            partial(deserialize_input, serializer), partial(wrap_node, serializer), again,
        )  # fmt: skip

    @property
    def _number_as_is(self) -> Callable[[Callable[..., Any]], int]:
        """The number of a function that is called as it is, with what calls ask for."""
        return self._functions.numbers_for(self._options.request)

    def options(self, **options: Any) -> "Client":
        """This client, with other options for the calls that are made through what is returned.

        `retries`: how often a task is run again when its worker dies, 0 to 254, 3 by default; of a task of a task, less
        by as often as that one's worker has died. `timeout`: seconds that a task may run before it is stopped, None for
        no limit. `retry_on`: an exception class, or a tuple of such, after which the call is made again in its worker,
        up to `retries` times, with the arguments as they came; in a graph each node. The time limit is that of all
        these together. `priority`: -15 to 15, 0 by default: of what waits, what has more goes first, whichever client
        it is from; within a priority clients take turns. `worker_init`: something to call once in each worker, before
        the first of these calls there; if it fails, so do they. `concurrency`: how many calls of a map of an
        `async def` function may wait at the same time in each worker, 1 by default; `timeout` is then for these
        together. `resources`: what a worker must have for the call, such as
        {"gpu": 1, "mem": "8G", "linux": True} (docs/resources.md); in a graph for each node. What a task submits asks
        for nothing by itself.

        Costs next to nothing, shares the connection, and can be called again: what is not named stays as it was.
        """
        return ClientWithOptions(self, self._options.changed(**options))

    def stack(self, future: ScalerFuture[Any]) -> str:
        """What the code of a running task does just now, as a traceback shows it: the outermost call first.

        The task goes on undisturbed. It is shown in C code, in a sleep and in a wait as well, with its threads.
        NoStackError, whose sentence says why, if there is none, since the task does not run, for instance.
        docs/looking.md says how it is done.
        """
        return self._questions.stack(future)

    def executor(
        self, *, initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = ()
    ) -> ClientExecutor:
        """This client as a concurrent.futures.Executor. `shutdown` of that ends neither the client nor its workers.

        `initializer(*initargs)` runs once in each worker, before the first call of this executor there.
        """
        return ClientExecutor(self, initializer, initargs)

    def pool(self, *, initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = ()) -> "ClientPool":
        """This client in the shape of multiprocessing.Pool. Ending that ends neither the client nor its workers.

        `initializer(*initargs)` runs once in each worker, before the first call of this pool there.
        """
        from scaler.client.pool import ClientPool  # which loads multiprocessing

        return ClientPool(self, initializer, initargs)

    def send_object(self, obj: Any, name: bytes | None = None) -> ObjectReference:
        """Send an object once, for many tasks: pass the reference, anywhere inside arguments, and they get the object.

        It comes out read-only where it holds arrays or other buffers, and unpickled anew for each task. An object of
        the same content that is still there is not sent again. It goes with its last reference, or by `clear`.
        `name` is what the reference is called, and nothing else.

        Costs a look at all its bytes and a copy into shared memory; where an equal object is there already, a
        comparison in place of the copy. Tasks that use it copy nothing on this host; each other host fetches it once.
        """
        self._rings.check_open()
        if self._serializer is not None:
            obj = Serialized(self._serializer, obj)
        return self._objects.send(obj, name)

    def explain(self, future: ScalerFuture[Any], timeout: float = 5.0) -> "Explanation":
        """Why a future is not done yet: where its task stands and what is before it, as data; `str()` of it says so.

        Asks the scheduler, which answers in a few milliseconds; DisconnectedError if it has not within the timeout.
        """
        from scaler.client.explain import explain  # seldom asked, and not by workers

        return explain(future, self._address, timeout, self._keys)

    def clear(self) -> None:
        """Cancel everything that is not done; what `send_object` has sent is gone (MissingObjects)."""
        self._rings.clear()
        self._objects.clear()

    def disconnect(self) -> None:
        """Cancel everything that is not done and leave; idempotent. Waits for no running task.

        Large results that were read stay as they are; those that were not can't be read any more.
        """
        self._leave("its client has disconnected")

    def shutdown(self) -> None:
        """Stop the scheduler and its workers, then leave. ValueError if the scheduler is protected.

        TimeoutError if it does not answer within 10 s.
        """
        if self._rings.lost is None:
            self._print_last()
            self._rings.control(KIND_SHUTDOWN)
            answer = self._await_answer(10.0)
            if answer is not None and answer.kind == KIND_REFUSED:
                raise ValueError(answer.payload.decode(errors="replace"))
        self._leave(
            "its client has shut the scheduler down",
            error=ClientShutdownException("this client has shut its scheduler down; make a new one for another"),
        )

    def _await_answer(self, timeout_s: float) -> Any:
        """The next answer to a control record; None if the scheduler has gone instead."""
        deadline = time.monotonic() + timeout_s
        while self._rings.lost is None and self._rings.connection.is_connected:
            answer = self._rings.find_answer()
            if answer is not None:
                return answer
            if time.monotonic() > deadline:
                raise SchedulerTimeoutError(f"the scheduler at {self._address} did not answer within {timeout_s} s")
            time.sleep(0.001)
            self._rings.check_scheduler()
        return None

    def _leave(self, why: str, goes_on: bool = True, error: ClientQuitException | None = None) -> None:
        """What is open is cancelled: `why` says why. Calls raise `error` from now on."""
        _staying.discard(self)
        if isinstance(self._rings.lost, ClientQuitException):
            return
        self._print_last(is_awaited=why != _FORGOTTEN)
        is_alone = self._rings.lost is not None or not self._rings.connection.is_connected
        self._reconnect.stop()
        self._rings.leave(error or ClientQuitException("this client is disconnected; make a new one"), why)
        self._mappings.leave(goes_on)
        if os.getpid() == self._process:
            self._background.stop()
            self._reconnect.close()
            if is_alone or is_over(self._entry.epoch):  # else the scheduler does it: some may still be of use to others
                self._store.close()

    def _print_last(self, is_awaited: bool = True) -> None:
        """Print what tasks have written and is still on its way, if this client wants to see it."""
        if self._output is not None and os.getpid() == self._process:
            self._output.stop(is_awaited and self._rings.lost is None)

    def _after_fork(self) -> None:
        """In a forked child: the rings are the parent's, and must not be touched from here."""
        if self._output is not None:
            self._output.on_fork()
        self._background.on_fork()
        self._functions.on_fork()
        self._objects.on_fork()
        self._rings.abandon()
        self._rings.leave(ClientQuitException("this client belongs to the process that forked; make a new one here"))
        self._entry.abandon()

    @property
    def is_usable(self) -> bool:
        """Connected, as far as anybody has looked."""
        return self._rings.lost is None

    def __reduce__(self) -> Any:
        epoch = self._entry.scheduler_epoch
        return restore, (
            self._address,
            epoch,
            self._serializer,
            self._profiling,
            self._timeout_s,
            self._options.changes,
            self._keys,
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._leave("its client's with block has ended")

    def __del__(self) -> None:
        if not hasattr(self, "_background"):
            return
        if self._rings.is_awaited() and not sys.is_finalizing():
            _staying.add(self)  # which makes it live on: nobody calls this method again
            _open_clients.add(self)
            self._background.leave_when_unawaited(partial(self._leave, _FORGOTTEN))
        else:
            self._leave(_FORGOTTEN)


class ClientWithOptions(Client):
    """A client with other options for its calls; all else is the client's own, now and later.

    Dask takes for a client whatever has "Client" in its class's name.
    """

    def __init__(self, owner: Client, options: CallOptions) -> None:
        self._owner, self._options = owner, options

    def __getattr__(self, name: str) -> Any:
        if name in ("_owner", "_options"):  # not made yet
            raise AttributeError(name)
        return getattr(self._owner, name)

    @property
    def _submit(self) -> Callable[..., Any]:  # type: ignore[override]
        return partial(self._owner._submit, options=self._options.native)

    @property
    def _number_of(self) -> Callable[[Callable[..., Any]], int]:  # type: ignore[override]
        self._options.check_single()
        number_of = self._number_as_is
        return (lambda fn: number_of(self._options.wrap(fn))) if self._options.wraps else number_of

    def options(self, **options: Any) -> "Client":
        return ClientWithOptions(self._owner, self._options.changed(**options))

    def __del__(self) -> None:
        """The connection is the owner's."""


def open_clients() -> list[Client]:
    """Those of this process that have not left."""
    return list(_open_clients)


def _abandon_clients() -> None:
    for client in list(_open_clients):
        client._after_fork()
    _staying.clear()


def _leave_all() -> None:
    """At the interpreter's end: say goodbye while there still are threads to say it."""
    for client in list(_open_clients):
        client._leave("its program has ended", goes_on=False)


def _note_fork() -> None:
    for client in list(_open_clients):
        client._mappings.on_fork()


os.register_at_fork(before=_note_fork, after_in_child=_abandon_clients)
atexit.register(_leave_all)


def _on_callback_error(future: Any) -> None:
    _log.exception("a callback of task %#x failed", future.task_id)
