"""ClusterRelay: reads the rings of a host's workers where the scheduler does not share that host's memory.

It has a listener as the scheduler has one, on the supervisor's event loop, and a thread for the session with the
scheduler, so that neither a batch nor a large payload keeps the supervisor from its workers.

Rule 1: a session that cannot be begun, for want of memory, a thread or a descriptor, leaves all as it was: the workers
        stay, and it is tried again.
Not here: the handshake and which worker belongs to which rings (colocation.local_peers), what is said to the scheduler
(cluster_at_relay), the thread (relay_thread), starting workers (scaler.cluster).
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from scaler._native import Mappings, Relay, RelayPeer, Segment, Store
from scaler.cancellation.stopper import Stopper
from scaler.colocation.handshake import NotCoLocated, Refused
from scaler.colocation.listener import LocalPeer
from scaler.colocation.local_peers import LocalPeers, refuse_role, supply_in
from scaler.colocation.memory import ObjectMemory
from scaler.colocation.names import BellPage, new_epoch, sweep, sweep_orphans, warn_of_files
from scaler.objects.relay_transport import open_transport
from scaler.program.blocking_call import in_thread
from scaler.program.processes import Process
from scaler.program.sparing_log import SparingLog
from scaler.protocol.bounds import plain_text
from scaler.protocol.frames import Alarm, Demand, Hello, Output, Unable, Usage, Welcome, column
from scaler.session.cluster_at_relay import ClusterAtRelay
from scaler.session.cluster_end import store_tag, worker_tag
from scaler.session.dealer import Dealer
from scaler.session.relay_thread import RelayThread
from scaler.values.death_facts import pack_facts
from scaler.values.usage import HostUsage, ProcessUsage

_sparing = SparingLog(logging.getLogger(__name__))
FACTS_WAIT_S, FACTS_PAUSE_S = 0.5, 0.003


def new_bell_page(folder: str) -> BellPage:
    """For a relay. Not in the event loop: it may wait for a process that looks at the same files."""
    sweep_orphans(folder)  # where no scheduler ever starts, nobody else does
    return BellPage(new_epoch())


def _usage_frame(usage: HostUsage, rows: list[tuple[RelayPeer, ProcessUsage]]) -> Usage:
    shares = array("f", (one.cpu_share for _, one in rows))
    if sys.byteorder != "little":
        shares.byteswap()
    return Usage(
        usage.cores, usage.agent_pid, usage.agent_cpu_share, usage.agent_rss_bytes, usage.memory_total_bytes,
        usage.memory_free_bytes, usage.shared_memory_total_bytes, usage.shared_memory_free_bytes,
        tuple(usage.restarts), column("Q", usage.restarts.values()),
        array("I", (peer.number for peer, _ in rows)).tobytes(), column("I", (one.pid for _, one in rows)),
        shares.tobytes(), column("Q", (one.rss_bytes for _, one in rows)),
        column("Q", (peer.running.in_place for peer, _ in rows)),
    )  # fmt: skip


class ClusterRelay:
    """`page` and `dealer` are its own from here on, and are closed if it cannot be made. `on_over(reason)` is called on
    the loop when the session is over; `facts_of(key)` says how a worker ended; `on_kill(key)` is called in the relay's
    thread before one is killed to stop what it runs. The key is what its supervisor calls its process.
    `on_stack_wanted(key, answer)` has `answer(text, problem)` called on the loop, with what that worker's code does;
    `on_output_wanted(client, answer)` the same once all that this client's tasks have written is in `tell_output`.
    `on_demand(demand, idle_ns)` is called on the loop with what the scheduler says of its work, and for how long the
    workers, by the same keys, have had nothing to do.
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
        on_stack_wanted: Callable[[str, Callable[[str, str], None]], None],
        on_output_wanted: Callable[[int, Callable[[str, str], None]], None],
        keys: str | None = None,
        on_demand: Callable[[Demand, dict[str, int]], object] = lambda demand, idle_ns: None,
    ) -> None:
        self._on_demand = on_demand
        self.epoch, self._page = page.epoch, page
        self._loop, self._facts_of, self._report_over = loop, facts_of, on_over
        self._on_stack_wanted, self._on_output_wanted = on_stack_wanted, on_output_wanted
        self._memory, self._address, self._timeout_s, self._keys = memory, address, timeout_s, keys
        self._stopper: Stopper[RelayPeer] = Stopper(
            self._take_back, partial(self._on_kill, on_kill), self._on_unreachable
        )
        self._doorbells: dict[RelayPeer, int] = {}
        self._is_closed = False
        self._calls: deque[Callable[[], None]] = deque()  # that no thread has made yet
        self._sessions = 0
        with contextlib.ExitStack() as undo:
            undo.callback(sweep, self.epoch, memory.folder)
            undo.callback(page.close)
            to_close = undo.enter_context(contextlib.ExitStack())
            to_close.callback(dealer.close)
            self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            undo.callback(os.close, self._bell)
            self._relay = Relay(page.memory, self._bell, False)
            self._mappings = Mappings(self.epoch, memory.folder)
            self._local: LocalPeers[RelayPeer] = LocalPeers(
                loop, self, epoch=self.epoch, bell_name=page.name, eventfd=self._bell, memory=memory
            )
            undo.callback(self._local.close)
            to_close.pop_all()  # by `_begin_session`, if that fails
            self._begin_session(dealer, hello, welcome)
            undo.pop_all()

    def _begin_session(
        self, dealer: Dealer, hello: Hello, welcome: Welcome, before: ClusterAtRelay | None = None
    ) -> None:
        """Begin one, which goes on with the workers of the one `before`. If it cannot be, nothing of it is left.

        Each has a store of its own: ids of objects mean something else in the next one.
        """
        memory = self._memory
        with contextlib.ExitStack() as undo:
            undo.callback(dealer.close)
            store = Store(self.epoch, store_tag(self._sessions), memory.folder, warn_of_files, memory.most_bytes)
            undo.callback(store.close)
            session = ClusterAtRelay(
                self._relay,
                self.epoch,
                memory.folder,
                store,
                self._mappings,
                self._dismiss,
                self._stopper,
                self._ask_stack,
                self._ask_output,
                self._hear_demand,
            )
            undo.callback(session.talk.close)
            thread = RelayThread(
                self._address, dealer, hello, welcome, session,
                timeout_s=self._timeout_s, on_over=self._on_over, keys=self._keys,
            )  # fmt: skip
            session.use(
                open_transport(self._address, welcome, store, thread.call, listens=True, is_sealed=dealer.is_sealed)
            )
            # What belongs to the session before is taken over in the thread: there it can fail without harm.
            thread.start(first=partial(session.take_over, before, welcome.epoch) if before is not None else None)
            undo.pop_all()
        self._sessions += 1
        self._session, self._thread, self._scheduler_epoch = session, thread, welcome.epoch

    async def go_on(self, dealer: Dealer, hello: Hello, welcome: Welcome) -> None:
        """The session is over since its scheduler has died: go on with the same workers in one with the next scheduler.

        A worker that had joined by then stays; the others are to have been ended. OSError or RuntimeError if the
        session cannot be begun just now: then this can be called again, with another dealer.
        """
        await in_thread(self._thread.join)
        self._begin_session(dealer, hello, welcome, self._session)
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
        self._call(lambda: self._session.talk.post(Unable(why)))

    def tell_leaving(self, keys: Collection[str]) -> None:
        """Tell the scheduler that these workers, by what their processes are called, end after what they run."""
        numbers = [rings.number for rings, peer in self._local.by_rings.items() if peer.key in keys]
        if numbers:
            self._call(lambda: self._session.on_leaving(numbers))

    def tell_usage(self, usage: HostUsage) -> None:
        """Tell the scheduler what this host and its workers take."""
        workers = {one.process: one for one in usage.workers}
        rows = [(rings, workers[peer.key]) for rings, peer in self._local.by_rings.items() if peer.key in workers]
        self._call(lambda: self._session.talk.say(_usage_frame(usage, rows)))

    @property
    def local_address(self) -> str:
        """Where workers hand in their rings."""
        return self._local.address

    @property
    def is_shut_down(self) -> bool:
        """The scheduler wants no cluster any more."""
        return self._session.is_shut_down

    def _on_over(self, reason: str) -> None:
        self._loop.call_soon_threadsafe(self._report_over, reason)

    # what LocalPeers asks and says

    def take_in(self, peer: LocalPeer, memory: Segment) -> RelayPeer:
        if peer.request["role"] != "worker":
            raise refuse_role(peer.request["role"], "a relay")
        if peer.memory >= 0:
            raise NotCoLocated("a relay takes in no worker of another scheduler or relay")
        if self._is_closed:
            raise Refused("this relay ends")
        supply_in(peer.request)
        with contextlib.ExitStack() as undo:
            process = peer.process
            undo.callback(process.close)
            doorbell = os.dup(peer.doorbell)  # the thread may ring it after the connection's own is closed
            undo.callback(os.close, doorbell)
            rings = self._relay.add(memory, doorbell, self._scheduler_epoch)
            undo.pop_all()
        self._doorbells[rings] = doorbell
        self._call(partial(self._welcome, rings, process, peer.request, peer.voucher))
        return rings

    def place_of(self, rings: RelayPeer) -> tuple[int, int]:
        return rings.slot, worker_tag(rings.number)

    def on_joined(self, peer: LocalPeer) -> None:
        """The thread tells the scheduler."""

    def on_said(self, peer: LocalPeer, message: dict[str, Any]) -> bool:
        return False  # workers have nothing to say there

    def on_shut_out(self, peer: LocalPeer) -> None:
        """Its task may never come to an end."""
        with contextlib.suppress(OSError):  # it has just ended, or is not to be seen from here
            signal.pidfd_send_signal(peer.pidfd, signal.SIGKILL)

    def on_left(self, peer: LocalPeer) -> None:
        """A hang-up comes a moment before the end of a process, and its parent knows only then how that was."""
        self._await_facts(peer, time.monotonic() + FACTS_WAIT_S)

    def _welcome(self, rings: RelayPeer, process: Process, request: dict[str, Any], voucher: bytes) -> None:
        """In the relay's thread."""
        self._stopper.add(rings, rings.running, process, request)
        resources = supply_in(request).decode()
        self._session.on_joined(rings, str(request.get("name", "")), process.number, voucher, resources)

    def _on_kill(self, on_kill: Callable[[str], object], process: Process, why: str) -> None:
        """In the relay's thread: a worker will be killed."""
        on_kill(process.key)
        self._session.talk.post(Alarm(plain_text(why)))

    def _ask_stack(self, rings: RelayPeer, answer: Callable[[str, str], None]) -> None:
        """In the relay's thread: what does this worker do just now?"""

        def ask() -> None:
            peer = self._local.by_rings.get(rings)
            self._on_stack_wanted("" if peer is None else peer.key, lambda *said: self._call(lambda: answer(*said)))

        self._loop.call_soon_threadsafe(ask)

    def _ask_output(self, client: int, answer: Callable[[str, str], None]) -> None:
        """In the relay's thread: have all be said that this client's tasks have written."""

        def ask() -> None:
            self._on_output_wanted(client, lambda *said: self._call(lambda: answer(*said)))

        self._loop.call_soon_threadsafe(ask)

    def tell_output(self, client: int, text: bytes) -> None:
        """Tell the scheduler what tasks of this client have written: whole lines."""
        self._call(lambda: self._session.talk.post(Output(client, text)))

    def _hear_demand(self, demand: Demand, idle_ns: dict[RelayPeer, int]) -> None:
        """In the relay's thread: how much work there is."""

        def tell() -> None:
            by_rings = self._local.by_rings
            self._on_demand(demand, {by_rings[rings].key: ns for rings, ns in idle_ns.items() if rings in by_rings})

        self._loop.call_soon_threadsafe(tell)

    def _on_unreachable(self, peer: RelayPeer, process: Process, number: int) -> None:
        """A worker is this process's own child, so nobody else could do better."""
        _sparing.error(process.number, "the worker that is process %d takes no signals from here", process.number)

    def _take_back(self, peer: RelayPeer) -> None:
        self._session.take_back_all(peer)

    def _dismiss(self, rings: RelayPeer) -> None:
        """In the relay's thread: hang up on a worker that writes nonsense."""
        self._loop.call_soon_threadsafe(self._local.shut_out, rings)

    def _await_facts(self, peer: LocalPeer, until_s: float) -> None:
        if self._is_closed:
            return
        facts = self._facts_of(peer.key)
        if facts or time.monotonic() >= until_s:
            self._call(partial(self._see_off, peer.rings, facts))
        else:
            self._loop.call_later(FACTS_PAUSE_S, self._await_facts, peer, until_s)

    def _see_off(self, peer: RelayPeer, facts: dict[str, Any]) -> None:
        self._session.on_left(peer, facts.get("code", 0), pack_facts(facts).decode() if facts else "")
        os.close(self._doorbells.pop(peer))

    async def close(self, finish_s: float = 0.0) -> None:
        """Say goodbye; leave nothing behind. For up to `finish_s`, wait for what workers that have ended had to say."""
        until_s = time.monotonic() + finish_s
        while self._doorbells and time.monotonic() < until_s:
            await asyncio.sleep(FACTS_PAUSE_S)  # one that was hung up on has not been seen off yet
        self._is_closed = True
        await in_thread(self._thread.stop, max(0.0, until_s - time.monotonic()))
        self._local.close()
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
