"""The current client: the client that a task has where it runs.

A client that is pickled along with a task, and `current_client()`, become the client of the worker that runs the task.
It has a place for children besides its rings (native/shm/children.pyx), so that a task which waits for what it has
submitted runs that itself. There is one for each way to pickle, made at first use and kept as long as the worker lives.
On the scheduler's host its rings are handed in at the door, and the scheduler takes children for idle workers;
on another host it has a relay of its own, and sends away what it has not begun itself after a while.

Not here: what is run in place, and when (native/worker/nested.pyx).
"""

import os
import secrets
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scaler._native import CHILDREN_BYTES, Mappings, NestedTasks, Segment, WorkerClientRings
from scaler.client.serializer import Serializer
from scaler.client.sizes import CLIENT_BITS, RING_BYTES
from scaler.colocation.handshake import LocalConnection, Refused, handshake
from scaler.exceptions import ScalerError
from scaler.worker import context
from scaler.worker.running import function_loader

if TYPE_CHECKING:
    from scaler.client.client import Client
    from scaler.session.client_relay import ClientRelay

TRIES = 8  # of drawing bits that no other client has
_lock = threading.RLock()  # the handler of a signal may ask for the client while this thread makes it
_clients: "dict[Any, Client]" = {}
_blocked: set[int] = set()  # of these clients, those in which a task waits for what runs elsewhere


def current_client() -> "Client":
    """The client of the worker that runs this task. ScalerError if this is no task of a worker.

    What it submits belongs to the running task: it ends when that is cancelled or its worker dies.
    """
    here = context.find()
    if context.was_left:
        raise ScalerError(
            "there is no current client here: this process was forked by a task, and the client is its worker's; "
            "Client(address) makes one of its own"
        )
    if here is None:
        raise ScalerError("there is no current client here: no task of a scaler worker runs in this process")
    return _find(here.address, here.scheduler_epoch, None, False, 60.0)


def worker_resources() -> dict[str, Any]:
    """What the worker has that runs this task: of a sum how much its cluster has of it, of a pool the names of the
    units that this worker is pinned to, of a tag True. Nothing outside of tasks, and where a cluster was given none.
    """
    here = context.find()
    return {} if here is None else {name: list(a) if isinstance(a, list) else a for name, a in here.has.items()}


def restore(
    address: str,
    epoch: str,
    serializer: "Serializer | type[Serializer] | None",
    profiling: bool,
    timeout_s: float,
    options: dict[str, Any],
    keys: str | None = None,
) -> "Client":
    """What a pickled client becomes: this worker's own if it serves the same scheduler, else a new connection."""
    client = _find(address, epoch, serializer, profiling, timeout_s, keys)
    return client.options(**options) if options else client


def _find(
    address: str, epoch: str, serializer: Any, profiling: bool, timeout_s: float, keys: str | None = None
) -> "Client":
    kind = serializer if serializer is None or isinstance(serializer, type) else type(serializer)
    key = (os.getpid(), id(context.find()), epoch, kind, profiling)
    client = _clients.get(key)
    if client is None or not client.is_usable:
        with _lock:
            client = _clients.get(key)
            if client is None or not client.is_usable:
                made = _make(address, epoch, serializer, profiling, timeout_s, keys)
                client = _clients.get(key)
                if client is None or not client.is_usable:  # else a handler has made it meanwhile, and may use it
                    client = _clients[key] = made
    return client


def _make(address: str, epoch: str, serializer: Any, profiling: bool, timeout_s: float, keys: str | None) -> "Client":
    from scaler.client.client import Client

    here = context.find()
    if here is not None and here.scheduler_epoch == epoch:
        return Client._in_worker(here, serializer, profiling, timeout_s)
    return Client(address, profiling=profiling, timeout_seconds=timeout_s, serializer=serializer, keys=keys)


def connect_here(here: context.Here, identity: bytes, timeout_s: float) -> "tuple[LocalConnection | ClientRelay, int]":
    """Rings with a place for children, handed in where this worker's own are; and the bits of the new client."""
    if not here.is_colocated:
        from scaler.client.connect import connect

        return connect(here.address, identity, timeout_s, children_bytes=CHILDREN_BYTES, voucher=here.voucher)
    for left in reversed(range(TRIES)):
        bits = secrets.randbits(CLIENT_BITS) or 1
        try:
            entry = handshake(
                here.local_address, here.epoch, "client", RING_BYTES, CHILDREN_BYTES,
                bits=bits, name=here.name, worker_tag=here.tag, voucher=here.voucher.hex(),
            )  # fmt: skip
        except Refused:
            if not left:
                raise
        else:
            return entry, bits
    raise AssertionError("unreachable")


def make_nested_tasks(here: context.Here, memory: Segment, mappings: Mappings) -> NestedTasks:
    """What runs in place of waiting."""
    return NestedTasks(
        memory, mappings, here.loop.runner, here.loop.interrupts, here.loop.origin,
        load_function=function_loader(mappings), sends_old=not here.is_colocated, supply=here.supply.encode(),
    )  # fmt: skip


def with_blocked_told(rings: WorkerClientRings, here: context.Here, tend: Callable[[], None]) -> Callable[[], None]:
    """`tend`, and the supervisor told when this worker begins and ends to wait for what runs elsewhere.

    The supervisor may start a spare worker then, which does what this worker could do.
    """

    def tend_and_tell() -> None:
        tend()
        was_blocked = bool(_blocked)
        (_blocked.add if rings.is_blocked() else _blocked.discard)(rings.bits)
        if bool(_blocked) != was_blocked:
            here.report(blocked=bool(_blocked))

    return tend_and_tell
