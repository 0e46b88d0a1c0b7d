"""Client: what a program submits its tasks with.

The data path is native (native/client.pyx): the thread that waits drains the results. Here is what surrounds it:
finding the scheduler, functions, the thread that serves callbacks, and the ways to end.
"""

import logging
import secrets
import threading
import weakref
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from scaler import payload
from scaler._native import KIND_CLEAR, ClientRings
from scaler.client.attendant import Attendant
from scaler.client.functions import FunctionNumbers
from scaler.client.future import ScalerFuture
from scaler.client.mapping import run_map
from scaler.exceptions import ClientQuitException
from scaler.link.greeting import greet
from scaler.link.knock import knock
from scaler.link.names import segment_name

_log = logging.getLogger(__name__)
_open_clients: "weakref.WeakSet[Client]" = weakref.WeakSet()


class Client:
    """A connection to a scheduler. Safe to use from many threads.

    `address` is `tcp://host:port` or `ipc://path`. Waits up to `timeout_seconds` for the scheduler, so a program may
    start its client first, then raises SchedulerTimeoutError.
    """

    def __init__(
        self, address: str, profiling: bool = False, timeout_seconds: float = 60, heartbeat_interval_seconds: float = 2
    ) -> None:
        self._address = address
        self._identity = secrets.token_bytes(16)
        bits = secrets.randbits(24) or 1
        welcome = greet(address, "client", timeout_seconds)
        self._entry = knock(welcome.door, welcome.life, "client", 262144, bits=bits, name=self._identity.hex()[:8])
        event = threading.Event()
        self._rings = ClientRings(
            self._entry.memory, self._entry.eventfd, self._entry.bell, self._entry.slot, self._entry.bell_eventfd,
            self._entry.connection.fileno(), bits, ScalerFuture,
            load=payload.load_result, callback_error=_on_callback_error, watched_event=event,
            segment_name=lambda: segment_name(welcome.life),
        )  # fmt: skip
        self._functions = FunctionNumbers(payload.dumps, self._rings.announce)
        self._number_of = self._functions.number_of
        self._submit = self._rings.submit
        self._attendant = Attendant(self._rings, event)
        _open_clients.add(self)

    @property
    def identity(self) -> bytes:
        """Unique among all clients there ever were."""
        return self._identity

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> ScalerFuture:
        """Have a worker call fn(*args, **kwargs); the future of its result.

        Arguments are pickled now: changing them afterwards changes nothing. Waits while the scheduler has more than it
        wants to keep.
        """
        future: ScalerFuture = self._submit(self._number_of(fn), args, kwargs, payload.dumps)
        return future

    def map(self, fn: Callable[..., Any], iterable: Iterable[tuple[Any, ...] | list[Any]]) -> list[Any]:
        """fn(*item) for each item, in order; blocks until all are there.

        Items are tuples or lists of positional arguments. The first failure in input order is raised.
        """
        return run_map(self._rings, self._number_of(fn), iterable, payload.dumps, lambda chunk: chunk.result())

    starmap = map

    def clear(self) -> None:
        """Cancel everything that is not done."""
        self._rings.control(KIND_CLEAR)
        self._rings.fail_all(None)

    def disconnect(self) -> None:
        """Cancel everything that is not done and leave; idempotent. Waits for no running task."""
        self._leave(ClientQuitException("this client is disconnected; make a new one"))

    def _leave(self, error: Exception) -> None:
        if self._rings.lost is None:
            self._rings.on_lost(error)
            self._rings.fail_all(None)
        self._attendant.stop()
        if self._entry is not None:
            self._entry.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.disconnect()


def _on_callback_error(future: Any) -> None:
    _log.exception("a callback of task %#x failed", future.task_id)
