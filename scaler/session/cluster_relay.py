"""ClusterRelay: where the workers of a host hand in their rings when the scheduler does not share its memory.

A door as the scheduler has one, on the supervisor's event loop, and a relay in a thread of its own, so that neither a
batch nor a large payload keeps the supervisor from its workers.

Not here: what the relay says (cluster_at_relay), the thread (relay_thread), starting workers (scaler.cluster).
"""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from scaler._native import Mappings, Relay, RelayPeer, Store
from scaler.cancellation.stopper import Stopper
from scaler.colocation.handshake import Refused
from scaler.colocation.listener import LocalListener, LocalPeer, open_rings
from scaler.colocation.memory import ObjectMemory
from scaler.colocation.names import BellPage, new_epoch, sweep, sweep_orphans, warn_of_files
from scaler.colocation.voucher import voucher_of
from scaler.objects.relay_transport import open_transport
from scaler.program.blocking_call import in_thread
from scaler.program.processes import Process
from scaler.program.sparing_log import SparingLog
from scaler.protocol.frames import Hello, Unable, Welcome
from scaler.session.cluster_at_relay import ClusterAtRelay, store_tag, worker_tag
from scaler.session.dealer import Dealer
from scaler.session.relay_thread import RelayThread
from scaler.values.death_facts import pack_facts

_sparing = SparingLog(logging.getLogger(__name__))
FACTS_WAIT_S, FACTS_PAUSE_S = 0.5, 0.003


def new_bell_page(folder: str) -> BellPage:
    """For a relay. Not in the event loop: it may wait for whoever looks at the same files."""
    sweep_orphans(folder)  # where no scheduler ever starts, nobody else does
    return BellPage(new_epoch())


