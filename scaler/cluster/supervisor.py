"""Supervisor: starts the workers of its host, watches them, and ends with them.

On the scheduler's host it is off the data path: the workers hand their rings to the scheduler themselves. Elsewhere it
is their relay. When the scheduler goes it looks for a new one for `death_timeout_s`, and its workers go over to that.

Rule 1: whatever ends the supervisor ends its workers: they hold a socket to it, and the kernel kills them with it.
Rule 2: nothing in the event loop waits for another process or a thread. What may take longer than a few milliseconds (a
        scheduler's answer, the ends of workers, a relay's last word, the lock of a bell page) is done in a thread, with
        descriptors of its own (BlockingCall). What awaits it looks afterwards at what has changed meanwhile. What is
        sent in the loop does not wait for room. So a scheduler that is stopped keeps a supervisor neither from its
        workers nor from a signal. Excepted: starting a process, the first message to that, which always has room, and
        what is swept when all is over.
Rule 3: for want of a descriptor or a thread no worker is ended that could go on: what needs one is tried again.
**Drain.** A host that is to go (SIGTERM of a batch system, a service manager or a container's end; SIGUSR1) tells the
scheduler that its workers leave. They are given nothing more, what they have not begun goes elsewhere, and each ends
when its task has. What still runs when the time is over is run again elsewhere, and not charged with a death. A relay
says goodbye when the scheduler has taken everything that its workers had to say, objects included: of each result the
scheduler then has a copy of its own.

Not here: how a scheduler is found (search), which worker is started when (roster), how a process is started (spawn).
"""

import asyncio
import contextlib
import json
import logging
import math
import os
import secrets
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Container, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from scaler.cancellation import STOP_SIGNAL
from scaler.cluster.autopsy import OutOfMemory, facts_of
from scaler.cluster.cores import thread_share
from scaler.cluster.devices import pinning_variables, resources_of
from scaler.cluster.output_forwarder import OutputForwarder
from scaler.cluster.roster import START_FAILURES, Retire, Roster, Start, State
from scaler.cluster.scaling import Demand, Grow, Shrink, scaling_of
from scaler.cluster.search import AGAIN_S, SchedulerSearch, first_of, take_leave
from scaler.cluster.spawn import Child, end_all
from scaler.cluster.stacks import Asked, StackReader
from scaler.cluster.template import READY_S, Template
from scaler.cluster.worker_stderr import LAST_LINES, Pipe, WorkerStderr
from scaler.colocation.handover import Handle, NewOwner, hand_over, tell_worker
from scaler.colocation.handshake import MOST_PACKET_BYTES, LocalConnection, Refused
from scaler.colocation.memory import ObjectMemory
from scaler.colocation.names import BellPage, is_over, sweep, sweep_orphans
from scaler.config.table import ClusterConfig
from scaler.config.values import for_workers
from scaler.keys.find import KEYS_VARIABLE
from scaler.program.blocking_call import BlockingCall, in_thread
from scaler.program.descriptors import message_in
from scaler.program.sparing_log import SparingLog
from scaler.protocol import frames
from scaler.protocol.bounds import MOST_TEXT_LENGTH
from scaler.protocol.frames import Role
from scaler.session.cluster_relay import ClusterRelay, new_bell_page
from scaler.session.dealer import new_hello
from scaler.values.resources import share_out
from scaler.values.usage import HostUsage, pieces_of

if TYPE_CHECKING:
    from scaler.cluster.usage_sampler import UsageSampler

_log = logging.getLogger(__name__)
_sparing = SparingLog(_log)
FACTS_KEPT_S = 5.0
MOST_SPARES = 2
LEAVING_AT_ONCE, LEAVING_AGAIN_S = 1000, 0.05  # workers in one message; before it is said again
FINISH_S = 2.0  # for the scheduler to take what workers that have ended had to say
UNSAID_S, FLUSH_S = 0.005, 1.0  # before what tasks have written is said again; to say all of it
LOOK_S = 2.0  # between two looks at what the processes take
MOST_SAID = 1000  # characters of what a worker said that could not start


