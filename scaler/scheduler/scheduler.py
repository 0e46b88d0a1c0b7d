"""SchedulerServer: the core with its rings, its listener and its socket, on one event loop.

Every decision is the core's; every byte of a co-located peer goes through the pump; what remote peers say is
remote_peers' business. What is left for this file is rare: joining and leaving, control records, and moving bytes
between ZeroMQ and remote_peers.

Rule 1: a send never blocks and never raises: one peer's trouble is that peer's.
Rule 2: a ZeroMQ descriptor tells of edges only: after every send the socket is asked whether there is news.
"""

import asyncio
import logging
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import zmq
from zmq.backend import Socket as PlainSocket

from scaler import _native
from scaler._native import (
    Mappings,
    Peer,
    Pump,
    RecordCopy,
    SchedulerCore,
    Segment,
    Store,
    missing_resources,
    unread_results,
)
from scaler.address import Address
from scaler.colocation.memory import ObjectMemory, object_memory
from scaler.colocation.names import BellPage, new_epoch, sweep, sweep_orphans, warn_of_files
from scaler.keys.doorkeeper import Doorkeeper, guard, role_shown
from scaler.keys.folder import SchedulerKeys
from scaler.objects.port import ObjectPort
from scaler.program.descriptors import check_descriptors
from scaler.program.sparing_log import SparingLog
from scaler.program.threads import check_threads
from scaler.protocol.frames import TASK_NUMBER_BITS
from scaler.protocol.questions import What, pack_answer, read_question
from scaler.scheduler.alarms import MISSING_S, Alarms
from scaler.scheduler.control_queue import ControlQueue
from scaler.scheduler.demand_teller import DemandTeller
from scaler.scheduler.gate import Gate
from scaler.scheduler.listening import limit, listen
from scaler.scheduler.monitoring import Monitoring, new_recorder
from scaler.scheduler.pump_peers import LOOK_TICKS, PumpPeers
from scaler.scheduler.questions import Questions
from scaler.scheduler.reporter import Usages
from scaler.session.contexts import ZEROMQ_DESCRIPTORS
from scaler.session.dealer import EVENTS, KEEP_ALIVE, NOBLOCK, POLLIN
from scaler.session.remote_peers import RemotePeers
from scaler.session.session_at_scheduler import HostObjects
from scaler.session.task_observers import Listeners

_log = logging.getLogger(__name__)
_sparing = SparingLog(_log)
MORE = int(zmq.RCVMORE)
SEND_MORE = int(zmq.SNDMORE | zmq.NOBLOCK)
MOST_MESSAGES = 64  # read in a row, before their tasks are placed
MOST_FAILED = 500  # tasks that no worker will come for, in a row
MOST_REASON_BYTES = 2000
TURN_S = 0.005  # the same in time, since frames may be large
MOST_TURNS = 4  # of that, before the rings get their turn
Watch = Callable[[int, Callable[[], bool]], None]
PROTECTED = "the scheduler is protected: it is stopped where it was started, not by a client"


