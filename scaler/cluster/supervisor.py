"""Supervisor: starts the workers of its host, watches them, and ends with them.

On the scheduler's host it is off the data path: the workers hand their rings to the scheduler themselves. Elsewhere it
is their relay. It serves as long as its scheduler; when that goes it looks for a new one for `death_timeout_s`.

Rule 1: whatever ends the supervisor ends its workers: they hold a socket to it, and the kernel kills them with it.
Not here: who is started when (roster), how a process is started (spawn).
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scaler.cluster.roster import Roster, Start
from scaler.cluster.spawn import Child, end_all
from scaler.exceptions import ScalerError
from scaler.link.greeting import Welcome, greet
from scaler.link.knock import Entry, NotCoLocated, knock

_log = logging.getLogger(__name__)
SMALLEST_RING_BYTES = 1024


@dataclass(frozen=True)
class WorkerSettings:
    """What every worker of a host gets."""

    ring_bytes: int = 262144
    children_bytes: int = 65536
    sys_path: list[str] = field(default_factory=list)  # empty: as the supervisor's own
    cwd: str = ""


class Supervisor:
    """`await serve()` until stopped."""

    def __init__(
        self,
        address: str,
        names: list[str],
        settings: WorkerSettings,
        *,
        death_timeout_s: float = 300.0,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._address = address
        self._roster = Roster(names)
        self._settings = settings
        self._death_timeout_s = death_timeout_s
        self._on_ready = on_ready
        self._children: dict[int, Child] = {}
        self._pidfds: dict[int, int] = {}
        self._welcome: Welcome | None = None
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._entry: Entry | None = None

    def stop(self) -> None:
        self._stopping.set()

    async def serve(self) -> None:
        """Work for the scheduler at the address until told to stop, or until none is there for `death_timeout_s`."""
        try:
            while not self._stopping.is_set():
                await self._connect()
                if self._stopping.is_set():
                    break
                gone = self._watch_scheduler()
                self._start(self._roster.on_connected(time.monotonic()))
                await self._first_of(gone, self._stopping)
                self._roster.on_disconnected()
                self._leave()
        finally:
            self._leave()

    async def _connect(self) -> None:
        greeted = asyncio.Event()
        greeting = asyncio.ensure_future(
            asyncio.to_thread(greet, self._address, "cluster", self._death_timeout_s, self._stopping.is_set)
        )
        greeting.add_done_callback(lambda _: greeted.set())
        await self._first_of(greeted, self._stopping)
        if self._stopping.is_set():
            await asyncio.wait([greeting])  # it looks whether it is stopped ten times a second
            greeting.exception()
            return
        self._welcome = greeting.result()
        try:
            self._entry = knock(self._welcome.door, self._welcome.life, "cluster", SMALLEST_RING_BYTES)
        except NotCoLocated as error:
            raise ScalerError(f"the scheduler at {self._address} is on another host: {error}") from error

    def _watch_scheduler(self) -> asyncio.Event:
        """An event that is set when the scheduler has gone."""
        gone = asyncio.Event()
        if self._entry is not None:
            self._loop.add_reader(self._entry.connection, self._on_hang_up, gone)
        return gone

    def _on_hang_up(self, gone: asyncio.Event) -> None:
        if self._entry is not None:
            self._loop.remove_reader(self._entry.connection)
            _log.info("the scheduler has gone")
        gone.set()

    async def _first_of(self, *events: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    # workers

    def _start(self, commands: list[Start]) -> None:
        for command in commands:
            self._start_worker(command.place)

    def _start_worker(self, index: int) -> None:
        assert self._welcome is not None
        name = self._roster.places[index].name
        settings: dict[str, Any] = {
            "supervisor": os.getpid(),
            "name": name,
            "door": self._welcome.door,
            "life": self._welcome.life,
            "ring_bytes": self._settings.ring_bytes,
            "children_bytes": self._settings.children_bytes,
            "sys_path": self._settings.sys_path,
            "cwd": self._settings.cwd,
        }
        child = Child("scaler.cluster.worker", settings)
        self._children[index] = child
        self._pidfds[index] = os.pidfd_open(child.pid)
        self._loop.add_reader(self._pidfds[index], self._on_exit, index)
        self._loop.add_reader(child.link, self._on_report, index)
        _log.debug("started worker %s as process %d", name, child.pid)

    def _on_report(self, index: int) -> None:
        child = self._children[index]
        report = child.hear(0)
        if report is None:
            self._loop.remove_reader(child.link)
        elif report.get("joined"):
            self._roster.on_joined(index, time.monotonic())
            if self._roster.all_joined:
                self._on_ready()
        elif "error" in report:
            _log.error("worker %s could not join: %s", self._roster.places[index].name, report["error"])

    def _on_exit(self, index: int) -> None:
        child = self._forget(index)
        code = child.end(0.0)
        if self._roster.running and not self._stopping.is_set():
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            _log.warning("worker %s (process %d) ended %s", self._roster.places[index].name, child.pid, how)
            self._start(self._roster.on_exited(index, time.monotonic()))
            self._start_later()

    def _start_later(self) -> None:
        """Look at the roster again when the pause of somebody is over."""
        due_s = self._roster.next_due_s
        if due_s is not None:
            self._loop.call_later(
                max(0.0, due_s - time.monotonic()), lambda: self._start(self._roster.on_tick(time.monotonic()))
            )

    def _forget(self, index: int) -> Child:
        self._loop.remove_reader(self._pidfds[index])
        os.close(self._pidfds.pop(index))
        child = self._children.pop(index)
        self._loop.remove_reader(child.link)
        return child

    def _leave(self) -> None:
        """End all workers and the connection."""
        children = [self._forget(index) for index in list(self._children)]
        if self._entry is not None:
            self._loop.remove_reader(self._entry.connection)
            self._entry.close()
            self._entry = None
        end_all(children, 1.0)
