"""EngineProgram: finds the scheduler at an address, has an engine work for it, and looks for the next when it goes.

It joins as a cluster does, over ZeroMQ, on whichever host it is: what an engine costs per job is far more than what
that costs, and so there is one way only.

Rule 1: it ends by SIGINT, SIGTERM or SIGHUP, when a client stops the scheduler and its clusters, or when there has been
        no scheduler for the death timeout; then nothing is left that it has started.
Rule 2: what an engine runs for a scheduler that has gone is given up: its clients send their tasks to the next one.
Not here: what is said to the scheduler (session), the engine (engine).
"""

import contextlib
import logging
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

from scaler._native import Mappings, Store
from scaler.colocation.memory import object_memory
from scaler.colocation.names import BellPage, new_epoch, sweep, sweep_orphans, warn_of_files
from scaler.engines.engine import Engine
from scaler.engines.mailbox import Mailbox
from scaler.engines.session import ClusterOfSeats
from scaler.exceptions import SchedulerTimeoutError
from scaler.program.signals import ENDING
from scaler.protocol.frames import Role
from scaler.session.cluster_end import store_tag
from scaler.session.dealer import Dealer, greet, new_hello
from scaler.session.relay_thread import RelayThread

_log = logging.getLogger(__name__)


class EngineProgram:
    """`serve` until `stop`. The engine is closed in the end."""

    def __init__(
        self,
        engine: Engine,
        address: str,
        *,
        name: str = "",
        death_timeout_s: float = 300.0,
        keys: str | None = None,
        limit_s: float = 0.0,
        grace_s: float = 2.0,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine, self._address, self._death_timeout_s, self._keys = engine, address, death_timeout_s, keys
        self._name = name or f"{socket.gethostname()}-{engine.name}"
        self._limit_ms, self._grace_s, self._on_ready = round(limit_s * 1000), grace_s, on_ready
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._memory = object_memory(None, 0)
        self._page: BellPage | None = None
        self._sessions = 0

    def stop(self, *_: Any) -> None:
        """In any thread, and in the handler of a signal."""
        self._stopping.set()
        self._over.set()

    def serve(self) -> None:
        """SchedulerTimeoutError if there is no scheduler for the death timeout, RefusedError if it wants no cluster."""
        sweep_orphans(self._memory.folder)
        self._page = BellPage(new_epoch())
        try:
            while not self._stopping.is_set():
                found = self._find()
                if found is None or self._serve_one(*found):
                    return
        finally:
            try:
                self._engine.close()
            finally:
                self._page.close()
                sweep(self._page.epoch, self._memory.folder)
                sweep_orphans(self._memory.folder)  # processes of the engine may have been killed with clients in them

    def _find(self) -> "tuple[Dealer, Any] | None":
        """The next scheduler; None if this is to stop."""
        hello = new_hello(Role.CLUSTER, secrets.token_bytes(16), worker_names=(self._name,))
        try:
            return greet(self._address, lambda: hello, self._death_timeout_s, self._stopping.is_set, keys=self._keys)
        except SchedulerTimeoutError:
            if self._stopping.is_set():
                return None
            raise

    def _serve_one(self, dealer: Dealer, welcome: Any) -> bool:
        """Work for this one until it has gone. True if there is to be no other."""
        assert self._page is not None
        epoch, folder, most_bytes = self._page.epoch, *self._memory
        self._over.clear()
        if self._stopping.is_set():
            self._over.set()
        mailbox = Mailbox()
        store = Store(epoch, store_tag(self._sessions), folder, warn_of_files, most_bytes)
        self._sessions += 1
        session = ClusterOfSeats(
            mailbox, self._engine, epoch=epoch, folder=folder, most_bytes=most_bytes, store=store,
            mappings=Mappings(epoch, folder), name=self._name, address=self._address, scheduler_epoch=welcome.epoch,
            voucher=secrets.token_bytes(16), limit_ms=self._limit_ms, grace_s=self._grace_s,
        )  # fmt: skip
        hello = new_hello(Role.CLUSTER, secrets.token_bytes(16), worker_names=(self._name,))
        thread = RelayThread(
            self._address, dealer, hello, welcome, session,
            timeout_s=self._death_timeout_s, on_over=self._on_over, keys=self._keys,
        )  # fmt: skip
        thread.start(first=session.begin)
        _log.info("%s works for the scheduler at %s: %d slots", self._name, self._address, self._engine.capacity())
        self._on_ready()
        self._over.wait()
        thread.stop()
        session.give_up()  # its thread has ended, or takes no more answers
        closing = contextlib.ExitStack()
        closing.callback(mailbox.close)
        closing.callback(store.close)
        thread.give_up(closing.close)
        return session.is_shut_down or self._stopping.is_set()

    def _on_over(self, reason: str) -> None:
        _log.info("the session with the scheduler is over: %s", reason)
        self._over.set()


def run_engine(make: Callable[[], Engine], address: str, **options: Any) -> int:
    """Run it as a command does: signals end it. `make` gives the engine."""
    told = threading.Event()
    obeyed = [number for number in ENDING if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    for number in obeyed:
        signal.signal(number, lambda *_: told.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    engine = make()
    program = EngineProgram(engine, address, **options)
    for number in obeyed:  # an engine's library may have handlers of its own, which do not stop us
        signal.signal(number, program.stop)
    if told.is_set():
        program.stop()
    program.serve()
    _log.info("%s stops", engine.name)
    return 0