class Supervisor:
    """`await serve()` until stopped. `sys_path` and `folder` are its workers'; without them they have its own."""

    def __init__(
        self,
        config: ClusterConfig,
        names: list[str],
        *,
        memory: ObjectMemory,
        sys_path: Sequence[str] = (),
        folder: str = "",
        on_ready: Callable[[], None] = lambda: None,
        on_unable: Callable[[str], None] = lambda why: None,
    ) -> None:
        self._address = str(config.address)
        spares = [f"{name}-spare-{number}" for name in names[:1] for number in range(1, 1 + MOST_SPARES)]
        self._roster = Roster(names, spares, config.least_workers if config.max is not None else None)
        self._scaling = scaling_of(config)
        self._is_elastic = self._scaling is not None or config.end_idle_seconds > 0 or bool(config.launch)
        self.on_demand: Callable[[Demand, Collection[str]], object] | None = None  # of a launcher
        self._would_do = ""  # what a dry run has said last
        self._config, self._sys_path, self._folder = config, list(sys_path), folder
        self._variables = thread_share(len(names)) | ({KEYS_VARIABLE: config.keys} if config.keys else {})
        self._template = Template(self._variables) if len(names) > 1 else None  # one worker alone is not worth it
        self._starts_several = (config.least_workers if config.max is not None else len(names)) > 1
        given = resources_of(config)
        self._shares = share_out(given, len(names), secrets.token_hex(4), len(names) + len(spares))
        self._memory = memory
        self._death_timeout_s, self._keys = config.death_timeout_seconds, config.keys
        self._on_ready, self._on_unable = on_ready, on_unable
        self._unable = ""  # why no worker can start, once that has been said
        self._failure = ""  # how the last one failed to
        self._is_without_folder = False  # that the workers' folder has gone has been said
        self._children: dict[int, Child] = {}
        self._pidfds: dict[int, int] = {}
        self._handles: dict[int, Handle] = {}  # of workers that can go over to another scheduler
        self._untaken: dict[int, Handle] = {}  # of those, the ones that this scheduler has not taken in yet
        self._killed: set[str] = set()  # keys of processes that were killed to stop what they ran
        self._blocked: set[int] = set()  # members of workers whose task waits for another worker's
        self._identity = secrets.token_bytes(16)
        self._timer: asyncio.TimerHandle | None = None  # for workers that wait for the end of a pause
        self.odd = 0  # packets that meant nothing
        self._stopping = asyncio.Event()
        self._drain_ends: asyncio.TimerHandle | None = None
        self._unsaid_leaving: list[str] = []  # keys of processes that leave, which the scheduler has not read yet
        self._gone = asyncio.Event()  # the scheduler has
        self._loop = asyncio.get_running_loop()
        self._search = SchedulerSearch(
            self._address, self._death_timeout_s, self._stopping, lambda: bool(self._handles), self._keys,
            is_elastic=self._is_elastic, cluster_name=config.cluster_name,
        )  # fmt: skip
        self._entry: LocalConnection | None = None  # on the scheduler's host
        self._relay: ClusterRelay | None = None  # elsewhere
        self._local_address = self._epoch = self._scheduler_epoch = ""
        self._restarts: Counter[str] = Counter()  # workers that have ended, by why
        self._stderr = WorkerStderr()
        self._stacks = StackReader()
        self._forwarder = OutputForwarder(socket.gethostname(), self._on_outputs)
        self._unsaid: deque[tuple[int, bytes]] = deque()  # what of that the scheduler has not read yet
        self._asking: set[asyncio.Task[None]] = set()  # workers for what they do
        self._pipes: dict[int, Pipe] = {}
        self._memory_watch = OutOfMemory()
        self._facts: dict[str, dict[str, Any]] = {}  # of the dead, by their keys, until the relay has asked

    @property
    def n_workers(self) -> int:
        """How many are there, or about to be."""
        return len(self._roster.there)

    def stop(self) -> None:
        self._stopping.set()

    def drain(self, within_s: float = math.inf) -> None:
        """Stop when what runs has ended, or after so long; the shortest time counts, if this is called again."""
        if not self._roster.is_draining:
            _log.info("cluster drains: it takes nothing new, and ends when what runs has ended")
            self._start(self._roster.on_drain())
        if not self._roster.running or self._roster.is_empty:  # without a scheduler nobody would take what they do
            self.stop()
        elif within_s < math.inf and (
            self._drain_ends is None or self._loop.time() + within_s < self._drain_ends.when()
        ):
            if self._drain_ends is not None:
                self._drain_ends.cancel()
            self._drain_ends = self._loop.call_later(within_s, self._end_drain, within_s)

    def _end_drain(self, within_s: float) -> None:
        if not self._stopping.is_set():
            _log.warning(
                "%d workers still run tasks after %g s: what may be run again is run elsewhere",
                len(self._children), within_s,
            )  # fmt: skip
            self.stop()

    async def serve(self) -> None:
        """Work for the scheduler at the address until told to stop, or until none is there for `death_timeout_s`."""
        looking = asyncio.ensure_future(self._keep_looking())
        if self._template is not None and self._starts_several:
            self._template.start()  # while the scheduler is looked for
        try:
            while not self._stopping.is_set():
                await self._connect_in_the_end()
                if self._stopping.is_set():
                    return
                self._unable = ""  # this scheduler has not heard of it
                alive = await self._hand_over()
                if self._stopping.is_set():
                    return
                await self._until_template_is_ready()
                self._start(self._roster.on_connected(time.monotonic(), alive))
                if not self._roster.there:
                    self._on_ready()
                await self._until_gone()
                self._roster.on_disconnected()
                if self._roster.is_draining:
                    self.stop()
                if not self._stopping.is_set():
                    await self._stay()
        finally:
            looking.cancel()
            await self._leave()
            sweep_orphans(self._memory.folder)  # nobody else may come by where a scheduler was killed
            self._stderr.close()
            for asking in self._asking:
                asking.cancel()
            await in_thread(self._stacks.close)
            await in_thread(self._forwarder.close)

    async def _until_template_is_ready(self) -> None:
        """Or until it takes too long. A worker that is started by `exec` would take as long as it."""
        if self._template is not None and self._template.pid:
            await first_of(self._template.ready, self._stopping, self._gone, timeout_s=READY_S)

    async def _connect_in_the_end(self) -> None:
        """Connect; again, if it fails for want of a descriptor or a thread, as long as a scheduler is looked for."""
        until_s = time.monotonic() + self._death_timeout_s
        while not self._stopping.is_set():
            try:
                await self._connect()
                return
            except (OSError, RuntimeError) as error:
                if not self._search.may_try_again(error, until_s):
                    raise
                _log.warning("no scheduler can be worked for just now: %s", error)
            await first_of(self._stopping, timeout_s=AGAIN_S)

    async def _keep_looking(self) -> None:
        """Say what this host and its workers take, every few seconds, to whichever scheduler there is."""
        pause_s, sampler = LOOK_S, None
        while True:
            await asyncio.sleep(pause_s)
            processes = [(child.key, child.pid) for child in self._children.values()]
            try:
                sampler = sampler or await BlockingCall(_new_sampler, drop=lambda _: None).outcome()
                usage = await BlockingCall(
                    partial(_sample, sampler, processes, self._restarts), drop=lambda _: None
                ).outcome()
            except (OSError, RuntimeError):
                continue  # no thread or descriptor is to be had just now
            pause_s = sampler.next_pause_s
            if self._relay is not None:
                self._relay.tell_usage(usage)
            elif self._entry is not None:
                for piece in pieces_of(usage):
                    self._tell_scheduler({"usage": piece})

    def _tell_scheduler(self, message: dict[str, Any]) -> None:
        """Through the door. It may have gone, or not read: what is said there is missed by nobody for long."""
        assert self._entry is not None
        with contextlib.suppress(OSError):
            self._entry.connection.send(json.dumps(message, ensure_ascii=False).encode(), socket.MSG_DONTWAIT)

    async def _connect(self) -> None:
        """Say hello, find out whether the scheduler is on this host, and have a relay if it is not."""
        hello = new_hello(
            Role.CLUSTER, self._identity, worker_names=self._roster.names, is_elastic=self._is_elastic,
            cluster_name=self._config.cluster_name,
        )  # fmt: skip
        found = await self._search.find(hello)
        if found is None:
            return
        dealer, welcome, entry = found
        self._gone = asyncio.Event()
        epoch = f"{welcome.epoch:016x}"
        if entry is not None:
            self._entry = entry
            self._loop.add_reader(entry.connection.fileno(), self._on_scheduler_says)
            await take_leave(dealer)
            await self._end_elsewhere()
            self._local_address, self._epoch = welcome.local_address, epoch
        elif self._relay is not None and epoch != self._scheduler_epoch:
            await self._relay.go_on(dealer, hello, welcome)
        else:
            await self._end_elsewhere()  # given up by the scheduler that is still there: what they run is run by others
            try:
                page = await BlockingCall(lambda _: new_bell_page(self._memory.folder), drop=BellPage.close).outcome()
            except BaseException:
                dealer.close()
                raise
            self._relay = ClusterRelay(
                self._loop, self._address, dealer, hello, welcome, page, memory=self._memory,
                timeout_s=self._death_timeout_s, facts_of=self._facts_of, on_kill=self._killed.add,
                on_over=self._on_relay_over, on_stack_wanted=self._read_stack,
                on_output_wanted=self._flush_output, keys=self._keys, on_demand=self._hear_demand,
            )  # fmt: skip
            self._local_address, self._epoch = self._relay.local_address, self._relay.epoch
        self._scheduler_epoch, self._search.has_found = epoch, True

    def _on_scheduler_says(self) -> None:
        """The scheduler of this host has a word for its clusters, or has gone."""
        while self._entry is not None and not self._gone.is_set():
            try:
                packet = self._entry.connection.recv(MOST_PACKET_BYTES, socket.MSG_DONTWAIT)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                packet = b""
            if not packet:
                _log.info("the scheduler has gone")
                self._leave_listener(self._entry)
            elif not self._obey(self._entry, packet):
                self.odd += 1  # it may be of a version to come: it is passed over
                _sparing.warning(None, "the scheduler says what means nothing here: %.200r", packet)

    def _obey(self, entry: LocalConnection, packet: bytes) -> bool:
        """Do what the scheduler says. False if it means nothing."""
        try:
            said = message_in(packet)
        except ValueError:
            return False
        if isinstance(killed := said.get("killed"), str):
            self._killed.add(killed)
        elif isinstance(shut_out := said.get("shut_out"), str):
            self._signal_worker(shut_out, signal.SIGKILL)  # it is of no use: another takes its place
        elif isinstance(process := said.get("process"), str):
            self._signal_worker(process, said.get("signal"))
        elif isinstance(number := said.get("stack"), int):
            self._read_stack(str(said.get("asked")), partial(self._answer, entry, number))
        elif isinstance(demand := said.get("demand"), dict):
            try:
                said_demand = frames.Demand(**{**demand, "idle_ns": b"", "joined": tuple(demand["joined"])})
                self._hear_demand(said_demand, dict(demand["idle_ns"]))
            except (TypeError, ValueError, KeyError):
                return False
        elif isinstance(number := said.get("flush"), int) and isinstance(client := said.get("client"), int):
            self._flush_output(client, partial(self._answer, entry, number))
        elif said.get("shutdown"):
            self._stop_for_good()
            self._leave_listener(entry)
        else:
            return False
        return True

    def _read_stack(self, key: str, answer: Callable[[str, str], None]) -> None:
        """Have `answer(text, problem)` called, with what the code of this worker does just now."""
        index = next((index for index, child in self._children.items() if child.key == key), None)
        if index is None:
            answer("", "its worker has just ended")
            return
        asked = Asked(self._pidfds[index], self._children[index].pid, key, self._roster.members[index].name)

        async def ask() -> None:
            answer(*await self._stacks.ask(asked))

        self._begin(ask())

    def _begin(self, asking: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(asking)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    def _flush_output(self, client: int, answer: Callable[[str, str], None]) -> None:
        """Have all be said that this client's tasks have written so far, and then the answer given."""

        async def flush() -> None:
            await in_thread(self._forwarder.flush, client)
            until_s = time.monotonic() + FLUSH_S
            self._say_outputs()
            while self._unsaid and time.monotonic() < until_s:
                await asyncio.sleep(UNSAID_S)
            answer("all of it", "")

        self._begin(flush())

    def _on_outputs(self) -> None:
        """In the thread that reads what tasks write."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._say_outputs)

    def _say_outputs(self) -> None:
        """Pass on what tasks have written to those clients that want to see it, as far as the scheduler reads it."""
        while self._unsaid or self._take_outputs():
            client, text = self._unsaid[0]
            if self._relay is not None:
                self._relay.tell_output(client, text)
            elif self._entry is None:
                self._forwarder.drop(client, text)
            else:
                try:
                    _say_output(self._entry.connection, client, text)
                except BlockingIOError:
                    self._loop.call_later(UNSAID_S, self._say_outputs)
                    return
                except OSError:
                    self._forwarder.drop(client, text)
            self._unsaid.popleft()

    def _take_outputs(self) -> bool:
        self._unsaid += self._forwarder.take()
        return bool(self._unsaid)

    def _answer(self, entry: LocalConnection, number: int, text: str, problem: str) -> None:
        """Answer the scheduler, which may not read for a moment."""
        packet = json.dumps({"answer": number, "text": text, "problem": problem}, ensure_ascii=False).encode()
        with contextlib.suppress(OSError):  # it has gone; or is too busy: whoever has asked hears that nobody answers
            entry.connection.send(packet, socket.MSG_DONTWAIT)

    def _leave_listener(self, entry: LocalConnection) -> None:
        """Nothing more is to be heard there."""
        self._loop.remove_reader(entry.connection.fileno())
        self._gone.set()

    def _signal_worker(self, key: str, number: Any) -> None:
        """Send one of two signals, for a scheduler that may not be able to, being in another PID namespace."""
        for child in self._children.values():
            if child.key == key and number in (STOP_SIGNAL, signal.SIGKILL):
                child.signal(number)

    def _on_relay_over(self, reason: str) -> None:
        _log.info("the session with the scheduler is over: %s", reason)
        if self._relay is not None and self._relay.is_shut_down:
            self._stop_for_good()
        self._gone.set()

    def _stop_for_good(self) -> None:
        _log.info("a client has stopped the scheduler and its clusters")
        self.stop()

    # growing and shrinking

    def _hear_demand(self, said: frames.Demand, idle_ns: dict[str, int]) -> None:
        """The scheduler says how much work there is, and which processes have had nothing to do for how long."""
        roster, config = self._roster, self._config
        demand = Demand(said.tasks, said.work_ns / 1e9, said.workers, said.sharers)
        if self.on_demand is not None:
            self.on_demand(demand, said.joined)
            return
        if not roster.running or roster.is_draining or self._stopping.is_set():
            return
        idle_s = {index: idle_ns[child.key] / 1e9 for index, child in self._children.items() if child.key in idle_ns}
        there = roster.there
        idle_s = {index: idle_s[index] for index in there if index in idle_s and index in roster.joined}
        if 0 < config.end_idle_seconds <= min((idle_s.get(index, 0.0) for index in there), default=math.inf):
            if len(self._children) == len(there):  # no spare has anything to do, either
                _log.info("nothing has run here for %g s", config.end_idle_seconds)
                self.drain()
            return
        if self._scaling is None:
            return
        starting = sum(index not in roster.joined for index in there)
        step = self._scaling.step(demand, len(there), starting, idle_s, fails=roster.fails_to_start)
        if step is None:
            self._would_do = ""
        elif config.dry_run:
            self._say_what_would_be_done(step)
        elif isinstance(step, Grow):
            _log.info("cluster grows by %d to %d workers: %s", step.count, len(there) + step.count, step.why)
            self._start(roster.on_grow(step.count, time.monotonic()))
        else:
            rest = len(there) - len(step.members)
            _log.info("cluster shrinks by %d to %d workers: %s", len(step.members), rest, step.why)
            self._start(roster.on_shrink(step.members))

    def _say_what_would_be_done(self, step: Grow | Shrink) -> None:
        """Once, not at each look."""
        verb, count = ("grow", step.count) if isinstance(step, Grow) else ("shrink", len(step.members))
        would_do = f"{verb} by {count}"
        if would_do != self._would_do:
            self._would_do = would_do
            _log.info("dry run: cluster would %s: %s", would_do, step.why)

    # workers

    def _start(self, commands: list[Start | Retire]) -> None:
        """Start these workers, and those that are due meanwhile; have others end."""
        waiting = deque(commands)
        if waiting and self._template is not None:
            self._template.start()  # if it has ended, for those that come after these
        while waiting:
            command = waiting.popleft()
            index = command.member
            if type(command) is Retire:
                self._retire(index)
                continue
            try:
                self._start_worker(index)
            except (OSError, RuntimeError) as error:  # no process, thread or descriptor to be had just now
                _log.error("worker %s could not be started: %s", self._roster.members[index].name, error)
                self._failure = f"its process could not be started: {error}"
                waiting += self._roster.on_exited(index, time.monotonic())
        self._look_whether_unable()
        self._start_later()

    def _retire(self, index: int) -> None:
        """Have it end after the task that it runs."""
        child = self._children[index]
        self._killed.add(child.key)
        self._tell_leaving([child.key])
        with contextlib.suppress(OSError):  # it has gone
            child.link.shutdown(socket.SHUT_WR)

    def _tell_leaving(self, keys: list[str]) -> None:
        """Tell the scheduler that these leave: they are to be given nothing more."""
        if self._relay is not None:
            self._relay.tell_leaving(keys)
        elif self._entry is not None:
            if not self._unsaid_leaving:
                self._loop.call_soon(self._say_leaving, self._entry)
            self._unsaid_leaving += keys

    def _say_leaving(self, entry: LocalConnection) -> None:
        """Say it to the scheduler of this host, again until that reads it."""
        while self._unsaid_leaving and entry is self._entry:
            some = self._unsaid_leaving[:LEAVING_AT_ONCE]
            try:
                entry.connection.send(json.dumps({"leaving": some}).encode(), socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._loop.call_later(LEAVING_AGAIN_S, self._say_leaving, entry)
                return
            except OSError:
                break
            del self._unsaid_leaving[:LEAVING_AT_ONCE]
        self._unsaid_leaving.clear()

    def _start_worker(self, index: int) -> None:
        name = self._roster.members[index].name
        stacks = self._stacks.open()
        settings: dict[str, Any] = {
            "supervisor": os.getpid(),
            "name": name,
            "local_address": self._local_address,
            "epoch": self._epoch,
            "goes_over": self._entry is not None,
            "address": self._address,
            "is_colocated": self._relay is None,
            "is_spare": self._roster.members[index].is_spare,
            "sys_path": self._sys_path,
            "folder": self._folder,
            "options": for_workers(self._config),
            "stacks": stacks,
            "resources": self._shares[index].text,
            "has": self._shares[index].as_dict,
            "variables": pinning_variables(self._shares[index]),
        }
        pipe = self._stderr.open()
        try:
            fork = self._template.fork if self._template is not None else None
            variables = {**self._variables, **settings["variables"]}
            child = Child("scaler.worker.main", None, pipe.write_end, variables, stacks, fork)
        except BaseException:
            self._stderr.last(pipe)
            raise
        finally:
            pipe.started()
        try:
            self._pidfds[index] = os.pidfd_open(child.pid)
        except OSError:
            self._loop.run_in_executor(None, child.end, 0.0)
            self._stderr.last(pipe)
            raise
        child.tell({**settings, "process": child.key})
        self._children[index], self._pipes[index] = child, pipe
        self._loop.add_reader(self._pidfds[index], self._on_exit, index)
        self._loop.add_reader(child.link, self._on_report, index)
        _log.debug("started worker %s as process %d", name, child.pid)

    def _on_report(self, index: int) -> bool:
        """Take one report. False if there will be no more."""
        child = self._children[index]
        report = child.hear(0)
        if report is None:
            self._loop.remove_reader(child.link)
        elif report.get("joined"):
            if len(child.descriptors) == 2:
                memory, doorbell = child.take_descriptors()
                self._handles[index] = Handle(memory, doorbell, report["tag"])
            self._roster.on_joined(index, time.monotonic())
            if self._roster.members[index].state is State.LEAVING:
                self._tell_leaving([child.key])  # nobody knew it when that was said
            if self._unable:
                self._unable = ""
                _log.info("workers of this cluster can start again")
                self._tell_unable()
            if self._roster.all_joined:
                self._on_ready()
        elif "blocked" in report:
            (self._blocked.add if report["blocked"] else self._blocked.discard)(index)
            self._start(self._roster.on_blocked(len(self._blocked), time.monotonic()))
        elif "output" in report:
            for descriptor in child.take_descriptors()[:1]:
                self._forwarder.add(descriptor, report["output"], self._roster.members[index].name, report["token"])
        elif "retires" in report:
            _log.info(
                "worker %s (process %d) retires: %s", self._roster.members[index].name, child.pid, report["retires"]
            )
            self._killed.add(child.key)
        elif "no_folder" in report:
            if not self._is_without_folder:
                _log.warning(
                    "workers cannot enter their working folder %s: tasks must not use relative paths",
                    report["no_folder"],
                )
            self._is_without_folder = True
        elif "error" in report:
            _log.error("worker %s could not join: %s", self._roster.members[index].name, report["error"])
            child.error = str(report["error"])
        else:
            self.odd += 1
            _sparing.warning(index, "worker %s reports what means nothing", self._roster.members[index].name)
        return report is not None

    def _on_exit(self, index: int) -> None:
        self._on_scheduler_says()  # it may have killed it
        child = self._children[index]
        while child.has_report and self._on_report(index):
            pass  # that it retires may be the last it said
        code = child.find_code()
        if code is None:
            return  # its main thread has ended and others have not; it is looked at again
        facts = self._examine(index, child, code)
        self._forget(index).link.close()
        self._tell_death(child.key, facts)
        intended = child.key in self._killed
        self._restarts[_why_ended(code, intended, bool(facts.get("oom")))] += 1
        self._killed.discard(child.key)
        if self._roster.running and not self._stopping.is_set():
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            if not intended:
                how += ": the kernel had no memory left" if facts["oom"] else ""
                _log.warning("worker %s (process %d) ended %s", self._roster.members[index].name, child.pid, how)
            self._failure = f"it ended {how}"
            if said := child.error or str(facts.get("output") or ""):
                self._failure += ", and the last that it said is:\n" + said[-MOST_SAID:]
            now_s = time.monotonic()
            commands = self._roster.on_exited(index, now_s, intended)  # first, so that it is not retired any more
            self._start([*commands, *self._roster.on_blocked(len(self._blocked), now_s)])
        if self._roster.is_draining and self._roster.is_empty:
            self.stop()

    def _look_whether_unable(self) -> None:
        """Say it once if no worker can start: to the log, to the program that started this, and to the scheduler."""
        if self._unable or not self._roster.running or not self._roster.is_unable:
            return
        self._unable = (
            f"no worker of the cluster on {socket.gethostname()} can start: at each place {START_FAILURES} or more in "
            f"a row ended before they had joined. Of the last one: {self._failure}"
        )
        _log.error("%s", self._unable)
        self._tell_unable()
        self._on_unable(self._unable)

    def tell_unable(self, why: str) -> None:
        """For a launcher: nobody can be had, or with an empty text somebody can be had again."""
        if why != self._unable:
            self._unable = why[:MOST_TEXT_LENGTH]
            self._tell_unable()

    def _tell_unable(self) -> None:
        if self._relay is not None:
            self._relay.tell_unable(self._unable)
        elif self._entry is not None:
            message = json.dumps({"unable": self._unable}, ensure_ascii=False).encode()
            with contextlib.suppress(OSError):  # it has gone, or does not read
                self._entry.connection.send(message, socket.MSG_DONTWAIT)

    def _start_later(self) -> None:
        """Look at the roster again when the pause of somebody is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_s = self._roster.next_due_s
        if due_s is not None:
            self._timer = self._loop.call_later(
                max(0.0, due_s - time.monotonic()), lambda: self._start(self._roster.on_tick(time.monotonic()))
            )

    def _forget(self, index: int) -> Child:
        self._loop.remove_reader(self._pidfds[index])
        os.close(self._pidfds.pop(index))
        child = self._children.pop(index)
        self._blocked.discard(index)
        self._stderr.last(self._pipes.pop(index))
        if index in self._handles:
            self._handles.pop(index).close()
        self._loop.remove_reader(child.link)
        return child

    # another scheduler

    async def _stay(self) -> None:
        """The scheduler has gone: workers go on with what they have, until there is another one."""
        stay: Container[int] = self._handles
        if self._entry is not None:
            self._entry.close()
            self._entry = None
        else:
            stay = self._roster.joined
        await self._end([index for index in self._children if index not in stay])

    async def _end_elsewhere(self) -> None:
        """The relay's workers have nobody to go over to."""
        if self._relay is not None:
            relay, self._relay = self._relay, None
            await self._end([index for index in self._children if index not in self._handles])
            await relay.close()

    async def _hand_over(self) -> set[int]:
        """Hand the workers that have outlived their scheduler over to the next one. The members of those that stay."""
        self._untaken.clear()
        if self._relay is not None:
            await self._end(list(self._handles))  # of a scheduler on this host; now there is one elsewhere
            return set(self._children)
        for index, handle in list(self._handles.items()):
            if self._handles.get(index) is handle:  # else it has ended while another was handed over
                await self._hand_over_one(index, handle)
        return set(self._handles)

    async def _until_gone(self) -> None:
        """Until the scheduler has gone. What it has not taken in is handed over again meanwhile."""
        while not self._gone.is_set() and not self._stopping.is_set():
            await first_of(self._gone, self._stopping, timeout_s=AGAIN_S if self._untaken else None)
            for index, handle in list(self._untaken.items()):
                if not self._gone.is_set() and not self._stopping.is_set():
                    del self._untaken[index]
                    if self._handles.get(index) is handle:
                        await self._hand_over_one(index, handle)

    async def _hand_over_one(self, index: int, handle: Handle) -> None:
        child, name, gone = self._children[index], self._roster.members[index].name, self._gone
        try:
            new_owner = await self._hand_in(index, handle, lambda: gone.is_set() or self._stopping.is_set())
        except Refused as error:
            _log.error("worker %s is started anew: %s", name, error)
            if self._handles.get(index) is handle:
                await self._start_anew(index)
        except (OSError, RuntimeError) as error:  # nobody opens; or no descriptor or thread is to be had just now
            _sparing.info(child.key, "worker %s stays, and is handed over again: %s", name, error)
            if self._handles.get(index) is handle:
                self._untaken[index] = handle
        else:
            if self._handles.get(index) is not handle:
                new_owner.close()
            elif not tell_worker(child.link, new_owner):
                _log.error("worker %s is started anew: it reads nothing of what it is told", name)
                await self._start_anew(index)

    async def _hand_in(self, index: int, handle: Handle, is_over: Callable[[], bool]) -> NewOwner:
        """Hand one in, in a thread that has descriptors of its own: the worker may end meanwhile."""
        child, local_address = self._children[index], self._local_address
        about = {
            "process": child.key,
            "name": self._roster.members[index].name,
            "grace_s": self._config.stop_grace_seconds,
            "resources": self._shares[index].text,
        }
        with contextlib.ExitStack() as taken:
            lent = handle.copy()
            taken.callback(lent.close)
            pidfd = os.dup(self._pidfds[index])
            taken.callback(os.close, pidfd)
            lent_ones = taken.pop_all()

        def do(is_given_up: Callable[[], bool]) -> NewOwner:
            return hand_over(local_address, lent, child.pid, pidfd, lambda: is_given_up() or is_over(), **about)

        return await BlockingCall(do, drop=NewOwner.close, close=lent_ones.close).outcome()

    async def _start_anew(self, index: int) -> None:
        """End this worker, and have another in its place, once there is a scheduler that it can work for."""
        child = self._forget(index)
        self._start(self._roster.on_exited(index, time.monotonic(), intended=True))
        await in_thread(end_all, [child], 0.5)

    async def _end(self, members: list[int]) -> None:
        await in_thread(end_all, [self._forget(index) for index in members], 0.5)

    def _examine(self, index: int, child: Child, code: int) -> dict[str, Any]:
        """What is known of a worker that has ended."""
        known = self._facts.pop(child.key, None)
        if known is not None:
            return known
        output = self._stderr.last(self._pipes[index])
        if last := self._forwarder.last_of(self._roster.members[index].name):
            output = "\n".join((output + last).splitlines()[-LAST_LINES:])
        return facts_of(self._roster.members[index].name, child.pid, code, child.peak_bytes, output, self._memory_watch)

    def _tell_death(self, key: str, facts: dict[str, Any]) -> None:
        """Tell the process that notices it: the scheduler now, or the relay when it asks."""
        if self._entry is not None:
            with contextlib.suppress(OSError):  # it has gone, or does not read: it waits for no report for long
                self._entry.connection.send(
                    json.dumps({"died": facts, "process": key}, ensure_ascii=False).encode(), socket.MSG_DONTWAIT
                )
        else:
            self._facts[key] = facts
            self._loop.call_later(FACTS_KEPT_S, self._facts.pop, key, None)

    def _facts_of(self, key: str) -> dict[str, Any]:
        """How this worker of the relay has ended; nothing if it has only hung up."""
        if key in self._facts:
            return self._facts[key]
        for index, child in self._children.items():
            code = child.find_code() if child.key == key else None
            if code is not None:
                facts = self._facts[key] = self._examine(index, child, code)
                return facts
        return {}

    async def _leave(self) -> None:
        """End all workers and the connection. Nobody is started any more."""
        self._roster.on_disconnected()
        self._start_later()
        if self._drain_ends is not None:
            self._drain_ends.cancel()
        if self._children:  # it is not what they run that ends them
            self._tell_leaving([child.key for child in self._children.values()])
            if self._entry is not None:
                self._say_leaving(self._entry)
        has_drained = self._roster.is_draining and not self._children
        children = [self._forget(index) for index in list(self._children)]
        if self._relay is not None:
            relay, self._relay = self._relay, None
            await relay.close(FINISH_S if has_drained else 0.0)
        if self._entry is not None:
            self._loop.remove_reader(self._entry.connection.fileno())
            self._entry.close()
            self._entry = None
        if self._template is not None and (template := self._template.take_leave()) is not None:
            children.append(template)
        await in_thread(end_all, children, 0.5)
        self._killed.clear()
        if self._epoch and is_over(self._epoch):
            sweep(self._epoch, self._memory.folder)


def _say_output(connection: socket.socket, client: int, text: bytes) -> None:
    """Tell the scheduler of this host. BlockingIOError if it does not read just now."""
    said = text.decode("utf-8", "replace")
    packet = json.dumps({"output": client, "text": said}, ensure_ascii=False).encode()
    if len(packet) > MOST_PACKET_BYTES:  # nearly all of it is control characters, each of which takes six
        said = "".join(letter if letter >= " " or letter in "\n\t" else "?" for letter in said)
        packet = json.dumps({"output": client, "text": said}, ensure_ascii=False).encode()
    connection.send(packet, socket.MSG_DONTWAIT)


def _new_sampler(is_given_up: Callable[[], bool]) -> "UsageSampler":
    from scaler.cluster.usage_sampler import (
        UsageSampler,  # psutil takes a while to load, and a supervisor is to start quickly
    )

    return UsageSampler()


def _sample(
    sampler: "UsageSampler", processes: list[tuple[str, int]], restarts: "Counter[str]", is_given_up: Callable[[], bool]
) -> HostUsage:
    return sampler.look(processes, restarts)


def _why_ended(code: int, is_intended: bool, is_out_of_memory: bool) -> str:
    """In a few words, by which ends of workers are counted."""
    if is_intended:
        return "retired, or killed to stop a task"
    if is_out_of_memory:
        return "out of memory"
    if code >= 0:
        return f"exit code {code}"
    return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
