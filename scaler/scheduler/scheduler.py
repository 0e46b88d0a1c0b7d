"""SchedulerServer: the core with its rings, its door and its socket, on one event loop.

Every decision is the core's; every byte of a co-located peer goes through the pump. What is left for this file is rare:
who joins and leaves, control records, and the greeting on the ZeroMQ address that tells a newcomer where the door is.
"""

import asyncio
import json
import logging
import os
import secrets
import sys
from typing import Any

import zmq

from scaler import _native
from scaler._native import Peer, Pump, SchedulerCore, Segment
from scaler.address import Address
from scaler.link.door import Visitor
from scaler.link.names import BellPage, new_life, sweep, sweep_orphans
from scaler.scheduler.listening import leave, listen
from scaler.scheduler.local_peers import LocalPeers

_log = logging.getLogger(__name__)


class SchedulerServer:
    """Construct it, make a loop around its `pump`, `open` it on that loop, and await `closed`."""

    def __init__(
        self, *, queue_size: int = 1000, protected: bool = False, client_queue_bytes: int = 1 << 30, io_threads: int = 1
    ) -> None:
        self.life = new_life()
        swept = sweep_orphans()
        if swept:
            _log.info("removed %d shared-memory segments of schedulers that were killed", swept)
        self._bell_page = BellPage(self.life)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.core = SchedulerCore(secrets.randbits(32) | 1)
        self.core.client_queue_bytes = client_queue_bytes
        self.pump = Pump(self.core, self._bell_page.memory, self._bell)
        self._queue_size = queue_size
        self._protected = protected
        self._io_threads = io_threads
        self._news = False
        self.address: Address | None = None

    def open(self, loop: asyncio.AbstractEventLoop, address: Address) -> Address:
        """Listen at `address`; the address as it came to be (a port of 0 has become a real one)."""
        self._loop = loop
        self.closed: asyncio.Future[None] = loop.create_future()
        self._local = LocalPeers(loop, self.pump, self.life, self._bell_page.name, self._queue_size, self._on_change)
        self._context = zmq.Context(self._io_threads)
        self._router = self._context.socket(zmq.ROUTER)
        self._router.setsockopt(zmq.LINGER, 0)
        self.address = bound = listen(self._router, address)
        loop.add_reader(self._router.getsockopt(zmq.FD), self._on_router)
        return bound

    def after_run(self) -> bool:
        """Do what the pump left to Python. True if the event loop has something to do now."""
        pump = self.pump
        if not (pump.controls or self.core.unlink or self._news):
            return False
        for name in self.core.unlink:
            Segment.unlink(name)
        self.core.unlink.clear()
        controls, pump.controls[:] = list(pump.controls), []
        for peer, record in controls:
            self._on_control(peer, record)
        if self._news:
            self._news = False
            self._local.dismiss_broken()
            for client in self._local.clients:
                pump.control(client, _native.KIND_WORKERS, items=self.core.pool.present)
        return True

    # events

    def _on_change(self, visitor: Visitor, joined: bool) -> None:
        self._news = True

    def _on_control(self, peer: Peer, record: tuple[Any, ...]) -> None:
        kind = record[0]
        if kind == _native.KIND_SHUTDOWN and not peer.is_worker:
            if self._protected:
                text = b"the scheduler is protected: it is stopped where it was started, not by a client"
                self.pump.control(peer, _native.KIND_REFUSED, payload=text)
            else:
                _log.info("a client stops the scheduler")
                self.pump.control(peer, _native.KIND_SHUTDOWN)
                self.stop()
        else:
            _log.warning(
                "a %s sent a control record of kind %d, which means nothing here",
                "worker" if peer.is_worker else "client",
                kind,
            )

    def _on_router(self) -> None:
        while True:
            try:
                parts = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                json.loads(parts[1])
            except ValueError:
                continue
            answer = {"door": self._local.door.address, "life": self.life, "python": list(sys.version_info[:2])}
            self._router.send_multipart([parts[0], json.dumps(answer).encode()], zmq.NOBLOCK)

    # the end

    def stop(self) -> None:
        """Let `closed` be done; whoever awaits it calls close()."""
        if not self.closed.done():
            self.closed.set_result(None)

    def close(self) -> None:
        """Hang up on everybody and leave nothing behind."""
        self._loop.remove_reader(self._router.getsockopt(zmq.FD))
        self._local.close()
        if self.address is not None:
            leave(self.address)
        self._router.close(0)
        self._context.term()
        self._bell_page.close()
        os.close(self._bell)
        sweep(self.life)