class ClusterRelay:
    """`page` is its own from here on. `on_over(reason)` is called on the loop when the session is over; `facts_of(key)`
    says how a worker ended; `on_kill(key)` is called in the relay's thread before one is killed to stop what it runs.
    The key is what its supervisor calls its process.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: str,
        dealer: Dealer,
        hello: Hello,
        welcome: Welcome,
        page: BellPage,
        *,
        memory: ObjectMemory,
        timeout_s: float,
        facts_of: Callable[[str], dict[str, Any]],
        on_kill: Callable[[str], object],
        on_over: Callable[[str], None],
    ) -> None:
        self.epoch, self._page = page.epoch, page
        self._loop, self._facts_of, self._report_over = loop, facts_of, on_over
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._relay = Relay(self._page.memory, self._bell, False)
        self._memory, self._address, self._timeout_s = memory, address, timeout_s
        self._mappings = Mappings(self.epoch, memory.folder)
        self._stopper: Stopper[RelayPeer] = Stopper(
            self._take_back, lambda process: on_kill(process.key), self._on_unreachable
        )
        self._doorbells: dict[RelayPeer, int] = {}
        self._is_closed = False
        self._calls: deque[Callable[[], None]] = deque()  # that no thread has made yet
        self._sessions = 0
        self._side, self._thread = self._new_session(dealer, hello, welcome)
        self._listener = LocalListener(
            loop, f"scaler-{self.epoch}-{secrets.token_hex(4)}", self._bell, self._join, self._leave
        )
        self._thread.start()

    def _new_session(self, dealer: Dealer, hello: Hello, welcome: Welcome) -> tuple[ClusterAtRelay, RelayThread]:
        """Each has a store of its own: ids of objects mean something else in the next one."""
        memory, self._scheduler_epoch = self._memory, welcome.epoch
        store = Store(self.epoch, store_tag(self._sessions), memory.folder, warn_of_files, memory.most_bytes)
        self._sessions += 1
        side = ClusterAtRelay(
            self._relay, self.epoch, memory.folder, store, self._mappings, self._dismiss, self._stopper
        )  # fmt: skip
        thread = RelayThread(
            self._address, dealer, hello, welcome, side, timeout_s=self._timeout_s, on_over=self._on_over
        )
        side.use(open_transport(self._address, welcome.objects_port, store, thread.call, listens=True))
        return side, thread

    async def go_on(self, dealer: Dealer, hello: Hello, welcome: Welcome) -> None:
        """The session is over since its scheduler has died: go on with the same workers in one with the next scheduler.

        Whoever had joined by then stays; the others are to have been ended.
        """
        await in_thread(self._thread.join)
        before = self._side
        self._side, self._thread = self._new_session(dealer, hello, welcome)
        self._side.take_over(before, welcome.epoch)
        self._thread.start()
        self._thread.call(self._make_calls)

    def _call(self, what: Callable[[], None]) -> None:
        """Have the relay's thread do this: the next one, if there is none just now."""
        self._calls.append(what)
        self._thread.call(self._make_calls)

    def _make_calls(self) -> None:
        while self._calls:
            self._calls.popleft()()

    def tell_unable(self, why: str) -> None:
        """Tell the scheduler that no worker can start here, or with an empty text that one could."""
        self._call(lambda: self._side.talk.post(Unable(why)))

    @property
    def local_address(self) -> str:
        """Where workers hand in their rings."""
        return self._listener.address

    @property
    def is_shut_down(self) -> bool:
        """The scheduler wants no cluster any more."""
        return self._side.is_shut_down

    def _on_over(self, reason: str) -> None:
        self._loop.call_soon_threadsafe(self._report_over, reason)

    def _join(self, local_peer: LocalPeer) -> dict[str, Any]:
        if local_peer.request["role"] != "worker":
            raise Refused("a relay is for the workers of its supervisor")
        if self._is_closed:
            raise Refused("this relay ends")
        memory = open_rings(local_peer.request, self.epoch)
        doorbell = os.dup(local_peer.doorbell)  # the thread may ring it after the local_peer's own is closed
        local_peer.rings = self._relay.add(memory, doorbell, self._scheduler_epoch)
        self._doorbells[local_peer.rings] = doorbell
        self._call(partial(self._welcome, local_peer.rings, local_peer.process, local_peer.request, voucher_of(memory)))
        tag = worker_tag(local_peer.rings.number)
        return {
            "slot": local_peer.rings.slot, "bell": self._page.name, "epoch": self.epoch, "tag": tag,
            "memory": self._memory,
        }  # fmt: skip

    def _welcome(self, peer: RelayPeer, process: Process, request: dict[str, Any], voucher: bytes) -> None:
        """In the relay's thread."""
        self._stopper.add(peer, peer.running, process, request)
        self._side.on_joined(peer, str(request.get("name", "")), process.number, voucher)

    def _on_unreachable(self, peer: RelayPeer, process: Process, number: int) -> None:
        """A worker is this process's own child, so nobody else could do better."""
        _sparing.error(process.number, "the worker that is process %d takes no signals from here", process.number)

    def _take_back(self, peer: RelayPeer) -> None:
        self._side.take_back_all(peer)

    def _dismiss(self, peer: RelayPeer) -> None:
        """In the relay's thread: hang up on a worker that writes nonsense."""
        self._loop.call_soon_threadsafe(self._shut_out, peer)

    def _shut_out(self, peer: RelayPeer) -> None:
        for local_peer in self._listener.peers:
            if local_peer.rings is peer:
                _sparing.error(
                    local_peer.pid,
                    "worker %s (process %d) wrote a record that makes no sense: it is shut out",
                    local_peer.request.get("name", ""), local_peer.pid,
                )  # fmt: skip
                with contextlib.suppress(OSError):  # it has just ended, or is not to be seen from here
                    signal.pidfd_send_signal(local_peer.pidfd, signal.SIGKILL)  # its task may never come to an end
                self._listener.dismiss(local_peer)

    def _leave(self, local_peer: LocalPeer) -> None:
        """A hang-up comes a moment before the end of a process, and its parent knows only then how that was."""
        self._await_facts(local_peer, time.monotonic() + FACTS_WAIT_S)

    def _await_facts(self, local_peer: LocalPeer, until_s: float) -> None:
        if self._is_closed:
            return
        facts = self._facts_of(local_peer.key)
        if facts or time.monotonic() >= until_s:
            self._call(partial(self._see_off, local_peer.rings, facts))
        else:
            self._loop.call_later(FACTS_PAUSE_S, self._await_facts, local_peer, until_s)

    def _see_off(self, peer: RelayPeer, facts: dict[str, Any]) -> None:
        self._side.on_left(peer, facts.get("code", 0), pack_facts(facts).decode() if facts else "")
        os.close(self._doorbells.pop(peer))

    async def close(self) -> None:
        """Say goodbye; leave nothing behind."""
        self._is_closed = True
        await in_thread(self._thread.stop)
        self._listener.close()
        self._thread.give_up(self._give_up)

    def _give_up(self) -> None:
        """Nobody rings these bells any more, nor looks at these rings."""
        self._stopper.close()
        self._page.close()
        sweep(self.epoch, self._memory.folder)
        for doorbell in self._doorbells.values():
            os.close(doorbell)
        self._doorbells.clear()
        os.close(self._bell)