class SchedulerServer:
    """Construct it, make a loop around its `pump`, `open` it on that loop, and await `closed`."""

    def __init__(
        self,
        *,
        queue_size: int = 1000,
        protected: bool = False,
        client_queue_bytes: int = 2 << 30,
        most_waiting: int = -1,
        client_timeout_s: float = 60.0,
        worker_timeout_s: float = 60.0,
        heartbeat_s: float = 2.0,
        io_threads: int = 1,
        memory: ObjectMemory | None = None,
        keys: SchedulerKeys | None = None,
        monitor_address: Address | None = None,
    ) -> None:
        self.epoch = new_epoch()
        self._memory = memory or object_memory(None, 0)
        swept = sweep_orphans(self._memory.folder)
        if swept:
            _log.info("removed %d shared-memory segments of schedulers that were killed", swept)
        self._bell_page = BellPage(self.epoch)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        folder, most_bytes = self._memory
        self.core = SchedulerCore(secrets.randbits(32) | 1, self.epoch, folder)
        self._store = Store(self.epoch, self.core.own_tag, folder, warn_of_files, most_bytes)
        self.core.edges.store = self._store
        self.core.recorder = new_recorder(self.epoch)
        self._asked_monitor, self.monitor_address = monitor_address, ""
        self._usages = Usages()
        self._mappings = Mappings(self.epoch, folder)
        self.core.client_queue_bytes = client_queue_bytes
        self.core.most_waiting = most_waiting
        self.pump = Pump(self.core, self._bell_page.memory, self._bell, int(self.epoch, 16))
        self._queue_size = queue_size
        self._protected = protected
        self._keys = keys
        self._doorkeeper: Doorkeeper | None = None
        self._io_threads = io_threads
        self._client_timeout_s, self._worker_timeout_s = client_timeout_s, worker_timeout_s
        shortest_s = min(client_timeout_s, worker_timeout_s)
        self._heartbeat_s = min(heartbeat_s, shortest_s / 5)
        self._ping_timeout_s = shortest_s / 2
        self._news = False
        # Controls for which a client's ring had no room, or that have just come up: each once, however often.
        self._unsaid: dict[tuple[Peer, int, bytes], None] = {}
        self._farewell = ""
        self._is_open = False

    def open(
        self,
        loop: asyncio.AbstractEventLoop,
        address: Address,
        watch: Watch | None = None,
    ) -> Address:
        """Listen at `address`; the address as it came to be (a port of 0 has become a real one).

        `watch(descriptor, callback)` is the loop's add_reader, unless there is a shorter way. If it fails, nothing of
        it is left but what `close` takes away.
        """
        self._loop = loop
        self.closed: asyncio.Future[None] = loop.create_future()
        with ExitStack() as undo:
            bound = self._open(loop, address, watch or loop.add_reader, undo)
            undo.pop_all()
        self._is_open = True
        return bound

    def _open(self, loop: asyncio.AbstractEventLoop, address: Address, watch: Watch, undo: ExitStack) -> Address:
        self._local = PumpPeers(
            loop, self.pump, self.epoch, self._bell_page.name, self._memory, self._queue_size, self._on_change,
            lambda peer, usage: self._usages.note(0, peer.key, usage),
        )  # fmt: skip
        undo.callback(self._local.close)
        self._objects = HostObjects(self._store, self._mappings)
        self.questions = Questions(loop, self.core, self._ask_worker, self._ask_clusters)
        self._local.on_answer, self._local.on_output = self.questions.on_answer, self._on_output
        self.alarms = Alarms(
            lambda: unread_results(self.core),
            self._name_of_client,
            lambda: missing_resources(self.core, time.monotonic_ns(), round(MISSING_S * 1e9)),
        )
        self._local.on_alarm = self._on_alarm
        self._told = ControlQueue(lambda peer, kind, payload: self.pump.control(peer, kind, payload=payload))
        self._remote = RemotePeers(
            self.core, self.epoch, self._local.local.address, self._objects,
            queue_size=self._queue_size, client_timeout_s=self._client_timeout_s,
            worker_timeout_s=self._worker_timeout_s, heartbeat_s=self._heartbeat_s,
            ping_timeout_s=self._ping_timeout_s, send=self._send, on_change=self._on_change,
            on_shutdown=self._on_shutdown,
            listeners=Listeners(
                self.questions.ask_stack, self.questions.ask_output, self.questions.on_answer, self._on_output,
                self._on_alarm,
            ),
        )  # fmt: skip
        self._demand = DemandTeller(loop, self.core, (self._local, self._remote), self._read)
        undo.callback(self._demand.close)
        check_threads(1 + self._io_threads)
        check_descriptors(ZEROMQ_DESCRIPTORS)
        self._context = zmq.Context(self._io_threads)
        undo.callback(self._context.destroy, 0)
        self._router = self._context.socket(zmq.ROUTER)
        pings = (zmq.HEARTBEAT_IVL, round(self._heartbeat_s * 1000)), (
            zmq.HEARTBEAT_TIMEOUT, round(self._ping_timeout_s * 1000),
        )  # fmt: skip
        limit(self._router)
        if self._keys is not None:
            self._doorkeeper = Doorkeeper(self._context, self._keys.roles)
            undo.callback(self._doorkeeper.close)
            guard(self._router, self._keys)
        for option, value in ((zmq.ROUTER_MANDATORY, 1), *pings, *KEEP_ALIVE):
            self._router.setsockopt(option, value)
        self._gate = Gate(self._context, has_keys=self._keys is not None)
        undo.callback(self._gate.close)
        undo.callback(self._router.close, 0)  # which ends what the gate hears
        self._descriptor = int(self._router.getsockopt(zmq.FD))
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_s = 0.0
        self._listening = listen(self._router, address)
        undo.callback(self._listening.leave)
        bound = self._listening.address
        self._monitoring = Monitoring(
            loop, self._context, self.epoch, self.pump, self._local, self._remote, self._usages, bound,
            self.questions, self.alarms, self._refused, self._keys,
        )  # fmt: skip
        undo.callback(self._monitoring.close)
        self.monitor_address = self._monitoring.open(bound, self._asked_monitor, address == bound)
        self._gate.stand_at(self._router, bound)
        self._monitoring.let_stand(self._gate)
        self._gate.start()
        self._objects.port = _open_object_port(bound, is_sealed=self._keys is not None)
        watch(self._descriptor, self._read)
        return bound

    def _refused(self) -> dict[str, int]:
        """Connections that were, by why."""
        keys = Counter(self._doorkeeper.refused if self._doorkeeper is not None else {})
        objects = Counter({"for objects": self._objects.port.refused} if self._objects.port is not None else {})
        return dict(+(keys + self._gate.refused + self._remote.refused_roles + objects))

    def after_run(self) -> bool:
        """Do what the pump left to Python. True if the event loop has something to do now."""
        wanted = self._look_after_local_peers()
        if self.core.pool.present == 0:
            self._fail_what_waits()
        now_s = time.monotonic()
        self.alarms.attend(now_s)
        if self._remote.flush(now_s):
            # Once a socket has been written to, its descriptor may have swallowed the news of a message.
            wanted = self._read() or wanted
        return (self._has_upkeep() and self._set_timer()) or wanted or self._remote.can_go_on

    def _fail_what_waits(self) -> None:
        """If every cluster there is has said that no worker can start, tasks that wait for one fail with that.

        Without any cluster they wait, since a program may start its client first; and as long as one has not said so.
        """
        said = [*self._local.unable.values(), *self._remote.why_unable()]
        if not all(said) or not said:
            return
        text = "\n".join(dict.fromkeys(said)).encode("utf-8", "replace")[:MOST_REASON_BYTES].replace(b"\0", b"?")
        if self.core.fail_waiting(text, MOST_FAILED):
            self._loop.call_soon(lambda: None)  # the rest when the loop comes by again
        self.core.step(time.monotonic_ns())

    def _has_upkeep(self) -> bool:
        """There are remote peers, or memory that the last of them has left."""
        return bool(self._remote) or self._store.kept_bytes > 0 or len(self._mappings) > 0

    def _set_timer(self) -> bool:
        """See to it that remote peers are looked after in time. True if that is sooner than it was to be."""
        now_s = time.monotonic()
        due_s = self._remote.next_tick_s(now_s)
        if self._timer is not None and self._timer_due_s <= due_s:
            return False
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due_s = due_s
        self._timer = self._loop.call_later(due_s - now_s, self._on_timer)
        return True

    def _look_after_local_peers(self) -> bool:
        pump = self.pump
        for object_id in self.core.take_freed():
            self._store.free(object_id)
        wanted = (pump.stops or pump.ticks >= LOOK_TICKS) and self._local.stop_unwanted()
        if not (pump.controls or pump.broken or self.core.unlink or self._news or self._unsaid or self._told):
            return bool(wanted)
        for name in self.core.unlink:
            Segment.unlink(name)
        self.core.unlink.clear()
        controls, pump.controls[:] = list(pump.controls), []
        for peer, record in controls:
            self._on_control(peer, record)
        self._local.shut_out_broken()
        if self._news:
            self._news = False
            self._demand.attend()
            for client in self._local.clients:
                self._say(client, _native.KIND_WORKERS)
            self._remote.tell_workers(self.core.pool.present)
        self._say_unsaid()
        if self._told:
            self._told.go_on(set(self._local.clients))
        return True

    def _say(self, client: Peer, kind: int, payload: bytes = b"") -> None:
        """Say this to a client of this host, as soon as its control ring has room."""
        self._unsaid[client, kind, payload] = None

    def _say_unsaid(self) -> None:
        unsaid, self._unsaid = self._unsaid, {}
        here, full = set(self._local.clients), set()
        count = self.core.pool.present
        for client, kind, payload in unsaid:
            if client in here and (client in full or not self.pump.control(client, kind, payload=payload, items=count)):
                full.add(client)
                self._unsaid[client, kind, payload] = None

    # events

    def _on_change(self) -> None:
        self._news = True

    def _on_control(self, peer: Peer, record: RecordCopy) -> None:
        kind = record.kind
        if kind == _native.KIND_SHUTDOWN and not peer.is_worker:
            reason = self._on_shutdown()
            self._say(peer, _native.KIND_REFUSED if reason else _native.KIND_SHUTDOWN, reason.encode())
        elif kind == _native.KIND_QUESTION and not peer.is_worker:
            self._on_question(peer, record)
        else:
            _sparing.warning(
                peer.slot,
                "a %s sent a control record of kind %d, which means nothing here",
                "worker" if peer.is_worker else "client",
                kind,
            )

    def _on_question(self, peer: Peer, record: RecordCopy) -> None:
        """A client of this host wants to know something of its own tasks."""
        try:
            number, what = read_question(record.payload)
        except ValueError:
            number, what = 0, 0

        def answer(text: str, problem: str) -> None:
            for part in pack_answer(number, text, problem):
                self._told.add(peer, _native.KIND_ANSWER, part)

        if record.task >> TASK_NUMBER_BITS != peer.tag:
            answer("", "the scheduler answers questions about a client's own tasks only")
        elif what == What.STACK:
            self.questions.ask_stack(record.task, answer)
        elif what == What.OUTPUT:
            self.questions.ask_output(peer.tag, answer)
        else:
            answer("", "the scheduler does not know what is asked")

    def _ask_worker(self, worker: int, number: int, task: int, attempt: int) -> str:
        """Have a worker asked for its stack. Why that cannot be, or nothing."""
        problem = self._local.ask_stack(worker, number, task, attempt)
        if problem is None:
            problem = self._remote.task_observers.ask_stack(worker, number, task, attempt)
        return "its worker has just gone" if problem is None else problem

    def _ask_clusters(self, client: int, new_number: Callable[[], int]) -> None:
        """Have each cluster say all that this client's tasks have written."""
        self._local.ask_output(client, new_number)
        self._remote.task_observers.ask_output(client, new_number)

    def _on_alarm(self, why: str) -> None:
        self.alarms.on_killed(why, time.monotonic())

    def _name_of_client(self, bits: int) -> str:
        name = self._local.name_of_client(bits) or self._remote.task_observers.name_of_client(bits)
        return name or f"client {bits:06x}"

    def _on_output(self, client: int, text: bytes) -> None:
        """A cluster says what tasks of this client have written."""
        peer = next((peer for peer in self._local.clients if peer.tag == client), None)
        if peer is None:
            self._remote.task_observers.tell_output(client, text)
        else:
            self._told.add_output(peer, text)

    def _on_shutdown(self) -> str:
        """A client wants everything stopped: why that is not done, or nothing."""
        if self._protected:
            return PROTECTED
        _log.info("a client stops the scheduler and its clusters")
        self._local.shut_down_clusters()
        self._remote.shut_down_clusters()
        self.stop("a client has stopped it")
        return ""

    # the socket

    def _read(self) -> bool:
        """Take what messages there are. True if the event loop has something to do now."""
        turns, first_s = 0, time.monotonic()
        while self._has_message():
            if turns == MOST_TURNS or time.monotonic() > first_s + TURN_S:
                self._loop.call_soon(self._read)
                return True
            turns += 1
            now_s = time.monotonic()
            for _ in range(MOST_MESSAGES):
                routing_id, parts, shown = self._receive()
                self._remote.on_message(routing_id, parts, now_s, shown)
                if not self._has_message() or time.monotonic() > now_s + TURN_S:
                    break
            self.core.step(time.monotonic_ns())
            self._remote.flush(now_s)
        return self.closed.done()

    # The methods of PlainSocket are those of the socket without the Python that pyzmq puts around them.

    def _has_message(self) -> bool:
        return bool(int(PlainSocket.get(self._router, EVENTS)) & POLLIN)

    def _receive(self) -> tuple[bytes, list[bytes], str]:
        """The message that is there: its connection, all other parts, and which role's key a new connection shows."""
        router = self._router
        routing_id, shown = PlainSocket.recv(router, NOBLOCK), ""
        if self._doorkeeper is None or self._remote.is_known(routing_id):
            parts = [PlainSocket.recv(router, NOBLOCK)]
        else:
            frame = router.recv(NOBLOCK, copy=False)
            parts, shown = [frame.bytes], role_shown(frame)
        while PlainSocket.get(router, MORE):
            parts.append(PlainSocket.recv(router, NOBLOCK))
        return routing_id, parts, shown

    def _send(self, routing_id: bytes, data: bytes) -> bool:
        try:
            PlainSocket.send(self._router, routing_id, SEND_MORE)
            PlainSocket.send(self._router, data, NOBLOCK)
        except zmq.ZMQError:
            return False  # its connection broke: what must arrive is kept until it comes back or is given up
        return True

    def _on_timer(self) -> None:
        self._timer = None
        self._store.trim(time.monotonic_ns())
        self._mappings.trim(time.monotonic_ns())
        self._remote.on_tick(time.monotonic())
        self._read()

    # the end

    def stop(self, farewell: str = "") -> None:
        """Let `closed` be done; the code that awaits it calls close().

        With a farewell, which says why, clients are told not to wait for another scheduler.
        """
        self._farewell = self._farewell or farewell
        if not self.closed.done():
            self.closed.set_result(None)

    def close(self) -> None:
        """Hang up on everybody and leave nothing behind."""
        if self._is_open:
            self._hang_up()
        self._bell_page.close()
        os.close(self._bell)
        sweep(self.epoch, self._memory.folder)

    def _hang_up(self) -> None:
        self._loop.remove_reader(self._descriptor)
        if self._timer is not None:
            self._timer.cancel()
        if self._farewell:
            for client in self._local.clients:
                self.pump.control(client, _native.KIND_GOODBYE, payload=self._farewell.encode())
        self.questions.close()
        self._demand.close()
        self._remote.close(self._farewell)
        if self._objects.port is not None:
            self._objects.port.close()
        self._local.close()
        self._monitoring.close()
        self._listening.leave()
        self._router.disable_monitor()
        self._router.close(1000)
        self._gate.close()
        if self._doorkeeper is not None:
            self._doorkeeper.close()
        self._context.term()


def _open_object_port(address: Address, *, is_sealed: bool) -> ObjectPort | None:
    """Where remote peers fetch and bring objects: at the same interface, at any free port. None if that cannot be."""
    if address.is_ipc:
        return None
    try:
        return ObjectPort(address.host, is_sealed=is_sealed, admits=True)
    except OSError as error:
        _log.warning("no port for objects at %s (%s): they go over the sessions, which is slower", address.host, error)
        return None
